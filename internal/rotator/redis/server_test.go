package redis_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

const (
	adminPassword = "admin-Password-1"
	firstPassword = "first-Password-1"
)

// server is a real Redis with a plain and a TLS port. Its tests' own
// connections are a client's of another make than the rotator's.
type server struct {
	rotatortest.Daemon
	dir           string
	port, tlsPort int
	cert          *rotatortest.Certificate
	admin         *goredis.Client
}

// options change the server's configuration.
type options struct {
	aclFile  bool // users are kept in a file of their own
	settings string
}

func start(t testing.TB, o options) *server {
	t.Helper()
	s := &server{
		dir: t.TempDir(), port: rotatortest.FreePort(t), tlsPort: rotatortest.FreePort(t),
		cert: rotatortest.NewCertificate(t, "127.0.0.1", "localhost"),
	}
	sum := sha256.Sum256([]byte(adminPassword))
	users := "user default off\nuser admin on #" + hex.EncodeToString(sum[:]) + " ~* &* +@all\n"
	config := fmt.Sprintf("bind 127.0.0.1\nport %d\ntls-port %d\ntls-cert-file %s\ntls-key-file %s\ntls-auth-clients no\nsave \"\"\ndir %s\n%s\n",
		s.port, s.tlsPort, s.cert.CertFile, s.cert.KeyFile, s.dir, o.settings)
	if o.aclFile {
		s.write(t, "acl/users.acl", users)
		config += "aclfile " + filepath.Join(s.dir, "acl", "users.acl") + "\n"
	} else {
		config += users
	}
	s.write(t, "redis.conf", config)
	s.Command = func() *exec.Cmd { return exec.Command("redis-server", filepath.Join(s.dir, "redis.conf")) }
	s.admin = goredis.NewClient(&goredis.Options{
		Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Username: "admin", Password: adminPassword, PoolSize: 1, MaxRetries: 5,
	})
	s.Ready = func(ctx context.Context) error { return s.admin.Ping(ctx).Err() }
	s.Start(t)
	t.Cleanup(func() { s.admin.Close() })
	return s
}

// startWithoutFiles starts a server with all its settings on the command line.
func startWithoutFiles(t testing.TB) *server {
	t.Helper()
	s := &server{dir: t.TempDir(), port: rotatortest.FreePort(t)}
	s.Command = func() *exec.Cmd {
		return exec.Command("redis-server", "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--save", "", "--dir", s.dir)
	}
	s.admin = goredis.NewClient(&goredis.Options{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), PoolSize: 1})
	s.Ready = func(ctx context.Context) error { return s.admin.Ping(ctx).Err() }
	s.Start(t)
	t.Cleanup(func() { s.admin.Close() })
	return s
}

func (s *server) write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// do runs a command as the administrator.
func (s *server) do(t testing.TB, args ...any) any {
	t.Helper()
	v, err := s.admin.Do(context.WithoutCancel(t.Context()), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args[:2], err)
	}
	return v
}

// addUser makes a user with some rights, so that it is there after a restart.
func (s *server) addUser(t testing.TB, name string, rules ...any) {
	t.Helper()
	s.do(t, append([]any{"ACL", "SETUSER", name, "on", ">" + firstPassword}, rules...)...)
	if _, err := os.Stat(filepath.Join(s.dir, "acl")); err == nil {
		s.do(t, "ACL", "SAVE")
	} else {
		s.do(t, "CONFIG", "REWRITE")
	}
}

// login logs in past every proxy.
func (s *server) login(ctx context.Context, encrypted bool, user, password string) error {
	o := &goredis.Options{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Username: user, Password: password, Protocol: 2, DisableIdentity: true, MaxRetries: -1}
	if encrypted {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(s.cert.Authority))
		o.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.tlsPort))
		o.TLSConfig = &tls.Config{RootCAs: roots}
	}
	c := goredis.NewClient(o)
	defer c.Close()
	err := c.Ping(ctx).Err()
	if err != nil && strings.HasPrefix(err.Error(), "NOPERM") {
		return nil // the user may not, but it is the user
	}
	return err
}

// rules are what a user may do and has to be, without its passwords.
func (s *server) rules(ctx context.Context, name string) (string, error) {
	lines, err := s.admin.Do(ctx, "ACL", "LIST").StringSlice()
	if err != nil {
		return "", err
	}
	for _, line := range lines {
		fields := strings.Fields(line)
		if fields[1] != name {
			continue
		}
		var kept []string
		for _, f := range fields[2:] {
			if !strings.HasPrefix(f, "#") {
				kept = append(kept, f)
			}
		}
		return strings.Join(kept, " "), nil
	}
	return "", fmt.Errorf("there is no user %q", name)
}

// passwords counts the passwords of a user.
func (s *server) passwords(t testing.TB, name string) int {
	t.Helper()
	for _, line := range s.do(t, "ACL", "LIST").([]any) {
		if fields := strings.Fields(line.(string)); fields[1] == name {
			return strings.Count(line.(string), " #")
		}
	}
	return 0
}
