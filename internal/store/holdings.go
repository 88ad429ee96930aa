package store

import (
	"database/sql"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
)

// holder is who holds policies, as the tables of policies name it.
type holder struct {
	account string
	kind    iam.HolderKind
	folded  string
}

func holderOf(account string, kind iam.HolderKind, name string) holder {
	return holder{account, kind, strings.ToLower(name)}
}

// args are the parameters $1 to $3 of a statement about the holder's
// policies, and those that follow.
func (h holder) args(more ...any) []any {
	return append([]any{h.account, string(h.kind), h.folded}, more...)
}

// loadPolicies fills in the policies of a holder.
func (tx *Tx) loadPolicies(h holder, to *iam.Holdings) error {
	err := tx.each(func(rows *sql.Rows) error {
		var name, document string
		err := rows.Scan(&name, &document)
		if to.Inline == nil {
			to.Inline = map[string]string{}
		}
		to.Inline[name] = document
		return err
	}, `SELECT name, document FROM iam_inline_policy WHERE account = $1 AND kind = $2 AND holder = $3`, h.args()...)
	if err != nil {
		return err
	}
	return tx.each(func(rows *sql.Rows) error {
		var policy string
		err := rows.Scan(&policy)
		to.Attached = append(to.Attached, policy)
		return err
	}, `SELECT policy_arn FROM iam_attached_policy WHERE account = $1 AND kind = $2 AND holder = $3 ORDER BY seq`, h.args()...)
}

// savePolicies stores what differs between two states of a holder's
// policies.
func (tx *Tx) savePolicies(h holder, before, after *iam.Holdings) error {
	tx.Touch(IdentityTopic(h.account))
	if err := tx.saveInline(h, before.Inline, after.Inline); err != nil {
		return err
	}
	if slices.Equal(before.Attached, after.Attached) {
		return nil
	}
	return tx.saveAttached(h, before.Attached, after.Attached)
}

func (tx *Tx) saveInline(h holder, before, after map[string]string) error {
	for name := range before {
		if _, stays := after[name]; stays {
			continue
		}
		if _, err := tx.exec(`DELETE FROM iam_inline_policy WHERE account = $1 AND kind = $2 AND holder = $3 AND name = $4`,
			h.args(name)...); err != nil {
			return err
		}
	}
	for name, document := range after {
		if old, found := before[name]; found && old == document {
			continue
		}
		if _, err := tx.exec(`INSERT INTO iam_inline_policy (account, kind, holder, name, document) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (account, kind, holder, name) DO UPDATE SET document = excluded.document`, h.args(name, document)...); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) saveAttached(h holder, before, after []string) error {
	if len(before) > 0 {
		if _, err := tx.exec(`DELETE FROM iam_attached_policy WHERE account = $1 AND kind = $2 AND holder = $3`, h.args()...); err != nil {
			return err
		}
	}
	for i, policy := range after {
		if err := tx.insert(`INSERT INTO iam_attached_policy (account, kind, holder, policy_arn, seq) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT DO NOTHING`, h.args(policy, i)...); err != nil {
			return err
		}
	}
	return nil
}

// movePolicies gives a holder's policies to its new name.
func (tx *Tx) movePolicies(h holder, folded string) error {
	for _, statement := range []string{
		`UPDATE iam_inline_policy SET holder = $4 WHERE account = $1 AND kind = $2 AND holder = $3`,
		`UPDATE iam_attached_policy SET holder = $4 WHERE account = $1 AND kind = $2 AND holder = $3`,
	} {
		if _, err := tx.exec(statement, h.args(folded)...); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) deletePolicies(h holder) error {
	tx.Touch(IdentityTopic(h.account))
	for _, statement := range []string{
		`DELETE FROM iam_inline_policy WHERE account = $1 AND kind = $2 AND holder = $3`,
		`DELETE FROM iam_attached_policy WHERE account = $1 AND kind = $2 AND holder = $3`,
	} {
		if _, err := tx.exec(statement, h.args()...); err != nil {
			return err
		}
	}
	return nil
}

// only returns the one element of a list, or an error of kind NotFound,
// without message.
func only[T any](list []*T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "")
	}
	return list[0], nil
}
