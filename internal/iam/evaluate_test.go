package iam

import (
	"strings"
	"testing"
)

// The policies of TestEvaluate, by name. Those of resources name principals.
var combined = map[string]string{
	"allow":     `"Effect":"Allow","Action":"a:*","Resource":"*"`,
	"other":     `"Effect":"Allow","Action":"b:*","Resource":"*"`,
	"deny":      `"Effect":"Deny","Action":"a:*","Resource":"*"`,
	"*":         `"Effect":"Allow","Action":"a:*","Resource":"*","Principal":"*"`,
	"account":   `"Effect":"Allow","Action":"a:*","Resource":"*","Principal":{"AWS":"` + account + `"}`,
	"stranger":  `"Effect":"Allow","Action":"a:*","Resource":"*","Principal":{"AWS":"` + otherAccount + `"}`,
	"user":      `"Effect":"Allow","Action":"a:*","Resource":"*","Principal":{"AWS":"arn:aws:iam::` + account + `:user/team/ann"}`,
	"role":      `"Effect":"Allow","Action":"a:*","Resource":"*","Principal":{"AWS":"arn:aws:iam::` + account + `:role/app-reader"}`,
	"session":   `"Effect":"Allow","Action":"a:*","Resource":"*","Principal":{"AWS":"arn:aws:sts::` + account + `:assumed-role/app-reader/s1"}`,
	"sessionX":  `"Effect":"Allow","Action":"a:*","Resource":"*","Principal":{"AWS":"arn:aws:sts::` + otherAccount + `:assumed-role/app-reader/s1"}`,
	"service":   `"Effect":"Allow","Action":"a:*","Resource":"*","Principal":{"Service":"lambda.amazonaws.com"}`,
	"federated": `"Effect":"Allow","Action":"a:*","Principal":{"Federated":"arn:aws:iam::` + account + `:oidc-provider/k8s.example"}`,
	"deny all":  `"Effect":"Deny","Action":"a:*","Resource":"*","Principal":"*"`,
	"deny lone": `"Effect":"Deny","Action":"a:*","Resource":"*","Principal":{"AWS":"arn:aws:iam::` + account + `:role/app-reader"}`,
}

// combination parses "identity=allow,deny boundary=other kind=key": policies
// by layer and name.
func combination(t *testing.T, text string) *Policies {
	t.Helper()
	in := &Policies{}
	for _, field := range strings.Fields(strings.ReplaceAll(text, "deny all", "deny_all")) {
		layer, names, _ := strings.Cut(field, "=")
		if layer == "kind" {
			in.Kind = map[string]ResourceKind{"key": KeyResource, "role": RoleResource}[names]
			continue
		}
		for name := range strings.SplitSeq(strings.ReplaceAll(names, "_", " "), ",") {
			p := mustCompile(t, oneStatement(combined[name]), layer+" "+name)
			switch layer {
			case "identity":
				in.Identity = append(in.Identity, p)
			case "session":
				in.Session = append(in.Session, p)
			case "boundary":
				in.Boundary = p
			case "endpoint":
				in.Endpoint = p
			case "resource":
				if in.Resource == nil {
					in.Resource = &Policy{}
				}
				in.Resource.statements = append(in.Resource.statements, p.statements...)
			}
		}
	}
	return in
}

func TestEvaluate(t *testing.T) {
	const (
		yes      = "allowed by "
		explicit = "explicitDeny by "
		implicit = "implicitDeny by "
	)
	for _, tc := range []struct {
		caller   Principal
		policies string
		want     string
	}{
		// Identity policies alone.
		{ann, "", implicit + "identity"},
		{ann, "identity=other", implicit + "identity"},
		{ann, "identity=other,allow", yes + "identity"},
		{ann, "identity=allow,deny", explicit + "identity"},
		{ann, "identity=deny", explicit + "identity"},

		// Boundary, session and endpoint policies take away.
		{ann, "identity=allow boundary=allow", yes + "identity"},
		{ann, "identity=allow boundary=other", implicit + "boundary"},
		{ann, "identity=allow boundary=deny", explicit + "boundary"},
		{ann, "boundary=allow", implicit + "identity"},
		{reader, "identity=allow session=allow", yes + "identity"},
		{reader, "identity=allow session=other,allow", yes + "identity"},
		{reader, "identity=allow session=other", implicit + "session"},
		{reader, "identity=allow session=allow,deny", explicit + "session"},
		{reader, "session=allow", implicit + "identity"},
		{reader, "identity=allow boundary=other session=other", implicit + "boundary"},
		{ann, "identity=allow endpoint=*", yes + "identity"},
		{ann, "identity=allow endpoint=account", yes + "identity"},
		{ann, "identity=allow endpoint=stranger", implicit + "endpoint"},
		{ann, "identity=allow endpoint=deny_all", explicit + "endpoint"},
		{ann, "endpoint=*", implicit + "identity"},
		{root, "endpoint=stranger", implicit + "endpoint"},
		{ann, "resource=user endpoint=stranger", implicit + "endpoint"},

		// Resource policies of the caller's account.
		{ann, "resource=user", yes + "resource"},
		{ann, "resource=*", yes + "resource"},
		{ann, "resource=account", implicit + "identity"},
		{ann, "resource=account identity=allow", yes + "identity"},
		{ann, "resource=stranger", implicit + "identity"},
		{ann, "resource=stranger identity=allow", yes + "identity"},
		{ann, "resource=user,deny_all", explicit + "resource"},
		{ann, "resource=user identity=deny", explicit + "identity"},
		{reader, "resource=role", yes + "resource"},
		{reader, "resource=session", yes + "resource"},
		{root, "resource=account", yes + "resource"},

		// What a resource policy gives to the user or session by name passes
		// the boundary and the session policies, what it gives to the role does
		// not; an explicit deny always counts.
		{ann, "resource=user boundary=other", yes + "resource"},
		{ann, "resource=user boundary=deny", explicit + "boundary"},
		{reader, "resource=session boundary=other session=other", yes + "resource"},
		{reader, "resource=* boundary=other session=other", yes + "resource"},
		{reader, "resource=role,session boundary=other session=other", yes + "resource"},
		{reader, "resource=session session=deny", explicit + "session"},
		{reader, "resource=role boundary=other", implicit + "boundary"},
		{reader, "resource=role session=other", implicit + "session"},
		{reader, "resource=role boundary=allow session=allow", yes + "resource"},

		// Another account.
		{stranger, "", implicit + "identity"},
		{stranger, "identity=allow", implicit + "resource"},
		{stranger, "resource=stranger", implicit + "identity"},
		{stranger, "identity=allow resource=stranger", yes + "resource"},
		{stranger, "identity=allow resource=*", yes + "resource"},
		{stranger, "identity=allow resource=account", implicit + "resource"},
		{stranger, "identity=allow resource=sessionX boundary=other", implicit + "boundary"},
		{stranger, "identity=allow resource=sessionX session=other", implicit + "session"},
		{stranger, "resource=sessionX", implicit + "identity"},
		{stranger, "identity=allow resource=stranger,deny_all", explicit + "resource"},

		// The account's root.
		{root, "", yes + "identity"},
		{root, "resource=deny_all", explicit + "resource"},
		{root, "resource=user", yes + "identity"},

		// Services, web identities and nobody.
		{lambda, "identity=allow", implicit + "resource"},
		{lambda, "resource=service", yes + "resource"},
		{lambda, "resource=account", implicit + "resource"},
		{lambda, "resource=service,deny_all", explicit + "resource"},
		{pod, "resource=federated kind=role", yes + "trust"},
		{pod, "resource=account kind=role", implicit + "trust"},
		{anonymous, "identity=allow", implicit + "resource"},
		{anonymous, "resource=*", yes + "resource"},
		{anonymous, "resource=account", implicit + "resource"},

		// Key policies come first.
		{ann, "kind=key identity=allow", implicit + "resource"},
		{ann, "kind=key resource=account", implicit + "identity"},
		{ann, "kind=key resource=account identity=allow", yes + "identity"},
		{ann, "kind=key resource=account identity=allow boundary=other", implicit + "boundary"},
		{ann, "kind=key resource=account identity=deny", explicit + "identity"},
		{ann, "kind=key resource=user", yes + "resource"},
		{ann, "kind=key resource=stranger identity=allow", implicit + "resource"},
		{reader, "kind=key resource=role", yes + "resource"},
		{reader, "kind=key resource=role session=other", implicit + "session"},
		{root, "kind=key", implicit + "resource"},
		{root, "kind=key resource=account", yes + "resource"},
		{root, "kind=key resource=user", implicit + "resource"},
		{stranger, "kind=key identity=allow", implicit + "resource"},
		{stranger, "kind=key resource=stranger identity=allow", yes + "resource"},
		{stranger, "kind=key resource=stranger", implicit + "identity"},

		// Trust policies.
		{ann, "kind=role identity=allow", implicit + "trust"},
		{ann, "kind=role resource=user", yes + "trust"},
		{ann, "kind=role resource=account", implicit + "identity"},
		{ann, "kind=role resource=account identity=allow", yes + "identity"},
		{reader, "kind=role resource=role", yes + "trust"},
		{stranger, "kind=role resource=stranger", implicit + "identity"},
		{stranger, "kind=role resource=stranger identity=allow", yes + "trust"},
		{stranger, "kind=role identity=allow", implicit + "trust"},
		{lambda, "kind=role resource=service", yes + "trust"},
		{lambda, "kind=role resource=account", implicit + "trust"},
		{ann, "kind=role resource=user,deny_all", explicit + "trust"},
	} {
		r := &Request{Principal: tc.caller, Action: "a:b", Resource: secretARN, ResourceAccount: account}
		in := combination(t, tc.policies)
		d := Evaluate(r, in)
		if got := string(d.Effect) + " by " + string(d.Layer); got != tc.want {
			t.Errorf("%q %s with %s: got %s, want %s", tc.caller.Type, tc.caller.ARN, tc.policies, got, tc.want)
		}
		if e := Explain(r, in); e.Decision != d {
			t.Errorf("%s with %s: explained %+v, decided %+v", tc.caller.ARN, tc.policies, e.Decision, d)
		}
		rooted := tc.caller.Type == Root && d.Layer == IdentityLayer
		if named := d.Statement.Number != 0; named != (d.Effect != ImplicitDeny && !rooted) {
			t.Errorf("%s with %s: decided by %v", tc.caller.ARN, tc.policies, d.Statement)
		}
	}
}

func TestResourceAccountDefaultsToCallers(t *testing.T) {
	d := Evaluate(&Request{Principal: ann, Action: "a:b", Resource: "*"}, combination(t, "identity=allow"))
	if !d.Allowed() {
		t.Errorf("got %+v, want it allowed", d)
	}
}

func TestZeroDecision(t *testing.T) {
	if (Decision{}).Allowed() {
		t.Error("the zero Decision allows")
	}
}

func TestDecidingStatement(t *testing.T) {
	p := mustCompile(t, `{"Statement":[
		{"Sid":"A","Effect":"Allow","Action":"b:*","Resource":"*"},
		{"Sid":"B","Effect":"Allow","Action":"a:*","Resource":"*"},
		{"Effect":"Deny","Action":"a:Drop","Resource":"*"}]}`, "arn:aws:iam::1:policy/p")
	for action, want := range map[string]string{
		"a:b":    "statement 2 (B) of arn:aws:iam::1:policy/p",
		"a:drop": "statement 3 of arn:aws:iam::1:policy/p",
		"c:d":    "no statement",
	} {
		d := Evaluate(&Request{Principal: ann, Action: action, Resource: "*"}, &Policies{Identity: []*Policy{p}})
		if got := d.Statement.String(); got != want {
			t.Errorf("%s: got %q, want %q", action, got, want)
		}
	}
}

func TestRefusal(t *testing.T) {
	const (
		start = "User: arn:aws:iam::1:user/u is not authorized to perform: a:B on resource: R"
		allow = " allows the a:B action"
	)
	for _, tc := range []struct {
		d    Decision
		want string
	}{
		{missing(IdentityLayer), start + " because no identity-based policy" + allow},
		{missing(ResourceLayer), start + " because no resource-based policy" + allow},
		{missing(BoundaryLayer), start + " because no permissions boundary" + allow},
		{missing(SessionLayer), start + " because no session policy" + allow},
		{missing(EndpointLayer), start + " because no VPC endpoint policy" + allow},
		{missing(TrustLayer), start},
		{Decision{Effect: ExplicitDeny, Layer: IdentityLayer}, start + " with an explicit deny in an identity-based policy"},
		{Decision{Effect: ExplicitDeny, Layer: ResourceLayer}, start + " with an explicit deny in a resource-based policy"},
		{Decision{Effect: ExplicitDeny, Layer: BoundaryLayer}, start + " with an explicit deny in a permissions boundary"},
		{Decision{Effect: ExplicitDeny, Layer: SessionLayer}, start + " with an explicit deny in a session policy"},
		{Decision{Effect: ExplicitDeny, Layer: EndpointLayer}, start + " with an explicit deny in a VPC endpoint policy"},
		{Decision{Effect: ExplicitDeny, Layer: TrustLayer}, start},
		{Decision{Effect: ImplicitDeny, Layer: IdentityLayer, kind: RoleResource}, start},
		{Decision{Effect: ExplicitDeny, Layer: IdentityLayer, kind: RoleResource}, start + " with an explicit deny in an identity-based policy"},
		{Decision{}, start},
	} {
		if got := tc.d.Refusal("arn:aws:iam::1:user/u", "a:B", "R"); got != tc.want {
			t.Errorf("%+v: got %q, want %q", tc.d, got, tc.want)
		}
	}
	if got, want := missing(ResourceLayer).Refusal("", "a:B", ""), "User: anonymous is not authorized to perform: a:B because no resource-based policy allows the a:B action"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAssumeRoleTellsNothing: a role that is not there looks like one that
// trusts nobody.
func TestAssumeRoleTellsNothing(t *testing.T) {
	for _, identity := range []string{"", " identity=allow", " identity=deny"} {
		r := &Request{Principal: stranger, Action: "a:b", Resource: "R", ResourceAccount: account}
		var texts []string
		for _, role := range []string{"kind=role", "kind=role resource=user", "kind=role resource=user,deny_all"} {
			texts = append(texts, Evaluate(r, combination(t, role+identity)).Refusal("P", "a:b", "R"))
		}
		if texts[0] != texts[1] || texts[1] != texts[2] {
			t.Errorf("with%s: got different refusals %q", identity, texts)
		}
	}
}
