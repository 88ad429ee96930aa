package store

import (
	"strconv"

	"github.com/keyturn/keyturn/internal/secret"
)

// SecretSort is an order of secrets. Equal times are ordered by name.
type SecretSort int

// The orders.
const (
	ByCreated SecretSort = iota
	ByChanged
	ByAccess
	ByName
)

// sortColumns are the columns that the orders compare before the name.
var sortColumns = map[SecretSort]string{ByCreated: "created_at", ByChanged: "changed_at", ByAccess: "accessed_on"}

// SecretQuery selects a page of the secrets of one account and region.
type SecretQuery struct {
	Account, Region string
	Sort            SecretSort
	Descending      bool
	// NamePrefix, if not empty, selects names that begin with it.
	NamePrefix string
	// Deleted includes secrets that are scheduled for deletion.
	Deleted bool
	// Limit is the most secrets to return.
	Limit int
	// After continues behind an earlier page of the same query.
	After SecretCursor
}

// SecretCursor is a place in the list of secrets; the zero SecretCursor is
// its beginning.
type SecretCursor struct {
	// At is the time that the order compares, in microseconds since 1970.
	At int64
	// Name is the secret's name.
	Name string
}

// IsZero reports whether the cursor is the beginning or the end.
func (c SecretCursor) IsZero() bool { return c == SecretCursor{} }

// sortedMatches bounds how many secrets with a name prefix are sorted by
// time. When more match, the list is walked in the order of time and names
// are compared on the way, which soon fills a page because many match.
const sortedMatches = 1000

// beyond sorts behind every name: no name holds it.
const beyond = "\U0010FFFF"

// ListSecrets returns a page of secrets with their labelled versions, and
// where it ended; a zero cursor tells that there are no more. Secrets that
// come or go between pages do not make others be missed or listed twice,
// unless a change moves them in the order. The cost of a page does not
// depend on how many secrets there are.
func (tx *Tx) ListSecrets(q SecretQuery) ([]*secret.Secret, SecretCursor, error) {
	few := false
	if q.NamePrefix != "" && q.Sort != ByName {
		var n int
		err := tx.one([]any{&n}, `SELECT count(*) FROM (SELECT 1 FROM secret
			WHERE account = $1 AND region = $2 AND name >= $3 AND name < $4 LIMIT $5) m`,
			q.Account, q.Region, q.NamePrefix, q.NamePrefix+beyond, sortedMatches+1)
		if err != nil {
			return nil, SecretCursor{}, err
		}
		few = n <= sortedMatches
	}
	query, args := listQuery(q, few)
	list, err := tx.secrets(query, args...)
	if err != nil {
		return nil, SecretCursor{}, err
	}
	if len(list) <= q.Limit {
		return list, SecretCursor{}, nil
	}
	list = list[:q.Limit]
	return list, q.cursor(list[q.Limit-1]), nil
}

// cursor returns the place of a secret.
func (q *SecretQuery) cursor(s *secret.Secret) SecretCursor {
	c := SecretCursor{Name: s.Name}
	switch q.Sort {
	case ByCreated:
		c.At = micros(s.CreatedAt)
	case ByChanged:
		c.At = micros(s.ChangedAt)
	case ByAccess:
		c.At = micros(s.AccessedOn)
	}
	return c
}

// listQuery builds a query for one more secret than the page holds. With
// few, the places of the secrets with the name prefix are sorted first, and
// only those of the page are read.
func listQuery(q SecretQuery, few bool) (string, []any) {
	l := listStatement{SecretQuery: q, args: []any{q.Account, q.Region}}
	if !few {
		where, order := l.where("s", q.Sort != ByName), l.order("s", false)
		return `SELECT ` + secretColumns + ` FROM secret s` + where + order + ` LIMIT ` + l.arg(q.Limit+1), l.args
	}
	where, order := l.where("m", false), l.order("m", true)
	return `SELECT ` + secretColumns + ` FROM secret s WHERE s.id IN (SELECT m.id FROM secret m` + where + order +
		` LIMIT ` + l.arg(q.Limit+1) + `)` + l.order("s", false), l.args
}

// listStatement builds the parts of a query and collects its arguments.
type listStatement struct {
	SecretQuery
	args []any
}

func (l *listStatement) arg(v any) string {
	l.args = append(l.args, v)
	return "$" + strconv.Itoa(len(l.args))
}

// where selects among the secrets of the table t those that the query is for.
// With walk, the prefix is compared on the way along another order: the
// expression keeps the planner from finding all matches by name and sorting
// them.
func (l *listStatement) where(t string, walk bool) string {
	where := ` WHERE ` + t + `.account = $1 AND ` + t + `.region = $2`
	if l.NamePrefix != "" {
		name := t + `.name`
		if walk {
			name = `(` + name + ` || '')`
		}
		where += ` AND ` + name + ` >= ` + l.arg(l.NamePrefix) + ` AND ` + name + ` < ` + l.arg(l.NamePrefix+beyond)
	}
	if !l.Deleted {
		where += ` AND ` + t + `.delete_at = 0`
	}
	if l.After.IsZero() {
		return where
	}
	than := ` > `
	if l.Descending {
		than = ` < `
	}
	if column, timed := sortColumns[l.Sort]; timed {
		return where + ` AND (` + t + `.` + column + `, ` + t + `.name)` + than + `(` + l.arg(l.After.At) + `, ` + l.arg(l.After.Name) + `)`
	}
	return where + ` AND ` + t + `.name` + than + l.arg(l.After.Name)
}

// order sorts the secrets of the table t. With aside, an expression keeps the
// planner from walking along an index that has this order.
func (l *listStatement) order(t string, aside bool) string {
	direction := ``
	if l.Descending {
		direction = ` DESC`
	}
	column, timed := sortColumns[l.Sort]
	switch {
	case !timed:
		return ` ORDER BY ` + t + `.name` + direction
	case aside:
		return ` ORDER BY ` + t + `.` + column + ` + 0` + direction + `, ` + t + `.name` + direction
	}
	return ` ORDER BY ` + t + `.` + column + direction + `, ` + t + `.name` + direction
}
