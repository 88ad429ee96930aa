package mysql

import (
	"context"
	"slices"
	"strings"
)

// Fingerprint holds a digest of how the server keeps the password of each of
// a user's accounts, made by the server: it changes when any of them does.
func (s *session) Fingerprint(ctx context.Context, user string) (string, error) {
	rows, err := s.query(ctx, "SELECT SHA2(CONCAT_WS('|', Host, plugin, authentication_string), 256) FROM mysql.user WHERE User = "+literal(user)+" ORDER BY Host")
	if err != nil {
		return "", err
	}
	var digests []string
	for _, row := range rows {
		digests = append(digests, row[0])
	}
	return strings.Join(digests, " "), nil
}

// Powers names the privileges of a user's accounts by which it could change
// other users.
func (s *session) Powers(ctx context.Context, user string) (powers []string, err error) {
	rows, err := s.query(ctx, "SELECT Super_priv, Create_user_priv, Repl_slave_priv FROM mysql.user WHERE User = "+literal(user))
	if err != nil {
		return nil, err
	}
	for i, name := range []string{"SUPER", "CREATE USER", "REPLICATION SLAVE"} {
		if slices.ContainsFunc(rows, func(row []string) bool { return i < len(row) && row[i] == "Y" }) {
			powers = append(powers, name)
		}
	}
	return powers, nil
}

// Expire lets the passwords of a user's accounts end within a day.
func (s *session) Expire(ctx context.Context, user string) error {
	all, err := s.accounts(ctx, user)
	if err != nil {
		return err
	}
	for _, a := range all {
		if err := s.exec(ctx, "ALTER USER "+a.String()+" PASSWORD EXPIRE INTERVAL 1 DAY"); err != nil {
			return err
		}
	}
	return nil
}
