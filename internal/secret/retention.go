package secret

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// How many versions a secret keeps, and how long a version is safe from the
// purge whatever their number (AWS docs: "about 100", 24 hours).
const (
	KeptVersions   = 100
	SafeVersionAge = 24 * time.Hour
)

// Purgeable returns the IDs of the versions to remove so that KeptVersions
// stay, oldest first. A version with a label or made within SafeVersionAge
// never goes, so more than KeptVersions may stay.
func (s *Secret) Purgeable(now time.Time) []string {
	var ids []string
	for i := range s.Versions {
		if len(s.Versions)-len(ids) <= KeptVersions {
			break
		}
		if s.Versions[i].expendable(now) {
			ids = append(ids, s.Versions[i].ID)
		}
	}
	return ids
}

// Purge removes the versions that Purgeable names and returns their IDs.
func (s *Secret) Purge(now time.Time) []string {
	ids := s.Purgeable(now)
	for _, id := range ids {
		s.removeVersion(id)
	}
	return ids
}

func (s *Secret) removeVersion(id string) {
	s.Versions = slices.DeleteFunc(s.Versions, func(v Version) bool { return v.ID == id })
}

func (v *Version) expendable(now time.Time) bool {
	return len(v.Labels) == 0 && now.Sub(v.CreatedAt) > SafeVersionAge
}

// checkVersionLimit refuses one more version when those that may not be
// purged already fill the secret. AWS's text is not known.
func (s *Secret) checkVersionLimit(now time.Time) error {
	kept := 0
	for i := range s.Versions {
		if !s.Versions[i].expendable(now) {
			kept++
		}
	}
	if kept >= KeptVersions {
		return fault.New(fault.Limit, "A secret can have at most %d versions that have a staging label or are less than 24 hours old.", KeptVersions)
	}
	return nil
}
