package authz

import (
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

// UnknownPrincipal returns the first user, role or session that a policy
// names and that does not exist, or "". Only the accounts of this deployment
// can be looked into, account among them in any case; principals of others are
// taken to exist, as are unique IDs and identity providers.
func UnknownPrincipal(tx *store.Tx, account string, d *iam.Document) (name string, err error) {
	for i := range d.Statements {
		for _, p := range []*iam.Principals{d.Statements[i].Principals, d.Statements[i].NotPrincipals} {
			if p == nil {
				continue
			}
			for _, name := range p.AWS {
				if known, err := knownPrincipal(tx, account, name); err != nil || !known {
					return name, err
				}
			}
		}
	}
	return "", nil
}

func knownPrincipal(tx *store.Tx, account, name string) (bool, error) {
	a, ok := arn.Parse(name)
	if !ok || a.Account == "" {
		return true, nil
	}
	if hosted, err := hosts(tx, account, a.Account); err != nil || !hosted {
		return true, err
	}
	kind, rest, _ := strings.Cut(a.Resource, "/")
	last := rest[strings.LastIndexByte(rest, '/')+1:]
	switch a.Service + " " + kind {
	case "iam user":
		u, err := tx.User(a.Account, last)
		return exists(err, func() bool { return u.ARN() == name })
	case "iam role":
		r, err := tx.Role(a.Account, last)
		return exists(err, func() bool { return r.ARN() == name })
	case "sts assumed-role":
		role, _, _ := strings.Cut(rest, "/")
		r, err := tx.Role(a.Account, role)
		return exists(err, func() bool { return r.Name == role })
	}
	return true, nil
}

// hosts reports whether an account is one of this deployment's.
func hosts(tx *store.Tx, own, account string) (bool, error) {
	if account == own {
		return true, nil
	}
	_, err := tx.Account(account)
	return exists(err, func() bool { return true })
}

// exists tells what a look-up found; same is asked if it found something.
func exists(err error, same func() bool) (bool, error) {
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && same(), err
}
