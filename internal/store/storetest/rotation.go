package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// fullRun returns a run in which every member is set.
func fullRun(secretID string) *secret.RotationRun {
	return &secret.RotationRun{
		SecretID: secretID, Token: "token", TestOnly: true, Scheduled: true, State: secret.Running, Step: secret.SetSecret, Attempt: 3,
		Announced: 2, FunctionARN: "arn:f", RotationToken: []byte{1, 0, 2}, StartedAt: noon0, WindowEnd: noon0.Add(time.Hour),
		NotBefore: noon0.Add(time.Minute), Error: "it failed", FailedStep: secret.CreateSecret, Finding: `{}`, FinishedAt: noon0.Add(time.Second),
		Owner: "node", LeaseUntil: noon0.Add(30 * time.Second), Fence: 7,
	}
}

func saveRun(t testing.TB, s *store.Store, run *secret.RotationRun, fence int64) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error { return tx.SaveRun(run, fence) })
}

func getRun(t testing.TB, s *store.Store, id string) *secret.RotationRun {
	t.Helper()
	return read(t, s, func(tx *store.Tx) (*secret.RotationRun, error) { return tx.Run(id) })
}

func claim(t testing.TB, s *store.Store, owner string, now time.Time, limit int) []secret.RotationRun {
	t.Helper()
	var runs []secret.RotationRun
	update(t, s, func(tx *store.Tx) (err error) {
		runs, err = tx.ClaimRuns(owner, now, now, now.Add(time.Minute), limit)
		return err
	})
	return runs
}

// running stores a secret and a running rotation that may start at noon0.
func running(t testing.TB, s *store.Store, name string) string {
	t.Helper()
	x := newSecret(name)
	save(t, s, nil, x)
	saveRun(t, s, &secret.RotationRun{SecretID: x.ID, Token: "t", State: secret.Running, Step: secret.CreateSecret, Attempt: 1, NotBefore: noon0}, 0)
	return x.ID
}

func testRun(t *testing.T, open Open) {
	s := open(t)
	save(t, s, nil, newSecret("a"))
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Run("id-a")
		return err
	}), fault.NotFound)
	want := fullRun("id-a")
	saveRun(t, s, want, 0)
	if diff := cmp.Diff(want, getRun(t, s, "id-a")); diff != "" {
		t.Errorf("stored run (-want +got):\n%s", diff)
	}
	want = &secret.RotationRun{SecretID: "id-a", Token: "next", State: secret.Succeeded, Fence: 7}
	saveRun(t, s, want, 7)
	if diff := cmp.Diff(want, getRun(t, s, "id-a")); diff != "" {
		t.Errorf("replaced run (-want +got):\n%s", diff)
	}
}

func testFence(t *testing.T, open Open) {
	s := open(t)
	id := running(t, s, "a")
	first := claim(t, s, "one", noon0, 10)
	if len(first) != 1 || first[0].Fence != 1 || first[0].Owner != "one" || !first[0].LeaseUntil.Equal(noon0.Add(time.Minute)) {
		t.Fatalf("got claim %+v", first)
	}
	if diff := cmp.Diff(&first[0], getRun(t, s, id)); diff != "" {
		t.Errorf("the claim is not what is stored:\n%s", diff)
	}
	if got := claim(t, s, "two", noon0.Add(59*time.Second), 10); len(got) != 0 {
		t.Errorf("another engine claimed %+v within the lease", got)
	}
	if got := claim(t, s, "two", noon0.Add(-time.Minute), 10); len(got) != 0 {
		t.Errorf("an engine whose clock is a lease behind claimed %+v", got)
	}
	second := claim(t, s, "two", noon0.Add(time.Minute), 10)
	if len(second) != 1 || second[0].Fence != 2 {
		t.Fatalf("got claim %+v after the lease, want one with fence 2", second)
	}
	old := first[0]
	old.Step = secret.FinishSecret
	err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveRun(&old, 1) })
	if !errors.Is(err, store.ErrFenced) || !fault.Is(err, fault.Conflict) {
		t.Errorf("got error %v for a write under an older fence, want ErrFenced", err)
	}
	for _, tc := range []struct {
		owner string
		fence int64
		want  error
	}{{"one", 1, store.ErrFenced}, {"two", 1, store.ErrFenced}, {"one", 2, store.ErrFenced}, {"two", 2, nil}} {
		err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.RenewLease(id, tc.owner, tc.fence, noon0.Add(time.Hour)) })
		if !errors.Is(err, tc.want) {
			t.Errorf("%s renews with fence %d: got error %v, want %v", tc.owner, tc.fence, err, tc.want)
		}
	}
	current := getRun(t, s, id)
	if !current.LeaseUntil.Equal(noon0.Add(time.Hour)) || current.Step != secret.CreateSecret {
		t.Errorf("got %+v, want the second engine's lease and no other change", current)
	}
	current.Fence = 0
	saveRun(t, s, current, 2)
	if got := getRun(t, s, id).Fence; got != 2 {
		t.Errorf("got fence %d after a save with a smaller one, want 2", got)
	}
}

// An engine whose clock is a minute ahead takes nothing that another holds a
// lease on, looks again when that ends, and may start what its own clock says
// is due.
func testClocksDiffer(t *testing.T, open Open) {
	s := open(t)
	id := running(t, s, "a")
	claim(t, s, "one", noon0, 1)
	ahead := func(now time.Time) (runs []secret.RotationRun) {
		update(t, s, func(tx *store.Tx) (err error) {
			runs, err = tx.ClaimRuns("two", now.Add(2*time.Minute), now, now.Add(time.Minute), 1)
			return err
		})
		return runs
	}
	if got := ahead(noon0.Add(59 * time.Second)); len(got) != 0 {
		t.Errorf("an engine whose clock is ahead claimed %+v within the lease", got)
	}
	next := read(t, s, func(tx *store.Tx) (time.Time, error) { return tx.NextDue(2 * time.Minute) })
	if want := noon0.Add(3 * time.Minute); !next.Equal(want) {
		t.Errorf("by a clock that is ahead: got %v, want the lease's end %v", next, want)
	}
	if got := ahead(noon0.Add(time.Minute)); len(got) != 1 || got[0].Fence != 2 {
		t.Errorf("got claim %+v after the lease, want one with fence 2", got)
	}
	run := getRun(t, s, id)
	run.NotBefore, run.Owner, run.LeaseUntil = noon0.Add(3*time.Minute), "", time.Time{}
	saveRun(t, s, run, 2)
	if got := claim(t, s, "one", noon0.Add(2*time.Minute), 1); len(got) != 0 {
		t.Errorf("got claim %+v before the attempt", got)
	}
	if got := ahead(noon0.Add(time.Minute)); len(got) != 1 {
		t.Error("an engine does not start the attempt that its own clock says is due")
	}
}

// A lease that no clock could have given by now does not block a rotation.
func testLeaseFromTheFuture(t *testing.T, open Open) {
	s := open(t)
	running(t, s, "a")
	claim(t, s, "one", noon0, 1)
	earlier := noon0.Add(-24 * time.Hour)
	id := running(t, s, "b")
	run := getRun(t, s, id)
	run.NotBefore = earlier
	run.LeaseUntil = noon0
	saveRun(t, s, run, run.Fence)
	if got := claim(t, s, "two", earlier, 2); len(got) != 1 || got[0].SecretID != id {
		t.Errorf("the day before, with a lease from the future: got claims %+v, want one of b", got)
	}
}

func testRelease(t *testing.T, open Open) {
	s := open(t)
	id := running(t, s, "a")
	claim(t, s, "one", noon0, 1)
	update(t, s, func(tx *store.Tx) error { return tx.RenewLease(id, "one", 1, time.Time{}) })
	if got := claim(t, s, "two", noon0, 1); len(got) != 1 || got[0].Fence != 2 {
		t.Fatalf("got claim %+v of a released run, want one with fence 2", got)
	}
	run := getRun(t, s, id)
	run.State, run.Owner, run.LeaseUntil = secret.Succeeded, "", time.Time{}
	saveRun(t, s, run, 2)
	if err := s.Update(t.Context(), func(tx *store.Tx) error {
		return tx.RenewLease(id, "two", 2, noon0.Add(time.Hour))
	}); !errors.Is(err, store.ErrFenced) {
		t.Errorf("got error %v for the lease of an ended run, want ErrFenced", err)
	}
	if got := claim(t, s, "three", noon0.Add(24*time.Hour), 1); len(got) != 0 {
		t.Errorf("claimed %+v, which has ended", got)
	}
}

func testClaimOrder(t *testing.T, open Open) {
	s := open(t)
	for i, wait := range []time.Duration{-time.Minute, -3 * time.Minute, time.Second, -2 * time.Minute} {
		id := running(t, s, fmt.Sprint(i))
		run := getRun(t, s, id)
		run.NotBefore = noon0.Add(wait)
		saveRun(t, s, run, 0)
	}
	for _, want := range []string{"id-1 id-3 ", "id-0 ", ""} {
		var got string
		for _, r := range claim(t, s, "one", noon0, 2) {
			got += r.SecretID + " "
		}
		if got != want {
			t.Errorf("claimed %q, want %q", got, want)
		}
	}
}

func testNextDue(t *testing.T, open Open) {
	s := open(t)
	next := func() time.Time {
		t.Helper()
		return read(t, s, func(tx *store.Tx) (time.Time, error) { return tx.NextDue(0) })
	}
	if got := next(); !got.IsZero() {
		t.Errorf("got %v from an empty store, want zero", got)
	}
	id := running(t, s, "a")
	if got := next(); !got.Equal(noon0) {
		t.Errorf("got %v, want the attempt's time %v", got, noon0)
	}
	claim(t, s, "one", noon0, 1)
	if got, want := next(), noon0.Add(time.Minute); !got.Equal(want) {
		t.Errorf("got %v, want the lease's end %v", got, want)
	}
	before := byID(t, s, id)
	after := before.Clone()
	after.Rotation.DueAt = noon0.Add(30 * time.Second)
	save(t, s, before, after)
	if got := next(); !got.Equal(after.Rotation.DueAt) {
		t.Errorf("got %v, want the schedule's time %v", got, after.Rotation.DueAt)
	}
	run := getRun(t, s, id)
	run.NotBefore, run.LeaseUntil = time.Time{}, time.Time{}
	saveRun(t, s, run, 1)
	if got := next(); got.IsZero() || got.After(day0) {
		t.Errorf("got %v for a run that may start at any time, want a time long past", got)
	}
}

// testClaimRace lets engines claim at the same time: each run goes to one.
func testClaimRace(t *testing.T, open Open) {
	s := open(t)
	const runs, engines = 12, 4
	for i := range runs {
		running(t, s, fmt.Sprint("race", i))
	}
	claimed := make(chan string, runs*engines)
	together(t, engines, func(i int) error {
		for range runs {
			var got []secret.RotationRun
			err := s.Update(t.Context(), func(tx *store.Tx) (err error) {
				got, err = tx.ClaimRuns(fmt.Sprint("engine", i), noon0, noon0, noon0.Add(time.Minute), 2)
				return err
			})
			if err != nil {
				return err
			}
			for _, r := range got {
				claimed <- r.SecretID
			}
		}
		return nil
	})
	close(claimed)
	seen := map[string]bool{}
	for id := range claimed {
		if seen[id] {
			t.Errorf("%s was claimed twice within one lease", id)
		}
		seen[id] = true
	}
	if len(seen) != runs {
		t.Errorf("%d of %d runs were claimed", len(seen), runs)
	}
}
