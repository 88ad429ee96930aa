package authz

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/iam"
)

// FuzzSession: what a token carries comes out as it went in, and anything else
// is an error; nothing unpacks to more than the bound.
func FuzzSession(f *testing.F) {
	packed, err := pack(session{AccessKeyID: "ASIA", Secret: "s", Account: "1", Expires: 1, Given: &iam.Session{Policies: []string{"{}"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed, "ASIAEXAMPLE", "secret")
	f.Add([]byte{}, "", "")
	f.Add([]byte("\xff\xff\xff"), "\xff", "\x00")
	f.Fuzz(func(t *testing.T, data []byte, id, text string) {
		var any session
		if unpack(data, &any) == nil {
			again, err := pack(any)
			if err != nil {
				t.Fatal(err)
			}
			var back session
			if err := unpack(again, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(any, back); diff != "" {
				t.Fatalf("(-first +again):\n%s", diff)
			}
		}
		valid := session{AccessKeyID: id, Secret: text, Account: text, Name: id, Session: text, Issued: 1, Expires: 2}
		packed, err := pack(valid)
		if err != nil {
			t.Fatal(err)
		}
		var back session
		if err := unpack(packed, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(asJSON(valid), back); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// asJSON is the session with its text as JSON can hold it.
func asJSON(s session) session {
	for _, text := range []*string{&s.AccessKeyID, &s.Secret, &s.Account, &s.Name, &s.Session} {
		*text = string([]rune(*text))
	}
	return s
}
