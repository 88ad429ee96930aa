package store

import (
	"cmp"
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
)

// versionColumns are the columns of a version as versionRow scans them; all
// zero where a LEFT JOIN found none.
const versionColumns = `coalesce(v.id, ''), coalesce(v.seq, 0), coalesce(v.created_at, 0), coalesce(v.accessed_on, 0),
	coalesce(v.has_value, 0), coalesce(v.is_binary, 0), coalesce(v.by_token, 0), coalesce(v.key_arn, ''), coalesce(v.written_by, '')`

// versionRow is a row of versionColumns.
type versionRow struct {
	id, keyARN, writtenBy                                 string
	seq, created, accessed, hasValue, isBinary, byTokenIs int64
}

// dest returns what to scan versionColumns into.
func (r *versionRow) dest() []any {
	return []any{&r.id, &r.seq, &r.created, &r.accessed, &r.hasValue, &r.isBinary, &r.byTokenIs, &r.keyARN, &r.writtenBy}
}

func (r *versionRow) version() secret.Version {
	return secret.Version{
		ID: r.id, CreatedAt: fromMicros(r.created), AccessedOn: fromMicros(r.accessed),
		HasValue: r.hasValue != 0, Binary: r.isBinary != 0, ByToken: r.byTokenIs != 0,
		KeyARN: r.keyARN, WrittenBy: r.writtenBy,
	}
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

// loadVersions adds the deprecated versions with the given IDs to s.
func (tx *Tx) loadVersions(s *secret.Secret, ids []string) error {
	missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == "" || s.Version(id) != nil })
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return tx.mergeVersions(s, slices.Compact(missing))
}

// Versions loads all versions of the secret into s.Versions, with the
// deprecated ones in their place by creation.
func (tx *Tx) Versions(s *secret.Secret) error { return tx.mergeVersions(s, nil) }

// mergeVersions reads the versions with the IDs, or all for nil, and puts
// them with the labelled ones in order.
func (tx *Tx) mergeVersions(s *secret.Secret, only []string) error {
	query, args := `SELECT `+versionColumns+` FROM version v WHERE v.secret_id = $1`, []any{s.ID}
	if only != nil {
		known := make([]string, 0, len(s.Versions)+len(only))
		for i := range s.Versions {
			known = append(known, s.Versions[i].ID)
		}
		places, ids := inList(2, append(known, only...))
		query, args = query+` AND v.id IN (`+places+`)`, append(args, ids...)
	}
	var all versionList
	var v versionRow
	dest := v.dest()
	err := tx.each(func(rows *sql.Rows) error {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		got := all.add(&v, "")
		if known := s.Version(v.id); known != nil {
			got.Labels, got.Sealed = known.Labels, known.Sealed
		}
		return nil
	}, query, args...)
	if err == nil {
		s.Versions = all.sorted()
	}
	return err
}

// SealedValue returns the value of a version as package key sealed it. It
// returns an error of kind NotFound when the version does not exist or has
// no value.
func (tx *Tx) SealedValue(secretID, versionID string) ([]byte, error) {
	var sealed []byte
	err := tx.one([]any{&sealed}, `SELECT sealed FROM version WHERE secret_id = $1 AND id = $2 AND has_value = 1`, secretID, versionID)
	return sealed, err
}

// VersionCount returns how many versions a secret has, deprecated ones
// included.
func (tx *Tx) VersionCount(secretID string) (int64, error) {
	var n int64
	err := tx.one([]any{&n}, `SELECT version_count FROM secret WHERE id = $1`, secretID)
	return n, err
}

// VersionsKept is how many versions of a secret PruneVersions leaves alone
// (AWS docs: about 100).
const VersionsKept = 100

// PruneVersions removes deprecated versions, oldest first and none created
// at or after before, from up to limit secrets that have more than
// VersionsKept versions, in the order of their IDs and beginning behind
// after. It returns the ID to go on behind, or "" at the end.
func (tx *Tx) PruneVersions(after string, before time.Time, limit int) (next string, err error) {
	type crowded struct {
		id    string
		count int64
	}
	var list []crowded
	err = tx.each(func(rows *sql.Rows) error {
		var c crowded
		err := rows.Scan(&c.id, &c.count)
		list = append(list, c)
		return err
	}, `SELECT id, version_count FROM secret WHERE version_count > 100 AND id > $1 ORDER BY id LIMIT $2`, after, limit)
	if err != nil {
		return "", err
	}
	for _, c := range list {
		removed, err := tx.exec(`DELETE FROM version WHERE secret_id = $1 AND id IN (
			SELECT v.id FROM version v WHERE v.secret_id = $1 AND v.created_at < $2 AND NOT EXISTS (
				SELECT 1 FROM label l WHERE l.secret_id = v.secret_id AND l.version_id = v.id)
			ORDER BY v.seq LIMIT $3)`, c.id, micros(before), c.count-VersionsKept)
		if err == nil && removed > 0 {
			_, err = tx.exec(`UPDATE secret SET version_count = version_count - $2 WHERE id = $1`, c.id, removed)
		}
		if err != nil {
			return "", err
		}
	}
	if len(list) < limit {
		return "", nil
	}
	return list[len(list)-1].id, nil
}

// errTwice tells that a label is on two versions of a secret to be saved.
func errTwice(label string) error {
	return &fault.Error{Kind: fault.Internal, Message: "", Cause: labelTwice(label)}
}

type labelTwice string

func (l labelTwice) Error() string { return "label " + string(l) + " is on two versions" }
