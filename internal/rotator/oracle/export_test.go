package oracle

import (
	"database/sql"

	"github.com/keyturn/keyturn/internal/rotator"
)

// What the tests reach of the inside.
var (
	Regrant    = regrant
	Statements = statements
)

// Over makes the engine over another driver; sid says that the login's
// database is a SID.
func Over(open func(l rotator.Login, sid bool) *sql.DB) Engine {
	return Engine{open: func(a address) (*sql.DB, error) { return open(a.login, a.sid), nil }}
}
