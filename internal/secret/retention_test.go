package secret

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
)

// withVersions returns a secret that got n values, one a minute from start.
func withVersions(t *testing.T, n int) *Secret {
	t.Helper()
	s := newSecret()
	for i := range n {
		v := Version{ID: fmt.Sprintf("v%03d", i), CreatedAt: start.Add(time.Duration(i) * time.Minute)}
		if _, err := s.Put(v, nil); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestPurgeable(t *testing.T) {
	s := withVersions(t, KeptVersions)
	for i := range 5 {
		s.Versions = append(s.Versions, Version{ID: fmt.Sprintf("w%d", i), HasValue: true, CreatedAt: start.Add(time.Hour)})
	}
	if err := s.UpdateVersionStage("keep", "", "v001", start); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		age  time.Duration // of v000
		want []string
	}{
		{SafeVersionAge, nil},
		{SafeVersionAge + time.Second, []string{"v000"}},
		{SafeVersionAge + 3*time.Minute + time.Second, []string{"v000", "v002", "v003"}},
		{48 * time.Hour, []string{"v000", "v002", "v003", "v004", "v005"}},
	} {
		if diff := cmp.Diff(tc.want, s.Purgeable(start.Add(tc.age))); diff != "" {
			t.Errorf("after %v (-want +got):\n%s", tc.age, diff)
		}
	}
	s.Purge(start.Add(48 * time.Hour))
	if len(s.Versions) != KeptVersions || s.Version("v000") != nil || s.Version("v001") == nil {
		t.Errorf("got %d versions after the purge, want %d with v001 among them", len(s.Versions), KeptVersions)
	}
	if got := s.Purgeable(start.Add(96 * time.Hour)); got != nil {
		t.Errorf("got %v, want nothing to purge at %d versions", got, KeptVersions)
	}
}

func TestVersionLimit(t *testing.T) {
	s := withVersions(t, KeptVersions)
	const text = "A secret can have at most 100 versions that have a staging label or are less than 24 hours old."
	_, err := s.Put(Version{ID: "more", CreatedAt: start.Add(2 * time.Hour)}, nil)
	wantFault(t, err, fault.Limit, text)
	_, err = s.BeginRotation(nil, RotationStart{Token: "more", Now: start.Add(2 * time.Hour)})
	wantFault(t, err, fault.Limit, text)
	if len(s.Versions) != KeptVersions {
		t.Errorf("got %d versions, want %d", len(s.Versions), KeptVersions)
	}
	if _, err = s.Put(Version{ID: "more", CreatedAt: start.Add(SafeVersionAge + time.Minute)}, nil); err != nil {
		t.Errorf("a day later: %v", err)
	}
}
