package mysql

import (
	"context"
	"strings"

	"github.com/keyturn/keyturn/internal/rotator"
)

// Examine implements rotator.Examiner.
func (s *session) Examine(ctx context.Context) (rotator.Examination, error) {
	rows, err := s.query(ctx, "SELECT VERSION(), @@GLOBAL.read_only")
	if err != nil {
		return rotator.Examination{}, err
	}
	name := "MySQL "
	if s.server.maria {
		name = "MariaDB "
	}
	on := rows[0][1]
	return rotator.Examination{Server: name + rows[0][0], ReadOnly: on == "1" || strings.EqualFold(on, "ON")}, nil
}

// Verifier implements rotator.Examiner: the plugins of the user's accounts.
// Only those who may read the server's own tables see them.
func (s *session) Verifier(ctx context.Context, user string) (string, error) {
	rows, err := s.query(ctx, "SELECT DISTINCT plugin FROM mysql.user WHERE User = "+literal(user)+" ORDER BY plugin")
	if err != nil {
		return "", err
	}
	var plugins []string
	for _, row := range rows {
		plugins = append(plugins, row[0])
	}
	return strings.Join(plugins, ", "), nil
}
