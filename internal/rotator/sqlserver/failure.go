package sqlserver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"

	mssql "github.com/microsoft/go-mssqldb"

	"github.com/keyturn/keyturn/internal/rotator"
)

// causes are the numbers of the server's errors that say more than that
// something failed. Their messages name logins, databases and rules, never
// what a statement held otherwise.
var causes = map[int32]rotator.Cause{
	18452: rotator.CauseAuthentication, // only Windows logins are taken
	18456: rotator.CauseAuthentication,
	15211: rotator.CauseAuthentication, // the old password is not right
	18470: rotator.CauseLocked,         // disabled
	18486: rotator.CauseLocked,
	18487: rotator.CauseLocked, // the password has expired
	18488: rotator.CauseLocked, // the password has to be changed
	15113: rotator.CauseLocked, // too many attempts
	911:   rotator.CauseDatabase,
	916:   rotator.CauseDatabase, // the login has no user in it
	4060:  rotator.CauseDatabase,
	4063:  rotator.CauseDatabase,
	4064:  rotator.CauseDatabase,
	10928: rotator.CauseConnections,
	10929: rotator.CauseConnections,
	17809: rotator.CauseConnections,
	18461: rotator.CauseConnections, // single-user mode
	15114: rotator.CausePolicy,      // too recent to change
	15115: rotator.CausePolicy,
	15116: rotator.CausePolicy, // too short
	15117: rotator.CausePolicy, // too long
	15118: rotator.CausePolicy, // not complex enough
	15119: rotator.CausePolicy, // refused by a filter
	976:   rotator.CauseReadOnly,
	978:   rotator.CauseReadOnly,
	3906:  rotator.CauseReadOnly,
	229:   rotator.CausePermission,
	230:   rotator.CausePermission,
	262:   rotator.CausePermission,
	297:   rotator.CausePermission,
	300:   rotator.CausePermission,
	4613:  rotator.CausePermission, // the grantor may not grant
	15151: rotator.CausePermission, // or it does not exist: the server does not say
	15247: rotator.CausePermission,
	15007: rotator.CauseMissingUser,
	921:   rotator.CauseUnavailable, // being recovered
	922:   rotator.CauseUnavailable,
	983:   rotator.CauseUnavailable, // the replica changes its role
	1205:  rotator.CauseUnavailable, // chosen as a deadlock's victim
	6005:  rotator.CauseUnavailable, // shutting down
	17142: rotator.CauseUnavailable, // paused
	18401: rotator.CauseUnavailable, // being upgraded
	40197: rotator.CauseUnavailable,
	40501: rotator.CauseUnavailable,
	40613: rotator.CauseUnavailable,
	15023: rotator.CauseOther, // the user exists
	15025: rotator.CauseOther, // the login exists
}

// loginStates are states of error 18456 that tell why; servers show them to
// clients seldom.
var loginStates = map[uint8]rotator.Cause{
	7: rotator.CauseLocked, 18: rotator.CauseLocked, 38: rotator.CauseDatabase, 40: rotator.CauseDatabase, 46: rotator.CauseDatabase,
}

// refusal classifies the failure of a statement; nil stays nil.
func refusal(err error, holdsPassword bool) error {
	if err == nil {
		return nil
	}
	return classify(err, holdsPassword)
}

// classify makes a failure out of the driver's error. What the server says of
// a statement that holds a password is left out unless the number is known:
// it may quote the statement.
func classify(err error, holdsPassword bool) *rotator.Failure {
	e, ok := errors.AsType[mssql.Error](err)
	if !ok {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return rotator.Classify(err)
		case errors.Is(err, driver.ErrBadConn):
			return rotator.NewFailure(rotator.CauseUnavailable, "", "the server broke the connection off", err)
		}
		return rotator.Classify(err)
	}
	e = worst(e)
	code := strconv.Itoa(int(e.Number))
	message := strings.TrimPrefix(e.Message, "login error: ")
	cause, known := causes[e.Number]
	switch {
	case e.Number == 18456 && loginStates[e.State] != "":
		cause = loginStates[e.State]
	case !known && holdsPassword:
		message = fmt.Sprintf("refused by the server, state %d, severity %d", e.State, e.Class)
		cause = rotator.CauseOther
	case !known:
		cause = rotator.CauseOther
	}
	return rotator.NewFailure(cause, code, message, err)
}

// worst picks, of several errors of one statement, the first that is known:
// the last one often only says that the statement has ended.
func worst(e mssql.Error) mssql.Error {
	for _, one := range e.All {
		if cause, ok := causes[one.Number]; ok && cause != rotator.CauseOther {
			return one
		}
	}
	return e
}
