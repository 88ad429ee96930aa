package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Loader fills a database that holds nothing but an empty schema with the
// rows of a dump, inside one transaction of the backend. Nobody may use the
// database meanwhile. Claims and leases of the nodes that the dump comes from
// are dropped, so that what was running goes on at once wherever it is loaded.
type Loader struct {
	ctx     context.Context
	conn    Conn
	options string // stands between the columns and the values of an INSERT

	table   string
	columns []string
	amend   func(row map[string]*any)
	rows    []any // values of rows that are not yet inserted
	bytes   int   // of rows, about
}

// Bounds of one INSERT.
const (
	loadRows  = 64
	loadBytes = 1 << 20
)

// NewLoader returns a Loader that works on the connection. options is the
// dialect's clause for numbers that the database would assign by itself.
func NewLoader(ctx context.Context, c Conn, options string) *Loader {
	return &Loader{ctx: ctx, conn: c, options: options}
}

// Table says which table the following rows belong to. The table must be one
// of DumpTables.
func (l *Loader) Table(name string, columns []string) error {
	if err := l.Flush(); err != nil {
		return err
	}
	if !slices.Contains(DumpTables(), name) {
		return fmt.Errorf("the dump has a table %q that this version does not know", name)
	}
	for _, c := range columns {
		if c == "" || strings.Trim(c, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return fmt.Errorf("table %s of the dump has a column %q, which is no name of a column", name, c)
		}
	}
	l.table, l.columns, l.amend = name, slices.Clone(columns), amendments()[name]
	return nil
}

// Row adds a row to the table; values are as DumpTable gives them.
func (l *Loader) Row(values []any) error {
	if l.table == "" || len(values) != len(l.columns) || len(values) == 0 {
		return errors.New("the dump has a row that does not fit its table")
	}
	if l.amend != nil {
		row := map[string]*any{}
		for i := range values {
			row[l.columns[i]] = &values[i]
		}
		l.amend(row)
	}
	for _, v := range values {
		switch v := v.(type) {
		case string:
			l.bytes += len(v)
		case []byte:
			l.bytes += len(v)
		}
	}
	l.rows = append(l.rows, values...)
	if len(l.rows) >= loadRows*len(l.columns) || l.bytes >= loadBytes {
		return l.Flush()
	}
	return nil
}

// Flush inserts what was added; call it after the last row.
func (l *Loader) Flush() error {
	if len(l.rows) == 0 {
		return nil
	}
	if err := l.ctx.Err(); err != nil {
		return err
	}
	var q strings.Builder
	q.WriteString("INSERT INTO " + l.table + " (" + strings.Join(l.columns, ", ") + ")" + l.options + " VALUES ")
	for i := range l.rows {
		switch {
		case i == 0:
			q.WriteString("(")
		case i%len(l.columns) == 0:
			q.WriteString("), (")
		default:
			q.WriteString(", ")
		}
		q.WriteString("$" + strconv.Itoa(i+1))
	}
	q.WriteString(")")
	_, err := l.conn.Exec(l.ctx, q.String(), l.rows)
	if err != nil {
		err = fmt.Errorf("filling table %s: %w", l.table, err)
	}
	clear(l.rows)
	l.rows, l.bytes = l.rows[:0], 0
	return err
}

// amendments change rows that tell of the nodes which worked on the database
// that was dumped.
func amendments() map[string]func(row map[string]*any) {
	free := func(row map[string]*any) { set(row, map[string]any{"owner": "", "lease_until": int64(0)}) }
	return map[string]func(map[string]*any){
		"rotation":        free,
		"stack_operation": free,
		"function_event": func(row map[string]*any) {
			if owner := row["owner"]; owner != nil && *owner != "" {
				set(row, map[string]any{"owner": "", "due_at": int64(0)})
			}
		},
	}
}

func set(row map[string]*any, values map[string]any) {
	for _, column := range slices.Sorted(maps.Keys(values)) {
		if at := row[column]; at != nil {
			*at = values[column]
		}
	}
}
