package invocation

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

func TestCheckPayload(t *testing.T) {
	for _, payload := range []string{"", "{}", "null", `"text"`, " [1, 2] \n"} {
		if err := checkPayload([]byte(payload), 100, "RequestResponse"); err != nil {
			t.Errorf("%q: got %v, want nil", payload, err)
		}
	}
	const prefix = "Could not parse request body into json: Could not parse payload into json: "
	for payload, want := range map[string]string{
		" ":           "Unexpected end-of-input",
		`{"a":`:       "Unexpected end-of-input",
		"secret":      "Unexpected character at line: 1, column: 1",
		"{}x":         "Unexpected character at line: 1, column: 3",
		"{\n\"a\" 1}": "Unexpected character at line: 2, column: 5",
	} {
		err := checkPayload([]byte(payload), 100, "RequestResponse")
		if !fault.Is(err, function.InvalidPayload) || err.(*fault.Error).Message != prefix+want {
			t.Errorf("%q: got %v, want %q", payload, err, prefix+want)
		}
	}
	err := checkPayload([]byte(strings.Repeat(" ", 101)), 100, "Event")
	if !fault.Is(err, function.PayloadTooLarge) || err.(*fault.Error).Message != "101 byte payload is too large for the Event invocation type (limit 100 bytes)" {
		t.Errorf("too large: got %v", err)
	}
}

// FuzzCheckPayload: what is refused is not JSON, and the message quotes none
// of it.
func FuzzCheckPayload(f *testing.F) {
	for _, s := range []string{"", "{}", "{", "secretsecret", "[1,]", "\x00", "\"\\u12\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		err := checkPayload(payload, 1<<20, "Event")
		if (err == nil) != (len(payload) == 0 || json.Valid(payload)) {
			t.Errorf("%q: got %v", payload, err)
		}
		if err != nil && len(payload) > 16 && strings.Contains(err.Error(), string(payload)) {
			t.Errorf("the message quotes the payload: %v", err)
		}
	})
}
