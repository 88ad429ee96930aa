package secretsmanager

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/wire"
)

// UpdateSecret changes the members that are given. A value makes a new
// version, which becomes current; a new key seals the versions with AWS's
// labels again.
func (s *Service) UpdateSecret(ctx context.Context, call *wire.Call, in *api.UpdateSecretRequest) (*api.UpdateSecretResponse, error) {
	token := given(in.ClientRequestToken)
	if err := checkTarget(*in.SecretId, token, fault.State); err != nil {
		return nil, err
	}
	v := newValue(in.SecretString, in.SecretBinary)
	if !v.given() && in.KmsKeyId == nil {
		return change(ctx, s, call, target{id: *in.SecretId, use: secret.Write}, func(c changing) (*api.UpdateSecretResponse, error) {
			describeAnew(c, in)
			return &api.UpdateSecretResponse{ARN: new(c.after.ARN()), Name: &c.after.Name}, nil
		})
	}
	var out *api.UpdateSecretResponse
	err := retry(ctx, func(attempt int) error {
		p, err := s.prepare(ctx, call, *in.SecretId, token, v, in.KmsKeyId, attempt)
		if err != nil {
			return err
		}
		use := secret.Write
		if !v.given() && in.Description == nil && in.Type == nil {
			use = secret.Rekey
		}
		out, err = change(ctx, s, call, target{id: *in.SecretId, use: use, version: p.sought}, func(c changing) (*api.UpdateSecretResponse, error) {
			return s.update(c, in, p, v.given())
		})
		return err
	})
	return out, err
}

// update applies an update that was prepared.
func (s *Service) update(c changing, in *api.UpdateSecretRequest, p *prepared, withValue bool) (*api.UpdateSecretResponse, error) {
	out := &api.UpdateSecretResponse{}
	if withValue {
		if err := s.put(c, p, nil, ""); err != nil {
			return nil, err
		}
		out.VersionId = &p.token
	}
	if in.KmsKeyId != nil {
		if err := s.rekey(c, p); err != nil {
			return nil, err
		}
	}
	describeAnew(c, in)
	out.ARN, out.Name = new(c.after.ARN()), &c.after.Name
	return out, nil
}

// rekey makes the chosen key the secret's and takes over what was sealed
// again under it.
func (s *Service) rekey(c changing, p *prepared) error {
	if err := p.fits(s, c); err != nil {
		return err
	}
	rec, err := s.chosenKey(c.tx, c.call, c.before, *p.keyID)
	if err != nil {
		return err
	}
	keyID := *p.keyID
	if rec.Manager == key.AWS {
		keyID = "" // the default key by whatever name
	}
	if keyID == c.after.KMSKeyID && p.resealed == nil {
		return nil
	}
	c.after.KMSKeyID = keyID
	for _, sealed := range p.resealed {
		v := c.after.Version(sealed.ID)
		if v == nil {
			return errStale
		}
		v.KeyARN, v.Sealed = sealed.KeyARN, sealed.Sealed
	}
	c.after.ChangedAt = milliseconds(c.call.Time)
	return changeReplicaOf(c.tx, c.after, func(r *secret.Replica) { r.KMSKeyID = keyID })
}

// describeAnew sets the metadata that the call gives. An empty description
// clears it (assumed).
func describeAnew(c changing, in *api.UpdateSecretRequest) {
	if in.Description != nil && *in.Description != c.after.Description {
		c.after.Description = *in.Description
		c.after.ChangedAt = milliseconds(c.call.Time)
	}
	if in.Type != nil && *in.Type != c.after.Type {
		c.after.Type = *in.Type
		c.after.ChangedAt = milliseconds(c.call.Time)
	}
}
