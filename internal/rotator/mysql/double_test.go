package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// connDouble stands in for a connection to servers that cannot be had for
// tests: it answers queries from a table and keeps what was executed.
type connDouble struct {
	driver.Conn
	rows     map[string][][]string // by how the query begins
	failures map[string]error
	executed []string
}

func (c *connDouble) ExecContext(_ context.Context, statement string, _ []driver.NamedValue) (driver.Result, error) {
	c.executed = append(c.executed, statement)
	for prefix, err := range c.failures {
		if strings.HasPrefix(statement, prefix) {
			return nil, err
		}
	}
	return driver.ResultNoRows, nil
}

func (c *connDouble) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	for prefix, rows := range c.rows {
		if strings.HasPrefix(query, prefix) {
			return &rowsDouble{rows}, nil
		}
	}
	return nil, &mysqldriver.MySQLError{Number: 1064, Message: "no answer to " + query}
}

type rowsDouble struct{ rows [][]string }

func (r *rowsDouble) Columns() []string {
	if len(r.rows) == 0 {
		return nil
	}
	return r.rows[0]
}

func (*rowsDouble) Close() error { return nil }

func (r *rowsDouble) Next(into []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	for i, text := range r.rows[0] {
		into[i] = []byte(text)
	}
	r.rows = r.rows[1:]
	return nil
}

// sessionDouble begins a session with a server of the version.
func sessionDouble(t *testing.T, version string, rows map[string][][]string) (*session, *connDouble) {
	t.Helper()
	all := map[string][][]string{"SELECT VERSION()": {{version}}, "SELECT @@global.read_only": {{"0", "0"}}}
	for prefix, r := range rows {
		all[prefix] = r
	}
	conn := &connDouble{rows: all}
	s := &session{conn: conn}
	if err := s.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, conn
}

var (
	oldLogin = rotator.Login{Username: "app", Password: plaintext.Of("old'")}
	next     = plaintext.Of(`n\'w`)
)

// TestOwnPasswordDouble shows the statements for each version.
func TestOwnPasswordDouble(t *testing.T) {
	hash, _ := stored(nativePassword, next.RevealText())
	for _, c := range []struct {
		version  string
		retain   bool
		failures map[string]error
		want     []string
	}{
		{version: "5.6.51", want: []string{"SET PASSWORD = '" + hash + "'"}},
		{version: "5.7.44", want: []string{`ALTER USER CURRENT_USER() IDENTIFIED BY 'n\\''w'`}},
		{version: "8.0.36", retain: true, want: []string{`ALTER USER CURRENT_USER() IDENTIFIED BY 'n\\''w' RETAIN CURRENT PASSWORD`}},
		{
			version: "8.4.0", failures: map[string]error{`ALTER USER CURRENT_USER() IDENTIFIED BY 'n\\''w'`: &mysqldriver.MySQLError{Number: errMissingPassword}},
			want: []string{`ALTER USER CURRENT_USER() IDENTIFIED BY 'n\\''w'`, `ALTER USER CURRENT_USER() IDENTIFIED BY 'n\\''w' REPLACE 'old'''`},
		},
	} {
		s, conn := sessionDouble(t, c.version, nil)
		conn.failures, s.retain = c.failures, c.retain
		_ = s.SetOwnPassword(t.Context(), oldLogin, next) // the last one fails for good here
		if diff := cmp.Diff(c.want, conn.executed[1:]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.version, diff)
		}
	}
	s, conn := sessionDouble(t, "5.7.44", nil)
	s.retain = true
	if err := s.SetOwnPassword(t.Context(), oldLogin, next); err == nil || len(conn.executed) != 1 {
		t.Errorf("got %v after %q, want the refusal to retain", err, conn.executed)
	}
}

// TestAlternatingDouble57 shows what MySQL 5.7 is asked to do.
func TestAlternatingDouble57(t *testing.T) {
	s, conn := sessionDouble(t, "5.7.44-log", map[string][][]string{
		"SELECT Host FROM mysql.user WHERE User = 'app'":       {{"%"}},
		"SELECT Host FROM mysql.user WHERE User = 'app_clone'": {},
		"SELECT plugin": {{"mysql_native_password", "ANY", "", "", "", "5", "0", "0", "0", "N", "0"}},
		"SHOW GRANTS FOR 'app'@'%'": {
			{"GRANT PROCESS ON *.* TO 'app'@'%' WITH GRANT OPTION"}, {"GRANT SELECT (a) ON `d`.`t` TO 'app'@'%'"},
		},
		"SHOW GRANTS FOR 'app_clone'@'%'": {{"GRANT USAGE ON *.* TO 'app_clone'@'%'"}},
	})
	for _, err := range []error{
		s.CreateClone(t.Context(), oldLogin, "app_clone", plaintext.Of("throw")), s.CopyGrants(t.Context(), oldLogin, "app_clone"),
		s.SetPassword(t.Context(), "app", next),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER', sql_quote_show_create = 1",
		"CREATE USER IF NOT EXISTS 'app_clone'@'%' IDENTIFIED WITH 'mysql_native_password' BY 'throw'",
		"CREATE USER IF NOT EXISTS 'app_clone'@'%' IDENTIFIED WITH 'mysql_native_password' BY ", // its password is random
		"GRANT PROCESS ON *.* TO 'app_clone'@'%' WITH GRANT OPTION", "GRANT SELECT (a) ON `d`.`t` TO 'app_clone'@'%'",
		`ALTER USER 'app'@'%' IDENTIFIED BY 'n\\''w'`,
	}
	got := slices.Clone(conn.executed)
	if len(got) > 2 {
		got[2], _, _ = strings.Cut(got[2], "BY ")
		got[2] += "BY "
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
}

// TestReadOnlyDouble shows that an Aurora reader is not written to.
func TestReadOnlyDouble(t *testing.T) {
	s, conn := sessionDouble(t, "8.0.32", map[string][][]string{"SELECT @@global.read_only": {{"0", "1"}}})
	for _, err := range []error{
		s.SetOwnPassword(t.Context(), oldLogin, next), s.SetPassword(t.Context(), "app", next),
		s.CreateClone(t.Context(), oldLogin, "app_clone", next), s.CopyGrants(t.Context(), oldLogin, "app_clone"),
	} {
		if f, ok := errors.AsType[*rotator.Failure](err); !ok || f.Cause != rotator.CauseReadOnly {
			t.Errorf("got %v, want the cause %q", err, rotator.CauseReadOnly)
		}
	}
	if len(conn.executed) != 1 {
		t.Errorf("got the statements %q, want none", conn.executed[1:])
	}
}

func TestFailures(t *testing.T) {
	const password = "Secret-Password-1"
	refuse := func(number uint16, text string) *mysqldriver.MySQLError {
		return &mysqldriver.MySQLError{Number: number, Message: text}
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{refuse(1064, "You have an error near '"+password+"'"), "other: the server refused the statement (1064)"},
		{refuse(1819, "Your password does not satisfy the policy"), "password policy: Your password does not satisfy the policy (1819)"},
		{refuse(1290, "running with the --super-read-only option"), "read-only: running with the --super-read-only option (1290)"},
		{refuse(1290, "running with the --skip-grant-tables option"), "other: running with the --skip-grant-tables option (1290)"},
		{refuse(1045, "Access denied"), "permission: Access denied (1045)"},
		{refuse(1396, "Operation ALTER USER failed for 'a'@'b'"), "user missing: Operation ALTER USER failed for 'a'@'b' (1396)"},
		{mysqldriver.ErrInvalidConn, "server not ready: the server broke the connection off"},
		{driver.ErrBadConn, "server not ready: the server broke the connection off"},
	} {
		if got := refusedStatement(t.Context(), c.err, true).Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	for number, want := range map[uint16]rotator.Cause{
		1045: rotator.CauseAuthentication, 1044: rotator.CauseDatabase, 1040: rotator.CauseConnections, 1226: rotator.CauseConnections,
		3118: rotator.CauseLocked, 4151: rotator.CauseLocked, 1862: rotator.CauseLocked, 3159: rotator.CauseTLSRequired, 1: rotator.CauseOther,
	} {
		if got := refusedLogin(t.Context(), refuse(number, "text"), true).Cause; got != want {
			t.Errorf("%d: got %q, want %q", number, got, want)
		}
	}
	if f := refusedLogin(t.Context(), mysqldriver.ErrNoTLS, true); f.Cause != rotator.CauseTLS || !strings.Contains(f.Text, "not enabled") {
		t.Errorf("got %v, want TLS that is not enabled", f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	<-ctx.Done()
	if f := refusedLogin(ctx, mysqldriver.ErrInvalidConn, true); f.Cause != rotator.CauseTimeout {
		t.Errorf("got %v, want a timeout", f)
	}
}
