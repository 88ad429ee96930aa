package authz

import (
	"context"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

// holderKey names a user or a role. The name is as the access key or session
// has it.
type holderKey struct {
	kind          iam.HolderKind
	account, name string
}

// holder is a user or a role as the store had it, with its policies
// compiled. It does not change.
type holder struct {
	account, name, id, arn string
	identity               *iam.Identity
	// text is the length of all its policies, in bytes.
	text int
}

// policyFactor is the memory that a compiled policy is taken to need, in bytes
// for each of its text. Measured, usual policies need 3 to 5, many short
// statements 8, and long lists of very short patterns or values up to 50.
const policyFactor = 8

// holderSize estimates the memory that a user or role takes, in bytes.
func holderSize(_ holderKey, h *holder) int64 {
	return int64(1<<10 + policyFactor*h.text)
}

// user is who calls with an access key of the user or with a session of its
// own.
func (h *holder) user(accessKeyID string) iam.Principal {
	return iam.Principal{
		Type: iam.IAMUser, Account: h.account, ARN: h.arn, ID: h.id, Name: h.name, AccessKeyID: accessKeyID, Identity: h.identity,
	}
}

// session is who calls with a session of the role.
func (h *holder) session(s *session) iam.Principal {
	role := iam.Role{Account: h.account, Name: h.name}
	return iam.Principal{
		Type: iam.AssumedRole, Account: h.account, ARN: role.SessionARN(s.Session), ID: h.id + ":" + s.Session,
		Name: h.name, Session: s.Session, RoleARN: h.arn, AccessKeyID: s.AccessKeyID, Given: s.Given, Identity: h.identity,
	}
}

// holder finds a user or role. The error is of kind NotFound if there is
// none.
func (k *Keyring) holder(ctx context.Context, key holderKey) (*holder, error) {
	if h, known := k.holders.Get(key); known {
		return h, nil
	}
	mark := k.cfg.Store.Mark()
	var h *holder
	var held holdings
	err := k.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		h, held, err = readHolder(tx, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	h.identity, h.text = k.compileAll(&held), held.text()
	k.holders.Put(mark, key, h, store.IdentityTopic(key.account))
	return h, nil
}

// holdings are the policies of a user or role in text.
type holdings struct {
	iam.Holdings
	// groups are the user's.
	groups []*iam.Group
	// documents are those of the managed policies in force, by ARN; those that
	// are missing are not in it.
	documents map[string]string
}

func readHolder(tx *store.Tx, key holderKey) (h *holder, held holdings, err error) {
	switch key.kind {
	case iam.RoleHolder:
		role, err := tx.Role(key.account, key.name)
		if err != nil {
			return nil, held, err
		}
		h, held.Holdings = &holder{account: role.Account, name: role.Name, id: role.ID, arn: role.ARN()}, role.Holdings
	case iam.UserHolder:
		user, err := tx.User(key.account, key.name)
		if err != nil {
			return nil, held, err
		}
		h, held.Holdings = &holder{account: user.Account, name: user.Name, id: user.ID, arn: user.ARN()}, user.Holdings
		if held.groups, err = tx.GroupsOf(key.account, key.name); err != nil {
			return nil, held, err
		}
	}
	wanted := slices.Clone(held.Attached)
	for _, g := range held.groups {
		wanted = append(wanted, g.Attached...)
	}
	if held.Boundary != "" {
		wanted = append(wanted, held.Boundary)
	}
	held.documents, err = readManaged(tx, key.account, wanted)
	return h, held, err
}

func (held *holdings) text() (n int) {
	for _, document := range held.documents {
		n += len(document)
	}
	for _, document := range held.Inline {
		n += len(document)
	}
	for _, g := range held.groups {
		for _, document := range g.Inline {
			n += len(document)
		}
	}
	return n
}

// readManaged returns the documents in force of managed policies of AWS and
// of the account, without those that are missing.
func readManaged(tx *store.Tx, account string, arns []string) (map[string]string, error) {
	documents := map[string]string{}
	for _, policyARN := range arns {
		document, err := ManagedPolicy(tx, account, policyARN)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		documents[policyARN] = document
	}
	return documents, nil
}

// ManagedPolicy returns the document in force of a managed policy that
// identities of the account can have: one of AWS's or the account's own. The
// error is of kind NotFound, without message, if there is none.
func ManagedPolicy(tx *store.Tx, account, policyARN string) (document string, err error) {
	if m, ok := iam.ManagedPolicyByARN(policyARN); ok {
		return m.Document, nil
	}
	a, ok := arn.Parse(policyARN)
	if !ok || a.Service != "iam" || a.Account != account || !strings.HasPrefix(a.Resource, "policy/") {
		return "", fault.New(fault.NotFound, "")
	}
	p, err := tx.CustomerPolicy(account, a.Resource[strings.LastIndexByte(a.Resource, '/')+1:])
	if err != nil {
		return "", err
	}
	v := p.Version(p.Default)
	if v == nil || p.ARN() != policyARN {
		return "", fault.New(fault.NotFound, "")
	}
	return v.Document, nil
}

// managed is readManaged in a View of its own.
func (k *Keyring) managed(ctx context.Context, account string, arns []string) (documents map[string]string, err error) {
	if len(arns) == 0 {
		return nil, nil
	}
	err = k.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		documents, err = readManaged(tx, account, arns)
		return err
	})
	return documents, err
}

// compileAll makes an Identity of policies in text.
func (k *Keyring) compileAll(held *holdings) *iam.Identity {
	id := &iam.Identity{Tags: held.Tags, Policies: k.compileHeld(&held.Holdings, held.documents)}
	for _, g := range held.groups {
		id.Policies = append(id.Policies, k.compileHeld(&g.Holdings, held.documents)...)
	}
	if held.Boundary == "" {
		return id
	}
	if document, found := held.documents[held.Boundary]; found {
		id.Boundary = k.compile(document, held.Boundary)
	} else {
		id.Boundary = &iam.Policy{Name: held.Boundary} // which allows nothing
	}
	return id
}

func (k *Keyring) compileHeld(h *iam.Holdings, documents map[string]string) []*iam.Policy {
	policies := make([]*iam.Policy, 0, len(h.Inline)+len(h.Attached))
	for name, document := range h.Inline {
		policies = append(policies, k.compile(document, name))
	}
	slices.SortFunc(policies, func(a, b *iam.Policy) int { return strings.Compare(a.Name, b.Name) })
	for _, policyARN := range h.Attached {
		policies = append(policies, k.compileManaged(documents, policyARN))
	}
	return policies
}

// compileManaged compiles a managed policy. One that is missing may have
// denied something, so it denies everything.
func (k *Keyring) compileManaged(documents map[string]string, policyARN string) *iam.Policy {
	document, found := documents[policyARN]
	if !found {
		k.cfg.Logger.Error("a managed policy is missing: whoever has it is denied everything", "policy", policyARN)
		return closed(policyARN)
	}
	return k.compile(document, policyARN)
}

// compile compiles a stored policy. IAM stores none that cannot be compiled;
// should there be one all the same, it may have denied something, so it
// denies everything.
func (k *Keyring) compile(text, name string) *iam.Policy {
	p, err := iam.CompileText(text, name)
	if err != nil {
		k.cfg.Logger.Error("a stored policy cannot be read: whoever has it is denied everything", "policy", name, "error", err)
		return closed(name)
	}
	return p
}
