package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/server"
	"github.com/keyturn/keyturn/internal/store/folder"
)

// config is that of an ordinary server on a fresh folder.
func config(t *testing.T) server.Config {
	t.Helper()
	return server.Config{Dir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0", Region: apitest.Region, Account: apitest.Account}
}

// start runs a server and returns its URL and how to stop it before the test
// ends.
func start(t *testing.T, cfg server.Config) (url string, stop func()) {
	t.Helper()
	s, stop := run(t, cfg)
	return s.URL(), stop
}

func run(t *testing.T, cfg server.Config) (s *server.Server, stop func()) {
	t.Helper()
	s, err := server.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(ready) }) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping the server: %v", err)
		}
	}
	t.Cleanup(stop)
	<-ready
	return s, stop
}

// wantRefusal demands that no server can be made and that the error says why.
func wantRefusal(t *testing.T, cfg server.Config, want string) {
	t.Helper()
	s, err := server.New(t.Context(), cfg)
	if err == nil {
		s.Close()
		t.Errorf("a server was made, want %q", want)
	} else if !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestConfig(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*server.Config)
		want string
	}{
		{"no folder", func(c *server.Config) { c.Dir = "" }, "a server needs a data folder"},
		{"region", func(c *server.Config) { c.Region = "nowhere" }, `region "nowhere" is not a region name such as us-east-1`},
		{"account", func(c *server.Config) { c.Account = "12345678901x" }, `account "12345678901x" does not have 12 digits`},
		{"concurrency", func(c *server.Config) { c.Concurrency = -1 }, "a concurrency of -1 is less than none"},
		{"grace", func(c *server.Config) { c.Grace = -time.Second }, "a grace of -1s is less than none"},
		{"certificate alone", func(c *server.Config) { c.TLSCert = "c.pem" }, "TLS needs both a certificate and its key"},
		{"key alone", func(c *server.Config) { c.TLSKey = "k.pem" }, "TLS needs both a certificate and its key"},
		{"access key alone", func(c *server.Config) { c.RootAccessKeyID = "AKIA" }, "the root credentials need both an access key ID and a secret access key"},
		{"secret key alone", func(c *server.Config) { c.RootSecretAccessKey = "s" }, "the root credentials need both an access key ID and a secret access key"},
		{"no port", func(c *server.Config) { c.Listen = "127.0.0.1" }, "listen address: address 127.0.0.1: missing port in address"},
		{"all addresses", func(c *server.Config) { c.Listen = ":0" }, ":0 is not a loopback address: give --tls-cert and --tls-key, or --insecure-http"},
		{"another address", func(c *server.Config) { c.Listen = "192.0.2.1:0" }, "192.0.2.1:0 is not a loopback address"},
		{"a name", func(c *server.Config) { c.Listen = "keyturn.example:0" }, "keyturn.example:0 is not a loopback address"},
		{"dev for all", func(c *server.Config) { c.Dev, c.InsecureHTTP, c.Listen = true, true, "0.0.0.0:0" }, "a throw-away server listens on loopback only, not on 0.0.0.0:0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := config(t)
			dir := cfg.Dir
			tc.set(&cfg)
			wantRefusal(t, cfg, tc.want)
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the data folder was touched: %v", err)
			}
		})
	}
}

func TestListenFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := config(t)
	taken.Listen = l.Addr().String()
	wantRefusal(t, taken, "address already in use")
	start(t, config(t)) // nothing is held on to
	none := config(t)
	none.TLSCert, none.TLSKey = "none.pem", "none.pem"
	wantRefusal(t, none, "reading the TLS certificate: open ")
}

// Plain HTTP beyond loopback works for who accepts the risk; the URL that is
// told is one that this machine reaches.
func TestInsecureHTTP(t *testing.T) {
	cfg := config(t)
	cfg.Listen, cfg.InsecureHTTP = "0.0.0.0:0", true
	url, _ := start(t, cfg)
	if !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Errorf("got URL %s", url)
	}
	if status, body := get(t, url+"/health"); status != http.StatusOK {
		t.Errorf("got %d %s", status, body)
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// One server at a time works on a data folder, wherever it stores.
func TestOneServerPerFolder(t *testing.T) {
	for name, url := range map[string]func() string{"sqlite": func() string { return "" }, "postgres": func() string { return apitest.StoreURL(t) }} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t)
			cfg.StoreURL = url()
			_, stop := start(t, cfg)
			_, err := server.New(t.Context(), cfg)
			if inUse, ok := errors.AsType[*folder.InUseError](err); !ok || inUse.PID != os.Getpid() {
				t.Errorf("got %v, want that the folder is in use by process %d", err, os.Getpid())
			}
			stop()
			start(t, cfg)
		})
	}
}

// Nodes with folders of their own share a store.
func TestTwoNodes(t *testing.T) {
	first := config(t)
	first.StoreURL = apitest.StoreURL(t)
	first.RootAccessKeyID, first.RootSecretAccessKey = apitest.AccessKey, apitest.SecretKey
	start(t, first)
	second := first
	second.Dir = filepath.Join(t.TempDir(), "data")
	wantRefusal(t, second, "root.key is missing")
	copyFile(t, filepath.Join(first.Dir, "root.key"), filepath.Join(second.Dir, "root.key"))
	url, _ := start(t, second)
	if status, body := get(t, url+"/health"); status != http.StatusOK {
		t.Errorf("got %d %s", status, body)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What dev made is nothing for serve, and the other way around.
func TestDevMarker(t *testing.T) {
	for _, dev := range []bool{false, true} {
		cfg := config(t)
		cfg.Dev = dev
		cfg.RootAccessKeyID, cfg.RootSecretAccessKey = "test", "test"
		_, stop := start(t, cfg)
		stop()
		made, other := "serve", "dev"
		if dev {
			made, other = other, made
		}
		cfg.Dev = !dev
		wantRefusal(t, cfg, "was made by keyturn "+made+", and keyturn "+other+" does not touch it")
		cfg.Dev = dev
		start(t, cfg)
	}
}

func TestRootKey(t *testing.T) {
	const one, other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	cfg := config(t)
	cfg.RootKey = one
	_, stop := start(t, cfg)
	stop()
	if _, err := os.Stat(filepath.Join(cfg.Dir, "root.key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a root key file was made beside the given key: %v", err)
	}
	wrong := cfg
	wrong.RootKey = other
	wantRefusal(t, wrong, "the store holds keys that the root key ")
	wrong.RootKey = "not base64!"
	wantRefusal(t, wrong, "KEYTURN_ROOT_KEY is not base64")
	wrong.RootKey = ""
	wantRefusal(t, wrong, "root.key is missing, and what is stored cannot be opened without it: put the file back from a backup")
	start(t, cfg)
}

func TestDamagedNodeName(t *testing.T) {
	cfg := config(t)
	_, stop := start(t, cfg)
	stop()
	if err := os.WriteFile(filepath.Join(cfg.Dir, "node.json"), []byte("\"half"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, cfg, "node.json is damaged")
}

// /health says who answers, and whether networks count here.
func TestHealthNamesTheServer(t *testing.T) {
	url, _ := start(t, config(t))
	res, err := http.Get(url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("Server") != "Keyturn" || res.Header.Get("Keyturn-Enforce-Vpc") != "false" {
		t.Errorf("got the headers %v", res.Header)
	}
}

// /health says when the store is gone, and when it is back.
func TestHealthWithoutStore(t *testing.T) {
	db, err := pgserver.Start(t.Context(), pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cfg := config(t)
	cfg.StoreURL = db.AdminURL()
	cfg.Grace = 5 * time.Second
	url, _ := start(t, cfg)
	if status, body := get(t, url+"/health"); status != http.StatusOK || body != "{\"status\":\"ok\"}\n" {
		t.Errorf("got %d %s", status, body)
	}
	if err := db.Kill(); err != nil {
		t.Fatal(err)
	}
	if status, body := get(t, url+"/health"); status != http.StatusServiceUnavailable || !strings.Contains(body, "the store cannot be read") {
		t.Errorf("without PostgreSQL: got %d %s", status, body)
	}
	if err := db.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Connections from before are found dead one by one.
	deadline := time.Now().Add(10 * time.Second)
	for status, body := get(t, url+"/health"); status != http.StatusOK; status, body = get(t, url+"/health") {
		if time.Now().After(deadline) {
			t.Fatalf("with PostgreSQL back: got %d %s", status, body)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
