package iam

import (
	"slices"
	"strings"
	"testing"
)

// Tags are found without regard to the case of their keys, always the same one
// of several, and their keys are listed in order.
func TestTagContext(t *testing.T) {
	tags := map[string]string{"team": "red", "Team": "blue", "TEAM": "green", "cost/center": "7"}
	for range 20 { // maps have no order of their own
		c := TagContext("aws:requesttag/", "aws:tagkeys", tags)
		for key, want := range map[string]string{
			"aws:requesttag/team": "green", "aws:requesttag/cost/center": "7", "aws:requesttag/none": "", "aws:requesttag/": "",
			"aws:tagkeys": "TEAM,Team,cost/center,team", "aws:resourcetag/team": "",
		} {
			if got := strings.Join(c(key).Strings(), ","); got != want {
				t.Fatalf("%s: got %q, want %q", key, got, want)
			}
		}
	}
	if v := TagContext("aws:resourcetag/", "", tags)(""); !v.IsZero() {
		t.Errorf("no key: got %v", v.Strings())
	}
	if v := TagContext("aws:requesttag/", "aws:tagkeys", nil)("aws:tagkeys"); !v.IsZero() {
		t.Errorf("no tags: got %v", v.Strings())
	}
}

// Tags of a request are found without regard to case, the first of several
// with one name, and their keys are listed as they came.
func TestRequestTags(t *testing.T) {
	tags := []struct{ Key, Value string }{{"Team", "blue"}, {"team", "red"}, {"cost/center", "7"}, {"empty", ""}}
	for key, want := range map[string][]string{
		"aws:requesttag/team": {"blue"}, "aws:requesttag/cost/center": {"7"}, "aws:requesttag/empty": {""},
		"aws:requesttag/none": nil, "aws:requesttag/": nil,
		"aws:tagkeys": {"Team", "team", "cost/center", "empty"}, "aws:resourcetag/team": nil,
	} {
		if got := RequestTags(key, tags).Strings(); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	if v := RequestTags[Tag]("aws:tagkeys", nil); !v.IsZero() {
		t.Errorf("no tags: got %v", v.Strings())
	}
}

// A resource's tags have two names, and one with an empty value is there.
func TestResourceTags(t *testing.T) {
	tags := []Tag{{"Team", "blue"}, {"empty", ""}}
	for key, want := range map[string][]string{
		"aws:resourcetag/team": {"blue"}, "iam:resourcetag/team": {"blue"}, "iam:resourcetag/empty": {""},
		"iam:resourcetag/none": nil, "aws:requesttag/team": nil, "aws:tagkeys": nil,
	} {
		if got := ResourceTags(key, tags).Strings(); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}
