package sqlite_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
	"github.com/keyturn/keyturn/internal/store/storetest"
)

func TestFaults(t *testing.T) {
	// Updates are serial here: there are no conflicts to start again after.
	storetest.RunFaults(t, func(t testing.TB, d *storetest.Driver) *store.Store {
		return openConfig(t, sqlite.Config{Dir: t.TempDir(), Wrap: d.Wrap})
	}, nil)
}
