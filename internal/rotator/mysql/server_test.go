package mysql_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
)

// server is a real MySQL or MariaDB on a loopback port, with a certificate of
// an authority made for it.
type server struct {
	port  int
	maria bool
	// authority is the certificate's, in PEM form.
	authority string

	dir     string
	program string
	args    []string
	process *exec.Cmd
	exited  chan struct{}
	admin   *sql.DB
}

// adminPassword is that of root@127.0.0.1.
const adminPassword = "Root-Password-1"

// startMariaDB makes a data folder and starts a server on it.
func startMariaDB(t testing.TB) *server {
	program, err := exec.LookPath("mariadbd")
	if err != nil {
		program = "/usr/sbin/mariadbd"
	}
	s := &server{maria: true, program: program, dir: t.TempDir()}
	run(t, "mariadb-install-db", "--no-defaults", "--datadir="+s.data(), "--auth-root-authentication-method=normal", "--skip-test-db",
		"--skip-name-resolve", "--user="+owner(t), "--tmpdir="+s.dir) // starting, it takes away what others left in theirs
	s.args = []string{"--no-defaults", "--tmpdir=" + s.dir}
	return s.begin(t)
}

// startMySQL does so with the server that scripts/mysqld unpacks.
func startMySQL(t testing.TB) *server {
	build, err := filepath.Abs("../../../build/mysql")
	if err != nil {
		t.Fatal(err)
	}
	if why, err := os.ReadFile(filepath.Join(build, "unavailable")); err == nil {
		t.Skip(string(why)) // Debian's unstable suite has none today
	}
	s := &server{program: filepath.Join(build, "mysqld"), dir: t.TempDir()}
	if _, err := os.Stat(s.program); err != nil {
		t.Fatalf("there is no MySQL server; run scripts/mysqld: %v", err)
	}
	run(t, s.program, "--initialize-insecure", "--skip-log-bin", "--secure-file-priv=NULL", "--datadir="+s.data(), "--user="+owner(t))
	s.args = []string{"--mysqlx=OFF", "--secure-file-priv=NULL"}
	return s.begin(t)
}

// owner is the user that the server runs as, which is that of the tests.
func owner(t testing.TB) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

func run(t testing.TB, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// begin starts the server for the first time and gives root a password.
func (s *server) begin(t testing.TB) *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	s.certify(t, "127.0.0.1", true)
	s.args = append(s.args, "--datadir="+s.data(), "--port="+strconv.Itoa(s.port), "--bind-address=127.0.0.1", "--skip-log-bin",
		"--socket="+filepath.Join(s.dir, "socket"), "--pid-file="+filepath.Join(s.dir, "pid"), "--skip-name-resolve", "--user="+owner(t),
		"--innodb-flush-log-at-trx-commit=1", "--general-log=1", "--general-log-file="+s.generalLog())
	t.Cleanup(func() { s.stop(t) })
	s.start(t, s.withTLS()...)
	if s.admin, err = sql.Open("mysql", s.adminURL()); err != nil {
		t.Fatal(err)
	}
	s.admin.SetMaxIdleConns(-1) // a killed server leaves none behind
	for _, statement := range []string{
		"CREATE USER IF NOT EXISTS root@127.0.0.1 IDENTIFIED BY '" + adminPassword + "'",
		"ALTER USER root@127.0.0.1 IDENTIFIED BY '" + adminPassword + "'", "GRANT ALL ON *.* TO root@127.0.0.1 WITH GRANT OPTION",
	} {
		s.exec(t, statement)
	}
	if !s.maria {
		s.exec(t, "GRANT PROXY ON ''@'' TO root@127.0.0.1 WITH GRANT OPTION")
	}
	return s
}

// adminURL is root's login at the socket, which needs neither password nor
// TLS.
func (s *server) adminURL() string {
	return "root@unix(" + s.file("socket") + ")/?interpolateParams=true"
}

func (s *server) file(name string) string { return filepath.Join(s.dir, name) }

func (s *server) generalLog() string { return s.file("general.log") }

// withTLS are the arguments that turn TLS on.
func (s *server) withTLS() []string {
	return []string{"--ssl-ca=" + s.file("ca.pem"), "--ssl-cert=" + s.file("server.pem"), "--ssl-key=" + s.file("key.pem")}
}

// withoutTLS is the argument that turns it off.
func (s *server) withoutTLS() string {
	if s.maria {
		return "--skip-ssl"
	}
	return "--tls-version="
}

// start starts the server; secure says how it encrypts. The death of the
// thread that starts it would end it, so that one thread stays with it.
func (s *server) start(t testing.TB, secure ...string) {
	t.Helper()
	if len(secure) > 0 {
		s.args = append(slices.DeleteFunc(s.args, func(a string) bool { return strings.Contains(a, "ssl") || strings.Contains(a, "tls") }), secure...)
	}
	cmd := exec.Command(s.program, s.args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	exited, began, ready := make(chan struct{}), make(chan error, 1), make(chan []string, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		began <- err
		if err == nil {
			watch(stderr, ready)
			_ = cmd.Wait() // it ends as it was ended
			close(exited)
		}
	}()
	if err := <-began; err != nil {
		t.Fatal(err)
	}
	s.process, s.exited = cmd, exited
	if lines := <-ready; lines != nil {
		t.Fatalf("the server did not start:\n%s", strings.Join(lines, "\n"))
	}
}

// watch reads the log; ready gets nil once the server accepts connections, or
// all lines when it ends before.
func watch(stderr io.Reader, ready chan<- []string) {
	var lines []string
	scanner := bufio.NewScanner(stderr)
	up := false
	for scanner.Scan() {
		if !up && strings.Contains(scanner.Text(), "ready for connections") && !strings.Contains(scanner.Text(), "X Plugin") {
			up = true
			ready <- nil
		}
		if !up {
			lines = append(lines, scanner.Text())
		}
	}
	if !up {
		ready <- append(lines, "(end of its log)")
	}
}

// kill ends the server as a crash does.
func (s *server) kill(t testing.TB) {
	t.Helper()
	if s.process == nil {
		return
	}
	if err := syscall.Kill(-s.process.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
	<-s.exited
	s.process = nil
}

func (s *server) stop(t testing.TB) {
	if s.admin != nil {
		s.admin.Close()
	}
	s.kill(t)
}

// restart starts it again, with other ways to encrypt.
func (s *server) restart(t testing.TB, secure ...string) {
	t.Helper()
	s.kill(t)
	s.start(t, secure...)
}

// certify writes a certificate for a name or address; signed says that the
// authority signs it, else it signs itself. The server reads it when told.
func (s *server) certify(t testing.TB, host string, signed bool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "server"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		leaf.IPAddresses = []net.IP{ip}
	} else {
		leaf.DNSNames = []string{host}
	}
	parent, parentKey := leaf, key
	if signed {
		parent, parentKey = s.newAuthority(t)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "server.pem", "CERTIFICATE", der)
	s.write(t, "key.pem", "PRIVATE KEY", keyDER)
}

func (s *server) newAuthority(t testing.TB) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s.authority = s.write(t, "ca.pem", "CERTIFICATE", der)
	return authority, key
}

func (s *server) write(t testing.TB, name, kind string, der []byte) string {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(s.file(name), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// exec runs statements as root.
func (s *server) exec(t testing.TB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := s.admin.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// column returns the first column of what a query gives.
func (s *server) column(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := s.admin.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var v sql.NullString
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v.String)
	}
	return all, rows.Err()
}

// login logs in without the code under test, encrypted.
func (s *server) login(ctx context.Context, user, password string) (*sql.Conn, error) {
	cfg := driver.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd = "tcp", fmt.Sprintf("127.0.0.1:%d", s.port), user, password
	cfg.TLS, cfg.Logger = s.trusting(), &driver.NopLogger{}
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxIdleConns(-1) // to close a connection ends it
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return conn, nil
}

func (s *server) trusting() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.authority))
	return &tls.Config{ServerName: "127.0.0.1", RootCAs: roots}
}
