package influxdb_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// server is InfluxDB's own code for users and tokens, as a process on
// loopback.
type server struct {
	dir, program        string
	port                int
	cert                *rotatortest.Certificate // nil: plain
	client              *http.Client
	token, org, orgID   string // the operator's
	userID, bucketID    string
	cmd                 *exec.Cmd
	exited              chan struct{}
	adminName, adminKey string
}

func newServer(t testing.TB, encrypted bool) *server {
	t.Helper()
	build := exec.Command(filepath.Join(apitest.Root(), "scripts", "influxd"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("scripts/influxd: %v\n%s", err, out)
	}
	s := &server{
		dir: t.TempDir(), program: filepath.Join(apitest.Root(), "build", "influxd", "influxd"), port: freePort(t),
		client: &http.Client{Timeout: time.Minute}, org: "a company", adminName: "admin", adminKey: "admin-Password-1",
	}
	if encrypted {
		s.cert = rotatortest.NewCertificate(t, "127.0.0.1")
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(s.cert.Authority))
		s.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	}
	s.start(t)
	t.Cleanup(func() { s.kill() })
	s.setUp(t)
	return s
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *server) start(t testing.TB) {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", s.port)
	args := []string{address, filepath.Join(s.dir, "influxd.bolt")}
	if s.cert != nil {
		args = append(args, s.cert.CertFile, s.cert.KeyFile)
	}
	var log bytes.Buffer
	s.cmd, s.exited = exec.Command(s.program, args...), make(chan struct{})
	s.cmd.Stderr = &log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() { // the death of the starting thread would end the process
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // it is killed
			close(s.exited)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-s.exited:
			t.Fatalf("influxd does not start: %s", &log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("influxd does not start in time")
		}
	}
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may be gone
	<-s.exited
}

// setUp makes the operator, an organization and a bucket.
func (s *server) setUp(t testing.TB) {
	t.Helper()
	var made struct {
		Auth struct{ Token, OrgID, UserID string }
		// ID is there under each of these names.
		Bucket struct{ ID string }
	}
	s.must(t, "POST", "/api/v2/setup", map[string]any{
		"username": s.adminName, "password": s.adminKey, "org": s.org, "bucket": "data",
	}, &made)
	s.token, s.orgID, s.userID, s.bucketID = made.Auth.Token, made.Auth.OrgID, made.Auth.UserID, made.Bucket.ID
}

// do calls the API as a token's owner.
func (s *server) do(ctx context.Context, token, method, path string, body, out any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url()+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Token "+token)
	return s.send(req, out)
}

func (s *server) send(req *http.Request, out any) error {
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		var said bytes.Buffer
		_, _ = said.ReadFrom(resp.Body)
		return fmt.Errorf("%s: %s", resp.Status, &said)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

func (s *server) url() string {
	if s.cert != nil {
		return fmt.Sprintf("https://127.0.0.1:%d", s.port)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", s.port)
}

func (s *server) must(t testing.TB, method, path string, body, out any) {
	t.Helper()
	if err := s.do(context.Background(), s.token, method, path, body, out); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// signIn logs in by name and password.
func (s *server) signIn(ctx context.Context, user, password string) error {
	req, err := http.NewRequestWithContext(ctx, "POST", s.url()+"/api/v2/signin", nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(user, password)
	return s.send(req, nil)
}

// at is where a secret says the server is.
func (s *server) at() map[string]any {
	return map[string]any{"engine": "influxdb", "host": "127.0.0.1", "port": s.port}
}

// environment lets functions trust the server.
func (s *server) environment() map[string]string {
	if s.cert == nil {
		return nil
	}
	return map[string]string{"KEYTURN_CA_BUNDLE": s.cert.Authority}
}

func (s *server) revive(t testing.TB) { s.start(t) }

func TestMain(m *testing.M) { rotatortest.Main(m) }
