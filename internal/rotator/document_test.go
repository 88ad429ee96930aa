package rotator_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

func parse(t testing.TB, text string) *rotator.Document {
	t.Helper()
	d, err := rotator.ParseDocument(plaintext.Of(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return d
}

func TestDocumentKeepsWhatItIsNotTold(t *testing.T) {
	const text = `{ "z":1.50, "password":"a<b", "user\u00e9":"\u0041", "list":[1, {"x":null}], "a":true }`
	got := parse(t, text).With("password", plaintext.Of(`c<"&\é`)).With("new", 7).Value().RevealText()
	want := `{"z": 1.50, "password": "c<\"&\\é", "useré": "\u0041", "list": [1, {"x":null}], "a": true, "new": 7}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := parse(t, text).Without("list").Keys(); !cmp.Equal(got, []string{"z", "password", "useré", "a"}) {
		t.Errorf("got the keys %q", got)
	}
}

func TestDocumentRedactsItself(t *testing.T) {
	d := parse(t, `{"password":"hunter2-hunter2"}`)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(verb, d); strings.Contains(got, "hunter2") {
			t.Errorf("%s prints the password", verb)
		}
	}
}

func TestNoDocument(t *testing.T) {
	for _, text := range []string{"", "null", "[]", `"text"`, "12", `{"a":1`, `{"a":1}{`, `{"a":1} x`, `{"a"}`, `{'a':1}`, "hunter2-hunter2", `{"a":hunter2-hunter2}`} {
		d, err := rotator.ParseDocument(plaintext.Of(text))
		if err == nil {
			t.Errorf("%s: got %q, want an error", text, d.Keys())
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error says the value", text)
		}
	}
}

func FuzzDocument(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":"b"}`, `{"a":1,"a":2}`, `{"password":"x","n":[1,2,{"k":"\ud800"}]}`, ` {"a" : null } `, `[`, `{"":""}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := rotator.ParseDocument(plaintext.Of(text))
		if err != nil {
			return
		}
		var want map[string]any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("JSON refuses what was parsed: %v", err)
		}
		var got map[string]any
		changed := d.With("password", "next").Value().RevealText()
		if err := json.Unmarshal([]byte(changed), &got); err != nil {
			t.Fatalf("%s is not JSON: %v", changed, err)
		}
		if got["password"] != "next" {
			t.Errorf("got the password %v", got["password"])
		}
		delete(got, "password")
		delete(want, "password")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("other members (-want +got):\n%s", diff)
		}
	})
}

func TestLogin(t *testing.T) {
	kind := rotator.Kind{Accepts: []string{"double", "aurora-double"}, Port: 1000, Database: "main"}
	type read struct {
		Host, Database, Username, Password string
		Port                               int
		TLS                                rotator.TLSMode
	}
	base := read{"h", "main", "u", "p", 1000, rotator.PreferTLS}
	with := func(change func(*read)) read {
		r := base
		change(&r)
		return r
	}
	for _, test := range []struct {
		members string
		want    read
		fails   string
	}{
		{`"engine":"double"`, base, ""},
		{`"engine":"aurora-double"`, base, ""},
		{`"engine":"double","port":2000,"dbname":"other"`, with(func(r *read) { r.Port, r.Database = 2000, "other" }), ""},
		{`"engine":"double","port":"2000"`, with(func(r *read) { r.Port = 2000 }), ""},
		{`"engine":"double","port":"","dbname":""`, base, ""},
		{`"engine":"double","port":null,"dbname":null`, base, ""},
		{`"engine":"double","ssl":true`, with(func(r *read) { r.TLS = rotator.RequireTLS }), ""},
		{`"engine":"double","ssl":"True"`, with(func(r *read) { r.TLS = rotator.RequireTLS }), ""},
		{`"engine":"double","ssl":false`, with(func(r *read) { r.TLS = rotator.NoTLS }), ""},
		{`"engine":"double","ssl":"FALSE"`, with(func(r *read) { r.TLS = rotator.NoTLS }), ""},
		{`"engine":"double","ssl":null`, base, ""},
		{`"engine":"double","ssl":1`, base, ""},
		{`"engine":"double","ssl":"yes"`, base, ""},
		{`"engine":"double","port":"2000x"`, read{}, `The member port of the secret's JSON must be a number from 1 to 65535, and is "2000x"`},
		{`"engine":"double","port":70000`, read{}, `The member port of the secret's JSON must be a number from 1 to 65535, and is "70000"`},
		{`"engine":"double","port":0`, read{}, `The member port of the secret's JSON must be a number from 1 to 65535, and is "0"`},
		{`"engine":"mysql"`, read{}, "Database engine must be set to 'double' in order to use this rotation lambda"},
		{`"other":1`, read{}, "Database engine must be set to 'double' in order to use this rotation lambda"},
	} {
		l, err := kind.Login(parse(t, `{"host":"h","username":"u","password":"p",`+test.members+`}`))
		got := read{l.Host, l.Database, l.Username, l.Password.RevealText(), l.Port, l.TLS}
		switch {
		case test.fails != "":
			if err == nil || err.Error() != test.fails {
				t.Errorf("%s: got %v, want %q", test.members, err, test.fails)
			}
		case err != nil || got != test.want:
			t.Errorf("%s: got %+v and %v, want %+v", test.members, got, err, test.want)
		}
	}
	for _, key := range []string{"host", "username", "password"} {
		value := map[string]string{"engine": "double", "host": "h", "username": "u", "password": "p"}
		delete(value, key)
		text, _ := json.Marshal(value) // texts always marshal
		if _, err := kind.Login(parse(t, string(text))); err == nil || err.Error() != key+" key is missing from secret JSON" {
			t.Errorf("without %s: got %v", key, err)
		}
	}
}
