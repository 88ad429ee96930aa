package secretsmanager

import (
	"context"

	"github.com/google/uuid"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// CreateSecret makes a secret, with a first version if a value is given. A
// repeated call is answered as the first one was.
func (s *Service) CreateSecret(ctx context.Context, call *wire.Call, in *api.CreateSecretRequest) (*api.CreateSecretResponse, error) {
	token := given(in.ClientRequestToken)
	if err := secret.ValidateName(*in.Name); err != nil {
		return nil, err
	}
	if err := secret.CheckToken(token, fault.State); err != nil {
		return nil, err
	}
	v := newValue(in.SecretString, in.SecretBinary)
	var fresh *secret.Secret
	var out *api.CreateSecretResponse
	err := retry(ctx, func(int) error {
		if err := s.admitCreate(ctx, call, in); err != nil {
			return err
		}
		if err := v.check(); err != nil {
			return err
		}
		if fresh == nil {
			var err error
			if fresh, err = s.newSecret(call, in); err != nil {
				return err
			}
		}
		existing, rec, err := s.beforeCreate(ctx, call, in, fresh)
		if err != nil {
			return err
		}
		if existing != nil {
			out, err = s.createdBefore(ctx, existing, token, v)
			return err
		}
		out, err = s.create(ctx, call, fresh.Clone(), rec, token, v)
		return err
	})
	return out, err
}

// admitCreate authorises the call: tags and replicas from the beginning take
// the permission for adding them as well (AWS docs).
func (s *Service) admitCreate(ctx context.Context, call *wire.Call, in *api.CreateSecretRequest) error {
	if err := s.resolveKey(ctx, call, call.Principal.Account, in.KmsKeyId); err != nil {
		return err
	}
	actions := []string{""}
	if len(in.Tags) > 0 {
		actions = append(actions, "secretsmanager:TagResource")
	}
	if len(in.AddReplicaRegions) > 0 {
		actions = append(actions, "secretsmanager:ReplicateSecretToRegions")
	}
	for _, action := range actions {
		if err := s.Guard.NewSecret(call, action, *in.Name); err != nil {
			return err
		}
	}
	return s.ensureDefaultKey(ctx, call.Principal.Account, call.Region)
}

// newSecret makes the record of a secret without versions.
func (s *Service) newSecret(call *wire.Call, in *api.CreateSecretRequest) (*secret.Secret, error) {
	now := milliseconds(call.Time)
	sec := &secret.Secret{
		ID: uuid.NewString(), Account: call.Principal.Account, Region: call.Region, Name: *in.Name, Suffix: secret.NewSuffix(),
		Description: given(in.Description), KMSKeyID: given(in.KmsKeyId), Type: given(in.Type), CreatedAt: now,
	}
	if len(in.Tags) > 0 {
		if err := addTags(call, sec, in.Tags, now); err != nil {
			return nil, err
		}
	}
	sec.ChangedAt = now
	if in.AddReplicaRegions == nil {
		return sec, nil
	}
	return sec, s.addReplicas(sec, in.AddReplicaRegions, given(in.ForceOverwriteReplicaSecret))
}

// existing is a secret that has the name of one to be made.
type existing struct {
	secret *secret.Secret
	// stored is the version that the token names, if it has a value.
	stored *reading
}

// beforeCreate finds the secret that has the name already, or else the key
// for the new one.
func (s *Service) beforeCreate(ctx context.Context, call *wire.Call, in *api.CreateSecretRequest, fresh *secret.Secret) (found *existing, rec *key.Record, err error) {
	token := given(in.ClientRequestToken)
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		found, rec = nil, nil
		sec, err := tx.FindLabelled(call.Principal.Account, call.Region, arn.SecretRef{Name: *in.Name}, token)
		if fault.Is(err, fault.NotFound) {
			rec, err = s.firstKey(tx, call, in, fresh)
			return err
		}
		if err != nil {
			return err
		}
		found = &existing{secret: sec}
		if v := sec.Version(token); v != nil && v.HasValue {
			box, err := s.sealedVersion(tx, call, sec, v, nil)
			if err != nil {
				return err
			}
			found.stored = &reading{sec, v, box}
		}
		return nil
	})
	return found, rec, err
}

// firstKey returns the key of a secret that is to be made, with which the
// call seals its value and that of its replicas.
func (s *Service) firstKey(tx *store.Tx, call *wire.Call, in *api.CreateSecretRequest, fresh *secret.Secret) (rec *key.Record, err error) {
	if in.KmsKeyId != nil {
		if rec, err = s.chosenKey(tx, call, fresh, *in.KmsKeyId); err != nil {
			return nil, err
		}
	}
	if in.KmsKeyId == nil || in.SecretString != nil || in.SecretBinary != nil {
		if rec, err = s.sealingKey(tx, call, fresh, given(in.KmsKeyId), given(in.ClientRequestToken)); err != nil {
			return nil, err
		}
	}
	return rec, s.checkReplicaKeys(tx, call, fresh, in.AddReplicaRegions)
}

// createdBefore answers a call for a name that is taken: as before if it is a
// repetition, with an error otherwise.
func (s *Service) createdBefore(ctx context.Context, found *existing, token string, v value) (*api.CreateSecretResponse, error) {
	var same func() (bool, error)
	if v.given() {
		same = func() (bool, error) {
			plain, err := s.open(ctx, &found.stored.sealed)
			return found.stored.version.Binary == (v.text == nil) && plain.Equal(v.plaintext), err
		}
	}
	if err := found.secret.DecideCreate(token, same); err != nil {
		return nil, err
	}
	return created(found.secret, token), nil
}

// create seals the value and stores the secret with it.
func (s *Service) create(ctx context.Context, call *wire.Call, sec *secret.Secret, rec *key.Record, token string, v value) (*api.CreateSecretResponse, error) {
	if rec.Manager == key.AWS {
		sec.KMSKeyID = "" // the default key by whatever name
	}
	if v.given() {
		version := secret.Version{
			ID: token, CreatedAt: sec.CreatedAt, HasValue: true, Binary: v.text == nil, KeyARN: rec.ARN(), WrittenBy: writer(call),
		}
		var err error
		if version.Sealed, err = s.seal(ctx, rec, sec.ARN(), token, v.plaintext); err != nil {
			return nil, err
		}
		if _, err := sec.Put(version, nil); err != nil {
			return nil, err
		}
	} else {
		token = ""
	}
	out := created(sec, token)
	concern(call, sec)
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		err := tx.SaveSecret(nil, sec)
		if fault.Is(err, fault.Exists) {
			return errStale
		}
		if err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
	if err != nil {
		return nil, err
	}
	if len(sec.Replicas) > 0 {
		s.replicator.Wake()
	}
	return out, nil
}

// created is the answer for a secret whose first version has the ID; "" for
// none.
func created(sec *secret.Secret, versionID string) *api.CreateSecretResponse {
	return &api.CreateSecretResponse{
		ARN: new(sec.ARN()), Name: &sec.Name, VersionId: orNil(versionID), ReplicationStatus: replicationStatus(sec),
	}
}
