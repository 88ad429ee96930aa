package mysql

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"strconv"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"github.com/keyturn/keyturn/internal/rotator"
)

// causes are the servers' error numbers that say more than that something
// failed. None of their texts repeats a statement.
var causes = map[uint16]rotator.Cause{
	1045: rotator.CauseAuthentication, // access denied
	1698: rotator.CauseAuthentication, // access denied, without a word on passwords
	1130: rotator.CauseAuthentication, // no account for the client's host
	1044: rotator.CauseDatabase, 1049: rotator.CauseDatabase,
	1040: rotator.CauseConnections, 1203: rotator.CauseConnections, 1226: rotator.CauseConnections,
	3118: rotator.CauseLocked, 4151: rotator.CauseLocked, // MySQL, MariaDB
	3955: rotator.CauseLocked, 4150: rotator.CauseLocked, // after too many wrong passwords
	1820: rotator.CauseLocked, 1862: rotator.CauseLocked, // the password has expired
	1819: rotator.CausePolicy, 3638: rotator.CausePolicy, // validation, history
	1290: rotator.CauseReadOnly, 1836: rotator.CauseReadOnly, 1874: rotator.CauseReadOnly,
	1227: rotator.CausePermission, 1142: rotator.CausePermission, 1143: rotator.CausePermission,
	1370: rotator.CausePermission, 1410: rotator.CausePermission,
	1699: rotator.CauseOther,          // the account's plugin takes no password
	1524: rotator.CauseOther,          // the server has not loaded the account's plugin
	3891: rotator.CauseAuthentication, // not the current password
	3892: rotator.CausePermission,     // the current password has to be told
	1396: rotator.CauseMissingUser, 1133: rotator.CauseMissingUser, 1141: rotator.CauseMissingUser,
	3159: rotator.CauseTLSRequired,
	1053: rotator.CauseUnavailable, 1129: rotator.CauseUnavailable,
	1205: rotator.CauseTimeout, 1969: rotator.CauseTimeout, 3024: rotator.CauseTimeout,
}

const (
	errDatabaseDenied  = 1044
	errAccessDenied    = 1045
	errNoPassword      = 1698
	errOptionPrevents  = 1290
	errNoGrant         = 1141
	errMissingPassword = 3892
)

// refusedLogin classifies why a login failed. The servers answer the same to
// a wrong password and to a plain login of an account that demands TLS;
// MariaDB does so even where the server demands it of all.
func refusedLogin(ctx context.Context, err error, encrypted bool) *rotator.Failure {
	e, ok := errors.AsType[*driver.MySQLError](err)
	if !ok {
		return broken(ctx, err)
	}
	text := e.Message
	if e.Number == errAccessDenied && !encrypted {
		text += "; this connection was plain: the account or the server may demand TLS"
	}
	return failed(e, text)
}

// refusedStatement classifies why a statement failed; nil stays nil. Of a
// statement that holds a password only texts that are known not to repeat it
// get out.
func refusedStatement(ctx context.Context, err error, secret bool) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*driver.MySQLError](err)
	if !ok {
		return broken(ctx, err)
	}
	text := e.Message
	if _, known := causes[e.Number]; secret && !known {
		text = "the server refused the statement"
	}
	f := failed(e, text)
	switch e.Number {
	case errDatabaseDenied, errAccessDenied, errNoPassword:
		f.Cause = rotator.CausePermission // logged in, but not allowed
	}
	return f
}

func failed(e *driver.MySQLError, text string) *rotator.Failure {
	cause, ok := causes[e.Number]
	if !ok {
		cause = rotator.CauseOther
	}
	if e.Number == errOptionPrevents && !strings.Contains(strings.ReplaceAll(text, "_", "-"), "read-only") {
		cause = rotator.CauseOther
	}
	// The driver's error is not kept: its text may repeat a statement.
	return rotator.NewFailure(cause, strconv.Itoa(int(e.Number)), text, nil)
}

// broken classifies what is no answer of the server.
func broken(ctx context.Context, err error) *rotator.Failure {
	switch {
	case errors.Is(err, driver.ErrNoTLS):
		return rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS is not enabled on the server", err)
	case ctx.Err() != nil:
		return rotator.Classify(ctx.Err())
	case errors.Is(err, driver.ErrInvalidConn), errors.Is(err, sqldriver.ErrBadConn):
		return rotator.NewFailure(rotator.CauseUnavailable, "", "the server broke the connection off", err)
	case errors.Is(err, driver.ErrUnknownPlugin), errors.Is(err, driver.ErrCleartextPassword), errors.Is(err, driver.ErrOldPassword):
		return rotator.NewFailure(rotator.CauseAuthentication, "", "the account uses an authentication plugin that cannot be used", err)
	}
	return rotator.Classify(err)
}

// code tells which error of the server a failure is; 0 for none.
func code(err error) int {
	f, ok := errors.AsType[*rotator.Failure](err)
	if !ok {
		return 0
	}
	n, _ := strconv.Atoi(f.Code)
	return n
}
