package plaintext

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"testing"
)

func TestForms(t *testing.T) {
	const text = `p"a\s/s? wörd`
	got := Forms(text)
	for _, want := range []string{
		text, `p\"a\\s/s? wörd`, `p"a\\s/s? wörd`, url.QueryEscape(text), url.PathEscape(text),
		base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)),
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	if quoted := fmt.Sprintf("%q", text); !slices.Contains(got, quoted[1:len(quoted)-1]) {
		t.Errorf("Go's form is missing in %q", got)
	}
}

func TestIsSecretName(t *testing.T) {
	for name, want := range map[string]bool{
		"password": true, "DB_PASS": true, "apiKey": true, "API_KEY": true, "key": true, "SessionToken": true, "privateKey": true,
		"host": false, "keyboard": false, "username": false, "KeyId": false,
	} {
		if got := IsSecretName(name); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
