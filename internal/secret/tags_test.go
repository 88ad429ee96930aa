package secret

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
)

func TestTags(t *testing.T) {
	s := newSecret()
	now := start.Add(time.Hour)
	for _, step := range []struct {
		name string
		do   func() error
		want []Tag
	}{
		{"untag what never had tags", func() error { return s.RemoveTags([]string{"x"}, now) }, nil},
		{"tag with nothing", func() error { return s.AddTags(nil, now) }, nil},
		{"add", func() error { return s.AddTags([]Tag{{"b", "1"}, {"a", "2"}}, now) }, []Tag{{"b", "1"}, {"a", "2"}}},
		{"merge", func() error { return s.AddTags([]Tag{{"c", "3"}, {"b", "4"}}, now) }, []Tag{{"b", "4"}, {"a", "2"}, {"c", "3"}}},
		{"case counts", func() error { return s.AddTags([]Tag{{"B", ""}}, now) }, []Tag{{"b", "4"}, {"a", "2"}, {"c", "3"}, {"B", ""}}},
		{"remove some", func() error { return s.RemoveTags([]string{"a", "B", "none"}, now) }, []Tag{{"b", "4"}, {"c", "3"}}},
		{"remove all", func() error { return s.RemoveTags([]string{"b", "c"}, now) }, []Tag{}},
		{"remove again", func() error { return s.RemoveTags([]string{"b"}, now) }, []Tag{}},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(step.want, s.Tags); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if !s.ChangedAt.Equal(now) {
		t.Errorf("ChangedAt = %v, want %v", s.ChangedAt, now)
	}
}

func TestTagsRefused(t *testing.T) {
	s := newSecret()
	s.Tags = []Tag{{"aws:rds:primaryDBInstanceArn", "x"}}
	var fifty []Tag
	for i := range MaxTags {
		fifty = append(fifty, Tag{Key: fmt.Sprint(i)})
	}
	for _, tc := range []struct {
		tags []Tag
		text string
	}{
		{[]Tag{{"a", "1"}, {"a", "2"}}, "Duplicate tag keys are not allowed: a"},
		{[]Tag{{"", "1"}}, "A tag must have a key."},
		{[]Tag{{"aws:x", "1"}}, "Tag keys that start with aws: are reserved for AWS use."},
		{[]Tag{{"AWS:x", "1"}}, "Tag keys that start with aws: are reserved for AWS use."},
		{append([]Tag{{"more", ""}}, fifty...), "A secret can have at most 50 tags."},
	} {
		before := s.Clone()
		wantFault(t, s.AddTags(tc.tags, start), fault.Parameter, tc.text)
		if diff := cmp.Diff(before, s); diff != "" {
			t.Errorf("a refused call changed the secret (-before +after):\n%s", diff)
		}
	}
	if err := s.AddTags(fifty, start); err != nil {
		t.Errorf("fifty tags beside an AWS tag: %v", err)
	}
	wantFault(t, s.AddTags([]Tag{{"more", ""}}, start), fault.Parameter, "A secret can have at most 50 tags.")
	if err := s.AddTags([]Tag{{"7", "changed"}}, start); err != nil {
		t.Errorf("changing one of fifty tags: %v", err)
	}
	if err := s.RemoveTags([]string{"aws:rds:primaryDBInstanceArn"}, start); !fault.Is(err, fault.Parameter) {
		t.Errorf("removing an AWS tag: got %v, want %s", err, fault.Parameter)
	}
}
