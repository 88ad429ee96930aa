package authz

import (
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Secret returns the secret that id names, authorised for the call, with its
// labelled versions and the one with the given ID, if it is not "". An ARN may
// name a secret of another account. Denied (fault.Denied) comes before not
// found (fault.NotFound), and is told alike for what exists and what does not.
func (g *Guard) Secret(tx *store.Tx, call *wire.Call, id, versionID string) (*secret.Secret, error) {
	return g.secret(call, id, reading{}, func(account string, ref arn.SecretRef) (*secret.Secret, error) {
		return tx.FindLabelled(account, call.Region, ref, versionID)
	})
}

// Whole is Secret with all its versions, however many.
func (g *Guard) Whole(tx *store.Tx, call *wire.Call, id string) (*secret.Secret, error) {
	return g.secret(call, id, reading{}, func(account string, ref arn.SecretRef) (*secret.Secret, error) {
		return tx.FindSecret(account, call.Region, ref)
	})
}

// ReadVersion is Secret with the sealed value of one version, as
// store.Tx.ReadVersion. One of versionID and stage is given.
func (g *Guard) ReadVersion(tx *store.Tx, call *wire.Call, id, versionID, stage string) (*secret.Secret, error) {
	return g.secret(call, id, reading{versionID, stage}, func(account string, ref arn.SecretRef) (*secret.Secret, error) {
		return tx.ReadVersion(account, call.Region, ref, versionID, stage)
	})
}

// reading is the version that a call reads; the zero reading is none.
type reading struct{ versionID, stage string }

// stages is the condition key secretsmanager:VersionStage of a reading: the
// labels of the version that is read, by whatever it is named (AWS docs), and
// of one that does not exist what the call asks for.
func (r reading) stages(s *secret.Secret) iam.Value {
	if r == (reading{}) {
		return iam.Value{}
	}
	var v *secret.Version
	switch {
	case s == nil:
	case r.versionID != "":
		v = s.Version(r.versionID)
	default:
		v = s.Holder(r.stage)
	}
	if v != nil {
		return iam.List(v.Labels)
	}
	return iam.NonEmpty(r.stage)
}

// secret finds a secret and authorises the call on it. Who would be refused a
// secret that does not exist gets the same answer for one that does, whatever
// its policy and its tags have to say.
func (g *Guard) secret(call *wire.Call, id string, r reading, find func(account string, ref arn.SecretRef) (*secret.Secret, error)) (*secret.Secret, error) {
	ref := arn.ParseSecretRef(id)
	account := call.Principal.Account
	if ref.Account != "" {
		account = ref.Account
	}
	s, err := find(account, ref)
	var denied error
	switch {
	case err == nil:
		if denied = g.onSecret(call, call.Action(), s, s.ARN(), id, r); denied == nil {
			return s, nil
		}
	case !fault.Is(err, fault.NotFound):
		return nil, err
	}
	if err := g.onMissing(call, account, id, ref, r); err != nil {
		return nil, err
	}
	if denied != nil {
		return nil, denied
	}
	return nil, secret.NotFound().For(id)
}

// onMissing authorises the call on a secret as if it did not exist.
func (g *Guard) onMissing(call *wire.Call, account, id string, ref arn.SecretRef, r reading) error {
	address := wouldBe(call, account, id, ref)
	return g.On(call, "", &Resource{ARN: address, Shown: id, Account: account, Context: func(key string) iam.Value {
		switch key {
		case "secretsmanager:secretid":
			return iam.NonEmpty(address)
		case "secretsmanager:secretprimaryregion":
			return iam.NonEmpty(call.Region)
		case "secretsmanager:versionstage":
			return r.stages(nil)
		}
		return iam.Value{}
	}})
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
	return g.onSecret(call, action, s, secretARN, shown, reading{})
}

func (g *Guard) onSecret(call *wire.Call, action string, s *secret.Secret, secretARN, shown string, r reading) error {
	q := g.inquiry(call, action, secretARN, s.Policy)
	defer g.done(q)
	q.secret, q.secretARN, q.reading = s, secretARN, r
	q.request.ResourceAccount = s.Account
	return q.refusal(shown)
}

// NewSecret authorises an action, "" for the call's own, on a secret that is
// to be made with the name in the caller's account, before its suffix is
// known.
func (g *Guard) NewSecret(call *wire.Call, action, name string) error {
	return g.On(call, action, &Resource{ARN: arn.Secret(call.Region, call.Principal.Account, name, noSuffix), Shown: name})
}
