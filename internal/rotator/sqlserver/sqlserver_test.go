package sqlserver_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
	"github.com/keyturn/keyturn/internal/rotator/sqlserver"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

const firstPassword = `first 'P%40ss];--"\word$`

// newLogin makes a login with a user in the database app, and privileges of
// many kinds; the names need quoting.
func newLogin(s *serverDouble) string {
	user := rotatortest.Unique(`o'Brien ]]"x" %s `)
	s.set(func() {
		s.addLogin(user, firstPassword, "app", "us_english", false, true)
		s.addUser("app", user+" in app", "sid "+user, 1, "sales ]s")
		server := s.first("app", "SELECT principal_id FROM sys.server_principals WHERE name = ?", user)
		s.exec("", "INSERT INTO sys.server_role_members VALUES (4, ?)", server)
		s.exec("", "INSERT INTO sys.server_permissions VALUES (100, 0, 0, ?, 'VIEW SERVER STATE', 'GRANT'), (105, 2, 0, ?, 'CONNECT', 'DENY')", server, server)
		s.grantAll(user + " in app")
	})
	return user
}

func (s *serverDouble) grantAll(user string) {
	id := s.first("app", "SELECT principal_id FROM sys.database_principals WHERE name = ?", user)
	s.exec("app", "INSERT INTO sys.database_role_members VALUES (16390, ?), (16391, ?)", id, id)
	s.exec("app", `INSERT INTO sys.database_permissions VALUES
		(1, 100, 2, $1, 'SELECT', 'DENY'), (1, 100, 0, $1, 'SELECT', 'GRANT_WITH_GRANT_OPTION'), (1, 101, 0, $1, 'EXECUTE', 'GRANT'),
		(3, 5, 0, $1, 'ALTER', 'GRANT'), (4, 16391, 0, $1, 'VIEW DEFINITION', 'GRANT'), (25, 7, 0, $1, 'CONTROL', 'GRANT'),
		(0, 0, 0, $1, 'CREATE TABLE', 'GRANT')`, id)
}

func newContained(s *serverDouble) string {
	user := rotatortest.Unique(`o'Brien ]]"x" %s `)
	s.set(func() {
		s.addUser("app", user, "contained "+user, 2, "sales ]s")
		s.users["app"][user] = firstPassword
		s.grantAll(user)
	})
	return user
}

func newTarget(s *serverDouble, user string) *rotatortest.Target {
	secret := func(user, password string) map[string]any {
		return map[string]any{
			"engine": "sqlserver", "host": "127.0.0.1", "port": s.port(), "dbname": "app", "username": user, "password": password,
		}
	}
	return &rotatortest.Target{
		Secret: secret(user, firstPassword), Superuser: secret(saName, saPassword),
		Login: func(ctx context.Context, secret map[string]any) error {
			return logIn(ctx, s, secret["username"].(string), secret["password"].(string))
		},
		Grants: func(_ context.Context, name string) (string, error) { return s.holdings("app", name), nil },
	}
}

func logIn(ctx context.Context, s *serverDouble, user, password string) error {
	db := sql.OpenDB(mssql.NewConnectorConfig(msdsn.Config{
		Host: "127.0.0.1", Port: uint64(s.port()), User: user, Password: password, Database: "app", Protocols: []string{"tcp"},
		TLSConfig: &tls.Config{InsecureSkipVerify: true},
	}))
	defer db.Close()
	return db.PingContext(ctx)
}

func refusing(number int, message string) func(s *serverDouble, user string) {
	return func(s *serverDouble, user string) { s.refuse[user] = &errorDouble{number, 1, message} }
}

// faults are what makes every strategy fail.
func faults(s *serverDouble) []rotatortest.Fault {
	broken := func(name string, cause rotator.Cause, refuse func(s *serverDouble, user string)) rotatortest.Fault {
		return rotatortest.Fault{
			Name: name, Step: "setSecret", Cause: cause, Lockout: true,
			Break: func(t testing.TB, target *rotatortest.Target) func() {
				user := target.Secret["username"].(string)
				s.set(func() { refuse(s, user); refuse(s, user+"_clone") })
				return func() { s.set(func() { delete(s.refuse, user); delete(s.refuse, user+"_clone") }) }
			},
		}
	}
	return []rotatortest.Fault{
		{
			Name: "wrong password", Step: "setSecret", Cause: rotator.CauseAuthentication, Lockout: true,
			Change: func(secret map[string]any) { secret["password"] = "not-the-password" },
		},
		{
			Name: "missing database", Step: "setSecret", Cause: rotator.CauseDatabase, Lockout: true,
			Change: func(secret map[string]any) { secret["dbname"] = "nowhere" },
		},
		{
			Name: "password policy", Step: "setSecret", Cause: rotator.CausePolicy,
			Break: func(t testing.TB, target *rotatortest.Target) func() {
				s.set(func() {
					s.policy = &errorDouble{15118, 1, "Password validation failed. The password does not meet the operating system policy requirements."}
				})
				return func() { s.set(func() { s.policy = nil }) }
			},
		},
		broken("no connection left", rotator.CauseConnections, refusing(17809, "Could not connect because the maximum number of 10 user connections has already been reached.")),
		broken("locked", rotator.CauseLocked, refusing(18486, "Login failed because the account is currently locked out.")),
	}
}

func TestContract(t *testing.T) {
	for name, overlaps := range map[string]bool{"sqlserver.single": false, "sqlserver.superuser": false, "sqlserver.alternating": true} {
		for kind, create := range map[string]func(*serverDouble) string{"login": newLogin, "contained user": newContained} {
			t.Run(kind, func(t *testing.T) {
				s := startDouble(t)
				suite := rotatortest.Suite{
					Rotator: name, Overlaps: overlaps,
					New:         func(testing.TB) *rotatortest.Target { return newTarget(s, create(s)) },
					Environment: map[string]string{"KEYTURN_CA_BUNDLE": s.certificate.Authority},
				}
				if kind == "login" && name != "sqlserver.superuser" {
					suite.Faults = faults(s)
				}
				suite.NoKills = kind != "login" || name != "sqlserver.alternating"
				suite.Run(t)
			})
		}
	}
}

func login(s *serverDouble, user, password string) rotator.Login {
	return rotator.Login{Host: "127.0.0.1", Port: s.port(), Database: "app", Username: user, Password: plaintext.Of(password)}
}

func (s *serverDouble) trusted() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.certificate.Authority))
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

func TestEncryption(t *testing.T) {
	s := startDouble(t)
	named := s.trusted()
	named.ServerName = "elsewhere"
	for _, test := range []struct {
		name    string
		encrypt int
		secure  *tls.Config
		want    rotator.Cause
		text    string
	}{
		{"encrypted", encryptLogin, s.trusted(), "", ""},
		{"encrypted by force", encryptForce, s.trusted(), "", ""},
		{"encrypted where the server is not", encryptNone, s.trusted(), rotator.CauseTLS, "not enabled"},
		{"of an unknown authority", encryptLogin, &tls.Config{ServerName: "127.0.0.1"}, rotator.CauseTLS, "unknown authority"},
		{"of another name", encryptLogin, named, rotator.CauseTLS, "match elsewhere"},
		{"plain", encryptLogin, nil, "", ""},
		{"plain without any", encryptNone, nil, "", ""},
		{"plain by force", encryptForce, nil, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.set(func() { s.encrypt = test.encrypt })
			session, err := sqlserver.New().Connect(t.Context(), login(s, saName, saPassword), test.secure)
			if err == nil {
				if err := errors.Join(session.Ping(t.Context()), session.Close(t.Context())); err != nil {
					t.Error(err)
				}
			}
			demand(t, err, test.want, test.text)
			if _, mismatch := errors.AsType[x509.HostnameError](err); mismatch != strings.Contains(test.name, "another name") {
				t.Errorf("a host name's error: %v", mismatch)
			}
		})
	}
}

// demand demands a failure of the cause whose text holds another; no cause
// means no failure.
func demand(t testing.TB, err error, cause rotator.Cause, text string) {
	t.Helper()
	f, ok := errors.AsType[*rotator.Failure](err)
	switch {
	case err == nil && cause == "":
	case !ok:
		t.Errorf("got %v, want a failure of the cause %q", err, cause)
	case f.Cause != cause || !strings.Contains(f.Text, text):
		t.Errorf("got %v, want the cause %q and %q in the text", f, cause, text)
	}
}

func TestLoginFailures(t *testing.T) {
	s := startDouble(t)
	for _, test := range []struct {
		number int
		state  byte
		want   rotator.Cause
	}{
		{18456, 1, rotator.CauseAuthentication}, {18456, 7, rotator.CauseLocked}, {18456, 38, rotator.CauseDatabase},
		{18487, 1, rotator.CauseLocked}, {18488, 1, rotator.CauseLocked}, {4060, 1, rotator.CauseDatabase},
		{17809, 1, rotator.CauseConnections}, {10928, 1, rotator.CauseConnections}, {976, 1, rotator.CauseReadOnly},
		{18401, 1, rotator.CauseUnavailable}, {999, 1, rotator.CauseOther},
	} {
		t.Run(fmt.Sprint(test.number, "/", test.state), func(t *testing.T) {
			s.set(func() { s.refuse["user"] = &errorDouble{test.number, test.state, "no"} })
			_, err := sqlserver.New().Connect(t.Context(), login(s, "user", "password"), s.trusted())
			demand(t, err, test.want, "")
			if f, _ := errors.AsType[*rotator.Failure](err); f != nil && f.Code != fmt.Sprint(test.number) {
				t.Errorf("got the code %q", f.Code)
			}
		})
	}
}

// TestSilentServer shows that the attempt's deadline holds where the driver
// has none, and that a server that hangs up is told from one.
func TestSilentServer(t *testing.T) {
	for name, hangUp := range map[string]bool{"silent": false, "hangs up": true} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					if hangUp {
						conn.Close()
					} else {
						defer conn.Close()
					}
				}
			}()
			want, patience := rotator.CauseTimeout, 300*time.Millisecond
			if hangUp {
				want, patience = rotator.CauseUnavailable, 30*time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			began := time.Now()
			_, err = sqlserver.New().Connect(ctx, rotator.Login{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Username: "u"}, nil)
			demand(t, err, want, "")
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestStatementFailures shows that a password that a server quotes in its
// error does not get into the failure.
func TestStatementFailures(t *testing.T) {
	s := startDouble(t)
	session, err := sqlserver.New().Connect(t.Context(), login(s, saName, saPassword), s.trusted())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(t.Context())
	user := newContained(s)
	s.set(func() { s.policy = &errorDouble{102, 1, "Incorrect syntax near 'the-new-password'."} })
	err = session.SetPassword(t.Context(), user, plaintext.Of("the-new-password"))
	demand(t, err, rotator.CauseOther, "refused by the server")
	if strings.Contains(fmt.Sprint(err), "the-new-password") {
		t.Error("the failure holds the password")
	}
	s.set(func() { s.policy, s.readOnly = nil, true })
	demand(t, session.SetPassword(t.Context(), user, plaintext.Of("x")), rotator.CauseReadOnly, "")
	demand(t, session.SetPassword(t.Context(), "nobody", plaintext.Of("x")), rotator.CausePermission, "does not exist")
	_, err = sqlserver.New().Connect(t.Context(), login(s, `DOMAIN\user`, "password"), s.trusted())
	demand(t, err, rotator.CauseAuthentication, "Windows")
	missing := rotator.Login{Username: "nobody"}
	if err := session.CopyGrants(t.Context(), missing, "nobody_clone"); err != nil {
		t.Errorf("copying the grants of a login without a user: %v", err)
	}
}

// TestClasses copies a permission of every class, and stops at those that it
// does not know or whose object it does not see.
func TestClasses(t *testing.T) {
	s := startDouble(t)
	user := newContained(s)
	session, err := sqlserver.New().Connect(t.Context(), login(s, saName, saPassword), s.trusted())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(t.Context())
	from := rotator.Login{Username: user}
	if err := session.CreateClone(t.Context(), from, "clone", plaintext.Of("x")); err != nil {
		t.Fatal(err)
	}
	enter := func(class, major int) {
		s.set(func() {
			id := s.first("app", "SELECT principal_id FROM sys.database_principals WHERE name = ?", user)
			s.exec("app", "DELETE FROM sys.database_permissions WHERE class > 100")
			s.exec("app", "INSERT INTO sys.database_permissions VALUES (?, ?, 0, ?, 'CONTROL', 'GRANT')", class, major, id)
		})
	}
	s.set(func() {
		for keyword, c := range classesDouble {
			if c.class == 4 || c.class > 100 {
				continue
			}
			s.exec("app", "INSERT INTO sys."+c.table+" (name, "+c.id+") VALUES (?, ?)", keyword+" ]'s", 7000+c.class)
			s.exec("app", "UPDATE sys."+c.table+" SET schema_id = 1 WHERE name = ? AND ? IN (6, 10)", keyword+" ]'s", c.class)
		}
	})
	for _, c := range classesDouble {
		if c.class != 4 && c.class < 100 {
			enter(c.class, 7000+c.class)
		}
	}
	if err := session.CopyGrants(t.Context(), from, "clone"); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(s.holdings("app", user), user, "")
	if got := s.holdings("app", "clone"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if statements := strings.Join(s.statements(), "\n"); !strings.Contains(statements, "GRANT CONTROL ON XML SCHEMA COLLECTION::[dbo].[XML SCHEMA COLLECTION ]]'s] TO [clone]") ||
		!strings.Contains(statements, "GRANT CONTROL ON SEARCH PROPERTY LIST::[SEARCH PROPERTY LIST ]]'s] TO [clone]") {
		t.Errorf("ran\n%s", statements)
	}
	if err := session.CopyGrants(t.Context(), from, "clone"); err != nil || len(s.statements()) > 0 {
		t.Errorf("again: %v", err)
	}
	enter(199, 1)
	demand(t, session.CopyGrants(t.Context(), from, "clone"), rotator.CauseOther, "Invalid database permission class 199")
	enter(17, 9999)
	demand(t, session.CopyGrants(t.Context(), from, "clone"), rotator.CausePermission, "does not see")
}
