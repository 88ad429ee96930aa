package postgres_test

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/postgres"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// ask returns the only value of a query by the server's superuser.
func (w *world) ask(t testing.TB, query string, args ...any) string {
	t.Helper()
	return w.askIn(t, "postgres", query, args...)
}

func (w *world) askIn(t testing.TB, database, query string, args ...any) string {
	t.Helper()
	conn, err := as(t.Context(), w.db, pgserver.Superuser, w.db.Password, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var got string
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&got); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return got
}

// steps are those of a strategy over a fresh target.
func (w *world) steps(t testing.TB, make func(rotator.Engine) *rotatortest.Steps) *rotatortest.Steps {
	t.Helper()
	s := make(postgres.New())
	s.Handler.Settings["KEYTURN_CA_BUNDLE"] = w.db.CAFile
	return s
}

func (w *world) single(t testing.TB, target *rotatortest.Target, settings rotator.Settings) *rotatortest.Steps {
	return w.steps(t, func(e rotator.Engine) *rotatortest.Steps {
		return rotatortest.NewSteps(rotator.NewSingleUser(e), target.Secret, nil, settings)
	})
}

func rotateOnce(t testing.TB, s *rotatortest.Steps) {
	t.Helper()
	if err := s.Rotate(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, s.Log.String())
	}
}

func logsIn(t testing.TB, target *rotatortest.Target, value map[string]any) {
	t.Helper()
	if err := target.Login(t.Context(), value); err != nil {
		t.Errorf("logging in: %v", err)
	}
}

// TestPasswordsStayOutOfTheServersLog looks for the new password in all that
// a server writes that logs every statement.
func TestPasswordsStayOutOfTheServersLog(t *testing.T) {
	t.Parallel()
	db := start(t, pgserver.Config{TLS: true, Settings: map[string]string{"log_statement": "all"}})
	w := &world{db: db}
	for _, test := range []struct {
		name     string
		settings rotator.Settings
		want     bool
	}{
		{"hashed", rotator.Settings{}, false},
		{"in clear text", rotator.Settings{"KEYTURN_PLAIN_PASSWORDS": "true", "EXCLUDE_PUNCTUATION": "true"}, true},
	} {
		target := w.plain(t)
		s := w.single(t, target, test.settings)
		rotateOnce(t, s)
		current := s.Value(s.ARN, "AWSCURRENT")
		logsIn(t, target, current)
		log := db.Log()
		if !strings.Contains(log, "ALTER USER") {
			t.Fatalf("%s: the server does not log statements:\n%s", test.name, log)
		}
		if got := strings.Contains(log, current["password"].(string)); got != test.want {
			t.Errorf("%s: the password is in the server's log: got %t, want %t", test.name, got, test.want)
		}
		if got := w.ask(t, "SELECT left(rolpassword, 18) FROM pg_authid WHERE rolname = $1", current["username"]); got != "SCRAM-SHA-256$4096" {
			t.Errorf("%s: got the kind of password %q, want SCRAM-SHA-256$4096", test.name, got)
		}
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	// The method md5 takes passwords of both kinds.
	db := start(t, pgserver.Config{TLS: true, Access: []string{"hostssl all all 127.0.0.1/32 md5"}})
	w := &world{db: db}

	t.Run("odd passwords set by hand", func(t *testing.T) {
		for _, password := range []string{`back\slash 'quote' "double" %s $1 :x`, `\`, `'`, "naïve pässwörd 🔑", " spaces ", strings.Repeat("long", 100)} {
			target := w.odd(t)
			w.exec(t, "postgres", "ALTER ROLE "+ident(w.placeOf(target).user)+" PASSWORD E'"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)+"'")
			target.Secret["password"] = password
			s := w.single(t, target, rotator.Settings{})
			rotateOnce(t, s)
			logsIn(t, target, s.Value(s.ARN, "AWSCURRENT"))

			next := s.Value(s.ARN, "AWSCURRENT")
			next["password"] = password
			s.Put(s.ARN, s.Token, next, "AWSPENDING")
			rotateOnce(t, s)
			logsIn(t, target, next)
		}
	})
	t.Run("a hash is what the server makes itself", func(t *testing.T) {
		target := w.odd(t)
		w.exec(t, "postgres", "ALTER ROLE "+ident(w.placeOf(target).user)+" SET password_encryption = md5")
		s := w.single(t, target, rotator.Settings{})
		rotateOnce(t, s)
		current := s.Value(s.ARN, "AWSCURRENT")
		const same = "SELECT (rolpassword = 'md5' || md5($2::text || $1::text))::text FROM pg_authid WHERE rolname = $1::name"
		if got := w.ask(t, same, current["username"], current["password"]); got != "true" {
			t.Error("the server holds something else than its MD5 of the password and the name")
		}
		logsIn(t, target, current)
	})
	t.Run("a policy that sees no clear text", func(t *testing.T) {
		target := w.plain(t)
		w.exec(t, "postgres", "ALTER ROLE "+ident(w.placeOf(target).user)+" SET session_preload_libraries = passwordcheck")
		s := w.single(t, target, rotator.Settings{"PASSWORD_LENGTH": "7"})
		rotateOnce(t, s)
		logsIn(t, target, s.Value(s.ARN, "AWSCURRENT"))
	})
	t.Run("a user that reads only, and one that acts as another", func(t *testing.T) {
		for _, setting := range []string{"default_transaction_read_only = on", "role = pg_monitor", "synchronous_commit = off"} {
			target := w.plain(t)
			user := ident(w.placeOf(target).user)
			w.exec(t, "postgres", "GRANT pg_monitor TO "+user, "ALTER ROLE "+user+" SET "+setting)
			s := w.single(t, target, rotator.Settings{})
			rotateOnce(t, s)
			logsIn(t, target, s.Value(s.ARN, "AWSCURRENT"))
		}
	})
	t.Run("a member that no name can be", func(t *testing.T) {
		target := w.plain(t)
		target.Secret["username"] = "app\x00database\x00postgres"
		s := w.single(t, target, rotator.Settings{})
		if err := s.Rotate(t.Context()); err == nil || !strings.Contains(err.Error(), "NUL") {
			t.Errorf("got %v, want an error about the character NUL", err)
		}
	})
}

// TestIterations is for servers that say how often a password is hashed.
func TestIterations(t *testing.T) {
	t.Parallel()
	w := &world{db: start(t, pgserver.Config{TLS: true, Bin: postgres18(t), Settings: map[string]string{"scram_iterations": "5000"}})}
	target := w.plain(t)
	s := w.single(t, target, rotator.Settings{})
	rotateOnce(t, s)
	logsIn(t, target, s.Value(s.ARN, "AWSCURRENT"))
	if got := w.ask(t, "SELECT left(rolpassword, 18) FROM pg_authid WHERE rolname = $1", target.Secret["username"]); got != "SCRAM-SHA-256$5000" {
		t.Errorf("got the kind of password %q, want SCRAM-SHA-256$5000", got)
	}
}
