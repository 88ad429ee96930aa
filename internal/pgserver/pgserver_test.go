package pgserver_test

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/keyturn/keyturn/internal/pgserver"
)

func start(t *testing.T, cfg pgserver.Config) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask returns the single value that a query gives.
func ask(t *testing.T, url, query string) (string, error) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var s string
	err = db.QueryRowContext(t.Context(), query).Scan(&s)
	return s, err
}

func TestTLSAndPasswords(t *testing.T) {
	s := start(t, pgserver.Config{TLS: true})
	if got, err := ask(t, s.AdminURL(), "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"); err != nil || !strings.HasPrefix(got, "TLS") {
		t.Errorf("got TLS version %q and error %v, want TLSv1.x", got, err)
	}
	if _, err := ask(t, s.URL(pgserver.Superuser, "wrong", "postgres"), "SELECT 'in'"); err == nil {
		t.Error("a wrong password logs in")
	}
	plain := strings.Replace(s.AdminURL(), "sslmode=verify-full", "sslmode=disable", 1)
	if _, err := ask(t, plain, "SELECT 'in'"); err == nil {
		t.Error("a connection without TLS logs in")
	}
	if got, err := ask(t, s.AdminURL(), "SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = 'postgres'"); err != nil || got != "SCRAM-SHA-256" {
		t.Errorf("got password kind %q and error %v, want SCRAM-SHA-256", got, err)
	}
}

func TestRestartAndKillKeepData(t *testing.T) {
	s := start(t, pgserver.Config{Durable: true})
	db, err := sql.Open("pgx", s.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE kept (v text); INSERT INTO kept VALUES ('here')"); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t, s.AdminURL(), "SELECT v FROM kept"); err != nil || got != "here" {
		t.Errorf("after a restart got %q and error %v, want here", got, err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, s.AdminURL(), "SELECT v FROM kept"); err == nil {
		t.Error("a killed server answers")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t, s.AdminURL(), "SELECT v FROM kept"); err != nil || got != "here" {
		t.Errorf("after a kill got %q and error %v, want here", got, err)
	}
}

// TestEndsWithParent runs this test binary as a child that starts a server,
// kills the child, and expects the server to be gone.
func TestEndsWithParent(t *testing.T) {
	const role = "KEYTURN_TEST_PGSERVER_CHILD"
	if os.Getenv(role) != "" {
		s, err := pgserver.Start(context.Background(), pgserver.Config{Dir: os.Getenv(role)})
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("URL " + s.AdminURL() + "\n")
		time.Sleep(time.Minute)
		return
	}
	dir, err := os.MkdirTemp("", "keyturn-postgres-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	child := exec.Command(os.Args[0], "-test.run=^TestEndsWithParent$")
	child.Env = append(os.Environ(), role+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, _ := out.Read(buf)
	url, found := strings.CutPrefix(strings.TrimSpace(string(buf[:n])), "URL ")
	if !found {
		t.Fatalf("the child said %q", buf[:n])
	}
	if got, err := ask(t, url, "SELECT 'up'"); err != nil || got != "up" {
		t.Fatalf("got %q and error %v, want up", got, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := ask(t, url, "SELECT 'up'"); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the server outlives the process that started it")
		}
	}
}

func TestStandbyFollowsAndRefusesWrites(t *testing.T) {
	s := start(t, pgserver.Config{TLS: true})
	_, _ = ask(t, s.AdminURL(), "CREATE TABLE written (v text)") // has no rows to give
	standby, err := s.Standby(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standby.Close(); err != nil {
			t.Error(err)
		}
	})
	if got, err := ask(t, s.AdminURL(), "INSERT INTO written VALUES ('there') RETURNING v"); err != nil || got != "there" {
		t.Fatalf("on the primary got %q and error %v, want there", got, err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got, err := ask(t, standby.AdminURL(), "SELECT v FROM written")
		if got == "there" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("on the standby got %q and error %v, want there", got, err)
		}
	}
	if _, err := ask(t, standby.AdminURL(), "INSERT INTO written VALUES ('too') RETURNING v"); err == nil || !strings.Contains(err.Error(), "25006") {
		t.Errorf("writing to the standby: got %v, want SQLSTATE 25006", err)
	}
}
