package oracle_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/sijms/go-ora/v2/network"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/oracle"
)

// serverDouble stands in for Oracle Database, of which there is none to test
// with, and for the driver: database/sql talks to it directly. It keeps users
// and what they were granted, obeys the statements and answers the queries
// that it knows by their exact form, and refuses any other.
type serverDouble struct {
	mu        sync.Mutex
	service   string // the listener's
	sid       string
	users     map[string]*userDouble
	refuse    map[string]int // codes that logins are answered with
	policy    int            // the code that new passwords are answered with
	verify    bool           // a profile checks passwords, so that the old one is needed
	blind     bool           // the superuser does not see others' grants
	forbidden string         // an object that the superuser may not grant
	log       []string
}

type userDouble struct {
	password                       string
	tablespace, temporary, profile string
	quotas                         map[string]string
	roles                          map[string]bool // whether they are default ones
	system, objects                map[string]bool // GRANT texts without the grantee
}

const (
	systemName     = "SYSTEM"
	systemPassword = "first-SYSTEM-pw"
)

func newDouble() *serverDouble {
	s := &serverDouble{service: "ORCL", sid: "ORCLSID", users: map[string]*userDouble{}, refuse: map[string]int{}}
	s.add(systemName, systemPassword).system["CREATE SESSION"] = true
	return s
}

func (s *serverDouble) add(name, password string) *userDouble {
	u := &userDouble{
		password: password, tablespace: "USERS", temporary: "TEMP", profile: "DEFAULT",
		quotas: map[string]string{}, roles: map[string]bool{}, system: map[string]bool{}, objects: map[string]bool{},
	}
	s.users[name] = u
	return u
}

func (s *serverDouble) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// engine is the engine over the double.
func (s *serverDouble) engine() rotator.Engine {
	return oracle.Over(func(l rotator.Login, sid bool) *sql.DB { return sql.OpenDB(connectorDouble{s, l, sid}) })
}

// messages are the server's texts; a password verification function adds one
// of its own, which says too much.
var messages = map[int]string{
	1017: "ORA-01017: invalid username/password; logon denied", 28003: "ORA-28003: password verification for the specified password failed\nORA-20001: it was the-password",
}

func refused(code int) error {
	text, ok := messages[code]
	if !ok {
		text = fmt.Sprintf("ORA-%05d: refused by the double", code)
	}
	return &network.OracleError{ErrCode: code, ErrMsg: text}
}

type connectorDouble struct {
	server *serverDouble
	login  rotator.Login
	sid    bool
}

func (c connectorDouble) Driver() driver.Driver { return nil }

func (c connectorDouble) Connect(context.Context) (driver.Conn, error) {
	s, l := c.server, c.login
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !c.sid && l.Database != s.service:
		return nil, refused(12514)
	case c.sid && l.Database != s.sid:
		return nil, refused(12505)
	}
	name := strings.ToUpper(l.Username)
	if strings.HasPrefix(l.Username, `"`) {
		name = strings.Trim(l.Username, `"`)
	}
	if code := s.refuse[name]; code != 0 {
		return nil, refused(code)
	}
	u := s.users[name]
	if u == nil || u.password != l.Password.RevealText() {
		return nil, refused(1017)
	}
	if !u.system["CREATE SESSION"] {
		return nil, refused(1045)
	}
	return &connDouble{s, name}, nil
}

// connDouble is one connection.
type connDouble struct {
	server *serverDouble
	who    string
}

func (c *connDouble) Prepare(string) (driver.Stmt, error) { return nil, refused(900) }
func (c *connDouble) Close() error                        { return nil }
func (c *connDouble) Begin() (driver.Tx, error)           { return nil, refused(900) }

func (c *connDouble) ExecContext(_ context.Context, statement string, args []driver.NamedValue) (driver.Result, error) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range knownDouble {
		m := k.form.FindStringSubmatch(statement)
		if m == nil || len(args) > 0 {
			continue
		}
		s.log = append(s.log, regexp.MustCompile(`(BY|REPLACE) "[^"]*"`).ReplaceAllString(statement, `$1 …`))
		if code := k.obey(s, c.who, m[1:]); code != 0 {
			return nil, refused(code)
		}
		return driver.RowsAffected(0), nil
	}
	return nil, &network.OracleError{ErrCode: 900, ErrMsg: "ORA-00900: invalid SQL statement: " + statement}
}

var knownDouble = []struct {
	form *regexp.Regexp
	obey func(s *serverDouble, who string, part []string) int
}{
	{regexp.MustCompile(`^ALTER USER "([^"]+)" IDENTIFIED BY "([^"]+)"(?: REPLACE "([^"]+)")?$`), identify},
	{regexp.MustCompile(`^CREATE USER "([^"]+)" IDENTIFIED BY "([^"]+)" DEFAULT TABLESPACE "([^"]+)" TEMPORARY TABLESPACE "([^"]+)" PROFILE "([^"]+)"$`), create},
	{regexp.MustCompile(`^GRANT (".+"|[A-Z ]+?|[A-Z]+(?: \([^)]*\))? ON ".+") TO "([^"]+)"( WITH (?:ADMIN|GRANT) OPTION)?$`), grant},
	{regexp.MustCompile(`^ALTER USER "([^"]+)" QUOTA (\d+|UNLIMITED) ON "([^"]+)"$`), quota},
	{regexp.MustCompile(`^ALTER USER "([^"]+)" DEFAULT ROLE ALL(?: EXCEPT (.+))?$`), defaultRoles},
}

func identify(s *serverDouble, who string, part []string) int {
	u := s.users[part[0]]
	switch {
	case u == nil:
		return 1918
	case who != systemName && who != part[0]:
		return 1031
	case s.policy != 0:
		return s.policy
	case s.verify && who != systemName && part[2] == "":
		return 28221
	case part[2] != "" && part[2] != u.password:
		return 28008
	}
	u.password = part[1]
	return 0
}

func create(s *serverDouble, who string, part []string) int {
	switch {
	case who != systemName:
		return 1031
	case s.users[part[0]] != nil:
		return 1920
	case s.policy != 0:
		return s.policy
	}
	u := s.add(part[0], part[1])
	u.tablespace, u.temporary, u.profile = part[2], part[3], part[4]
	return 0
}

func grant(s *serverDouble, who string, part []string) int {
	u := s.users[part[1]]
	switch {
	case u == nil:
		return 1917
	case who != systemName || s.forbidden != "" && strings.Contains(part[0], s.forbidden):
		return 1031
	case strings.Contains(part[0], " ON "):
		u.objects[part[0]+part[2]] = true
	case strings.HasPrefix(part[0], `"`):
		u.roles[strings.Trim(part[0], `"`)] = true
	default:
		u.system[part[0]+part[2]] = true
	}
	return 0
}

func quota(s *serverDouble, who string, part []string) int {
	if who != systemName || s.users[part[0]] == nil {
		return 1031
	}
	if part[1] == "UNLIMITED" {
		part[1] = "-1"
	}
	s.users[part[0]].quotas[part[2]] = part[1]
	return 0
}

func defaultRoles(s *serverDouble, who string, part []string) int {
	u := s.users[part[0]]
	if who != systemName || u == nil {
		return 1031
	}
	except := strings.Split(part[1], ", ")
	for role := range u.roles {
		u.roles[role] = !slices.Contains(except, `"`+role+`"`)
	}
	return 0
}

func (c *connDouble) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	var bound []string
	for _, a := range args {
		bound = append(bound, a.Value.(string))
	}
	rows, code := s.answer(query, bound)
	if code != 0 {
		return nil, refused(code)
	}
	return &rowsDouble{rows: rows}, nil
}

func (s *serverDouble) answer(query string, bound []string) (rows [][]string, code int) {
	switch query {
	case "SELECT SYSDATE FROM DUAL":
		return [][]string{{"2026-11-22"}}, 0
	case "SELECT sys.DBMS_ASSERT.ENQUOTE_NAME(:1) FROM DUAL":
		if strings.HasPrefix(bound[0], `"`) {
			return [][]string{{bound[0]}}, 0
		}
		if strings.Contains(bound[0], `"`) {
			return nil, 44003
		}
		return [][]string{{`"` + strings.ToUpper(bound[0]) + `"`}}, 0
	case "SELECT DBMS_METADATA.GET_GRANTED_DDL(:1, :2) FROM DUAL":
		return s.granted(bound[0], bound[1])
	}
	u := s.users[bound[0]]
	if u == nil {
		return nil, 0
	}
	switch query {
	case "SELECT USERNAME FROM DBA_USERS WHERE USERNAME = :1":
		return [][]string{{bound[0]}}, 0
	case "SELECT DEFAULT_TABLESPACE, TEMPORARY_TABLESPACE, PROFILE FROM DBA_USERS WHERE USERNAME = :1":
		return [][]string{{u.tablespace, u.temporary, u.profile}}, 0
	case "SELECT TABLESPACE_NAME, MAX_BYTES FROM DBA_TS_QUOTAS WHERE USERNAME = :1 AND DROPPED = 'NO'":
		for name, size := range u.quotas {
			rows = append(rows, []string{name, size})
		}
		return rows, 0
	case "SELECT GRANTED_ROLE FROM DBA_ROLE_PRIVS WHERE GRANTEE = :1 AND DEFAULT_ROLE = 'NO' ORDER BY GRANTED_ROLE":
		for _, role := range slices.Sorted(maps.Keys(u.roles)) {
			if !u.roles[role] {
				rows = append(rows, []string{role})
			}
		}
		return rows, 0
	}
	for view, held := range map[string]map[string]bool{"DBA_ROLE_PRIVS": u.roles, "DBA_SYS_PRIVS": u.system, "DBA_TAB_PRIVS": u.objects, "DBA_COL_PRIVS": nil} {
		if query == "SELECT GRANTEE FROM "+view+" WHERE GRANTEE = :1" {
			for range held {
				rows = append(rows, []string{bound[0]})
			}
			return rows, 0
		}
	}
	return nil, 942
}

// granted writes what DBMS_METADATA does, in no order.
func (s *serverDouble) granted(kind, user string) ([][]string, int) {
	u := s.users[user]
	if u == nil {
		return nil, 31608
	}
	held := map[string]map[string]bool{"SYSTEM_GRANT": u.system, "OBJECT_GRANT": u.objects, "ROLE_GRANT": {}}[kind]
	for role := range u.roles {
		if kind == "ROLE_GRANT" {
			held[`"`+role+`"`] = true
		}
	}
	if len(held) == 0 || s.blind {
		return nil, 31608
	}
	ddl := "\n"
	for what := range held {
		what, option, with := strings.Cut(what, " WITH ")
		ddl += "   GRANT " + what + ` TO "` + user + `"`
		if with {
			ddl += " WITH " + option
		}
		ddl += "\n"
	}
	return [][]string{{ddl}}, 0
}

type rowsDouble struct{ rows [][]string }

func (r *rowsDouble) Columns() []string {
	if len(r.rows) == 0 {
		return []string{""}
	}
	return make([]string, len(r.rows[0]))
}

func (r *rowsDouble) Close() error { return nil }

func (r *rowsDouble) Next(into []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	for i, cell := range r.rows[0] {
		into[i] = cell
	}
	r.rows = r.rows[1:]
	return nil
}
