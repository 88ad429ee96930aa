package invocation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

// The limits of an event in bytes (AWS docs).
const (
	MaxSyncPayload  = 6 << 20
	MaxAsyncPayload = 1 << 20
)

// checkPayload checks an event's size and that it is JSON; no event at all is
// fine. kind is the invocation type, for the message (AWS: reported).
func checkPayload(payload []byte, limit int, kind string) error {
	if len(payload) > limit {
		return fault.New(function.PayloadTooLarge, "%d byte payload is too large for the %s invocation type (limit %d bytes)", len(payload), kind, limit)
	}
	if len(payload) == 0 || json.Valid(payload) {
		return nil
	}
	return fault.New(function.InvalidPayload, "Could not parse request body into json: Could not parse payload into json: %s", syntaxError(payload))
}

// syntaxError says what is wrong with a text that is not JSON, in the manner
// of AWS's parser but without quoting the text, which may hold secrets.
func syntaxError(payload []byte) string {
	var v json.RawMessage
	err := json.Unmarshal(payload, &v)
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if !ok || syntax.Offset >= int64(len(payload)) && err.Error() == "unexpected end of JSON input" {
		return "Unexpected end-of-input"
	}
	before := payload[:max(syntax.Offset-1, 0)]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("Unexpected character at line: %d, column: %d", line, column)
}
