package server

import (
	"context"
	"time"

	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
)

// keepEvents is how long the trail is kept: what LookupEvents shows (AWS
// docs).
const keepEvents = 90 * 24 * time.Hour

// housekeepInterval is the time between two removals of what is too old.
const housekeepInterval = time.Hour

// housekeep removes trail events and log entries past their retention.
func (s *Server) housekeep(ctx context.Context) error {
	tick := time.NewTicker(housekeepInterval)
	defer tick.Stop()
	for {
		now := time.Now()
		err := s.recorder.Prune(now.Add(-keepEvents))
		if err == nil {
			err = s.dropEvents(ctx, now.Add(-keepEvents))
		}
		if err == nil {
			err = s.trimLogs(ctx, now)
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("removing old events and log entries", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// batch is how many rows one transaction removes, so that other changes get
// their turn.
const batch = 1000

// dropEvents removes the stored events of before.
func (s *Server) dropEvents(ctx context.Context, before time.Time) error {
	for {
		var dropped int64
		err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
			dropped, err = tx.DropEvents(before, batch)
			return err
		})
		if err != nil || dropped < batch {
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
