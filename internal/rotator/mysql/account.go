package mysql

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/rotator"
)

// account is what the servers call a user: a name and where it logs in from.
type account struct{ name, host string }

// String is the account as statements name it.
func (a account) String() string { return literal(a.name) + "@" + literal(a.host) }

// accounts returns all accounts of a name; the order is that of the hosts.
func (s *session) accounts(ctx context.Context, name string) ([]account, error) {
	statement := "SELECT Host FROM mysql.user WHERE User = " + literal(name)
	if s.server.maria {
		statement += " AND is_role = 'N'"
	}
	rows, err := s.query(ctx, statement+" ORDER BY Host")
	if err != nil {
		return nil, err
	}
	all := make([]account, len(rows))
	for i, row := range rows {
		all[i] = account{name, row[0]}
	}
	return all, nil
}

// originals returns the accounts of a name that has to exist.
func (s *session) originals(ctx context.Context, name string) ([]account, error) {
	all, err := s.accounts(ctx, name)
	if err == nil && len(all) == 0 {
		err = rotator.NewFailure(rotator.CauseMissingUser, "", fmt.Sprintf("there is no user %q on the server", name), nil)
	}
	return all, err
}

// method is one way in which an account authenticates.
type method struct {
	plugin string
	// data is what MariaDB keeps for it, as printed; "" for nothing.
	data string
}

// definition is what makes an account beside its privileges and password.
type definition struct {
	methods []method
	// require and limits are clauses without their first word, rest are
	// whole ones.
	require, limits string
	rest            []string
}

// noLimits takes resource limits away from a MariaDB account.
const noLimits = "MAX_QUERIES_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 0 MAX_USER_CONNECTIONS 0 MAX_STATEMENT_TIME 0"

// clauses are the definition as ALTER USER takes it.
func (d definition) clauses() string {
	return strings.Join(append([]string{"REQUIRE " + d.require, "WITH " + d.limits}, d.rest...), " ")
}

// define reads an account's definition.
func (s *session) define(ctx context.Context, a account) (definition, error) {
	if !s.server.maria {
		return s.defineMySQL(ctx, a)
	}
	rows, err := s.query(ctx, "SHOW CREATE USER "+a.String())
	if err != nil {
		return definition{}, err
	}
	return parseDefinition(rows[0][0], s.server.atLeast(10, 4, 2)), nil
}

// defineMySQL reads the table of users: what SHOW CREATE USER prints of
// certificates' names is not quoted well enough to be read.
func (s *session) defineMySQL(ctx context.Context, a account) (definition, error) {
	columns := "plugin, ssl_type, ssl_cipher, x509_issuer, x509_subject, max_questions, max_updates, max_connections, " +
		"max_user_connections, account_locked, password_lifetime"
	modern := s.server.atLeast(8, 0, 19)
	if modern {
		columns += ", Password_reuse_history, Password_reuse_time, Password_require_current, User_attributes"
	}
	rows, err := s.query(ctx, "SELECT "+columns+" FROM mysql.user WHERE User = "+literal(a.name)+" AND Host = "+literal(a.host))
	if err != nil {
		return definition{}, err
	}
	if len(rows) == 0 {
		return definition{}, rotator.NewFailure(rotator.CauseMissingUser, "", fmt.Sprintf("there is no user %s on the server", a), nil)
	}
	row := rows[0]
	d := definition{
		methods: []method{{plugin: row[0]}}, require: requirement(row[1], row[2], row[3], row[4]),
		limits: fmt.Sprintf("MAX_QUERIES_PER_HOUR %s MAX_UPDATES_PER_HOUR %s MAX_CONNECTIONS_PER_HOUR %s MAX_USER_CONNECTIONS %s",
			row[5], row[6], row[7], row[8]),
		rest: []string{lock(row[9] == "Y"), "PASSWORD EXPIRE " + days(row[10], "NEVER")},
	}
	if modern {
		d.rest = append(d.rest, passwordPolicies(row[11], row[12], row[13], row[14])...)
	}
	return d, nil
}

// requirement is the TLS requirement of a row of mysql.user.
func requirement(kind, cipher, issuer, subject string) string {
	switch kind {
	case "":
		return "NONE"
	case "ANY":
		return "SSL"
	case "X509":
		return "X509"
	}
	var all []string
	for _, part := range [][2]string{{"CIPHER", cipher}, {"ISSUER", issuer}, {"SUBJECT", subject}} {
		if part[1] != "" {
			all = append(all, part[0]+" "+literal(part[1]))
		}
	}
	return strings.Join(all, " AND ")
}

func lock(locked bool) string {
	if locked {
		return "ACCOUNT LOCK"
	}
	return "ACCOUNT UNLOCK"
}

// days reads a column of days: NULL is the server's default.
func days(n, zero string) string {
	switch n {
	case "":
		return "DEFAULT"
	case "0":
		return zero
	}
	return "INTERVAL " + n + " DAY"
}

// passwordPolicies are the clauses of MySQL 8 about passwords.
func passwordPolicies(history, reuse, current, attributes string) []string {
	if history == "" {
		history = "DEFAULT"
	}
	all := []string{"PASSWORD HISTORY " + history, "PASSWORD REUSE INTERVAL " + days(reuse, "0 DAY")}
	switch current {
	case "Y":
		all = append(all, "PASSWORD REQUIRE CURRENT")
	case "N":
		all = append(all, "PASSWORD REQUIRE CURRENT OPTIONAL")
	default:
		all = append(all, "PASSWORD REQUIRE CURRENT DEFAULT")
	}
	var a struct {
		Locking struct {
			Attempts int `json:"failed_login_attempts"`
			Days     int `json:"password_lock_time_days"`
		} `json:"Password_locking"`
	}
	if json.Unmarshal([]byte(attributes), &a) == nil && a.Locking.Attempts > 0 {
		unit := fmt.Sprint(a.Locking.Days)
		if a.Locking.Days < 0 {
			unit = "UNBOUNDED"
		}
		return append(all, fmt.Sprintf("FAILED_LOGIN_ATTEMPTS %d PASSWORD_LOCK_TIME %s", a.Locking.Attempts, unit))
	}
	return append(all, "FAILED_LOGIN_ATTEMPTS 0 PASSWORD_LOCK_TIME 0")
}

// parseDefinition reads what MariaDB prints for SHOW CREATE USER; locks says
// that the server knows locked accounts and expiring passwords.
func parseDefinition(text string, locks bool) definition {
	all := tokens(text)
	d := definition{require: "NONE", limits: noLimits}
	at := 0
	clause := func(words ...string) string {
		begin := at
		for at < len(all) && !slices.ContainsFunc(words, all[at].is) {
			at++
		}
		if begin == at {
			return ""
		}
		return text[all[begin].at:all[at-1].end()]
	}
	clause("IDENTIFIED", "REQUIRE", "WITH", "ACCOUNT", "PASSWORD")
	if at < len(all) && all[at].is("IDENTIFIED") {
		d.methods, at = methods(all, at+1)
	}
	locked, expiry := false, "DEFAULT"
	for at < len(all) {
		word := all[at]
		at++
		switch {
		case word.is("REQUIRE"):
			d.require = clause("WITH", "ACCOUNT", "PASSWORD")
		case word.is("WITH"):
			d.limits = noLimits + " " + clause("ACCOUNT", "PASSWORD")
		case word.is("ACCOUNT"):
			locked = strings.EqualFold(clause("PASSWORD"), "LOCK")
		case word.is("EXPIRE") && at < len(all):
			expiry = clause("ACCOUNT")
		}
	}
	if locks {
		d.rest = []string{lock(locked), "PASSWORD EXPIRE " + expiry}
	}
	return d
}

// methods reads what follows IDENTIFIED and returns where it ends.
func methods(all []token, at int) ([]method, int) {
	if at+2 < len(all) && all[at].is("BY") {
		return []method{{nativePassword, all[at+2].text}}, at + 3
	}
	var found []method
	for at++; at < len(all); at++ {
		m := method{plugin: all[at].word()}
		if at+2 < len(all) && (all[at+1].is("USING") || all[at+1].is("AS")) {
			m.data, at = all[at+2].text, at+2
		}
		found = append(found, m)
		if at+1 >= len(all) || !all[at+1].is("OR") {
			return found, at + 1
		}
		at++
	}
	return found, at
}

// defaultRoles are the roles that are active after a login, ready for SET
// DEFAULT ROLE.
func (s *session) defaultRoles(ctx context.Context, a account) (string, error) {
	where := " WHERE User = " + literal(a.name) + " AND Host = " + literal(a.host)
	if s.server.maria {
		rows, err := s.query(ctx, "SELECT default_role FROM mysql.user"+where)
		if err != nil || len(rows) == 0 || rows[0][0] == "" {
			return "NONE", err
		}
		return name(rows[0][0]), nil
	}
	rows, err := s.query(ctx, "SELECT DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST FROM mysql.default_roles"+where+" ORDER BY 1, 2")
	if err != nil || len(rows) == 0 {
		return "NONE", err
	}
	roles := make([]string, len(rows))
	for i, row := range rows {
		roles[i] = account{row[0], row[1]}.String()
	}
	return strings.Join(roles, ", "), nil
}

// name quotes an identifier.
func name(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }
