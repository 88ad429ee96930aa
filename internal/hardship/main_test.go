// Package hardship tests a whole server, as a process, under what its makers
// do not wish on anybody: disks that are full or broken, data that is damaged,
// and clients that send what no client should.
package hardship

import (
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
)

func TestMain(m *testing.M) { apitest.Main(m) }
