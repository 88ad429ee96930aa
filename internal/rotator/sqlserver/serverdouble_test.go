package sqlserver_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// serverDouble stands in for SQL Server, of which there is none to test with.
// It speaks the protocol to the real driver, keeps logins, users, roles and
// permissions in tables by the names and columns of SQL Server's catalogue
// (SQLite runs the queries on them), and obeys the statements that it knows:
// any other is an error, and so is one that the login may not run.
type serverDouble struct {
	certificate *rotatortest.Certificate
	listener    net.Listener

	mu        sync.Mutex
	encrypt   int
	passwords map[string]string            // of logins
	users     map[string]map[string]string // of contained users, by database
	databases map[string]*sql.DB           // with the catalogue
	// refuse answers logins, and weak passwords that are set.
	refuse   map[string]*errorDouble
	policy   *errorDouble
	readOnly bool
	next     int
	log      []string // statements, without passwords
}

type errorDouble struct {
	number  int
	state   byte
	message string
}

type sessionDouble struct{ login, database string }

const (
	saName     = "sa"
	saPassword = "first-SA-password"
)

// catalogueDouble are the tables, as far as the queries need them. NULL is
// what a server says where there is nothing.
const catalogueDouble = `
CREATE TABLE sys.server_principals (name TEXT, principal_id INT, sid TEXT, type TEXT);
CREATE TABLE sys.sql_logins (name TEXT, default_database_name TEXT, default_language_name TEXT, is_expiration_checked INT, is_policy_checked INT);
CREATE TABLE sys.server_role_members (role_principal_id INT, member_principal_id INT);
CREATE TABLE sys.server_permissions (class INT, major_id INT, minor_id INT, grantee_principal_id INT, permission_name TEXT, state_desc TEXT);
CREATE TABLE sys.endpoints (name TEXT, endpoint_id INT);
CREATE TABLE sys.database_principals (name TEXT, principal_id INT, sid TEXT, type TEXT, authentication_type INT, default_schema_name TEXT);
CREATE TABLE sys.database_role_members (role_principal_id INT, member_principal_id INT);
CREATE TABLE sys.database_permissions (class INT, major_id INT, minor_id INT, grantee_principal_id INT, permission_name TEXT, state_desc TEXT);
CREATE TABLE sys.schemas (name TEXT, schema_id INT);
CREATE TABLE sys.all_objects (name TEXT, object_id INT, schema_id INT);
CREATE TABLE sys.all_columns (name TEXT, object_id INT, column_id INT);
CREATE TABLE sys.assemblies (name TEXT, assembly_id INT);
CREATE TABLE sys.types (name TEXT, user_type_id INT, schema_id INT);
CREATE TABLE sys.xml_schema_collections (name TEXT, xml_collection_id INT, schema_id INT);
CREATE TABLE sys.service_message_types (name TEXT, message_type_id INT);
CREATE TABLE sys.service_contracts (name TEXT, service_contract_id INT);
CREATE TABLE sys.services (name TEXT, service_id INT);
CREATE TABLE sys.remote_service_bindings (name TEXT, remote_service_binding_id INT);
CREATE TABLE sys.routes (name TEXT, route_id INT);
CREATE TABLE sys.fulltext_catalogs (name TEXT, fulltext_catalog_id INT);
CREATE TABLE sys.symmetric_keys (name TEXT, symmetric_key_id INT);
CREATE TABLE sys.certificates (name TEXT, certificate_id INT);
CREATE TABLE sys.asymmetric_keys (name TEXT, asymmetric_key_id INT);
CREATE TABLE sys.fulltext_stoplists (name TEXT, stoplist_id INT);
CREATE TABLE sys.registered_search_property_lists (name TEXT, property_list_id INT);
INSERT INTO sys.server_principals VALUES ('sa', 1, 'sid sa', 'S'), ('sysadmin', 3, 'sid sysadmin', 'R'), ('processadmin', 4, 'sid processadmin', 'R');
INSERT INTO sys.database_principals VALUES ('dbo', 1, 'sid sa', 'S', 1, 'dbo'), ('db_datareader', 16390, NULL, 'R', 0, NULL),
	('odd]role', 16391, NULL, 'R', 0, NULL), ('db_owner', 16384, NULL, 'R', 0, NULL);
INSERT INTO sys.schemas VALUES ('dbo', 1), ('sales ]s', 5);
INSERT INTO sys.all_objects VALUES ('orders', 100, 1), ('odd]name', 101, 5);
INSERT INTO sys.all_columns VALUES ('total', 100, 2), ('note ]', 101, 1);
INSERT INTO sys.types VALUES ('money', 60, 1);
INSERT INTO sys.certificates VALUES ('signer', 7);
INSERT INTO sys.endpoints VALUES ('mirror', 2);
`

// startDouble starts a server with the databases master and app.
func startDouble(t testing.TB) *serverDouble {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &serverDouble{
		certificate: rotatortest.NewCertificate(t, "127.0.0.1"), listener: l, encrypt: encryptLogin,
		passwords: map[string]string{saName: saPassword}, users: map[string]map[string]string{"master": {}, "app": {}},
		databases: map[string]*sql.DB{}, refuse: map[string]*errorDouble{}, next: 1000,
	}
	for name := range s.users {
		db, err := sql.Open("sqlite", ":memory:")
		if err != nil {
			t.Fatal(err)
		}
		db.SetMaxOpenConns(1)
		t.Cleanup(func() { db.Close() })
		if _, err := db.Exec("ATTACH ':memory:' AS sys;" + catalogueDouble); err != nil {
			t.Fatal(err)
		}
		s.databases[name] = db
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go (&wireDouble{raw: conn, server: s}).serve()
		}
	}()
	return s
}

func (s *serverDouble) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

func (s *serverDouble) encryption() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.encrypt
}

// set changes what the server does.
func (s *serverDouble) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// login answers a login: users of the database come before logins.
func (s *serverDouble) login(user, password, database string) (sessionDouble, *errorDouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := sessionDouble{user, database}
	if refused := s.refuse[user]; refused != nil {
		return who, refused
	}
	if s.databases[database] == nil {
		return who, &errorDouble{4060, 1, fmt.Sprintf("Cannot open database \"%s\" requested by the login. The login failed.", database)}
	}
	if known, ok := s.users[database][user]; ok && known == password {
		return who, nil
	}
	if known, ok := s.passwords[user]; !ok || known != password {
		return who, &errorDouble{18456, 1, "Login failed for user '" + user + "'."}
	}
	if database != "master" && user != saName && s.first(database, "SELECT u.name FROM sys.database_principals u JOIN sys.server_principals l ON u.sid = l.sid"+
		" WHERE l.name = ?", user) == "" {
		return who, &errorDouble{4060, 2, fmt.Sprintf("Cannot open database \"%s\" requested by the login. The login failed.", database)}
	}
	return who, nil
}

// run runs a statement; rows hold a header's place first, and are nil for
// statements that are no query.
func (s *serverDouble) run(who sessionDouble, statement string, args []any) ([][]string, *errorDouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if statement == "select 1;" { // the driver's own ping
		return nil, nil
	}
	if statement == "SELECT @@VERSION" {
		return [][]string{{""}, {"Microsoft SQL Server 2022 (double)"}}, nil
	}
	if strings.HasPrefix(statement, "SELECT ") {
		return s.query(who.database, statement, args)
	}
	if statement == "EXEC master.sys.sp_executesql @p1" {
		who.database, statement = "master", args[0].(string)
	} else if len(args) > 0 {
		return nil, &errorDouble{102, 1, "Incorrect syntax near '@p1'."}
	}
	for _, k := range knownDouble {
		if m := k.form.FindStringSubmatch(statement); m != nil {
			s.log = append(s.log, passwordDouble.ReplaceAllString(statement, "N'…'"))
			return nil, k.obey(s, who, unquoted(m[1:]))
		}
	}
	return nil, &errorDouble{102, 1, "Incorrect syntax near '" + statement + "'."} // as a server quotes
}

var passwordDouble = regexp.MustCompile(`N'(?:[^']|'')*'`)

func (s *serverDouble) query(database, statement string, args []any) ([][]string, *errorDouble) {
	for i, a := range args {
		args[i] = sql.Named(fmt.Sprintf("p%d", i+1), a)
	}
	rows, err := s.databases[database].Query(statement, args...)
	if err != nil {
		return nil, &errorDouble{207, 1, err.Error()}
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, &errorDouble{207, 1, err.Error()}
	}
	found := [][]string{make([]string, len(columns))}
	for rows.Next() {
		cells, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, &errorDouble{207, 1, err.Error()}
		}
		row := make([]string, len(columns))
		for i, c := range cells {
			row[i] = c.String
		}
		found = append(found, row)
	}
	return found, nil
}

// first returns the first cell that a query finds, or "".
func (s *serverDouble) first(database, query string, args ...any) string {
	var cell sql.NullString
	if err := s.databases[database].QueryRowContext(context.Background(), query, args...).Scan(&cell); err != nil {
		return ""
	}
	return cell.String
}

// exec changes the catalogue of one database, or of all for "".
func (s *serverDouble) exec(database, statement string, args ...any) *errorDouble {
	for name, db := range s.databases {
		if database != "" && name != database {
			continue
		}
		if _, err := db.Exec(statement, args...); err != nil {
			return &errorDouble{207, 1, err.Error()}
		}
	}
	return nil
}

// unquoted takes the quotes off names and texts.
func unquoted(parts []string) []string {
	for i, p := range parts {
		switch {
		case strings.HasPrefix(p, "["):
			parts[i] = strings.ReplaceAll(p[1:len(p)-1], "]]", "]")
		case strings.HasPrefix(p, "N'"):
			parts[i] = strings.ReplaceAll(p[2:len(p)-1], "''", "'")
		}
	}
	return parts
}

// statements returns what has been obeyed since the last call.
func (s *serverDouble) statements() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

// holdings lists what a login and its user in a database may do.
func (s *serverDouble) holdings(database, login string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := s.first(database, "SELECT u.name FROM sys.database_principals u JOIN sys.server_principals l ON l.sid = u.sid WHERE l.name = ?", login)
	if _, contained := s.users[database][login]; contained {
		user = login
	}
	var all []string
	for _, q := range []struct{ who, query string }{
		{login, "SELECT 'server role', r.name, '', '' FROM sys.server_role_members m JOIN sys.server_principals r ON r.principal_id = m.role_principal_id" +
			" JOIN sys.server_principals g ON g.principal_id = m.member_principal_id WHERE g.name = @p1"},
		{login, "SELECT p.state_desc, p.permission_name, p.class, p.major_id FROM sys.server_permissions p" +
			" JOIN sys.server_principals g ON g.principal_id = p.grantee_principal_id WHERE g.name = @p1"},
		{user, "SELECT 'role', r.name, '', '' FROM sys.database_role_members m JOIN sys.database_principals r ON r.principal_id = m.role_principal_id" +
			" JOIN sys.database_principals g ON g.principal_id = m.member_principal_id WHERE g.name = @p1"},
		{user, "SELECT p.state_desc, p.permission_name, p.class || '/' || p.major_id, p.minor_id FROM sys.database_permissions p" +
			" JOIN sys.database_principals g ON g.principal_id = p.grantee_principal_id WHERE g.name = @p1"},
		{login, "SELECT default_database_name, default_language_name, is_expiration_checked, is_policy_checked FROM sys.sql_logins WHERE name = @p1"},
		{user, "SELECT 'schema', default_schema_name, '', '' FROM sys.database_principals WHERE name = @p1"},
	} {
		rows, refused := s.query(database, q.query, []any{q.who})
		if refused != nil {
			return refused.message
		}
		for _, row := range rows[1:] {
			all = append(all, strings.Join(row, " "))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}
