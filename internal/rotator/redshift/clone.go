package redshift

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/postgres"
)

// atOnce is how many objects one GRANT names.
const atOnce = 100

// probe asks for what a user holds of one kind of object and another lacks.
type probe struct {
	privileges []string
	// query lists the objects, by one or two names; it is completed by a
	// condition on objects.
	query string
	// has is the function that tells whether a user, the first %s, holds a
	// privilege, the second.
	has string
	// on is what stands before the objects' names in a GRANT.
	on string
}

// notOwn leaves the system's own schemas out (AWS: the templates leave out
// pg_internal and pg_automv; nobody is granted privileges on the others).
const notOwn = `n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'`

// probes are the kinds of objects (AWS: the templates; views are added).
var probes = []probe{
	{
		privileges: []string{"CREATE", "TEMPORARY"}, on: "DATABASE",
		query: "SELECT d.datname FROM pg_database d WHERE d.datname NOT IN ('template0', 'template1', 'padb_harvest')",
		has:   "HAS_DATABASE_PRIVILEGE(%s, d.datname, %s)",
	},
	{
		privileges: []string{"CREATE", "USAGE"}, on: "SCHEMA",
		query: "SELECT n.nspname FROM pg_namespace n WHERE " + notOwn,
		has:   "HAS_SCHEMA_PRIVILEGE(%s, n.nspname, %s)",
	},
	{
		privileges: []string{"SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES"}, on: "TABLE",
		query: "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v') AND " + notOwn,
		has:   "HAS_TABLE_PRIVILEGE(%s, c.oid, %s)",
	},
}

// CopyGrants implements rotator.Session: the clone joins the original's
// groups, gets what it then still lacks, and has the original's settings.
func (s *session) CopyGrants(ctx context.Context, from rotator.Login, to string) error {
	s.advice = nil
	if err := s.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	err := s.copy(ctx, from.Username, to)
	if err != nil {
		// The server rolls back by itself where this cannot be said any more.
		_ = s.exec(context.WithoutCancel(ctx), "ROLLBACK")
		return err
	}
	return s.exec(ctx, "COMMIT")
}

func (s *session) copy(ctx context.Context, from, to string) error {
	if err := s.joinGroups(ctx, from, to); err != nil {
		return err
	}
	for _, p := range probes {
		for _, privilege := range p.privileges {
			if err := s.grant(ctx, p, privilege, from, to); err != nil {
				return err
			}
		}
	}
	return s.copyUser(ctx, from, to)
}

// joinGroups makes the clone a member of the original's groups, which keeps
// holding when the groups get other privileges.
func (s *session) joinGroups(ctx context.Context, from, to string) error {
	const query = "SELECT g.groname FROM pg_group g, pg_user f WHERE f.usename = %s AND f.usesysid = ANY(g.grolist)" +
		" AND g.groname NOT IN (SELECT h.groname FROM pg_group h, pg_user t WHERE t.usename = %s AND t.usesysid = ANY(h.grolist))"
	rows, err := s.rows(ctx, fmt.Sprintf(query, literal(from), literal(to)))
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := s.exec(ctx, "ALTER GROUP "+postgres.Name(row[0])+" ADD USER "+postgres.Name(to)); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) grant(ctx context.Context, p probe, privilege, from, to string) error {
	holds := func(user string) string { return fmt.Sprintf(p.has, literal(user), literal(privilege)) }
	rows, err := s.rows(ctx, p.query+" AND "+holds(from)+" AND NOT "+holds(to))
	if err != nil {
		return err
	}
	objects := make([]string, len(rows))
	for i, row := range rows {
		for j, part := range row {
			row[j] = postgres.Name(part)
		}
		objects[i] = strings.Join(row, ".")
	}
	for len(objects) > 0 {
		n := min(len(objects), atOnce)
		if err := s.exec(ctx, "GRANT "+privilege+" ON "+p.on+" "+strings.Join(objects[:n], ", ")+" TO "+postgres.Name(to)); err != nil {
			return err
		}
		objects = objects[n:]
	}
	return nil
}

// copyUser gives the clone what is the user's own: the right to make
// databases, the time until its password is valid, and settings.
func (s *session) copyUser(ctx context.Context, from, to string) error {
	want, err := s.user(ctx, from)
	if err != nil {
		return err
	}
	has, err := s.user(ctx, to)
	if err != nil {
		return err
	}
	var changes []string
	if want.createDB != has.createDB {
		changes = append(changes, map[bool]string{true: "CREATEDB", false: "NOCREATEDB"}[want.createDB])
	}
	if want.until != has.until {
		changes = append(changes, "VALID UNTIL "+literal(want.until))
	}
	for parameter, value := range want.settings {
		if had, ok := has.settings[parameter]; !ok || had != value {
			changes = append(changes, "SET "+parameter+" TO "+settingValue(parameter, value))
		}
	}
	for parameter := range has.settings {
		if _, ok := want.settings[parameter]; !ok {
			changes = append(changes, "RESET "+parameter)
		}
	}
	for _, change := range changes {
		if err := s.exec(ctx, "ALTER USER "+postgres.Name(to)+" "+change); err != nil {
			return err
		}
	}
	if want.super && !has.super {
		s.advice = append(s.advice, fmt.Sprintf("User %s is a superuser and %s is not; run as a superuser: ALTER USER %s CREATEUSER", from, to, postgres.Name(to)))
	}
	return nil
}

type user struct {
	createDB, super bool
	until           string
	settings        map[string]string
}

func (s *session) user(ctx context.Context, name string) (user, error) {
	rows, err := s.rows(ctx, "SELECT usecreatedb, usesuper, valuntil, useconfig FROM pg_user WHERE usename = "+literal(name))
	if err != nil {
		return user{}, err
	}
	if len(rows) == 0 {
		return user{}, rotator.NewFailure(rotator.CauseMissingUser, "", fmt.Sprintf("user %q does not exist", name), errors.New("no row"))
	}
	row := rows[0]
	u := user{createDB: row[0] == "t", super: row[1] == "t", until: row[2], settings: map[string]string{}}
	if u.until == "" {
		u.until = "infinity"
	}
	for _, assigned := range elements(row[3]) {
		parameter, value, _ := strings.Cut(assigned, "=")
		u.settings[parameter] = value
	}
	return u, nil
}

// elements takes an array of texts apart, as the server writes it.
func elements(array string) []string {
	array = strings.TrimSuffix(strings.TrimPrefix(array, "{"), "}")
	if array == "" {
		return nil
	}
	var (
		found  []string
		item   strings.Builder
		quoted bool
	)
	for i := 0; i < len(array); i++ {
		switch c := array[i]; {
		case c == '\\' && i+1 < len(array):
			i++
			item.WriteByte(array[i])
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			found = append(found, item.String())
			item.Reset()
		default:
			item.WriteByte(c)
		}
	}
	return append(found, item.String())
}

// settingValue writes a stored value as a statement takes it.
func settingValue(parameter, value string) string {
	if parameter != "search_path" {
		return literal(value)
	}
	items := postgres.SplitNames(value)
	for i, item := range items {
		items[i] = literal(item)
	}
	return strings.Join(items, ", ")
}

// Advice implements rotator.Adviser.
func (s *session) Advice(context.Context, rotator.Login, string) []string { return s.advice }
