package sqlserver

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/rotator"
)

// permission is what a principal was granted or denied: the right, and what
// it is for as the ON clause names it, "" for the whole database or server.
type permission struct {
	state, right, on string
	column           bool
}

// verbs are how a state of the catalogue is brought about.
var verbs = map[string]string{"GRANT": "GRANT", "GRANT_WITH_GRANT_OPTION": "GRANT", "DENY": "DENY", "REVOKE": "REVOKE"}

// statement gives a principal the permission.
func (p permission) statement(to string) (string, error) {
	verb, ok := verbs[p.state]
	if !ok {
		return "", invalid("Invalid permission state " + p.state)
	}
	s := verb + " " + p.right + prefixed(" ON ", p.on)
	if verb == "REVOKE" {
		return s + " FROM " + name(to), nil
	}
	s += " TO " + name(to)
	if p.state == "GRANT_WITH_GRANT_OPTION" {
		s += " WITH GRANT OPTION"
	}
	return s, nil
}

func invalid(text string) *rotator.Failure {
	return rotator.NewFailure(rotator.CauseOther, "", text, nil)
}

// securable is a class of what permissions are for: where its names are.
type securable struct {
	// keyword stands before the name in the ON clause.
	keyword string
	// scope, name and column are expressions over join, "” where the class
	// has none.
	scope, name, column string
	join                string
	// kinds replace keyword by what the expression kind says.
	kind  string
	kinds map[string]string
	wrong string // the error for another kind
}

// databaseClasses are the classes of sys.database_permissions.
var databaseClasses = map[int]securable{
	0: {},
	1: {
		keyword: "OBJECT", scope: "s.name", name: "o.name", column: "c.name",
		join: "LEFT JOIN sys.all_objects AS o ON o.object_id = p.major_id LEFT JOIN sys.schemas AS s ON s.schema_id = o.schema_id" +
			" LEFT JOIN sys.all_columns AS c ON c.object_id = p.major_id AND c.column_id = p.minor_id AND p.minor_id > 0",
	},
	3: {keyword: "SCHEMA", name: "o.name", join: "LEFT JOIN sys.schemas AS o ON o.schema_id = p.major_id"},
	4: {
		name: "o.name", kind: "o.type", join: "LEFT JOIN sys.database_principals AS o ON o.principal_id = p.major_id",
		kinds: map[string]string{
			"S": "USER", "U": "USER", "G": "USER", "E": "USER", "X": "USER", "C": "USER", "K": "USER", "R": "ROLE", "A": "APPLICATION ROLE",
		},
		wrong: "Invalid database principal permission type ",
	},
	5: {keyword: "ASSEMBLY", name: "o.name", join: "LEFT JOIN sys.assemblies AS o ON o.assembly_id = p.major_id"},
	6: {
		keyword: "TYPE", scope: "s.name", name: "o.name",
		join: "LEFT JOIN sys.types AS o ON o.user_type_id = p.major_id LEFT JOIN sys.schemas AS s ON s.schema_id = o.schema_id",
	},
	10: {
		keyword: "XML SCHEMA COLLECTION", scope: "s.name", name: "o.name",
		join: "LEFT JOIN sys.xml_schema_collections AS o ON o.xml_collection_id = p.major_id LEFT JOIN sys.schemas AS s ON s.schema_id = o.schema_id",
	},
	15: {keyword: "MESSAGE TYPE", name: "o.name", join: "LEFT JOIN sys.service_message_types AS o ON o.message_type_id = p.major_id"},
	16: {keyword: "CONTRACT", name: "o.name", join: "LEFT JOIN sys.service_contracts AS o ON o.service_contract_id = p.major_id"},
	17: {keyword: "SERVICE", name: "o.name", join: "LEFT JOIN sys.services AS o ON o.service_id = p.major_id"},
	18: {
		keyword: "REMOTE SERVICE BINDING", name: "o.name",
		join: "LEFT JOIN sys.remote_service_bindings AS o ON o.remote_service_binding_id = p.major_id",
	},
	19: {keyword: "ROUTE", name: "o.name", join: "LEFT JOIN sys.routes AS o ON o.route_id = p.major_id"},
	23: {keyword: "FULLTEXT CATALOG", name: "o.name", join: "LEFT JOIN sys.fulltext_catalogs AS o ON o.fulltext_catalog_id = p.major_id"},
	24: {keyword: "SYMMETRIC KEY", name: "o.name", join: "LEFT JOIN sys.symmetric_keys AS o ON o.symmetric_key_id = p.major_id"},
	25: {keyword: "CERTIFICATE", name: "o.name", join: "LEFT JOIN sys.certificates AS o ON o.certificate_id = p.major_id"},
	26: {keyword: "ASYMMETRIC KEY", name: "o.name", join: "LEFT JOIN sys.asymmetric_keys AS o ON o.asymmetric_key_id = p.major_id"},
	29: {keyword: "FULLTEXT STOPLIST", name: "o.name", join: "LEFT JOIN sys.fulltext_stoplists AS o ON o.stoplist_id = p.major_id"},
	31: {
		keyword: "SEARCH PROPERTY LIST", name: "o.name",
		join: "LEFT JOIN sys.registered_search_property_lists AS o ON o.property_list_id = p.major_id",
	},
}

// serverClasses are the classes of sys.server_permissions.
var serverClasses = map[int]securable{
	100: {},
	101: {
		name: "o.name", kind: "o.type", join: "LEFT JOIN sys.server_principals AS o ON o.principal_id = p.major_id",
		kinds: map[string]string{"S": "LOGIN", "U": "LOGIN", "G": "LOGIN", "C": "LOGIN", "K": "LOGIN", "E": "LOGIN", "X": "LOGIN", "R": "SERVER ROLE"},
		wrong: "Invalid server principal permission type ",
	},
	105: {keyword: "ENDPOINT", name: "o.name", join: "LEFT JOIN sys.endpoints AS o ON o.endpoint_id = p.major_id"},
}

// catalogue is where one level keeps its principals and permissions.
type catalogue struct {
	level, principals, permissions, members string
	classes                                 map[int]securable
}

var (
	databaseCatalogue = catalogue{"database", "sys.database_principals", "sys.database_permissions", "sys.database_role_members", databaseClasses}
	serverCatalogue   = catalogue{"server", "sys.server_principals", "sys.server_permissions", "sys.server_role_members", serverClasses}
)

// roles lists the roles of a principal.
func (c catalogue) roles(ctx context.Context, s *session, principal string) ([]string, error) {
	rows, err := s.rows(ctx, "SELECT r.name FROM "+c.members+" AS m JOIN "+c.principals+" AS r ON r.principal_id = m.role_principal_id"+
		" JOIN "+c.principals+" AS g ON g.principal_id = m.member_principal_id WHERE g.name = @p1", 1, principal)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(rows))
	for i, row := range rows {
		names[i] = row[0]
	}
	return names, nil
}

// held lists the permissions of a principal in the order in which they can be
// given again: what is for single columns comes after what is for the whole,
// which takes such entries away.
func (c catalogue) held(ctx context.Context, s *session, principal string) ([]permission, error) {
	classes, err := s.rows(ctx, "SELECT DISTINCT p.class"+c.from("")+" WHERE g.name = @p1", 1, principal)
	if err != nil {
		return nil, err
	}
	var all []permission
	for _, row := range classes {
		n, err := strconv.Atoi(row[0])
		class, ok := c.classes[n]
		if err != nil || !ok {
			return nil, invalid("Invalid " + c.level + " permission class " + row[0])
		}
		rows, err := s.rows(ctx, "SELECT p.state_desc, p.permission_name, "+class.columns()+c.from(class.join)+
			" WHERE p.class = "+row[0]+" AND g.name = @p1", 6, principal)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			p, err := class.permission(row)
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b permission) int { return a.order() - b.order() })
	return all, nil
}

func (p permission) order() int {
	n := slices.Index([]string{"GRANT_WITH_GRANT_OPTION", "GRANT", "DENY", "REVOKE"}, p.state)
	if p.column {
		n += 4
	}
	return n
}

func (c catalogue) from(join string) string {
	return " FROM " + c.permissions + " AS p JOIN " + c.principals + " AS g ON g.principal_id = p.grantee_principal_id" + prefixed(" ", join)
}

// columns are the expressions of what a permission is for.
func (c securable) columns() string {
	all := []string{c.kind, c.scope, c.name, c.column}
	for i, e := range all {
		if e == "" {
			all[i] = "''"
		}
	}
	return strings.Join(all, ", ")
}

// permission reads a row of state, right and columns.
func (c securable) permission(row []string) (permission, error) {
	p := permission{state: row[0], right: row[1], column: row[5] != ""}
	if c.name == "" {
		return p, nil
	}
	if row[4] == "" {
		return p, rotator.NewFailure(rotator.CausePermission, "",
			"the superuser does not see what the permission "+p.right+" is for", nil)
	}
	keyword := c.keyword
	if c.kinds != nil {
		kind := strings.TrimSpace(row[2])
		if keyword = c.kinds[kind]; keyword == "" {
			return p, invalid(c.wrong + kind)
		}
	}
	p.on = keyword + "::"
	if row[3] != "" {
		p.on += name(row[3]) + "."
	}
	p.on += name(row[4])
	if p.column {
		p.on += " (" + name(row[5]) + ")"
	}
	return p, nil
}
