package rotator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// minHidden is the length from which a value is hidden in log lines: shorter
// ones would take letters out of words, and are no passwords.
const minHidden = 4

// journal writes log lines as Lambda's Python runtime does, because that is
// what operators search for. Values that it was told to hide do not get out,
// whatever an engine's error says.
type journal struct {
	to        io.Writer
	requestID string
	hidden    []string
}

// hide keeps a value out of every line: a whole secret by the values of its
// members, any other text as it is.
func (j *journal) hide(v plaintext.Value) {
	d, err := ParseDocument(v)
	if err != nil {
		j.hideText(v.RevealText())
		return
	}
	for _, m := range d.members {
		if sensitive(m.key) && !slices.Contains([]string{"true", "false", "null"}, string(m.value)) {
			j.hideText(d.Text(m.key))
			j.hideTexts(m.value)
		}
	}
}

// hideTexts hides every text inside a JSON value.
func (j *journal) hideTexts(raw json.RawMessage) {
	var text string
	var list []json.RawMessage
	var object map[string]json.RawMessage
	switch {
	case json.Unmarshal(raw, &text) == nil:
		j.hideText(text)
	case json.Unmarshal(raw, &list) == nil:
		for _, item := range list {
			j.hideTexts(item)
		}
	case json.Unmarshal(raw, &object) == nil:
		for key, item := range object {
			if sensitive(key) {
				j.hideTexts(item)
			}
		}
	}
}

// sensitive tells which members of a secret are not to be shown: all but what
// says where to log in and as whom. A member that nobody has thought of is
// taken for secret.
func sensitive(key string) bool {
	switch key {
	case "engine", "host", "port", "dbname", "username", "ssl", "masterarn", "dbInstanceIdentifier", "dbClusterIdentifier",
		"namespaceName", "user_arn", "dbIdentifier", "org", "type", "adminSecretArn", "awsSeamlessDomainDirectoryId",
		"awsSeamlessDomainUsername", "schemaVersion", "directoryServiceSecretVersion", "lastModifiedDateTime", "publicKey",
		"hosts", "hostKey", "comment", "keyType", "authorizedKeysFile", "permissions", "readBuckets", "writeBuckets",
		"baseDN", "userFilter", "startTLS", "realm", "name", "principals", "keytabArns", "parentSecretArn", "version", "nodes", "vhost", "amqpPort",
		"replicaSet":
		return false
	}
	return true
}

// hideText hides a text, each of its lines (a log line holds no more than
// one), and both as JSON spells them.
func (j *journal) hideText(s string) {
	for text := range strings.Lines(s) {
		j.hideSpelled(strings.TrimSpace(text))
	}
	j.hideSpelled(s)
	// The longest first: what is part of another must not tear it apart.
	slices.SortStableFunc(j.hidden, func(a, b string) int { return len(b) - len(a) })
}

func (j *journal) hideSpelled(s string) {
	escaped, _ := json.Marshal(s) // texts always marshal
	for _, text := range []string{s, unquoted(escaped), unquoted(encodeJSON(s))} {
		if len(text) >= minHidden && !slices.Contains(j.hidden, text) {
			j.hidden = append(j.hidden, text)
		}
	}
}

func unquoted(b []byte) string { return string(b[1 : len(b)-1]) }

func (j *journal) scrub(s string) string {
	for _, secret := range j.hidden {
		s = strings.ReplaceAll(s, secret, "[REDACTED]")
	}
	return s
}

func (j *journal) info(format string, args ...any)  { j.line("INFO", format, args...) }
func (j *journal) warn(format string, args ...any)  { j.line("WARNING", format, args...) }
func (j *journal) error(format string, args ...any) { j.line("ERROR", format, args...) }

func (j *journal) line(level, format string, args ...any) {
	at := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	text := j.scrub(fmt.Sprintf(format, args...))
	fmt.Fprintf(j.to, "[%s]\t%s\t%s\t%s\n", level, at, j.requestID, strings.ReplaceAll(text, "\n", "\r"))
}

// fail logs an error with the step before it and returns it without, as the
// templates do.
func (j *journal) fail(step string, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Type: errorType(err), Text: err.Error(), err: err}
	}
	e = &Error{Type: e.Type, Text: j.scrub(e.Text), Cause: e.Cause, err: e.err}
	j.error("%s: %s", step, e.Text)
	return e
}

// errorType is the errorType of an error that is none of ours: that of AWS's
// API, or else the name that Python gives to a failure without one.
func errorType(err error) string {
	if api, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err); ok {
		return api.ErrorCode()
	}
	return "RuntimeError"
}
