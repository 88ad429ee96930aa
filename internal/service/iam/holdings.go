package iam

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

// Limits of what an identity holds (AWS docs): how many managed policies, and
// how large its inline policies are together, white space aside.
const (
	maxAttached    = 10
	maxUserInline  = 2048
	maxGroupInline = 5120
	maxRoleInline  = 10240
)

// holder is a role, a user or a group with regard to what it holds.
type holder struct {
	*iam.Holdings
	account, name string
	// noun is what AWS's texts call it, quota the end of its quota's name.
	noun, quota string
	// maxInline bounds all inline documents together, white space aside, in
	// characters.
	maxInline int
}

func holderOfRole(r *iam.Role) holder {
	return holder{&r.Holdings, r.Account, r.Name, "role", "Role", maxRoleInline}
}

func holderOfUser(u *iam.User) holder {
	return holder{&u.Holdings, u.Account, u.Name, "user", "User", maxUserInline}
}

func holderOfGroup(g *iam.Group) holder {
	return holder{&g.Holdings, g.Account, g.Name, "group", "Group", maxGroupInline}
}

// size counts what limits of policies count.
func size(document string) (n int) {
	for _, r := range document {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// putInline stores an inline policy, in place of one of its name.
func (h holder) putInline(name, document string) error {
	if err := checkIdentity(document); err != nil {
		return err
	}
	if h.Inline == nil {
		h.Inline = map[string]string{}
	}
	h.Inline[name] = document
	total := 0
	for _, d := range h.Inline {
		total += size(d)
	}
	if total > h.maxInline {
		return fault.New(fault.Limit, "Maximum policy size of %d bytes exceeded for %s %s", h.maxInline, h.noun, h.name)
	}
	return nil
}

// checkIdentity refuses an identity policy that is not well formed: it names
// resources and no principals (AWS: recorded).
func checkIdentity(text string) error {
	d, err := iam.ParseDocument(text)
	if err != nil {
		return err
	}
	return d.CheckIdentity()
}

// inline returns an inline policy as answers have it.
func (h holder) inline(name string) (document *string, err error) {
	text, found := h.Inline[name]
	if !found {
		return nil, fault.New(fault.NotFound, "The %s policy with name %s cannot be found.", h.noun, name)
	}
	return encode(text), nil
}

func (h holder) deleteInline(name string) error {
	if _, err := h.inline(name); err != nil {
		return err
	}
	delete(h.Inline, name)
	return nil
}

// inlineNames lists the names of the inline policies.
func (h holder) inlineNames(marker *string, size *int64) (names []string, next *string) {
	names, next = page(slices.Sorted(maps.Keys(h.Inline)), func(name string) string { return name }, marker, size)
	if names == nil {
		names = []string{}
	}
	return names, next
}

// attach attaches a managed policy: one of AWS's, or of the account.
func (h holder) attach(tx *store.Tx, policy string) error {
	found, err := attachable(tx, h.account, policy)
	if err != nil {
		return err
	}
	if found == "" {
		return fault.New(fault.NotFound, "Policy %s does not exist or is not attachable.", policy)
	}
	if slices.Contains(h.Attached, found) {
		return nil
	}
	h.Attached = append(h.Attached, found)
	if len(h.Attached) > maxAttached {
		return fault.New(fault.Limit, "Cannot exceed quota for PoliciesPer%s: %d", h.quota, maxAttached)
	}
	return nil
}

// attachable returns the ARN of a managed policy that the account's
// identities can use, or "".
func attachable(tx *store.Tx, account, policy string) (string, error) {
	if err := checkARN(policy); err != nil {
		return "", err
	}
	p, err := findPolicy(tx, account, policy)
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return p.ARN(), nil
}

func (h holder) detach(policy string) error {
	if err := checkARN(policy); err != nil {
		return err
	}
	i := slices.Index(h.Attached, policy)
	if i < 0 {
		return fault.New(fault.NotFound, "Policy %s was not found.", policy)
	}
	h.Attached = slices.Delete(h.Attached, i, i+1)
	return nil
}

// attached lists the managed policies by ARN, those whose path begins with
// the prefix.
func (h holder) attached(prefix, marker *string, size *int64) (list []api.AttachedPolicy, next *string) {
	arns := slices.DeleteFunc(slices.Sorted(slices.Values(h.Attached)), func(a string) bool {
		path, _ := policyPath(a)
		return !strings.HasPrefix(path, text(prefix))
	})
	part, next := page(arns, func(a string) string { return a }, marker, size)
	return shownAttached(part), next
}

func shownAttached(arns []string) []api.AttachedPolicy {
	list := []api.AttachedPolicy{}
	for _, a := range arns {
		_, name := policyPath(a)
		list = append(list, api.AttachedPolicy{PolicyName: &name, PolicyArn: new(a)})
	}
	return list
}

// policyPath splits the path and the name off the ARN of a managed policy.
func policyPath(policy string) (path, name string) {
	a, _ := arn.Parse(policy)
	rest := strings.TrimPrefix(a.Resource, "policy")
	slash := strings.LastIndexByte(rest, '/') + 1
	return rest[:slash], rest[slash:]
}

// bound sets the permissions boundary.
func (h holder) bound(tx *store.Tx, policy *string) error {
	if policy == nil {
		return nil
	}
	found, err := attachable(tx, h.account, *policy)
	if err == nil && found == "" {
		return fault.New(fault.NotFound, "Scope ARN: %s does not exist or is not attachable.", *policy)
	}
	h.Boundary = found
	return err
}

// shownBoundary is a permissions boundary as answers have it, nil for none.
func shownBoundary(policy string) *api.AttachedPermissionsBoundary {
	if policy == "" {
		return nil
	}
	return &api.AttachedPermissionsBoundary{
		PermissionsBoundaryType: new("Policy"), PermissionsBoundaryArn: &policy,
	}
}

// empty refuses to delete what still has policies (AWS: recorded).
func (h holder) empty() error {
	switch {
	case len(h.Attached) > 0:
		return fault.New(inUse, "Cannot delete entity, must detach all policies first.")
	case len(h.Inline) > 0:
		return fault.New(inUse, "Cannot delete entity, must delete policies first.")
	}
	return nil
}

// encode percent-encodes a policy document as IAM's answers do (RFC 3986).
func encode(document string) *string {
	return new(strings.ReplaceAll(url.QueryEscape(document), "+", "%20"))
}
