package iam

import (
	"cmp"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxTags is the limit of a resource's tags (AWS docs).
const maxTags = 50

func requestTags(list []api.Tag) []iam.Tag {
	tags := make([]iam.Tag, len(list))
	for i, t := range list {
		tags[i] = iam.Tag{Key: *t.Key, Value: *t.Value}
	}
	return tags
}

func shownTags(tags []iam.Tag) []api.Tag {
	list := make([]api.Tag, len(tags))
	for i := range tags {
		list[i] = api.Tag{Key: &tags[i].Key, Value: &tags[i].Value}
	}
	return list
}

// someTags are the tags in an answer that leaves an empty list out.
func someTags(tags []iam.Tag) []api.Tag {
	if len(tags) == 0 {
		return nil
	}
	return shownTags(tags)
}

// addTags merges tags by key, without regard to case (AWS docs). quota is
// what AWS calls the limit. Keys that start with aws: are for AWS's services,
// and without a limit.
func addTags(call *wire.Call, tags []iam.Tag, add []api.Tag, quota string) ([]iam.Tag, error) {
	seen := map[string]bool{}
	for _, t := range add {
		folded := strings.ToLower(*t.Key)
		if seen[folded] {
			return nil, fault.New(fault.Parameter, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		if call.By == "" && reserved(folded) { // text assumed
			return nil, fault.New(fault.Parameter, "aws: prefixed tag key names are not allowed for external use.")
		}
		seen[folded] = true
		tags = slices.DeleteFunc(tags, func(old iam.Tag) bool { return strings.ToLower(old.Key) == folded })
		tags = append(tags, iam.Tag{Key: *t.Key, Value: *t.Value})
	}
	if userTags := slices.DeleteFunc(slices.Clone(tags), func(t iam.Tag) bool { return reserved(t.Key) }); len(userTags) > maxTags {
		return nil, fault.New(fault.Limit, "Cannot exceed quota for %s: %d", quota, maxTags)
	}
	return tags, nil
}

func reserved(key string) bool { return strings.HasPrefix(strings.ToLower(key), "aws:") }

// removeTags takes tags away; keys that are not there are passed over, and so
// are those of AWS's services unless one of them asks.
func removeTags(call *wire.Call, tags []iam.Tag, keys []string) []iam.Tag {
	return slices.DeleteFunc(tags, func(t iam.Tag) bool {
		return (call.By != "" || !reserved(t.Key)) && slices.ContainsFunc(keys, func(key string) bool { return strings.EqualFold(key, t.Key) })
	})
}

// pageOfTags lists tags by key, with the marker of the next page and whether
// there is one.
func pageOfTags(tags []iam.Tag, marker *string, size *int64) (list []api.Tag, next *string, more *bool) {
	sorted := slices.SortedFunc(slices.Values(tags), func(a, b iam.Tag) int { return cmp.Compare(a.Key, b.Key) })
	part, next := page(sorted, func(t iam.Tag) string { return t.Key }, marker, size)
	return shownTags(part), next, new(next != nil)
}
