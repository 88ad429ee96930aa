package directory

import (
	"context"
	"errors"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// DomainKeytab rotates a user's password in an Active Directory that is not
// AWS's, and lets keytab secrets follow it. The user changes its own password,
// or the superuser whose secret masterarn names resets it.
type DomainKeytab struct {
	single    *rotator.SingleUser
	superuser *rotator.Superuser
}

// NewDomainKeytab makes the rotator.
func NewDomainKeytab() rotator.Rotator {
	return &DomainKeytab{rotator.NewSingleUser(ActiveDirectory{}), rotator.NewSuperuser(ActiveDirectory{})}
}

// Create implements rotator.Rotator.
func (k *DomainKeytab) Create(ctx context.Context, r *rotator.Rotation) (plaintext.Value, error) {
	v, err := k.single.Create(ctx, r)
	if err != nil {
		return v, err
	}
	d, err := rotator.ParseDocument(v)
	if err != nil {
		return v, err
	}
	m := newMembers(r.Settings)
	return m.touched(d, m.secretVersion).Value(), nil
}

// Set implements rotator.Rotator.
func (k *DomainKeytab) Set(ctx context.Context, r *rotator.Rotation) error {
	next, err := r.Pending(ctx)
	if err != nil {
		return err
	}
	set := k.single.Set
	if next.Has("masterarn") {
		set = k.superuser.Set
	}
	if err := set(ctx, r); err != nil {
		return err
	}
	a, err := k.account(ctx, r, next)
	if err != nil {
		return err
	}
	return newMembers(r.Settings).setKeytabs(ctx, r, next, a, next.Secret("password"))
}

// account logs in with the pending version to learn the account's own name
// and realm, whatever name the secret has.
func (k *DomainKeytab) account(ctx context.Context, r *rotator.Rotation, next *rotator.Document) (account, error) {
	l, err := ActiveDirectory{}.Kind().Login(next)
	if err != nil {
		return account{}, err
	}
	r.Plan(1)
	session, err := r.Connect(ctx, ActiveDirectory{}, l, "pending")
	if f, ok := errors.AsType[*rotator.Failure](err); ok {
		return account{}, rotator.Invalid("Unable to log into database with pending secret of secret ARN %s", r.SecretID).Because(f)
	}
	if err != nil {
		return account{}, err
	}
	defer session.Close(context.WithoutCancel(ctx))
	s := session.(*domainSession) // what the engine makes
	entry, err := s.account(ctx, s.user)
	if err != nil {
		return account{}, rotator.Invalid("Unable to read the entry of user %s", s.user).Because(rotator.Classify(err))
	}
	realm, err := newRealm(ctx, r.Settings, s.domain(), l.Host)
	return account{realm, entry.GetAttributeValue("sAMAccountName")}, err
}

// Test implements rotator.Rotator.
func (k *DomainKeytab) Test(ctx context.Context, r *rotator.Rotation) error {
	if err := k.single.Test(ctx, r); err != nil {
		return err
	}
	next, err := r.Pending(ctx)
	if err != nil {
		return err
	}
	a, err := k.account(ctx, r, next)
	if err != nil {
		return err
	}
	return newMembers(r.Settings).testKeytabs(ctx, r, next, a)
}

// Finish implements rotator.Finisher.
func (k *DomainKeytab) Finish(ctx context.Context, r *rotator.Rotation) error {
	d, err := r.Current(ctx)
	if err != nil {
		return err
	}
	return newMembers(r.Settings).finishKeytabs(ctx, r, d)
}
