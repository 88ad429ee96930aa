package key

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// Why a key cannot be used, beside the kinds of package fault. KMS has a code
// for each; Secrets Manager turns both into its own two.
const (
	KeyDisabled fault.Kind = "key disabled"
	KeyState    fault.Kind = "key in an invalid state"
)

// CheckUsable refuses cryptographic use of a key that is not enabled, with
// KeyDisabled or KeyState (AWS: recorded).
func (r *Record) CheckUsable() error {
	switch r.State {
	case Enabled:
		return nil
	case Disabled:
		return fault.New(KeyDisabled, "%s is disabled.", r.ARN())
	case PendingDeletion:
		return fault.New(KeyState, "%s is pending deletion.", r.ARN())
	}
	return fault.New(KeyState, "%s is in state %s.", r.ARN(), r.State)
}

// CheckKept refuses, with KeyState, to change a key that is to be deleted;
// a disabled one may change (AWS docs).
func (r *Record) CheckKept() error {
	if r.State == PendingDeletion {
		return r.CheckUsable()
	}
	return nil
}

// Clone returns a copy that shares nothing that changes; the bytes of wrapped
// material never do.
func (r *Record) Clone() *Record {
	c := *r
	c.Tags, c.Material = slices.Clone(r.Tags), slices.Clone(r.Material)
	return &c
}

// Enable makes the key usable again. The error is KeyState.
func (r *Record) Enable() error {
	if err := r.CheckKept(); err != nil {
		return err
	}
	r.State = Enabled
	return nil
}

// Disable stops every use of the key. The error is KeyState.
func (r *Record) Disable() error {
	if err := r.CheckKept(); err != nil {
		return err
	}
	r.State = Disabled
	return nil
}

// The bounds of the days between ScheduleDeletion and the deletion, and what
// they are unless told otherwise (AWS docs).
const (
	MinDeletionDays     = 7
	MaxDeletionDays     = 30
	DefaultDeletionDays = 30
)

// ScheduleDeletion stops every use of the key, which goes for ever after the
// days given; their bounds are for the caller to check. The error is
// KeyState.
func (r *Record) ScheduleDeletion(now time.Time, days int) error {
	if err := r.CheckKept(); err != nil {
		return err
	}
	r.State, r.DeleteAt = PendingDeletion, now.AddDate(0, 0, days).Truncate(time.Millisecond)
	return nil
}

// CancelDeletion leaves the key disabled (AWS docs). The error is KeyState.
func (r *Record) CancelDeletion() error {
	if r.State != PendingDeletion {
		return fault.New(KeyState, "%s is not pending deletion.", r.ARN())
	}
	r.State, r.DeleteAt = Disabled, time.Time{}
	return nil
}

// Expired reports whether the key's waiting period is over.
func (r *Record) Expired(now time.Time) bool {
	return r.State == PendingDeletion && !r.DeleteAt.After(now)
}
