package rds_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

func TestMain(m *testing.M) {
	builtin.RunIfAsked()
	apitest.Main(m)
}
