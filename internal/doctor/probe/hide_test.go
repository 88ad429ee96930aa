package probe

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/plaintext"
	core "github.com/keyturn/keyturn/internal/rotator/probe"
)

// TestHide looks for values that a function has logged bare, or in other
// ways of writing, in the evidence.
func TestHide(t *testing.T) {
	t.Parallel()
	const canary = `hunter2"&<\ü /canary`
	value, err := json.Marshal(map[string]any{
		"username": "app-user", "host": "db.example", "password": canary, "previousPassword": canary + "-old", "API_KEY": "canary-of-a-key", "masterarn": "arn:aws:secretsmanager:x",
		"sslSecret": "abc",
	})
	if err != nil {
		t.Fatal(err)
	}
	versions := []core.Version{
		{Label: core.Current, Value: plaintext.New(value)}, {Label: core.Pending, Value: plaintext.Of("canary as bare text")}, {Label: core.Previous, Missing: true},
	}
	quoted, _ := json.Marshal(canary)
	text := strings.Join([]string{
		"connecting to db.example as app-user with " + canary + " or " + canary + "-old", string(quoted), url.QueryEscape(canary), url.PathEscape(canary),
		base64.StdEncoding.EncodeToString([]byte(canary)), base64.RawURLEncoding.EncodeToString([]byte(canary)), "canary-of-a-key", "canary as bare text", "by arn:aws:secretsmanager:x",
	}, "\n")
	e := &doctor.Evidence{
		Invocations: []doctor.Invocation{{Lines: []doctor.Line{{Text: text}}}}, Events: []doctor.Event{{ErrorMessage: text, UserAgent: text}},
		Reports: []doctor.Report{{Error: text}}, Gaps: []doctor.Gap{{Error: text}},
		Probes: []doctor.Probe{{Server: text, Names: text, Method: text, Stages: []doctor.Stage{{Text: text}}}},
	}
	hide(e, secrets(versions))
	const want = "connecting to db.example as app-user with **** or ****\n\"****\"\n****\n****\n****\n****\n****\n****\nby arn:aws:secretsmanager:x"
	p := e.Probes[0]
	for what, got := range map[string]string{
		"log": e.Invocations[0].Lines[0].Text, "event": e.Events[0].ErrorMessage, "user agent": e.Events[0].UserAgent, "report": e.Reports[0].Error,
		"gap": e.Gaps[0].Error, "server": p.Server, "names": p.Names, "method": p.Method, "stage": p.Stages[0].Text,
	} {
		if got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
}
