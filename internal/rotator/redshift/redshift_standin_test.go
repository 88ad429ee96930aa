package redshift_test

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/redshift"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func standinSteps(target *rotatortest.Target, ca string, settings rotator.Settings) *rotatortest.Steps {
	settings["KEYTURN_CA_BUNDLE"] = ca
	return rotatortest.NewSteps(rotator.NewAlternatingUsers(redshift.New()), target.Secret, target.Superuser, settings)
}

func rotate(t *testing.T, s *rotatortest.Steps) {
	t.Helper()
	if err := s.Rotate(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, s.Log.String())
	}
}

// TestOddPasswordsOnStandin has passwords set by hand that break what is
// quoted badly.
func TestOddPasswordsOnStandin(t *testing.T) {
	db := startStandin(t)
	for _, password := range []string{`back\slash 'quote' "double" %s`, `\`, `'`, `\'; DROP USER x; --`} {
		target := newTarget(t, db)
		s := rotatortest.NewSteps(rotator.NewSingleUser(redshift.New()), target.Secret, nil, rotator.Settings{"KEYTURN_CA_BUNDLE": db.CAFile})
		next := s.Value(s.ARN, "AWSCURRENT")
		next["password"] = password
		s.Put(s.ARN, s.Token, next, "AWSPENDING")
		rotate(t, s)
		if err := target.Login(t.Context(), next); err != nil {
			t.Errorf("%s: %v", password, err)
		}
		rotate(t, s)
	}
}

// TestPrivilegesAreCopiedAgainOnStandin changes what the original may do.
func TestPrivilegesAreCopiedAgainOnStandin(t *testing.T) {
	db := startStandin(t)
	target := newTarget(t, db)
	user := target.Secret["username"].(string)
	s := standinSteps(target, db.CAFile, rotator.Settings{"KEYTURN_SYNC_PRIVILEGES": "true"})
	rotate(t, s)
	rotate(t, s)
	exec(t, db, "CREATE TABLE later (id int); GRANT SELECT ON later TO "+ident(user), "ALTER USER "+ident(user)+" RESET statement_timeout")
	rotate(t, s)
	want, err := target.Grants(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := target.Grants(t.Context(), user+"_clone"); err != nil || got != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}

// TestSuperusersAreNotClonedUnsaid has a user whose clone cannot be all that
// it is.
func TestSuperusersAreNotClonedUnsaid(t *testing.T) {
	db := startStandin(t)
	target := newTarget(t, db)
	user := target.Secret["username"].(string)
	exec(t, db, "ALTER ROLE "+ident(user)+" SUPERUSER")
	s := standinSteps(target, db.CAFile, rotator.Settings{})
	rotate(t, s)
	if want := "run as a superuser: ALTER USER " + ident(user+"_clone") + " CREATEUSER"; !strings.Contains(s.Log.String(), want) {
		t.Errorf("got the log\n%s\nwant a warning: %s", s.Log.String(), want)
	}
}

// TestTextsOfAWS has the guards whose words are Redshift's own.
func TestTextsOfAWS(t *testing.T) {
	db := startStandin(t)
	target := newTarget(t, db)
	target.Superuser["host"] = "elsewhere.test"
	s := standinSteps(target, db.CAFile, rotator.Settings{})
	want := "Current database host " + db.Host + " is not the same host as admin elsewhere.test"
	if err := s.Rotate(t.Context()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
