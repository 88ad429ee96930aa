package sqlserver

import (
	"context"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/rotator"
)

// CopyGrants implements rotator.Session: roles and permissions in the
// database, and for a login those of the server too. Only what the clone
// lacks is given to it, so that what the superuser may not give can be given
// by hand beforehand.
func (s *session) CopyGrants(ctx context.Context, from rotator.Login, to string) error {
	contained, err := s.contained(ctx, from.Username)
	if err != nil {
		return err
	}
	if !contained {
		if err := s.copyServer(ctx, from.Username, to); err != nil {
			return err
		}
		return s.copyMapped(ctx, from.Username, to)
	}
	if same, err := s.contained(ctx, to); err != nil || !same {
		if err == nil {
			err = invalid("user " + from.Username + " is of the database, but " + to + " is a login of the server")
		}
		return err
	}
	return s.copyDatabase(ctx, from.Username, to)
}

// copyServer copies what a login may do on the server.
func (s *session) copyServer(ctx context.Context, from, to string) error {
	roles, permissions, err := s.missing(ctx, serverCatalogue, from, to)
	if err != nil {
		return err
	}
	for _, role := range roles {
		if err := s.run(ctx, "ALTER SERVER ROLE "+name(role)+" ADD MEMBER "+name(to)); err != nil {
			return err
		}
	}
	for _, p := range permissions {
		statement, err := p.statement(to)
		if err != nil {
			return err
		}
		// Those of the server are given in master alone.
		if err := s.run(ctx, "EXEC master.sys.sp_executesql @p1", statement); err != nil {
			return err
		}
	}
	return nil
}

// copyMapped copies what the database's user of a login may do, to the user
// of the other login, which it makes if there is none.
func (s *session) copyMapped(ctx context.Context, from, to string) error {
	user, err := s.userOf(ctx, from)
	if user == "" || err != nil {
		return err
	}
	clone, err := s.userOf(ctx, to)
	if err != nil {
		return err
	}
	owner := user == "dbo"
	if clone == "" {
		clone = alternate(user)
		if owner {
			clone = to // dbo is what the owner of a database is called in it
		}
		schema, err := s.defaultSchema(ctx, user)
		if err != nil {
			return err
		}
		if err := s.run(ctx, "CREATE USER "+name(clone)+" FOR LOGIN "+name(to)+prefixed(" WITH ", schema)); err != nil {
			return err
		}
	}
	if clone == "dbo" {
		return nil // who owns the database may do all there is
	}
	if owner {
		return s.run(ctx, "ALTER ROLE [db_owner] ADD MEMBER "+name(clone))
	}
	return s.copyDatabase(ctx, user, clone)
}

// alternate names the other one of a pair of the database's users.
func alternate(user string) string {
	if original, ok := strings.CutSuffix(user, "_clone"); ok {
		return original
	}
	return user + "_clone"
}

// userOf finds the database's user of a login; "" for none.
func (s *session) userOf(ctx context.Context, login string) (string, error) {
	return s.text(ctx, "SELECT u.name FROM sys.database_principals AS u JOIN sys.server_principals AS l ON l.sid = u.sid WHERE l.name = @p1", login)
}

// copyDatabase copies what a user may do in the database.
func (s *session) copyDatabase(ctx context.Context, from, to string) error {
	roles, permissions, err := s.missing(ctx, databaseCatalogue, from, to)
	if err != nil {
		return err
	}
	for _, role := range roles {
		if err := s.run(ctx, "ALTER ROLE "+name(role)+" ADD MEMBER "+name(to)); err != nil {
			return err
		}
	}
	for _, p := range permissions {
		statement, err := p.statement(to)
		if err != nil {
			return err
		}
		if err := s.run(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// missing lists what one principal has and another lacks.
func (s *session) missing(ctx context.Context, c catalogue, from, to string) (roles []string, permissions []permission, err error) {
	if roles, err = c.roles(ctx, s, from); err != nil {
		return nil, nil, err
	}
	if permissions, err = c.held(ctx, s, from); err != nil {
		return nil, nil, err
	}
	hasRoles, err := c.roles(ctx, s, to)
	if err != nil {
		return nil, nil, err
	}
	has, err := c.held(ctx, s, to)
	if err != nil {
		return nil, nil, err
	}
	roles = slices.DeleteFunc(roles, func(r string) bool { return slices.Contains(hasRoles, r) })
	permissions = slices.DeleteFunc(permissions, func(p permission) bool { return slices.Contains(has, p) })
	return roles, permissions, nil
}
