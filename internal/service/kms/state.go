package kms

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// EnableKey makes a key usable.
func (s *Service) EnableKey(ctx context.Context, call *wire.Call, in *api.EnableKeyRequest) (*api.EnableKeyResponse, error) {
	out := &api.EnableKeyResponse{}
	return out, s.change(ctx, call, *in.KeyId, out, func(_ *store.Tx, rec *key.Record) error { return rec.Enable() })
}

// DisableKey stops every use of a key.
func (s *Service) DisableKey(ctx context.Context, call *wire.Call, in *api.DisableKeyRequest) (*api.DisableKeyResponse, error) {
	out := &api.DisableKeyResponse{}
	return out, s.change(ctx, call, *in.KeyId, out, func(_ *store.Tx, rec *key.Record) error { return rec.Disable() })
}

// ScheduleKeyDeletion stops every use of a key, which goes for ever after
// the waiting period.
func (s *Service) ScheduleKeyDeletion(ctx context.Context, call *wire.Call, in *api.ScheduleKeyDeletionRequest) (*api.ScheduleKeyDeletionResponse, error) {
	days := key.DefaultDeletionDays
	if in.PendingWindowInDays != nil {
		days = int(*in.PendingWindowInDays)
	}
	if err := checkDeletionDays(days); err != nil {
		return nil, err
	}
	out := &api.ScheduleKeyDeletionResponse{PendingWindowInDays: new(int64(days))}
	return out, s.change(ctx, call, *in.KeyId, out, func(_ *store.Tx, rec *key.Record) error {
		if err := rec.ScheduleDeletion(call.Time, days); err != nil {
			return err
		}
		out.KeyId, out.DeletionDate, out.KeyState = new(rec.ARN()), &rec.DeleteAt, new(string(rec.State))
		return nil
	})
}

// checkDeletionDays speaks as the model's constraints would if they were
// those of the documentation (assumed).
func checkDeletionDays(days int) error {
	const text = "1 validation error detected: Value '%d' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value %s than or equal to %d"
	switch {
	case days < key.MinDeletionDays:
		return fault.New(fault.Validation, text, days, "greater", key.MinDeletionDays)
	case days > key.MaxDeletionDays:
		return fault.New(fault.Validation, text, days, "less", key.MaxDeletionDays)
	}
	return nil
}

// CancelKeyDeletion keeps a key that was to be deleted, disabled.
func (s *Service) CancelKeyDeletion(ctx context.Context, call *wire.Call, in *api.CancelKeyDeletionRequest) (*api.CancelKeyDeletionResponse, error) {
	out := &api.CancelKeyDeletionResponse{}
	return out, s.change(ctx, call, *in.KeyId, out, func(_ *store.Tx, rec *key.Record) error {
		out.KeyId = new(rec.ARN())
		return rec.CancelDeletion()
	})
}
