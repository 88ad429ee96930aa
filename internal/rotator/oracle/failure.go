package oracle

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/sijms/go-ora/v2/network"

	"github.com/keyturn/keyturn/internal/rotator"
)

// Codes that steps go on from.
const (
	codeUnknownSID        = "ORA-12505"
	codeUnknownService    = "ORA-12514"
	codeUserExists        = "ORA-01920"
	codeOldPasswordNeeded = "ORA-28221"
	codeNothingGranted    = "ORA-31608"
)

// causes are the server's codes that say more than that something failed.
// Their texts name users and rules, never what a statement held otherwise.
var causes = map[int]rotator.Cause{
	1005:  rotator.CauseAuthentication, // no password
	1017:  rotator.CauseAuthentication,
	28008: rotator.CauseAuthentication, // the old password is not right
	28000: rotator.CauseLocked,
	28001: rotator.CauseLocked, // the password has expired
	28365: rotator.CauseUnavailable,
	988:   rotator.CausePolicy,
	28003: rotator.CausePolicy,
	28007: rotator.CausePolicy, // used before
	28218: rotator.CausePolicy,
	28219: rotator.CausePolicy,
	28220: rotator.CausePolicy,
	12505: rotator.CauseDatabase,
	12514: rotator.CauseDatabase,
	12521: rotator.CauseDatabase,
	18:    rotator.CauseConnections,
	20:    rotator.CauseConnections,
	2391:  rotator.CauseConnections,
	12516: rotator.CauseConnections, // no handler left
	12519: rotator.CauseConnections,
	12520: rotator.CauseConnections,
	16000: rotator.CauseReadOnly,
	942:   rotator.CausePermission, // or it does not exist: the server does not say
	1031:  rotator.CausePermission,
	1045:  rotator.CausePermission, // no CREATE SESSION
	1749:  rotator.CausePermission,
	1919:  rotator.CausePermission, // a role that may not be granted
	1924:  rotator.CausePermission,
	1917:  rotator.CauseMissingUser,
	1918:  rotator.CauseMissingUser,
	1033:  rotator.CauseUnavailable, // starting or stopping
	1034:  rotator.CauseUnavailable,
	1035:  rotator.CauseUnavailable, // open for administrators only
	1089:  rotator.CauseUnavailable,
	1090:  rotator.CauseUnavailable,
	1109:  rotator.CauseUnavailable,
	3113:  rotator.CauseUnavailable,
	3114:  rotator.CauseUnavailable,
	3135:  rotator.CauseUnavailable,
	12526: rotator.CauseUnavailable,
	12528: rotator.CauseUnavailable,
	12537: rotator.CauseUnavailable,
	12564: rotator.CauseTCP, // refused by the listener without a reason
	12170: rotator.CauseTimeout,
	12660: rotator.CauseTLSRequired, // the server demands Oracle's own encryption
	28759: rotator.CauseTLS,
	28860: rotator.CauseTLS,
	1920:  rotator.CauseOther, // the user exists
	28221: rotator.CauseOther, // the old password is needed
	31608: rotator.CauseOther, // nothing granted
}

// refusal classifies the failure of a statement; nil stays nil.
func refusal(err error, holdsPassword bool) error {
	if err == nil {
		return nil
	}
	return classify(err, holdsPassword)
}

// classify makes a failure out of the driver's error. What the server says of
// a statement that holds a password is left out unless the code is known.
func classify(err error, holdsPassword bool) *rotator.Failure {
	e, ok := errors.AsType[*network.OracleError](err)
	if !ok {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return rotator.Classify(err)
		case errors.Is(err, driver.ErrBadConn):
			return rotator.NewFailure(rotator.CauseUnavailable, "", "the server broke the connection off", err)
		}
		return rotator.Classify(err)
	}
	number, text := innermost(e)
	cause, known := causes[number]
	if !known {
		cause = rotator.CauseOther
	}
	if text == "" || !known && holdsPassword {
		text = "refused by the server"
	}
	return rotator.NewFailure(cause, fmt.Sprintf("ORA-%05d", number), text, err)
}

// recursive is the code of an error inside of what the server runs by itself,
// which stands in the lines that follow.
const recursive = 604

// innermost returns the code and the first line of an error's text, without
// the code. Lines of a password verification function, which may say anything,
// are left out.
func innermost(e *network.OracleError) (number int, text string) {
	lines := strings.Split(strings.TrimSpace(e.ErrMsg), "\n")
	number = e.ErrCode
	if number == recursive && len(lines) > 1 {
		lines = lines[1:]
		if _, err := fmt.Sscanf(lines[0], "ORA-%d:", &number); err != nil {
			number = e.ErrCode
		}
	}
	_, text, found := strings.Cut(lines[0], ": ")
	if !found {
		text = ""
	}
	return number, strings.TrimSpace(text)
}

// refusedLogin classifies the error of a login.
func refusedLogin(ctx context.Context, err error, encrypted bool) *rotator.Failure {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, answered := errors.AsType[*network.OracleError](err)
	switch {
	case answered:
		return classify(err, true)
	case ctx.Err() != nil:
		return rotator.Classify(context.DeadlineExceeded)
	case encrypted && (record || hungUp(err)):
		return rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS is not enabled on the server", err)
	case !encrypted && hungUp(err):
		return rotator.NewFailure(rotator.CauseTLSRequired, "", "the server hung up without an answer, as one does that demands SSL/TLS", err)
	}
	return classify(err, true)
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}
