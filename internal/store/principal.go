package store

import "github.com/keyturn/keyturn/internal/iam"

// PrincipalARN returns the address of the user or role with the unique ID. It
// returns an error of kind NotFound, without message, when there is none.
func (tx *Tx) PrincipalARN(id string) (string, error) {
	var kind, account, path, name string
	err := tx.one([]any{&kind, &account, &path, &name}, `SELECT 'user', account, path, name FROM iam_user WHERE id = $1
		UNION ALL SELECT 'role', account, path, name FROM iam_role WHERE id = $1`, id)
	switch {
	case err != nil:
		return "", err
	case kind == "user":
		return (&iam.User{Account: account, Path: path, Name: name}).ARN(), nil
	}
	return (&iam.Role{Account: account, Path: path, Name: name}).ARN(), nil
}
