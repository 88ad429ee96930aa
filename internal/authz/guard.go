package authz

import (
	"sync"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Guard resolves resources and authorises calls on them, both in one step:
// by the policies that the caller brought along when it was authenticated,
// that of the resource, and that of the VPC endpoint, if there is one.
type Guard struct {
	store     *store.Store
	keeper    key.Keeper
	policies  compiler
	inquiries sync.Pool
}

// NewGuard returns a Guard that makes missing default keys in the store,
// their material wrapped by the keeper.
func NewGuard(s *store.Store, keeper key.Keeper) *Guard {
	g := &Guard{store: s, keeper: keeper}
	g.inquiries.New = func() any { return newInquiry() }
	return g
}

// Resource is what a call is about, as policies see it.
type Resource struct {
	// ARN is matched with the Resource of statements.
	ARN string
	// Shown is what the refusal names instead of ARN, unless it is "".
	Shown string
	// Account owns the resource; "" is the account in ARN, or the caller's
	// where that names none.
	Account string
	// Policy is the text of the resource's own policy, or "".
	Policy string
	Kind   iam.ResourceKind
	// Context has the condition keys of the resource; it may be nil.
	Context iam.Context
}

// Action authorises the call on a resource without a policy of its own, or on
// none: "*", or "" for actions whose refusal names no resource. The error is
// fault.Denied with AWS's text.
func (g *Guard) Action(call *wire.Call, resource string) error {
	r := Resource{ARN: resource}
	if resource == "" {
		r.ARN = "*"
	}
	return g.on(call, call.Action(), &r, resource)
}

// On authorises an action, "" for the call's own, on a resource. The error is
// fault.Denied with AWS's text.
func (g *Guard) On(call *wire.Call, action string, r *Resource) error {
	if action == "" {
		action = call.Action()
	}
	shown := r.Shown
	if shown == "" {
		shown = r.ARN
	}
	return g.on(call, action, r, shown)
}

func (g *Guard) on(call *wire.Call, action string, r *Resource, shown string) error {
	q := g.inquiry(call, action, r.ARN, r.Policy)
	defer g.done(q)
	q.policies.Kind, q.resource = r.Kind, r.Context
	q.request.ResourceAccount = ownerOf(r)
	return q.refusal(shown)
}

// ownerOf returns the account of a resource; "" is the caller's.
func ownerOf(r *Resource) string {
	if r.Account != "" {
		return r.Account
	}
	a, _ := arn.Parse(r.ARN)
	return a.Account
}

// inquiry is one question to the evaluator. It is kept for the next one, with
// its context made once, so that asking does not allocate.
type inquiry struct {
	call     *wire.Call
	request  iam.Request
	policies iam.Policies
	// What the call is about: a secret, a key that is to be used, or
	// something whose condition keys resource has.
	secret    *secret.Secret
	secretARN string
	tx        *store.Tx
	reading   reading
	key       *key.Record
	use       KeyUse
	resource  iam.Context
	context   iam.Context
}

func newInquiry() *inquiry {
	q := &inquiry{}
	q.context = q.value
	return q
}

// inquiry begins a question about an action on a resource with a policy.
func (g *Guard) inquiry(call *wire.Call, action, resource, policy string) *inquiry {
	q := g.inquiries.Get().(*inquiry)
	q.call = call
	q.request = iam.Request{Principal: call.Principal, Action: action, Resource: resource, Context: q.context}
	q.policies = iam.Policies{Resource: g.policies.compile(policy)}
	if id := call.Principal.Identity; id != nil {
		q.policies.Identity, q.policies.Boundary, q.policies.Session = id.Policies, id.Boundary, id.Session
	}
	if call.Endpoint != nil {
		q.policies.Endpoint = call.Endpoint.Policy
	}
	return q
}

func (g *Guard) done(q *inquiry) {
	*q = inquiry{context: q.context}
	g.inquiries.Put(q)
}

// refusal decides, and returns why not; nil when the call may go on.
func (q *inquiry) refusal(shown string) error {
	d := iam.Evaluate(&q.request, &q.policies)
	if d.Allowed() {
		return nil
	}
	return q.refuse(d, shown)
}

func (q *inquiry) refuse(d iam.Decision, shown string) error {
	return fault.New(fault.Denied, "%s", d.Refusal(q.call.Principal.ARN, q.request.Action, shown))
}
