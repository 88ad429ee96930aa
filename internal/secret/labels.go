package secret

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// Effect tells what putting a value did beside storing it.
type Effect struct {
	// Current is the ID of the version that AWSCURRENT moved to; "" when it
	// stayed where it was.
	Current string
	// Abandoned is the ID of a version, other than the former current one,
	// that lost AWSPENDING because a new current value came in: a rotation
	// was in progress there. "" when there was none.
	Abandoned string
}

// Put adds a version with a value, or fills the empty placeholder with v's
// ID, and gives it the staging labels; no labels means AWSCURRENT. The
// secret's first version gets AWSCURRENT in any case (AWS docs); a placeholder
// does not, so that a rotation of a secret without a value can still be tested
// before its value counts (AWS: recorded through the generic template).
//
// v.CreatedAt is the time of the call; v.Labels is ignored. Each label is
// taken from its holder, and AWSPREVIOUS follows AWSCURRENT (AWS: recorded).
// When AWSCURRENT moves and AWSPENDING is not named, AWSPENDING leaves
// whichever version has it; see Effect. Callers decide on idempotency first,
// with DecidePut.
//
// Errors: fault.Limit for too many labels or versions, fault.Parameter for
// AWSPREVIOUS beside AWSCURRENT, fault.Exists for a version that has its
// value. After an error s is unchanged.
func (s *Secret) Put(v Version, stages []string) (Effect, error) {
	now := v.CreatedAt
	old := s.Version(v.ID)
	if old != nil && old.HasValue {
		return Effect{}, s.tokenInUse(v.ID)
	}
	if old == nil {
		if err := s.checkVersionLimit(now); err != nil {
			return Effect{}, err
		}
	}
	stages = s.stagesFor(old == nil, stages)
	makesCurrent := slices.Contains(stages, Current)
	if makesCurrent && slices.Contains(stages, Previous) {
		return Effect{}, errPreviousOnCurrent()
	}
	effect := s.effectOf(v.ID, makesCurrent)
	err := s.change(now, func() {
		s.store(v)
		for _, label := range stages {
			s.attach(label, v.ID)
		}
		if makesCurrent && !slices.Contains(stages, Pending) {
			s.detach(Pending)
		}
	})
	if err != nil {
		return Effect{}, err
	}
	if effect.Current != "" && old == nil && s.Rotation.Enabled {
		s.Rotation.ValueChangedAt = milliseconds(now)
	}
	return effect, nil
}

// effectOf foretells what becomes of AWSCURRENT and of a rotation in progress
// when version id gets its value.
func (s *Secret) effectOf(id string, makesCurrent bool) Effect {
	var e Effect
	if !makesCurrent {
		return e
	}
	if c := s.Holder(Current); c == nil || c.ID != id {
		e.Current = id
	}
	if p := s.Unfinished(); p != nil && p.ID != id {
		e.Abandoned = p.ID
	}
	return e
}

// stagesFor returns the labels that a put really sets, each once.
func (s *Secret) stagesFor(isNew bool, stages []string) []string {
	stages = slices.Clone(stages)
	if len(stages) == 0 || isNew && s.Holder(Current) == nil {
		stages = append(stages, Current)
	}
	slices.Sort(stages)
	return slices.Compact(stages)
}

// store appends v without labels, or copies its value into the placeholder.
func (s *Secret) store(v Version) {
	v.HasValue = true
	v.Labels = nil
	v.CreatedAt = milliseconds(v.CreatedAt)
	if old := s.Version(v.ID); old != nil {
		v.Labels, v.CreatedAt = old.Labels, old.CreatedAt
		*old = v
		return
	}
	s.Versions = append(s.Versions, v)
}

// UpdateVersionStage moves the label to version moveTo, taking it from
// removeFrom, or removes it from removeFrom when moveTo is empty. Empty IDs
// mean that the member was not given.
//
// AWSPREVIOUS follows AWSCURRENT, and AWSPENDING stays on the version that
// becomes current (AWS: recorded). A label that is already on moveTo stays
// there and the call succeeds whatever removeFrom says, so that a repeated
// call is harmless (assumed). A version without a value takes no label.
//
// Errors: fault.Parameter and fault.NotFound with AWS's texts where those are
// known, fault.Limit for a label too many. After an error s is unchanged.
func (s *Secret) UpdateVersionStage(label, removeFrom, moveTo string, now time.Time) error {
	if removeFrom == "" && moveTo == "" {
		return fault.New(fault.Parameter, "You must provide a value for RemoveFromVersionId, MoveToVersionId, or both.")
	}
	if moveTo == "" && label == Current {
		return fault.New(fault.Parameter, "You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed.")
	}
	if removeFrom != "" && s.Version(removeFrom) == nil {
		return noValueForID(removeFrom)
	}
	if moveTo == "" {
		return s.removeLabel(label, removeFrom, now)
	}
	if to := s.Version(moveTo); to == nil || !to.HasValue {
		return noValueForID(moveTo)
	}
	return s.moveLabel(label, removeFrom, moveTo, now)
}

func (s *Secret) removeLabel(label, from string, now time.Time) error {
	if !s.Version(from).Has(label) {
		return fault.New(fault.Parameter, "Staging label %s is not attached to version %s.", label, from)
	}
	return s.change(now, func() { s.detach(label) })
}

func (s *Secret) moveLabel(label, from, to string, now time.Time) error {
	holder := s.Holder(label)
	switch {
	case holder != nil && holder.ID == to:
		return nil
	case holder != nil && from == "":
		return fault.New(fault.Parameter, "The parameter RemoveFromVersionId can't be empty. "+
			"Staging label %s is currently attached to version %s, "+
			"so you must explicitly reference that version in RemoveFromVersionId.", label, holder.ID)
	case from != "" && (holder == nil || holder.ID != from):
		return fault.New(fault.Parameter, "When you move staging label %s, if you specify RemoveFromVersionId, "+
			"it must be set to the version that currently has the staging label %s.", label, label)
	case label == Previous && s.Version(to).Has(Current):
		return errPreviousOnCurrent()
	}
	return s.change(now, func() { s.attach(label, to) })
}

// change runs fn on a copy of the versions, drops what fn emptied and counts
// the labels; past the limit the versions are as before.
func (s *Secret) change(now time.Time, fn func()) error {
	before := s.Versions
	s.Versions = slices.Clone(before)
	fn()
	labels := 0
	for i := range s.Versions {
		labels += len(s.Versions[i].Labels)
	}
	if labels > MaxLabels {
		s.Versions = before
		return fault.New(fault.Limit, "A secret can have at most %d staging labels across all its versions.", MaxLabels)
	}
	s.dropEmpty()
	s.touch(now)
	return nil
}

// attach puts the label on the version, taking it from its holder. Label
// slices are replaced, never written to, because copies of s share them.
func (s *Secret) attach(label, id string) {
	to, from := s.Version(id), s.Holder(label)
	if from == to {
		return
	}
	if from != nil {
		from.Labels = without(from.Labels, label)
	}
	to.Labels = with(to.Labels, label)
	if label != Current {
		return
	}
	if from != nil || to.Has(Previous) {
		s.detach(Previous)
	}
	if from != nil {
		from.Labels = with(without(from.Labels, Pending), Previous)
	}
}

// detach takes the label from its holder, if any.
func (s *Secret) detach(label string) {
	if v := s.Holder(label); v != nil {
		v.Labels = without(v.Labels, label)
	}
}

// dropEmpty removes placeholders that lost their last label: they hold
// nothing that anyone could read or label again.
func (s *Secret) dropEmpty() {
	s.Versions = slices.DeleteFunc(s.Versions, func(v Version) bool {
		return !v.HasValue && len(v.Labels) == 0
	})
}

// touch sets LastChangedDate.
func (s *Secret) touch(now time.Time) { s.ChangedAt = milliseconds(now) }

func milliseconds(t time.Time) time.Time { return t.Truncate(time.Millisecond) }

func with(labels []string, label string) []string {
	i, found := slices.BinarySearch(labels, label)
	if found {
		return labels
	}
	return slices.Insert(slices.Clone(labels), i, label)
}

func without(labels []string, label string) []string {
	i, found := slices.BinarySearch(labels, label)
	if !found {
		return labels
	}
	return slices.Delete(slices.Clone(labels), i, i+1)
}

func errPreviousOnCurrent() *fault.Error {
	return fault.New(fault.Parameter, "Staging labels AWSCURRENT and AWSPREVIOUS can't be attached to the same version.")
}
