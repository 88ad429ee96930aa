package store

import (
	"encoding/json"
	"fmt"
)

// tag is any record's tag.
type tag interface{ ~struct{ Key, Value string } }

// formatTags returns the stored form of tags: a JSON list of pairs, or ""
// for nil.
func formatTags[T tag](tags []T) string {
	if tags == nil {
		return ""
	}
	pairs := make([][2]string, len(tags))
	for i, t := range tags {
		t := struct{ Key, Value string }(t)
		pairs[i] = [2]string{t.Key, t.Value}
	}
	b, _ := json.Marshal(pairs) // strings always encode
	return string(b)
}

func parseTags[T tag](s string) ([]T, error) {
	if s == "" {
		return nil, nil
	}
	var pairs [][2]string
	if err := json.Unmarshal([]byte(s), &pairs); err != nil {
		return nil, fmt.Errorf("reading tags: %w", err)
	}
	tags := make([]T, len(pairs))
	for i, p := range pairs {
		tags[i] = T(struct{ Key, Value string }{p[0], p[1]})
	}
	return tags, nil
}
