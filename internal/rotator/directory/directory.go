// Package directory rotates passwords of directories' users: of LDAP servers
// such as OpenLDAP and 389, of Active Directory, and of AWS Directory Service,
// whose secrets may have keytabs that follow them.
//
// LDAP's simple bind sends the password as it is. A connection is therefore
// encrypted, by LDAPS or StartTLS, unless the secret's ssl member is false;
// there is no fallback to a plain one.
package directory

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/keyturn/keyturn/internal/rotator"
)

// The ports that directories listen at, and that decide between LDAPS and
// StartTLS: an encrypted connection begins as a plain one at those of plain
// LDAP.
const (
	ldapPort    = 389
	ldapsPort   = 636
	catalogPort = 3268 // Active Directory's global catalogue
)

// connection is an LDAP connection whose requests end with their contexts.
type connection struct {
	*ldap.Conn
	raw net.Conn
}

// dial connects, and encrypts the connection where secure says how.
func dial(ctx context.Context, l rotator.Login, secure *tls.Config) (*connection, error) {
	port := l.Port
	if port == 0 {
		port = ldapsPort
		if secure == nil || startsTLS(l, ldapPort) {
			port = ldapPort
		}
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(l.Host, strconv.Itoa(port)))
	if err != nil {
		return nil, rotator.Classify(err)
	}
	c := &connection{raw: raw}
	if secure == nil {
		c.Conn = ldap.NewConn(raw, false)
		c.Start()
		return c, nil
	}
	if err := c.encrypt(ctx, secure, startsTLS(l, port)); err != nil {
		_ = raw.Close() // the error says more
		return nil, err
	}
	return c, nil
}

// startsTLS tells whether an encrypted connection begins as a plain one: as
// the secret's startTLS member says, else by the port.
func startsTLS(l rotator.Login, port int) bool {
	switch strings.ToLower(l.Document.Text("startTLS")) {
	case "true":
		return true
	case "false":
		return false
	}
	return l.Port != 0 && (port == ldapPort || port == catalogPort)
}

func (c *connection) encrypt(ctx context.Context, secure *tls.Config, start bool) error {
	stop := c.endWith(ctx)
	defer stop()
	if start {
		if err := c.askTLS(); err != nil {
			return orTimeout(ctx, err)
		}
	}
	conn := tls.Client(c.raw, secure)
	if err := conn.HandshakeContext(ctx); err != nil {
		return orTimeout(ctx, handshakeFailed(err))
	}
	c.Conn = ldap.NewConn(conn, true)
	c.Start()
	return nil
}

// askTLS sends the StartTLS request (RFC 4511, 4.14). The library's own loses
// what was wrong with a certificate.
func (c *connection) askTLS() error {
	packet := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "message")
	packet.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, "id"))
	request := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "extended request")
	request.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, "1.3.6.1.4.1.1466.20037", "name"))
	packet.AppendChild(request)
	if _, err := c.raw.Write(packet.Bytes()); err != nil {
		return rotator.Classify(err)
	}
	answer, err := ber.ReadPacket(c.raw)
	if err != nil {
		return rotator.Classify(err)
	}
	if err := ldap.GetLDAPError(answer); err != nil {
		return rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS is not enabled on the server: it refuses StartTLS", err)
	}
	return nil
}

// handshakeFailed takes a server that breaks off or answers in another way
// for one that does not speak TLS at this port.
func handshakeFailed(err error) error {
	_, other := errors.AsType[tls.RecordHeaderError](err)
	if other || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS is not enabled on this port of the server: it broke the handshake off", err)
	}
	return rotator.Classify(err)
}

// endWith makes everything on the connection fail once ctx is done, until
// stop is called.
func (c *connection) endWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		_ = c.raw.SetDeadline(time.Unix(1, 0)) // fails only on a closed one
	})
}

// do runs requests within ctx and classifies their failure.
func (c *connection) do(ctx context.Context, requests func() error) error {
	stop := c.endWith(ctx)
	defer stop()
	err := requests()
	if err == nil {
		return nil
	}
	return orTimeout(ctx, classify(err))
}

func orTimeout(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return rotator.Classify(ctx.Err())
	}
	return err
}

// bind logs in. The password policy's control tells of accounts that are
// locked or expired, where the server offers that.
func (c *connection) bind(ctx context.Context, name string, l rotator.Login) error {
	return c.do(ctx, func() error {
		request := ldap.NewSimpleBindRequest(name, l.Password.RevealText(), []ldap.Control{ldap.NewControlBeheraPasswordPolicy()})
		result, err := c.SimpleBind(request)
		if err == nil || result == nil {
			return err
		}
		policy, ok := ldap.FindControl(result.Controls, ldap.ControlTypeBeheraPasswordPolicy).(*ldap.ControlBeheraPasswordPolicy)
		if ok && policy.Error >= 0 {
			return rotator.NewFailure(rotator.CauseLocked, fmt.Sprintf("%d", policy.Error), policy.ErrorString, err)
		}
		return err
	})
}

// find searches for the one entry below base that the filter fits, and
// returns it with the attributes.
func (c *connection) find(ctx context.Context, base, filter, user string, attributes ...string) (*ldap.Entry, error) {
	if len(attributes) == 0 {
		attributes = []string{"1.1"} // none (RFC 4511, 4.5.1.8)
	}
	var found *ldap.SearchResult
	err := c.do(ctx, func() (err error) {
		found, err = c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 2, 0, false, filter, attributes, nil))
		if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
			err = nil // more than the one, as the number of entries tells
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(found.Entries) == 0:
		return nil, rotator.NewFailure(rotator.CauseMissingUser, "", fmt.Sprintf("no entry below %q is the user %q", base, user), nil)
	case len(found.Entries) > 1:
		return nil, rotator.NewFailure(rotator.CauseMissingUser, "", fmt.Sprintf("more than one entry below %q is the user %q", base, user), nil)
	}
	return found.Entries[0], nil
}

// read returns one entry by its name; "" is the server's own (RFC 4512, 5.1).
func (c *connection) read(ctx context.Context, dn string, attributes ...string) (*ldap.Entry, error) {
	var found *ldap.SearchResult
	err := c.do(ctx, func() (err error) {
		found, err = c.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false, "(objectClass=*)", attributes, nil))
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(found.Entries) == 0 {
		return nil, rotator.NewFailure(rotator.CausePermission, "", fmt.Sprintf("the entry %q cannot be read", dn), nil)
	}
	return found.Entries[0], nil
}

// isDN tells whether a name is a distinguished name.
func isDN(name string) bool {
	dn, err := ldap.ParseDN(name)
	return err == nil && len(dn.RDNs) > 0
}

// errAlternate is what engines answer to whom alternates their users: what a
// user of a directory may do hangs on its entry in more places than can be
// copied.
var errAlternate = rotator.NewFailure(rotator.CauseOther, "", "users of a directory do not alternate", nil)
