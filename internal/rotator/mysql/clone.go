package mysql

import (
	"context"
	"slices"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// UserExists implements rotator.Session.
func (s *session) UserExists(ctx context.Context, user string) (bool, error) {
	all, err := s.accounts(ctx, user)
	return len(all) > 0, err
}

// CreateClone implements rotator.Session: each account of the original gets
// one with the same host part and the same authentication plugin.
func (s *session) CreateClone(ctx context.Context, from rotator.Login, to string, password plaintext.Value) error {
	if err := s.writable(ctx); err != nil {
		return err
	}
	all, err := s.originals(ctx, from.Username)
	if err != nil {
		return err
	}
	for _, a := range all {
		d, err := s.define(ctx, a)
		if err != nil {
			return err
		}
		if err := s.create(ctx, account{to, a.host}, d, password); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) create(ctx context.Context, a account, d definition, password plaintext.Value) error {
	return s.identify(ctx, "CREATE USER IF NOT EXISTS ", a, d, password)
}

// identify creates or alters an account.
func (s *session) identify(ctx context.Context, verb string, a account, d definition, password plaintext.Value) error {
	if s.server.maria {
		return s.hashed(ctx, func(open bool) string { return verb + a.String() + " " + d.identify(password, open) })
	}
	return s.execSecret(ctx, verb+a.String()+" IDENTIFIED WITH "+literal(d.methods[0].plugin)+" BY "+literal(password.RevealText()))
}

// CopyGrants implements rotator.Session: privileges, roles, default roles,
// TLS requirement, limits, authentication plugin and whether the account is
// locked. With KEYTURN_SYNC_PRIVILEGES privileges that the original does not
// have are taken away. Accounts of the clone whose host part the original
// lacks stay as they are.
func (s *session) CopyGrants(ctx context.Context, from rotator.Login, to string) error {
	if err := s.writable(ctx); err != nil {
		return err
	}
	originals, err := s.originals(ctx, from.Username)
	if err != nil {
		return err
	}
	clones, err := s.accounts(ctx, to)
	if err != nil {
		return err
	}
	for _, a := range originals {
		clone := account{to, a.host}
		if err := s.copyDefinition(ctx, a, clone, slices.Contains(clones, clone)); err != nil {
			return err
		}
		if err := s.copyPrivileges(ctx, a, clone); err != nil {
			return err
		}
	}
	return nil
}

// copyDefinition makes the account, if the original has got a host part
// since, or makes it the same but for the password. A plugin that differs
// takes another password: SetPassword follows.
func (s *session) copyDefinition(ctx context.Context, a, clone account, exists bool) error {
	d, err := s.define(ctx, a)
	if err != nil {
		return err
	}
	if !exists {
		if err := s.create(ctx, clone, d, throwaway()); err != nil {
			return err
		}
	}
	now, err := s.define(ctx, clone)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(d.methods, now.methods, func(a, b method) bool { return a.plugin == b.plugin }) {
		if err := s.identify(ctx, "ALTER USER ", clone, d, throwaway()); err != nil {
			return err
		}
	}
	if d.clauses() == now.clauses() {
		return nil
	}
	return s.exec(ctx, "ALTER USER "+clone.String()+" "+d.clauses())
}

// copyPrivileges makes the clone's privileges those of the original.
func (s *session) copyPrivileges(ctx context.Context, a, clone account) error {
	want, err := s.grants(ctx, a)
	if err != nil {
		return err
	}
	have, err := s.grants(ctx, clone)
	if err != nil {
		return err
	}
	first := lifted(want, have, clone)
	if s.equal {
		first = append(excess(want, have, clone), first...)
	}
	if len(first) > 0 {
		if err := s.all(ctx, first); err != nil {
			return err
		}
		if have, err = s.grants(ctx, clone); err != nil {
			return err
		}
	}
	given := slices.DeleteFunc(missing(want, have), func(g grant) bool { return g.revoked })
	if err := s.all(ctx, statements(given, clone)); err != nil {
		return err
	}
	if err := s.revokeAgain(ctx, want, clone); err != nil {
		return err
	}
	return s.copyDefaultRoles(ctx, a, clone)
}

// revokeAgain repeats partial revokes: a grant may have ended one.
func (s *session) revokeAgain(ctx context.Context, want []grant, clone account) error {
	taken := slices.DeleteFunc(slices.Clone(want), func(g grant) bool { return !g.revoked })
	if len(taken) == 0 {
		return nil
	}
	have, err := s.grants(ctx, clone)
	if err != nil {
		return err
	}
	return s.all(ctx, statements(missing(taken, have), clone))
}

func statements(grants []grant, to account) []string {
	all := make([]string, len(grants))
	for i, g := range grants {
		all[i] = g.statement(to)
	}
	return all
}

func (s *session) all(ctx context.Context, statements []string) error {
	for _, statement := range statements {
		if err := s.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// grants reads what an account itself was given.
func (s *session) grants(ctx context.Context, a account) ([]grant, error) {
	rows, err := s.query(ctx, "SHOW GRANTS FOR "+a.String())
	if code(err) == errNoGrant && s.server.maria {
		return nil, nil // MariaDB knows the account and no privilege of it
	}
	if err != nil {
		return nil, err
	}
	var all []grant
	for _, row := range rows {
		if g, ok := parseGrant(row[0], a); ok {
			all = append(all, g)
		}
	}
	return all, nil
}

func (s *session) copyDefaultRoles(ctx context.Context, a, clone account) error {
	if !s.server.maria && !s.server.atLeast(8, 0, 0) {
		return nil // MySQL 5.7 has no roles
	}
	want, err := s.defaultRoles(ctx, a)
	if err != nil {
		return err
	}
	have, err := s.defaultRoles(ctx, clone)
	if err != nil || want == have {
		return err
	}
	preposition := " TO "
	if s.server.maria {
		preposition = " FOR "
	}
	return s.exec(ctx, "SET DEFAULT ROLE "+want+preposition+clone.String())
}
