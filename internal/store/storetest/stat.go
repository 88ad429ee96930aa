package storetest

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

func backlog(t *testing.T, s *store.Store) store.Backlog {
	t.Helper()
	b, err := s.Backlog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is overdue, runs and is tried again, and nothing else, is counted.
func testBacklog(t *testing.T, open Open) {
	s := open(t)
	if got := backlog(t, s); got != (store.Backlog{}) {
		t.Errorf("of nothing: got %+v", got)
	}
	oldest := time.Now().Add(-time.Hour).Truncate(time.Microsecond)
	for name, due := range map[string]time.Time{
		"oldest": oldest, "late": time.Now().Add(-2 * time.Minute), "just due": time.Now(), "later": time.Now().Add(time.Hour), "never": {},
	} {
		x := newSecret(name)
		x.Rotation.DueAt = due
		save(t, s, nil, x)
	}
	running(t, s, "running")
	again := newSecret("again")
	save(t, s, nil, again)
	saveRun(t, s, &secret.RotationRun{SecretID: again.ID, Token: "t", State: secret.Running, Step: secret.CreateSecret, Attempt: 2, NotBefore: noon0}, 0)
	done := newSecret("done")
	save(t, s, nil, done)
	saveRun(t, s, &secret.RotationRun{SecretID: done.ID, Token: "t", State: secret.Succeeded, Step: secret.FinishSecret, Attempt: 3}, 0)
	got := backlog(t, s)
	if got.Due != 2 || !got.OldestDue.Equal(oldest) || got.Running != 2 || got.Retrying != 1 {
		t.Errorf("got %+v, want 2 due, the first at %v, 2 running, 1 of them again", got, oldest)
	}
}

// Reads from memory, reads of the database and changes are counted.
func testStat(t *testing.T, open Open) {
	s := open(t)
	before := s.Stat()
	x := newSecret("a")
	save(t, s, nil, x)
	refusal := s.Update(t.Context(), func(*store.Tx) error { return errOnPurpose })
	if refusal == nil {
		t.Error("no refusal")
	}
	got := s.Stat()
	if got.Updates != before.Updates+2 || got.FailedUpdates != before.FailedUpdates+1 || got.UpdateTime <= before.UpdateTime {
		t.Errorf("got %+v after %+v, want 2 more updates, one of them failed", got, before)
	}
	if got.CacheLimit <= 0 || got.Proof < 0 {
		t.Errorf("got %+v", got)
	}
	for range 2 {
		if err := s.Read(t.Context(), func(*store.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if after := s.Stat(); after.CacheHits != got.CacheHits+2 || after.CacheMisses != got.CacheMisses {
		t.Errorf("got %+v after %+v, want 2 more hits", after, got)
	}
}
