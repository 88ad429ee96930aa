package sqlite_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

func open(t testing.TB) *store.Store { return openConfig(t, sqlite.Config{Dir: t.TempDir()}) }

func openConfig(t testing.TB, cfg sqlite.Config) *store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return s
}
