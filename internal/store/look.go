package store

import "time"

// Look is what can be seen of a database without opening it as a Store: what
// store/sqlite.Peek and store/postgres.Peek return. They change nothing.
type Look struct {
	// Schema is the number of the database's schema, 0 for an empty one.
	Schema int
	// Clock is the time of the database's machine when it answered, and Error
	// bounds how wrong that may be, which is the time that the answer took.
	// Both are zero when that is this machine.
	Clock time.Time
	Error time.Duration
	// Server is the kind and version of the database.
	Server string
}
