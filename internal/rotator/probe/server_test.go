package probe_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/probe"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func owner(t testing.TB) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// maria is a real MariaDB whose users are made by statements.
func startMariaDB(t testing.TB, cert *rotatortest.Certificate, statements ...string) (port int) {
	t.Helper()
	dir := t.TempDir()
	port = rotatortest.FreePort(t)
	install := exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+dir+"/data", "--auth-root-authentication-method=normal", "--skip-test-db",
		"--skip-name-resolve", "--user="+owner(t), "--tmpdir="+dir) // starting, it takes away what others left in theirs
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	args := []string{
		"--no-defaults", "--datadir=" + dir + "/data", "--port=" + strconv.Itoa(port), "--bind-address=127.0.0.1", "--skip-log-bin",
		"--socket=" + dir + "/s", "--pid-file=" + dir + "/pid", "--skip-name-resolve", "--user=" + owner(t), "--tmpdir=" + dir,
	}
	if cert != nil {
		args = append(args, "--ssl-cert="+cert.CertFile, "--ssl-key="+cert.KeyFile)
	}
	db, err := sql.Open("mysql", "root@unix("+dir+"/s)/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	program, err := exec.LookPath("mariadbd")
	if err != nil {
		program = "/usr/sbin/mariadbd"
	}
	d := &rotatortest.Daemon{Command: func() *exec.Cmd { return exec.Command(program, args...) }, Ready: db.PingContext}
	d.Start(t)
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return port
}

func TestMariaDB(t *testing.T) {
	t.Parallel()
	cert := rotatortest.NewCertificate(t, "127.0.0.1", "db.example")
	trusting := rotator.Settings{"KEYTURN_CA_BUNDLE": cert.Authority}
	port := startMariaDB(t, cert, "CREATE DATABASE app", "CREATE USER app@'%' IDENTIFIED BY '"+right+"'", "GRANT ALL ON app.* TO app@'%'",
		"INSTALL SONAME 'auth_ed25519'", "CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('"+right+"')", "CREATE USER strict@'%' IDENTIFIED BY '"+right+"' REQUIRE SSL",
		"CREATE USER boss@'%' IDENTIFIED BY '"+right+"'", "GRANT ALL ON *.* TO boss@'%'")
	base := member{"engine": "mariadb", "host": "127.0.0.1", "port": port, "username": "app", "password": right, "dbname": "app"}
	for _, c := range []struct {
		name   string
		value  member
		stages []string
		method string
	}{
		{"right", base, []string{"tcp", "tls", "auth", "database"}, "mysql_native_password"},
		{"ed25519", with(base, "username", "ed", "dbname", ""), []string{"tcp", "tls", "auth", "database"}, "client_ed25519"},
		{"wrong", with(base, "password", wrong), []string{"tcp", "tls", "auth!authentication"}, "mysql_native_password"},
		{"no database", with(base, "dbname", "nowhere"), []string{"tcp", "tls", "auth", "database!database missing"}, "mysql_native_password"},
		{"plain", with(base, "ssl", false), []string{"tcp", "auth", "database"}, "mysql_native_password"},
		{"TLS demanded of the user, plain", with(base, "username", "strict", "ssl", "false", "dbname", ""), []string{"tcp", "auth!authentication"}, "mysql_native_password"},
		{"TLS demanded of the user", with(base, "username", "strict", "dbname", ""), []string{"tcp", "tls", "auth", "database"}, "mysql_native_password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := one(t, trusting, c.value)
			if !cmp.Equal(trace(got), c.stages) || got.Method != c.method || !got.TLSOffered || got.Names != "db.example, 127.0.0.1" {
				t.Errorf("got %v by %q, TLS %v for %q; want %v by %q: %+v", trace(got), got.Method, got.TLSOffered, got.Names, c.stages, c.method, got.Stages)
			}
			if !strings.Contains(got.Server, "MariaDB") {
				t.Errorf("got server %q", got.Server)
			}
		})
	}
	t.Run("superuser", func(t *testing.T) {
		results := run(t, trusting, version(t, probe.Current, with(base, "username", "ed", "dbname", "")), version(t, probe.Superuser, with(base, "username", "boss")))
		if len(results) != 2 || results[0].Verifier != "ed25519" || results[1].Verifier != "mysql_native_password" {
			t.Errorf("got %+v", results)
		}
	})
}

func TestMariaDBWithoutTLS(t *testing.T) {
	t.Parallel()
	port := startMariaDB(t, nil, "CREATE USER app@'%' IDENTIFIED BY '"+right+"'", "SET GLOBAL read_only = 1")
	base := member{"engine": "mysql", "host": "127.0.0.1", "port": port, "username": "app", "password": right}
	if got := oneFrom(t, probe.FromFunction, nil, base); !got.LogsIn || got.TLSOffered || !got.ReadOnly {
		t.Errorf("got %+v", got)
	}
	got := one(t, nil, with(base, "ssl", true))
	if !cmp.Equal(trace(got), []string{"tcp", "tls!TLS"}) {
		t.Errorf("ssl true: got %+v", got)
	}
}

func TestRedis(t *testing.T) {
	t.Parallel()
	dir, plain, secure := t.TempDir(), rotatortest.FreePort(t), rotatortest.FreePort(t)
	cert := rotatortest.NewCertificate(t, "localhost")
	sum := sha256.Sum256([]byte(right))
	config := fmt.Sprintf("bind 127.0.0.1\nport %d\ntls-port %d\ntls-cert-file %s\ntls-key-file %s\ntls-auth-clients no\nsave \"\"\ndir %s\n"+
		"user default off\nuser app on #%s ~* &* +@all\n", plain, secure, cert.CertFile, cert.KeyFile, dir, hex.EncodeToString(sum[:]))
	if err := os.WriteFile(filepath.Join(dir, "redis.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	base := member{"engine": "redis", "host": "localhost", "port": secure, "username": "app", "password": right}
	trusting := rotator.Settings{"KEYTURN_CA_BUNDLE": cert.Authority}
	d := &rotatortest.Daemon{
		Command: func() *exec.Cmd { return exec.Command("redis-server", filepath.Join(dir, "redis.conf")) },
		Ready: func(ctx context.Context) error {
			return exec.CommandContext(ctx, "redis-cli", "-p", strconv.Itoa(plain), "ping").Run()
		},
	}
	d.Start(t)
	for _, c := range []struct {
		name   string
		value  member
		stages []string
	}{
		{"encrypted", base, []string{"dns", "tcp", "tls", "auth", "database"}},
		{"wrong password", with(base, "password", wrong), []string{"dns", "tcp", "tls", "auth!authentication"}},
		{"plain", with(base, "port", plain, "ssl", false), []string{"dns", "tcp", "auth", "database"}},
		{"encrypted at the plain port", with(base, "port", plain, "ssl", true), []string{"dns", "tcp", "tls!TLS"}},
		{"another certificate name", with(base, "host", "127.0.0.1", "ssl", true), []string{"tcp", "tls!TLS"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := one(t, trusting, c.value); !cmp.Equal(trace(got), c.stages) {
				t.Errorf("got %v, want %v: %+v", trace(got), c.stages, got.Stages)
			}
		})
	}
}
