package postgres_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
)

// TestNodesStartTogether opens one empty database from several nodes at
// once: one migrates, and all see one store.
func TestNodesStartTogether(t *testing.T) {
	url := newURL()
	stores := make([]*store.Store, 5)
	var wg sync.WaitGroup
	for i := range stores {
		wg.Go(func() {
			s, err := postgres.Open(t.Context(), postgres.Config{URL: url, Connections: 2})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { s.Close() })
			stores[i] = s
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for i, s := range stores {
		if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta(fmt.Sprint("node", i), "here") }); err != nil {
			t.Fatal(err)
		}
	}
	for i := range stores {
		if err := stores[0].View(t.Context(), func(tx *store.Tx) error {
			got, err := tx.Meta(fmt.Sprint("node", i))
			if got != "here" {
				t.Errorf("got %q of node %d, want here", got, i)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	url := newURL()
	openConfig(t, postgres.Config{URL: url})
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("INSERT INTO schema_version (version, applied_at) VALUES (999, 0)"); err != nil {
		t.Fatal(err)
	}
	_, err = postgres.Open(t.Context(), postgres.Config{URL: url})
	if newer, ok := errors.AsType[*store.NewerSchemaError](err); !ok || newer.Found != 999 {
		t.Errorf("got error %v, want a NewerSchemaError", err)
	}
}

// TestOldServerIsRefused has the server claim that it is of version 9.6.
func TestOldServerIsRefused(t *testing.T) {
	url := newURL()
	number, err := ask(t, url, "SHOW server_version_num")
	if err != nil || len(number) != 6 {
		t.Fatalf("got version %q, %v", number, err)
	}
	link := newLink(t)
	link.rewrite = func(said []byte) []byte { return bytes.ReplaceAll(said, []byte(number), []byte("090624")) }
	_, err = postgres.Open(t.Context(), postgres.Config{
		URL: strings.Replace(url, fmt.Sprint(server.Port), fmt.Sprint(link.port()), 1) + "&sslmode=disable&default_query_exec_mode=simple_protocol",
	})
	if err == nil || !strings.Contains(err.Error(), "is too old: version 13 or newer is needed") {
		t.Errorf("got error %v, want that the server is too old", err)
	}
}

// ask returns the one value that a query gives.
func ask(t *testing.T, url, query string) (value string, err error) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.QueryRow(query).Scan(&value)
	return value, err
}

// TestSchemaIsOurs keeps the tables in the schema that the URL names.
func TestSchemaIsOurs(t *testing.T) {
	url := newURL()
	openConfig(t, postgres.Config{URL: url})
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var in string
	if err := db.QueryRow("SELECT schemaname FROM pg_tables WHERE tablename = 'secret' AND schemaname = current_schema()").Scan(&in); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(url, "="+in) {
		t.Errorf("the tables are in schema %s, want the one of %s", in, url[strings.LastIndexByte(url, '='):])
	}
}

// TestBadURL hides the password that an unreadable URL may hold.
func TestBadURL(t *testing.T) {
	_, err := postgres.Open(t.Context(), postgres.Config{URL: "postgres://u:hidden-password@h:notaport/db"})
	if err == nil || strings.Contains(err.Error(), "hidden-password") {
		t.Errorf("got error %v, want one without the password", err)
	}
	_, err = postgres.Open(t.Context(), postgres.Config{URL: "postgres://u:hidden-password@127.0.0.1:1/db?connect_timeout=2"})
	if err == nil || strings.Contains(err.Error(), "hidden-password") {
		t.Errorf("got error %v, want one without the password", err)
	}
}

// TestTextThatPostgreSQLRefuses stores text with bytes that are not UTF-8
// and with NUL.
func TestTextThatPostgreSQLRefuses(t *testing.T) {
	s := open(t)
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("k", "a\x00b\xffc") }); err != nil {
		t.Fatal(err)
	}
	if err := s.View(t.Context(), func(tx *store.Tx) error {
		got, err := tx.Meta("k")
		if want := "a\uFFFDb\uFFFDc"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestServerRestarts stops and kills the server under a store: updates fail
// as unavailable or are stored, and the store goes on by itself.
func TestServerRestarts(t *testing.T) {
	own, err := pgserver.Start(t.Context(), pgserver.Config{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	s := openConfig(t, postgres.Config{URL: own.AdminURL(), Connections: 4})
	stored := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		wg.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprint(i, "/", j)
				err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta(key, "v") })
				if err != nil {
					if !fault.Is(err, fault.Unavailable) {
						t.Errorf("got error %v, want one of kind Unavailable", err)
					}
					time.Sleep(10 * time.Millisecond)
					continue
				}
				mu.Lock()
				stored[key] = true
				mu.Unlock()
			}
		})
	}
	for _, disturb := range []func() error{
		func() error { return own.Restart(t.Context()) },
		func() error { return errors.Join(own.Kill(), own.Restart(t.Context())) },
	} {
		time.Sleep(200 * time.Millisecond)
		if err := disturb(); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(200 * time.Millisecond)
	close(stop)
	wg.Wait()
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetMeta("after", "v") }); err != nil {
		t.Errorf("an update after the restarts: %v", err)
	}
	if len(stored) == 0 {
		t.Error("nothing was stored")
	}
	if err := s.View(t.Context(), func(tx *store.Tx) error {
		for key := range stored {
			if got, err := tx.Meta(key); got != "v" || err != nil {
				t.Errorf("%s was acknowledged and is lost (error %v)", key, err)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
