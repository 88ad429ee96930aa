package iam

// Explanation is a decision with its whole reasoning.
type Explanation struct {
	Decision Decision
	// CrossAccount says that the resource belongs to another account than
	// the caller.
	CrossAccount bool
	// Layers has those that had a say, in the order identity, resource,
	// boundary, session, endpoint.
	Layers []LayerFinding
	// MissingKeys are the condition keys, as written, that statements about
	// the caller and the action asked for and the request did not have.
	MissingKeys []string
}

// LayerFinding is what one layer says by itself.
type LayerFinding struct {
	Layer  Layer
	Effect Verdict
	// Matches are the statements that apply.
	Matches []Match
	// Unmet are the conditions that kept statements about the caller, the
	// action and the resource from applying.
	Unmet []Unmet
}

// Match is a statement that applies to a request.
type Match struct {
	Statement StatementRef
	Effect    Effect
	// Delegates says that a resource's policy allows the caller's account,
	// whose own policies have to allow the caller.
	Delegates bool
}

// Unmet is a condition that did not hold.
type Unmet struct {
	Statement StatementRef
	Effect    Effect
	Operator  string
	Key       string
	// Want are the policy's values as written; Got those of the request, nil
	// where the key is missing.
	Want, Got []string
}

// Explain decides as Evaluate does and says why.
func Explain(r *Request, in *Policies) Explanation {
	e := Explanation{
		Decision:     Evaluate(r, in),
		CrossAccount: r.Principal.hasAccount() && r.ResourceAccount != "" && r.ResourceAccount != r.Principal.Account,
	}
	var keys keyList
	resource := ResourceLayer
	if in.Kind == RoleResource {
		resource = TrustLayer
	}
	if r.Principal.hasAccount() || len(in.Identity) > 0 {
		l := explainLayer(IdentityLayer, r, &keys, in.Identity...)
		if r.Principal.Type == Root && l.Effect == ImplicitDeny {
			l.Effect = Allowed
		}
		e.Layers = append(e.Layers, l)
	}
	if in.Resource != nil || in.Kind != OrdinaryResource || e.CrossAccount || !r.Principal.hasAccount() {
		e.Layers = append(e.Layers, explainLayer(resource, r, &keys, in.Resource))
	}
	if in.Boundary != nil {
		e.Layers = append(e.Layers, explainLayer(BoundaryLayer, r, &keys, in.Boundary))
	}
	if len(in.Session) > 0 {
		e.Layers = append(e.Layers, explainLayer(SessionLayer, r, &keys, in.Session...))
	}
	if in.Endpoint != nil {
		e.Layers = append(e.Layers, explainLayer(EndpointLayer, r, &keys, in.Endpoint))
	}
	e.MissingKeys = keys.names
	return e
}

func explainLayer(layer Layer, r *Request, keys *keyList, policies ...*Policy) LayerFinding {
	l := LayerFinding{Layer: layer, Effect: ImplicitDeny}
	for _, p := range policies {
		if p == nil {
			continue
		}
		for i := range p.statements {
			l.explain(&p.statements[i], r, keys)
		}
	}
	return l
}

// explain adds what a statement has to say.
func (l *LayerFinding) explain(s *statement, r *Request, keys *keyList) {
	attached := l.Layer == ResourceLayer || l.Layer == TrustLayer
	g := toCaller
	if attached || l.Layer == EndpointLayer {
		g = s.concerns(&r.Principal)
	}
	if g == noGrant || !s.coversAction(r.Action) {
		return
	}
	s.eachKey(func(key, name string) {
		if r.value(key).len() == 0 {
			keys.add(key, name)
		}
	})
	switch {
	case !s.coversResource(r, attached):
	case s.met(r):
		l.Matches = append(l.Matches, Match{s.ref, s.effect, s.effect == Allow && g == toAccount})
		l.decide(s.effect)
	default:
		l.addUnmet(s, r)
	}
}

func (l *LayerFinding) decide(e Effect) {
	if e == Deny {
		l.Effect = ExplicitDeny
	} else if l.Effect == ImplicitDeny {
		l.Effect = Allowed
	}
}

func (l *LayerFinding) addUnmet(s *statement, r *Request) {
	for i := range s.conditions {
		c := &s.conditions[i]
		if c.met(r) {
			continue
		}
		l.Unmet = append(l.Unmet, Unmet{
			Statement: s.ref, Effect: s.effect, Operator: c.source.Operator, Key: c.source.Key,
			Want: c.source.Values, Got: r.value(c.key).Strings(),
		})
	}
}
