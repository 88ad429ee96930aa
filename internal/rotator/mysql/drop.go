package mysql

import "context"

// DropUser removes every account of a name.
func (s *session) DropUser(ctx context.Context, user string) error {
	all, err := s.accounts(ctx, user)
	if err != nil {
		return err
	}
	for _, a := range all {
		if err := s.exec(ctx, "DROP USER IF EXISTS "+a.String()); err != nil {
			return err
		}
	}
	return nil
}
