package secretsmanager

import (
	"context"
	"slices"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// value is the value that a call brings: one of the two kinds, none, or,
// wrongly, both.
type value struct {
	text      *string
	binary    []byte
	plaintext plaintext.Value
}

func newValue(text *string, binary []byte) value {
	v := value{text: text, binary: binary, plaintext: plaintext.New(binary)}
	if text != nil {
		v.plaintext = plaintext.New([]byte(*text))
	}
	return v
}

func (v value) given() bool { return v.text != nil || v.binary != nil }

// check refuses two values at once (AWS: reported) and a text that is longer
// in bytes than in characters allowed (assumed).
func (v value) check() error {
	if v.text != nil && v.binary != nil {
		return fault.New(fault.Parameter, "You can't specify both a binary secret value and a string secret value in the same secret.")
	}
	if v.plaintext.Len() > secret.MaxValueBytes {
		return fault.New(fault.Validation, "1 validation error detected: Value at 'secretString' failed to satisfy constraint: "+
			"Member must have length less than or equal to %d", secret.MaxValueBytes)
	}
	return nil
}

// sealed is what it takes to open a version: read in a transaction, opened
// after it.
type sealed struct {
	arn     string // the secret's
	context key.EncryptionContext
	key     *key.Record
	box     []byte
}

// knownKeys are the keys that one call found in one transaction, by ARN. nil
// keeps none.
type knownKeys map[string]*key.Record

// via is the service that uses keys on behalf of its callers.
const via = "secretsmanager"

// sealedVersion returns a version's sealed value with its key, on which it
// authorises the call.
func (s *Service) sealedVersion(tx *store.Tx, call *wire.Call, sec *secret.Secret, v *secret.Version, known knownKeys) (sealed, error) {
	box := sealed{arn: sec.ARN()}
	box.context = key.SecretContext(box.arn, v.ID)
	use := authz.KeyUse{Action: "kms:Decrypt", Context: box.context, Via: via}
	rec, err := known[v.KeyARN], error(nil)
	if rec != nil {
		err = s.Guard.UseKey(tx, call, rec, use)
	} else if rec, err = s.Guard.Key(tx, call, sec.Account, v.KeyARN, use); err == nil && known != nil {
		known[v.KeyARN] = rec
	}
	if fault.Is(err, fault.Denied) {
		return sealed{}, s.deniedVersion(tx, sec, v, err)
	}
	if err != nil {
		return sealed{}, cannotOpen(err)
	}
	box.key = rec
	return box, box.load(tx, sec, v)
}

// deniedKey is all that Secrets Manager tells of a key that the caller may not
// use (AWS: reported).
const deniedKey = "Access to KMS is not allowed"

// deniedVersion is the refusal to open a version; it tells whether the
// version is still under another key than the secret's.
func (s *Service) deniedVersion(tx *store.Tx, sec *secret.Secret, v *secret.Version, cause error) error {
	current, err := s.Guard.KeyIn(tx, sec.Account, sec.Region, sec.KMSKeyID)
	if current != nil && current.ARN() != v.KeyARN {
		return fault.New(fault.Denied, deniedKey+". This version of secret is not encrypted with the current KMS key.").Because(cause)
	}
	if fault.Is(err, fault.Internal) || fault.Is(err, fault.Unavailable) {
		return err
	}
	return fault.New(fault.Denied, deniedKey).Because(cause)
}

// boxOf is sealedVersion for work that the server does by itself.
func boxOf(tx *store.Tx, sec *secret.Secret, v *secret.Version, rec *key.Record) (sealed, error) {
	box := sealed{arn: sec.ARN(), key: rec}
	box.context = key.SecretContext(box.arn, v.ID)
	return box, box.load(tx, sec, v)
}

// load takes the sealed value from the version, or reads it.
func (b *sealed) load(tx *store.Tx, sec *secret.Secret, v *secret.Version) (err error) {
	if b.box = v.Sealed; b.box == nil {
		b.box, err = tx.SealedValue(sec.ID, v.ID)
		err = fault.Wrap(err, "reading the value of version "+v.ID)
	}
	return err
}

// open opens a value.
func (s *Service) open(ctx context.Context, box *sealed) (plaintext.Value, error) {
	plain, err := s.Keys.Open(ctx, box.key, box.context, box.box)
	if err != nil {
		return plaintext.Value{}, cannotOpen(err)
	}
	return plaintext.New(plain), nil
}

// cannotOpen turns what is wrong with a key into DecryptionFailure, whose
// texts are not known.
func cannotOpen(err error) error {
	switch fault.KindOf(err) {
	case fault.Decryption, fault.Encryption, fault.Parameter, fault.NotFound, key.KeyDisabled, key.KeyState:
		return fault.New(fault.Decryption, "Secrets Manager can't decrypt the protected secret text using the provided KMS key.").Because(err)
	}
	return err
}

// cannotSeal turns what is wrong with a key into EncryptionFailure, in the
// words of AWS's service model.
func cannotSeal(err error) error {
	switch fault.KindOf(err) {
	case fault.Denied:
		return fault.New(fault.Denied, deniedKey).Because(err)
	case fault.Encryption, key.KeyDisabled, key.KeyState:
		return fault.New(fault.Encryption, "Secrets Manager can't encrypt the protected secret text using the provided KMS key. "+
			"Check that the KMS key is available, enabled, and not in an invalid state.").Because(err)
	}
	return err
}

// seal seals a value for one version of the secret with the ARN.
func (s *Service) seal(ctx context.Context, rec *key.Record, arn, versionID string, plain plaintext.Value) ([]byte, error) {
	box, err := s.Keys.Seal(ctx, rec, key.SecretContext(arn, versionID), plain.Reveal())
	return box, cannotSeal(err)
}

// sealingKey returns the key that a version of the secret is to be sealed
// with, authorised for the call. keyID is the secret's, or the one that the
// call chooses for it.
func (s *Service) sealingKey(tx *store.Tx, call *wire.Call, sec *secret.Secret, keyID, versionID string) (*key.Record, error) {
	use := authz.KeyUse{Action: "kms:GenerateDataKey", Context: key.SecretContext(sec.ARN(), versionID), Via: via}
	rec, err := s.Guard.Key(tx, call, sec.Account, keyID, use)
	return rec, cannotSeal(err)
}

// chosenKey returns a key that the call chooses for the secret. It is tried
// with the rights that reading and writing will need, before anything is
// sealed with it (AWS docs).
func (s *Service) chosenKey(tx *store.Tx, call *wire.Call, sec *secret.Secret, keyID string) (*key.Record, error) {
	rec, err := s.sealingKey(tx, call, sec, keyID, key.KeyProbe)
	if err != nil {
		return nil, err
	}
	if rec.Manager == key.AWS && rec.Account != sec.Account {
		return nil, fault.New(fault.Denied, deniedKey).For(rec.ARN()) // it opens for its own account only (AWS docs)
	}
	if err := checkResolved(call, rec.ARN()); err != nil {
		return nil, err
	}
	use := authz.KeyUse{Action: "kms:Decrypt", Context: key.SecretContext(sec.ARN(), key.KeyProbe), Via: via}
	return rec, cannotSeal(s.Guard.UseKey(tx, call, rec, use))
}

// ensureDefaultKey makes the default key of the region before the first
// value is sealed there.
func (s *Service) ensureDefaultKey(ctx context.Context, account, region string) error {
	place := account + "/" + region
	if _, known := s.defaults.Load(place); known {
		return nil
	}
	if err := s.Guard.EnsureDefaultKey(ctx, account, region); err != nil {
		return err
	}
	s.defaults.Store(place, true)
	return nil
}

// prepared is a value as it goes into the transaction that stores it.
type prepared struct {
	secretID string
	token    string
	// sought is the token once a version was looked for that has it; "" while
	// it is taken for a new one.
	sought string
	// version is sealed under key; both are empty when the token named a
	// version with a value, which equal then compares.
	version secret.Version
	key     *key.Record
	equal   *bool
	// keyID is the key that the caller chose, nil to keep the secret's.
	keyID *string
	// revision is that of the secret when other versions were sealed again.
	revision int64
	resealed []secret.Version
}

// prepare reads what the secret is like, and seals the value for it or
// compares it with the one that the token already names. keyID is the key
// that the call chooses for the secret, nil to keep its own; the versions with
// AWS's labels are then sealed again under it.
//
// The first attempt takes what memory has and the token for a new one, as most
// are: the transaction finds out, and only an answer in its own right is asked
// of the database.
func (s *Service) prepare(ctx context.Context, call *wire.Call, id, token string, v value, keyID *string, attempt int) (*prepared, error) {
	owner := ownerOf(call, id)
	if err := s.resolveKey(ctx, call, owner, keyID); err != nil {
		return nil, err
	}
	if owner == call.Principal.Account { // others' default keys seal nothing
		if err := s.ensureDefaultKey(ctx, call.Principal.Account, call.Region); err != nil {
			return nil, err
		}
	}
	p := &prepared{token: token, keyID: keyID}
	look, err := s.glanceAt(ctx, call, id, v, p, attempt)
	if err != nil {
		return nil, err
	}
	p.secretID, p.revision = look.secret.ID, look.secret.Revision
	if look.stored != nil {
		plain, err := s.open(ctx, &look.stored.sealed)
		if err != nil {
			return nil, err
		}
		p.equal = new(look.stored.version.Binary == (v.text == nil) && plain.Equal(v.plaintext))
	} else if v.given() {
		p.key = look.key
		p.version = secret.Version{ID: token, Binary: v.text == nil, KeyARN: look.key.ARN()}
		if p.version.Sealed, err = s.seal(ctx, look.key, look.secret.ARN(), token, v.plaintext); err != nil {
			return nil, err
		}
	}
	return p, s.reseal(ctx, look, p)
}

// glance is what prepare reads.
type glance struct {
	secret *secret.Secret
	// stored is the version that the token names, if it has a value.
	stored *reading
	// key seals what the call brings and what it seals again.
	key *key.Record
	// again are the versions to be sealed again under key.
	again []reading
}

// glanceAt looks at what memory has, in the first attempt, and else at the
// database.
func (s *Service) glanceAt(ctx context.Context, call *wire.Call, id string, v value, p *prepared, attempt int) (look glance, err error) {
	if attempt == 0 {
		err = s.Store.Read(ctx, func(tx *store.Tx) (err error) {
			look, err = s.look(tx, call, id, v, p)
			return err
		})
		if err == nil {
			return look, nil
		}
	}
	p.sought = p.token
	err = s.Store.View(ctx, func(tx *store.Tx) (err error) {
		look, err = s.look(tx, call, id, v, p)
		return err
	})
	return look, err
}

// look reads what prepare needs in one snapshot.
func (s *Service) look(tx *store.Tx, call *wire.Call, id string, v value, p *prepared) (glance, error) {
	sec, err := s.admitted(tx, call, target{id: id, use: useOf(v, p), version: p.sought})
	if err != nil {
		return glance{}, err
	}
	g := glance{secret: sec}
	if err := checkAccount(call, sec, sec.KMSKeyID); err != nil {
		return g, err
	}
	if err := v.check(); err != nil {
		return g, err
	}
	if p.keyID == nil && !v.given() {
		return g, fault.New(fault.State, "You must provide either SecretString or SecretBinary.")
	}
	keyID := sec.KMSKeyID
	if p.keyID != nil {
		keyID = *p.keyID
		if err := checkAccount(call, sec, keyID); err != nil {
			return g, err
		}
	}
	if old := sec.Version(p.token); v.given() && old != nil && old.HasValue {
		box, err := s.sealedVersion(tx, call, sec, old, nil)
		if err != nil {
			return g, err
		}
		g.stored = &reading{sec, old, box}
	}
	if g.stored != nil && p.keyID == nil {
		return g, nil
	}
	if g.key, err = s.keyFor(tx, call, sec, p, keyID, g.stored == nil && v.given()); err != nil {
		return g, err
	}
	if p.keyID != nil {
		g.again, err = s.underOtherKeys(tx, call, sec, g.key)
	}
	return g, err
}

// keyFor returns the key that seals what the call brings: one that it chooses,
// or the secret's. withValue says that it brings a value.
func (s *Service) keyFor(tx *store.Tx, call *wire.Call, sec *secret.Secret, p *prepared, keyID string, withValue bool) (rec *key.Record, err error) {
	if p.keyID != nil {
		if rec, err = s.chosenKey(tx, call, sec, keyID); err != nil || !withValue {
			return rec, err
		}
	}
	rec, err = s.sealingKey(tx, call, sec, keyID, p.token)
	if p.keyID == nil && fault.Is(err, fault.Parameter) {
		return nil, cannotSeal(fault.New(fault.Encryption, "").Because(err)) // the secret's key is gone
	}
	return rec, err
}

// useOf is the use that a prepared call makes of its secret: a new key alone
// is admitted on replicas.
func useOf(v value, p *prepared) secret.Use {
	if p.keyID != nil && !v.given() {
		return secret.Rekey
	}
	return secret.Write
}

// underOtherKeys returns the versions with AWS's labels that rec did not
// seal. Those stay under their keys for which the caller may not use rec to
// encrypt; if it may, it must be able to open and to seal them (AWS docs).
func (s *Service) underOtherKeys(tx *store.Tx, call *wire.Call, sec *secret.Secret, rec *key.Record) ([]reading, error) {
	var list []reading
	known := knownKeys{}
	for _, label := range []string{secret.Current, secret.Pending, secret.Previous} {
		v := sec.Holder(label)
		if v == nil || !v.HasValue || v.KeyARN == rec.ARN() ||
			slices.ContainsFunc(list, func(r reading) bool { return r.version == v }) {
			continue
		}
		use := authz.KeyUse{Action: "kms:Encrypt", Context: key.SecretContext(sec.ARN(), v.ID), Via: via}
		if rec.Manager == key.Customer {
			err := s.Guard.UseKey(tx, call, rec, use)
			if fault.Is(err, fault.Denied) {
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		use.Action = "kms:GenerateDataKey"
		if err := s.Guard.UseKey(tx, call, rec, use); err != nil {
			return nil, cannotSeal(err)
		}
		box, err := s.sealedVersion(tx, call, sec, v, known)
		if err != nil {
			return nil, err
		}
		list = append(list, reading{sec, v, box})
	}
	return list, nil
}

// reseal seals the versions again under the new key.
func (s *Service) reseal(ctx context.Context, look glance, p *prepared) error {
	for i := range look.again {
		r := &look.again[i]
		plain, err := s.open(ctx, &r.sealed)
		if err != nil {
			return err
		}
		box, err := s.seal(ctx, look.key, r.sealed.arn, r.version.ID, plain)
		if err != nil {
			return err
		}
		p.resealed = append(p.resealed, secret.Version{ID: r.version.ID, KeyARN: look.key.ARN(), Sealed: box})
	}
	return nil
}

// fits reports, with errStale, that the secret is no longer the one that was
// prepared for, or is to be sealed with another key by now.
func (p *prepared) fits(s *Service, c changing) error {
	if c.before.ID != p.secretID || p.resealed != nil && c.before.Revision != p.revision {
		return errStale
	}
	if p.key == nil {
		return nil
	}
	keyID := c.before.KMSKeyID
	if p.keyID != nil {
		keyID = *p.keyID
	}
	rec, err := s.keyFor(c.tx, c.call, c.before, p, keyID, true)
	if err == nil && rec.ARN() != p.key.ARN() {
		return errStale
	}
	return err
}

// same tells how the value compares with that of the version which the token
// names. Values never change, so what prepare found holds.
func (p *prepared) same() (bool, error) {
	if p.equal == nil {
		return false, errStale
	}
	return *p.equal, nil
}
