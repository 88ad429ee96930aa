package kms

import (
	"context"
	"slices"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// EnableKeyRotation gives a key new material every so many days.
func (s *Service) EnableKeyRotation(ctx context.Context, call *wire.Call, in *api.EnableKeyRotationRequest) (*api.EnableKeyRotationResponse, error) {
	days := key.DefaultRotationDays
	if in.RotationPeriodInDays != nil {
		days = int(*in.RotationPeriodInDays)
	}
	out := &api.EnableKeyRotationResponse{}
	return out, s.change(ctx, call, *in.KeyId, out, func(_ *store.Tx, rec *key.Record) error {
		return rec.EnableRotation(call.Time, days)
	})
}

// DisableKeyRotation ends automatic rotation.
func (s *Service) DisableKeyRotation(ctx context.Context, call *wire.Call, in *api.DisableKeyRotationRequest) (*api.DisableKeyRotationResponse, error) {
	out := &api.DisableKeyRotationResponse{}
	return out, s.change(ctx, call, *in.KeyId, out, func(_ *store.Tx, rec *key.Record) error { return rec.DisableRotation() })
}

// GetKeyRotationStatus tells whether and when a key gets new material by
// itself.
func (s *Service) GetKeyRotationStatus(ctx context.Context, call *wire.Call, in *api.GetKeyRotationStatusRequest) (*api.GetKeyRotationStatusResponse, error) {
	out := &api.GetKeyRotationStatusResponse{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		rec, err := s.managed(tx, call, *in.KeyId, own(call))
		if err != nil {
			return err
		}
		*out = api.GetKeyRotationStatusResponse{KeyId: &rec.ID, KeyRotationEnabled: new(rec.Rotates())}
		if rec.Rotates() {
			out.RotationPeriodInDays, out.NextRotationDate = new(int64(rec.RotationDays)), &rec.NextRotation
		}
		return nil
	})
}

// RotateKeyOnDemand gives a key new material now; what is encrypted stays as
// it is.
func (s *Service) RotateKeyOnDemand(ctx context.Context, call *wire.Call, in *api.RotateKeyOnDemandRequest) (*api.RotateKeyOnDemandResponse, error) {
	// Wrapping may leave the machine, so the caller is authorised first, and
	// again where the material is stored.
	if err := s.view(ctx, call, *in.KeyId, (*key.Record).CheckRotatable); err != nil {
		return nil, err
	}
	material, err := key.NewMaterial(ctx, s.Keeper, call.Time)
	if err != nil {
		return nil, err
	}
	out := &api.RotateKeyOnDemandResponse{}
	return out, s.change(ctx, call, *in.KeyId, out, func(tx *store.Tx, rec *key.Record) error {
		if err := rec.RotateOnDemand(material); err != nil {
			return err
		}
		out.KeyId = &rec.ID
		return tx.Record(rotated(rec).At(call.Time))
	})
}

// rotated is the service event of a key's newest material (AWS docs).
func rotated(rec *key.Record) trail.Event {
	n := len(rec.Material)
	return trail.KeyEvent("RotateKey", rec.ARN(), map[string]string{
		"keyId": rec.ID, "keyOrigin": "AWS_KMS", "rotationType": string(rec.Material[n-1].Rotation),
		"currentKeyMaterialId": rec.Material[n-1].ID, "previousKeyMaterialId": rec.Material[n-2].ID,
	})
}

// ListKeyRotations lists a key's material after its first, or all of it.
func (s *Service) ListKeyRotations(ctx context.Context, call *wire.Call, in *api.ListKeyRotationsRequest) (*api.ListKeyRotationsResponse, error) {
	size, all := pageSize(in.Limit, 100), given(in.IncludeKeyMaterial) == "ALL_KEY_MATERIAL"
	out := &api.ListKeyRotationsResponse{}
	return out, s.view(ctx, call, *in.KeyId, func(rec *key.Record) error {
		entries := rotations(rec, all)
		if in.Marker != nil {
			i := slices.IndexFunc(entries, func(e api.RotationsListEntry) bool { return *e.KeyMaterialId == *in.Marker })
			if i < 0 {
				return errMarker()
			}
			entries = entries[i+1:]
		}
		entries, next := cut(entries, size, func(e api.RotationsListEntry) string { return *e.KeyMaterialId })
		*out = api.ListKeyRotationsResponse{Rotations: entries, Truncated: new(next != nil), NextMarker: next}
		return nil
	})
}

// rotations describes a key's material, oldest first.
func rotations(rec *key.Record, all bool) []api.RotationsListEntry {
	list := []api.RotationsListEntry{}
	for i := range rec.Material {
		m := &rec.Material[i]
		e := api.RotationsListEntry{KeyId: &rec.ID, KeyMaterialId: &m.ID, KeyMaterialState: new("NON_CURRENT")}
		if i == len(rec.Material)-1 {
			e.KeyMaterialState = new("CURRENT")
		}
		if i > 0 {
			e.RotationDate, e.RotationType = &m.CreatedAt, new(string(m.Rotation))
		} else if !all {
			continue
		}
		list = append(list, e)
	}
	return list
}
