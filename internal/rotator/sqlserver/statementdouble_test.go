package sqlserver_test

import (
	"regexp"
	"strings"
)

// quotedName and quotedText are how names and passwords stand in statements.
const (
	quotedName = `(\[(?:[^\]]|\]\])*\])`
	quotedText = `(N'(?:[^']|'')*')`
)

// knownDouble are the statements that serverDouble obeys, by their exact
// form: the parts of it that vary are given to obey without their quotes.
var knownDouble = []struct {
	form *regexp.Regexp
	obey func(s *serverDouble, who sessionDouble, part []string) *errorDouble
}{
	{form(`ALTER LOGIN NAME WITH PASSWORD = TEXT`), alterLogin},
	{form(`ALTER LOGIN NAME WITH PASSWORD = TEXT OLD_PASSWORD = TEXT`), alterLogin},
	{form(`ALTER USER NAME WITH PASSWORD = TEXT`), alterUser},
	{form(`ALTER USER NAME WITH PASSWORD = TEXT OLD_PASSWORD = TEXT`), alterUser},
	{form(`CREATE LOGIN NAME WITH PASSWORD = TEXT, DEFAULT_DATABASE = NAME, DEFAULT_LANGUAGE = NAME, CHECK_EXPIRATION = (ON|OFF), CHECK_POLICY = (ON|OFF)`), createLogin},
	{form(`CREATE USER NAME WITH PASSWORD = TEXT, DEFAULT_SCHEMA = NAME`), createContained},
	{form(`CREATE USER NAME FOR LOGIN NAME WITH DEFAULT_SCHEMA = NAME`), createMapped},
	{form(`ALTER ROLE NAME ADD MEMBER NAME`), addMember("database")},
	{form(`ALTER SERVER ROLE NAME ADD MEMBER NAME`), addMember("server")},
	{form(`(GRANT|DENY) ([A-Z ]+) TO NAME( WITH GRANT OPTION)?`), grantWhole},
	{form(`(GRANT|DENY) ([A-Z ]+) ON OBJECT::NAME\.NAME(?: \(NAME\))? TO NAME( WITH GRANT OPTION)?`), grantObject},
	{form(`(GRANT|DENY) ([A-Z ]+) ON (TYPE|XML SCHEMA COLLECTION)::\[dbo\]\.NAME TO NAME( WITH GRANT OPTION)?`), grantNamed},
	{form(`(GRANT|DENY) ([A-Z ]+) ON ([A-Z ]+)::NAME TO NAME( WITH GRANT OPTION)?`), grantNamed},
}

func form(s string) *regexp.Regexp {
	s = strings.NewReplacer("NAME", quotedName, "TEXT", quotedText).Replace(s)
	return regexp.MustCompile("^" + s + "$")
}

func denied(what string) *errorDouble {
	return &errorDouble{15151, 1, "Cannot alter the " + what + ", because it does not exist or you do not have permission."}
}

// weak refuses a password that the policy does not take.
func (s *serverDouble) weak(password string) *errorDouble {
	if s.policy != nil && password != "" {
		return s.policy
	}
	return nil
}

func alterLogin(s *serverDouble, who sessionDouble, part []string) *errorDouble {
	known, exists := s.passwords[part[0]]
	if own := len(part) == 3; !exists || own && (part[2] != known || who.login != part[0]) || !own && who.login != saName {
		return denied("login '" + part[0] + "'")
	}
	if refused := s.weak(part[1]); refused != nil {
		return refused
	}
	s.passwords[part[0]] = part[1]
	return nil
}

func alterUser(s *serverDouble, who sessionDouble, part []string) *errorDouble {
	if s.readOnly {
		return &errorDouble{3906, 1, "Failed to update database \"" + who.database + "\" because the database is read-only."}
	}
	known, exists := s.users[who.database][part[0]]
	if own := len(part) == 3; !exists || own && (part[2] != known || who.login != part[0]) || !own && who.login != saName {
		return denied("user '" + part[0] + "'")
	}
	if refused := s.weak(part[1]); refused != nil {
		return refused
	}
	s.users[who.database][part[0]] = part[1]
	return nil
}

func createLogin(s *serverDouble, who sessionDouble, part []string) *errorDouble {
	if who.login != saName {
		return &errorDouble{15247, 1, "User does not have permission to perform this action."}
	}
	if _, exists := s.passwords[part[0]]; exists {
		return &errorDouble{15025, 1, "The server principal '" + part[0] + "' already exists."}
	}
	if refused := s.weak(part[1]); refused != nil {
		return refused
	}
	s.addLogin(part[0], part[1], part[2], part[3], part[4] == "ON", part[5] == "ON")
	return nil
}

func (s *serverDouble) addLogin(name, password, database, language string, expires, policy bool) {
	s.next++
	s.passwords[name] = password
	s.exec("", "INSERT INTO sys.server_principals VALUES (?, ?, ?, 'S')", name, s.next, "sid "+name)
	s.exec("", "INSERT INTO sys.sql_logins VALUES (?, ?, ?, ?, ?)", name, database, language, expires, policy)
	s.exec("", "INSERT INTO sys.server_permissions VALUES (100, 0, 0, ?, 'CONNECT SQL', 'GRANT')", s.next)
}

func createContained(s *serverDouble, who sessionDouble, part []string) *errorDouble {
	if who.login != saName {
		return &errorDouble{15247, 1, "User does not have permission to perform this action."}
	}
	s.addUser(who.database, part[0], "contained "+part[0], 2, part[2])
	s.users[who.database][part[0]] = part[1]
	return nil
}

func createMapped(s *serverDouble, who sessionDouble, part []string) *errorDouble {
	sid := s.first(who.database, "SELECT sid FROM sys.server_principals WHERE name = ?", part[1])
	switch {
	case who.login != saName:
		return &errorDouble{15247, 1, "User does not have permission to perform this action."}
	case sid == "":
		return &errorDouble{15007, 1, "'" + part[1] + "' is not a valid login or you do not have permission."}
	case s.first(who.database, "SELECT name FROM sys.database_principals WHERE sid = ? OR name = ?", sid, part[0]) != "":
		return &errorDouble{15023, 1, "User, group, or role '" + part[0] + "' already exists in the current database."}
	}
	s.addUser(who.database, part[0], sid, 1, part[2])
	return nil
}

func (s *serverDouble) addUser(database, name, sid string, authentication int, schema string) {
	s.next++
	s.exec(database, "INSERT INTO sys.database_principals VALUES (?, ?, ?, 'S', ?, ?)", name, s.next, sid, authentication, schema)
	s.exec(database, "INSERT INTO sys.database_permissions VALUES (0, 0, 0, ?, 'CONNECT', 'GRANT')", s.next)
}

func addMember(level string) func(s *serverDouble, who sessionDouble, part []string) *errorDouble {
	return func(s *serverDouble, who sessionDouble, part []string) *errorDouble {
		database := who.database
		if level == "server" {
			database = ""
		}
		of := func(name, kind string) string {
			return s.first(who.database, "SELECT principal_id FROM sys."+level+"_principals WHERE name = ? AND type = ?", name, kind)
		}
		role, member := of(part[0], "R"), of(part[1], "S")
		if who.login != saName || role == "" || member == "" {
			return denied("role '" + part[0] + "'")
		}
		return s.exec(database, "INSERT INTO sys."+level+"_role_members VALUES (?, ?)", role, member)
	}
}

// serverRights are the rights that are of the server.
var serverRights = []string{"CONNECT SQL", "VIEW SERVER STATE"}

func grantWhole(s *serverDouble, who sessionDouble, part []string) *errorDouble {
	for _, right := range serverRights {
		if part[1] == right {
			return s.give(who, "server", part[0]+part[3], right, 100, "0", "0", part[2])
		}
	}
	return s.give(who, "database", part[0]+part[3], part[1], 0, "0", "0", part[2])
}

func grantObject(s *serverDouble, who sessionDouble, part []string) *errorDouble {
	object := s.first(who.database, "SELECT o.object_id FROM sys.all_objects o JOIN sys.schemas s ON s.schema_id = o.schema_id"+
		" WHERE s.name = ? AND o.name = ?", part[2], part[3])
	column := "0"
	if part[4] != "" {
		column = s.first(who.database, "SELECT column_id FROM sys.all_columns WHERE object_id = ? AND name = ?", object, part[4])
	}
	return s.give(who, "database", part[0]+part[6], part[1], 1, object, column, part[5])
}

// classesDouble are what permissions of one name are for.
var classesDouble = map[string]struct {
	class     int
	table, id string
}{
	"SCHEMA": {3, "schemas", "schema_id"}, "USER": {4, "database_principals", "principal_id"},
	"ROLE": {4, "database_principals", "principal_id"}, "ASSEMBLY": {5, "assemblies", "assembly_id"}, "TYPE": {6, "types", "user_type_id"},
	"XML SCHEMA COLLECTION": {10, "xml_schema_collections", "xml_collection_id"},
	"MESSAGE TYPE":          {15, "service_message_types", "message_type_id"}, "CONTRACT": {16, "service_contracts", "service_contract_id"},
	"SERVICE": {17, "services", "service_id"}, "REMOTE SERVICE BINDING": {18, "remote_service_bindings", "remote_service_binding_id"},
	"ROUTE": {19, "routes", "route_id"}, "FULLTEXT CATALOG": {23, "fulltext_catalogs", "fulltext_catalog_id"},
	"SYMMETRIC KEY": {24, "symmetric_keys", "symmetric_key_id"}, "CERTIFICATE": {25, "certificates", "certificate_id"},
	"ASYMMETRIC KEY": {26, "asymmetric_keys", "asymmetric_key_id"}, "FULLTEXT STOPLIST": {29, "fulltext_stoplists", "stoplist_id"},
	"SEARCH PROPERTY LIST": {31, "registered_search_property_lists", "property_list_id"},
	"LOGIN":                {101, "server_principals", "principal_id"}, "ENDPOINT": {105, "endpoints", "endpoint_id"},
}

func grantNamed(s *serverDouble, who sessionDouble, part []string) *errorDouble {
	c, ok := classesDouble[part[2]]
	if !ok {
		return &errorDouble{102, 1, "Incorrect syntax near '" + part[2] + "'."}
	}
	level := "database"
	if c.class > 100 {
		level = "server"
	}
	query := "SELECT " + c.id + " FROM sys." + c.table + " WHERE name = ?"
	return s.give(who, level, part[0]+part[5], part[1], c.class, s.first(who.database, query, part[3]), "0", part[4])
}

// give enters a permission. Those of the server are given in master alone.
func (s *serverDouble) give(who sessionDouble, level, state, right string, class int, major, minor, to string) *errorDouble {
	grantee := s.first(who.database, "SELECT principal_id FROM sys."+level+"_principals WHERE name = ? AND type = 'S'", to)
	switch {
	case level == "server" && who.database != "master":
		return &errorDouble{4621, 10, "Permissions at the server scope can only be granted when the current database is master"}
	case who.login != saName || grantee == "" || major == "" || minor == "":
		return denied("object")
	}
	database := who.database
	if level == "server" {
		database = ""
	}
	state = strings.ReplaceAll(state, " ", "_")
	return s.exec(database, "INSERT INTO sys."+level+"_permissions VALUES (?, ?, ?, ?, ?, ?)", class, major, minor, grantee, right, state)
}
