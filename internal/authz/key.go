package authz

import (
	"context"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// KeyUse is what a call wants of a KMS key.
type KeyUse struct {
	// Action is the guarding action, such as kms:Decrypt.
	Action string
	// Context is the encryption context, or nil.
	Context key.EncryptionContext
	// Via names the service that uses the key on behalf of the caller, such
	// as secretsmanager; "" for a call of the caller's own.
	Via string
	// Alias is the alias, if any, by which the call names the key.
	Alias string
	// Grant is what kms:CreateGrant is to make.
	Grant *key.Grant
	// Conditions has further condition keys; it may be nil.
	Conditions iam.Context
}

// UseKey authorises a use of a key by its policy, which comes first, and the
// caller's; where both allow nothing and deny nothing, by the key's grants.
// The error is fault.Denied with KMS's text.
func (g *Guard) UseKey(tx *store.Tx, call *wire.Call, rec *key.Record, use KeyUse) error {
	q := g.keyInquiry(tx, call, rec, use, rec.Policy)
	defer g.done(q)
	d := iam.Evaluate(&q.request, &q.policies)
	if d.Allowed() {
		return nil
	}
	if d.Effect == iam.ImplicitDeny {
		if granted, err := q.granted(); granted || err != nil {
			return err
		}
	}
	return q.refuse(d, q.request.Resource)
}

// keyInquiry begins a question about the use of a key with a policy.
func (g *Guard) keyInquiry(tx *store.Tx, call *wire.Call, rec *key.Record, use KeyUse, policy string) *inquiry {
	q := g.inquiry(call, use.Action, rec.ARN(), policy)
	q.tx, q.key, q.use, q.resource = tx, rec, use, use.Conditions
	q.policies.Kind = iam.KeyResource
	q.request.ResourceAccount = rec.Account
	if use.Via != "" {
		q.policies.Endpoint = nil // the service does not come through the caller's endpoint
	}
	return q
}

// LocksOut reports whether a new policy of a key would keep the caller from
// replacing it again: it has to let the caller call PutKeyPolicy, or leave
// that to the caller's account (AWS docs; what the caller's own policies say
// does not count, assumed).
func (g *Guard) LocksOut(tx *store.Tx, call *wire.Call, rec *key.Record, policy string) bool {
	q := g.keyInquiry(tx, call, rec, KeyUse{Action: "kms:PutKeyPolicy"}, policy)
	defer g.done(q)
	q.policies = iam.Policies{Kind: iam.KeyResource, Resource: q.policies.Resource, Identity: []*iam.Policy{allow(nil)}}
	d := iam.Evaluate(&q.request, &q.policies)
	return !d.Allowed()
}

// errInvalidKey is the answer to a KmsKeyId that names no usable key (AWS:
// reported).
func errInvalidKey(id string) *fault.Error {
	return fault.New(fault.Parameter, "The operation failed because of an invalid KMS key: Invalid keyId").For(id)
}

// Key returns the key that id names, authorised for the use on behalf of the
// call: a key ID, a key ARN, an alias or an alias ARN; "" is the default key of
// account, the owner of what is sealed, which EnsureDefaultKey has made. IDs
// and aliases are the account's, too; ARNs may name other accounts' keys. The
// key must be usable: the errors are fault.Denied, fault.Parameter for an
// unknown key, key.KeyDisabled and key.KeyState.
func (g *Guard) Key(tx *store.Tx, call *wire.Call, account, id string, use KeyUse) (*key.Record, error) {
	rec, err := g.findKey(tx, account, call.Region, id)
	if fault.Is(err, fault.Parameter) {
		return nil, g.hidden(call, id, use, err)
	}
	if err != nil {
		return nil, err
	}
	if err := g.UseKey(tx, call, rec, use); err != nil {
		return nil, err
	}
	return rec, rec.CheckUsable()
}

// hidden is the answer to a use of a key that does not exist: in another
// account it is the refusal, so that nobody learns which keys others have.
func (g *Guard) hidden(call *wire.Call, id string, use KeyUse, unknown error) error {
	a, ok := arn.Parse(id)
	if !ok || a.Account == call.Principal.Account {
		return unknown
	}
	return g.On(call, use.Action, &Resource{ARN: id, Kind: iam.KeyResource})
}

// KeyIn is Key for work that the server does by itself, in a region of its
// choice.
func (g *Guard) KeyIn(tx *store.Tx, account, region, id string) (*key.Record, error) {
	rec, err := g.findKey(tx, account, region, id)
	if err != nil {
		return nil, err
	}
	return rec, rec.CheckUsable()
}

func (g *Guard) findKey(tx *store.Tx, account, region, id string) (*key.Record, error) {
	if id == "" {
		id = key.DefaultAlias
	}
	r, ok := arn.ParseKeyRef(id, region, account)
	if !ok || r.Region != region {
		return nil, errInvalidKey(id)
	}
	if r.Alias != "" {
		alias, err := tx.Alias(r.Account, region, r.Alias)
		if err != nil {
			return nil, unknownKey(id, err)
		}
		r.ID = alias.KeyID
	}
	rec, err := tx.Key(r.Account, region, r.ID)
	return rec, unknownKey(id, err)
}

func unknownKey(id string, err error) error {
	if fault.Is(err, fault.NotFound) {
		return errInvalidKey(id)
	}
	return err
}

// defaultKeyDescription is what DescribeKey shows of the default key (AWS
// docs).
const defaultKeyDescription = "Default key that protects my Secrets Manager data when no other key is defined"

// EnsureDefaultKey makes the AWS-managed key alias/aws/secretsmanager of the
// account and region unless it exists. It is called before a transaction
// that may seal, because wrapping new key material may leave the machine.
func (g *Guard) EnsureDefaultKey(ctx context.Context, account, region string) error {
	exists := func(tx *store.Tx) error {
		_, err := tx.Alias(account, region, key.DefaultAlias)
		return err
	}
	err := g.store.View(ctx, exists)
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	rec, err := key.NewRecord(ctx, g.keeper, key.NewKey{
		Account: account, Region: region, Manager: key.AWS, Description: defaultKeyDescription,
	}, time.Now())
	if err != nil {
		return fault.Wrap(err, "making the default key")
	}
	return g.store.Update(ctx, func(tx *store.Tx) error {
		if err := exists(tx); !fault.Is(err, fault.NotFound) {
			return err // made meanwhile
		}
		if err := tx.SaveKey(rec); err != nil {
			return err
		}
		return tx.SaveAlias(&key.Alias{
			Name: key.DefaultAlias, Account: account, Region: region, KeyID: rec.ID, CreatedAt: rec.CreatedAt, UpdatedAt: rec.CreatedAt,
		})
	})
}
