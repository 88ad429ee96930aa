package mysql_test

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/mysql"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// sessions tests an engine's sessions on a server, without Keyturn.
func sessions(t *testing.T, s *server, engine rotator.Engine) {
	t.Run("TLS", func(t *testing.T) { ways(t, s, engine) })
	t.Run("privileges are added", func(t *testing.T) { privilegesAreAdded(t, s, engine) })
	t.Run("missing user", func(t *testing.T) { missingUser(t, s, engine) })
	t.Run("permission", func(t *testing.T) { permission(t, s, engine) })
	t.Run("general log", func(t *testing.T) { generalLog(t, s, engine) })
}

func (s *server) loginOf(user, password string) rotator.Login {
	return rotator.Login{Host: "127.0.0.1", Port: s.port, Username: user, Password: plaintext.Of(password)}
}

// connect logs in with the engine, encrypted.
func connect(t testing.TB, engine rotator.Engine, s *server, user, password string) rotator.Session {
	t.Helper()
	session, err := engine.Connect(t.Context(), s.loginOf(user, password), s.trusting())
	if err != nil {
		t.Fatalf("logging in as %s: %v", user, err)
	}
	t.Cleanup(func() { session.Close(context.Background()) })
	return session
}

// failure demands a classified error.
func failure(t testing.TB, err error, want rotator.Cause) *rotator.Failure {
	t.Helper()
	f, ok := errors.AsType[*rotator.Failure](err)
	if !ok || f.Cause != want {
		t.Fatalf("got the error %v, want the cause %q", err, want)
	}
	return f
}

// ways logs in encrypted and plain, to a server that offers, lacks or demands
// encryption, with good and bad certificates.
func ways(t *testing.T, s *server, engine rotator.Engine) {
	s.exec(t, "CREATE USER tls_user IDENTIFIED BY 'Tls-Password-1'")
	attempt := func(secure *tls.Config) error {
		session, err := engine.Connect(t.Context(), s.loginOf("tls_user", "Tls-Password-1"), secure)
		if err != nil {
			return err
		}
		defer session.Close(t.Context())
		return session.Ping(t.Context())
	}
	for name, secure := range map[string]*tls.Config{"encrypted": s.trusting(), "plain": nil} {
		if err := attempt(secure); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.exec(t, "SET GLOBAL require_secure_transport = 1")
	if s.maria { // it does not say why
		if f := failure(t, attempt(nil), rotator.CauseAuthentication); !strings.Contains(f.Text, "TLS") {
			t.Errorf("got %q, want a word on TLS", f.Text)
		}
	} else {
		failure(t, attempt(nil), rotator.CauseTLSRequired)
	}
	if err := attempt(s.trusting()); err != nil {
		t.Errorf("where TLS is demanded: %v", err)
	}
	s.exec(t, "SET GLOBAL require_secure_transport = 0")
	reload := "ALTER INSTANCE RELOAD TLS"
	if s.maria {
		reload = "FLUSH SSL"
	}
	for name, certify := range map[string]func(){
		"wrong host":  func() { s.certify(t, "db.example.internal", true) },
		"self-signed": func() { s.certify(t, "127.0.0.1", false) },
	} {
		certify()
		s.exec(t, reload)
		if f := failure(t, attempt(s.trusting()), rotator.CauseTLS); strings.Contains(f.Text, "not enabled") {
			t.Errorf("%s: got %q, which says that TLS is off", name, f.Text)
		}
	}
	s.restart(t, s.withoutTLS())
	if f := failure(t, attempt(s.trusting()), rotator.CauseTLS); !strings.Contains(f.Text, "not enabled") {
		t.Errorf("without TLS got %q, want a text that says so", f.Text)
	}
	if err := attempt(nil); err != nil {
		t.Errorf("plain, without TLS: %v", err)
	}
	s.certify(t, "127.0.0.1", true)
	s.restart(t, s.withTLS()...)
	if err := attempt(s.trusting()); err != nil {
		t.Errorf("encrypted in the end: %v", err)
	}
}

// privilegesAreAdded rotates grants: those of the original are added to the
// clone, and others of the clone's stay unless they are to be equal.
func privilegesAreAdded(t *testing.T, s *server, engine rotator.Engine) {
	original := rotatortest.Unique("sync'd")
	s.exec(t, s.privileges(original)...)
	clone := original + "_clone"
	admin := connect(t, engine, s, "root", adminPassword)
	from := s.loginOf(original, firstPassword)
	if err := admin.CreateClone(t.Context(), from, clone, plaintext.Of("Throw-Away-1")); err != nil {
		t.Fatal(err)
	}
	copies := func(a rotator.Session) {
		t.Helper()
		for range 2 { // a repeated step changes nothing
			if err := a.CopyGrants(t.Context(), from, clone); err != nil {
				t.Fatal(err)
			}
		}
	}
	copies(admin)
	same(t, s, original, clone)
	user, cloned := quote(original)+"@'127.0.0.1'", quote(clone)+"@'127.0.0.1'"
	s.exec(t,
		"CREATE USER "+quote(original)+"@'192.168.%' IDENTIFIED BY "+quote(firstPassword), "GRANT ALTER ON shop.* TO "+quote(original)+"@'192.168.%'",
		"GRANT TRIGGER ON shop.* TO "+user, "REVOKE reader FROM "+user, "REVOKE SELECT (id) ON shop.orders FROM "+user,
		"REVOKE GRANT OPTION ON shop.* FROM "+user, "ALTER USER "+user+" REQUIRE NONE",
		"GRANT EVENT ON shop.* TO "+cloned, "GRANT ALL ON *.* TO "+cloned+" WITH GRANT OPTION",
	)
	copies(admin)
	got := strings.Join(lines(t, s, clone), "\n")
	for _, want := range []string{"ALTER ON `shop`", "TRIGGER", "EVENT", "`reader`", "SELECT (`id`)", "ON *.*"} {
		if !strings.Contains(got, want) {
			t.Errorf("the clone's privileges lack %s:\n%s", want, got)
		}
	}
	equal := mysql.With(engine, rotator.Settings{"KEYTURN_SYNC_PRIVILEGES": "true"})
	copies(connect(t, equal, s, "root", adminPassword))
	same(t, s, original, clone)
}

func lines(t testing.TB, s *server, user string) []string {
	t.Helper()
	text, err := s.definition(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(text, "\n")
}

func same(t testing.TB, s *server, original, clone string) {
	t.Helper()
	if diff := cmp.Diff(lines(t, s, original), lines(t, s, clone)); diff != "" {
		t.Errorf("the clone differs (-original +clone):\n%s", diff)
	}
}

func missingUser(t *testing.T, s *server, engine rotator.Engine) {
	admin := connect(t, engine, s, "root", adminPassword)
	next := plaintext.Of("Next-Password-1")
	nobody := s.loginOf("no such user", "x")
	failure(t, admin.SetPassword(t.Context(), nobody.Username, next), rotator.CauseMissingUser)
	failure(t, admin.CreateClone(t.Context(), nobody, "clone", next), rotator.CauseMissingUser)
	failure(t, admin.CopyGrants(t.Context(), nobody, "clone"), rotator.CauseMissingUser)
	if exists, err := admin.UserExists(t.Context(), nobody.Username); exists || err != nil {
		t.Errorf("got %v and %v, want no user", exists, err)
	}
}

func permission(t *testing.T, s *server, engine rotator.Engine) {
	s.exec(t, "CREATE USER weak IDENTIFIED BY 'Weak-Password-1'")
	weak := connect(t, engine, s, "weak", "Weak-Password-1")
	failure(t, weak.SetPassword(t.Context(), "root", plaintext.Of("Next-Password-1")), rotator.CausePermission)
	_, err := weak.UserExists(t.Context(), "root")
	failure(t, err, rotator.CausePermission)
}

// generalLog demands that passwords do not get into the server's own log of
// statements.
func generalLog(t *testing.T, s *server, engine rotator.Engine) {
	s.exec(t, "CREATE USER logged IDENTIFIED BY 'Logged-Password-1'")
	session := connect(t, engine, s, "logged", "Logged-Password-1")
	if err := session.SetOwnPassword(t.Context(), s.loginOf("logged", "Logged-Password-1"), plaintext.Of("Own-Secret-1")); err != nil {
		t.Fatal(err)
	}
	admin := connect(t, engine, s, "root", adminPassword)
	if err := admin.CreateClone(t.Context(), s.loginOf("logged", ""), "logged_clone", plaintext.Of("Clone-Secret-1")); err != nil {
		t.Fatal(err)
	}
	if err := admin.SetPassword(t.Context(), "logged_clone", plaintext.Of("Set-Secret-1")); err != nil {
		t.Fatal(err)
	}
	connect(t, engine, s, "logged", "Own-Secret-1")
	connect(t, engine, s, "logged_clone", "Set-Secret-1")
	text, err := os.ReadFile(s.generalLog())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "logged_clone") {
		t.Fatal("the server logs no statements, so that nothing is tested")
	}
	for _, password := range []string{"Own-Secret-1", "Clone-Secret-1", "Set-Secret-1"} {
		if strings.Contains(string(text), password) {
			t.Errorf("the server's log holds %s", password)
		}
	}
}

// changesOwn has a user set its own password.
func changesOwn(t *testing.T, s *server, engine rotator.Engine, user string) {
	t.Helper()
	const odd = `Plugin'\"Password-2ä`
	own := connect(t, engine, s, user, "Plugin-Password-1")
	if err := own.SetOwnPassword(t.Context(), s.loginOf(user, "Plugin-Password-1"), plaintext.Of(odd)); err != nil {
		t.Fatalf("own password of %s: %v", user, err)
	}
	connect(t, engine, s, user, odd)
}

// alternate makes a clone of a user and demands that it authenticates in the
// same way, and that its password can be set.
func alternate(t *testing.T, s *server, engine rotator.Engine, user string) {
	t.Helper()
	admin := connect(t, engine, s, "root", adminPassword)
	clone := user + "_clone"
	if err := admin.CreateClone(t.Context(), s.loginOf(user, ""), clone, plaintext.Of("Throw-Away-1")); err != nil {
		t.Fatal(err)
	}
	if err := admin.CopyGrants(t.Context(), s.loginOf(user, ""), clone); err != nil {
		t.Fatal(err)
	}
	if err := admin.SetPassword(t.Context(), clone, plaintext.Of("Plugin-Password-3")); err != nil {
		t.Fatal(err)
	}
	same(t, s, user, clone)
	connect(t, engine, s, clone, "Plugin-Password-3")
}

func pluginsOfMariaDB(t *testing.T, s *server) {
	s.exec(t, "INSTALL SONAME 'auth_ed25519'",
		"CREATE USER ed IDENTIFIED VIA ed25519 USING PASSWORD('Plugin-Password-1')",
		"CREATE USER both_ways IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('Plugin-Password-1')",
		"CREATE USER changes IDENTIFIED BY 'Plugin-Password-1'", "CREATE USER changes_clone IDENTIFIED VIA ed25519 USING PASSWORD('Plugin-Password-1')")
	engine := mysql.NewMariaDB()
	for _, user := range []string{"ed", "changes"} {
		changesOwn(t, s, engine, user)
	}
	for _, user := range []string{"ed", "both_ways", "changes"} {
		alternate(t, s, engine, user)
	}
	both := connect(t, engine, s, "both_ways", "Plugin-Password-1")
	failure(t, both.SetOwnPassword(t.Context(), s.loginOf("both_ways", ""), plaintext.Of("x")), rotator.CauseOther)
	s.exec(t, "INSTALL SONAME 'simple_password_check'")
	defer s.exec(t, "UNINSTALL SONAME 'simple_password_check'")
	s.exec(t, "CREATE USER strict IDENTIFIED VIA ed25519 USING PASSWORD('Plugin-Password-1')")
	changesOwn(t, s, engine, "strict") // the server has to see passwords
	alternate(t, s, engine, "strict")
}

func pluginsOfMySQL(t *testing.T, s *server) {
	s.exec(t, "CREATE USER sha IDENTIFIED WITH sha256_password BY 'Plugin-Password-1'",
		"CREATE USER changes IDENTIFIED BY 'Plugin-Password-1'", "CREATE USER changes_clone IDENTIFIED WITH sha256_password BY 'Plugin-Password-1'",
		"CREATE USER current IDENTIFIED BY 'Plugin-Password-1' PASSWORD REQUIRE CURRENT",
		"SET GLOBAL partial_revokes = 1", "CREATE USER part IDENTIFIED BY 'Plugin-Password-1'", "GRANT SELECT, INSERT ON *.* TO part",
		"REVOKE INSERT ON shop.* FROM part", "CREATE USER part_clone IDENTIFIED BY 'x'", "GRANT SELECT ON *.* TO part_clone",
		"REVOKE SELECT ON shop.* FROM part_clone")
	for _, user := range []string{"sha", "changes", "current", "part"} {
		changesOwn(t, s, mysql.New(), user)
		alternate(t, s, mysql.New(), user)
	}
	s.exec(t, "CREATE USER two IDENTIFIED BY 'Two-Password-1'")
	retaining := mysql.With(mysql.New(), rotator.Settings{"KEYTURN_RETAIN_PASSWORD": "true"})
	two := connect(t, retaining, s, "two", "Two-Password-1")
	failure(t, two.SetOwnPassword(t.Context(), s.loginOf("two", "Two-Password-1"), plaintext.Of("Two-Password-2")), rotator.CausePermission)
}
