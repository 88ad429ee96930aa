package authz

import (
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Secret returns the secret that id names, authorised for the call, with its
// labelled versions and the one with the given ID, if it is not "". An ARN may
// name a secret of another account. Denied (fault.Denied) comes before not
// found (fault.NotFound), and is told alike for what exists and what does not.
func (g *Guard) Secret(tx *store.Tx, call *wire.Call, id, versionID string) (*secret.Secret, error) {
	return g.secret(call, id, func(account string, ref arn.SecretRef) (*secret.Secret, error) {
		return tx.FindLabelled(account, call.Region, ref, versionID)
	})
}

// Whole is Secret with all its versions, however many.
func (g *Guard) Whole(tx *store.Tx, call *wire.Call, id string) (*secret.Secret, error) {
	return g.secret(call, id, func(account string, ref arn.SecretRef) (*secret.Secret, error) {
		return tx.FindSecret(account, call.Region, ref)
	})
}

// ReadVersion is Secret with the sealed value of one version, as
// store.Tx.ReadVersion.
func (g *Guard) ReadVersion(tx *store.Tx, call *wire.Call, id, versionID, stage string) (*secret.Secret, error) {
	return g.secret(call, id, func(account string, ref arn.SecretRef) (*secret.Secret, error) {
		return tx.ReadVersion(account, call.Region, ref, versionID, stage)
	})
}

// secret finds a secret and authorises the call on it.
func (g *Guard) secret(call *wire.Call, id string, find func(account string, ref arn.SecretRef) (*secret.Secret, error)) (*secret.Secret, error) {
	ref := arn.ParseSecretRef(id)
	account := call.Principal.Account
	if ref.Account != "" {
		account = ref.Account
	}
	s, err := find(account, ref)
	if err == nil {
		if err := g.OnSecret(call, call.Action(), s, s.ARN(), id); err != nil {
			return nil, err
		}
		return s, nil
	}
	if !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	missing := Resource{ARN: wouldBe(call, account, id, ref), Shown: id, Account: account}
	if err := g.On(call, "", &missing); err != nil {
		return nil, err
	}
	return nil, secret.NotFound().For(id)
}

// noSuffix stands for the six random characters of a secret that does not
// exist.
const noSuffix = "XXXXXX"

// wouldBe is the ARN that a missing secret would have: as given, or with a
// suffix, so that policies with -?????? match it as they match what exists.
func wouldBe(call *wire.Call, account, id string, ref arn.SecretRef) string {
	if arn.IsARN(id) && ref.Name == "" {
		return id
	}
	return arn.Secret(call.Region, account, ref.Name, noSuffix)
}

// OnSecret authorises an action on a secret, whose ARN the caller has at
// hand. shown is how the request named it.
func (g *Guard) OnSecret(call *wire.Call, action string, s *secret.Secret, secretARN, shown string) error {
	q := g.inquiry(call, action, secretARN, s.Policy)
	defer g.done(q)
	q.secret, q.secretARN = s, secretARN
	q.request.ResourceAccount = s.Account
	return q.refusal(shown)
}

// NewSecret authorises the making of a secret with the name in the caller's
// account, before its suffix is known.
func (g *Guard) NewSecret(call *wire.Call, name string) error {
	return g.On(call, "", &Resource{ARN: arn.Secret(call.Region, call.Principal.Account, name, noSuffix), Shown: name})
}
