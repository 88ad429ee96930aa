// Package rabbitmq rotates the passwords of RabbitMQ users.
//
// A login is proven over AMQP, because most users have no access to the
// management API; users are changed over the management API, which takes an
// administrator. The secret's members port and amqpPort are the ports of
// both.
package rabbitmq

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// Engine is RabbitMQ from version 3.8, with its management plugin.
type Engine struct{}

// New makes the engine.
func New() rotator.Engine { return Engine{} }

// Kind implements rotator.Engine. Colons, slashes and the like are kept out
// of passwords because applications write them into URLs. A name is a short
// string of AMQP.
func (Engine) Kind() rotator.Kind {
	return rotator.Kind{
		Title: "RabbitMQ", Accepts: []string{"rabbitmq"}, Passwords: rotator.PasswordRules{Length: 32, Exclude: `:/@"'\`},
		CloneLimit: 255, CloneBytes: true, GrantsEachTime: true,
	}
}

// place is where a secret says that the server is.
type place struct {
	amqpPort, port int
	vhost          string
	named          bool // the secret names the vhost
}

// The ports of a server that was configured by default, encrypted and plain.
const (
	amqpsPort, amqpPort               = 5671, 5672
	secureManagement, plainManagement = 15671, 15672
	closing                           = time.Second // the most that a goodbye may take
	productName                       = "keyturn-rotator"
)

func placeOf(l rotator.Login, encrypted bool) (place, error) {
	p := place{amqpPort: amqpPort, port: l.Port, vhost: l.Document.Text("vhost")}
	management := plainManagement
	if encrypted {
		p.amqpPort, management = amqpsPort, secureManagement
	}
	if p.port == 0 {
		p.port = management
	}
	if p.named = p.vhost != ""; !p.named {
		p.vhost = "/"
	}
	if text := l.Document.Text("amqpPort"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 65535 {
			return place{}, rotator.Invalid("The member amqpPort of the secret's JSON must be a number from 0 to 65535, and is %q", text)
		}
		p.amqpPort = n
	}
	return p, nil
}

// Connect implements rotator.Engine. An amqpPort of 0 is for administrators
// that cannot use AMQP: the management API then proves the login.
func (Engine) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.Session, error) {
	p, err := placeOf(l, secure != nil)
	if err != nil {
		return nil, err
	}
	s := &session{management: newManagement(l, p.port, secure)}
	if p.amqpPort == 0 {
		return s, s.management.call(ctx, "GET", path("whoami"), nil, nil)
	}
	raw, err := dial(ctx, net.JoinHostPort(l.Host, strconv.Itoa(p.amqpPort)), secure)
	if err != nil {
		return nil, classify(err)
	}
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	properties := amqp.Table{"product": productName, "connection_name": productName}
	s.amqp, err = amqp.Open(raw, amqp.Config{
		SASL:  []amqp.Authentication{&frank{amqp.PlainAuth{Username: l.Username, Password: l.Password.RevealText()}, properties}},
		Vhost: p.vhost, Locale: "en_US", Properties: properties,
	})
	switch {
	case err == nil:
		return s, nil
	case !p.named && noVhost(err):
		s.amqp = nil // the password was taken, and the secret asks for no more
		raw.Close()
		return s, nil
	}
	raw.Close()
	if raw.alert {
		err = errTLS
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, classify(err)
}

// frank asks the server to say so when it refuses the password. Without that
// it only breaks the connection off, some seconds later.
type frank struct {
	amqp.PlainAuth
	properties amqp.Table
}

// Response implements amqp.Authentication. The driver writes its capabilities
// into the properties before it asks for the response, and sends both
// together after.
func (f *frank) Response() string {
	if capabilities, ok := f.properties["capabilities"].(amqp.Table); ok {
		capabilities["authentication_failure_close"] = true
	}
	return f.PlainAuth.Response()
}

// wire is a connection that notices when a server answers with an alert of
// TLS to what was sent in plain.
type wire struct {
	net.Conn
	read, alert bool
}

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 && !w.read {
		w.read, w.alert = true, b[0] == 0x15
	}
	return n, err
}

func dial(ctx context.Context, address string, secure *tls.Config) (*wire, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := raw.SetDeadline(deadline); err != nil {
			raw.Close()
			return nil, err
		}
	}
	if secure == nil {
		return &wire{Conn: raw}, nil
	}
	encrypted := tls.Client(raw, secure)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return &wire{Conn: encrypted, read: true}, nil
}

// session is a login. Without a vhost that it may open it has no connection.
type session struct {
	amqp       *amqp.Connection
	management *management
}

// Ping implements rotator.Session.
func (s *session) Ping(context.Context) error {
	if s.amqp == nil {
		return nil // the login itself was all that there is
	}
	channel, err := s.amqp.Channel()
	if err == nil {
		err = channel.Close()
	}
	return refusal(err)
}

// Close implements rotator.Session.
func (s *session) Close(context.Context) error {
	s.management.http.CloseIdleConnections()
	if s.amqp == nil {
		return nil
	}
	return refusal(s.amqp.CloseDeadline(time.Now().Add(closing)))
}

// user is what the management API says of a user.
type user struct {
	Hash      string          `json:"password_hash"`
	Algorithm string          `json:"hashing_algorithm,omitempty"`
	Tags      json.RawMessage `json:"tags"` // a list, or a text in old versions
	Limits    map[string]int  `json:"limits,omitempty"`
}

func (s *session) user(ctx context.Context, name string) (u user, err error) {
	return u, s.management.call(ctx, "GET", path("users", name), nil, &u)
}

// SetOwnPassword implements rotator.Session: an administrator may.
func (s *session) SetOwnPassword(ctx context.Context, l rotator.Login, next plaintext.Value) error {
	return s.SetPassword(ctx, l.Username, next)
}

// SetPassword implements rotator.Session. The server gets the password and
// not a hash, so that its rules for passwords count; its log holds no bodies
// of requests. The tags have to be said again, or are lost.
func (s *session) SetPassword(ctx context.Context, name string, next plaintext.Value) error {
	u, err := s.user(ctx, name)
	if err != nil {
		return err
	}
	return s.put(ctx, path("users", name), map[string]any{"password": next.RevealText(), "tags": u.Tags})
}

func (s *session) put(ctx context.Context, path string, in any) error {
	return s.management.call(ctx, "PUT", path, in, nil)
}

// UserExists implements rotator.Session.
func (s *session) UserExists(ctx context.Context, name string) (bool, error) {
	_, err := s.user(ctx, name)
	if causeOf(err) == rotator.CauseMissingUser {
		return false, nil
	}
	return err == nil, err
}

// CreateClone implements rotator.Session.
func (s *session) CreateClone(ctx context.Context, _ rotator.Login, to string, password plaintext.Value) error {
	return s.put(ctx, path("users", to), map[string]any{"password": password.RevealText(), "tags": []string{}})
}
