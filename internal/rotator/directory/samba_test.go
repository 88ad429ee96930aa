package directory_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/go-ldap/ldap/v3"

	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// samba is an Active Directory domain controller.
type samba struct {
	daemon
	dir, host string
}

const (
	adRealm         = "KEYTURN.TEST"
	adDomain        = "KEYTURN"
	adSuffix        = "DC=keyturn,DC=test"
	adAdministrator = "Administrator"
	adPassword      = "Admin-Passw0rd-1"
)

// startSamba makes a domain and starts its controller at an address of
// loopback that nobody else uses, because its ports cannot be chosen. All
// tests of a binary share one: making it takes a while.
func startSamba(t testing.TB) *samba {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a Samba domain controller listens at port 636, for which this process has not the right: run as root")
	}
	s := &samba{host: fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()>>16&63, os.Getpid()>>8&255, 1+os.Getpid()&127)}
	l, err := net.Listen("tcp", net.JoinHostPort(s.host, "636"))
	if err != nil {
		t.Skipf("a Samba domain controller listens at port 636, which is taken: %v", err)
	}
	l.Close()
	s.dir = t.TempDir()
	provision := exec.Command("samba-tool", "domain", "provision", "--server-role=dc", "--realm="+adRealm, "--domain="+adDomain,
		"--adminpass="+adPassword, "--dns-backend=NONE", "--host-name=dc1", "--host-ip="+s.host, "--targetdir="+s.dir)
	if out, err := provision.CombinedOutput(); err != nil {
		t.Fatalf("making a domain: %v: %s", err, out)
	}
	if err := s.configure(); err != nil {
		t.Fatal(err)
	}
	s.daemon = daemon{
		path: "/usr/sbin/samba", log: filepath.Join(s.dir, "log"), addr: net.JoinHostPort(s.host, "636"),
		args: []string{"--interactive", "--model=single", "--debug-stdout", "--configfile=" + filepath.Join(s.dir, "smb.conf")},
	}
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.kill() })
	return s
}

func (s *samba) configure() error {
	if err := certify(s.dir, s.host); err != nil {
		return err
	}
	text := strings.NewReplacer("DIR", s.dir, "HOST", s.host, "REALM", adRealm, "DOMAIN", adDomain).Replace(`
[global]
	netbios name = DC1
	realm = REALM
	workgroup = DOMAIN
	server role = active directory domain controller
	server services = ldap, kdc
	interfaces = HOST/8
	bind interfaces only = yes
	private dir = DIR/private
	state directory = DIR/state
	cache directory = DIR/cache
	lock directory = DIR
	pid directory = DIR
	ncalrpc dir = DIR/ncalrpc
	ntp signd socket directory = DIR/signd
	winbindd socket directory = DIR/winbindd
	log file = DIR/log.%m
	tls certfile = DIR/cert.pem
	tls keyfile = DIR/key.pem
	tls cafile = DIR/ca.pem
	old password allowed period = 0
`)
	for _, name := range []string{"cache", "ncalrpc"} {
		if err := os.MkdirAll(filepath.Join(s.dir, name), 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(s.dir, "smb.conf"), []byte(text), 0o600)
}

func (s *samba) caFile() string { return filepath.Join(s.dir, "ca.pem") }

// as logs in without the code under test.
func (s *samba) as(t testing.TB, name, password string) (*ldap.Conn, error) {
	conn, err := ldap.DialURL("ldaps://"+s.host, ldap.DialWithTLSConfig(trusting(t, s.caFile())))
	if err != nil {
		return nil, err
	}
	if err := conn.Bind(name, password); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (s *samba) admin(t testing.TB) *ldap.Conn {
	t.Helper()
	conn, err := s.as(t, adAdministrator+"@"+adRealm, adPassword)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// utf16Quoted is a password as unicodePwd takes it.
func utf16Quoted(password string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(`"` + password + `"`)) {
		b.WriteByte(byte(unit))
		b.WriteByte(byte(unit >> 8))
	}
	return b.String()
}

// addUser makes an enabled account and returns its distinguished name.
func (s *samba) addUser(t testing.TB, account, password string, pairs ...string) string {
	t.Helper()
	conn := s.admin(t)
	defer conn.Close()
	dn := "CN=" + ldap.EscapeDN(account+`, "\ *`) + ",CN=Users," + adSuffix
	request := ldap.NewAddRequest(dn, nil)
	request.Attribute("objectClass", []string{"user"})
	request.Attribute("sAMAccountName", []string{account})
	request.Attribute("unicodePwd", []string{utf16Quoted(password)})
	request.Attribute("userAccountControl", []string{"512"})
	for i := 0; i < len(pairs); i += 2 {
		request.Attribute(pairs[i], pairs[i+1:i+2])
	}
	if err := conn.Add(request); err != nil {
		t.Fatalf("adding %s: %v", dn, err)
	}
	return dn
}

// set replaces an attribute of an entry.
func (s *samba) set(t testing.TB, dn, attribute string, values ...string) {
	t.Helper()
	conn := s.admin(t)
	defer conn.Close()
	request := ldap.NewModifyRequest(dn, nil)
	request.Replace(attribute, values)
	if err := conn.Modify(request); err != nil {
		t.Fatalf("changing %s of %s: %v", attribute, dn, err)
	}
}

// tryReset gives an account, by its name, another password.
func (s *samba) tryReset(conn *ldap.Conn, account, password string) error {
	found, err := conn.Search(ldap.NewSearchRequest(adSuffix, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		"(sAMAccountName="+ldap.EscapeFilter(account)+")", []string{"1.1"}, nil))
	if err != nil {
		return err
	}
	if len(found.Entries) != 1 {
		return fmt.Errorf("there are %d accounts %s", len(found.Entries), account)
	}
	request := ldap.NewModifyRequest(found.Entries[0].DN, nil)
	request.Replace("unicodePwd", []string{utf16Quoted(password)})
	return conn.Modify(request)
}

// dnOf is an account's distinguished name.
func (s *samba) dnOf(t testing.TB, account string) string {
	t.Helper()
	return s.search(t, adSuffix, "(sAMAccountName="+ldap.EscapeFilter(account)+")").DN
}

// accountOf is the account's name of an entry.
func (s *samba) accountOf(t testing.TB, dn string) string {
	t.Helper()
	return s.search(t, dn, "(objectClass=user)").GetAttributeValue("sAMAccountName")
}

func (s *samba) search(t testing.TB, base, filter string) *ldap.Entry {
	t.Helper()
	conn := s.admin(t)
	defer conn.Close()
	found, err := conn.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		filter, []string{"sAMAccountName", "msDS-KeyVersionNumber"}, nil))
	if err != nil || len(found.Entries) != 1 {
		t.Fatalf("searching %s: %v", filter, err)
	}
	return found.Entries[0]
}

// policy subjects one account to a password policy of its own, until lifted.
func (s *samba) policy(t testing.TB, dn, length, age string) (lift func()) {
	t.Helper()
	conn := s.admin(t)
	defer conn.Close()
	name := "CN=" + rotatortest.Unique("policy") + ",CN=Password Settings Container,CN=System," + adSuffix
	request := ldap.NewAddRequest(name, nil)
	for attribute, value := range map[string]string{
		"objectClass": "msDS-PasswordSettings", "msDS-PasswordSettingsPrecedence": "10",
		"msDS-PasswordReversibleEncryptionEnabled": "FALSE", "msDS-PasswordHistoryLength": "0",
		"msDS-PasswordComplexityEnabled": "FALSE", "msDS-MinimumPasswordLength": length, "msDS-MinimumPasswordAge": age,
		"msDS-MaximumPasswordAge": "-36288000000000", "msDS-LockoutThreshold": "0",
		"msDS-LockoutObservationWindow": "-18000000000", "msDS-LockoutDuration": "-18000000000", "msDS-PSOAppliesTo": dn,
	} {
		request.Attribute(attribute, []string{value})
	}
	if err := conn.Add(request); err != nil {
		t.Fatalf("adding %s: %v", name, err)
	}
	return func() {
		conn := s.admin(t)
		defer conn.Close()
		if err := conn.Del(ldap.NewDelRequest(name, nil)); err != nil {
			t.Errorf("deleting %s: %v", name, err)
		}
	}
}
