package store

import (
	"cmp"
	"database/sql"
	"slices"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
)

// versionColumns are the columns of a version as versionRow scans them; all
// zero where a LEFT JOIN found none.
const versionColumns = `coalesce(v.id, ''), coalesce(v.seq, 0), coalesce(v.created_at, 0), coalesce(v.accessed_on, 0),
	coalesce(v.flags, 0), coalesce(v.key_arn, ''), coalesce(v.written_by, '')`

// versionRow is a row of versionColumns.
type versionRow struct {
	id, keyARN, writtenBy         string
	seq, created, accessed, flags int64
}

// The bits of flags.
const (
	hasValue = 1 << iota
	isBinary
	byToken
)

// dest returns what to scan versionColumns into.
func (r *versionRow) dest() []any {
	return []any{&r.id, &r.seq, &r.created, &r.accessed, &r.flags, &r.keyARN, &r.writtenBy}
}

func (r *versionRow) version() secret.Version {
	return secret.Version{
		ID: r.id, CreatedAt: fromMicros(r.created), AccessedOn: fromMicros(r.accessed),
		HasValue: r.flags&hasValue != 0, Binary: r.flags&isBinary != 0, ByToken: r.flags&byToken != 0,
		KeyARN: r.keyARN, WrittenBy: r.writtenBy,
	}
}

func flagsOf(v *secret.Version) int64 {
	return bit(v.HasValue)*hasValue + bit(v.Binary)*isBinary + bit(v.ByToken)*byToken
}

// versionList collects the versions of one secret.
type versionList []numbered

type numbered struct {
	secret.Version
	seq int64
}

// add finds or appends the row's version and gives it the label, if any.
func (l *versionList) add(r *versionRow, label string) *numbered {
	i := slices.IndexFunc(*l, func(v numbered) bool { return v.ID == r.id })
	if i < 0 {
		i = len(*l)
		*l = append(*l, numbered{r.version(), r.seq})
	}
	v := &(*l)[i]
	if label != "" {
		v.Labels = append(v.Labels, label)
	}
	return v
}

// keep sets the sealed value if there is one.
func (v *numbered) keep(sealed []byte) {
	if sealed != nil {
		v.Sealed = sealed
	}
}

// sorted returns the versions by creation with their labels in ASCII order.
func (l versionList) sorted() []secret.Version {
	if len(l) == 0 {
		return nil
	}
	slices.SortFunc(l, func(a, b numbered) int { return cmp.Compare(a.seq, b.seq) })
	versions := make([]secret.Version, len(l))
	for i, v := range l {
		slices.Sort(v.Labels)
		versions[i] = v.Version
	}
	return versions
}

// inListMax is the longest list of one IN.
const inListMax = 100

// inList returns the places of an IN list that begins at $first, and its
// arguments. The list is padded with its last element to one of few
// lengths, so that few statements are prepared.
func inList(first int, ids []string) (places string, args []any) {
	length := len(ids)
	for _, n := range []int{1, 10, inListMax} {
		if length <= n {
			length = n
			break
		}
	}
	var b strings.Builder
	for i := range length {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(first + i))
		args = append(args, ids[min(i, len(ids)-1)])
	}
	return b.String(), args
}

// loadLabelled loads the labelled versions and the replicas of up to
// inListMax secrets.
func (tx *Tx) loadLabelled(list []*secret.Secret) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]string, len(list))
	for i, s := range list {
		ids[i] = s.ID
	}
	found := make(map[string]*versionList, len(list))
	places, args := inList(1, ids)
	var id, label string
	var v versionRow
	dest := append([]any{&id, &label}, v.dest()...)
	err := tx.each(func(rows *sql.Rows) error {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if found[id] == nil {
			found[id] = new(versionList)
		}
		found[id].add(&v, label)
		return nil
	}, `SELECT l.secret_id, l.label, `+versionColumns+` FROM label l
		JOIN version v ON v.secret_id = l.secret_id AND v.id = l.version_id
		WHERE l.secret_id IN (`+places+`)`, args...)
	if err != nil {
		return err
	}
	for _, s := range list {
		if l := found[s.ID]; l != nil {
			s.Versions = l.sorted()
		}
		if err := tx.loadReplicas(s); err != nil {
			return err
		}
	}
	return nil
}

// loadVersions adds the deprecated versions with the given IDs to s, in
// their place by creation.
func (tx *Tx) loadVersions(s *secret.Secret, ids []string) error {
	missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == "" || s.Version(id) != nil })
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	missing = slices.Compact(missing)
	found, err := tx.versions(s, missing)
	if err != nil || len(found) == 0 {
		return err
	}
	// Rare: read the others too, for their place in the order.
	for i := range s.Versions {
		missing = append(missing, s.Versions[i].ID)
	}
	found, err = tx.versions(s, missing)
	if err == nil {
		s.Versions = found.sorted()
	}
	return err
}

// loadAll loads all versions of s, in their order by creation.
func (tx *Tx) loadAll(s *secret.Secret) error {
	found, err := tx.versions(s, nil)
	if err == nil {
		s.Versions = found.sorted()
	}
	return err
}

// versions reads the versions with the IDs, or all for nil. Labels and
// sealed values are those that s knows.
func (tx *Tx) versions(s *secret.Secret, ids []string) (versionList, error) {
	query, args := `SELECT `+versionColumns+` FROM version v WHERE v.secret_id = $1`, []any{s.ID}
	if ids != nil {
		places, list := inList(2, ids)
		query, args = query+` AND v.id IN (`+places+`)`, append(args, list...)
	}
	var found versionList
	var r versionRow
	dest := r.dest()
	err := tx.each(func(rows *sql.Rows) error {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		v := numbered{r.version(), r.seq}
		if known := s.Version(r.id); known != nil {
			v.Labels, v.Sealed = known.Labels, known.Sealed
		}
		found = append(found, v)
		return nil
	}, query, args...)
	return found, err
}

// SealedValue returns the value of a version as package key sealed it. It
// returns an error of kind NotFound when the version does not exist or has
// no value.
func (tx *Tx) SealedValue(secretID, versionID string) ([]byte, error) {
	var sealed []byte
	err := tx.one([]any{&sealed}, `SELECT sealed FROM version WHERE secret_id = $1 AND id = $2 AND sealed IS NOT NULL`, secretID, versionID)
	return sealed, err
}

// errTwice tells that a label is on two versions of a secret to be saved.
func errTwice(label string) error {
	return &fault.Error{Kind: fault.Internal, Message: "", Cause: labelTwice(label)}
}

type labelTwice string

func (l labelTwice) Error() string { return "label " + string(l) + " is on two versions" }
