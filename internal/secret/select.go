package secret

import "github.com/keyturn/keyturn/internal/fault"

// Select returns the version that a read asks for by ID, by staging label, by
// both, or by neither, which means AWSCURRENT. A version without a value is
// not found, as is a rotation's empty placeholder on AWS. The pointer is into
// s.
//
// Errors: fault.NotFound when there is no such value, fault.State when ID and
// label both exist but do not belong together (AWS: recorded). Which of its
// two texts AWS uses for an empty version asked for by both is not known; it
// is the label's here.
func (s *Secret) Select(id, label string) (*Version, error) {
	if id == "" {
		if label == "" {
			label = Current
		}
		if v := s.Holder(label); v != nil && v.HasValue {
			return v, nil
		}
		return nil, noValueForLabel(label)
	}
	v := s.Version(id)
	switch {
	case v == nil:
		return nil, noValueForID(id)
	case label != "" && !v.Has(label):
		return nil, fault.New(fault.State, "You provided a VersionStage that is not associated to the provided VersionId.")
	case v.HasValue:
		return v, nil
	case label != "":
		return nil, noValueForLabel(label)
	}
	return nil, noValueForID(id)
}

func noValueForID(id string) *fault.Error {
	return fault.New(fault.NotFound, "Secrets Manager can't find the specified secret value for VersionId: %s", id)
}

func noValueForLabel(label string) *fault.Error {
	return fault.New(fault.NotFound, "Secrets Manager can't find the specified secret value for staging label: %s", label)
}

// NotFound is the error for a secret that does not exist (AWS: recorded).
func NotFound() *fault.Error {
	return fault.New(fault.NotFound, "Secrets Manager can't find the specified secret.")
}
