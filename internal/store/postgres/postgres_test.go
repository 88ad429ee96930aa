package postgres_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
)

// server is shared by the tests of this package; each test has a schema of
// its own.
var server *pgserver.Server

var schemas atomic.Int64

func TestMain(m *testing.M) {
	os.Exit(func() int {
		s, err := pgserver.Start(context.Background(), pgserver.Config{})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer s.Close()
		server = s
		return m.Run()
	}())
}

// newURL returns the URL of a fresh schema.
func newURL() string {
	return fmt.Sprintf("%s&search_path=keyturn_%d", server.AdminURL(), schemas.Add(1))
}

func open(t testing.TB) *store.Store {
	return openConfig(t, postgres.Config{URL: newURL(), Connections: 8})
}

func openConfig(t testing.TB, cfg postgres.Config) *store.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), cfg)
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
