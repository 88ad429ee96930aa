// Package cloudformation implements the operations of AWS CloudFormation:
// stacks, change sets, templates, exports. What they begin is carried out by
// package stack/engine.
package cloudformation

import (
	api "github.com/keyturn/keyturn/internal/api/cloudformation"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with; all members are needed.
type Config struct {
	Store  *store.Store
	Guard  *authz.Guard
	Sealer *key.Sealer
	// Wake tells the engine that there is an operation to run.
	Wake func()
}

// Service is CloudFormation. Use New.
type Service struct{ Config }

// New returns a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{Model: api.Model(), Errors: codes, Conditions: conditions, Ops: []wire.Op{
		wire.Handle("CancelUpdateStack", s.CancelUpdateStack),
		wire.Handle("ContinueUpdateRollback", s.ContinueUpdateRollback),
		wire.Handle("CreateChangeSet", s.CreateChangeSet),
		wire.Handle("CreateStack", s.CreateStack),
		wire.Handle("DeleteChangeSet", s.DeleteChangeSet),
		wire.Handle("DeleteStack", s.DeleteStack),
		wire.Handle("DescribeAccountLimits", s.DescribeAccountLimits),
		wire.Handle("DescribeChangeSet", s.DescribeChangeSet),
		wire.Handle("DescribeStackEvents", s.DescribeStackEvents),
		wire.Handle("DescribeStackResource", s.DescribeStackResource),
		wire.Handle("DescribeStackResources", s.DescribeStackResources),
		wire.Handle("DescribeStacks", s.DescribeStacks),
		wire.Handle("ExecuteChangeSet", s.ExecuteChangeSet),
		wire.Handle("GetStackPolicy", s.GetStackPolicy),
		wire.Handle("GetTemplate", s.GetTemplate),
		wire.Handle("GetTemplateSummary", s.GetTemplateSummary),
		wire.Handle("ListChangeSets", s.ListChangeSets),
		wire.Handle("ListExports", s.ListExports),
		wire.Handle("ListImports", s.ListImports),
		wire.Handle("ListStackResources", s.ListStackResources),
		wire.Handle("ListStacks", s.ListStacks),
		wire.Handle("RollbackStack", s.RollbackStack),
		wire.Handle("SetStackPolicy", s.SetStackPolicy),
		wire.Handle("UpdateStack", s.UpdateStack),
		wire.Handle("UpdateTerminationProtection", s.UpdateTerminationProtection),
		wire.Handle("ValidateTemplate", s.ValidateTemplate),
	}}
}

// Kinds of this service alone.
const (
	noChangeSet     fault.Kind = "no such change set"
	changeSetStatus fault.Kind = "change set status"
	tokenUsed       fault.Kind = "token in use"
)

// codes are the service's error codes (AWS: recorded).
var codes = map[fault.Kind]wire.Code{
	fault.Exists:                   {Name: "AlreadyExistsException"},
	fault.Limit:                    {Name: "LimitExceededException"},
	fault.PageToken:                {Name: "ValidationError", Status: 400},
	noChangeSet:                    {Name: "ChangeSetNotFound"},
	changeSetStatus:                {Name: "InvalidChangeSetStatus"},
	tokenUsed:                      {Name: "TokenAlreadyExistsException"},
	stack.InsufficientCapabilities: {Name: "InsufficientCapabilitiesException"},
}

// invalid is a refusal in AWS's words.
func invalid(format string, args ...any) *fault.Error {
	return fault.New(fault.Validation, format, args...)
}

// deref returns what p points to, or the zero value.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// some is a pointer to a text, nil for "".
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// list is a pointer-free list that is shown as an empty element rather than
// left out.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
