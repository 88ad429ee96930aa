package rotator

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// TLSMode is what a secret's ssl member says.
type TLSMode int

// The modes: encrypted and else plain, encrypted only, plain only.
const (
	PreferTLS TLSMode = iota
	RequireTLS
	NoTLS
)

// Login is what a secret says about where to log in and as whom.
type Login struct {
	Host               string
	Port               int
	Database, Username string
	Password           plaintext.Value
	TLS                TLSMode
	// Nodes are further nodes with users of their own, as host:port.
	Nodes []string
	// Users is, for a superuser, the database of the user whose password is
	// to change: engines that keep users in databases look for them there.
	Users string
	// Document is the whole secret, and Settings are the function's variables
	// once it connects, for what only one engine knows.
	Document *Document
	Settings Settings
}

// LogValue implements slog.LogValuer.
func (l Login) LogValue() slog.Value { return slog.StringValue(l.String()) }

// String says who and where.
func (l Login) String() string { return fmt.Sprintf("user %q at %s:%d", l.Username, l.Host, l.Port) }

// loginKeys are the members that most engines' secrets need.
var loginKeys = []string{"host", "username", "password"}

// Login reads a secret of this kind. The errors are those of AWS's templates.
func (k Kind) Login(d *Document) (Login, error) {
	if !k.Matches(d.Text("engine")) {
		return Login{}, &Error{Type: "KeyError",
			Text: fmt.Sprintf("Database engine must be set to '%s' in order to use this rotation lambda", k.Accepts[0])}
	}
	for _, key := range k.required() {
		if !d.Has(key) {
			return Login{}, MissingKey(key)
		}
	}
	l := Login{
		Host: d.Text("host"), Port: k.Port, Database: k.Database, Username: d.Text("username"),
		Password: d.Secret("password"), TLS: tlsMode(d.Text("ssl")), Document: d,
	}
	if name := d.Text("dbname"); name != "" {
		l.Database = name
	}
	if port := d.Text("port"); port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return Login{}, Invalid("The member port of the secret's JSON must be a number from 1 to 65535, and is %q", port)
		}
		l.Port = n
	}
	if k.UsersPerNode {
		return l, l.readNodes()
	}
	return l, nil
}

func (l *Login) readNodes() error {
	if err := l.Document.Decode("nodes", &l.Nodes); err != nil {
		return err
	}
	for _, node := range l.Nodes {
		host, port, err := net.SplitHostPort(node)
		n, bad := strconv.Atoi(port)
		if err != nil || bad != nil || host == "" || n < 1 || n > 65535 {
			return Invalid("The member nodes of the secret's JSON must list texts of the form host:port, and holds %q", node)
		}
	}
	return nil
}

// addresses are those of all nodes, sorted, each once.
func (l Login) addresses() []string {
	all := append([]string{net.JoinHostPort(l.Host, strconv.Itoa(l.Port))}, l.Nodes...)
	slices.Sort(all)
	return slices.Compact(all)
}

func (k Kind) required() []string {
	if k.Required != nil {
		return k.Required
	}
	return loginKeys
}

// tlsMode reads JSON booleans and texts in any case; anything else, as
// nothing, leaves the choice to the attempt (AWS: the templates).
func tlsMode(ssl string) TLSMode {
	switch strings.ToLower(ssl) {
	case "true":
		return RequireTLS
	case "false":
		return NoTLS
	}
	return PreferTLS
}

// onlyCredentials tells that a superuser's secret is one that a database
// service keeps, which says nothing of where the database is.
func onlyCredentials(d *Document) bool {
	keys := d.Keys()
	slices.Sort(keys)
	return slices.Equal(keys, []string{"password", "username"})
}
