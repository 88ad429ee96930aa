package record

import (
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/key"
)

// Place is what has become of a resource since its stack was last stable.
type Place string

// The places.
const (
	// Kept is as it was.
	Kept Place = ""
	// Created was made since; a rollback deletes it.
	Created Place = "created"
	// Updated was changed where it stands; a rollback changes it back.
	Updated Place = "updated"
)

// Leaving tells whether a resource is to be deleted once the update succeeds.
type Leaving string

// The ways of leaving.
const (
	Staying Leaving = ""
	// Superseded has a replacement of the same logical ID. A rollback gives it
	// its place again, unless it is Created.
	Superseded Leaving = "superseded"
	// Removed is no longer in the template.
	Removed Leaving = "removed"
)

// Resource is one physical resource of a stack as it stands. A logical ID has
// at most one that is Current.
type Resource struct {
	// ID names the record.
	ID                       string
	StackID, LogicalID, Type string
	// PhysicalID is "" until the resource is made.
	PhysicalID   string
	Status       Status
	StatusReason string
	ChangedAt    time.Time
	Place        Place
	Leaving      Leaving
	// Operation is the one that began something with the resource last, and
	// Token what names that to the resource's service, the same after a crash.
	Operation, Token string
	// Sealed is the State.
	Sealed []byte
}

// Current reports whether the resource is what its logical ID stands for.
func (r *Resource) Current() bool { return r.Leaving != Superseded && !r.Status.Gone() }

// State is what is kept of a resource sealed.
type State struct {
	// Now is what was applied last; nil until the resource is made.
	Now *Applied
	// Stable is what a rollback leads back to; nil if that is Now, or nothing.
	Stable *Applied
	// Next is what is being applied.
	Next *Applied
	// Ref is what Ref gives, Attributes what Fn::GetAtt gives.
	Ref        string
	Attributes map[string]any
	// Memory is what the resource's handler has kept for a rollback since the
	// stack was stable.
	Memory string `json:",omitzero"`
}

// Applied is what a template makes of one resource.
type Applied struct {
	// Declared are the properties resolved but for dynamic references, which
	// is what updates compare (AWS docs).
	Declared map[string]any
	// Resolved are the properties with the values of dynamic references; nil
	// if there are none.
	Resolved map[string]any `json:",omitzero"`
	// Fetched are the values of the dynamic references themselves.
	Fetched []string `json:",omitzero"`
	// Shown are the properties as events tell them.
	Shown map[string]any `json:",omitzero"`
	// Tags are the stack's.
	Tags                                []Tag          `json:",omitzero"`
	Metadata                            map[string]any `json:",omitzero"`
	DeletionPolicy, UpdateReplacePolicy string         `json:",omitzero"`
	// DependsOn are logical IDs.
	DependsOn []string `json:",omitzero"`
	// Imports are the names of exports that the properties use.
	Imports []string `json:",omitzero"`
	// Imported are the values of Imports, while this is being worked out.
	Imported map[string]string `json:"-"`
}

// Properties are those that the resource's service is to get.
func (a *Applied) Properties() map[string]any {
	switch {
	case a == nil:
		return nil
	case a.Resolved != nil:
		return a.Resolved
	}
	return a.Declared
}

// Open returns the resource's state.
func (r *Resource) Open(sealer *key.Sealer) (*State, error) {
	var s State
	err := open(sealer, "stack-resource/"+r.ID, r.Sealed, &s)
	return &s, err
}

// Seal replaces the resource's state.
func (r *Resource) Seal(sealer *key.Sealer, s *State) (err error) {
	r.Sealed, err = seal(sealer, "stack-resource/"+r.ID, s)
	return err
}

// Event is one thing that happened to a stack or to a resource of it.
type Event struct {
	// Seq orders the events of a stack; the store sets it.
	Seq         int64
	StackID, ID string
	At          time.Time
	// LogicalID is the stack's name, PhysicalID its ARN, in events of the
	// stack itself.
	LogicalID, PhysicalID, Type string
	Status                      Status
	Reason                      string
	// ClientRequestToken is that of the request that began the operation.
	ClientRequestToken, OperationID string
	// Sealed are the resource's properties as JSON.
	Sealed []byte
}

// NewStackEvent tells of the stack itself.
func NewStackEvent(s *Stack, o *Operation, at time.Time) *Event {
	e := &Event{
		StackID: s.ID, ID: uuid.NewString(), At: at, LogicalID: s.Name, PhysicalID: s.ID, Type: Type,
		Status: s.Status, Reason: s.StatusReason,
	}
	if o != nil {
		e.ClientRequestToken, e.OperationID = o.Token, o.ID
	}
	return e
}

// NewResourceEvent tells of a resource as it stands.
func NewResourceEvent(r *Resource, o *Operation) *Event {
	return &Event{
		StackID: r.StackID, ID: r.LogicalID + "-" + string(r.Status) + "-" + r.ChangedAt.UTC().Format("2006-01-02T15:04:05.000Z"), At: r.ChangedAt,
		LogicalID: r.LogicalID, PhysicalID: r.PhysicalID, Type: r.Type, Status: r.Status, Reason: r.StatusReason,
		ClientRequestToken: o.Token, OperationID: o.ID,
	}
}

// Properties returns the resource's properties as JSON, or "".
func (e *Event) Properties(sealer *key.Sealer) (text string, err error) {
	err = open(sealer, "stack-event/"+e.ID, e.Sealed, &text)
	return text, err
}

// SealProperties keeps the resource's properties as JSON.
func (e *Event) SealProperties(sealer *key.Sealer, text string) (err error) {
	e.Sealed, err = seal(sealer, "stack-event/"+e.ID, text)
	return err
}

// Export is a value that stacks of an account and region can import.
type Export struct {
	Account, Region, Name string
	// StackID is the exporting stack's.
	StackID string
	// Sealed is the value.
	Sealed []byte
}

// Value returns the exported value.
func (x *Export) Value(sealer *key.Sealer) (v string, err error) {
	err = open(sealer, "stack-export/"+x.StackID+"/"+x.Name, x.Sealed, &v)
	return v, err
}

// Seal replaces the exported value.
func (x *Export) Seal(sealer *key.Sealer, v string) (err error) {
	x.Sealed, err = seal(sealer, "stack-export/"+x.StackID+"/"+x.Name, v)
	return err
}
