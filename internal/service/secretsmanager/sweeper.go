package secretsmanager

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/sweep"
	"github.com/keyturn/keyturn/internal/trail"
)

// Sweeper removes secrets whose recovery window ended and deprecated versions
// beyond those that are kept. Several nodes may run one each.
type Sweeper struct {
	service *Service
}

func newSweeper(s *Service) *Sweeper { return &Sweeper{s} }

// sweepInterval is the time between two sweeps. AWS gives no time either: it
// removes secrets with low priority.
const sweepInterval = time.Minute

// Run sweeps until ctx ends. Failures are logged; the next sweep tries again.
func (w *Sweeper) Run(ctx context.Context) error {
	return sweep.Every(ctx, sweepInterval, w.service.Logger, "removing deleted secrets and versions", w.Sweep)
}

// sweepBatch is how many secrets one look takes.
const sweepBatch = 100

// Sweep removes everything that may go at the given time.
func (w *Sweeper) Sweep(ctx context.Context, now time.Time) error {
	return errors.Join(w.purgeSecrets(ctx, now), w.pruneVersions(ctx, now))
}

func (w *Sweeper) purgeSecrets(ctx context.Context, now time.Time) error {
	for ctx.Err() == nil {
		var due []*secret.Secret
		err := w.service.Store.View(ctx, func(tx *store.Tx) (err error) {
			due, err = tx.SecretsToPurge(now, sweepBatch)
			return err
		})
		if err != nil {
			return err
		}
		for _, sec := range due {
			if err := w.purgeSecret(ctx, sec.ID, now); err != nil {
				return err
			}
		}
		if len(due) < sweepBatch {
			return nil
		}
	}
	return ctx.Err()
}

// purgeSecret removes one secret unless it was restored meanwhile.
func (w *Sweeper) purgeSecret(ctx context.Context, id string, now time.Time) error {
	return w.service.Store.Update(ctx, func(tx *store.Tx) error {
		sec, err := tx.SecretByID(id)
		if notFound(err) {
			return nil
		}
		if err != nil || !sec.Deleted() || sec.DeleteAt.After(now) {
			return err
		}
		return purge(tx, sec, uuid.NewString(), now)
	})
}

// pruneVersions removes what package secret calls purgeable. A replica's
// versions go when its primary's do.
func (w *Sweeper) pruneVersions(ctx context.Context, now time.Time) error {
	for after := ""; ctx.Err() == nil; {
		var crowded []*secret.Secret
		err := w.service.Store.View(ctx, func(tx *store.Tx) (err error) {
			crowded, err = tx.CrowdedSecrets(after, sweepBatch)
			return err
		})
		if err != nil {
			return err
		}
		for _, sec := range crowded {
			after = sec.ID
			if sec.IsReplica() || len(sec.Purgeable(now)) == 0 {
				continue
			}
			if err := w.pruneSecret(ctx, sec.ID, now); err != nil {
				return err
			}
		}
		if len(crowded) < sweepBatch {
			return nil
		}
	}
	return ctx.Err()
}

func (w *Sweeper) pruneSecret(ctx context.Context, id string, now time.Time) error {
	return w.service.Store.Update(ctx, func(tx *store.Tx) error {
		before, err := tx.SecretByID(id)
		if err != nil {
			if notFound(err) {
				return nil
			}
			return err
		}
		after := before.Clone()
		for range after.Purge(now) {
			requestID := uuid.NewString()
			for _, name := range []string{"StartSecretVersionDelete", "EndSecretVersionDelete"} {
				if err := tx.Record(trail.SecretEvent(name, after.ARN(), requestID, "")); err != nil {
					return err
				}
			}
		}
		return tx.SaveSecret(before, after)
	})
}
