package oracle_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/oracle"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

const firstPassword = `first 'P%40ss;--$`

// newUser makes a user with privileges of all kinds, one of them on an object
// that is called as the user is.
func (s *serverDouble) newUser(name string) string {
	s.set(func() {
		u := s.add(name, firstPassword)
		u.profile, u.tablespace = "APPS", "DATA"
		u.quotas["DATA"], u.quotas["LOBS"] = "-1", "1048576"
		u.roles["CONNECT"], u.roles["AUDITOR"] = true, false
		u.system["CREATE SESSION"], u.system["CREATE TABLE WITH ADMIN OPTION"] = true, true
		u.objects[`SELECT ON "HR"."ORDERS" WITH GRANT OPTION`], u.objects[`UPDATE ("A", "B") ON "HR"."`+name+`"`] = true, true
	})
	return name
}

func (s *serverDouble) holdings(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[name]
	return fmt.Sprint(u.tablespace, u.temporary, u.profile, u.quotas, u.roles, u.system, u.objects)
}

func login(user, password string) rotator.Login {
	return rotator.Login{Host: "db.example", Port: 1521, Database: "ORCL", Username: user, Password: plaintext.Of(password)}
}

func (s *serverDouble) logIn(user, password string) error {
	session, err := s.engine().Connect(context.Background(), login(user, password), nil)
	if err != nil {
		return err
	}
	return session.Close(context.Background())
}

// world rotates a secret of the double in this process, step by step, against
// a server's API: the double cannot be reached from a function's process.
type world struct {
	*apitest.Server
	t       *testing.T
	double  *serverDouble
	handler *rotator.Handler
	arn     string
	log     bytes.Buffer
}

func newWorld(t *testing.T, r rotator.Rotator, s *serverDouble, user string) *world {
	t.Helper()
	w := &world{Server: apitest.Start(t, apitest.Options{}), t: t, double: s}
	w.handler = &rotator.Handler{Rotator: r, Config: w.Config, Settings: rotator.Settings{}, Log: &w.log}
	master := w.create("superuser", map[string]any{
		"engine": "oracle", "host": "db.example", "dbname": "OTHER", "username": systemName, "password": systemPassword,
	})
	w.arn = w.create("user", map[string]any{
		"engine": "oracle", "host": "db.example", "dbname": "ORCL", "username": user, "password": firstPassword, "masterarn": master,
	})
	return w
}

func (w *world) create(name string, value map[string]any) string {
	w.t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := w.Secrets.CreateSecret(w.t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: new(string(text))})
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.ARN
}

// rotate runs the steps, each of them twice, as after a crash.
func (w *world) rotate(function string) error {
	w.t.Helper()
	out, err := w.Secrets.RotateSecret(w.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &w.arn, RotationLambdaARN: &function})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, step := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
		for range 2 {
			if err := w.handler.Handle(w.t.Context(), rotator.Event{Step: step, SecretID: w.arn, Token: *out.VersionId}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) current() (user, password string) {
	w.t.Helper()
	out, err := w.Secrets.GetSecretValue(w.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &w.arn})
	if err != nil {
		w.t.Fatal(err)
	}
	var value struct{ Username, Password string }
	if err := json.Unmarshal([]byte(*out.SecretString), &value); err != nil {
		w.t.Fatal("the value is no JSON object")
	}
	return value.Username, value.Password
}

func TestThreeRotations(t *testing.T) {
	for name, r := range map[string]func(rotator.Engine) rotator.Rotator{
		"single":      func(e rotator.Engine) rotator.Rotator { return rotator.NewSingleUser(e) },
		"superuser":   func(e rotator.Engine) rotator.Rotator { return rotator.NewSuperuser(e) },
		"alternating": func(e rotator.Engine) rotator.Rotator { return rotator.NewAlternatingUsers(e) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newDouble()
			user := s.newUser("APP")
			w := newWorld(t, r(s.engine()), s, user)
			// The server's own attempts end at once, so that those of the test
			// are the only ones.
			function := w.NewFunction(t, apitest.StepFunction(t, "fails", "createSecret", "raise"))
			for n := range 3 {
				oldUser, oldPassword := w.current()
				if err := w.rotate(function); err != nil {
					t.Fatalf("rotation %d: %v\n%s", n+1, err, w.log.String())
				}
				newUser, newPassword := w.current()
				if err := s.logIn(newUser, newPassword); err != nil {
					t.Errorf("the new version does not log in: %v", err)
				}
				if err := s.logIn(oldUser, oldPassword); (err == nil) != (name == "alternating") {
					t.Errorf("the version before: %v", err)
				}
				want := strings.ReplaceAll(s.holdings(user), "APP_CLONE", "APP")
				if diff := cmp.Diff(want, s.holdings(newUser)); diff != "" {
					t.Errorf("privileges after rotation %d (-want +got):\n%s", n+1, diff)
				}
				if name == "alternating" && newUser != []string{"APP_CLONE", "APP"}[n%2] {
					t.Errorf("rotation %d made the user %s", n+1, newUser)
				}
				if strings.Contains(w.log.String(), newPassword) || strings.Contains(w.log.String(), oldPassword) {
					t.Error("the log holds a password")
				}
			}
		})
	}
}

// TestVerifiedPassword changes a password where the server demands the old
// one, and proves the one that logged in.
func TestVerifiedPassword(t *testing.T) {
	s := newDouble()
	s.newUser("APP")
	s.set(func() { s.verify = true })
	session, err := s.engine().Connect(t.Context(), login("app", firstPassword), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.SetOwnPassword(t.Context(), login("app", firstPassword), plaintext.Of("second")); err != nil {
		t.Fatal(err)
	}
	if err := s.logIn("app", "second"); err != nil {
		t.Error(err)
	}
	wrong := session.SetOwnPassword(t.Context(), login("app", "not it"), plaintext.Of("third"))
	demand(t, wrong, rotator.CauseAuthentication, "")
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

func TestPasswords(t *testing.T) {
	s := newDouble()
	s.newUser("APP")
	session, err := s.engine().Connect(t.Context(), login(systemName, systemPassword), nil)
	if err != nil {
		t.Fatal(err)
	}
	err = session.SetPassword(t.Context(), "app", plaintext.Of(`a"b`))
	demand(t, err, rotator.CausePolicy, "double quote")
	if len(s.log) > 0 {
		t.Errorf("sent %v", s.log)
	}
	for code, want := range map[int]rotator.Cause{28003: rotator.CausePolicy, 28007: rotator.CausePolicy, 16000: rotator.CauseReadOnly, 922: rotator.CauseOther} {
		s.set(func() { s.policy = code })
		err := session.SetPassword(t.Context(), "app", plaintext.Of("the-password"))
		demand(t, err, want, "")
		if strings.Contains(err.Error(), "the-password") {
			t.Errorf("%v holds the password", err)
		}
	}
	s.set(func() { s.policy = 0 })
	demand(t, session.SetPassword(t.Context(), "nobody", plaintext.Of("x")), rotator.CauseMissingUser, "")
}

func TestLoginFailures(t *testing.T) {
	s := newDouble()
	s.newUser("APP")
	for code, want := range map[int]rotator.Cause{
		1017: rotator.CauseAuthentication, 28000: rotator.CauseLocked, 28001: rotator.CauseLocked, 20: rotator.CauseConnections,
		2391: rotator.CauseConnections, 12516: rotator.CauseConnections, 1033: rotator.CauseUnavailable, 1045: rotator.CausePermission,
		12541: rotator.CauseOther,
	} {
		s.set(func() { s.refuse["APP"] = code })
		demand(t, s.logIn("app", firstPassword), want, "")
	}
}

func TestDatabaseNames(t *testing.T) {
	s := newDouble()
	for name, want := range map[string]rotator.Cause{"ORCL": "", "ORCLSID": "", "NOWHERE": rotator.CauseDatabase, "X)(HOST=evil": rotator.CauseDatabase, "": rotator.CauseDatabase} {
		l := login(systemName, systemPassword)
		l.Database = name
		_, err := s.engine().Connect(t.Context(), l, nil)
		demand(t, err, want, "")
	}
}

// TestGrants shows what stops the copying of grants: not those that the clone
// has already, but any that the superuser does not see or may not give.
func TestGrants(t *testing.T) {
	s := newDouble()
	s.newUser("APP")
	session, err := s.engine().Connect(t.Context(), login(systemName, systemPassword), nil)
	if err != nil {
		t.Fatal(err)
	}
	from := login("app", "")
	if err := session.CreateClone(t.Context(), from, "APP_CLONE", plaintext.Of("x")); err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.forbidden = `"HR"."ORDERS"` })
	demand(t, session.CopyGrants(t.Context(), from, "APP_CLONE"), rotator.CausePermission, "ORDERS")
	s.set(func() { s.users["APP_CLONE"].objects[`SELECT ON "HR"."ORDERS" WITH GRANT OPTION`] = true })
	if err := session.CopyGrants(t.Context(), from, "APP_CLONE"); err != nil {
		t.Errorf("after granting by hand: %v", err)
	}
	s.set(func() { s.log = nil })
	if err := session.CopyGrants(t.Context(), from, "APP_CLONE"); err != nil || len(s.log) > 0 {
		t.Errorf("again: %v, sent %v", err, s.log)
	}
	s.set(func() { s.blind = true })
	demand(t, session.CopyGrants(t.Context(), from, "APP_CLONE"), rotator.CausePermission, "SELECT_CATALOG_ROLE")
}

func TestRegrant(t *testing.T) {
	for grant, want := range map[string]string{
		`GRANT SELECT ON "HR"."APP" TO "APP" WITH GRANT OPTION`: `GRANT SELECT ON "HR"."APP" TO "B" WITH GRANT OPTION`,
		`GRANT READ ON " TO ""APP" TO "APP"`:                    `GRANT READ ON " TO ""APP" TO "B"`,
		`GRANT SELECT ON "HR"."T" TO "C"`:                       "",
		`ALTER USER "APP" DEFAULT ROLE ALL`:                     "",
		`GRANT X TO "APP" CONTAINER="Y"`:                        "",
	} {
		got, err := oracle.Regrant(grant, "APP", "B")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", grant, got, err, want)
		}
	}
}

func FuzzStatements(f *testing.F) {
	f.Add("\n   GRANT \"CONNECT\" TO \"APP\"\n  GRANT CREATE SESSION\n TO \"APP\";\n/\n")
	f.Fuzz(func(t *testing.T, ddl string) {
		for i, s := range oracle.Statements(ddl) {
			if s == "" || i > 0 && !strings.HasPrefix(s, "GRANT ") {
				t.Errorf("statement %d of %q is %q", i, ddl, s)
			}
		}
	})
}

// TestNetwork connects by the real driver to what is no Oracle listener.
func TestNetwork(t *testing.T) {
	serve := func(answer func(net.Conn)) int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() { defer conn.Close(); answer(conn) }()
			}
		}()
		return l.Addr().(*net.TCPAddr).Port
	}
	cert := rotatortest.NewCertificate(t, "127.0.0.1")
	closed := serve(func(net.Conn) {})
	for _, test := range []struct {
		name   string
		port   int
		secure *tls.Config
		want   rotator.Cause
	}{
		{"silent", serve(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), nil, rotator.CauseTimeout},
		{"hangs up", closed, nil, rotator.CauseTLSRequired},
		{"hangs up on encryption", closed, &tls.Config{}, rotator.CauseTLS},
		{"refuses", serve(refuseConnect), nil, rotator.CauseConnections},
		{"untrusted", serve(func(c net.Conn) {
			_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert.TLS}}).Handshake()
		}), &tls.Config{}, rotator.CauseTLS},
	} {
		t.Run(test.name, func(t *testing.T) {
			patience := 30 * time.Second
			if test.want == rotator.CauseTimeout {
				patience = time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			l := login("app", firstPassword)
			l.Host, l.Port = "127.0.0.1", test.port
			_, err := oracle.New().Connect(ctx, l, test.secure)
			demand(t, err, test.want, "")
		})
	}
	l := login("app", "p%ss")
	l.Host = "no host%"
	_, err := oracle.New().Connect(t.Context(), l, nil)
	demand(t, err, rotator.CauseDNS, "")
}

// refuseConnect answers as a listener does that has no process left.
func refuseConnect(c net.Conn) {
	if _, err := c.Read(make([]byte, 4096)); err != nil {
		return
	}
	reason := "(DESCRIPTION=(TMP=)(VSNNUM=0)(ERR=12516)(ERROR_STACK=(ERROR=(CODE=12516)(EMFI=4))))"
	packet := append([]byte{0, byte(12 + len(reason)), 0, 0, 4, 0, 0, 0, 4, 0, 0, byte(len(reason))}, reason...)
	_, _ = c.Write(packet)
}
