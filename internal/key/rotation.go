package key

import (
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// RotationType tells why a key got new material (AWS service model).
type RotationType string

// The rotation types.
const (
	Automatic RotationType = "AUTOMATIC"
	OnDemand  RotationType = "ON_DEMAND"
)

// The bounds of the period of automatic rotation in days, and what it is
// unless told otherwise (AWS service model). Keys of AWS's own always have the
// default period (AWS docs).
const (
	MinRotationDays     = 90
	MaxRotationDays     = 2560
	DefaultRotationDays = 365
)

// MaxOnDemand is how often a key may be rotated on demand in its life (AWS
// docs).
const MaxOnDemand = 25

// EnableRotation gives the key new material every so many days from now on.
// The same period again changes nothing, another one begins now (assumed).
// Their bounds are for the caller to check. Errors are KeyDisabled and
// KeyState.
func (r *Record) EnableRotation(now time.Time, days int) error {
	if err := r.CheckUsable(); err != nil {
		return err
	}
	if r.RotationDays != days {
		r.RotationDays, r.NextRotation = days, now.AddDate(0, 0, days).Truncate(time.Millisecond)
	}
	return nil
}

// DisableRotation ends automatic rotation. Errors are KeyDisabled and
// KeyState.
func (r *Record) DisableRotation() error {
	if err := r.CheckUsable(); err != nil {
		return err
	}
	r.RotationDays, r.NextRotation = 0, time.Time{}
	return nil
}

// Rotates reports whether automatic rotation is on. A key that is to be
// deleted does not rotate; if the deletion is cancelled, it does again (AWS
// docs).
func (r *Record) Rotates() bool { return r.RotationDays > 0 && r.State != PendingDeletion }

// RotationDue reports whether automatic rotation has to give the key new
// material. A disabled key waits until it is enabled (AWS docs).
func (r *Record) RotationDue(now time.Time) bool {
	return r.State == Enabled && r.RotationDays > 0 && !r.NextRotation.After(now)
}

// RotateAutomatically appends material that was due. The next rotation comes
// one period after this one was due, or after now if that has passed, too
// (AWS docs).
func (r *Record) RotateAutomatically(m Material, now time.Time) {
	m.Rotation = Automatic
	r.Material = append(r.Material, m)
	next := r.NextRotation.AddDate(0, 0, r.RotationDays)
	if !next.After(now) {
		next = now.AddDate(0, 0, r.RotationDays).Truncate(time.Millisecond)
	}
	r.NextRotation = next
}

// CheckRotatable refuses rotation on demand: KeyDisabled, KeyState, or
// fault.Limit after MaxOnDemand of them.
func (r *Record) CheckRotatable() error {
	if err := r.CheckUsable(); err != nil {
		return err
	}
	n := 0
	for i := range r.Material {
		if r.Material[i].Rotation == OnDemand {
			n++
		}
	}
	if n >= MaxOnDemand {
		return fault.New(fault.Limit, "The on-demand rotations limit has been reached for the given keyId. "+
			"No more on-demand rotations can be performed for this key: %s", r.ID) // AWS: reported
	}
	return nil
}

// RotateOnDemand appends material now; automatic rotation keeps its days (AWS
// docs). Errors are those of CheckRotatable.
func (r *Record) RotateOnDemand(m Material) error {
	if err := r.CheckRotatable(); err != nil {
		return err
	}
	m.Rotation = OnDemand
	r.Material = append(r.Material, m)
	return nil
}
