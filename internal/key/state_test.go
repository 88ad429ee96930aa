package key_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
)

const keyARN = "arn:aws:kms:us-east-1:123456789012:key/k"

func inState(state key.State) *key.Record {
	r := &key.Record{ID: "k", Account: "123456789012", Region: "us-east-1", State: state, Material: []key.Material{{ID: "first"}}}
	if state == key.PendingDeletion {
		r.DeleteAt = now.AddDate(0, 0, 7)
	}
	return r
}

// TestTransitions goes through what each state admits (AWS docs: key states).
func TestTransitions(t *testing.T) {
	const (
		disabled = keyARN + " is disabled."
		pending  = keyARN + " is pending deletion."
		live     = keyARN + " is not pending deletion."
	)
	for _, tc := range []struct {
		name string
		do   func(*key.Record) error
		// want is the text of the refusal in the states Enabled, Disabled and
		// PendingDeletion; "" for none.
		want [3]string
		// then is the state afterwards.
		then [3]key.State
	}{
		{"use", (*key.Record).CheckUsable, [3]string{"", disabled, pending}, [3]key.State{key.Enabled, key.Disabled, key.PendingDeletion}},
		{"change", (*key.Record).CheckKept, [3]string{"", "", pending}, [3]key.State{key.Enabled, key.Disabled, key.PendingDeletion}},
		{"enable", (*key.Record).Enable, [3]string{"", "", pending}, [3]key.State{key.Enabled, key.Enabled, key.PendingDeletion}},
		{"disable", (*key.Record).Disable, [3]string{"", "", pending}, [3]key.State{key.Disabled, key.Disabled, key.PendingDeletion}},
		{"delete", func(r *key.Record) error { return r.ScheduleDeletion(now, 7) }, [3]string{"", "", pending},
			[3]key.State{key.PendingDeletion, key.PendingDeletion, key.PendingDeletion}},
		{"cancel", (*key.Record).CancelDeletion, [3]string{live, live, ""}, [3]key.State{key.Enabled, key.Disabled, key.Disabled}},
		{"rotate", func(r *key.Record) error { return r.RotateOnDemand(key.Material{}) }, [3]string{"", disabled, pending},
			[3]key.State{key.Enabled, key.Disabled, key.PendingDeletion}},
		{"rotate by itself", func(r *key.Record) error { return r.EnableRotation(now, 90) }, [3]string{"", disabled, pending},
			[3]key.State{key.Enabled, key.Disabled, key.PendingDeletion}},
		{"no longer rotate", (*key.Record).DisableRotation, [3]string{"", disabled, pending},
			[3]key.State{key.Enabled, key.Disabled, key.PendingDeletion}},
	} {
		for i, state := range []key.State{key.Enabled, key.Disabled, key.PendingDeletion} {
			r := inState(state)
			err := tc.do(r)
			got := ""
			if e, ok := errors.AsType[*fault.Error](err); ok {
				got = e.Message
				want := key.KeyState
				if strings.HasSuffix(got, "disabled.") {
					want = key.KeyDisabled
				}
				if e.Kind != want {
					t.Errorf("%s of a key %s: got kind %s, want %s", tc.name, state, e.Kind, want)
				}
			}
			if got != tc.want[i] || r.State != tc.then[i] {
				t.Errorf("%s of a key %s: got %q and %s, want %q and %s", tc.name, state, got, r.State, tc.want[i], tc.then[i])
			}
			if (r.State == key.PendingDeletion) == r.DeleteAt.IsZero() {
				t.Errorf("%s of a key %s: it is %s and goes at %v", tc.name, state, r.State, r.DeleteAt)
			}
		}
	}
}

func TestDeletion(t *testing.T) {
	r := inState(key.Enabled)
	if err := r.ScheduleDeletion(now, 7); err != nil {
		t.Fatal(err)
	}
	end := now.AddDate(0, 0, 7).Truncate(time.Millisecond)
	if !r.DeleteAt.Equal(end) || r.Expired(end.Add(-time.Millisecond)) || !r.Expired(end) {
		t.Errorf("goes at %v, want %v", r.DeleteAt, end)
	}
	if err := r.CancelDeletion(); err != nil || r.Expired(end.AddDate(1, 0, 0)) {
		t.Errorf("a cancelled deletion goes on: %v", err)
	}
}

func TestAutomaticRotation(t *testing.T) {
	r := inState(key.Enabled)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	day := func(n int) time.Time { return now.AddDate(0, 0, n).Truncate(time.Millisecond) }
	next := func(what string, want time.Time) {
		t.Helper()
		if !r.NextRotation.Equal(want) {
			t.Errorf("%s: next rotation %v, want %v", what, r.NextRotation, want)
		}
	}
	must(r.EnableRotation(day(0), 90))
	next("enabled", day(90))
	must(r.EnableRotation(day(10), 90))
	next("enabled again", day(90))
	must(r.EnableRotation(day(10), 100))
	next("with another period", day(110))
	if r.RotationDue(day(110).Add(-time.Millisecond)) || !r.RotationDue(day(110)) {
		t.Error("not due on its day")
	}
	must(r.RotateOnDemand(key.Material{ID: "demanded"}))
	next("rotated on demand", day(110))
	r.RotateAutomatically(key.Material{ID: "second"}, day(111))
	next("rotated a day late", day(210))
	must(r.Disable())
	if r.RotationDue(day(500)) || !r.Rotates() {
		t.Error("a disabled key rotates, or forgot that it does")
	}
	must(r.Enable())
	if !r.RotationDue(day(500)) {
		t.Error("an enabled key does not make up for the rotation it missed")
	}
	r.RotateAutomatically(key.Material{ID: "third"}, day(500))
	next("rotated long after", day(600))
	must(r.ScheduleDeletion(day(500), 7))
	if r.Rotates() || r.RotationDue(day(600)) {
		t.Error("a key rotates that is to be deleted")
	}
	must(r.CancelDeletion())
	if !r.Rotates() {
		t.Error("rotation is off after a cancelled deletion")
	}
	must(r.Enable())
	must(r.DisableRotation())
	if r.Rotates() || !r.NextRotation.IsZero() {
		t.Error("rotation is still on")
	}
	must(r.EnableRotation(day(700), 100))
	next("enabled anew", day(800))
	var got string
	for _, m := range r.Material {
		got += fmt.Sprintf("%s %s, ", m.ID, m.Rotation)
	}
	if want := "first , demanded ON_DEMAND, second AUTOMATIC, third AUTOMATIC, "; got != want {
		t.Errorf("material %s want %s", got, want)
	}
}

func TestOnDemandLimit(t *testing.T) {
	r := inState(key.Enabled)
	for i := range key.MaxOnDemand {
		r.RotateAutomatically(key.Material{}, now)
		if err := r.RotateOnDemand(key.Material{}); err != nil {
			t.Fatalf("rotation %d: %v", i, err)
		}
	}
	if err := r.RotateOnDemand(key.Material{}); !fault.Is(err, fault.Limit) || len(r.Material) != 1+2*key.MaxOnDemand {
		t.Errorf("one rotation too many: got %v", err)
	}
}

func TestClone(t *testing.T) {
	r := inState(key.Enabled)
	r.Tags = []key.Tag{{Key: "a", Value: "b"}}
	c := r.Clone()
	c.Tags[0].Value, c.Material[0].ID, c.State = "c", "other", key.Disabled
	if r.Tags[0].Value != "b" || r.Material[0].ID != "first" || r.State != key.Enabled {
		t.Errorf("changing a clone changed the key: %+v", r)
	}
}

// Old material opens what it sealed, and a rotated key seals with the new.
func TestRotationKeepsOld(t *testing.T) {
	ctx, k := t.Context(), newKeeper(t, 1)
	rec, ring := newRecord(t, k), key.NewRing(k, 0)
	before, err := ring.Encrypt(ctx, rec, nil, []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := key.NewMaterial(ctx, k, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := rec.RotateOnDemand(m); err != nil {
		t.Fatal(err)
	}
	after, err := ring.Encrypt(ctx, rec, nil, []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	for want, blob := range map[string][]byte{"old": before, "new": after} {
		if got, err := ring.Decrypt(ctx, rec, nil, blob); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	old, _ := key.BlobMaterialID(before)
	if got, _ := key.BlobMaterialID(after); got != m.ID || old == m.ID {
		t.Errorf("sealed with %s after rotation, want %s", got, m.ID)
	}
}
