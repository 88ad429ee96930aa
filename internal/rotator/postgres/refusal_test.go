package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/postgres"
)

// TestLoginFailure has what only other servers than those of the tests say:
// other languages, poolers, services.
func TestLoginFailure(t *testing.T) {
	for _, test := range []struct {
		e         pgconn.PgError
		encrypted bool
		want      rotator.Cause
	}{
		{pgconn.PgError{Code: "28P01", Message: "Passwort-Authentifizierung fehlgeschlagen"}, true, rotator.CauseAuthentication},
		{pgconn.PgError{Code: "28000", Message: "kein pg_hba.conf-Eintrag", Routine: "ClientAuthentication"}, true, rotator.CauseAccess},
		{pgconn.PgError{Code: "28000", Message: "aucune entrée", Routine: "ClientAuthentication"}, false, rotator.CauseTLSRequired},
		{pgconn.PgError{Code: "28000", Message: `no pg_hba.conf entry for host "::ffff:10.0.0.1", user "a", database "dev", SSL off`}, false, rotator.CauseTLSRequired},
		{pgconn.PgError{Code: "28000", Message: `pg_hba.conf rejects connection for host "10.0.0.1"`}, true, rotator.CauseAccess},
		{pgconn.PgError{Code: "28000", Message: `role "a" does not exist`}, true, rotator.CauseMissingUser},
		{pgconn.PgError{Code: "28000", Message: `role "a" is not permitted to log in`}, true, rotator.CauseLocked},
		{pgconn.PgError{Code: "28000", Message: "PAM authentication failed"}, true, rotator.CauseAuthentication},
		{pgconn.PgError{Code: "42501", Message: "permission denied for database"}, true, rotator.CauseDatabase},
		{pgconn.PgError{Code: "55000", Message: "database is not currently accepting connections"}, true, rotator.CauseDatabase},
		{pgconn.PgError{Code: "57P03", Message: "the database system is starting up"}, true, rotator.CauseUnavailable},
		{pgconn.PgError{Code: "53300", Message: "remaining connection slots are reserved"}, true, rotator.CauseConnections},
		{pgconn.PgError{Code: "08P01", Message: "no more connections allowed (max_client_conn)"}, true, rotator.CauseConnections},
		{pgconn.PgError{Code: "08P01", Message: "no such database: a"}, true, rotator.CauseDatabase},
		{pgconn.PgError{Code: "08P01", Message: "server login has been failing, try again later"}, true, rotator.CauseUnavailable},
		{pgconn.PgError{Code: "08P01", Message: "SSL required"}, false, rotator.CauseTLSRequired},
		{pgconn.PgError{Code: "XX000", Message: "something else"}, true, rotator.CauseOther},
	} {
		f := postgres.LoginFailure(fmt.Errorf("connecting: %w", &test.e), test.encrypted)
		if f.Cause != test.want || f.Code != test.e.Code || !strings.HasPrefix(f.Text, test.e.Message) {
			t.Errorf("%s %s: got %v, want %s", test.e.Code, test.e.Message, f, test.want)
		}
	}
}

func TestRefusalsQuoteNoStatement(t *testing.T) {
	const canary = "hunter2-hunter2"
	err := postgres.Refusal(&pgconn.PgError{Code: "42601", Message: `syntax error at or near "` + canary + `"`, Detail: canary})
	if strings.Contains(err.Error(), canary) {
		t.Errorf("a piece of the statement is in %v", err)
	}
	err = postgres.Refusal(&pgconn.PgError{Code: "23505", Message: "duplicate key", Detail: "Key (password)=(" + canary + ")"})
	if strings.Contains(err.Error(), canary) {
		t.Errorf("a detail that quotes values is in %v", err)
	}
}

func TestPasswordRefusal(t *testing.T) {
	for _, test := range []struct {
		code   string
		hashed bool
		want   rotator.Cause
		hint   bool
	}{
		{"22023", false, rotator.CausePolicy, false}, {"28000", true, rotator.CausePolicy, true}, {"28P01", true, rotator.CausePolicy, true},
		{"P0001", true, rotator.CausePolicy, true}, {"42501", true, rotator.CausePermission, false}, {"42704", true, rotator.CauseMissingUser, false},
	} {
		err := postgres.PasswordRefusal(&pgconn.PgError{Code: test.code, Message: "refused"}, test.hashed)
		f, ok := errors.AsType[*rotator.Failure](err)
		if !ok || f.Cause != test.want || strings.Contains(f.Text, "KEYTURN_PLAIN_PASSWORDS") != test.hint {
			t.Errorf("%s: got %v, want %s, with the hint: %t", test.code, err, test.want, test.hint)
		}
	}
	if postgres.PasswordRefusal(nil, true) != nil {
		t.Error("success is a refusal")
	}
}

func TestSplitNames(t *testing.T) {
	for list, want := range map[string][]string{
		`"$user", public`: {"$user", "public"}, `a,b`: {"a", "b"}, `"a, b", "say ""x"""`: {"a, b", `say "x"`}, `""`: {""}, `"Odd 'Schema'"`: {"Odd 'Schema'"},
	} {
		if diff := cmp.Diff(want, postgres.SplitNames(list)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", list, diff)
		}
	}
}
