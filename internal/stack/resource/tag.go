package resource

import (
	"maps"
	"slices"
)

// tag is one tag in a template.
type tag struct{ Key, Value string }

// tags are a resource's own tags in a template.
type tags []tag

// with returns the resource's own tags together with the stack's, in whose
// place they stand.
func (t tags) with(inherited map[string]string) map[string]string {
	all := maps.Clone(inherited)
	if all == nil {
		all = map[string]string{}
	}
	for _, one := range t {
		all[one.Key] = one.Value
	}
	return all
}

// tagChange says what an update does to tags.
type tagChange struct {
	set  map[string]string
	drop []string
}

// tagsChanged compares the tags before and after an update.
func (r *Request) tagsChanged(old, new tags) tagChange {
	before, after := old.with(r.PreviousTags), new.with(r.Tags)
	c := tagChange{set: map[string]string{}}
	for key, value := range after {
		if was, ok := before[key]; !ok || was != value {
			c.set[key] = value
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if _, kept := after[key]; !kept {
			c.drop = append(c.drop, key)
		}
	}
	return c
}

// sortedTags lists tags by key in a service's form.
func sortedTags[T any](all map[string]string, form func(key, value *string) T) []T {
	list := make([]T, 0, len(all))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		list = append(list, form(new(key), new(all[key])))
	}
	return list
}

// ours reports whether the resource with the physical ID, which exists
// already, may have been made by this request, as its tags tell.
func (r *Request) ours(id string, tag func(key string) string) bool {
	return r.Resumed && id != r.Replaces && tag(tagStackID) == r.Stack.ID && tag(tagLogicalID) == r.LogicalID
}
