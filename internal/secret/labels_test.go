package secret

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newSecret() *Secret {
	return &Secret{ID: "1", Account: "123456789012", Region: "us-east-1", Name: "app/db", Suffix: "AbCdEf", CreatedAt: start}
}

// putValue is Put of a version with nothing but an ID.
func (s *Secret) putValue(id string, stages ...string) (Effect, error) {
	return s.Put(Version{ID: id, CreatedAt: start}, stages)
}

func mustPut(t *testing.T, s *Secret, id string, stages ...string) Effect {
	t.Helper()
	e, err := s.putValue(id, stages...)
	if err != nil {
		t.Fatalf("put %s %v: %v", id, stages, err)
	}
	return e
}

// show prints the versions that have labels, as the vectors write them.
func show(s *Secret) string {
	var out []string
	for _, v := range s.Versions {
		if len(v.Labels) > 0 {
			out = append(out, v.ID+"["+strings.Join(v.Labels, ",")+"]")
		}
	}
	return strings.Join(out, " ")
}

// play runs one step of a vector: "put v2 [A,B]", "move L v1 v2" or
// "remove L v2".
func play(s *Secret, step string) error {
	f := strings.Fields(step)
	switch f[0] {
	case "put":
		var stages []string
		if len(f) > 2 {
			stages = strings.Split(strings.Trim(f[2], "[]"), ",")
		}
		_, err := s.putValue(f[1], stages...)
		return err
	case "move":
		return s.UpdateVersionStage(f[1], f[2], f[3], start)
	case "remove":
		return s.UpdateVersionStage(f[1], f[2], "", start)
	}
	return fmt.Errorf("unknown step %q", step)
}

func TestLabelVectors(t *testing.T) {
	for _, tc := range []struct{ name, steps, want string }{
		{"A1", "put v1", "v1[AWSCURRENT]"},
		{"A2", "put v1; put v2", "v1[AWSPREVIOUS] v2[AWSCURRENT]"},
		{"A3", "put v1; put v2; put v3", "v2[AWSPREVIOUS] v3[AWSCURRENT]"},
		{"B1", "put v1; put v2 [AWSPENDING]", "v1[AWSCURRENT] v2[AWSPENDING]"},
		{"B2", "put v1; put v2 [AWSPENDING]; move AWSCURRENT v1 v2", "v1[AWSPREVIOUS] v2[AWSCURRENT,AWSPENDING]"},
		{"B3", "put v1; put v2 [AWSPENDING]; move AWSCURRENT v1 v2; put v3", "v2[AWSPREVIOUS] v3[AWSCURRENT]"},
		{
			"C1", "put v1; put v2 [AWSPENDING]; move AWSCURRENT v1 v2; put v3 [AWSPENDING]",
			"v1[AWSPREVIOUS] v2[AWSCURRENT] v3[AWSPENDING]",
		},
		{
			"C2", "put v1; put v2 [AWSPENDING]; move AWSCURRENT v1 v2; put v3 [AWSPENDING]; move AWSCURRENT v2 v3",
			"v2[AWSPREVIOUS] v3[AWSCURRENT,AWSPENDING]",
		},
		{
			"D1", "put v1; put v2 [AWSPENDING,AWSSOMETHING,PUT1]; move AWSCURRENT v1 v2",
			"v1[AWSPREVIOUS] v2[AWSCURRENT,AWSPENDING,AWSSOMETHING,PUT1]",
		},
		{
			"D2", "put v1; put v2 [AWSPENDING,AWSSOMETHING,PUT1]; move AWSCURRENT v1 v2; put v3 [AWSPENDING,PUT2]",
			"v1[AWSPREVIOUS] v2[AWSCURRENT,AWSSOMETHING,PUT1] v3[AWSPENDING,PUT2]",
		},
		{
			"D3", "put v1; put v2 [AWSPENDING,AWSSOMETHING,PUT1]; move AWSCURRENT v1 v2; put v3 [AWSPENDING,PUT2]; move AWSCURRENT v2 v3",
			"v2[AWSPREVIOUS,AWSSOMETHING,PUT1] v3[AWSCURRENT,AWSPENDING,PUT2]",
		},
		{"E1", "put v1; put v2 [AWSCURRENT,PUT0]", "v1[AWSPREVIOUS] v2[AWSCURRENT,PUT0]"},
		{
			"E2", "put v1; put v2 [AWSCURRENT,PUT0]; put v3 [AWSPENDING,PUT1]; move AWSCURRENT v2 v3",
			"v2[AWSPREVIOUS,PUT0] v3[AWSCURRENT,AWSPENDING,PUT1]",
		},
		{
			"E3", "put v1; put v2 [AWSCURRENT,PUT0]; put v3 [AWSPENDING,PUT1]; move AWSCURRENT v2 v3; put v4 [AWSPENDING,PUT2]; move AWSCURRENT v3 v4",
			"v2[PUT0] v3[AWSPREVIOUS,PUT1] v4[AWSCURRENT,AWSPENDING,PUT2]",
		},
		{"F", "put v1; put v2 [one,two,three]; put v3 [one,two,three,four]", "v1[AWSCURRENT] v3[four,one,three,two]"},
		{"G", "put v1; put v2 [one,two,three]; put v3 [one,two,four]", "v1[AWSCURRENT] v2[three] v3[four,one,two]"},
		{"H", "put v1; put v2 [PENDING]; move AWSCURRENT v1 v2; remove PENDING v2", "v1[AWSPREVIOUS] v2[AWSCURRENT]"},
		{"back", "put v1; put v2; move AWSCURRENT v2 v1", "v1[AWSCURRENT] v2[AWSPREVIOUS]"},
		{"back over pending", "put v1; put v2 [AWSPENDING]; move AWSCURRENT v1 v2; move AWSCURRENT v2 v1", "v1[AWSCURRENT] v2[AWSPREVIOUS]"},
		{"first with other labels", "put v1 [one]", "v1[AWSCURRENT,one]"},
		{"label twice", "put v1; put v2 [one,one]", "v1[AWSCURRENT] v2[one]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSecret()
			for step := range strings.SplitSeq(tc.steps, "; ") {
				if err := play(s, step); err != nil {
					t.Fatalf("%s: %v", step, err)
				}
			}
			if got := show(s); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if v, err := s.Select("", ""); err != nil || !v.Has(Current) {
				t.Errorf("Select without selector = %v, %v", v, err)
			}
		})
	}
}

// TestLabelVectorI is the vector whose outcome is a listing with deprecated
// versions.
func TestLabelVectorI(t *testing.T) {
	s := newSecret()
	for _, id := range []string{"v1", "v2", "v3"} {
		mustPut(t, s, id)
	}
	if len(s.Versions) != 3 || s.Versions[0].ID != "v1" || len(s.Versions[0].Labels) != 0 {
		t.Errorf("got versions %+v, want v1 without labels first of three", s.Versions)
	}
	if got, want := show(s), "v2[AWSPREVIOUS] v3[AWSCURRENT]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPutEffect(t *testing.T) {
	for _, tc := range []struct {
		name, steps, id string
		stages          []string
		want            Effect
	}{
		{"first", "", "v1", nil, Effect{Current: "v1"}},
		{"second", "put v1", "v2", nil, Effect{Current: "v2"}},
		{"pending", "put v1", "v2", []string{Pending}, Effect{}},
		{"over another's pending", "put v1; put v2 [AWSPENDING]", "v3", nil, Effect{Current: "v3", Abandoned: "v2"}},
		{"over own pending", "put v1; put v2 [AWSPENDING]; move AWSCURRENT v1 v2", "v3", nil, Effect{Current: "v3"}},
		{"taking pending and current", "put v1; put v2 [AWSPENDING]", "v3", []string{Current, Pending}, Effect{Current: "v3", Abandoned: "v2"}},
		{"taking pending alone", "put v1; put v2 [AWSPENDING]", "v3", []string{Pending}, Effect{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSecret()
			for step := range strings.SplitSeq(tc.steps, "; ") {
				if step == "" {
					continue
				}
				if err := play(s, step); err != nil {
					t.Fatalf("%s: %v", step, err)
				}
			}
			if got := mustPut(t, s, tc.id, tc.stages...); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if tc.want.Abandoned != "" && s.Version(tc.want.Abandoned).Has(Pending) {
				t.Errorf("abandoned version kept AWSPENDING: %s", show(s))
			}
		})
	}
}

func TestUpdateVersionStageErrors(t *testing.T) {
	for _, tc := range []struct {
		name, label, from, to string
		kind                  fault.Kind
		text                  string
	}{
		{"neither", "one", "", "", fault.Parameter, "You must provide a value for RemoveFromVersionId, MoveToVersionId, or both."},
		{
			"source not named", Current, "", "v1", fault.Parameter,
			"The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to version v2, so you must explicitly reference that version in RemoveFromVersionId.",
		},
		{
			"wrong source", Current, "v1", "v3", fault.Parameter,
			"When you move staging label AWSCURRENT, if you specify RemoveFromVersionId, it must be set to the version that currently has the staging label AWSCURRENT.",
		},
		{
			"source of a free label", "free", "v1", "v3", fault.Parameter,
			"When you move staging label free, if you specify RemoveFromVersionId, it must be set to the version that currently has the staging label free.",
		},
		{
			"remove current", Current, "v2", "", fault.Parameter,
			"You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed.",
		},
		{"remove what is not there", "one", "v1", "", fault.Parameter, "Staging label one is not attached to version v1."},
		{"unknown source", "one", "v9", "", fault.NotFound, "Secrets Manager can't find the specified secret value for VersionId: v9"},
		{"unknown target", "one", "", "v9", fault.NotFound, "Secrets Manager can't find the specified secret value for VersionId: v9"},
		{"empty target", Current, "v2", "empty", fault.NotFound, "Secrets Manager can't find the specified secret value for VersionId: empty"},
		{
			"previous onto current", Previous, "v1", "v2", fault.Parameter,
			"Staging labels AWSCURRENT and AWSPREVIOUS can't be attached to the same version.",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSecret()
			mustPut(t, s, "v1")
			mustPut(t, s, "v2")
			mustPut(t, s, "v3", "one")
			s.Versions = append(s.Versions, Version{ID: "empty", Labels: []string{Pending}})
			before := s.Clone()
			err := s.UpdateVersionStage(tc.label, tc.from, tc.to, start.Add(time.Hour))
			wantFault(t, err, tc.kind, tc.text)
			if diff := cmp.Diff(before, s); diff != "" {
				t.Errorf("a refused call changed the secret (-before +after):\n%s", diff)
			}
		})
	}
}

func wantFault(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	e, ok := err.(*fault.Error)
	if !ok {
		t.Fatalf("got error %v, want %s %q", err, kind, text)
	}
	if e.Kind != kind || e.Message != text {
		t.Errorf("got %s %q, want %s %q", e.Kind, e.Message, kind, text)
	}
}

func TestUpdateVersionStageRepeated(t *testing.T) {
	s := newSecret()
	mustPut(t, s, "v1")
	mustPut(t, s, "v2", Pending)
	later := start.Add(time.Hour)
	if err := s.UpdateVersionStage(Current, "v1", "v2", later); err != nil {
		t.Fatal(err)
	}
	if !s.ChangedAt.Equal(later) {
		t.Errorf("ChangedAt = %v, want %v", s.ChangedAt, later)
	}
	if err := s.UpdateVersionStage(Current, "v1", "v2", later.Add(time.Hour)); err != nil {
		t.Errorf("a repeated call failed: %v", err)
	}
	if !s.ChangedAt.Equal(later) {
		t.Errorf("a repeated call moved ChangedAt to %v", s.ChangedAt)
	}
	if err := s.UpdateVersionStage("free", "", "v1", later); err != nil {
		t.Errorf("attaching a free label failed: %v", err)
	}
	if err := s.UpdateVersionStage(Previous, "v1", "", later); err != nil {
		t.Errorf("removing AWSPREVIOUS failed: %v", err)
	}
	if got, want := show(s), "v1[free] v2[AWSCURRENT,AWSPENDING]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEmptyPlaceholderGoesWithItsLabel(t *testing.T) {
	s := newSecret()
	mustPut(t, s, "v1")
	s.Versions = append(s.Versions, Version{ID: "empty", Labels: []string{Pending}})
	if err := s.UpdateVersionStage(Pending, "empty", "", start); err != nil {
		t.Fatal(err)
	}
	if s.Version("empty") != nil {
		t.Error("an empty version without labels was kept")
	}
}

func TestLabelLimit(t *testing.T) {
	labels := make([]string, MaxLabels)
	for i := range labels {
		labels[i] = fmt.Sprintf("L%02d", i)
	}
	const text = "A secret can have at most 20 staging labels across all its versions."
	s := newSecret()
	mustPut(t, s, "v1")
	before := s.Clone()
	_, err := s.putValue("v2", labels...)
	wantFault(t, err, fault.Limit, text)
	if diff := cmp.Diff(before, s); diff != "" {
		t.Errorf("a refused put changed the secret (-before +after):\n%s", diff)
	}
	mustPut(t, s, "v2", labels[1:]...)
	wantFault(t, s.UpdateVersionStage("one more", "", "v1", start), fault.Limit, text)
	if _, err = s.putValue("v3"); !fault.Is(err, fault.Limit) {
		t.Errorf("AWSPREVIOUS as the 21st label: got %v, want %s", err, fault.Limit)
	}
	mustPut(t, s, "v3", labels[1:]...)
	if got := s.Version("v3").Labels; !slices.Equal(got, labels[1:]) {
		t.Errorf("got labels %v, want %v", got, labels[1:])
	}
}

func TestPutRefusesPreviousBesideCurrent(t *testing.T) {
	s := newSecret()
	const text = "Staging labels AWSCURRENT and AWSPREVIOUS can't be attached to the same version."
	_, err := s.putValue("v1", Previous)
	wantFault(t, err, fault.Parameter, text)
	mustPut(t, s, "v1")
	_, err = s.putValue("v2", Current, Previous)
	wantFault(t, err, fault.Parameter, text)
}

func TestPutTimes(t *testing.T) {
	s := newSecret()
	at := start.Add(1234567 * time.Nanosecond)
	if _, err := s.Put(Version{ID: "v1", CreatedAt: at}, nil); err != nil {
		t.Fatal(err)
	}
	want := start.Add(time.Millisecond)
	if !s.ChangedAt.Equal(want) || !s.Versions[0].CreatedAt.Equal(want) {
		t.Errorf("got changed %v, created %v; want %v for both", s.ChangedAt, s.Versions[0].CreatedAt, want)
	}
	if !s.Rotation.ValueChangedAt.IsZero() {
		t.Error("a value put before rotation was on counts for the schedule")
	}
	s.Rotation.Enabled = true
	if _, err := s.Put(Version{ID: "v2", CreatedAt: at.Add(time.Hour)}, nil); err != nil {
		t.Fatal(err)
	}
	if want = want.Add(time.Hour); !s.Rotation.ValueChangedAt.Equal(want) {
		t.Errorf("got value %v, want %v", s.Rotation.ValueChangedAt, want)
	}
	if _, err := s.Put(Version{ID: "v3", CreatedAt: at.Add(2 * time.Hour)}, []string{Pending}); err != nil {
		t.Fatal(err)
	}
	if !s.Rotation.ValueChangedAt.Equal(want) {
		t.Error("a pending version moved ValueChangedAt")
	}
}
