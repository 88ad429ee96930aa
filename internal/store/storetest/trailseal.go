package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/store"
)

// Stored events are found by their numbers, and show every change.
func testStoredEvents(t *testing.T, open Open) {
	s := open(t)
	for i := range 5 {
		update(t, s, func(tx *store.Tx) error { return tx.Record(event(i)) })
	}
	newest := read(t, s, (*store.Tx).NewestEvent)
	numbers := read(t, s, func(tx *store.Tx) ([]int64, error) { return tx.EventNumbers(0, newest) })
	if len(numbers) != 5 || numbers[4] != newest {
		t.Fatalf("got numbers %v up to %d, want 5", numbers, newest)
	}
	all := read(t, s, func(tx *store.Tx) ([]store.StoredEvent, error) { return tx.StoredEvents(0, newest, 10) })
	if len(all) != 5 || all[0].Seq != numbers[0] || !all[0].At.Equal(day0) {
		t.Fatalf("got %+v", all)
	}
	for i := range all {
		for j := range i {
			if string(all[i].Text) == string(all[j].Text) {
				t.Errorf("events %d and %d have the same text", i, j)
			}
		}
	}
	some := read(t, s, func(tx *store.Tx) ([]store.StoredEvent, error) { return tx.StoredEvents(numbers[0], numbers[3], 2) })
	if diff := cmp.Diff(all[1:3], some); diff != "" {
		t.Errorf("a part (-want +got):\n%s", diff)
	}
}

func testTrailSeals(t *testing.T, open Open) {
	s := open(t)
	if last := read(t, s, (*store.Tx).LastTrailSeal); last != nil {
		t.Errorf("an empty store has seal %+v", last)
	}
	var want []*store.TrailSeal
	for i := range int64(4) {
		seal := &store.TrailSeal{
			Number: i + 1, High: 10 * (i + 1), Events: int(i), SealedAt: day0.Add(time.Duration(i) * time.Second),
			Node: "n", Proofs: []byte{0, byte(i)}, Seal: []byte{255, byte(i)},
		}
		update(t, s, func(tx *store.Tx) error { return tx.AddTrailSeal(seal) })
		want = append(want, seal)
	}
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.AddTrailSeal(want[0]) }), fault.Exists)
	if diff := cmp.Diff(want[3], read(t, s, (*store.Tx).LastTrailSeal)); diff != "" {
		t.Errorf("the last (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[1:3], read(t, s, func(tx *store.Tx) ([]*store.TrailSeal, error) { return tx.TrailSeals(1, 2) })); diff != "" {
		t.Errorf("a page (-want +got):\n%s", diff)
	}
	for _, tc := range []struct {
		through int64
		want    *store.TrailSeal
	}{{9, nil}, {25, want[1]}, {1000, want[2]}, {1000, nil}} {
		var got *store.TrailSeal
		update(t, s, func(tx *store.Tx) (err error) {
			got, err = tx.DropTrailSeals(tc.through)
			return err
		})
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("dropping through %d (-want +got):\n%s", tc.through, diff)
		}
	}
	if left := read(t, s, func(tx *store.Tx) ([]*store.TrailSeal, error) { return tx.TrailSeals(0, 9) }); len(left) != 1 || left[0].Number != 4 {
		t.Errorf("left are %+v, want the newest", left)
	}
}

func testTrailHeads(t *testing.T, open Open) {
	s := open(t)
	head := func(chain, body string, at time.Time) *store.TrailHead {
		return &store.TrailHead{Chain: chain, NotedAt: at, Body: body, Seal: []byte(body)}
	}
	for _, h := range []*store.TrailHead{head("b", "1", day0), head("a", "1", day0), head("c", "1", day0.Add(time.Hour)), head("b", "2", day0)} {
		update(t, s, func(tx *store.Tx) error { return tx.SetTrailHead(h) })
	}
	want := []*store.TrailHead{head("a", "1", day0), head("b", "2", day0), head("c", "1", day0.Add(time.Hour))}
	if diff := cmp.Diff(want, read(t, s, (*store.Tx).TrailHeads)); diff != "" {
		t.Errorf("heads (-want +got):\n%s", diff)
	}
	update(t, s, func(tx *store.Tx) error { return tx.DropTrailHeads(day0.Add(time.Minute), "b") })
	if diff := cmp.Diff(want[1:], read(t, s, (*store.Tx).TrailHeads)); diff != "" {
		t.Errorf("after dropping (-want +got):\n%s", diff)
	}
	update(t, s, func(tx *store.Tx) error { return tx.SetTrailAnchor("x") })
	if got := read(t, s, (*store.Tx).TrailAnchor); got != "x" {
		t.Errorf("got anchor %q, want x", got)
	}
}
