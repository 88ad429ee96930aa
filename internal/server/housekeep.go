package server

import (
	"context"
	"errors"
	"time"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/sweep"
)

// housekeep removes what is past its retention, until ctx ends.
func (s *Server) housekeep(ctx context.Context) error {
	return sweep.Every(ctx, s.cfg.Retention.Interval, s.cfg.Logger, "removing what is too old or too much", s.tidy)
}

// pruneInterval is the time between two looks at the size of the segments,
// which grow by megabytes a second on a busy node.
const pruneInterval = time.Minute

// pruneSegments keeps this node's segments within their bounds, until ctx
// ends.
func (s *Server) pruneSegments(ctx context.Context) error {
	r := &s.cfg.Retention
	return sweep.Every(ctx, min(pruneInterval, r.Interval), s.cfg.Logger, "removing old trail segments", func(_ context.Context, now time.Time) error {
		return s.recorder.Prune(before(now, r.TrailAge), max(r.TrailBytes, 0), s.seals.Segments)
	})
}

// tidy removes what is past its retention now. One failure does not keep the
// rest from being removed.
func (s *Server) tidy(ctx context.Context, now time.Time) error {
	r := &s.cfg.Retention
	var errs []error
	if r.TrailAge > 0 {
		errs = append(errs, s.dropEvents(ctx, now, now.Add(-r.TrailAge)), s.store.Update(ctx, func(tx *store.Tx) error {
			return tx.DropTrailHeads(now.Add(-r.TrailAge), s.node)
		}))
	}
	if r.StackAge > 0 {
		errs = append(errs, s.purgeStacks(ctx, now.Add(-r.StackAge)))
	}
	errs = append(errs, s.trimLogs(ctx, now, max(r.LogAge, 0)))
	if r.LogBytes > 0 {
		errs = append(errs, s.trimLargeGroups(ctx, r.LogBytes))
	}
	return errors.Join(errs...)
}

// before is the time at which things of an age were made; the zero time if age
// is no bound.
func before(now time.Time, age time.Duration) time.Time {
	if age <= 0 {
		return time.Time{}
	}
	return now.Add(-age)
}

// batch is how many rows one transaction removes, so that other changes get
// their turn.
const batch = 1000

// dropEvents removes the stored events of before.
func (s *Server) dropEvents(ctx context.Context, now, before time.Time) error {
	for {
		var dropped int64
		err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
			dropped, err = s.seals.Drop(tx, now, before, batch)
			return err
		})
		if err != nil || dropped == 0 {
			return err
		}
	}
}

// purgeStacks removes the stacks that were deleted before a time.
func (s *Server) purgeStacks(ctx context.Context, before time.Time) error {
	const few = 10 // each may have thousands of events
	for {
		purged, err := s.stacks.Purge(ctx, before, few)
		if err != nil || purged < few {
			return err
		}
	}
}

// trimLogs removes log entries past their group's retention.
func (s *Server) trimLogs(ctx context.Context, now time.Time, keep time.Duration) error {
	for {
		var trimmed int
		err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
			trimmed, err = tx.TrimLogs(now, keep, batch)
			return err
		})
		if err != nil || trimmed == 0 {
			return err
		}
	}
}

// trimLargeGroups removes the oldest entries of log groups without a retention
// policy that hold more than the given bytes. Looking for them is a read, so
// that it is in nobody's way.
func (s *Server) trimLargeGroups(ctx context.Context, most int64) error {
	for after := int64(0); ; {
		var id, excess int64
		err := s.store.View(ctx, func(tx *store.Tx) (err error) {
			id, excess, err = tx.LargeLogGroup(after, most)
			return err
		})
		if err != nil || id == 0 {
			return err
		}
		var removed int
		err = s.store.Update(ctx, func(tx *store.Tx) (err error) {
			removed, err = tx.TrimLogGroup(id, excess, batch)
			return err
		})
		if err != nil {
			return err
		}
		if removed == 0 {
			after = id
		}
	}
}
