package postgres_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

// start runs a server until the test ends.
func start(t testing.TB, cfg pgserver.Config) *pgserver.Server {
	t.Helper()
	db, err := pgserver.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// revive starts a killed server.
func revive(db *pgserver.Server) func(testing.TB) {
	return func(t testing.TB) {
		if err := db.Restart(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}

// postgres18 is the folder of PostgreSQL 18's programs. They are copied away
// where the user that the server runs as could not reach them.
func postgres18(t testing.TB) string {
	t.Helper()
	if out, err := exec.Command(filepath.Join(apitest.Root(), "scripts", "postgres18")).CombinedOutput(); err != nil {
		t.Fatalf("fetching PostgreSQL 18: %v\n%s", err, out)
	}
	dir := filepath.Join(apitest.Root(), "build", "postgres-18")
	if _, err := os.Stat(filepath.Join(dir, "bin", "postgres")); err != nil {
		t.Skipf("npm has no PostgreSQL 18 for %s: %v", runtime.GOARCH, err)
	}
	if os.Geteuid() == 0 && !open(dir) {
		to, err := os.MkdirTemp("", "keyturn-postgres-18-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(to) })
		if err := os.Chmod(to, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "-R", dir+"/.", to).CombinedOutput(); err != nil {
			t.Fatalf("copying PostgreSQL 18: %v\n%s", err, out)
		}
		dir = to
	}
	return filepath.Join(dir, "bin")
}

// open tells whether everybody may enter a folder.
func open(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&1 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

func TestContract(t *testing.T) {
	db := start(t, pgserver.Config{TLS: true, Settings: map[string]string{
		"synchronous_commit": "on", // commits survive the server's death, if not the machine's
		"max_connections":    "30", "wal_keep_size": "512MB", "wal_retrieve_retry_interval": "200ms",
	}})
	standby, err := db.Standby(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { standby.Close() })
	environment := map[string]string{"KEYTURN_CA_BUNDLE": rotatortest.PEM(t, db.CAFile)}
	w := &world{db: db, standby: standby}
	for _, s := range []rotatortest.Suite{
		{Rotator: "postgres.single", EveryStep: true, New: w.plain, Faults: w.loginFaults(), Kill: func(testing.TB) { db.Kill() }, Revive: revive(db)},
		{Rotator: "postgres.superuser", New: w.odd, Faults: w.superuserFaults(), NoKills: true},
		{
			Rotator: "postgres.alternating", EveryStep: true, New: w.odd, Overlaps: true, Faults: w.superuserFaults(),
			Kill: func(testing.TB) { db.Kill() }, Revive: revive(db),
		},
	} {
		s.Environment = environment
		s.Run(t)
	}
}

// TestContract18 is for what differs in newer servers: who may grant a role,
// and how. The superuser is none: it may only make roles, as in the cloud.
func TestContract18(t *testing.T) {
	t.Parallel()
	db := start(t, pgserver.Config{TLS: true, Bin: postgres18(t)})
	environment := map[string]string{"KEYTURN_CA_BUNDLE": rotatortest.PEM(t, db.CAFile)}
	w := &world{db: db, limitedAdmin: true}
	for _, s := range []rotatortest.Suite{
		{Rotator: "postgres.single", New: w.plain},
		{Rotator: "postgres.alternating", New: w.plain, Overlaps: true, Faults: w.grantFaults()},
	} {
		s.Environment, s.NoKills = environment, true
		s.Run(t)
	}
}

// TestContractMD5 is for servers that hash as PostgreSQL 13 and older do by
// default.
func TestContractMD5(t *testing.T) {
	t.Parallel()
	db := start(t, pgserver.Config{
		TLS: true, Settings: map[string]string{"password_encryption": "md5"}, Access: []string{
			"hostssl all postgres 127.0.0.1/32 scram-sha-256", "hostssl all all 127.0.0.1/32 md5",
		},
	})
	w := &world{db: db}
	rotatortest.Suite{
		Rotator: "postgres.alternating", New: w.odd, Overlaps: true, NoKills: true,
		Environment: map[string]string{"KEYTURN_CA_BUNDLE": rotatortest.PEM(t, db.CAFile)},
	}.Run(t)
}
