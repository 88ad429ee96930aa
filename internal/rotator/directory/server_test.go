package directory_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// daemon is a server's process, which ends with the test's.
type daemon struct {
	path string
	args []string
	log  string // the file that it writes to
	addr string // where it listens once it is ready

	cmd    *exec.Cmd
	exited chan struct{}
}

// start starts the process, on a thread of its own because the thread's end
// would be the process's, and waits until it listens.
func (d *daemon) start(ctx context.Context) error {
	log, err := os.Create(d.log)
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd, d.exited = exec.Command(d.path, d.args...), make(chan struct{})
	d.cmd.Dir = filepath.Dir(d.log)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, exited := make(chan error), d.exited
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			_ = d.cmd.Wait()
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	return d.ready(ctx)
}

func (d *daemon) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-d.exited:
			text, _ := os.ReadFile(d.log)
			return fmt.Errorf("%s ended: %s", d.path, text)
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen at %s", d.path, d.addr)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// kill ends the process and all that it started.
func (d *daemon) kill() {
	if d.cmd == nil || d.cmd.Process == nil {
		return
	}
	_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) // it may be gone by itself
	<-d.exited
}

// certify writes an authority's certificate, and one for the host with its
// key, into the folder.
func certify(dir, host string) error {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "directory test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "directory"}, IPAddresses: []net.IP{net.ParseIP(host)},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, &key.PublicKey, authorityKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: authorityDER},
		"cert.pem": {Type: "CERTIFICATE", Bytes: leafDER},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// trusting is how tests verify the server's certificate themselves.
func trusting(t testing.TB, caFile string) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: roots}
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

// blackHole takes connections and says nothing.
func blackHole(t testing.TB) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// slapd is an OpenLDAP server.
type slapd struct {
	daemon
	dir           string
	plain, secure int // ports
}

const (
	suffix       = "dc=keyturn,dc=test"
	rootDN       = "cn=admin," + suffix
	rootPassword = "Root-Passw0rd-1"
)

// startSlapd starts one that takes passwords over TLS only if strict.
func startSlapd(t testing.TB, strict bool) *slapd {
	t.Helper()
	s := &slapd{dir: t.TempDir(), plain: freePort(t), secure: freePort(t)}
	if err := certify(s.dir, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	security := ""
	if strict {
		security = "security simple_bind=128"
	}
	config := strings.NewReplacer("DIR", s.dir, "SUFFIX", suffix, "ROOT", rootDN, "PASSWORD", rootPassword, "SECURITY", security).Replace(`
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
TLSCACertificateFile DIR/ca.pem
TLSCertificateFile DIR/cert.pem
TLSCertificateKeyFile DIR/key.pem
SECURITY
database mdb
directory DIR/data
suffix SUFFIX
rootdn ROOT
rootpw PASSWORD
overlay ppolicy
ppolicy_use_lockout
access to attrs=userPassword by self write by anonymous auth by * none
access to * by * read
`)
	if err := os.WriteFile(filepath.Join(s.dir, "slapd.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.daemon = daemon{
		path: "/usr/sbin/slapd", // which users' PATH leaves out
		log:  filepath.Join(s.dir, "log"), addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.plain)),
		args: []string{"-f", filepath.Join(s.dir, "slapd.conf"), "-d", "0",
			"-h", fmt.Sprintf("ldap://127.0.0.1:%d ldaps://127.0.0.1:%d", s.plain, s.secure)},
	}
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.kill() })
	s.add(t, suffix, "dcObject organization", "dc", "keyturn", "o", "Keyturn")
	s.add(t, "ou=people,"+suffix, "organizationalUnit", "ou", "people")
	s.add(t, "cn=strict,"+suffix, "applicationProcess pwdPolicy", "cn", "strict",
		"pwdAttribute", "userPassword", "pwdMinLength", "200", "pwdCheckQuality", "2")
	s.add(t, "cn=lockout,"+suffix, "applicationProcess pwdPolicy", "cn", "lockout", "pwdAttribute", "userPassword", "pwdLockout", "TRUE")
	return s
}

// as logs in without the code under test.
func (s *slapd) as(t testing.TB, dn, password string) (*ldap.Conn, error) {
	conn, err := ldap.DialURL(fmt.Sprintf("ldaps://127.0.0.1:%d", s.secure), ldap.DialWithTLSConfig(trusting(t, filepath.Join(s.dir, "ca.pem"))))
	if err != nil {
		return nil, err
	}
	if err := conn.Bind(dn, password); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (s *slapd) root(t testing.TB) *ldap.Conn {
	t.Helper()
	conn, err := s.as(t, rootDN, rootPassword)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// add makes an entry of classes, separated by spaces, with pairs of an
// attribute and a value.
func (s *slapd) add(t testing.TB, dn, classes string, pairs ...string) {
	t.Helper()
	conn := s.root(t)
	defer conn.Close()
	request := ldap.NewAddRequest(dn, nil)
	request.Attribute("objectClass", strings.Fields(classes))
	for i := 0; i < len(pairs); i += 2 {
		request.Attribute(pairs[i], pairs[i+1:i+2])
	}
	if err := conn.Add(request); err != nil {
		t.Fatalf("adding %s: %v", dn, err)
	}
}

// set replaces an attribute of an entry; no values take it away.
func (s *slapd) set(t testing.TB, dn, attribute string, values ...string) {
	t.Helper()
	conn := s.root(t)
	defer conn.Close()
	request := ldap.NewModifyRequest(dn, nil)
	request.Replace(attribute, values)
	if err := conn.Modify(request); err != nil {
		t.Fatalf("changing %s of %s: %v", attribute, dn, err)
	}
}
