package secretsmanager

import (
	"context"
	"crypto/subtle"
	"encoding/json"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotation"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// GetSecretValue opens one version of a secret: by ID, by staging label, by
// both, or the current one. The first read of a UTC day sets
// LastAccessedDate.
func (s *Service) GetSecretValue(ctx context.Context, call *wire.Call, in *api.GetSecretValueRequest) (*api.GetSecretValueResponse, error) {
	if err := secret.ValidateID(*in.SecretId); err != nil {
		return nil, err
	}
	var r reading
	err := s.Store.Read(ctx, func(tx *store.Tx) (err error) {
		r, err = s.read(tx, call, *in.SecretId, given(in.VersionId), given(in.VersionStage), nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	plain, err := s.open(ctx, &r.sealed)
	if err != nil {
		return nil, err
	}
	s.noteAccess(ctx, call, r)
	call.Additional = r.told()
	out := &api.GetSecretValueResponse{
		ARN: &r.sealed.arn, Name: &r.secret.Name, VersionId: &r.version.ID,
		VersionStages: r.version.Labels, CreatedDate: &r.version.CreatedAt,
	}
	out.SecretString, out.SecretBinary = reveal(r.version, plain)
	return out, nil
}

// reading is a version on its way to a client.
type reading struct {
	secret  *secret.Secret
	version *secret.Version
	sealed  sealed
}

// told is what the event of a reading says beside the request: which version
// it was. The labels move later, so nobody could find it out from the request.
func (r *reading) told() json.RawMessage {
	e := wire.NewTrailEncoder(make([]byte, 0, 64))
	e.Begin()
	e.String("VersionId", &r.version.ID)
	e.End()
	return e.Bytes()
}

// read resolves and authorises a secret for reading and finds the version.
// Neither selector means AWSCURRENT.
func (s *Service) read(tx *store.Tx, call *wire.Call, id, versionID, stage string, known knownKeys) (reading, error) {
	if versionID == "" && stage == "" {
		stage = secret.Current
	}
	sec, err := s.Guard.ReadVersion(tx, call, id, versionID, stage)
	if err != nil {
		return reading{}, err
	}
	concern(call, sec)
	if err := sec.Admit(secret.Read); err != nil {
		return reading{}, err
	}
	v, err := sec.Select(versionID, stage)
	if err != nil {
		return reading{}, err
	}
	if err := checkAccount(call, sec, sec.KMSKeyID); err != nil {
		return reading{}, err
	}
	box, err := s.sealedVersion(tx, call, sec, v, known)
	return reading{sec, v, box}, err
}

// reveal returns the value as the member by which it was given.
func reveal(v *secret.Version, plain plaintext.Value) (text *string, binary []byte) {
	if v.Binary {
		return nil, plain.Reveal()
	}
	return new(string(plain.Reveal())), nil
}

// checkAccount refuses a caller of another account to whom no key policy
// could give access, as keyID is the default key (AWS: recorded).
func checkAccount(call *wire.Call, sec *secret.Secret, keyID string) error {
	if call.Principal.Account != sec.Account && isDefaultKey(sec.Account, keyID) {
		return fault.New(fault.State, "You can't access a secret from a different AWS account if you encrypt the secret with the default KMS service key.")
	}
	return nil
}

// isDefaultKey reports whether a KmsKeyId names the account's default key.
func isDefaultKey(account, id string) bool {
	a, _ := arn.Parse(id)
	return id == "" || id == key.DefaultAlias || a.Service == "kms" && a.Account == account && a.Resource == key.DefaultAlias
}

// noteAccess stores the day of the readings that are the first of the day. A
// read does not fail for want of that.
func (s *Service) noteAccess(ctx context.Context, call *wire.Call, readings ...reading) {
	today := day(call.Time)
	first := func(r reading) bool { return r.secret.AccessedOn.Before(today) || r.version.AccessedOn.Before(today) }
	var fresh []reading
	for i := range readings {
		if first(readings[i]) {
			fresh = append(fresh, readings[i])
		}
	}
	if len(fresh) == 0 {
		return
	}
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		for i := range fresh {
			if err := tx.TouchSecret(fresh[i].secret.ID, fresh[i].version.ID, today); err != nil {
				return err
			}
			if err := noteReplicaAccess(tx, fresh[i].secret, today); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.Logger.WarnContext(ctx, "storing the last accessed date", "secret", fresh[0].sealed.arn, "error", err)
	}
}

// PutSecretValue adds a version to a secret, or gives the empty version of a
// rotation its value.
func (s *Service) PutSecretValue(ctx context.Context, call *wire.Call, in *api.PutSecretValueRequest) (*api.PutSecretValueResponse, error) {
	token := given(in.ClientRequestToken)
	if err := checkTarget(*in.SecretId, token, fault.State); err != nil {
		return nil, err
	}
	var out *api.PutSecretValueResponse
	err := retry(ctx, func(attempt int) error {
		p, err := s.prepare(ctx, call, *in.SecretId, token, newValue(in.SecretString, in.SecretBinary), nil, attempt)
		if err != nil {
			return err
		}
		out, err = change(ctx, s, call, target{id: *in.SecretId, use: secret.Write, version: p.sought}, func(c changing) (*api.PutSecretValueResponse, error) {
			if err := s.put(c, p, in.VersionStages, given(in.RotationToken)); err != nil {
				return nil, err
			}
			return &api.PutSecretValueResponse{
				ARN: new(c.after.ARN()), Name: &c.after.Name, VersionId: &token, VersionStages: c.after.Version(token).Labels,
			}, nil
		})
		return err
	})
	return out, err
}

// checkTarget makes the checks that come before the secret is looked for: the
// characters of the name, then the token (AWS: recorded).
func checkTarget(id, token string, missing fault.Kind) error {
	if err := secret.ValidateID(id); err != nil {
		return err
	}
	return secret.CheckToken(token, missing)
}

// put applies a prepared value to the secret, ends the rotation that it makes
// void, and plans the next one.
func (s *Service) put(c changing, p *prepared, labels []string, rotationToken string) error {
	if err := p.fits(s, c); err != nil {
		return err
	}
	decision, err := c.after.DecidePut(p.token, p.same)
	if err != nil || decision == secret.Replay {
		return err
	}
	if p.key == nil {
		return errStale // the version that the token named was purged
	}
	run, err := lastRun(c.tx, c.before)
	if err != nil {
		return err
	}
	v := p.version
	v.CreatedAt = c.call.Time
	v.WrittenBy = writer(c.call)
	v.ByToken = s.byToken(run, p.token, rotationToken)
	effect, err := c.after.Put(v, labels)
	if err != nil {
		return err
	}
	return abandon(c, run, effect)
}

// abandon ends a rotation that the new version makes void, with its event
// (AWS docs), and computes the dates anew: a value put by hand counts as a
// rotation.
func abandon(c changing, run *secret.RotationRun, effect secret.Effect) error {
	if run != nil {
		fence := run.Fence
		if c.after.AbandonRotation(run, effect, c.call.Time) {
			if err := c.tx.SaveRun(run, fence); err != nil {
				return err
			}
			id := trail.RotationRequestID(c.after.ARN(), run.Token)
			if err := c.tx.Record(trail.SecretEvent("RotationAbandoned", c.after.ARN(), id, "")); err != nil {
				return err
			}
		}
	}
	if effect.Current == "" || run != nil && run.State == secret.Running {
		return nil // the end of a run plans the next
	}
	return fault.Wrap(c.after.Plan(run), "planning the next rotation")
}

// writer is the identity that a value is put under: the role of a session, so
// that every session of a rotation function's role is the same.
func writer(call *wire.Call) string {
	if call.Principal.RoleARN != "" {
		return call.Principal.RoleARN
	}
	return call.Principal.ARN
}

// byToken reports whether the call proved by the rotation token that it
// belongs to the rotation in progress.
func (s *Service) byToken(run *secret.RotationRun, versionID, token string) bool {
	if token == "" || run == nil || !run.Active() || run.Token != versionID || run.RotationToken == nil {
		return false
	}
	want, err := s.Sealer.Open(rotation.TokenPurpose, run.RotationToken)
	return err == nil && subtle.ConstantTimeCompare(want, []byte(token)) == 1
}

// lastRun returns the last run of a secret as it is stored; nil when there is
// none, as of a secret whose rotation was never configured.
func lastRun(tx *store.Tx, sec *secret.Secret) (*secret.RotationRun, error) {
	if !sec.Rotation.Configured {
		return nil, nil
	}
	run, err := tx.Run(sec.ID)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return run, err
}
