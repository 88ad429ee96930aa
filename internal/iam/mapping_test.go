package iam_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/iam"
)

func TestMapPrincipals(t *testing.T) {
	upper := func(name string) (string, error) { return strings.ToUpper(name), nil }
	for _, tc := range []struct{ text, want string }{
		{
			`{"Statement":{"Effect":"Allow","Principal":{"AWS":"a"},"Action":"x:y","Resource":"a"}}`,
			`{"Statement":{"Effect":"Allow","Principal":{"AWS":"A"},"Action":"x:y","Resource":"a"}}`,
		},
		{ // layout, order and escapes stay
			"{ \"Id\" : \"a\",\n\t\"Statement\" : [ { \"Sid\":\"AWS\", \"Principal\" :\n{ \"AWS\" : [ \"a\" ,\"\\u0062\", \"C\" ], \"Service\":\"s.amazonaws.com\" } } ]\r\n}  ",
			"{ \"Id\" : \"a\",\n\t\"Statement\" : [ { \"Sid\":\"AWS\", \"Principal\" :\n{ \"AWS\" : [ \"A\" ,\"B\", \"C\" ], \"Service\":\"s.amazonaws.com\" } } ]\r\n}  ",
		},
		{ // only there
			`{"Statement":[{"NotPrincipal":{"AWS":["a"],"Federated":"f"},"Condition":{"StringLike":{"aws:PrincipalArn":"a","AWS":"a"}}},{"Principal":"*"}]}`,
			`{"Statement":[{"NotPrincipal":{"AWS":["A"],"Federated":"f"},"Condition":{"StringLike":{"aws:PrincipalArn":"a","AWS":"a"}}},{"Principal":"*"}]}`,
		},
		{`{"Id":"Statement","Statement":[]}`, `{"Id":"Statement","Statement":[]}`},
	} {
		got, err := iam.MapPrincipals(tc.text, upper)
		if err != nil || got != tc.want {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", tc.text, got, err, tc.want)
		}
	}
	wrong := errors.New("wrong")
	_, err := iam.MapPrincipals(`{"Statement":{"Principal":{"AWS":["a","b"]}}}`, func(name string) (string, error) {
		if name == "b" {
			return "", wrong
		}
		return name, nil
	})
	if !errors.Is(err, wrong) {
		t.Errorf("got %v, want the mapping's error", err)
	}
	for _, text := range []string{"", "{", `{"Statement":{"Principal":{"AWS":`} {
		if _, err := iam.MapPrincipals(text, upper); err == nil {
			t.Errorf("%q: got no error", text)
		}
	}
}

func TestUniqueID(t *testing.T) {
	for name, want := range map[string][2]string{
		"AIDAEXAMPLE": {"AIDAEXAMPLE", ""}, "AROAEXAMPLE": {"AROAEXAMPLE", ""}, "AROAEXAMPLE:s": {"AROAEXAMPLE", "s"},
		"*": {}, "123456789012": {}, "arn:aws:iam::123456789012:role/AROA": {},
	} {
		id, session, ok := iam.UniqueID(name)
		if id != want[0] || session != want[1] || ok != (want[0] != "") {
			t.Errorf("%s: got %q %q %v", name, id, session, ok)
		}
	}
}

// Whatever policy is mapped there and back is the same policy.
func FuzzMapPrincipals(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::123456789012:role/r","*"]},"Action":"*","Resource":"*"}]}`)
	f.Add(`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"\u0061"},"Action":"a:b"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := iam.ParseDocument(text)
		if err != nil {
			return
		}
		there, err := iam.MapPrincipals(text, func(name string) (string, error) { return "<" + name, nil })
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		mapped, err := iam.ParseDocument(there)
		if err != nil || len(mapped.Statements) != len(d.Statements) {
			t.Fatalf("%q became %q: %v", text, there, err)
		}
		for i := range d.Statements {
			for _, pair := range [][2]*iam.Principals{
				{d.Statements[i].Principals, mapped.Statements[i].Principals}, {d.Statements[i].NotPrincipals, mapped.Statements[i].NotPrincipals},
			} {
				if pair[0] == nil {
					continue
				}
				for j, name := range pair[0].AWS {
					if got := pair[1].AWS[j]; got != "<"+name && name != "*" {
						t.Errorf("%q: principal %q became %q", text, name, got)
					}
				}
			}
		}
	})
}
