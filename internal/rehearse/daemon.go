package rehearse

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// daemon is a private server's process, which ends with this one, and its
// temporary folder.
type daemon struct {
	dir    string
	port   int
	cmd    *exec.Cmd
	exited chan struct{}
}

// startTime bounds the start of a daemon.
const startTime = time.Minute

func newDaemon(w *workspace, kind string) (*daemon, error) {
	dir, err := w.folder(kind)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	defer l.Close()
	return &daemon{dir: dir, port: l.Addr().(*net.TCPAddr).Port, exited: make(chan struct{})}, nil
}

func (d *daemon) file(name string) string { return filepath.Join(d.dir, name) }

// start runs the program. The death of the starting thread would end it, so
// one locked thread starts it and waits for its end.
func (d *daemon) start(program string, args ...string) error {
	log, err := os.Create(d.file("log"))
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd = exec.Command(program, args...)
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = d.dir, log, log
	d.cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/usr/bin", "LC_ALL=C", "TZ=UTC", "HOME=" + d.dir}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			_ = d.cmd.Wait() // how it ended is in its log
		}
		close(d.exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", program, err)
	}
	return nil
}

// await waits until the daemon answers; one that does not is stopped.
func (d *daemon) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-d.exited:
			said, _ := os.ReadFile(d.file("log"))
			return errors.Join(fmt.Errorf("%s ended:\n%s", d.cmd.Path, tail(said)), d.stop())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not answer: %w", d.cmd.Path, err), d.stop())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tail is the end of a log.
func tail(log []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-20):], []byte("\n"))
}

func (d *daemon) stop() error {
	if d.cmd != nil && d.cmd.Process != nil {
		select {
		case <-d.exited: // by itself, and its number may be another's by now
		default:
			_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) // it may be gone since
			<-d.exited
		}
	}
	return os.RemoveAll(d.dir)
}

// find looks a program up in PATH and where Debian has servers.
func find(program, hint string) (string, error) {
	for _, name := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no %s: run: apt-get install %s", program, hint)
}

// newMariaDB makes a data folder and starts MariaDB on it, with root's
// password.
func newMariaDB(ctx context.Context, w *workspace, password string) (*daemon, error) {
	program, err := find("mariadbd", "mariadb-server")
	if err != nil {
		return nil, err
	}
	install, err := find("mariadb-install-db", "mariadb-server")
	if err != nil {
		return nil, err
	}
	d, err := newDaemon(w, "mariadb")
	if err != nil {
		return nil, err
	}
	if err := d.runMariaDB(ctx, program, install, password); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

func (d *daemon) runMariaDB(ctx context.Context, program, install, password string) error {
	who, err := user.Current()
	if err != nil {
		return err
	}
	// A folder of its own for what is temporary: a server that starts takes
	// away what it finds of others in theirs.
	out, err := exec.CommandContext(ctx, install, "--no-defaults", "--datadir="+d.file("data"), "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--user="+who.Username, "--tmpdir="+d.file("")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("making a data folder for MariaDB: %w\n%s", err, tail(out))
	}
	// The password is letters and digits, so it needs no quoting.
	statements := "CREATE OR REPLACE USER root@127.0.0.1 IDENTIFIED BY '" + password + "';\n" +
		"GRANT ALL ON *.* TO root@127.0.0.1 WITH GRANT OPTION;\nDELETE FROM mysql.global_priv WHERE User IN ('root', '') AND Host <> '127.0.0.1';\nFLUSH PRIVILEGES;\n"
	if err := os.WriteFile(d.file("init.sql"), []byte(statements), 0o600); err != nil {
		return err
	}
	return d.start(program, "--no-defaults", "--datadir="+d.file("data"), "--port="+strconv.Itoa(d.port), "--bind-address=127.0.0.1",
		"--socket="+d.file("socket"), "--pid-file="+d.file("pid"), "--skip-name-resolve", "--skip-log-bin", "--user="+who.Username,
		"--tmpdir="+d.file(""), "--init-file="+d.file("init.sql"), "--innodb-flush-log-at-trx-commit=0")
}

// newRedis starts Redis with users that may do everything.
func newRedis(w *workspace, users map[string]string) (*daemon, error) {
	program, err := find("redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	d, err := newDaemon(w, "redis")
	if err != nil {
		return nil, err
	}
	var acl strings.Builder
	acl.WriteString("user default off\n")
	for name, password := range users {
		sum := sha256.Sum256([]byte(password))
		fmt.Fprintf(&acl, "user %s on #%s ~* &* +@all\n", name, hex.EncodeToString(sum[:]))
	}
	config := fmt.Sprintf("bind 127.0.0.1\nport %d\nsave \"\"\ndir %s\naclfile %s\n", d.port, d.dir, d.file("users.acl"))
	err = errors.Join(os.WriteFile(d.file("users.acl"), []byte(acl.String()), 0o600), os.WriteFile(d.file("redis.conf"), []byte(config), 0o600))
	if err == nil {
		err = d.start(program, d.file("redis.conf"))
	}
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}
