package secretsmanager

import (
	"context"
	"time"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// The recovery window in days (AWS docs).
const (
	defaultWindow = 30
	minWindow     = 7
	maxWindow     = 30
)

// DeleteSecret schedules a secret for deletion, or removes it at once. Forced
// deletion of a secret that does not exist succeeds (AWS: recorded).
func (s *Service) DeleteSecret(ctx context.Context, call *wire.Call, in *api.DeleteSecretRequest) (*api.DeleteSecretResponse, error) {
	if err := secret.ValidateID(*in.SecretId); err != nil {
		return nil, err
	}
	if given(in.ForceDeleteWithoutRecovery) {
		return s.forceDelete(ctx, call, in)
	}
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Delete, whole: true}, func(c changing) (*api.DeleteSecretResponse, error) {
		if err := checkWindow(in); err != nil {
			return nil, err
		}
		window := int64(defaultWindow)
		if in.RecoveryWindowInDays != nil {
			window = *in.RecoveryWindowInDays
		}
		now := milliseconds(call.Time)
		c.after.ChangedAt = now
		c.after.DeleteAt = now.Add(time.Duration(window) * 24 * time.Hour)
		if err := c.after.Plan(nil); err != nil {
			return nil, fault.Wrap(err, "stopping the schedule")
		}
		if err := recordVersions(c.tx, "StartSecretVersionDelete", call.RequestID, c.after, call.Time); err != nil {
			return nil, err
		}
		return &api.DeleteSecretResponse{ARN: new(c.after.ARN()), Name: &c.after.Name, DeletionDate: &c.after.DeleteAt}, nil
	})
}

// checkWindow refuses what the call says of the window (AWS: texts assumed).
func checkWindow(in *api.DeleteSecretRequest) error {
	switch days := in.RecoveryWindowInDays; {
	case days != nil && given(in.ForceDeleteWithoutRecovery):
		return fault.New(fault.Parameter, "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
	case days != nil && (*days < minWindow || *days > maxWindow):
		return fault.New(fault.Parameter, "The RecoveryWindowInDays value must be between %d and %d days (inclusive).", minWindow, maxWindow)
	}
	return nil
}

// forceDelete removes the secret with everything that belongs to it.
func (s *Service) forceDelete(ctx context.Context, call *wire.Call, in *api.DeleteSecretRequest) (out *api.DeleteSecretResponse, err error) {
	if err := checkWindow(in); err != nil {
		return nil, err
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		out = nil
		sec, err := s.admitted(tx, call, target{id: *in.SecretId, use: secret.ForceDelete, whole: true})
		if fault.Is(err, fault.NotFound) {
			out = deletedNothing(call, *in.SecretId)
			return tx.Record(call.Event(out))
		}
		if err != nil {
			return err
		}
		out = &api.DeleteSecretResponse{ARN: new(sec.ARN()), Name: &sec.Name, DeletionDate: new(milliseconds(call.Time))}
		if err := tx.Record(call.Event(out)); err != nil {
			return err
		}
		if !sec.Deleted() {
			if err := recordVersions(tx, "StartSecretVersionDelete", call.RequestID, sec, call.Time); err != nil {
				return err
			}
		}
		return purge(tx, sec, call.RequestID, call.Time)
	})
	return out, err
}

// purge removes a secret whose versions are all loaded, with the events that
// go with it.
func purge(tx *store.Tx, sec *secret.Secret, requestID string, at time.Time) error {
	if err := tx.DeleteSecret(sec.ID); err != nil {
		return err
	}
	return recordVersions(tx, "EndSecretVersionDelete", requestID, sec, at)
}

// recordVersions records a service event for each version of the secret.
func recordVersions(tx *store.Tx, name, requestID string, sec *secret.Secret, at time.Time) error {
	for range sec.Versions {
		if err := tx.Record(trail.SecretEvent(name, sec.ARN(), requestID, "").At(at)); err != nil {
			return err
		}
	}
	return nil
}

// deletedNothing is the answer to the forced deletion of a secret that does
// not exist: the name as it was sent, and an ARN made up for it (AWS:
// recorded).
func deletedNothing(call *wire.Call, id string) *api.DeleteSecretResponse {
	name, address := id, id
	if ref := arn.ParseSecretRef(id); !arn.IsARN(id) {
		address = arn.Secret(call.Region, call.Principal.Account, id, secret.NewSuffix())
	} else if ref.Name != "" {
		name = ref.Name
	}
	return &api.DeleteSecretResponse{ARN: &address, Name: &name, DeletionDate: new(milliseconds(call.Time))}
}

// RestoreSecret undoes a scheduled deletion. On a secret that is not
// scheduled it changes nothing (assumed). Rotation goes on by its rules.
func (s *Service) RestoreSecret(ctx context.Context, call *wire.Call, in *api.RestoreSecretRequest) (*api.RestoreSecretResponse, error) {
	out, err := change(ctx, s, call, target{id: *in.SecretId, use: secret.Restore, whole: true}, func(c changing) (*api.RestoreSecretResponse, error) {
		out := &api.RestoreSecretResponse{ARN: new(c.after.ARN()), Name: &c.after.Name}
		if !c.after.Deleted() {
			return out, nil
		}
		c.after.DeleteAt = time.Time{}
		c.after.ChangedAt = milliseconds(call.Time)
		run, err := lastRun(c.tx, c.before)
		if err != nil {
			return nil, err
		}
		if err := c.after.Plan(run); err != nil {
			return nil, fault.Wrap(err, "planning the next rotation")
		}
		return out, recordVersions(c.tx, "CancelSecretVersionDelete", call.RequestID, c.after, call.Time)
	})
	if err == nil {
		s.Wake() // a window may have been missed
	}
	return out, err
}
