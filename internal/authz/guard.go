package authz

import (
	"context"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Guard resolves resources and authorises calls on them, both in one step.
//
// Every authenticated principal may do everything in its own account and
// nothing in another: the account is the boundary until policies are
// evaluated.
type Guard struct {
	store  *store.Store
	keeper key.Keeper
}

// NewGuard returns a Guard that makes missing default keys in the store,
// their material wrapped by the keeper.
func NewGuard(s *store.Store, keeper key.Keeper) *Guard { return &Guard{s, keeper} }

// Action authorises a call on a resource that does not exist yet, or on none
// ("*"). The error is fault.Denied with AWS's text.
func (g *Guard) Action(call *wire.Call, resource string) error {
	if a, ok := arn.Parse(resource); ok && a.Account != "" && a.Account != call.Principal.Account {
		return denied(call, resource)
	}
	return nil
}

// actionOf is the action that guards a call: named as its operation, with few
// exceptions (AWS docs).
func actionOf(call *wire.Call) string {
	if call.Service == "lambda" && call.Operation == "Invoke" {
		return "lambda:InvokeFunction"
	}
	return call.Service + ":" + call.Operation
}

// denied is AWS's refusal of a call into another account (AWS docs).
func denied(call *wire.Call, resource string) error {
	action := actionOf(call)
	return fault.New(fault.Denied,
		"User: %s is not authorized to perform: %s on resource: %s because no resource-based policy allows the %s action",
		call.Principal.ARN, action, resource, action)
}

// Secret returns the secret that id names, authorised for the call, with its
// labelled versions and the one with the given ID, if it is not "".
// Denied (fault.Denied) comes before not found (fault.NotFound), so a caller
// cannot learn from the difference what exists.
func (g *Guard) Secret(tx *store.Tx, call *wire.Call, id, versionID string) (*secret.Secret, error) {
	ref, err := secretRef(call, id)
	if err != nil {
		return nil, err
	}
	s, err := tx.FindLabelled(call.Principal.Account, call.Region, ref, versionID)
	return found(s, err, id)
}

// Whole is Secret with all its versions, however many.
func (g *Guard) Whole(tx *store.Tx, call *wire.Call, id string) (*secret.Secret, error) {
	ref, err := secretRef(call, id)
	if err != nil {
		return nil, err
	}
	s, err := tx.FindSecret(call.Principal.Account, call.Region, ref)
	return found(s, err, id)
}

// ReadVersion is Secret with the sealed value of one version, as
// store.Tx.ReadVersion.
func (g *Guard) ReadVersion(tx *store.Tx, call *wire.Call, id, versionID, stage string) (*secret.Secret, error) {
	ref, err := secretRef(call, id)
	if err != nil {
		return nil, err
	}
	s, err := tx.ReadVersion(call.Principal.Account, call.Region, ref, versionID, stage)
	return found(s, err, id)
}

func secretRef(call *wire.Call, id string) (arn.SecretRef, error) {
	ref := arn.ParseSecretRef(id)
	if ref.Account != "" && ref.Account != call.Principal.Account {
		return ref, denied(call, id)
	}
	return ref, nil
}

func found(s *secret.Secret, err error, id string) (*secret.Secret, error) {
	if fault.Is(err, fault.NotFound) {
		return nil, secret.NotFound().For(id)
	}
	return s, err
}

// errInvalidKey is the answer to a KmsKeyId that names no usable key (AWS:
// reported).
func errInvalidKey(id string) *fault.Error {
	return fault.New(fault.Parameter, "The operation failed because of an invalid KMS key: Invalid keyId").For(id)
}

// Key returns the key that id names, authorised for the call: a key ID, a
// key ARN, an alias or an alias ARN; "" is the default key, which
// EnsureDefaultKey has made. The key must be usable: the errors are
// fault.Parameter for an unknown key, key.KeyDisabled and key.KeyState.
func (g *Guard) Key(tx *store.Tx, call *wire.Call, id string) (*key.Record, error) {
	return g.KeyIn(tx, call.Principal.Account, call.Region, id)
}

// KeyIn is Key for work that the server does by itself, in a region of its
// choice.
func (g *Guard) KeyIn(tx *store.Tx, account, region, id string) (*key.Record, error) {
	if id == "" {
		id = key.DefaultAlias
	}
	rec, err := findKey(tx, account, region, id)
	if fault.Is(err, fault.NotFound) {
		return nil, errInvalidKey(id)
	}
	if err != nil {
		return nil, err
	}
	return rec, rec.CheckUsable()
}

func findKey(tx *store.Tx, account, region, id string) (*key.Record, error) {
	if arn.IsARN(id) {
		a, ok := arn.Parse(id)
		if !ok || a.Service != "kms" || a.Account != account || a.Region != region {
			return nil, errInvalidKey(id)
		}
		id = strings.TrimPrefix(a.Resource, "key/")
	}
	if !strings.HasPrefix(id, "alias/") {
		return tx.Key(account, region, id)
	}
	alias, err := tx.Alias(account, region, id)
	if err != nil {
		return nil, err
	}
	return tx.Key(account, region, alias.KeyID)
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
