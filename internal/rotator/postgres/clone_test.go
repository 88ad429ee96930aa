package postgres_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func (w *world) alternating(t testing.TB, target *rotatortest.Target, settings rotator.Settings) *rotatortest.Steps {
	return w.steps(t, func(e rotator.Engine) *rotatortest.Steps {
		return rotatortest.NewSteps(rotator.NewAlternatingUsers(e), target.Secret, target.Superuser, settings)
	})
}

// grants are what a user may do.
func grants(t testing.TB, target *rotatortest.Target, user string) string {
	t.Helper()
	g, err := target.Grants(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestClones looks at what a clone may do beyond what membership gives.
func TestClones(t *testing.T) {
	t.Parallel()
	w := &world{db: start(t, pgserver.Config{TLS: true})}

	t.Run("attributes", func(t *testing.T) {
		for _, attribute := range []string{"SUPERUSER", "CREATEDB CREATEROLE", "BYPASSRLS REPLICATION", "NOINHERIT", "VALID UNTIL 'infinity' CONNECTION LIMIT 3"} {
			target := w.odd(t)
			user := w.placeOf(target).user
			w.exec(t, "postgres", "ALTER ROLE "+ident(user)+" "+attribute)
			want := grants(t, target, user)
			rotateOnce(t, w.alternating(t, target, rotator.Settings{}))
			got := grants(t, target, user+"_clone")
			if attribute == "NOINHERIT" { // which holds for the clone through the original
				if strings.Contains(got, "member of") {
					t.Error("the clone inherits what the original does not")
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", attribute, diff)
			}
		}
	})
	t.Run("what has changed is copied again when asked for", func(t *testing.T) {
		target := w.odd(t)
		user := w.placeOf(target).user
		s := w.alternating(t, target, rotator.Settings{})
		rotateOnce(t, s) // to the clone
		rotateOnce(t, s) // to the original
		w.exec(t, "postgres",
			"REVOKE "+ident(user)+" FROM "+ident(user+"_clone"), "ALTER ROLE "+ident(user+"_clone")+" SET work_mem = '1MB'",
			"ALTER ROLE "+ident(user)+" CREATEDB", "ALTER ROLE "+ident(user)+" RESET search_path", "ALTER ROLE "+ident(user)+" SET statement_timeout = '9s'")
		rotateOnce(t, s)
		want := grants(t, target, user)
		if diff := cmp.Diff(want, grants(t, target, user+"_clone")); diff == "" {
			t.Fatal("privileges were copied though nobody asked for it")
		}
		rotateOnce(t, s)
		s.Handler.Settings["KEYTURN_SYNC_PRIVILEGES"] = "true"
		rotateOnce(t, s)
		if diff := cmp.Diff(want, grants(t, target, user+"_clone")); diff != "" {
			t.Errorf("privileges (-want +got):\n%s", diff)
		}
		rotateOnce(t, s) // to the original, which is not made a member of its clone
		if diff := cmp.Diff(want, grants(t, target, user)); diff != "" {
			t.Errorf("privileges of the original (-want +got):\n%s", diff)
		}
	})
	t.Run("a secret that comes with a clone as its current user", func(t *testing.T) {
		target := w.odd(t)
		user := w.placeOf(target).user
		w.exec(t, "postgres", "CREATE ROLE "+ident(user+"_clone")+" LOGIN PASSWORD '"+firstPassword+"'", "GRANT "+ident(user)+" TO "+ident(user+"_clone"))
		want := grants(t, target, user)
		target.Secret["username"] = user + "_clone"
		s := w.alternating(t, target, rotator.Settings{})
		rotateOnce(t, s)
		current := s.Value(s.ARN, "AWSCURRENT")
		if current["username"] != user {
			t.Fatalf("got the user %q, want %q", current["username"], user)
		}
		logsIn(t, target, current)
		if diff := cmp.Diff(want, grants(t, target, user)); diff != "" {
			t.Errorf("privileges of the original (-want +got):\n%s", diff)
		}
	})
	t.Run("what a clone makes", func(t *testing.T) {
		for _, test := range []struct {
			settings  rotator.Settings
			owner     string // of the pair, by what its name ends with
			canDrop   bool
			warnsOnce bool
		}{
			{rotator.Settings{}, "_clone", false, true},
			{rotator.Settings{"KEYTURN_SET_ROLE": "true"}, "", true, false},
		} {
			target := w.odd(t)
			p := w.placeOf(target)
			s := w.alternating(t, target, test.settings)
			rotateOnce(t, s)
			w.run(t, s.Value(s.ARN, "AWSCURRENT"), `CREATE TABLE public.made (id int)`)
			if got := w.askIn(t, p.database, "SELECT tableowner FROM pg_tables WHERE tablename = 'made'"); got != p.user+test.owner {
				t.Errorf("%v: got the owner %q, want %q", test.settings, got, p.user+test.owner)
			}
			rotateOnce(t, s) // to the original
			if warns := strings.Contains(s.Log.String(), "REASSIGN OWNED BY"); warns != test.warnsOnce {
				t.Errorf("%v: a warning about ownership: got %t, want %t", test.settings, warns, test.warnsOnce)
			}
			if err := w.try(t, s.Value(s.ARN, "AWSCURRENT"), `DROP TABLE public.made`); (err == nil) != test.canDrop {
				t.Errorf("%v: dropping it as the original: got %v, want success: %t", test.settings, err, test.canDrop)
			}
		}
	})
	t.Run("privileges that only a clone was granted", func(t *testing.T) {
		target := w.plain(t)
		p := w.placeOf(target)
		s := w.alternating(t, target, rotator.Settings{})
		rotateOnce(t, s)
		w.exec(t, p.database, "GRANT SELECT ON public.hidden TO "+ident(p.user+"_clone"))
		rotateOnce(t, s)
		if want := "was granted privileges on 1 objects"; !strings.Contains(s.Log.String(), want) {
			t.Errorf("got the log\n%s\nwant a warning: %s", s.Log.String(), want)
		}
	})
	t.Run("a name that is too long in bytes", func(t *testing.T) {
		target := w.target(t, strings.Repeat("é", 29), rotatortest.Unique("data")) // 58 bytes
		err := w.alternating(t, target, rotator.Settings{}).Rotate(t.Context())
		if err == nil || !strings.Contains(err.Error(), "would exceed 63") {
			t.Errorf("got %v, want a refusal: the server would cut the clone's name off", err)
		}
	})
}

// TestLimitedSuperuser is of a superuser that may make roles, and little else.
func TestLimitedSuperuser(t *testing.T) {
	t.Parallel()
	w := &world{db: start(t, pgserver.Config{TLS: true, Bin: postgres18(t)}), limitedAdmin: true}
	target := w.plain(t)
	p := w.placeOf(target)
	w.exec(t, "postgres", "ALTER ROLE "+p.user+" BYPASSRLS CREATEDB", "ALTER ROLE "+p.user+" SET log_statement = 'all'")
	s := w.alternating(t, target, rotator.Settings{})
	rotateOnce(t, s)
	logsIn(t, target, s.Value(s.ARN, "AWSCURRENT"))
	for _, want := range []string{
		`run as a superuser: ALTER ROLE "` + p.user + `_clone" BYPASSRLS`,
		`run as a superuser: ALTER ROLE "` + p.user + `_clone" CREATEDB`,
		`run as a superuser: ALTER ROLE "` + p.user + `_clone" SET "log_statement" TO 'all'`,
	} {
		if !strings.Contains(s.Log.String(), want) {
			t.Errorf("got the log\n%s\nwant a warning: %s", s.Log.String(), want)
		}
	}
}

// run runs a statement as the user of a secret's value.
func (w *world) run(t testing.TB, value map[string]any, statement string) {
	t.Helper()
	if err := w.try(t, value, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (w *world) try(t testing.TB, value map[string]any, statement string) error {
	t.Helper()
	conn, err := as(t.Context(), w.db, value["username"].(string), value["password"].(string), value["dbname"].(string))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), statement)
	return err
}
