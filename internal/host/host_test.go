package host_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/host"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/folder"
	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

func TestMain(m *testing.M) {
	environment.LaunchIfAsked()
	os.Exit(m.Run())
}

// find returns the checks of a code and title.
func find(t *testing.T, r host.Report, code, title string) host.Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Code == code && c.Title == title {
			return c
		}
	}
	t.Fatalf("no check %s %q in %+v", code, title, r.Checks)
	return host.Check{}
}

// expect compares a check's state, and looks for a word in its text.
func expect(t *testing.T, r host.Report, code, title string, state host.State, word string) {
	t.Helper()
	c := find(t, r, code, title)
	if c.State != state || !strings.Contains(c.Text+c.Means, word) {
		t.Errorf("%s %s: got %s, %q, %q; want %s with %q", code, title, c.State, c.Text, c.Means, state, word)
	}
	if c.State == host.Finding && (c.Means == "" || len(c.Remedies) == 0) && title != "data folder" {
		t.Errorf("%s %s: a finding without meaning or remedy: %+v", code, title, c)
	}
}

func config(t *testing.T) host.Config {
	return host.Config{Dir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0", CacheSize: 64 << 20}
}

// Before the first start nothing is missing that the start makes.
func TestBeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	r := host.Examine(t.Context(), cfg)
	expect(t, r, "H08", "server", host.Note, "none runs")
	expect(t, r, "H11", "data folder", host.Note, "not there yet")
	expect(t, r, "H15", "root key", host.Note, "none yet")
	expect(t, r, "H17", "store", host.Note, "none yet")
	expect(t, r, "H20", "address", host.OK, "loopback")
	if _, err := os.Stat(cfg.Dir); !os.IsNotExist(err) {
		t.Errorf("the examination made the data folder: %v", err)
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil || !strings.Contains(b.String(), "H17") {
		t.Errorf("got %q, %v", b.String(), err)
	}
	if !slices.IsSortedFunc(r.Checks, func(a, b host.Check) int { return order(a.State) - order(b.State) }) {
		t.Error("findings do not come first")
	}
}

func order(s host.State) int {
	return slices.Index([]host.State{host.Finding, host.Unknown, host.Note, host.OK}, s)
}

// A folder that is in use, whose files are open to others and whose root key
// is lost.
func TestDataFolder(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: cfg.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	credentials := filepath.Join(cfg.Dir, "root-credentials.json")
	if err := os.WriteFile(credentials, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := host.Examine(t.Context(), cfg)
	expect(t, r, "H08", "server", host.OK, "runs on the data folder")
	expect(t, r, "H11", "data folder", host.OK, "owner's alone")
	expect(t, r, "H15", "root key", host.Finding, "is missing")
	expect(t, r, "H17", "store", host.OK, "SQLite")
	if err := os.Chmod(credentials, 0o644); err != nil {
		t.Fatal(err)
	}
	expect(t, host.Examine(t.Context(), cfg), "H11", "data folder", host.Finding, "root-credentials.json (0644)")
}

// The store of PostgreSQL: reachable or not, its schema, its clock.
func TestPostgres(t *testing.T) {
	t.Parallel()
	server, err := pgserver.Start(t.Context(), pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	cfg := config(t)
	cfg.StoreURL = server.AdminURL()
	r := host.Examine(t.Context(), cfg)
	expect(t, r, "H17", "store", host.Note, "It is empty")
	expect(t, r, "H18", "clock against the store", host.OK, "PostgreSQL")
	s, err := postgres.Open(t.Context(), postgres.Config{URL: cfg.StoreURL})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	look, err := postgres.Peek(t.Context(), cfg.StoreURL)
	if err != nil || look.Schema != store.Schema() {
		t.Errorf("got %+v, %v; want schema %d", look, err, store.Schema())
	}
	expect(t, host.Examine(t.Context(), cfg), "H17", "store", host.OK, "PostgreSQL")
	cfg.StoreURL = "postgres://nobody:secretpassword@127.0.0.1:1/none"
	r = host.Examine(t.Context(), cfg)
	expect(t, r, "H17", "store", host.Finding, "127.0.0.1")
	if c := find(t, r, "H17", "store"); strings.Contains(c.Text, "secretpassword") {
		t.Errorf("the password is in %q", c.Text)
	}
}

// Certificates that end, keys that are open, addresses that are in use or can
// be listened in on.
func TestAddressAndTLS(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.TLSCert, cfg.TLSKey = certificate(t, 24*time.Hour)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg.Listen = l.Addr().String()
	r := host.Examine(t.Context(), cfg)
	expect(t, r, "H19", "TLS certificate", host.Finding, "ends soon")
	expect(t, r, "H19", "TLS key", host.Finding, "0644")
	expect(t, r, "H21", "port", host.Finding, "in use")
	cfg.TLSCert, cfg.TLSKey = certificate(t, 365*24*time.Hour)
	if err := os.Chmod(cfg.TLSKey, 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, host.Examine(t.Context(), cfg), "H19", "TLS certificate", host.OK, "good until")
	cfg.TLSCert, cfg.TLSKey, cfg.Listen = "", "", "0.0.0.0:0"
	expect(t, host.Examine(t.Context(), cfg), "H20", "address", host.Finding, "does not start")
	cfg.InsecureHTTP = true
	expect(t, host.Examine(t.Context(), cfg), "H20", "address", host.Finding, "reads the secrets")
}

// certificate writes a certificate that ends after a time, and its key, open
// to all.
func certificate(t *testing.T, life time.Duration) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "keyturn"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// Looking at the lock takes it from nobody.
func TestHolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, held, err := folder.Holder(dir); held || err != nil {
		t.Errorf("without a lock file: got %v, %v", held, err)
	}
	f, err := folder.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if pid, held, err := folder.Holder(dir); !held || pid != os.Getpid() || err != nil {
		t.Errorf("while it is held: got %d, %v, %v", pid, held, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, held, err := folder.Holder(dir); held || err != nil {
		t.Errorf("after it was given back: got %v, %v", held, err)
	}
}

// No memory of this process, nor of one that it starts, is dumped: neither to
// a file nor to a helper.
func TestNoCoreDumps(t *testing.T) {
	if err := host.ForbidCoreDumps(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", "ulimit -Hc; cat /proc/self/coredump_filter").Output()
	if err != nil || string(out) != "0\n00000000\n" {
		t.Errorf("got %q, %v; want a limit and a filter of 0", out, err)
	}
}
