package database

import (
	"net"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
)

// The tags by which a registration says what the API of RDS has no parameters
// for.
const (
	// EndpointTag is host:port, or a host alone.
	EndpointTag = "keyturn:endpoint"
	// ReaderTag is the host of a cluster's reader endpoint.
	ReaderTag = "keyturn:reader-endpoint"
	// WriterTag is true on the member of a cluster that writes.
	WriterTag = "keyturn:writer"
	// InitialSecretTag names the secret whose username and password log in
	// when a managed master secret is made.
	InitialSecretTag = "keyturn:initial-secret"
)

// The kinds of this package's errors, which RDS tells apart.
const (
	// Combination: parameters that do not go together.
	Combination fault.Kind = "invalid parameter combination"
)

// maxID is the longest identifier of an instance or a cluster (AWS docs).
const maxID = 63

// CheckID returns an identifier as it is kept, in lower case. name is the
// parameter that holds it; the error has AWS's text.
func CheckID(name, id string) (string, error) {
	bad := id == "" || len(id) > maxID || strings.HasSuffix(id, "-") || strings.Contains(id, "--")
	for i := range len(id) {
		c := id[i] | 0x20
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || id[i] != '-' && (id[i] < '0' || id[i] > '9')) {
			bad = true
		}
	}
	if bad {
		return "", fault.New(fault.Parameter, "The parameter %s is not a valid identifier. Identifiers must begin with a letter; "+
			"must contain only ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens.", name)
	}
	return strings.ToLower(id), nil
}

// IsID tells whether s can be an identifier.
func IsID(s string) bool {
	_, err := CheckID("", s)
	return err == nil
}

// maxGroupName is the longest name of a subnet group (AWS docs).
const maxGroupName = 255

// CheckGroupName returns the name of a subnet group as it is kept, in lower
// case.
func CheckGroupName(name string) (string, error) {
	bad := name == "" || len(name) > maxGroupName || strings.EqualFold(name, "default")
	for i := range len(name) {
		c := name[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("._- ", c) >= 0) {
			bad = true
		}
	}
	if bad {
		return "", fault.New(fault.Parameter, "The parameter DBSubnetGroupName is not a valid identifier. It must contain from 1 to 255 alphanumeric "+
			"characters, periods, underscores, spaces, or hyphens, and must not be default.")
	}
	return strings.ToLower(name), nil
}

// engine is what is known of an engine of RDS.
type engine struct {
	port int64
	// rotator is the family of built-in rotators that changes passwords; ""
	// where there is none.
	rotator string
	// instance and cluster tell what may be made of it.
	instance, cluster bool
}

// engines are RDS's by name (AWS docs). custom- before a name is passed over.
var engines = map[string]engine{
	"aurora-mysql":      {3306, "mysql", true, true},
	"aurora-postgresql": {5432, "postgres", true, true},
	"db2-ae":            {50000, "", true, false},
	"db2-se":            {50000, "", true, false},
	"docdb":             {27017, "", true, true},
	"mariadb":           {3306, "mariadb", true, false},
	"mysql":             {3306, "mysql", true, true},
	"neptune":           {8182, "", true, true},
	"oracle-ee":         {1521, "oracle", true, false},
	"oracle-ee-cdb":     {1521, "oracle", true, false},
	"oracle-se2":        {1521, "oracle", true, false},
	"oracle-se2-cdb":    {1521, "oracle", true, false},
	"postgres":          {5432, "postgres", true, true},
	"sqlserver-ee":      {1433, "sqlserver", true, false},
	"sqlserver-ex":      {1433, "sqlserver", true, false},
	"sqlserver-se":      {1433, "sqlserver", true, false},
	"sqlserver-web":     {1433, "sqlserver", true, false},
}

// CheckEngine returns an engine's name as it is kept. kind says what is to be
// made of it, InstanceKind or ClusterKind.
func CheckEngine(name, kind string) (string, error) {
	name = strings.ToLower(name)
	e, ok := engines[strings.TrimPrefix(name, "custom-")]
	if !ok || kind == ClusterKind && !e.cluster || kind == InstanceKind && !e.instance {
		return "", fault.New(fault.Parameter, "Invalid DB engine")
	}
	return name, nil
}

// Rotator returns the family of built-in rotators for an engine; "" if there
// is none.
func Rotator(name string) string { return engines[strings.TrimPrefix(name, "custom-")].rotator }

// ReadEndpoint returns where a server is. tag is the value of EndpointTag,
// port the parameter of the call; the engine's port stands in for both.
func ReadEndpoint(tag string, port *int64, engineName string) (Endpoint, error) {
	if tag == "" {
		return Endpoint{}, fault.New(Combination, "Keyturn makes no databases: it registers one that exists. "+
			"Say where it is with the tag %s, for example Key=%s,Value=db.example.com:5432.", EndpointTag, EndpointTag)
	}
	host, text, err := net.SplitHostPort(tag)
	if err != nil {
		host, text = strings.TrimSuffix(strings.TrimPrefix(tag, "["), "]"), ""
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			host = ""
		}
	}
	e := Endpoint{Host: host, Port: engines[strings.TrimPrefix(engineName, "custom-")].port}
	if port != nil {
		e.Port = *port
	}
	if text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			n = -1
		}
		if port != nil && n != *port {
			return Endpoint{}, fault.New(Combination, "The parameter Port is %d, but the tag %s names the port %s.", *port, EndpointTag, text)
		}
		e.Port = n
	}
	if !isHost(e.Host) || e.Port < 1 || e.Port > 65535 {
		return Endpoint{}, fault.New(fault.Parameter, "The tag %s must be a host and a port, such as db.example.com:5432, and is %q.", EndpointTag, tag)
	}
	return e, nil
}

// ReadHost checks the value of ReaderTag.
func ReadHost(tag string) (string, error) {
	if !isHost(tag) {
		return "", fault.New(fault.Parameter, "The tag %s must be the name or the address of a host, and is %q.", ReaderTag, tag)
	}
	return tag, nil
}

func isHost(s string) bool {
	if net.ParseIP(s) != nil {
		return true
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
