package iam

import (
	"context"
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// family is one sort of thing that IAM keeps: roles, users, groups, managed
// policies, identity providers. It finds, authorises and stores them alike.
type family[T any] struct {
	Config
	// resource is the type of resource in events.
	resource string
	// noun is how refusals call one that is named in the request, as in
	// "role deploy" (AWS: reported); "" names it by its ARN. Its path, which
	// the caller may not know, stays unsaid.
	noun string
	// tagging is the action that guards tags; "" where there are none.
	tagging string
	// find returns the one that a request names in the account; the name is
	// an ARN for policies and providers.
	find func(tx *store.Tx, account, name string) (*T, error)
	// absent stands for one that does not exist, for its ARN.
	absent func(account, name string) *T
	save   func(tx *store.Tx, before, after *T) error
	delete func(tx *store.Tx, x *T) error
	clone  func(*T) *T
	about  func(*T) about
	// missing and taken are the refusals of AWS.
	missing, taken func(name string) error
}

// about is what conditions may ask of a resource.
type about struct {
	arn, name, boundary string
	tags                []iam.Tag
}

// resource returns what the Guard has to know.
func (a about) resource(call *wire.Call) *authz.Resource {
	return &authz.Resource{ARN: a.arn, Context: func(key string) iam.Value {
		if key != "iam:permissionsboundary" {
			return iam.ResourceTags(key, a.tags)
		}
		// What the request sets counts more than what is set.
		if v := call.Condition(key); !v.IsZero() {
			return v
		}
		return iam.NonEmpty(a.boundary)
	}}
}

// allow authorises the call on something that exists, or would. shown is what
// a refusal calls it, or "" for its ARN.
func (f *family[T]) allow(call *wire.Call, x *T, shown string) error {
	a := f.about(x)
	call.Resources = []trail.Resource{{Type: f.resource, Name: a.arn}}
	r := a.resource(call)
	r.Shown = shown
	// AWS's own policies are every account's to read, and nobody's to change.
	if strings.HasPrefix(a.arn, awsPolicies) && reads(call) {
		r.Account = call.Principal.Account
	}
	return f.Guard.On(call, "", r)
}

// shown is what a refusal calls the one that a request names.
func (f *family[T]) shown(name string) string {
	if f.noun == "" {
		return ""
	}
	return f.noun + " " + name
}

// awsPolicies is how the ARNs of AWS managed policies begin.
const awsPolicies = "arn:aws:iam::aws:"

func reads(call *wire.Call) bool {
	_, name, _ := strings.Cut(call.Action(), ":")
	return strings.HasPrefix(name, "Get") || strings.HasPrefix(name, "List")
}

// get returns what the name stands for, authorised for the call. Denied comes
// before not found.
func (f *family[T]) get(tx *store.Tx, call *wire.Call, name string) (*T, error) {
	x, err := f.find(tx, call.Principal.Account, name)
	found := err == nil
	if !found {
		if !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		x = f.absent(call.Principal.Account, name)
	}
	if err := f.allow(call, x, f.shown(name)); err != nil {
		return nil, err
	}
	if !found {
		return nil, f.missing(name)
	}
	if a := f.about(x); isServiceLinked(a.arn) && !reads(call) {
		return nil, errProtected(a.name)
	}
	return x, nil
}

// isServiceLinked tells whether an ARN is of a role that only its service
// changes.
func isServiceLinked(arn string) bool { return strings.Contains(arn, ":role"+serviceLinked) }

// serviceLinked is how the paths of roles begin that belong to AWS services.
const serviceLinked = "/aws-service-role/"

// errProtected is AWS's refusal (AWS: reported).
func errProtected(name string) error {
	return fault.New(unmodifiable, "Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", name)
}

// view calls fn with something that the call only reads.
func (f *family[T]) view(ctx context.Context, call *wire.Call, name string, fn func(*store.Tx, *T) error) error {
	return f.Store.View(ctx, func(tx *store.Tx) error {
		x, err := f.get(tx, call, name)
		if err != nil {
			return err
		}
		return fn(tx, x)
	})
}

// change applies fn to a copy and stores it with the call's event.
func (f *family[T]) change(ctx context.Context, call *wire.Call, name string, out wire.Output, fn func(*store.Tx, *T) error) error {
	return f.Store.Update(ctx, func(tx *store.Tx) error {
		before, err := f.get(tx, call, name)
		if err != nil {
			return err
		}
		after := f.clone(before)
		if err := fn(tx, after); err != nil {
			return err
		}
		if err := f.save(tx, before, after); err != nil {
			if fault.Is(err, fault.Exists) {
				return f.taken(f.about(after).name)
			}
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// create stores something new with the call's event, once it is authorised
// and check has nothing against it. Tags take a permission of their own (AWS
// docs).
func (f *family[T]) create(ctx context.Context, call *wire.Call, x *T, out wire.Output, check func(*store.Tx) error) error {
	if err := f.allow(call, x, ""); err != nil {
		return err
	}
	if f.tagging != "" && !call.Condition("aws:tagkeys").IsZero() {
		if err := f.Guard.On(call, f.tagging, f.about(x).resource(call)); err != nil {
			return err
		}
	}
	return f.Store.Update(ctx, func(tx *store.Tx) error {
		if err := check(tx); err != nil {
			return err
		}
		err := f.save(tx, nil, x)
		if fault.Is(err, fault.Exists) {
			return f.taken(f.about(x).name)
		}
		if err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// remove deletes something with the call's event, unless check has something
// against it.
func (f *family[T]) remove(ctx context.Context, call *wire.Call, name string, out wire.Output, check func(*store.Tx, *T) error) error {
	return f.Store.Update(ctx, func(tx *store.Tx) error {
		x, err := f.get(tx, call, name)
		if err != nil {
			return err
		}
		if err := check(tx, x); err != nil {
			return err
		}
		if err := f.delete(tx, x); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// checkARN refuses what is no ARN (AWS: recorded).
func checkARN(text string) error {
	if _, ok := arn.Parse(text); !ok {
		return fault.New(fault.Validation, "ARN %s is not valid.", text)
	}
	return nil
}
