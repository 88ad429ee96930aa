package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keyturn/keyturn/internal/rotator"
)

// causes are the SQLSTATEs that say more than that something failed.
var causes = map[string]rotator.Cause{
	"28P01": rotator.CauseAuthentication, "28000": rotator.CauseAuthentication,
	"3D000": rotator.CauseDatabase, "55000": rotator.CauseDatabase, // the latter: it accepts no connections
	"53300": rotator.CauseConnections,
	"25006": rotator.CauseReadOnly, "53100": rotator.CauseReadOnly, // the latter: the disk is full
	"42501": rotator.CausePermission, "0LP01": rotator.CausePermission,
	"42704": rotator.CauseMissingUser,
	"57P01": rotator.CauseUnavailable, "57P02": rotator.CauseUnavailable, "57P03": rotator.CauseUnavailable,
	"57P05": rotator.CauseUnavailable, "53200": rotator.CauseUnavailable,
	"08000": rotator.CauseUnavailable, "08003": rotator.CauseUnavailable, "08006": rotator.CauseUnavailable,
	"57014": rotator.CauseTimeout, "55P03": rotator.CauseTimeout, // cancelled, or a lock was not to be had
	"40001": rotator.CauseUnavailable, "40P01": rotator.CauseUnavailable,
}

// explained are the SQLSTATEs whose detail says what to do, and never quotes
// a value.
var explained = map[string]bool{"42501": true, "0LP01": true, "53300": true, "3D000": true}

// pooler are texts of PgBouncer, which has one code for all its refusals.
var pooler = []struct {
	text  string
	cause rotator.Cause
}{
	{"no more connections allowed", rotator.CauseConnections},
	{"no such database", rotator.CauseDatabase},
	{"no such user", rotator.CauseAuthentication},
	{"auth", rotator.CauseAuthentication},
	{"TLS required", rotator.CauseTLSRequired},
	{"SSL required", rotator.CauseTLSRequired},
	{"server", rotator.CauseUnavailable},
}

// Refusal classifies the failure of a statement; nil stays nil.
func Refusal(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return rotator.Classify(err)
	}
	return rotator.NewFailure(causeOf(e), e.Code, textOf(e), err)
}

func causeOf(e *pgconn.PgError) rotator.Cause {
	if cause, ok := causes[e.Code]; ok {
		return cause
	}
	if e.Code == "08P01" {
		for _, p := range pooler {
			if strings.Contains(e.Message, p.text) {
				return p.cause
			}
		}
	}
	return rotator.CauseOther
}

// textOf is the server's own word, except where it could quote the statement.
func textOf(e *pgconn.PgError) string {
	if e.Code == "42601" {
		return "the server did not understand the statement"
	}
	if explained[e.Code] && e.Detail != "" {
		return e.Message + ". " + e.Detail
	}
	return e.Message
}

// LoginFailure classifies why a login failed.
func LoginFailure(err error, encrypted bool) *rotator.Failure {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		cause, note := loginCause(e, encrypted)
		return rotator.NewFailure(cause, e.Code, textOf(e)+note, err)
	}
	for _, known := range []struct {
		text  string
		cause rotator.Cause
		own   string
	}{
		{"server refused TLS connection", rotator.CauseTLS, "SSL/TLS is not enabled on the server"},
		{"server did not complete authentication", rotator.CauseAccess, unproven},
		{"require_auth check failed", rotator.CauseAccess, notAPassword(encrypted)},
	} {
		if strings.Contains(err.Error(), known.text) {
			return rotator.NewFailure(known.cause, "", known.own, err)
		}
	}
	return rotator.Classify(err)
}

const unproven = "the server asks for no password, so that no login can prove one: " +
	"a rule of pg_hba.conf says trust, or another method without a password"

// notAPassword says why a login was broken off whose method is not one of
// those that are allowed: over a plain connection that nobody asked for, a
// password in clear text is not either.
func notAPassword(encrypted bool) string {
	if encrypted {
		return "the server asks for something else than a password"
	}
	return "the server wants the password in clear text over a plain connection, which it gets only where the secret's ssl member is false"
}

// accessRoutine is the server's function that reports what its access rules
// refuse; the texts depend on the server's language.
const accessRoutine = "ClientAuthentication"

// loginCause refines a refusal by what it means at login, with a note for the
// text.
func loginCause(e *pgconn.PgError, encrypted bool) (cause rotator.Cause, note string) {
	switch e.Code {
	case "28P01":
		return rotator.CauseAuthentication,
			" (which PostgreSQL also says of a user that does not exist, and of a password that has expired by VALID UNTIL)"
	case "42501":
		return rotator.CauseDatabase, ""
	case "28000":
		return authorizationCause(e, encrypted), ""
	}
	return causeOf(e), ""
}

func authorizationCause(e *pgconn.PgError, encrypted bool) rotator.Cause {
	switch {
	case e.Routine == accessRoutine || strings.Contains(e.Message, "pg_hba.conf"):
		if encrypted {
			return rotator.CauseAccess
		}
		return rotator.CauseTLSRequired
	case strings.Contains(e.Message, "does not exist"):
		return rotator.CauseMissingUser
	case strings.Contains(e.Message, "not permitted to log in"):
		return rotator.CauseLocked
	}
	return rotator.CauseAuthentication
}

// beginFailure classifies why no transaction that writes could begin: on a
// standby that is a feature that is missing.
func beginFailure(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "0A000" {
		return rotator.NewFailure(rotator.CauseReadOnly, e.Code, e.Message, err)
	}
	return Refusal(err)
}

// PasswordRefusal classifies why a password was not taken. Modules that check
// passwords refuse with codes that mean other things elsewhere.
func PasswordRefusal(err error, hashed bool) error {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return Refusal(err)
	}
	switch {
	case strings.HasPrefix(e.Code, "22"), strings.HasPrefix(e.Code, "28"), e.Code == "P0001":
		text := e.Message
		if hashed {
			text += "; the server was given a hash: where it checks passwords by a policy, set KEYTURN_PLAIN_PASSWORDS=true"
		}
		return rotator.NewFailure(rotator.CausePolicy, e.Code, text, err)
	}
	return Refusal(err)
}

// withRemedy adds to a lack of permission what gives it.
func withRemedy(err error, format string, args ...any) error {
	f, ok := errors.AsType[*rotator.Failure](err)
	if !ok || f.Cause != rotator.CausePermission {
		return err
	}
	return rotator.NewFailure(f.Cause, f.Code, f.Text+"; to allow it, run as a superuser: "+fmt.Sprintf(format, args...), f)
}
