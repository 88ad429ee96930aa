package redis

import (
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"syscall"

	"github.com/keyturn/keyturn/internal/rotator"
)

var errNoPass = errors.New("the user takes any password (nopass)")

// noFile is the code of failures that mean that the server has no file to
// keep its users in, or lets nobody write it.
const noFile = "no file"

// causes are the first words of error replies that say more than that
// something failed.
var causes = map[string]rotator.Cause{
	"WRONGPASS": rotator.CauseAuthentication, "NOAUTH": rotator.CauseAuthentication, "NOPERM": rotator.CausePermission,
	"DENIED": rotator.CauseAccess, "READONLY": rotator.CauseReadOnly, "MISCONF": rotator.CauseReadOnly,
	"LOADING": rotator.CauseUnavailable, "MASTERDOWN": rotator.CauseUnavailable, "CLUSTERDOWN": rotator.CauseUnavailable,
	"BUSY": rotator.CauseUnavailable, "TRYAGAIN": rotator.CauseUnavailable,
}

// texts are what is said of replies whose own text is long.
var texts = map[string]string{
	"DENIED": "the server is in protected mode and takes connections from its own host only",
	"BUSY":   "the server is busy running a script",
}

// classify sorts a failure of a command.
func classify(command string, err error) *rotator.Failure {
	reply, ok := errors.AsType[replyError](err)
	if ok {
		return refusal(command, string(reply))
	}
	switch {
	case errors.Is(err, errPlain):
		return rotator.NewFailure(rotator.CauseTLS, "", err.Error(), err)
	case errors.Is(err, errTLS):
		return rotator.NewFailure(rotator.CauseTLSRequired, "", err.Error(), err)
	case errors.Is(err, errNoPass):
		return rotator.NewFailure(rotator.CauseAuthentication, "", err.Error()+
			"; give it a password first: a rotation would shut out those who log in with another", err)
	}
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		return rotator.NewFailure(rotator.CauseTLS, "", errPlain.Error(), err)
	}
	return rotator.Classify(err)
}

// refusal sorts the server's error reply. Its text is kept only where it
// cannot hold an argument of the command.
func refusal(command, reply string) *rotator.Failure {
	code, rest, _ := strings.Cut(reply, " ")
	err := errors.New("refused " + command)
	if cause, ok := causes[code]; ok {
		if text, ok := texts[code]; ok {
			rest = text
		}
		return rotator.NewFailure(cause, code, rest, err)
	}
	switch {
	case strings.HasPrefix(reply, "ERR max number of clients"):
		return rotator.NewFailure(rotator.CauseConnections, "", "max number of clients reached", err)
	case strings.HasPrefix(reply, "ERR This Redis instance is not configured to use an ACL file"),
		strings.HasPrefix(reply, "ERR This instance is not configured to use an ACL file"),
		strings.HasPrefix(reply, "ERR The server is running without a config file"):
		return rotator.NewFailure(rotator.CauseOther, noFile, command+" is not possible: the server has no such file", err)
	case strings.HasPrefix(reply, "ERR unknown command"), strings.HasPrefix(reply, "ERR unknown subcommand"),
		strings.HasPrefix(reply, "ERR Unknown subcommand"), strings.HasPrefix(reply, "ERR wrong number of arguments for 'auth'"):
		if command == "ACL SAVE" || command == "CONFIG REWRITE" {
			return rotator.NewFailure(rotator.CauseOther, noFile, "the server does not know "+command, err)
		}
		return rotator.NewFailure(rotator.CauseOther, "", "the server does not know "+command+": ACL users need Redis 6 or Valkey", err)
	case command == "ACL SAVE", command == "CONFIG REWRITE":
		return rotator.NewFailure(rotator.CauseReadOnly, "", "the server could not write its file of users ("+command+"); its log says why", err)
	}
	return rotator.NewFailure(rotator.CauseOther, "", "the server refused "+command, err)
}

// has tells whether the failure has the code.
func has(err error, code string) bool {
	f, ok := errors.AsType[*rotator.Failure](err)
	return ok && f.Code == code
}

// brokenOff tells that the server closed the connection.
func brokenOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
