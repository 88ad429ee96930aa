package oracle

import (
	"context"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/rotator"
)

// grantTypes are the kinds of privileges, with the views that tell whether a
// user has any.
var grantTypes = []struct {
	kind  string
	views []string
}{
	{"ROLE_GRANT", []string{"DBA_ROLE_PRIVS"}},
	{"SYSTEM_GRANT", []string{"DBA_SYS_PRIVS"}},
	{"OBJECT_GRANT", []string{"DBA_TAB_PRIVS", "DBA_COL_PRIVS"}},
}

// CopyGrants implements rotator.Session: roles, privileges, quotas, and which
// roles are default ones. Only what the clone lacks is given to it, so that
// what the superuser may not give can be given by hand beforehand.
func (s *session) CopyGrants(ctx context.Context, from rotator.Login, to string) error {
	original, err := s.stored(ctx, from.Username)
	if err != nil {
		return err
	}
	clone, err := s.stored(ctx, to)
	if err != nil {
		return err
	}
	for _, t := range grantTypes {
		wanted, err := s.grants(ctx, t.kind, t.views, original)
		if err != nil {
			return err
		}
		has, err := s.grants(ctx, t.kind, t.views, clone)
		if err != nil {
			return err
		}
		for _, grant := range wanted {
			statement, err := regrant(grant, original, clone)
			if err != nil {
				return err
			}
			if slices.Contains(has, statement) {
				continue
			}
			if err := s.run(ctx, statement); err != nil {
				return explained(err, grant)
			}
		}
	}
	if err := s.copyQuotas(ctx, original, clone); err != nil {
		return err
	}
	return s.copyDefaultRoles(ctx, original, clone)
}

// explained adds to a failure which grant it is about.
func explained(err error, grant string) error {
	f := rotator.Classify(err)
	return rotator.NewFailure(f.Cause, f.Code, f.Text+": "+grant, f)
}

// grants lists the statements that grant a user what it has of one kind.
func (s *session) grants(ctx context.Context, kind string, views []string, user string) ([]string, error) {
	ddl, err := s.text(ctx, "SELECT DBMS_METADATA.GET_GRANTED_DDL(:1, :2) FROM DUAL", kind, user)
	if f, ok := err.(*rotator.Failure); ok && f.Code == codeNothingGranted {
		return nil, s.nothing(ctx, kind, views, user)
	}
	return statements(ddl), err
}

// nothing demands that a user really has no privilege of a kind: to whom may
// not see them, the server says the same as where there are none.
func (s *session) nothing(ctx context.Context, kind string, views []string, user string) error {
	for _, view := range views {
		rows, err := s.rows(ctx, "SELECT GRANTEE FROM "+view+" WHERE GRANTEE = :1", 1, user)
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			return rotator.NewFailure(rotator.CausePermission, codeNothingGranted,
				"the superuser does not see what "+view+" says of user "+user+" by DBMS_METADATA ("+kind+"); it needs SELECT_CATALOG_ROLE", nil)
		}
	}
	return nil
}

// statements splits what DBMS_METADATA writes, which has no terminators.
func statements(ddl string) []string {
	var found []string
	for line := range strings.Lines(ddl) {
		line = strings.TrimSuffix(strings.TrimSpace(line), ";")
		switch {
		case line == "" || line == "/":
		case strings.HasPrefix(line, "GRANT ") || len(found) == 0:
			found = append(found, line)
		default:
			found[len(found)-1] += " " + line
		}
	}
	return found
}

// regrant makes a GRANT to one user one to another. What is granted may be
// called as the user, or hold words of the statement, within quotes.
func regrant(grant, from, to string) (string, error) {
	old := ` TO "` + from + `"`
	at := strings.LastIndex(grant, old)
	if !strings.HasPrefix(grant, "GRANT ") || at < 0 || strings.Contains(grant[at+len(old):], `"`) {
		return "", rotator.NewFailure(rotator.CauseOther, "", "not a grant to user "+from+": "+grant, nil)
	}
	return grant[:at] + ` TO "` + to + `"` + grant[at+len(old):], nil
}

// unlimited is what a quota without limit is in the server's tables.
const unlimited = "-1"

func (s *session) copyQuotas(ctx context.Context, from, to string) error {
	const query = "SELECT TABLESPACE_NAME, MAX_BYTES FROM DBA_TS_QUOTAS WHERE USERNAME = :1 AND DROPPED = 'NO'"
	wanted, err := s.rows(ctx, query, 2, from)
	if err != nil {
		return err
	}
	has, err := s.rows(ctx, query, 2, to)
	if err != nil {
		return err
	}
	for _, q := range wanted {
		if slices.ContainsFunc(has, func(h []string) bool { return slices.Equal(h, q) }) {
			continue
		}
		size := q[1]
		if size == unlimited {
			size = "UNLIMITED"
		}
		if err := s.run(ctx, `ALTER USER "`+to+`" QUOTA `+size+` ON "`+q[0]+`"`); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) copyDefaultRoles(ctx context.Context, from, to string) error {
	const query = "SELECT GRANTED_ROLE FROM DBA_ROLE_PRIVS WHERE GRANTEE = :1 AND DEFAULT_ROLE = 'NO' ORDER BY GRANTED_ROLE"
	wanted, err := s.rows(ctx, query, 1, from)
	if err != nil {
		return err
	}
	has, err := s.rows(ctx, query, 1, to)
	if err != nil || slices.EqualFunc(wanted, has, slices.Equal) {
		return err
	}
	statement := `ALTER USER "` + to + `" DEFAULT ROLE ALL`
	for i, row := range wanted {
		statement += []string{" EXCEPT ", ", "}[min(i, 1)] + `"` + row[0] + `"`
	}
	return s.run(ctx, statement)
}
