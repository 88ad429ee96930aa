package iam

// Policies are all policies that bear on a request.
type Policies struct {
	// Identity holds the policies of the caller: of a user and its groups, or
	// of a role. An account's root needs none.
	Identity []*Policy
	// Boundary is the caller's permissions boundary, or nil. A boundary that
	// cannot be found must not become nil: give an empty Policy.
	Boundary *Policy
	// Session holds the session policies, of which one has to allow; none if
	// empty.
	Session []*Policy
	// Resource is the policy of the resource, or nil.
	Resource *Policy
	// Endpoint is the policy of the VPC endpoint that the call came through,
	// or nil.
	Endpoint *Policy
	// Kind says what sort of resource Resource belongs to, also where it is
	// nil.
	Kind ResourceKind
}

// ResourceKind says how a resource's policy and those of identities go
// together.
type ResourceKind uint8

const (
	// OrdinaryResource is a secret, a function or anything else whose policy
	// adds to what identities may do in its account.
	OrdinaryResource ResourceKind = iota
	// KeyResource is a KMS key: identities may do only what its policy leaves
	// to the account.
	KeyResource
	// RoleResource is a role that is to be assumed: as for keys, with its
	// trust policy.
	RoleResource
)

// Verdict is what a decision or a layer says, spelt as SimulatePrincipalPolicy
// spells it (AWS docs).
type Verdict string

// The verdicts.
const (
	Allowed      Verdict = "allowed"
	ExplicitDeny Verdict = "explicitDeny"
	ImplicitDeny Verdict = "implicitDeny"
)

// Layer is a sort of policy, by what it belongs to.
type Layer string

// The layers. TrustLayer is ResourceLayer of a role.
const (
	IdentityLayer Layer = "identity"
	ResourceLayer Layer = "resource"
	BoundaryLayer Layer = "boundary"
	SessionLayer  Layer = "session"
	EndpointLayer Layer = "endpoint"
	TrustLayer    Layer = "trust"
)

// Decision is the answer to a request. The zero Decision allows nothing.
type Decision struct {
	Effect Verdict
	// Layer is where the decision was made: of an implicit deny, where an
	// allow is missing.
	Layer Layer
	// Statement denied or allowed; none for an implicit deny, and for what an
	// account's root may do by nature.
	Statement StatementRef

	kind ResourceKind
}

// Allowed reports whether the request may go on.
func (d Decision) Allowed() bool { return d.Effect == Allowed }

// Evaluate decides a request by AWS's rules: an explicit deny anywhere wins;
// within an account the caller's policies or the resource's must allow, across
// accounts both; boundary, session and endpoint policies only take away, but
// the first two not what the resource's policy gives to the user or session
// by name or to everybody in its own account (AWS docs). It does not allocate
// for common policies.
func Evaluate(r *Request, in *Policies) Decision {
	f := findings{
		identity: scanAll(in.Identity, r),
		boundary: scan(in.Boundary, r),
		session:  scanAll(in.Session, r),
		resource: scanFor(in.Resource, r, true),
		endpoint: scanFor(in.Endpoint, r, false),
	}
	return f.decide(r, in)
}

// finding is what the policies of one layer say: the first statement that
// denies, else one that allows.
type finding struct {
	deny, allow *statement
	// grant says how closely allow names the caller; only for policies with
	// principals.
	grant grant
}

type findings struct {
	identity, resource, boundary, session, endpoint finding
}

// scanAll looks through policies of which one has to allow.
func scanAll(policies []*Policy, r *Request) finding {
	var all finding
	for _, p := range policies {
		f := scan(p, r)
		if f.deny != nil {
			return f
		}
		if all.allow == nil {
			all = f
		}
	}
	return all
}

// scan looks through a policy of an identity, or of nobody in particular.
func scan(p *Policy, r *Request) finding {
	var f finding
	if p == nil {
		return f
	}
	for i := range p.statements {
		s := &p.statements[i]
		if s.effect != Deny && f.allow != nil || !s.covers(r, false) || !s.met(r) {
			continue
		}
		if s.effect == Deny {
			return finding{deny: s}
		}
		f.allow = s
	}
	return f
}

// scanFor looks through a policy that names principals. Of several statements
// that allow, the one that names the caller most closely counts.
func scanFor(p *Policy, r *Request, attached bool) finding {
	var f finding
	if p == nil {
		return f
	}
	for i := range p.statements {
		s := &p.statements[i]
		g := s.concerns(&r.Principal)
		if g == noGrant || s.effect != Deny && g <= f.grant || !s.covers(r, attached) || !s.met(r) {
			continue
		}
		if s.effect == Deny {
			return finding{deny: s}
		}
		f.allow, f.grant = s, g
	}
	return f
}

func (f *findings) decide(r *Request, in *Policies) Decision {
	resource := ResourceLayer
	if in.Kind == RoleResource {
		resource = TrustLayer
	}
	d := f.denied(resource)
	if d.Effect == "" {
		d = f.granted(r, in, resource)
	}
	if d.Allowed() && in.Endpoint != nil && f.endpoint.allow == nil {
		d = missing(EndpointLayer)
	}
	d.kind = in.Kind
	return d
}

// denied returns the explicit deny; none if Effect is empty.
func (f *findings) denied(resource Layer) Decision {
	switch {
	case f.identity.deny != nil:
		return by(ExplicitDeny, IdentityLayer, f.identity.deny)
	case f.resource.deny != nil:
		return by(ExplicitDeny, resource, f.resource.deny)
	case f.boundary.deny != nil:
		return by(ExplicitDeny, BoundaryLayer, f.boundary.deny)
	case f.session.deny != nil:
		return by(ExplicitDeny, SessionLayer, f.session.deny)
	case f.endpoint.deny != nil:
		return by(ExplicitDeny, EndpointLayer, f.endpoint.deny)
	}
	return Decision{}
}

// granted combines what the layers allow.
func (f *findings) granted(r *Request, in *Policies, resource Layer) Decision {
	byResource := by(Allowed, resource, f.resource.allow)
	p := &r.Principal
	switch {
	case !p.hasAccount():
		if f.resource.grant == noGrant {
			return missing(resource)
		}
		return byResource
	case r.ResourceAccount != "" && r.ResourceAccount != p.Account:
		if d := f.byIdentity(p, in); !d.Allowed() {
			return d
		}
		if f.resource.grant == noGrant {
			return missing(resource)
		}
		return byResource
	case f.resource.grant == toCaller:
		return byResource
	case f.resource.grant == toRole:
		return f.limited(byResource, in)
	case in.Kind != OrdinaryResource && f.resource.grant == noGrant:
		return missing(resource)
	}
	return f.byIdentity(p, in)
}

// byIdentity is what the caller's own policies allow.
func (f *findings) byIdentity(p *Principal, in *Policies) Decision {
	if p.Type == Root {
		return f.limited(Decision{Effect: Allowed, Layer: IdentityLayer}, in)
	}
	if f.identity.allow == nil {
		return missing(IdentityLayer)
	}
	return f.limited(by(Allowed, IdentityLayer, f.identity.allow), in)
}

// limited takes away what boundary and session policies do not allow.
func (f *findings) limited(d Decision, in *Policies) Decision {
	switch {
	case in.Boundary != nil && f.boundary.allow == nil:
		return missing(BoundaryLayer)
	case len(in.Session) > 0 && f.session.allow == nil:
		return missing(SessionLayer)
	}
	return d
}

func missing(l Layer) Decision { return Decision{Effect: ImplicitDeny, Layer: l} }

func by(v Verdict, l Layer, s *statement) Decision {
	d := Decision{Effect: v, Layer: l}
	if s != nil {
		d.Statement = s.ref
	}
	return d
}
