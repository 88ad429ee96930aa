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
// few, the secrets with the name prefix are found first and then sorted.
func listQuery(q SecretQuery, few bool) (string, []any) {
	args := []any{q.Account, q.Region}
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	where := ` WHERE s.account = $1 AND s.region = $2`
	if q.NamePrefix != "" {
		from, to := arg(q.NamePrefix), arg(q.NamePrefix+beyond)
		if few {
			where = ` WHERE s.id IN (SELECT m.id FROM secret m WHERE m.account = $1 AND m.region = $2 AND m.name >= ` + from + ` AND m.name < ` + to + ` LIMIT ` + arg(sortedMatches) + `)`
		} else {
			name := `s.name`
			if q.Sort != ByName {
				// An expression keeps the planner from finding all
				// matches by name and sorting them.
				name = `(s.name || '')`
			}
			where += ` AND ` + name + ` >= ` + from + ` AND ` + name + ` < ` + to
		}
	}
	if !q.Deleted {
		where += ` AND s.delete_at = 0`
	}
	than, direction := " > ", ""
	if q.Descending {
		than, direction = " < ", " DESC"
	}
	key, order := `s.name`, `s.name`+direction
	after := func() string { return arg(q.After.Name) }
	if column, timed := sortColumns[q.Sort]; timed {
		key, order = `(s.`+column+`, s.name)`, `s.`+column+direction+`, s.name`+direction
		after = func() string { return `(` + arg(q.After.At) + `, ` + arg(q.After.Name) + `)` }
	}
	if !q.After.IsZero() {
		where += ` AND ` + key + than + after()
	}
	return `SELECT ` + secretColumns + ` FROM secret s` + where + ` ORDER BY ` + order + ` LIMIT ` + arg(q.Limit+1), args
}
