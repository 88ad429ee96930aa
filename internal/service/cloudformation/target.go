package cloudformation

import (
	"context"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/cloudformation"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/stack/engine"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// find returns the stack that a name or an ARN names, authorised for the
// call; nil if there is none. What does not exist is refused as what does.
func (s *Service) find(tx *store.Tx, call *wire.Call, name string) (*record.Stack, error) {
	st, address, err := lookUp(tx, call, name)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(call, "", address, st); err != nil {
		return nil, err
	}
	if st != nil {
		call.Resources = []trail.Resource{{Type: record.Type, Name: st.ID}}
	}
	return st, nil
}

// lookUp returns a stack, or nil, and its address for policies. A name finds
// live stacks alone.
func lookUp(tx *store.Tx, call *wire.Call, name string) (st *record.Stack, address string, err error) {
	address = name
	if arn.IsARN(name) {
		st, err = tx.Stack(name)
		if err == nil && (st.Account != call.Principal.Account || st.Region != call.Region) {
			st = nil
		}
	} else {
		address = arn.New("cloudformation", call.Region, call.Principal.Account, "stack/"+name+"/*").String()
		st, err = tx.LiveStack(call.Principal.Account, call.Region, name)
	}
	if fault.Is(err, fault.NotFound) {
		return nil, address, nil
	}
	if st != nil {
		address = st.ID
	}
	return st, address, err
}

// authorize authorises an action, "" for the call's own, on a stack or a
// change set by its address.
func (s *Service) authorize(call *wire.Call, action, address string, st *record.Stack) error {
	r := &authz.Resource{ARN: address}
	if st != nil {
		r.Context = func(key string) iam.Value {
			if name, ok := strings.CutPrefix(key, "aws:resourcetag/"); ok {
				return iam.TagValue(st.Settings.Tags, name)
			}
			return iam.Value{}
		}
	}
	return s.Guard.On(call, action, r)
}

// Texts for a stack that does not exist, which differ by operation (AWS:
// recorded).
func withID(name string) error  { return invalid("Stack with id %s does not exist", name) }
func inBoxes(name string) error { return invalid("Stack [%s] does not exist", name) }
func inTicks(name string) error { return invalid("Stack '%s' does not exist", name) }

// view runs fn with a stack that exists, authorised.
func (s *Service) view(ctx context.Context, call *wire.Call, name *string, missing func(string) error,
	fn func(*store.Tx, *record.Stack) error,
) error {
	return s.Store.View(ctx, func(tx *store.Tx) error {
		st, err := s.find(tx, call, deref(name))
		if err != nil {
			return err
		}
		if st == nil {
			return missing(deref(name))
		}
		return fn(tx, st)
	})
}

// change runs fn with a stack that exists, authorised, and records the call,
// all in one transaction.
func (s *Service) change(ctx context.Context, call *wire.Call, name *string, missing func(string) error, out wire.Output,
	fn func(*store.Tx, *record.Stack) error,
) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		st, err := s.find(tx, call, deref(name))
		if err != nil {
			return err
		}
		if st == nil {
			return missing(deref(name))
		}
		if err := fn(tx, st); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// passRole authorises the caller to have CloudFormation work as a role that
// it may assume. A nested stack works as its parent does.
func (s *Service) passRole(tx *store.Tx, call *wire.Call, roleARN *string, st string) error {
	if roleARN == nil || call.By == record.Service {
		return nil
	}
	account, name, ok := iam.RoleNameFromARN(*roleARN)
	if ok && account != call.Principal.Account {
		return fault.New(fault.Denied, "Cross-account pass role is not allowed.").For(*roleARN)
	}
	var tags []iam.Tag
	if role, err := tx.Role(account, name); err == nil {
		tags = role.Tags
	} else if !fault.Is(err, fault.NotFound) {
		return err
	}
	err := s.Guard.On(call, "iam:PassRole", &authz.Resource{ARN: *roleARN, Context: func(key string) iam.Value {
		switch key {
		case "iam:passedtoservice":
			return iam.Text(record.Service)
		case "iam:associatedresourcearn":
			return iam.Text(st)
		}
		return iam.ResourceTags(key, tags)
	}})
	if err != nil {
		return err
	}
	_, err = engine.Assumable(tx, call.Principal.Account, *roleARN)
	return err
}

// conditions returns the condition keys that requests give (AWS docs).
func conditions(in wire.Input, key string) iam.Value {
	r := requested(in)
	switch key {
	case "cloudformation:changesetname":
		return iam.Optional(r.changeSet)
	case "cloudformation:rolearn":
		return iam.Optional(r.role)
	case "cloudformation:templateurl":
		return iam.Optional(r.template)
	case "cloudformation:stackpolicyurl":
		return iam.Optional(r.policy)
	case "cloudformation:resourcetypes":
		return iam.List(r.types)
	}
	return iam.RequestTags(key, tagsOf(r.tags))
}

// request is what condition keys tell of a request.
type request struct {
	changeSet, role, template, policy *string
	types                             []string
	tags                              []api.Tag
}

func requested(in wire.Input) request {
	switch in := in.(type) {
	case *api.CreateStackInput:
		return request{role: in.RoleARN, template: in.TemplateURL, policy: in.StackPolicyURL, types: in.ResourceTypes, tags: in.Tags}
	case *api.UpdateStackInput:
		return request{role: in.RoleARN, template: in.TemplateURL, policy: in.StackPolicyURL, types: in.ResourceTypes, tags: in.Tags}
	case *api.CreateChangeSetInput:
		return request{changeSet: in.ChangeSetName, role: in.RoleARN, template: in.TemplateURL, types: in.ResourceTypes, tags: in.Tags}
	case *api.DeleteStackInput:
		return request{role: in.RoleARN}
	case *api.ContinueUpdateRollbackInput:
		return request{role: in.RoleARN}
	case *api.RollbackStackInput:
		return request{role: in.RoleARN}
	case *api.SetStackPolicyInput:
		return request{policy: in.StackPolicyURL}
	case *api.ExecuteChangeSetInput:
		return request{changeSet: nameOfChangeSet(*in.ChangeSetName)}
	case *api.DescribeChangeSetInput:
		return request{changeSet: nameOfChangeSet(*in.ChangeSetName)}
	case *api.DeleteChangeSetInput:
		return request{changeSet: nameOfChangeSet(*in.ChangeSetName)}
	}
	return request{}
}

// nameOfChangeSet is the name in a name or an ARN of a change set.
func nameOfChangeSet(id string) *string {
	if a, ok := arn.Parse(id); ok {
		if rest, ok := strings.CutPrefix(a.Resource, "changeSet/"); ok {
			name, _, _ := strings.Cut(rest, "/")
			return &name
		}
	}
	return &id
}

// tagsOf are tags as they are kept.
func tagsOf(tags []api.Tag) []record.Tag {
	if tags == nil {
		return nil
	}
	kept := make([]record.Tag, len(tags))
	for i, t := range tags {
		kept[i] = record.Tag{Key: deref(t.Key), Value: deref(t.Value)}
	}
	return kept
}

func shownTags(tags []record.Tag) []api.Tag {
	shown := make([]api.Tag, 0, len(tags))
	for _, t := range tags {
		if !strings.HasPrefix(t.Key, "aws:") {
			shown = append(shown, api.Tag{Key: &t.Key, Value: &t.Value})
		}
	}
	return shown
}
