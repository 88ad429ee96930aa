// Package resource creates, updates and deletes what stacks consist of.
//
// Each resource type has a Handler, found by Lookup: a schema, which says how
// the properties look and which attributes there are, and functions that work
// through the operations of the services, as any client does (Client).
//
// A handler returns when the resource is ready. It may be called again after
// a crash in the middle (Request.Resumed): the same Token then names the same
// resource, so what was made already is found and used, and what was deleted
// already stays deleted. A Create that fails has deleted what it made.
package resource

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/keyturn/keyturn/internal/stack"
)

// Identity names a stack.
type Identity struct {
	// ID is the stack's ARN.
	ID string
	// Name, Account and Region are parts of it.
	Name, Account, Region string
	// Partition is aws.
	Partition string
}

// Nesting is what the stacks in a stack take from it.
type Nesting struct {
	// Capabilities are those that were acknowledged for the outer stack.
	Capabilities []string
	// NotificationARNs and RoleARN are the outer stack's.
	NotificationARNs []string
	RoleARN          string
}

// Request is one operation on one resource.
type Request struct {
	Client *Client
	Stack  Identity
	// Stacks is for nested stacks alone.
	Stacks    Nesting
	LogicalID string
	// PhysicalID names the resource to update or delete. A Create may have one
	// after a crash, if Initiated was told.
	PhysicalID string
	// Replaces is, in a Create, the physical ID of the resource that the new
	// one stands in for; "" for none.
	Replaces string
	// Token stays the same when this operation on this resource is repeated
	// after a crash, and differs from that of every other operation. At most
	// 64 characters; a UUID is one.
	Token string
	// Resumed says that the operation may have been applied, wholly or in
	// part, before a crash: what exists already by our name, token or tags is
	// the resource.
	Resumed bool
	// Properties are resolved. Previous are those before an update.
	Properties, Previous map[string]any
	// Tags are the stack's own and those that every resource gets, by
	// SystemTags; PreviousTags those before an update.
	Tags, PreviousTags map[string]string
	// Initiated, if set, is told the physical ID during a Create as soon as it
	// is known; the Create fails if it does.
	Initiated func(physicalID string) error
	// Rollback says that an update that failed is being undone: an Update
	// leads back, a Delete takes away what the update had made.
	Rollback bool
	// Remember, unless nil, keeps a text for a rollback, which gets it as
	// Remembered: what was told first since the stack was stable counts. It
	// comes before the change that it is about. Remembered is "" if nothing
	// was told.
	Remember   func(memory string) error
	Remembered string
}

// Result is a resource that is ready.
type Result struct {
	PhysicalID string
	// Ref is what Ref gives; "" means PhysicalID.
	Ref string
	// Attributes are what Fn::GetAtt gives, by dotted names. They may hold
	// secrets: the caller seals them. nil after an Update leaves them as they
	// were.
	Attributes map[string]any
}

// RefValue is what Ref gives.
func (r Result) RefValue() string {
	if r.Ref != "" {
		return r.Ref
	}
	return r.PhysicalID
}

// Handler handles one resource type. Errors of its functions unwrap to a
// *fault.Error with the service's text; ErrorCode and Describe tell more.
type Handler struct {
	Schema *stack.Schema
	// Create makes the resource.
	Create func(context.Context, *Request) (Result, error)
	// Update changes properties in place; those that cannot be are replaced by
	// another Create and Delete, as Schema says.
	Update func(context.Context, *Request) (Result, error)
	// Delete succeeds when the resource is gone, also when it was before.
	Delete func(context.Context, *Request) error
	// IAM says that templates with the type need CAPABILITY_IAM, and
	// CAPABILITY_NAMED_IAM if the property Named is given.
	IAM   bool
	Named string
}

// Lookup returns the handler of a resource type; nil if there is none.
func Lookup(typ string) *Handler { return handlers()[typ] }

// Schema returns the schema of a resource type; nil if there is none.
func Schema(typ string) *stack.Schema {
	if h := handlers()[typ]; h != nil {
		return h.Schema
	}
	return nil
}

// Types returns the names of all resource types, sorted.
func Types() []string { return slices.Sorted(maps.Keys(handlers())) }

// handlers are the handlers by type, made when the first stack needs them:
// most processes of the program never see one.
var handlers = sync.OnceValue(func() map[string]*Handler {
	return table(
		secretHandler(), secretPolicyHandler(), scheduleHandler(), attachmentHandler(),
		functionHandler(), permissionHandler(), versionHandler(), functionAliasHandler(), layerHandler(), invokeConfigHandler(),
		roleHandler(), userHandler(), groupHandler(), additionHandler(), accessKeyHandler(), policyHandler(), managedPolicyHandler(),
		ownPolicyHandler(roleHolder), ownPolicyHandler(userHolder), ownPolicyHandler(groupHolder),
		vpcHandler(), subnetHandler(), securityGroupHandler(), ruleHandler(false), ruleHandler(true), endpointHandler(), networkACLHandler(), entryHandler(),
		aclAssociationHandler(), routeTableHandler(), routeHandler(), tableAssociationHandler(), gatewayHandler(), gatewayAttachmentHandler(), natHandler(),
		addressHandler(), instanceHandler(), clusterHandler(), subnetGroupHandler(),
		stackHandler(), metadataHandler(), waitHandleHandler(), waitHandler(),
		keyHandler(), keyAliasHandler(), logGroupHandler(),
	)
})

func table(list ...*Handler) map[string]*Handler {
	byType := make(map[string]*Handler, len(list))
	for _, h := range list {
		byType[h.Schema.Type] = h
	}
	return byType
}

// SystemTags are the tags that CloudFormation puts on every resource that can
// have tags (AWS docs).
func SystemTags(s Identity, logicalID string) map[string]string {
	return map[string]string{tagStackName: s.Name, tagLogicalID: logicalID, tagStackID: s.ID}
}

// The keys of SystemTags.
const (
	tagStackName = "aws:cloudformation:stack-name"
	tagLogicalID = "aws:cloudformation:logical-id"
	tagStackID   = "aws:cloudformation:stack-id"
)
