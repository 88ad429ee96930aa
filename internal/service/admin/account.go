package admin

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/keyturn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxRootKeys is how many access keys a root may have, so that one can
// replace the other (AWS docs).
const maxRootKeys = 2

// CreateAccount makes an account with an access key of its root, whose secret
// is never shown again.
func (s *Service) CreateAccount(ctx context.Context, call *wire.Call, in *api.CreateAccountRequest) (*api.CreateAccountResponse, error) {
	account := &iam.Account{Name: *in.Name, CreatedAt: call.Time.Truncate(time.Millisecond)}
	if in.AccountId != nil {
		account.ID = *in.AccountId
	} else {
		account.ID = newAccountID()
	}
	if err := s.authoriseRoot(call, createKey, account.ID); err != nil {
		return nil, err
	}
	stored, shown := s.newRootKey(account.ID, call.Time)
	out := &api.CreateAccountResponse{Account: describe(account), AccessKey: shown}
	concern(call, account.ID)
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Account(account.ID); !fault.Is(err, fault.NotFound) {
			if err == nil {
				err = fault.New(fault.Exists, "The account %s exists already.", account.ID)
			}
			return err
		}
		if err := tx.SaveAccount(account); err != nil {
			return err
		}
		if err := tx.SaveAccessKey(stored); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// newAccountID returns 12 random digits, the first of which is not 0. That
// an account has them already is refused like a chosen ID.
func newAccountID() string {
	n, _ := rand.Int(rand.Reader, big.NewInt(9e11)) // the reader never fails
	return fmt.Sprint(n.Int64() + 1e11)
}

// newRootKey makes an access key of an account's root: as it is stored, and
// as it is shown once.
func (s *Service) newRootKey(account string, now time.Time) (*iam.AccessKey, *api.RootAccessKey) {
	id, secret := authz.NewAccessKey()
	k := &iam.AccessKey{ID: id, Account: account, Secret: authz.SealAccessKey(s.Sealer, id, secret), CreatedAt: now.Truncate(time.Millisecond)}
	return k, &api.RootAccessKey{AccountId: &account, AccessKeyId: &id, SecretAccessKey: &secret, CreatedDate: &k.CreatedAt}
}

func describe(a *iam.Account) *api.Account {
	return &api.Account{AccountId: &a.ID, Name: &a.Name, CreatedDate: &a.CreatedAt}
}

// concern names the account in the call's event.
func concern(call *wire.Call, account string) {
	call.Resources = []trail.Resource{{Type: "Keyturn::Account", Name: account}}
}

// account returns an account.
func account(tx *store.Tx, id string) (*iam.Account, error) {
	a, err := tx.Account(id)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "There is no account %s.", id)
	}
	return a, err
}

// tokenPrefix begins the page tokens of ListAccounts, before their encoding.
const tokenPrefix = "account/"

// ListAccounts lists the accounts in the order of their IDs.
func (s *Service) ListAccounts(ctx context.Context, call *wire.Call, in *api.ListAccountsRequest) (*api.ListAccountsResponse, error) {
	if err := s.authorise(call); err != nil {
		return nil, err
	}
	limit, after := 100, ""
	if in.MaxResults != nil {
		limit = int(*in.MaxResults)
	}
	if in.NextToken != nil {
		token, err := base64.RawURLEncoding.DecodeString(*in.NextToken)
		id, ok := strings.CutPrefix(string(token), tokenPrefix)
		if err != nil || !ok {
			return nil, fault.New(fault.PageToken, "The NextToken is not one that ListAccounts returned.")
		}
		after = id
	}
	var list []*iam.Account
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Accounts(after, limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListAccountsResponse{Accounts: []api.Account{}}
	if len(list) > limit {
		list = list[:limit]
		out.NextToken = new(base64.RawURLEncoding.EncodeToString([]byte(tokenPrefix + list[limit-1].ID)))
	}
	for _, a := range list {
		out.Accounts = append(out.Accounts, *describe(a))
	}
	return out, nil
}

// DescribeAccount shows an account with the access keys of its root, without
// their secrets.
func (s *Service) DescribeAccount(ctx context.Context, call *wire.Call, in *api.DescribeAccountRequest) (*api.DescribeAccountResponse, error) {
	if err := s.authorise(call); err != nil {
		return nil, err
	}
	concern(call, *in.AccountId)
	var found *iam.Account
	var keys []*iam.AccessKey
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		if found, err = account(tx, *in.AccountId); err != nil {
			return err
		}
		keys, err = tx.AccessKeys(found.ID, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.DescribeAccountResponse{Account: describe(found), AccessKeys: []api.AccessKeyMetadata{}}
	for _, k := range keys {
		out.AccessKeys = append(out.AccessKeys, api.AccessKeyMetadata{AccessKeyId: &k.ID, CreatedDate: &k.CreatedAt, LastUsedDate: date(k.UsedAt)})
	}
	return out, nil
}

// CreateRootAccessKey makes another access key of an account's root, whose
// secret is never shown again.
func (s *Service) CreateRootAccessKey(ctx context.Context, call *wire.Call, in *api.CreateRootAccessKeyRequest) (*api.CreateRootAccessKeyResponse, error) {
	if err := s.authoriseRoot(call, createKey, *in.AccountId); err != nil {
		return nil, err
	}
	concern(call, *in.AccountId)
	stored, shown := s.newRootKey(*in.AccountId, call.Time)
	out := &api.CreateRootAccessKeyResponse{AccessKey: shown}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := account(tx, *in.AccountId); err != nil {
			return err
		}
		keys, err := tx.AccessKeys(*in.AccountId, "")
		if err != nil {
			return err
		}
		if len(keys) >= maxRootKeys {
			return fault.New(fault.Limit, "The root of account %s has %d access keys already: delete one first.", *in.AccountId, len(keys))
		}
		if err := tx.SaveAccessKey(stored); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// DeleteRootAccessKey removes an access key of an account's root at once. The
// first account keeps one, because nobody could make another.
func (s *Service) DeleteRootAccessKey(ctx context.Context, call *wire.Call, in *api.DeleteRootAccessKeyRequest) (*api.DeleteRootAccessKeyResponse, error) {
	if err := s.authoriseRoot(call, deleteKey, *in.AccountId); err != nil {
		return nil, err
	}
	concern(call, *in.AccountId)
	out := &api.DeleteRootAccessKeyResponse{}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		k, err := tx.AccessKey(*in.AccessKeyId)
		if fault.Is(err, fault.NotFound) || err == nil && (k.Account != *in.AccountId || k.UserName != "") {
			return fault.New(fault.NotFound, "The root of account %s has no access key %s.", *in.AccountId, *in.AccessKeyId)
		}
		if err != nil {
			return err
		}
		if err := s.checkDispensable(tx, k); err != nil {
			return err
		}
		if err := tx.DeleteAccessKey(k.ID); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// checkDispensable refuses to lock the operators out.
func (s *Service) checkDispensable(tx *store.Tx, k *iam.AccessKey) error {
	if k.Account != s.Account || s.Given {
		return nil
	}
	keys, err := tx.AccessKeys(k.Account, "")
	if err == nil && len(keys) == 1 {
		return fault.New(fault.State, "The access key %s is the last one of the first account's root: make another first.", k.ID)
	}
	return err
}
