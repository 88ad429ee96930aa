package ssh_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// server is an sshd of its own on loopback, which the current user logs in to
// by the keys of one file.
type server struct {
	dir, user string
	port      int
	hostKey   string // as known_hosts has it, without the host
	cmd       *exec.Cmd
	exited    chan struct{}
}

// program is where Debian has it; it is not on every user's PATH.
const program = "/usr/sbin/sshd"

func newServer(t testing.TB) *server {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{dir: t.TempDir(), user: me.Username, port: freePort(t)}
	s.newHostKey(t)
	s.write(t, "", "")
	s.start(t)
	t.Cleanup(func() { s.kill() })
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

func (s *server) newHostKey(t testing.TB) {
	t.Helper()
	private, public := newPair(t)
	s.hostKey = public
	if err := os.WriteFile(filepath.Join(s.dir, "host_key"), []byte(private), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newPair makes a pair without the code under test.
func newPair(t testing.TB) (private, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	line, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(line)))
}

// home is what the user's sessions have as their home.
func (s *server) home() string { return filepath.Join(s.dir, "home of a user") }

// keys is the folder of the authorized_keys file, file the file.
func (s *server) keys() string { return filepath.Join(s.home(), ".ssh") }
func (s *server) file() string { return filepath.Join(s.keys(), "authorized_keys") }

// write writes the authorized_keys file: the lines of others, and among them
// the key with its options.
func (s *server) write(t testing.TB, options, key string) {
	t.Helper()
	if err := os.MkdirAll(s.keys(), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "# keys of others stay\n" + othersKey + "\nnot a key at all\n\n" + strings.TrimSpace(options+" "+key)
	if err := os.WriteFile(s.file(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// othersKey is a line of somebody else's, with odd spacing.
const othersKey = `command="echo \"hello, world\"",no-pty  ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKtT5iIh0UFJkYdbVAVPdG8Yh2m5cCPGSIbzJkWvvCFn   somebody else`

func (s *server) start(t testing.TB) {
	t.Helper()
	config := fmt.Sprintf(`Port %d
ListenAddress 127.0.0.1
HostKey %s/host_key
AuthorizedKeysFile "%s"
SetEnv "HOME=%s"
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
`, s.port, s.dir, s.file(), s.home())
	path := filepath.Join(s.dir, "sshd_config")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{program, "-D", "-e", "-f", path}
	if os.Geteuid() == 0 {
		// Root needs the folder, and without this capability the modes of
		// files count for root as well.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"setpriv", "--bounding-set=-dac_override,-dac_read_search"}, args...)
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd, s.exited = exec.Command(args[0], args[1:]...), make(chan struct{})
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
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
		t.Fatalf("starting sshd: run apt-get install openssh-server: %v", err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.address())
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("sshd does not start: %s", text)
		}
	}
}

func (s *server) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// kill ends the server and all its sessions.
func (s *server) kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // it may be gone
	<-s.exited
}

// login logs in by OpenSSH's own client.
func (s *server) login(ctx context.Context, secret map[string]any) error {
	dir, err := os.MkdirTemp(s.dir, "client-")
	if err != nil {
		return err
	}
	key, known := filepath.Join(dir, "key"), filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(key, []byte(secret["privateKey"].(string)), 0o600); err != nil {
		return err
	}
	line := fmt.Sprintf("[127.0.0.1]:%d %s\n", s.port, secret["hostKey"])
	if err := os.WriteFile(known, []byte(line), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "ssh", "-F", "/dev/null", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile="+known, "-o", "ConnectTimeout=5",
		"-p", fmt.Sprint(s.port), s.user+"@127.0.0.1", "true")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
