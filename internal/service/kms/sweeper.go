package kms

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/sweep"
	"github.com/keyturn/keyturn/internal/trail"
)

// Sweeper deletes keys whose waiting period ended, and gives new material to
// those whose automatic rotation is due. Several nodes may run one each.
type Sweeper struct{ service *Service }

// Sweeper returns the service's Sweeper.
func (s *Service) Sweeper() *Sweeper { return &Sweeper{s} }

// sweepInterval is the time between two sweeps. Neither deletion nor rotation
// happens at a fixed minute on AWS, either.
const sweepInterval = time.Minute

// Run sweeps until ctx ends. Failures are logged; the next sweep tries again.
func (w *Sweeper) Run(ctx context.Context) error {
	return sweep.Every(ctx, sweepInterval, w.service.Logger, "deleting and rotating keys", w.Sweep)
}

// sweepBatch is how many keys one look takes.
const sweepBatch = 100

// Sweep does everything that is due at the given time.
func (w *Sweeper) Sweep(ctx context.Context, now time.Time) error {
	return errors.Join(
		w.each(ctx, func(tx *store.Tx) ([]*key.Record, error) { return tx.KeysToPurge(now, sweepBatch) }, func(rec *key.Record) error {
			return w.purge(ctx, rec, now)
		}),
		w.each(ctx, func(tx *store.Tx) ([]*key.Record, error) { return tx.KeysToRotate(now, sweepBatch) }, func(rec *key.Record) error {
			return w.rotate(ctx, rec, now)
		}),
	)
}

// each works through what is due, batch by batch. A key that fails does not
// keep the others of its batch back.
func (w *Sweeper) each(ctx context.Context, due func(*store.Tx) ([]*key.Record, error), work func(*key.Record) error) error {
	for ctx.Err() == nil {
		var list []*key.Record
		err := w.service.Store.View(ctx, func(tx *store.Tx) (err error) {
			list, err = due(tx)
			return err
		})
		if err != nil {
			return err
		}
		var errs []error
		for _, rec := range list {
			if err := work(rec); err != nil {
				errs = append(errs, fmt.Errorf("key %s: %w", rec.ID, err))
			}
		}
		if len(errs) > 0 || len(list) < sweepBatch {
			return errors.Join(errs...)
		}
	}
	return ctx.Err()
}

// purge deletes a key for ever, unless that was cancelled meanwhile.
func (w *Sweeper) purge(ctx context.Context, rec *key.Record, now time.Time) error {
	err := w.service.Store.Update(ctx, func(tx *store.Tx) error {
		rec, err := tx.Key(rec.Account, rec.Region, rec.ID)
		if fault.Is(err, fault.NotFound) {
			return nil // another node was faster
		}
		if err != nil || !rec.Expired(now) {
			return err
		}
		if err := tx.DeleteKey(rec.Account, rec.Region, rec.ID); err != nil {
			return err
		}
		return tx.Record(trail.KeyEvent("DeleteKey", rec.ARN(), map[string]string{"keyId": rec.ID}))
	})
	if err == nil {
		w.service.Keys.Forget(rec.ID)
	}
	return err
}

// rotate gives a key new material, unless that was done or stopped meanwhile.
// The material is wrapped before the transaction, as that may leave the
// machine.
func (w *Sweeper) rotate(ctx context.Context, rec *key.Record, now time.Time) error {
	material, err := key.NewMaterial(ctx, w.service.Keeper, now)
	if err != nil {
		return err
	}
	return w.service.Store.Update(ctx, func(tx *store.Tx) error {
		rec, err := tx.Key(rec.Account, rec.Region, rec.ID)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil || !rec.RotationDue(now) {
			return err
		}
		after := rec.Clone()
		after.RotateAutomatically(material, now)
		if err := tx.SaveKey(after); err != nil {
			return err
		}
		return tx.Record(rotated(after))
	})
}
