package server

import (
	"context"
	"time"

	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/sweep"
)

// keepEvents is how long the trail is kept: what LookupEvents shows (AWS
// docs).
const keepEvents = 90 * 24 * time.Hour

// keepStacks is how long a deleted stack is shown (AWS docs).
const keepStacks = 90 * 24 * time.Hour

// housekeepInterval is the time between two removals of what is too old.
const housekeepInterval = time.Hour

// housekeep removes trail events and log entries past their retention.
func (s *Server) housekeep(ctx context.Context) error {
	return sweep.Every(ctx, housekeepInterval, s.cfg.Logger, "removing old events and log entries", func(ctx context.Context, now time.Time) error {
		if err := s.recorder.Prune(now.Add(-keepEvents), 0, s.seals.Segments); err != nil {
			return err
		}
		if err := s.dropEvents(ctx, now.Add(-keepEvents)); err != nil {
			return err
		}
		if err := s.purgeStacks(ctx, now.Add(-keepStacks)); err != nil {
			return err
		}
		return s.trimLogs(ctx, now)
	})
}

// batch is how many rows one transaction removes, so that other changes get
// their turn.
const batch = 1000

// dropEvents removes the stored events of before.
func (s *Server) dropEvents(ctx context.Context, before time.Time) error {
	for {
		var dropped int64
		err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
			dropped, err = s.seals.Drop(tx, time.Now(), before, batch)
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
func (s *Server) trimLogs(ctx context.Context, now time.Time) error {
	for {
		var trimmed int
		err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
			trimmed, err = tx.TrimLogs(now, loggroup.DefaultKeep, batch)
			return err
		})
		if err != nil || trimmed == 0 {
			return err
		}
	}
}
