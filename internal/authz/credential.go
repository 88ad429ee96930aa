// Package authz finds out who calls and whether they may: it turns access
// keys and session tokens into principals with their policies, and resolves a
// resource and authorises the call on it in one step, so that no operation
// can hold a resource that it has not been authorised for.
package authz

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/store"
)

// Root is the credential of an account's root user.
type Root struct {
	Account, AccessKeyID, SecretAccessKey string
}

// KeyringConfig is what a Keyring works with. All members but Logger are
// needed, of Root the account alone.
type KeyringConfig struct {
	// Root is the root credential of the first account, if it is configured;
	// its access key is "" otherwise. All others are in the store.
	Root   Root
	Store  *store.Store
	Sealer *key.Sealer
	// Logger is told of stored policies that cannot be used, and of uses of
	// access keys that could not be noted.
	Logger *slog.Logger
}

// Keyring knows whom an access key belongs to, and what they may do, and
// issues sessions. A session is held by nobody: its token carries it, sealed,
// so every node can check it and a restart loses none.
//
// What was found is kept until the store's change feed says that something
// about the identities of the account changed.
type Keyring struct {
	cfg KeyringConfig
	// root is the configured root user.
	root        iam.Principal
	credentials *store.Cache[string, *credential]
	holders     *store.Cache[holderKey, *holder]
	uses        chan use
}

// Bounds of what a Keyring keeps, in bytes: some 10,000 access keys and
// sessions, and the policies of some 1,000 users and roles.
const (
	credentialBytes = 16 << 20
	holderBytes     = 32 << 20
)

// NewKeyring returns a Keyring that notes no uses of access keys until Run.
func NewKeyring(cfg KeyringConfig) *Keyring {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Keyring{
		cfg: cfg, root: RootPrincipal(cfg.Root.Account, cfg.Root.AccessKeyID), uses: make(chan use, maxUses),
		credentials: store.NewCache(cfg.Store, credentialBytes, credentialSize),
		holders:     store.NewCache(cfg.Store, holderBytes, holderSize),
	}
}

// credential is an access key, or a session, as it was found. It does not
// change but for noted.
type credential struct {
	secret string
	// token is "" for long-lived keys, expires zero.
	token     string
	expires   time.Time
	principal iam.Principal
	// noted is when the store was last told that the key is used, in seconds
	// since 1970. Only of long-lived keys in the store.
	stored bool
	noted  atomic.Int64
}

// credentialSize estimates the memory that a credential takes beside its
// policies, in bytes.
func credentialSize(id string, c *credential) int64 {
	n := 600 + len(id) + len(c.secret) + len(c.token)
	if c.principal.Given != nil {
		n += policyFactor * len(c.token) // session policies are in the token
	}
	return int64(n)
}

// Secret returns the secret access key of an access key and who it belongs
// to, with the policies that tell what they may do. Nobody's, inactive and
// deleted keys are sigv4.ErrUnknownKey, and so are tokens that are missing,
// foreign or superfluous, and what belongs to a user or role that is gone,
// even if another has its name; sessions that are over are
// sigv4.ErrExpiredSession. A store that cannot be read is fault.Unavailable.
func (k *Keyring) Secret(ctx context.Context, accessKeyID, token string, now time.Time) (string, iam.Principal, error) {
	if given := k.cfg.Root.AccessKeyID; token == "" && given != "" && equal(accessKeyID, given) {
		return k.cfg.Root.SecretAccessKey, k.root, nil
	}
	c, known := k.credentials.Get(accessKeyID)
	if !known {
		var err error
		if c, err = k.find(ctx, accessKeyID, token, now); err != nil {
			return "", iam.Principal{}, err
		}
	}
	switch {
	case !equal(token, c.token):
		return "", iam.Principal{}, sigv4.ErrUnknownKey
	case c.token != "" && !now.Before(c.expires):
		return "", iam.Principal{}, sigv4.ErrExpiredSession
	}
	return c.secret, c.principal, nil
}

// equal compares without telling by its time where the texts differ.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// find looks an access key or a session up and keeps what it finds.
func (k *Keyring) find(ctx context.Context, accessKeyID, token string, now time.Time) (c *credential, err error) {
	mark := k.cfg.Store.Mark()
	if token == "" {
		c, err = k.findKey(ctx, accessKeyID)
	} else {
		c, err = k.findSession(ctx, accessKeyID, token, now)
	}
	if fault.Is(err, fault.NotFound) {
		return nil, sigv4.ErrUnknownKey
	}
	if err != nil {
		return nil, err
	}
	k.credentials.Put(mark, accessKeyID, c, store.IdentityTopic(c.principal.Account))
	return c, nil
}

// findKey finds a long-lived key of a user, or of an account's root. An error
// of kind NotFound stands for all reasons for which there is none.
func (k *Keyring) findKey(ctx context.Context, id string) (*credential, error) {
	var stored *iam.AccessKey
	err := k.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		stored, err = tx.AccessKey(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if stored.Inactive {
		return nil, fault.New(fault.NotFound, "")
	}
	c := &credential{stored: true}
	c.noted.Store(stored.UsedAt.Unix())
	if c.secret, err = OpenAccessKey(k.cfg.Sealer, id, stored.Secret); err != nil {
		return nil, (&fault.Error{Kind: fault.Internal, Cause: err}).For(id)
	}
	if stored.UserName == "" {
		c.principal = RootPrincipal(stored.Account, id)
		return c, nil
	}
	h, err := k.holder(ctx, holderKey{iam.UserHolder, stored.Account, stored.UserName})
	if err != nil {
		return nil, err
	}
	c.principal = h.user(id)
	return c, nil
}

// RootPrincipal returns the root user of an account.
func RootPrincipal(account, accessKeyID string) iam.Principal {
	return iam.Principal{
		Type: iam.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root", ID: account, AccessKeyID: accessKeyID,
	}
}

// NewRoot makes a credential for an account's root user.
func NewRoot(account string) Root {
	return Root{account, "AKIA" + rand.Text()[:16], newSecretKey()}
}

// newSecretKey returns 30 random bytes as 40 characters of base64, the form
// of AWS's secret access keys (AWS docs).
func newSecretKey() string {
	b := make([]byte, 30)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return base64.StdEncoding.EncodeToString(b)
}

// use is one use of a long-lived access key.
type use struct {
	id, service, region string
	at                  time.Time
}

const (
	// noteEvery is how often the use of a key is noted.
	noteEvery = time.Hour
	// maxUses bounds the uses that wait to be noted.
	maxUses = 256
	// noteLimit bounds the wait for the store.
	noteLimit = 5 * time.Second
)

// Used notes, about once an hour, that a request for the service was signed
// with an access key; it does not wait for that.
func (k *Keyring) Used(accessKeyID, service, region string, now time.Time) {
	c, known := k.credentials.Get(accessKeyID)
	if !known || !c.stored {
		return
	}
	last := c.noted.Load()
	if now.Unix()-last < int64(noteEvery/time.Second) || !c.noted.CompareAndSwap(last, now.Unix()) {
		return
	}
	select {
	case k.uses <- use{accessKeyID, service, region, now}:
	default:
		c.noted.Store(last) // many keys at once: the next use counts
	}
}

// Run stores the uses of access keys until ctx ends, and then what waits.
func (k *Keyring) Run(ctx context.Context) error {
	for {
		select {
		case u := <-k.uses:
			_ = k.note(ctx, u) // it was logged, and the next use comes
		case <-ctx.Done():
			for {
				select {
				case u := <-k.uses:
					if k.note(ctx, u) != nil {
						return nil
					}
				default:
					return nil
				}
			}
		}
	}
}

// note stores one use, also after ctx ended.
func (k *Keyring) note(ctx context.Context, u use) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteLimit)
	defer cancel()
	err := k.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.NoteAccessKeyUse(u.id, u.at, u.service, u.region)
	})
	if err != nil {
		k.cfg.Logger.Warn("noting the use of an access key", "access_key", u.id, "error", err)
	}
	return err
}
