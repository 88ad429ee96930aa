package function

import (
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
)

// ownedMark separates the service from the rest in the name of a function
// that an AWS service owns. No name of the Lambda API has it.
const ownedMark = "@"

// OwnedName is the name of a service's own function.
func OwnedName(service, name string) string { return service + ownedMark + name }

// ParseOwnedARN reads the unqualified address of a function that an AWS
// service owns. ParseRef and Resolve refuse it: nothing that a user of the
// Lambda API sends names such a function.
func ParseOwnedARN(s string) (ref Ref, service string, ok bool) {
	a, ok := arn.Parse(s)
	full, isFunction := strings.CutPrefix(a.Resource, "function:")
	service, name, marked := strings.Cut(full, ownedMark)
	if !ok || !isFunction || !marked || a.Service != "lambda" || a.Account == "" || a.Region == "" ||
		a.Partition != arn.Partition(a.Region) || !validName(service) || !validName(name) {
		return Ref{}, "", false
	}
	return Ref{Region: a.Region, Account: a.Account, Name: full}, service, true
}
