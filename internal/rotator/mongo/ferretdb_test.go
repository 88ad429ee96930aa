package mongo_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// The superuser that FerretDB is set up with.
const (
	rootName     = "root"
	rootPassword = "first-Root-password"
)

// ferretDB is a running FerretDB over SQLite: a server of MongoDB's protocol
// that authenticates by SCRAM and keeps users for real, but has no roles.
type ferretDB struct {
	cert       *rotatortest.Certificate
	plain, tls int // ports
	dir        string
	exited     chan struct{}
	pid        int
}

func startFerretDB(t testing.TB) *ferretDB {
	t.Helper()
	s := &ferretDB{cert: rotatortest.NewCertificate(t, "127.0.0.1"), plain: freePort(t), tls: freePort(t), dir: t.TempDir()}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	s.await(t)
	return s
}

func program() (string, error) {
	build := exec.Command(filepath.Join(apitest.Root(), "scripts/ferretdb")) // nothing if it is there
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building FerretDB: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(apitest.Root(), "build/ferretdb/ferretdb-v*[0-9]"))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("FerretDB was not built: %v", err)
	}
	return found[len(found)-1], nil
}

// start starts the process on a thread that waits for its end, because it is
// to end with that thread.
func (s *ferretDB) start() error {
	path, err := program()
	if err != nil {
		return err
	}
	cmd := exec.Command(path, "--handler=sqlite", "--sqlite-url=file:"+s.dir+"/", "--state-dir=-", "--telemetry=disable",
		"--debug-addr=-", "--log-level=error", "--test-enable-new-auth",
		"--setup-database=admin", "--setup-username="+rootName, "--setup-password="+rootPassword,
		"--listen-addr="+address(s.plain), "--listen-tls="+address(s.tls),
		"--listen-tls-cert-file="+s.cert.CertFile, "--listen-tls-key-file="+s.cert.KeyFile)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.exited = make(chan struct{})
	started := make(chan error)
	go func(exited chan struct{}) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed
			close(exited)
		}
	}(s.exited)
	if err := <-started; err != nil {
		return err
	}
	s.pid = cmd.Process.Pid
	return nil
}

func (s *ferretDB) kill() {
	_ = syscall.Kill(s.pid, syscall.SIGKILL) // it may be gone
	<-s.exited
}

func (s *ferretDB) await(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := logIn(ctx, s.plain, "admin", rootName, rootPassword)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("FerretDB did not start: %v", err)
		}
	}
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
