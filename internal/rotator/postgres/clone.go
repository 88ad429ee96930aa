package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/rotator"
)

// grantOptions is the version, as server_version_num has it, from which
// memberships say themselves whether they inherit.
const grantOptions = 160000

// CopyGrants implements rotator.Session: the user becomes a member of the
// role of from, and gets what members do not inherit, which is attributes,
// limits and settings. Where from is a member of the user already, the user
// is the original of the pair, and is left alone: roles cannot be members of
// each other.
func (s *session) CopyGrants(ctx context.Context, from rotator.Login, to string) error {
	member, err := s.isMember(ctx, from.Username, to)
	if err != nil || member {
		return err
	}
	return s.change(ctx, func(tx pgx.Tx) error {
		s.advice = nil
		if err := s.grant(ctx, tx, from.Username, to); err != nil {
			return err
		}
		if err := s.copyAttributes(ctx, tx, from.Username, to); err != nil {
			return err
		}
		return s.copySettings(ctx, tx, from.Username, to)
	})
}

// isMember tells whether a role is a member of another, by itself or through
// others. A superuser is none by being one.
func (s *session) isMember(ctx context.Context, role, of string) (bool, error) {
	const query = `WITH RECURSIVE above AS (
		SELECT oid FROM pg_roles WHERE rolname = $1
		UNION SELECT m.roleid FROM pg_auth_members m JOIN above ON m.member = above.oid
	) SELECT EXISTS (SELECT 1 FROM above JOIN pg_roles r ON r.oid = above.oid WHERE r.rolname = $2)`
	var member bool
	err := s.conn.QueryRow(ctx, query, role, of).Scan(&member)
	return member, Refusal(err)
}

func (s *session) grant(ctx context.Context, tx pgx.Tx, role, to string) error {
	var version int
	if err := tx.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return Refusal(err)
	}
	statement := "GRANT " + Name(role) + " TO " + Name(to)
	if version >= grantOptions {
		// A member that inherits nothing by default would have no privileges.
		statement += " WITH INHERIT TRUE, SET TRUE"
	}
	_, err := tx.Exec(ctx, statement)
	return withRemedy(Refusal(err), "GRANT %s TO %s WITH ADMIN OPTION", Name(role), Name(s.conn.Config().User))
}

// role is what members do not inherit of a role.
type role struct {
	super, createRole, createDB, replication, bypassRLS, inherit bool

	limit int
	until string // as the session writes times; infinity for never
}

// attribute is one that a role has or has not, by the word for it.
type attribute struct {
	word      string
	has, want bool
}

// copyAttributes makes the clone's attributes those of the original. The
// clone inherits always: what the original inherits of others is decided by
// the original.
func (s *session) copyAttributes(ctx context.Context, tx pgx.Tx, from, to string) error {
	want, err := roleOf(ctx, tx, from)
	if err != nil {
		return err
	}
	has, err := roleOf(ctx, tx, to)
	if err != nil {
		return err
	}
	for _, a := range []attribute{
		{"SUPERUSER", has.super, want.super}, {"CREATEROLE", has.createRole, want.createRole}, {"CREATEDB", has.createDB, want.createDB},
		{"REPLICATION", has.replication, want.replication}, {"BYPASSRLS", has.bypassRLS, want.bypassRLS}, {"INHERIT", has.inherit, true},
	} {
		if a.has == a.want {
			continue
		}
		word := a.word
		if !a.want {
			word = "NO" + word
		}
		if err := s.alter(ctx, tx, to, "", word); err != nil {
			return err
		}
	}
	if has.limit != want.limit {
		if err := s.alter(ctx, tx, to, "", fmt.Sprintf("CONNECTION LIMIT %d", want.limit)); err != nil {
			return err
		}
	}
	if has.until != want.until {
		return s.alter(ctx, tx, to, "", "VALID UNTIL "+literal(want.until))
	}
	return nil
}

func roleOf(ctx context.Context, tx pgx.Tx, user string) (r role, err error) {
	const query = `SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolinherit, rolconnlimit,
		coalesce(rolvaliduntil::text, 'infinity') FROM pg_roles WHERE rolname = $1`
	err = tx.QueryRow(ctx, query, user).
		Scan(&r.super, &r.createRole, &r.createDB, &r.replication, &r.bypassRLS, &r.inherit, &r.limit, &r.until)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, rotator.NewFailure(rotator.CauseMissingUser, "", fmt.Sprintf("role %q does not exist", user), err)
	}
	return r, Refusal(err)
}

// alter changes one thing of a role. What this user may not change, or the
// server does not know, becomes advice: the login works without.
func (s *session) alter(ctx context.Context, tx pgx.Tx, user, database, change string) error {
	statement := "ALTER ROLE " + Name(user)
	if database != "" {
		statement += " IN DATABASE " + Name(database)
	}
	statement += " " + change
	sub, err := tx.Begin(ctx)
	if err != nil {
		return Refusal(err)
	}
	_, err = sub.Exec(ctx, statement)
	if err == nil {
		return Refusal(sub.Commit(ctx))
	}
	err = errors.Join(Refusal(err), Refusal(sub.Rollback(ctx)))
	f, ok := errors.AsType[*rotator.Failure](err)
	if !ok || f.Cause != rotator.CausePermission && !skipped[f.Code] {
		return err
	}
	s.advice = append(s.advice, fmt.Sprintf("The users of the pair differ: %s; run as a superuser: %s", f.Text, statement))
	return nil
}

// skipped are the SQLSTATEs of settings that the server does not know or take
// any more.
var skipped = map[string]bool{"42704": true, "22023": true, "55P02": true}

// setting is what a role changes at login: in all databases, or in one.
type setting struct{ database, parameter string }

// copySettings makes the clone's settings those of the original, and with
// KEYTURN_SET_ROLE lets the clone act as the original, so that what it makes
// is the original's.
func (s *session) copySettings(ctx context.Context, tx pgx.Tx, from, to string) error {
	want, err := settingsOf(ctx, tx, from)
	if err != nil {
		return err
	}
	acting := setting{parameter: "role"}
	if _, own := want[acting]; !own && s.settings.Flag("KEYTURN_SET_ROLE", false) {
		want[acting] = from
	}
	has, err := settingsOf(ctx, tx, to)
	if err != nil {
		return err
	}
	for key := range has {
		if _, ok := want[key]; ok {
			continue
		}
		if err := s.alter(ctx, tx, to, key.database, "RESET "+Name(key.parameter)); err != nil {
			return err
		}
	}
	for key, value := range want {
		if had, ok := has[key]; ok && had == value {
			continue
		}
		if err := s.alter(ctx, tx, to, key.database, "SET "+Name(key.parameter)+" TO "+settingValue(key.parameter, value)); err != nil {
			return err
		}
	}
	return nil
}

func settingsOf(ctx context.Context, tx pgx.Tx, user string) (map[setting]string, error) {
	const query = `SELECT coalesce(d.datname, ''), c FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
		LEFT JOIN pg_database d ON d.oid = s.setdatabase CROSS JOIN LATERAL unnest(s.setconfig) AS c WHERE r.rolname = $1`
	rows, err := tx.Query(ctx, query, user)
	if err != nil {
		return nil, Refusal(err)
	}
	found := map[setting]string{}
	var database, assigned string
	_, err = pgx.ForEachRow(rows, []any{&database, &assigned}, func() error {
		parameter, value, _ := strings.Cut(assigned, "=")
		found[setting{database, parameter}] = value
		return nil
	})
	return found, Refusal(err)
}

// quotedLists are the parameters whose value is a list of names, which the
// server stores quoted one by one.
var quotedLists = map[string]bool{
	"local_preload_libraries": true, "search_path": true, "session_preload_libraries": true, "shared_preload_libraries": true,
	"temp_tablespaces": true, "unix_socket_directories": true,
}

// settingValue writes a stored value as a statement takes it.
func settingValue(parameter, value string) string {
	if !quotedLists[strings.ToLower(parameter)] || value == "" {
		return literal(value)
	}
	items := SplitNames(value)
	for i, item := range items {
		items[i] = literal(item)
	}
	return strings.Join(items, ", ")
}

// SplitNames takes a list of names apart, quoted ones in double quotes.
func SplitNames(list string) []string {
	var (
		names  []string
		item   strings.Builder
		quoted bool
	)
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '"' && quoted && i+1 < len(list) && list[i+1] == '"':
			item.WriteByte(c)
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			names = append(names, item.String())
			item.Reset()
		case c == ' ' && !quoted:
		default:
			item.WriteByte(c)
		}
	}
	return append(names, item.String())
}

// Advice implements rotator.Adviser.
func (s *session) Advice(ctx context.Context, from rotator.Login, to string) []string {
	original, err := s.isMember(ctx, from.Username, to)
	if err != nil || !original {
		return s.advice
	}
	return append(s.advice, s.held(ctx, from.Username, to)...)
}

// held says what only the clone has, and will be missed when the original is
// used again.
func (s *session) held(ctx context.Context, clone, original string) (advice []string) {
	var owned, granted int
	const query = `SELECT count(*) FILTER (WHERE deptype = 'o'), count(*) FILTER (WHERE deptype = 'a') FROM pg_shdepend
		WHERE refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)`
	if err := s.conn.QueryRow(ctx, query, clone).Scan(&owned, &granted); err != nil {
		return nil // advice is no reason to fail
	}
	if owned > 0 {
		advice = append(advice, fmt.Sprintf("User %s owns %d objects, which user %s may not use; run in their databases: REASSIGN OWNED BY %s TO %s, "+
			"and set KEYTURN_SET_ROLE=true for the function so that no more are made",
			clone, owned, original, Name(clone), Name(original)))
	}
	if granted > 0 {
		advice = append(advice, fmt.Sprintf("User %s was granted privileges on %d objects that user %s may not have; grant them to %s, of which the other is a member",
			clone, granted, original, Name(original)))
	}
	return advice
}
