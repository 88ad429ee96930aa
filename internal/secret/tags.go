package secret

import (
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// AddTags merges the tags by key: a key that is there keeps its place and
// gets the new value, others go to the end (AWS: recorded).
//
// Errors: fault.Parameter for a missing or repeated key, the reserved prefix
// aws:, or more than MaxTags tags; AWS's texts are not known. After an error
// s is unchanged.
func (s *Secret) AddTags(tags []Tag, now time.Time) error {
	if slices.ContainsFunc(tags, func(t Tag) bool { return reservedKey(t.Key) }) {
		return errReservedTag()
	}
	return s.AddSystemTags(tags, now)
}

// AddSystemTags is AddTags for AWS's services, which may set tags with the
// reserved prefix.
func (s *Secret) AddSystemTags(tags []Tag, now time.Time) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	merged := slices.Clone(s.Tags)
	for _, tag := range tags {
		i := slices.IndexFunc(merged, func(t Tag) bool { return t.Key == tag.Key })
		if i < 0 {
			merged = append(merged, tag)
		} else {
			merged[i] = tag
		}
	}
	if countUserTags(merged) > MaxTags {
		return errTooManyTags()
	}
	s.Tags = merged
	if len(tags) > 0 {
		s.touch(now)
	}
	return nil
}

// RemoveTags removes the tags with the keys; unknown keys are ignored (AWS
// docs). When the last tag goes, Tags becomes empty but not nil. The error is
// fault.Parameter for a key with the reserved prefix aws:.
func (s *Secret) RemoveTags(keys []string, now time.Time) error {
	if slices.ContainsFunc(keys, reservedKey) {
		return errReservedTag()
	}
	return s.RemoveSystemTags(keys, now)
}

// RemoveSystemTags is RemoveTags for AWS's services, which may remove tags
// with the reserved prefix.
func (s *Secret) RemoveSystemTags(keys []string, now time.Time) error {
	kept := slices.DeleteFunc(slices.Clone(s.Tags), func(t Tag) bool {
		return slices.Contains(keys, t.Key)
	})
	if len(kept) == len(s.Tags) {
		return nil
	}
	s.Tags = kept
	s.touch(now)
	return nil
}

// checkTags applies the rules of AddTags that a list of tags can break by
// itself, but for the reserved prefix.
func checkTags(tags []Tag) error {
	seen := make(map[string]bool, len(tags))
	for _, tag := range tags {
		switch {
		case tag.Key == "":
			return fault.New(fault.Parameter, "A tag must have a key.")
		case seen[tag.Key]:
			return fault.New(fault.Parameter, "Duplicate tag keys are not allowed: %s", tag.Key)
		}
		seen[tag.Key] = true
	}
	if countUserTags(tags) > MaxTags {
		return errTooManyTags()
	}
	return nil
}

func reservedKey(key string) bool {
	return len(key) >= 4 && strings.EqualFold(key[:4], "aws:")
}

// countUserTags leaves out the tags that AWS services set; they have no limit.
func countUserTags(tags []Tag) int {
	n := 0
	for _, tag := range tags {
		if !reservedKey(tag.Key) {
			n++
		}
	}
	return n
}

func errReservedTag() *fault.Error {
	return fault.New(fault.Parameter, "Tag keys that start with aws: are reserved for AWS use.")
}

func errTooManyTags() *fault.Error {
	return fault.New(fault.Parameter, "A secret can have at most %d tags.", MaxTags)
}
