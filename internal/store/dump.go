package store

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/keyturn/keyturn/internal/fault"
)

// DumpTables returns the tables that a dump holds, in an order in which no
// row comes before what it refers to. A test holds the list against the
// schema of both databases; schema_version, and what a backend keeps for
// itself, are left out.
func DumpTables() []string {
	return []string{
		"meta", "account",
		"secret", "version", "label", "replica", "rotation",
		"kms_key", "kms_material", "kms_alias", "kms_grant",
		"iam_role", "iam_inline_policy", "iam_attached_policy", "iam_user", "iam_group", "iam_membership",
		"iam_access_key", "iam_policy", "iam_policy_version", "iam_account_alias", "iam_provider",
		"trail_event", "trail_resource", "trail_seal", "trail_head",
		"function", "function_version", "function_alias", "layer", "layer_version", "code", "code_use", "function_event",
		"log_group", "log_stream", "log_entry",
		"network_object", "network_account", "network_use",
		"stack", "stack_resource", "stack_event", "stack_change_set", "stack_operation", "stack_export", "stack_import",
		"db_instance", "db_cluster", "db_subnet_group",
	}
}

// SerialColumns maps the tables of a dump whose rows the database numbers to
// the column with the number.
func SerialColumns() map[string]string {
	return map[string]string{
		"trail_event": "seq", "log_group": "id", "log_stream": "id", "log_entry": "id", "stack_resource": "seq", "stack_event": "seq",
	}
}

// Schema returns the number of the database's schema.
func (tx *Tx) Schema() (number int, err error) {
	err = tx.one([]any{&number}, `SELECT coalesce(max(version), 0) FROM schema_version`)
	return number, err
}

// DumpTable hands over all rows of a table of DumpTables, as they are stored:
// first the names of the columns, then the values of each row, which are nil,
// int64, string or []byte and belong to row. It reads one row at a time. The
// order of the rows is the database's. The first error of columns or row ends
// the dump and comes back unchanged.
func (tx *Tx) DumpTable(name string, columns func([]string) error, row func([]any) error) error {
	if !slices.Contains(DumpTables(), name) {
		return &fault.Error{Kind: fault.Internal, Cause: fmt.Errorf("there is no table %q to dump", name)}
	}
	var own error
	var names []string
	query := `SELECT * FROM ` + name
	err := tx.each(func(rows *sql.Rows) (err error) {
		if names == nil {
			if names, err = rows.Columns(); err != nil {
				return err
			}
			if own = columns(names); own != nil {
				return errEnough
			}
		}
		values, err := scanRow(rows, len(names))
		if err != nil {
			return err
		}
		if own = row(values); own != nil {
			return errEnough
		}
		return nil
	}, query)
	return errors.Join(own, err)
}

// scanRow reads a row of unknown types.
func scanRow(rows *sql.Rows, n int) ([]any, error) {
	values, dest := make([]any, n), make([]any, n)
	for i := range values {
		dest[i] = &values[i]
	}
	if err := rows.Scan(dest...); err != nil {
		return nil, err
	}
	for _, v := range values {
		switch v.(type) {
		case nil, int64, string, []byte:
		default:
			return nil, fmt.Errorf("a value of type %T cannot be dumped", v)
		}
	}
	return values, nil
}
