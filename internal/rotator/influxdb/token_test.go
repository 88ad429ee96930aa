package influxdb

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

func TestCheckPair(t *testing.T) {
	read := []permission{{"read", resource{Type: "buckets", OrgID: "o"}}}
	both := []permission{{"write", resource{Type: "buckets", OrgID: "o"}}, {"read", resource{Type: "buckets", OrgID: "o"}}}
	swapped := []permission{both[1], both[0]}
	token := func(user, org string, may []permission) *authorization {
		return &authorization{UserID: user, OrgID: org, Permissions: may}
	}
	for name, tc := range map[string]struct {
		old, next *authorization
		had       bool
		want      string // "" for none
	}{
		"alike":              {token("u", "o", both), token("u", "o", swapped), true, ""},
		"the first":          {nil, token("u", "o", both), false, ""},
		"none":               {token("u", "o", both), nil, true, "The pending token cannot be used: user missing"},
		"the old one gone":   {nil, token("u", "o", both), true, "The current token cannot be compared: user missing"},
		"another user":       {token("u", "o", both), token("v", "o", both), true, "not of the user and the organization"},
		"another org":        {token("u", "o", both), token("u", "p", both), true, "not of the user and the organization"},
		"more permissions":   {token("u", "o", read), token("u", "o", both), true, "has other permissions"},
		"fewer permissions":  {token("u", "o", both), token("u", "o", read), true, "has other permissions"},
		"first and not made": {nil, nil, false, "The pending token cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkPair(tc.old, tc.next, tc.had)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestWanted(t *testing.T) {
	for name, tc := range map[string]struct {
		secret string
		want   []permission
		err    string
	}{
		"buckets": {`{"type":"custom","readBuckets":["b"],"writeBuckets":["b"]}`, []permission{
			{"read", resource{"buckets", "b", "o"}}, {"write", resource{"buckets", "b", "o"}},
		}, ""},
		"camel case":       {`{"type":"custom","permissions":["read-notificationRules","write-orgs"]}`, []permission{{"read", resource{"notificationRules", "", "o"}}, {"write", resource{"orgs", "o", ""}}}, ""},
		"nothing":          {`{"type":"custom","readBuckets":[]}`, nil, "No permissions were set for token creation."},
		"another action":   {`{"type":"custom","permissions":["delete-buckets"]}`, nil, `"delete-buckets" is not a permission`},
		"not a list":       {`{"type":"custom","permissions":"read-buckets"}`, nil, "permissions"},
		"not a list of id": {`{"type":"custom","readBuckets":[1]}`, nil, "readBuckets"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := rotator.ParseDocument(plaintext.Of(tc.secret))
			if err != nil {
				t.Fatal(err)
			}
			got, err := wanted(d, "o")
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestUnmarked(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "",
		"a token":                     "a token",
		"a token [keyturn 1-2]":       "a token",
		"[keyturn]":                   "[keyturn]",
		"a [keyturn 1] b":             "a [keyturn 1] b",
		"a [keyturn 1] [keyturn 2-3]": "a [keyturn 1]",
	} {
		if got := unmarked(text); got != want {
			t.Errorf("got %q for %q, want %q", got, text, want)
		}
	}
}

// TestTokensDoNotPrint demands that a token that was read gets into no JSON
// and no text.
func TestTokensDoNotPrint(t *testing.T) {
	var a authorization
	if err := json.Unmarshal([]byte(`{"id":"1","token":"the-token"}`), &a); err != nil {
		t.Fatal(err)
	}
	if !a.Token.Equal(plaintext.Of("the-token")) {
		t.Error("the token was not read")
	}
	b, err := json.Marshal(a)
	if err != nil || strings.Contains(string(b), "the-token") {
		t.Errorf("got %v and a JSON that may hold the token", err)
	}
	made, err := json.Marshal(authorization{ID: "1"})
	if err != nil || strings.Contains(string(made), "token") {
		t.Errorf("got %s and %v, want no token member", made, err)
	}
}
