package integrity

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

// Report is what Verify found.
type Report struct {
	// Seals and Sealed count the seals of stored events, and the events, that
	// are whole; Open counts stored events that no seal covers yet.
	Seals, Sealed, Open int
	// Newest is the newest seal, or nil. Who keeps its number and its Seal
	// elsewhere can show later that the trail was not put back.
	Newest *store.TrailSeal
	// Segments is what was found in the data folder.
	Segments trail.Verdict
	// Elsewhere names nodes whose segments are in other data folders.
	Elsewhere []string
	// Faults tell where stored events were changed, removed or inserted, the
	// first place first; all of them, or as many as fit.
	Faults []trail.Fault
}

// Whole reports whether nothing is wrong.
func (r *Report) Whole() bool { return len(r.Faults) == 0 && len(r.Segments.Faults) == 0 }

const (
	// maxFaults bounds what a report tells.
	maxFaults = 100
	// openFor is how much older than the newest event one may be that no seal
	// covers: its call may have taken long.
	openFor = 90 * time.Minute
	// page is how many events are read at once.
	page = 1000
)

// verifier looks at the stored events in one snapshot.
type verifier struct {
	Report
	keys *Keys
	tx   *store.Tx
	anchor
	high int64 // the highest number that was read
	// strays are events that no seal has covered yet, by their numbers: they
	// came late, are new, or were inserted.
	strays map[int64]stray
	newest time.Time
	sealed time.Time // when the seal was made that is looked at
}

type stray struct {
	proof
	at time.Time
	// passed is when the first seal of a higher number was made.
	passed time.Time
}

// Verify looks at all stored events and at the segments in a folder, while
// servers may be at work on both. node is the one whose folder it is, or "".
func Verify(ctx context.Context, s *store.Store, keys *Keys, folder, node string) (*Report, error) {
	v := &verifier{keys: keys}
	var heads []trail.Head
	err := s.View(ctx, func(tx *store.Tx) (err error) {
		*v = verifier{keys: keys, tx: tx, strays: map[int64]stray{}}
		if heads, err = v.heads(); err != nil {
			return err
		}
		return v.events()
	})
	if err != nil {
		return nil, err
	}
	for _, h := range heads {
		if h.Chain != node {
			v.Elsewhere = append(v.Elsewhere, h.Chain)
		}
	}
	segments, err := trail.Verify(folder, keys.Segments, node, heads)
	if err != nil {
		return nil, err
	}
	v.Segments = *segments
	return &v.Report, nil
}

func (v *verifier) fault(where, format string, args ...any) {
	if len(v.Faults) < maxFaults {
		v.Faults = append(v.Faults, trail.Fault{Where: where, What: fmt.Sprintf(format, args...)})
	}
}

// heads returns what was noted of the segments' ends.
func (v *verifier) heads() ([]trail.Head, error) {
	stored, err := v.tx.TrailHeads()
	if err != nil {
		return nil, err
	}
	var list []trail.Head
	for _, h := range stored {
		var head trail.Head
		if !hmac.Equal(h.Seal, mac(v.keys.head, []byte(h.Chain), []byte(h.Body))) || json.Unmarshal([]byte(h.Body), &head) != nil || head.Chain != h.Chain {
			v.fault("node "+h.Chain, "the note of how far its segments reach was changed")
			continue
		}
		list = append(list, head)
	}
	return list, nil
}

// events goes through the seals and the events that they cover.
func (v *verifier) events() error {
	a, err := v.keys.loadAnchor(v.tx)
	if errors.Is(err, errAnchor) {
		v.fault("anchor", "%v", err)
		a, err = &anchor{}, nil
	}
	if err != nil {
		return err
	}
	v.anchor, v.high = *a, a.Through
	below, err := v.tx.StoredEvents(-1<<63, a.Through, maxFaults)
	if err != nil {
		return err
	}
	for _, e := range below {
		v.fault(fmt.Sprintf("event %d", e.Seq), "it was inserted: no event has such a number, or retention removed it (its time is %s)", e.At.Format(time.RFC3339))
	}
	before, number := a.Seal, a.Number
	for {
		seals, err := v.tx.TrailSeals(number, page/10)
		if err != nil {
			return err
		}
		for _, s := range seals {
			if s.Number != number+1 {
				v.fault(fmt.Sprintf("seal %d", number+1), "seals %d to %d are missing", number+1, s.Number-1)
			}
			if err := v.seal(s, before, s.Number == number+1); err != nil {
				return err
			}
			before, number = s.Seal, s.Number
			v.Newest = s
		}
		if len(seals) == 0 {
			return v.rest()
		}
	}
}

// seal checks one seal and the events that it covers.
func (v *verifier) seal(s *store.TrailSeal, before []byte, linked bool) error {
	name := fmt.Sprintf("seal %d", s.Number)
	if linked && !hmac.Equal(s.Seal, v.keys.sealOf(s, before)) {
		v.fault(name, "the seal, or the one before it, was changed")
	}
	v.sealed = s.SealedAt
	if err := v.read(s.High); err != nil {
		return err
	}
	proofs, err := decodeProofs(s.Proofs)
	if err != nil {
		v.fault(name, "%v", err)
		return nil
	}
	whole := true
	for _, p := range proofs {
		if p.seq <= v.Through {
			continue // retention removed it
		}
		have, there := v.strays[p.seq]
		delete(v.strays, p.seq)
		switch {
		case !there:
			v.fault(fmt.Sprintf("event %d", p.seq), "it was removed (sealed %s by node %s)", s.SealedAt.Format(time.RFC3339), s.Node)
		case have.sum != p.sum:
			v.fault(fmt.Sprintf("event %d", p.seq), "it was changed (its time is %s, it was sealed %s)", have.at.Format(time.RFC3339), s.SealedAt.Format(time.RFC3339))
		default:
			v.Sealed++
			continue
		}
		whole = false
	}
	if whole {
		v.Seals++
	}
	v.settle()
	return nil
}

// settle tells of events that came too late for any seal: they were inserted.
// It keeps memory bounded.
func (v *verifier) settle() {
	if len(v.strays) <= mostLate {
		return
	}
	for _, seq := range v.strayNumbers() {
		if len(v.strays) <= mostLate/2 {
			return
		}
		v.inserted(seq)
		delete(v.strays, seq)
	}
}

func (v *verifier) strayNumbers() []int64 {
	list := make([]int64, 0, len(v.strays))
	for seq := range v.strays {
		list = append(list, seq)
	}
	slices.Sort(list)
	return list
}

func (v *verifier) inserted(seq int64) {
	v.fault(fmt.Sprintf("event %d", seq), "it was inserted: no seal covers it, though later ones are sealed (its time is %s)", v.strays[seq].at.Format(time.RFC3339))
}

// read takes the events up to a number.
func (v *verifier) read(last int64) error {
	for v.high < last {
		events, err := v.tx.StoredEvents(v.high, last, page)
		if err != nil {
			return err
		}
		for i := range events {
			e := &events[i]
			v.strays[e.Seq] = stray{v.keys.proof(e), e.At, v.sealed}
			if e.At.After(v.newest) {
				v.newest = e.At
			}
		}
		if len(events) < page {
			v.high = last
			return nil
		}
		v.high = events[len(events)-1].Seq
	}
	return nil
}

// rest tells what the events are that no seal covers.
func (v *verifier) rest() error {
	sealed := v.high
	left := v.strayNumbers()
	for _, seq := range left {
		if v.Newest.SealedAt.Sub(v.strays[seq].passed) > 2*lateFor {
			v.inserted(seq)
		} else {
			v.Open++
		}
	}
	v.strays = map[int64]stray{}
	newest, err := v.tx.NewestEvent()
	if err != nil {
		return err
	}
	oldest := time.Time{}
	for v.high < newest {
		if err := v.read(min(newest, v.high+page)); err != nil {
			return err
		}
		for _, s := range v.strays {
			if v.Open++; oldest.IsZero() || s.at.Before(oldest) {
				oldest = s.at
			}
		}
		clear(v.strays)
	}
	if !oldest.IsZero() && v.newest.Sub(oldest) > openFor {
		v.fault(fmt.Sprintf("events after %d", sealed), "no seal covers them, though the oldest is from %s and the newest from %s: seals were removed, or no server has sealed since", oldest.Format(time.RFC3339), v.newest.Format(time.RFC3339))
	}
	if v.Newest == nil && v.Number > 0 {
		v.fault(fmt.Sprintf("seal %d", v.Number+1), "all seals after number %d were removed", v.Number)
	}
	return nil
}
