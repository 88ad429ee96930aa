package trail

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/iam"
)

// anotherAccount is the type of a caller as the accounts see it whose
// resources it uses from outside (AWS docs).
const anotherAccount iam.PrincipalType = "AWSAccount"

// Deliver hands over the event as each account gets it that it concerns: its
// own account, and every other one that owns a resource of it. The owners see
// of the caller only its account and unique ID; one ID ties the events
// together (AWS docs). What was denied is told to the caller's account alone.
// Repeated deliveries hand over the same events. It stops at the first error.
func (e *Event) Deliver(to func(*Event) error) error {
	var told []string
	if e.Type == APICall && e.ErrorCode != "AccessDenied" {
		for i := range e.Resources {
			owner := e.Resources[i].account()
			if owner != "" && owner != e.Account && !slices.Contains(told, owner) {
				told = append(told, owner)
			}
		}
	}
	if told == nil {
		return to(e)
	}
	own := *e
	own.SharedID = derivedID(e.ID, "shared")
	if err := to(&own); err != nil {
		return err
	}
	for _, owner := range told {
		other := own.seenBy(owner)
		if err := to(&other); err != nil {
			return err
		}
	}
	return nil
}

// seenBy is the event as the owner of a resource gets it.
func (e *Event) seenBy(owner string) Event {
	other := *e
	other.ID, other.Account = derivedID(e.ID, owner), owner
	other.Principal = iam.Principal{Type: anotherAccount, Account: e.Principal.Account, ID: e.Principal.ID}
	other.Resources = nil
	for _, r := range e.Resources {
		if r.account() == owner {
			other.Resources = append(other.Resources, r)
		}
	}
	return other
}

// derivedID is a UUID that follows from an event's and a word.
func derivedID(id, word string) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(id+" "+word)).String()
}

// account returns the account in the resource's ARN, or "". It does not
// allocate.
func (r *Resource) account() string {
	rest := r.Name
	for range 4 {
		_, after, found := strings.Cut(rest, ":")
		if !found {
			return ""
		}
		rest = after
	}
	account, _, found := strings.Cut(rest, ":")
	if !found || len(account) != 12 {
		return ""
	}
	return account
}
