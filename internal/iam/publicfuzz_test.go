package iam

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"testing"
)

// unknownTo is somebody of an account that the text cannot name.
func unknownTo(text string) (Principal, string) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // hashes do not fail
	id := fmt.Sprintf("%012d", h.Sum64()%1e12)
	return Principal{Type: IAMUser, Account: id, Name: "stranger", ID: "AIDASTRANGER", ARN: "arn:aws:iam::" + id + ":user/stranger"}, id
}

// concrete is something that a pattern matches.
func concrete(pattern string) string {
	return strings.NewReplacer("*", "x", "?", "x").Replace(pattern)
}

// FuzzPublic: what is called public does not depend on the order of the
// statements, grows with each that allows, and is the truth for people whom
// nobody knows: a policy that lets one of them in is public.
func FuzzPublic(f *testing.F) {
	f.Add(oneStatement(anybody))
	f.Add(`{"Version":"2012-10-17","Statement":[` + forAll + forNobody + `{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}}]}`)
	f.Add(`{"Version":"2012-10-17","Statement":[` + forAll + forNobody + `{"NotIpAddressIfExists":{"aws:SourceIp":"10.0.0.0/8"}}}]}`)
	f.Add(oneStatement(`"Effect":"Allow","NotPrincipal":{"AWS":"111122223333"},"NotAction":"iam:*","NotResource":"arn:x*"`))
	f.Add(oneStatement(anybody + `,"Condition":{"StringLike":{"aws:PrincipalOrgID":["o-1","o-2"]},"Null":{"aws:username":"true"}}`))
	f.Add(oneStatement(anybody + `,"Condition":{"ForAnyValue:StringEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/r"}}`))
	allow, err := ParseDocument(oneStatement(`"Effect":"Allow","Action":"*","Resource":"*"`))
	if err != nil {
		f.Fatal(err)
	}
	own, err := Compile(allow, "own")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDocument(text)
		if err != nil || d.CheckResource() != nil {
			return
		}
		public := d.Public()
		turned := *d
		turned.Statements = slices.Clone(d.Statements)
		slices.Reverse(turned.Statements)
		if turned.Public() != public {
			t.Fatalf("public is %t, and %t in the other order", public, !public)
		}
		who, id := unknownTo(text)
		p, err := Compile(d, "p")
		if err != nil {
			t.Fatal(err)
		}
		back, err := Compile(&turned, "p")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range d.Statements {
			for _, action := range append(slices.Clone(s.Actions), "secretsmanager:GetSecretValue") {
				for _, resource := range append(slices.Clone(s.Resources), secretARN) {
					r := &Request{
						Principal: who, Action: concrete(action), Resource: concrete(resource), ResourceAccount: account,
						Context: ContextOf(map[string][]string{"aws:PrincipalAccount": {id}, "aws:PrincipalArn": {who.ARN}, "aws:userid": {who.ID}}),
					}
					got := Evaluate(r, &Policies{Identity: []*Policy{own}, Resource: p})
					if other := Evaluate(r, &Policies{Identity: []*Policy{own}, Resource: back}); other.Effect != got.Effect {
						t.Fatalf("%s on %s is %v, and %v in the other order", r.Action, r.Resource, got.Effect, other.Effect)
					}
					if got.Effect == Allowed && !public {
						t.Fatalf("a stranger may %s on %s, and the policy is not called public", r.Action, r.Resource)
					}
				}
			}
		}
	})
}
