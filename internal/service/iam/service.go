// Package iam implements the part of AWS IAM that rotation functions need:
// roles with their trust, inline and attached policies and tags. Policies are
// kept and shown; they are not evaluated yet.
//
// Texts of errors are AWS's wherever they are on record.
package iam

import (
	"context"
	"net/url"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with; all members are needed.
type Config struct {
	Store *store.Store
	Guard *authz.Guard
}

// Service is IAM. Use New.
type Service struct{ Config }

// New returns a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{Model: api.Model(), Errors: codes, Ops: []wire.Op{
		wire.Handle("AttachRolePolicy", s.AttachRolePolicy),
		wire.Handle("CreateRole", s.CreateRole),
		wire.Handle("DeleteRole", s.DeleteRole),
		wire.Handle("DeleteRolePolicy", s.DeleteRolePolicy),
		wire.Handle("DetachRolePolicy", s.DetachRolePolicy),
		wire.Handle("GetRole", s.GetRole),
		wire.Handle("GetRolePolicy", s.GetRolePolicy),
		wire.Handle("ListAttachedRolePolicies", s.ListAttachedRolePolicies),
		wire.Handle("ListRolePolicies", s.ListRolePolicies),
		wire.Handle("ListRoles", s.ListRoles),
		wire.Handle("ListRoleTags", s.ListRoleTags),
		wire.Handle("PutRolePolicy", s.PutRolePolicy),
		wire.Handle("TagRole", s.TagRole),
		wire.Handle("UntagRole", s.UntagRole),
		wire.Handle("UpdateAssumeRolePolicy", s.UpdateAssumeRolePolicy),
	}}
}

// inUse is the kind of the refusal to delete a role that has policies.
const inUse fault.Kind = "delete conflict"

// codes are the service's error codes (AWS: recorded).
var codes = map[fault.Kind]wire.Code{
	fault.NotFound:   {Name: "NoSuchEntity", Status: 404},
	fault.Exists:     {Name: "EntityAlreadyExists", Status: 409},
	fault.Limit:      {Name: "LimitExceeded", Status: 409},
	fault.Policy:     {Name: "MalformedPolicyDocument", Status: 400},
	fault.Parameter:  {Name: "InvalidInput", Status: 400},
	fault.Validation: {Name: "ValidationError", Status: 400},
	inUse:            {Name: "DeleteConflict", Status: 409},
}

// role returns the role with the name, authorised for the call.
func (s *Service) role(tx *store.Tx, call *wire.Call, name string) (*iam.Role, error) {
	r, err := tx.Role(call.Principal.Account, name)
	found := err == nil
	if !found {
		if !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		r = &iam.Role{Account: call.Principal.Account, Name: name, Path: "/"}
	}
	if err := s.Guard.Action(call, r.ARN()); err != nil {
		return nil, err
	}
	call.Resources = []trail.Resource{{Type: "AWS::IAM::Role", Name: r.ARN()}}
	if !found {
		return nil, fault.New(fault.NotFound, "The role with name %s cannot be found.", name)
	}
	return r, nil
}

// view calls fn with a role that the call only reads.
func (s *Service) view(ctx context.Context, call *wire.Call, name string, fn func(*iam.Role) error) error {
	return s.Store.View(ctx, func(tx *store.Tx) error {
		r, err := s.role(tx, call, name)
		if err != nil {
			return err
		}
		return fn(r)
	})
}

// change applies fn to a copy of the role and stores it with the call's
// event.
func (s *Service) change(ctx context.Context, call *wire.Call, name string, out wire.Output, fn func(*iam.Role) error) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		before, err := s.role(tx, call, name)
		if err != nil {
			return err
		}
		after := before.Clone()
		if err := fn(after); err != nil {
			return err
		}
		if err := tx.SaveRole(before, after); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// page cuts a sorted list behind the marker to the wanted size, 100 by
// default. next is nil on the last page.
func page[T any](list []T, key func(T) string, marker *string, size *int64) (part []T, next *string) {
	start := 0
	if marker != nil {
		for start < len(list) && key(list[start]) <= *marker {
			start++
		}
	}
	list = list[start:]
	most := pageSize(size)
	if len(list) <= most {
		return list, nil
	}
	return list[:most], new(key(list[most-1]))
}

// pageSize is the size that a request wants, 100 by default (AWS docs).
func pageSize(size *int64) int {
	if size == nil {
		return 100
	}
	return int(*size)
}

// encode percent-encodes a policy document as IAM's answers do (RFC 3986).
func encode(document string) *string {
	return new(strings.ReplaceAll(url.QueryEscape(document), "+", "%20"))
}
