package iam

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The words of random policies: few, so that they meet.
var (
	modelActions   = []string{"*", "a:*", "a:Get*", "A:getx", "b:*", "a:?etX", "*:*", "a:PutX"}
	modelResources = []string{
		"*", "arn:aws:a:r:1:x/*", "arn:aws:a:r:1:x/ann", "arn:aws:a:r:1:${aws:username}/*", "arn:aws:a:*:${aws:PrincipalTag/t, 'x'}/*",
		"arn:*:${aws:none}", "arn:aws:a:r:1:x/${*}", "arn:aws:a:*:x/?nn", "arn:*/${ aws:PrincipalTag/t }*", "arn:${aws:TagKeys,'q'}",
	}
	modelTexts = map[string][]string{
		"String":  {"ann", "ANN", "a*", "*", "?nn", "${aws:username}", "${aws:none}", "x${aws:PrincipalTag/t,'y'}", "", "c"},
		"Numeric": {"1", "2.50", "-3", "10"},
		"Date":    {"2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2027-06-01T00:00:00Z"},
		"Bool":    {"true", "false"},
		"Null":    {"true", "false"},
		"Binary":  {"AQID", "AQIE"},
		"Ip":      {"192.0.2.0/24", "192.0.2.1", "2001:db8::/32", "0.0.0.0/0"},
		"Arn": {
			"*", "arn:aws:iam::*:role/app-*", "arn:aws:*:role/app-reader", "arn:aws:iam::111122223333:user/${aws:PrincipalTag/t}",
			"${aws:PrincipalArn}", "${aws:none}", "arn:aws:iam::" + account + ":*:z",
		},
	}
	modelKeys   = []string{"aws:k", "aws:TagKeys", "aws:PrincipalTag/t", "aws:username", "aws:PrincipalArn", "aws:PrincipalType", "aws:none"}
	modelValues = []string{
		"ann", "ANN", "a*", "xann", "xy", "", "1", "2.5", "-3.0", "2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z", "true", "FALSE", "AQID",
		"192.0.2.1", "198.51.100.7", "2001:db8::9", "arn:aws:iam::111122223333:role/app-reader", "arn:aws:iam::111122223333:role/a:z", "x",
	}
	modelPrincipals = []string{
		"*", account, otherAccount, "arn:aws:iam::" + account + ":root", "arn:aws:iam::" + account + ":user/team/ann", "AIDAANN", "AROAEXAMPLE",
		"arn:aws:iam::" + account + ":role/app-reader", "arn:aws:sts::" + account + ":assumed-role/app-reader/s1",
		"arn:aws:sts::" + otherAccount + ":assumed-role/app-reader/s1",
	}
	modelCallers = []Principal{root, ann, reader, stranger, lambda, pod, anonymous}
)

func some(t *rapid.T, label string, from []string, min int) []string {
	return rapid.SliceOfN(rapid.SampledFrom(from), min, 3).Draw(t, label)
}

// either sets one of an element and its Not form, the former mostly.
func either(t *rapid.T, s map[string]any, name string, value any) {
	if rapid.IntRange(0, 4).Draw(t, "not"+name) == 0 {
		name = "Not" + name
	}
	s[name] = value
}

func drawPrincipals(t *rapid.T) map[string]any {
	p := map[string]any{"AWS": some(t, "principals", modelPrincipals, 1)}
	switch rapid.IntRange(0, 3).Draw(t, "kind of principal") {
	case 0:
		p["Service"] = some(t, "services", []string{"lambda.amazonaws.com", "x.amazonaws.com"}, 1)
	case 1:
		p["Federated"] = []string{pod.IdentityProvider}
	}
	return p
}

func drawConditions(t *rapid.T) map[string]any {
	block := map[string]any{}
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		name := rapid.SampledFrom(slices.Sorted(maps.Keys(operators))).Draw(t, "operator")
		kind := strings.TrimPrefix(name, "Not")
		for prefix := range modelTexts {
			if strings.HasPrefix(kind, prefix) {
				kind = prefix
				break
			}
		}
		if name != "Null" {
			name = rapid.SampledFrom([]string{"", "", "ForAllValues:", "ForAnyValue:"}).Draw(t, "prefix") + name +
				rapid.SampledFrom([]string{"", "", "IfExists"}).Draw(t, "suffix")
		}
		block[name] = map[string]any{rapid.SampledFrom(modelKeys).Draw(t, "key"): some(t, "values", modelTexts[kind], 1)}
	}
	return block
}

func drawDocument(t *rapid.T, principals bool, most int) (*Document, *Policy) {
	var statements []map[string]any
	for range rapid.IntRange(1, most).Draw(t, "statements") {
		s := map[string]any{
			"Effect":    rapid.SampledFrom([]string{"Allow", "Allow", "Allow", "Deny"}).Draw(t, "effect"),
			"Condition": drawConditions(t),
		}
		either(t, s, "Action", some(t, "actions", modelActions, 1))
		either(t, s, "Resource", some(t, "resources", modelResources, 1))
		if principals {
			either(t, s, "Principal", drawPrincipals(t))
		}
		statements = append(statements, s)
	}
	version := rapid.SampledFrom([]string{Version2012, Version2012, Version2008}).Draw(t, "version")
	text, err := json.Marshal(map[string]any{"Version": version, "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseDocument(string(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	p, err := Compile(d, fmt.Sprintf("p%d", rapid.Uint64().Draw(t, "name")))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return d, p
}

func drawPolicies(t *rapid.T) (slowPolicies, *Policies) {
	slow := slowPolicies{kind: rapid.SampledFrom([]ResourceKind{OrdinaryResource, OrdinaryResource, KeyResource, RoleResource}).Draw(t, "kind")}
	fast := &Policies{Kind: slow.kind}
	for range rapid.IntRange(0, 2).Draw(t, "identity policies") {
		d, p := drawDocument(t, false, 3)
		slow.identity, fast.Identity = append(slow.identity, d), append(fast.Identity, p)
	}
	if rapid.IntRange(0, 2).Draw(t, "session") == 0 {
		for range rapid.IntRange(1, 2).Draw(t, "session policies") {
			d, p := drawDocument(t, false, 2)
			slow.session, fast.Session = append(slow.session, d), append(fast.Session, p)
		}
	}
	if rapid.IntRange(0, 2).Draw(t, "boundary") == 0 {
		slow.boundary, fast.Boundary = drawDocument(t, false, 2)
	}
	if rapid.IntRange(0, 3).Draw(t, "resource") > 0 {
		slow.resource, fast.Resource = drawDocument(t, true, 3)
	}
	if rapid.IntRange(0, 3).Draw(t, "endpoint") == 0 {
		slow.endpoint, fast.Endpoint = drawDocument(t, true, 2)
	}
	return slow, fast
}

func drawRequest(t *rapid.T) *Request {
	values := map[string][]string{}
	for _, key := range modelKeys[:4] {
		if rapid.Bool().Draw(t, "has "+key) {
			values[key] = some(t, key, modelValues, 1)
		}
	}
	return &Request{
		Principal: rapid.SampledFrom(modelCallers).Draw(t, "caller"),
		Action:    rapid.SampledFrom([]string{"a:GetX", "a:PutX", "b:GetX"}).Draw(t, "action"),
		Resource: rapid.SampledFrom([]string{
			"arn:aws:a:r:1:x/ann", "arn:aws:a:r:1:ann/y", "arn:aws:a:r:1:x/*", "arn:aws:a:r:2:x/z", "arn:q", "*",
		}).Draw(t, "resource"),
		ResourceAccount: rapid.SampledFrom([]string{account, account, otherAccount, ""}).Draw(t, "owner"),
		Context:         ContextOf(values),
	}
}

// TestModel compares Evaluate and Explain with the slow evaluator.
func TestModel(t *testing.T) {
	seen := map[Verdict]int{}
	rapid.Check(t, func(t *rapid.T) {
		slow, fast := drawPolicies(t)
		for range 10 {
			r := drawRequest(t)
			got, want := Evaluate(r, fast), slowEvaluate(r, slow)
			seen[want]++
			if got.Effect != want {
				t.Fatalf("got %+v, want %v", got, want)
			}
			e := Explain(r, fast)
			if e.Decision != got {
				t.Fatalf("explained %+v, decided %+v", e.Decision, got)
			}
			checkExplanation(t, r, slow, e)
		}
	})
	for _, v := range []Verdict{Allowed, ExplicitDeny, ImplicitDeny} {
		if seen[v] == 0 {
			t.Errorf("no request was %s: %v", v, seen)
		}
	}
}

// checkExplanation compares the matches with the statements that apply, and
// the decision with the matches.
func checkExplanation(t *rapid.T, r *Request, slow slowPolicies, e Explanation) {
	documents := map[Layer][]*Document{
		IdentityLayer: slow.identity, BoundaryLayer: {slow.boundary}, SessionLayer: slow.session, ResourceLayer: {slow.resource},
		TrustLayer: {slow.resource}, EndpointLayer: {slow.endpoint},
	}
	decided := e.Decision.Statement.Number == 0
	for _, l := range e.Layers {
		var want []Effect
		for _, d := range documents[l.Layer] {
			if d == nil {
				continue
			}
			for i := range d.Statements {
				s := &d.Statements[i]
				named := l.Layer != ResourceLayer && l.Layer != TrustLayer && l.Layer != EndpointLayer || slowConcerns(s, r.Principal) != ""
				if named && slowApplies(d, s, r) {
					want = append(want, s.Effect)
				}
			}
		}
		var got []Effect
		for _, m := range l.Matches {
			got = append(got, m.Effect)
			decided = decided || l.Layer == e.Decision.Layer && m.Statement == e.Decision.Statement
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: statements %v apply, want %v", l.Layer, got, want)
		}
	}
	if !decided {
		t.Fatalf("%+v is decided by a statement that does not apply", e.Decision)
	}
}

// FuzzPolicy: whatever can be read can be compiled, evaluated and explained.
func FuzzPolicy(f *testing.F) {
	f.Add(wholePolicy, "aws:username", "ann")
	f.Add(twentyStatements(), "aws:PrincipalTag/stage", "prod")
	f.Add(oneStatement(`"Effect":"Allow","Action":"*","Resource":"${${aws:username}${*","Condition":{"DateEquals":{"aws:x":"2026-01"}}`), "aws:x", "1")
	f.Add(oneStatement(`"Effect":"Deny","NotAction":"*","NotResource":"?*","NotPrincipal":{"AWS":"*","Federated":"*"}`), "", "")
	f.Fuzz(func(t *testing.T, text, key, value string) {
		Spans(text)
		d, err := ParseDocument(text)
		if err != nil {
			return
		}
		_, _, _ = d.CheckIdentity(), d.CheckResource(), d.CheckTrust()
		p, err := Compile(d, "p")
		if err != nil {
			t.Fatalf("read but not compiled: %v", err)
		}
		if n := len(Spans(text)); n != len(d.Statements) {
			t.Fatalf("got %d spans of %d statements", n, len(d.Statements))
		}
		p.ContextKeys()
		r := &Request{Principal: reader, Action: "secretsmanager:GetSecretValue", Resource: secretARN, Context: ContextOf(map[string][]string{key: {value}})}
		for _, in := range []*Policies{{Identity: []*Policy{p}}, {Resource: p}, {Boundary: p, Endpoint: p, Resource: p, Kind: KeyResource}} {
			if got, want := Explain(r, in).Decision, Evaluate(r, in); got != want {
				t.Fatalf("explained %+v, decided %+v", got, want)
			}
		}
	})
}
