package probe

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/plaintext"
	core "github.com/keyturn/keyturn/internal/rotator/probe"
)

func TestShapes(t *testing.T) {
	const secret = "hunter2-Hunter2"
	for _, c := range []struct {
		name  string
		value core.Version
		want  doctor.Value
	}{
		{"an object", core.Version{Value: plaintext.Of(`{"engine":"postgres","host":"h","port":5432,"username":"u","password":"` + secret + `","ssl":true,"masterarn":"m"}`)},
			doctor.Value{Object: true, Keys: []string{"engine", "host", "port", "username", "password", "ssl", "masterarn"}, Engine: "postgres", Host: "h", Port: "5432",
				Username: "u", SSL: "true", MasterARN: "m", PasswordLength: 15}},
		{"a password alone", core.Version{Value: plaintext.Of(secret)}, doctor.Value{Problem: "not a JSON object", PasswordLength: 15}},
		{"broken", core.Version{Value: plaintext.Of(`{"password": "` + secret)}, doctor.Value{Problem: "not JSON at byte 12", PasswordLength: 29}},
		{"typographic", core.Version{Value: plaintext.Of(`{“password”: “` + secret + `”}`)}, doctor.Value{Problem: "not JSON at byte 1; it has typographic quotation marks", PasswordLength: 31}},
		{"a password in the wrong place", core.Version{Value: plaintext.Of(`{"host":{"password":"` + secret + `"}}`)}, doctor.Value{Object: true, Keys: []string{"host"}, Host: "(no text)"}},
		{"missing", core.Version{Missing: true}, doctor.Value{Missing: true}},
		{"binary", core.Version{Binary: true}, doctor.Value{Binary: true}},
		{"refused", core.Version{Err: errors.New("no")}, doctor.Value{Error: "no"}},
		{"a key", core.Version{Value: plaintext.Of(`{"username":"u","privateKey":"` + secret + `"}`)}, doctor.Value{Object: true, Keys: []string{"username", "privateKey"}, Username: "u", PasswordLength: 15}},
	} {
		got := shapes([]core.Version{c.value})
		if diff := cmp.Diff([]doctor.Value{c.want}, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		text, err := json.Marshal(got)
		if err != nil || strings.Contains(string(text), secret) {
			t.Errorf("%s: the shape shows the value: %s", c.name, text)
		}
	}
}

func TestEngine(t *testing.T) {
	for _, c := range []struct {
		function *doctor.Function
		want     string
	}{
		{nil, ""}, {&doctor.Function{}, ""}, {&doctor.Function{Rotator: "redis.overlap"}, "redis"}, {&doctor.Function{Rotator: "command"}, ""},
		{&doctor.Function{Code: &doctor.Code{Template: "SecretsManagerRDSMariaDBRotationMultiUser"}}, "mariadb"},
		{&doctor.Function{Code: &doctor.Code{Template: "SecretsManagerRotationTemplate"}}, ""},
	} {
		if got := engine(&doctor.Evidence{Function: c.function}); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.function, got, c.want)
		}
	}
}
