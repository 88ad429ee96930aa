package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/rotator"
)

// wire says how a connection to a kind of server begins.
type wire byte

const (
	opaque     wire = iota // TLS is the driver's affair
	direct                 // TLS from the first byte
	postgreSQL             // a request for TLS, answered by one byte
	mySQL                  // a greeting, then a request
)

// wires maps the first name of each kind to how its connections begin.
var wires = map[string]wire{
	"postgres": postgreSQL, "redshift": postgreSQL, "mysql": mySQL, "mariadb": mySQL, "mongo": direct, "redis": direct, "timestream-influxdb": direct,
	"oracle": direct,
}

// endpoint is a server that versions name, and what it says before anybody
// logs in.
type endpoint struct {
	host string
	port int // 0 if only the driver knows
	wire wire

	stages []Stage // dns, tcp
	up     bool    // nothing speaks against logging in
	// secure is the stage tls; nil if it was not tried.
	secure  *Stage
	offered bool
	names   string
	server  string // of its greeting
}

// endpointOf is where a login goes.
func endpointOf(e Engine, l rotator.Login) *endpoint {
	at := &endpoint{host: l.Host, port: l.Port, wire: wires[e.Kind.Accepts[0]]}
	switch e.Kind.Accepts[0] {
	case "rabbitmq": // the port is the management's, and AMQP's depends on the way
		at.port, _ = strconv.Atoi(l.Document.Text("amqpPort"))
	case "ldap", "activedirectory":
		const ldap, ldaps = 389, 636
		if at.port == 0 {
			at.port = ldaps
			if l.TLS == rotator.NoTLS {
				at.port = ldap
			}
		}
		if at.port != ldap && l.TLS != rotator.NoTLS && l.Document.Text("startTLS") != "true" {
			at.wire = direct
		}
	}
	return at
}

func (at *endpoint) address() string { return net.JoinHostPort(at.host, strconv.Itoa(at.port)) }

// look asks everything that needs no login. secure is the client's side of
// TLS.
func (at *endpoint) look(ctx context.Context, secure *tls.Config) {
	if at.up = at.host == ""; at.up {
		return // the engine finds it
	}
	if net.ParseIP(at.host) == nil {
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, stageLimit)
		_, err := net.DefaultResolver.LookupHost(within, at.host)
		cancel()
		at.stages = append(at.stages, stage(stageDNS, began, classify(err)))
		if err != nil {
			return
		}
	}
	if at.up = at.port == 0; at.up {
		return
	}
	began := time.Now()
	conn, err := dial(ctx, at.address())
	at.stages = append(at.stages, stage(stageTCP, began, classify(err)))
	if at.up = err == nil; !at.up {
		return
	}
	defer func() { _ = conn.Close() }() // nothing was said that matters
	if at.wire == opaque {
		return
	}
	began = time.Now()
	err = at.encrypt(conn, secure)
	at.secure = new(stage(stageTLS, began, classify(err)))
	if f := classify(err); f != nil && f.Cause == rotator.CauseTimeout {
		// A server of this kind answers, or is none: there is no more to try.
		at.up = false
		at.stages = append(at.stages, *at.secure)
	}
}

// classify is rotator.Classify that keeps nil.
func classify(err error) *rotator.Failure {
	if err == nil {
		return nil
	}
	return rotator.Classify(err)
}

// dial connects; the connection ends with the stage.
func dial(ctx context.Context, address string) (net.Conn, error) {
	within, cancel := context.WithTimeout(ctx, stageLimit)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(within, "tcp", address)
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(stageLimit)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	if err := conn.SetDeadline(until); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// errNoTLS is what the engines say of it as well.
var errNoTLS = rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS is not enabled on the server", nil)

// encrypt begins TLS, and notes what the server shows of itself.
func (at *endpoint) encrypt(conn net.Conn, secure *tls.Config) error {
	switch at.wire {
	case postgreSQL:
		if err := requestTLS(conn); err != nil {
			return err
		}
	case mySQL:
		g, err := readGreeting(conn)
		if err != nil {
			return err
		}
		at.server = g.server
		if err := g.requestTLS(conn); err != nil {
			return err
		}
	}
	state, err := handshake(conn, secure)
	if err != nil {
		return err
	}
	at.offered = true
	at.names = certificateNames(state.PeerCertificates[0])
	return verify(state, secure)
}

// handshake takes any certificate: what is wrong with it is told apart from
// whether there is TLS at all. No password goes over such a connection.
func handshake(conn net.Conn, secure *tls.Config) (tls.ConnectionState, error) {
	open := secure.Clone()
	open.InsecureSkipVerify = true
	c := tls.Client(conn, open)
	if err := c.Handshake(); err != nil {
		if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
			return tls.ConnectionState{}, errNoTLS
		}
		if cause := rotator.Classify(err); cause.Cause != rotator.CauseTLS {
			return tls.ConnectionState{}, rotator.NewFailure(rotator.CauseTLS, "", "the server does not answer TLS: "+cause.Text, err)
		}
		return tls.ConnectionState{}, err
	}
	return c.ConnectionState(), nil
}

// UnknownAuthority is the Code of the stage tls where the certificate is of an
// authority that is not trusted where the probe runs. The function may trust
// it all the same, unless the probe ran there.
const UnknownAuthority = "unknown authority"

// verify does what the rotators' own connections do.
func verify(state tls.ConnectionState, secure *tls.Config) error {
	leaf := state.PeerCertificates[0]
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: secure.ServerName, Roots: secure.RootCAs, Intermediates: between})
	if err == nil {
		return nil
	}
	code := ""
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		code = UnknownAuthority
	}
	text := fmt.Sprintf("%v; the certificate is for %s, issued by %s, valid until %s", err, certificateNames(leaf), leaf.Issuer, leaf.NotAfter.UTC().Format(time.DateOnly))
	return rotator.NewFailure(rotator.CauseTLS, code, text, err)
}

// certificateNames are what a certificate is for.
func certificateNames(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		names = append(names, c.Subject.CommonName)
	}
	return strings.Join(names, ", ")
}
