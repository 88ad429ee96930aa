package record

import (
	"time"

	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/stack"
)

// Kind is what an operation does.
type Kind string

// The kinds; the first four are those of AWS's LastOperations.
const (
	CreateStack Kind = "CREATE_STACK"
	UpdateStack Kind = "UPDATE_STACK"
	DeleteStack Kind = "DELETE_STACK"
	Rollback    Kind = "ROLLBACK"
	// Continue takes up an update's rollback that failed.
	Continue Kind = "CONTINUE_ROLLBACK"
	// MakeChangeSet works a change set out and changes nothing else.
	MakeChangeSet Kind = "CREATE_CHANGESET"
)

// Phase is how far an operation has come. Each is taken up anew after a
// crash.
type Phase string

// The phases.
const (
	// Apply brings about the config.
	Apply Phase = "apply"
	// Cleanup deletes what an update left behind.
	Cleanup Phase = "cleanup"
	// Undo leads back to the stable config.
	Undo Phase = "undo"
	// UndoCleanup deletes what an update had made.
	UndoCleanup Phase = "undo-cleanup"
	// Delete deletes everything.
	Delete Phase = "delete"
)

// What becomes of a stack whose creation or update fails.
const (
	OnFailureRollback  = "ROLLBACK"
	OnFailureDoNothing = "DO_NOTHING"
	OnFailureDelete    = "DELETE"
)

// Operation is a piece of work on a stack. Its claim works as that of
// rotations: an engine that holds the lease works under the fence.
type Operation struct {
	ID, StackID string
	Kind        Kind
	Phase       Phase
	Done        bool
	// Nested says that the operation of another stack waits for this one.
	Nested    bool
	StartedAt time.Time
	// Token is the request's ClientRequestToken, or "".
	Token      string
	Owner      string
	LeaseUntil time.Time
	Fence      int64
	Order      Order
	// Sealed is the session token of the caller; nil for long-term keys.
	Sealed []byte
}

// Order is what an operation was asked to do.
type Order struct {
	// AccessKeyID and Account say who asked.
	AccessKeyID, Account string
	// RoleARN is the role as which the operation works; "" is the caller.
	RoleARN string
	// OnFailure is one of the constants OnFailureX; "" is ROLLBACK.
	OnFailure string
	// RetainResources are logical IDs that a deletion leaves alone, Skip such
	// that a continued rollback passes over.
	RetainResources, Skip []string
	// RetainExceptOnCreate makes a rollback delete also what has the policy
	// Retain.
	RetainExceptOnCreate bool
	// Force makes a deletion give up what cannot be deleted.
	Force bool
	// ChangeSetID is the change set that is worked out or executed.
	ChangeSetID string
	// Policy, unless "", stands in for the stack policy during the update.
	Policy string
	// Deadline, unless zero, is when a creation has taken too long.
	Deadline time.Time
	// Refusal is why the operation fails before it begins, or "".
	Refusal string
	// Cancel asks a running operation to end: to roll back, or to go on with
	// the deletion of the stack.
	Cancel Phase
	// Deleter is who asked for that deletion; nil for nobody.
	Deleter *Asker `json:",omitzero"`
	// Reason is why the operation is being undone.
	Reason string
	// Began is the status from which the operation began.
	Began Status
	// AskedAt, unless zero, is when the caller asked for what the operation
	// does now, if that is not what it began with.
	AskedAt time.Time `json:",omitzero"`
}

// Asker is who asked for something, and so as whom it is done.
type Asker struct {
	// AccessKeyID and Account are the caller's, RoleARN is the role as which
	// the work is done; "" is the caller.
	AccessKeyID, Account, RoleARN string
	// At is when the caller asked.
	At time.Time
	// Sealed is the session token of the caller; nil for long-term keys.
	Sealed []byte `json:",omitzero"`
}

const operationPurpose = "stack-operation/"

// SessionToken returns the session token of the caller, or "".
func (o *Operation) SessionToken(sealer *key.Sealer) (token string, err error) {
	err = open(sealer, operationPurpose+o.ID, o.Sealed, &token)
	return token, err
}

// SealToken keeps the session token of the caller.
func (o *Operation) SealToken(sealer *key.Sealer, token string) (err error) {
	if o.Sealed = nil; token != "" {
		o.Sealed, err = seal(sealer, operationPurpose+o.ID, token)
	}
	return err
}

// AskDeletion has a running operation go on with the deletion of the stack, as
// the caller with the session token. The first to ask counts.
func (o *Operation) AskDeletion(sealer *key.Sealer, by Asker, token string) (err error) {
	if o.Order.Cancel == Delete {
		return nil
	}
	if by.Sealed = nil; token != "" {
		by.Sealed, err = seal(sealer, operationPurpose+o.ID, token)
	}
	o.Order.Cancel, o.Order.Deleter = Delete, &by
	return err
}

// BeginDeletion makes the operation go on with the deletion of the stack, from
// now on as who asked for that, if somebody did.
func (o *Operation) BeginDeletion() {
	o.Phase, o.Done, o.Order.Cancel = Delete, false, ""
	if by := o.Order.Deleter; by != nil {
		o.Order.AccessKeyID, o.Order.Account, o.Order.RoleARN = by.AccessKeyID, by.Account, by.RoleARN
		o.Order.AskedAt, o.Order.Deleter, o.Sealed = by.At, nil, by.Sealed
	}
}

// AskedAt is when the caller as whom the operation works asked for it.
func (o *Operation) AskedAt() time.Time {
	if !o.Order.AskedAt.IsZero() {
		return o.Order.AskedAt
	}
	return o.StartedAt
}

// ChangeSetStatus is the state of a change set, as AWS spells it.
type ChangeSetStatus string

// The states of change sets.
const (
	ChangeSetPending    ChangeSetStatus = "CREATE_PENDING"
	ChangeSetInProgress ChangeSetStatus = "CREATE_IN_PROGRESS"
	ChangeSetComplete   ChangeSetStatus = "CREATE_COMPLETE"
	ChangeSetFailed     ChangeSetStatus = "FAILED"
)

// Execution tells whether a change set can be executed, as AWS spells it.
type Execution string

// The states of execution.
const (
	Unavailable       Execution = "UNAVAILABLE"
	Available         Execution = "AVAILABLE"
	ExecuteInProgress Execution = "EXECUTE_IN_PROGRESS"
	ExecuteComplete   Execution = "EXECUTE_COMPLETE"
	ExecuteFailed     Execution = "EXECUTE_FAILED"
	Obsolete          Execution = "OBSOLETE"
)

// ChangeSet is what an update or a creation would change.
type ChangeSet struct {
	// ID is the change set's ARN.
	ID, StackID, Name string
	Status            ChangeSetStatus
	StatusReason      string
	Execution         Execution
	CreatedAt         time.Time
	Description       string
	// Token is the request's ClientToken, or "".
	Token string
	// Kind is CREATE or UPDATE.
	Kind                          string
	IncludeNested, ImportExisting bool
	OnFailure                     string
	Triggers                      []Trigger
	MonitoringMinutes             *int64
	// Sealed is the Proposal.
	Sealed []byte
}

// Proposal is what is kept of a change set sealed.
type Proposal struct {
	Config  Config
	Changes []stack.Change
	// Before and After are the properties of what changes as JSON, without
	// secrets, by logical ID.
	Before, After map[string]string
}

// Open returns the change set's proposal.
func (c *ChangeSet) Open(sealer *key.Sealer) (*Proposal, error) {
	var p Proposal
	err := open(sealer, "stack-change-set/"+c.ID, c.Sealed, &p)
	return &p, err
}

// Seal replaces the change set's proposal.
func (c *ChangeSet) Seal(sealer *key.Sealer, p *Proposal) (err error) {
	c.Sealed, err = seal(sealer, "stack-change-set/"+c.ID, p)
	return err
}
