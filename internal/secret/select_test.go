package secret

import (
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
)

func TestSelect(t *testing.T) {
	const (
		forID    = "Secrets Manager can't find the specified secret value for VersionId: "
		forLabel = "Secrets Manager can't find the specified secret value for staging label: "
		apart    = "You provided a VersionStage that is not associated to the provided VersionId."
	)
	s := newSecret()
	for _, id := range []string{"old", "v1", "v2"} {
		mustPut(t, s, id)
	}
	s.Versions = append(s.Versions, Version{ID: "empty", Labels: []string{Pending}})
	for _, tc := range []struct {
		id, label, want string
		kind            fault.Kind
		text            string
	}{
		{"", "", "v2", "", ""},
		{"", Current, "v2", "", ""},
		{"", Previous, "v1", "", ""},
		{"v1", "", "v1", "", ""},
		{"v1", Previous, "v1", "", ""},
		{"old", "", "old", "", ""},
		{"", Pending, "", fault.NotFound, forLabel + Pending},
		{"", "none", "", fault.NotFound, forLabel + "none"},
		{"empty", "", "", fault.NotFound, forID + "empty"},
		{"empty", Pending, "", fault.NotFound, forLabel + Pending},
		{"empty", Current, "", fault.State, apart},
		{"v1", Current, "", fault.State, apart},
		{"v9", "", "", fault.NotFound, forID + "v9"},
		{"v9", Current, "", fault.NotFound, forID + "v9"},
	} {
		v, err := s.Select(tc.id, tc.label)
		if tc.want == "" {
			wantFault(t, err, tc.kind, tc.text)
			continue
		}
		if err != nil || v.ID != tc.want {
			t.Errorf("Select(%q, %q) = %v, %v; want %s", tc.id, tc.label, v, err, tc.want)
		}
	}
	_, err := newSecret().Select("", "")
	wantFault(t, err, fault.NotFound, forLabel+Current)
	wantFault(t, NotFound(), fault.NotFound, "Secrets Manager can't find the specified secret.")
}
