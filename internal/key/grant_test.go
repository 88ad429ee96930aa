package key_test

import (
	"encoding/base64"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
)

type pairs = key.EncryptionContext

func TestGrantAllows(t *testing.T) {
	ops := []string{"Decrypt", "DescribeKey", "RetireGrant"}
	free := &key.Grant{Operations: ops}
	equal := &key.Grant{Operations: ops, Equals: pairs{"App": "x"}}
	subset := &key.Grant{Operations: ops, Subset: pairs{"App": "x"}}
	empty := &key.Grant{Operations: ops, Equals: pairs{}}
	for _, tc := range []struct {
		what      string
		grant     *key.Grant
		operation string
		context   pairs
		want      bool
	}{
		{"no constraint", free, "Decrypt", nil, true},
		{"another operation", free, "Encrypt", nil, false},
		{"just so", equal, "Decrypt", pairs{"App": "x"}, true},
		{"the key in another case", equal, "Decrypt", pairs{"app": "x"}, true},
		{"the value in another case", equal, "Decrypt", pairs{"App": "X"}, false},
		{"more than equal", equal, "Decrypt", pairs{"App": "x", "b": "c"}, false},
		{"no context", equal, "Decrypt", nil, false},
		{"operations without context", equal, "DescribeKey", nil, true},
		{"retiring", subset, "RetireGrant", nil, true},
		{"the subset alone", subset, "Decrypt", pairs{"App": "x"}, true},
		{"more than the subset", subset, "Decrypt", pairs{"App": "x", "b": "c"}, true},
		{"other pairs", subset, "Decrypt", pairs{"b": "x"}, false},
		{"nothing for nothing", empty, "Decrypt", nil, true},
		{"something for nothing", empty, "Decrypt", pairs{"b": "c"}, false},
	} {
		if got := tc.grant.Allows(tc.operation, tc.context); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.what, got, tc.want)
		}
	}
}

func TestMayGrant(t *testing.T) {
	grant := func(equals, subset pairs, ops ...string) *key.Grant {
		return &key.Grant{Operations: ops, Equals: equals, Subset: subset}
	}
	for _, tc := range []struct {
		what          string
		parent, child *key.Grant
		want          bool
	}{
		{"the same", grant(nil, nil, "Decrypt", "Encrypt"), grant(nil, nil, "Encrypt", "Decrypt"), true},
		{"less", grant(nil, nil, "Decrypt", "Encrypt"), grant(nil, pairs{"a": "b"}, "Decrypt"), true},
		{"more", grant(nil, nil, "Decrypt"), grant(nil, nil, "Decrypt", "Encrypt"), false},
		{"without the constraint", grant(pairs{"a": "b"}, nil, "Decrypt"), grant(nil, nil, "Decrypt"), false},
		{"with the constraint", grant(pairs{"a": "b"}, nil, "Decrypt"), grant(pairs{"a": "b"}, nil, "Decrypt"), true},
		{"a weaker one", grant(pairs{"a": "b"}, nil, "Decrypt"), grant(nil, pairs{"a": "b"}, "Decrypt"), false},
		{"a narrower subset", grant(nil, pairs{"a": "b"}, "Decrypt"), grant(nil, pairs{"a": "b", "c": "d"}, "Decrypt"), true},
		{"a wider subset", grant(nil, pairs{"a": "b", "c": "d"}, "Decrypt"), grant(nil, pairs{"a": "b"}, "Decrypt"), false},
		{"equality for a subset", grant(nil, pairs{"a": "b"}, "Decrypt"), grant(pairs{"a": "b", "c": "d"}, nil, "Decrypt"), true},
	} {
		if got := tc.parent.MayGrant(tc.child); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.what, got, tc.want)
		}
	}
}

func TestGrantSame(t *testing.T) {
	g := key.Grant{ID: "1", Name: "n", Grantee: "a", Operations: []string{"Decrypt", "Encrypt"}, Subset: pairs{"a": "b"}}
	same, other := g, g
	same.ID, same.Operations, same.Subset = "2", []string{"Encrypt", "Decrypt"}, pairs{"a": "b"}
	if !g.Same(&same) {
		t.Error("a repetition is not the same")
	}
	for what, change := range map[string]func(){
		"name": func() { other.Name = "m" }, "grantee": func() { other.Grantee = "b" }, "retiring": func() { other.Retiring = "r" },
		"operations": func() { other.Operations = []string{"Decrypt"} }, "subset": func() { other.Subset = nil }, "equals": func() { other.Equals = pairs{} },
	} {
		other = g
		if change(); g.Same(&other) {
			t.Errorf("another %s is the same", what)
		}
	}
}

func TestGrantCheck(t *testing.T) {
	if err := (&key.Grant{Operations: []string{"Decrypt", "GenerateDataKeyPair"}}).Check(); err != nil {
		t.Error(err)
	}
	if err := (&key.Grant{Operations: []string{"Decrypt", "Sign"}}).Check(); !fault.Is(err, fault.Validation) {
		t.Errorf("got %v for an operation of key pairs", err)
	}
}

func TestGrantToken(t *testing.T) {
	g := &key.Grant{ID: key.NewGrantID(), Account: "123456789012", Region: "us-east-1", KeyID: "k"}
	if !key.IsGrantID(g.ID) || key.IsGrantID("x") || key.IsGrantID(g.ID[1:]) {
		t.Errorf("got grant ID %s", g.ID)
	}
	one, two := g.Token(), g.Token()
	if one == two {
		t.Error("two tokens are the same")
	}
	for _, token := range []string{one, two} {
		ref, err := key.ParseGrantToken(token)
		if want := (key.GrantRef{Account: g.Account, Region: g.Region, KeyID: "k", ID: g.ID}); err != nil || ref != want {
			t.Errorf("got %+v, %v, want %+v", ref, err, want)
		}
	}
	for _, token := range []string{"", "x", "!", one[1:], base64.RawURLEncoding.EncodeToString(make([]byte, 100))} {
		if ref, err := key.ParseGrantToken(token); err == nil {
			t.Errorf("token %q names %+v", token, ref)
		}
	}
}

func FuzzGrantToken(f *testing.F) {
	f.Add((&key.Grant{ID: key.NewGrantID(), KeyID: "k"}).Token())
	f.Add("BAAA")
	f.Fuzz(func(t *testing.T, token string) {
		ref, err := key.ParseGrantToken(token)
		if err == nil && !key.IsGrantID(ref.ID) {
			t.Errorf("token %q names the grant %q", token, ref.ID)
		}
	})
}
