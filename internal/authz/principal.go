package authz

import (
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

// BindPrincipals returns the policy of a resource as it is to be kept: with
// the unique IDs of the users and roles that it names, and for sessions that
// of their role, so that a namesake made later inherits nothing (AWS docs).
// The names are looked up in the accounts that live here and in the given
// ones; those of other accounts stay as they are. An error of kind NotFound,
// without message, is about a user, a role or an ID that does not exist.
func BindPrincipals(tx *store.Tx, text string, accounts ...string) (string, error) {
	return iam.MapPrincipals(text, func(name string) (string, error) { return BindPrincipal(tx, name, accounts...) })
}

// BindPrincipal is BindPrincipals for one name.
func BindPrincipal(tx *store.Tx, name string, accounts ...string) (string, error) {
	if id, _, ok := iam.UniqueID(name); ok {
		_, err := tx.PrincipalARN(id)
		return name, aboutPrincipal(err, name)
	}
	a, ok := arn.Parse(name)
	if !ok || a.Resource == "root" {
		return name, nil
	}
	if here, err := hosted(tx, a.Account, accounts); err != nil || !here {
		return name, err
	}
	id, err := principalID(tx, a)
	return id, aboutPrincipal(err, name)
}

func hosted(tx *store.Tx, account string, known []string) (bool, error) {
	if slices.Contains(known, account) {
		return true, nil
	}
	_, err := tx.Account(account)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// principalID returns the unique ID of what the ARN names now.
func principalID(tx *store.Tx, a arn.ARN) (string, error) {
	kind, rest, _ := strings.Cut(a.Resource, "/")
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	switch {
	case a.Service == "iam" && kind == "user":
		u, err := tx.User(a.Account, name)
		if err == nil && u.ARN() == a.String() {
			return u.ID, nil
		}
		return "", orNotFound(err)
	case a.Service == "iam" && kind == "role":
		r, err := tx.Role(a.Account, name)
		if err == nil && r.ARN() == a.String() {
			return r.ID, nil
		}
		return "", orNotFound(err)
	case a.Service == "sts" && kind == "assumed-role":
		role, session, _ := strings.Cut(rest, "/")
		r, err := tx.Role(a.Account, role)
		if err == nil && r.SessionARN(session) == a.String() {
			return r.ID + ":" + session, nil
		}
		return "", orNotFound(err)
	}
	return a.String(), nil // such as federated users, who are kept nowhere
}

// orNotFound is the error for a name that is there in another spelling.
func orNotFound(err error) error {
	if err == nil {
		return fault.New(fault.NotFound, "")
	}
	return err
}

func aboutPrincipal(err error, name string) error {
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "").For(name)
	}
	return err
}

// ShowPrincipals returns a kept policy as it is shown: with the ARNs that the
// users and roles have by now. The unique IDs of those that are gone stay (AWS
// docs).
func ShowPrincipals(tx *store.Tx, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return iam.MapPrincipals(text, func(name string) (string, error) { return ShowPrincipal(tx, name) })
}

// ShowPrincipal is ShowPrincipals for one name.
func ShowPrincipal(tx *store.Tx, name string) (string, error) {
	id, session, ok := iam.UniqueID(name)
	if !ok {
		return name, nil
	}
	address, err := tx.PrincipalARN(id)
	switch {
	case fault.Is(err, fault.NotFound):
		return name, nil
	case err != nil || session == "":
		return address, err
	}
	account, role, _ := iam.RoleNameFromARN(address)
	return (&iam.Role{Account: account, Name: role}).SessionARN(session), nil
}
