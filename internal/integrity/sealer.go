package integrity

import (
	"context"
	"log/slog"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/sweep"
	"github.com/keyturn/keyturn/internal/trail"
)

const (
	// sealEvery is the time between two passes, and the least age of what is
	// sealed.
	sealEvery = 5 * time.Second
	// noteEvery is the time between two notes of the segments' end.
	noteEvery = 30 * time.Second
	// lateFor is how long after a seal events below it are still looked for:
	// no transaction lasts as long. lookLate is the time between two looks.
	lateFor  = 2 * time.Minute
	lookLate = 30 * time.Second
	// mostLate bounds the memory of a look: about how many events below the
	// newest one are looked at.
	mostLate = 1 << 20
	// turn is how long the node that sealed last keeps the work to itself.
	turn = 20 * time.Second
	// perSeal is how many events a seal covers at most.
	perSeal = 1000
)

// Config is what a Sealer works with; all members are needed.
type Config struct {
	Store *store.Store
	Keys  *Keys
	// Recorder has this node's segments.
	Recorder *trail.Recorder
	// Node names this node.
	Node   string
	Logger *slog.Logger
}

// Sealer seals stored events on one node. Use New.
type Sealer struct {
	Config
	seen    int64 // the newest event at the last pass
	looked  time.Time
	noted   time.Time
	noteOf  trail.Head
	started bool
}

// New returns a Sealer; Run makes it work.
func New(cfg Config) *Sealer { return &Sealer{Config: cfg} }

// Run seals until ctx ends. Several nodes may run one each.
func (s *Sealer) Run(ctx context.Context) error {
	return sweep.Every(ctx, sealEvery, s.Logger, "sealing the trail", s.Pass)
}

// Pass seals the events that were there at the Pass before, and notes the end
// of the segments.
func (s *Sealer) Pass(ctx context.Context, now time.Time) error {
	if err := s.note(ctx, now); err != nil {
		return err
	}
	var last *store.TrailSeal
	var newest, through int64
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		if newest, err = tx.NewestEvent(); err != nil {
			return err
		}
		last, err = tx.LastTrailSeal()
		return err
	})
	if err != nil {
		return err
	}
	through, s.seen = s.seen, newest
	if !s.started {
		s.started = true
		return nil
	}
	if last != nil && last.Node != s.Node && now.Sub(last.SealedAt) < turn && last.SealedAt.Sub(now) < turn {
		return nil
	}
	late := now.Sub(s.looked) >= lookLate
	if late && last != nil && !s.looked.IsZero() && now.Sub(last.SealedAt) > lateFor+lookLate {
		late = false // nothing can come any more
	}
	for ctx.Err() == nil {
		made, err := s.seal(ctx, now, through, late)
		if err != nil || made < perSeal {
			if err == nil && late {
				s.looked = now
			}
			return err
		}
	}
	return nil
}

// seal makes one seal, over what came late and what is new up to the number
// through, and returns how many events it covers.
func (s *Sealer) seal(ctx context.Context, now time.Time, through int64, late bool) (int, error) {
	var next *store.TrailSeal
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		last, err := tx.LastTrailSeal()
		if err != nil {
			return err
		}
		a, err := s.Keys.loadAnchor(tx)
		if err != nil {
			return err
		}
		next = &store.TrailSeal{Number: a.Number + 1, High: a.Through, SealedAt: now.UTC().Truncate(time.Microsecond), Node: s.Node}
		before := a.Seal
		if last != nil {
			next.Number, next.High, before = last.Number+1, max(last.High, a.Through), last.Seal
		}
		list, err := s.gather(tx, last, next.High, through, late)
		if err != nil || len(list) == 0 {
			return err
		}
		next.Events, next.High = len(list), max(next.High, list[len(list)-1].seq)
		next.Proofs = encodeProofs(list)
		next.Seal = s.Keys.sealOf(next, before)
		return nil
	})
	if err != nil || next == nil || next.Events == 0 {
		return 0, err
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		last, err := tx.LastTrailSeal()
		if err != nil || last != nil && last.Number != next.Number-1 {
			return err // another node was quicker; the next pass looks again
		}
		return tx.AddTrailSeal(next)
	})
	if fault.Is(err, fault.Exists) {
		return 0, nil
	}
	return next.Events, err
}

// gather returns proofs of the events that no seal covers, in order.
func (s *Sealer) gather(tx *store.Tx, last *store.TrailSeal, high, through int64, late bool) ([]proof, error) {
	var list []proof
	if late && last != nil {
		missed, err := s.missed(tx, last, high)
		if err != nil {
			return nil, err
		}
		for _, seq := range missed {
			events, err := tx.StoredEvents(seq-1, seq, 1)
			if err != nil {
				return nil, err
			}
			for i := range events {
				list = append(list, s.Keys.proof(&events[i]))
			}
		}
	}
	if through <= high || len(list) >= perSeal {
		return list, nil
	}
	events, err := tx.StoredEvents(high, through, perSeal-len(list))
	for i := range events {
		list = append(list, s.Keys.proof(&events[i]))
	}
	return list, err
}

// missed returns up to perSeal numbers below high of events that came after
// the seals around them.
func (s *Sealer) missed(tx *store.Tx, last *store.TrailSeal, high int64) ([]int64, error) {
	covered := map[int64]bool{}
	low := int64(-1)
	for n := last.Number; low < 0; n-- {
		list, err := tx.TrailSeals(n-1, 1)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 || list[0].Number != n {
			break // the beginning, or where retention cut
		}
		if last.SealedAt.Sub(list[0].SealedAt) > lateFor || len(covered) > mostLate {
			low = list[0].High
			break
		}
		proofs, err := decodeProofs(list[0].Proofs)
		if err != nil {
			return nil, err
		}
		for _, p := range proofs {
			covered[p.seq] = true
		}
	}
	if low < 0 {
		a, err := s.Keys.loadAnchor(tx)
		if err != nil {
			return nil, err
		}
		low = a.Through
	}
	numbers, err := tx.EventNumbers(low, high)
	var missed []int64
	for _, seq := range numbers {
		if !covered[seq] && len(missed) < perSeal {
			missed = append(missed, seq)
		}
	}
	return missed, err
}

// note stores the end of this node's segments from time to time.
func (s *Sealer) note(ctx context.Context, now time.Time) error {
	h := s.Recorder.Head()
	if h == nil || *h == s.noteOf || now.Sub(s.noted) < noteEvery {
		return nil
	}
	err := s.Store.Update(ctx, func(tx *store.Tx) error { return s.Keys.NoteHead(tx, h, now) })
	if err == nil {
		s.noted, s.noteOf = now, *h
	}
	return err
}
