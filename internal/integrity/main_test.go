package integrity_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
)

func TestMain(m *testing.M) { apitest.Main(m) }
