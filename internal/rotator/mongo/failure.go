package mongo

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/keyturn/keyturn/internal/rotator"
)

// codeUserExists is a server's code for a user that is to be made and exists.
const codeUserExists = "51003"

// causes are the codes of servers that say more than that something failed.
// The texts of these hold nothing of the command.
var causes = map[int32]rotator.Cause{
	2:     rotator.CausePolicy, // BadValue: of what is sent only the password can be one
	11:    rotator.CauseMissingUser,
	13:    rotator.CausePermission,
	18:    rotator.CauseAuthentication,
	33:    rotator.CauseAuthentication, // the user's record has no such mechanism
	50:    rotator.CauseTimeout,
	91:    rotator.CauseUnavailable,
	189:   rotator.CauseUnavailable,
	202:   rotator.CauseTimeout,
	262:   rotator.CauseTimeout,
	334:   rotator.CauseAuthentication, // mechanism unavailable
	391:   rotator.CauseLocked,         // re-authentication is needed
	10058: rotator.CauseUnavailable,
	10107: rotator.CauseReadOnly, // not the primary
	11600: rotator.CauseUnavailable,
	11602: rotator.CauseUnavailable,
	13435: rotator.CauseReadOnly, // not the primary
	13436: rotator.CauseUnavailable,
	51003: rotator.CauseOther,
}

// atlas is the code of MongoDB Atlas for whatever its proxy refuses.
const atlas = 8000

// classify makes a failure out of the driver's error.
func classify(err error) *rotator.Failure {
	if f, ok := errors.AsType[*rotator.Failure](err); ok {
		return f
	}
	if e, ok := errors.AsType[mongo.CommandError](err); ok && e.Code != 0 {
		return refusal(e, err)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), selection(err):
		return rotator.NewFailure(rotator.CauseTimeout, "", "no answer in time", err)
	case mongo.IsNetworkError(err), hungUp(err):
		return rotator.NewFailure(rotator.CauseUnavailable, "", "the server broke the connection off", err)
	}
	return rotator.Classify(err)
}

// answered tells that a failure is what a server said.
func answered(err error) bool {
	f, ok := errors.AsType[*rotator.Failure](err)
	return ok && f.Code != ""
}

func refusal(e mongo.CommandError, err error) *rotator.Failure {
	code := strconv.Itoa(int(e.Code))
	if e.Code == atlas {
		cause := rotator.CauseOther
		if strings.Contains(strings.ToLower(e.Message), "auth") {
			cause = rotator.CauseAuthentication
		}
		return rotator.NewFailure(cause, code, "refused by MongoDB Atlas", err)
	}
	if cause, ok := causes[e.Code]; ok {
		return rotator.NewFailure(cause, code, e.Message, err)
	}
	return rotator.NewFailure(rotator.CauseOther, code, "refused by the server: "+e.Name, err)
}
