package directory

import (
	"context"
	"crypto/tls"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// LDAP is any LDAP server that has the Password Modify operation (RFC 3062).
//
// The secret's username is the user's distinguished name, or a name that
// userFilter finds below baseDN for whoever has not logged in yet. Without a
// port it is 636 for LDAPS and 389 for plain LDAP; at port 389, or with
// startTLS true, an encrypted connection begins with StartTLS.
type LDAP struct{}

// NewLDAP makes the engine.
func NewLDAP() rotator.Engine { return LDAP{} }

// Kind implements rotator.Engine.
func (LDAP) Kind() rotator.Kind {
	return rotator.Kind{
		Title: "LDAP directory", Accepts: []string{"ldap"}, OneTLS: true, OnePorts: []int{0, ldapPort, ldapsPort},
		Passwords: rotator.PasswordRules{Length: 32, Exclude: passwordExclude},
	}
}

// passwordExclude are the characters that AWS's templates leave out.
const passwordExclude = `/@"'\`

// Connect implements rotator.Engine.
func (LDAP) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.Session, error) {
	c, err := dial(ctx, l, secure)
	if err != nil {
		return nil, err
	}
	s := &ldapSession{connection: c, login: l}
	if s.dn, err = s.resolve(ctx, l.Username); err == nil {
		err = c.bind(ctx, s.dn, l)
	}
	if err != nil {
		_ = c.Conn.Close() // the error says more
		return nil, err
	}
	return s, nil
}

type ldapSession struct {
	*connection
	login rotator.Login
	dn    string
}

// defaultFilter finds users by the name that RFC 4519 has for logins.
const defaultFilter = "(uid=%s)"

// resolve finds a user's distinguished name.
func (s *ldapSession) resolve(ctx context.Context, user string) (string, error) {
	if isDN(user) {
		return user, nil
	}
	base := s.login.Document.Text("baseDN")
	if base == "" {
		root, err := s.read(ctx, "", "namingContexts")
		if err != nil {
			return "", err
		}
		contexts := root.GetAttributeValues("namingContexts")
		if len(contexts) != 1 {
			return user, nil // some servers know other names; this one says so if not
		}
		base = contexts[0]
	}
	filter := s.login.Document.Text("userFilter")
	if filter == "" {
		filter = defaultFilter
	}
	e, err := s.find(ctx, base, strings.ReplaceAll(filter, "%s", ldap.EscapeFilter(user)), user)
	if err != nil {
		return "", err
	}
	return e.DN, nil
}

// Ping implements rotator.Session: the server says who has logged in, or lets
// the user read its own entry.
func (s *ldapSession) Ping(ctx context.Context) error {
	err := s.do(ctx, func() error {
		who, err := s.WhoAmI(nil)
		if err == nil && who.AuthzID == "" {
			return rotator.NewFailure(rotator.CauseAuthentication, "", "the server takes the login for an anonymous one", nil)
		}
		return err
	})
	if f, ok := err.(*rotator.Failure); ok && f.Cause == causeUnsupported {
		_, err = s.read(ctx, s.dn, "1.1")
	}
	return err
}

// SetOwnPassword implements rotator.Session.
func (s *ldapSession) SetOwnPassword(ctx context.Context, l rotator.Login, next plaintext.Value) error {
	return s.modify(ctx, ldap.NewPasswordModifyRequest("", l.Password.RevealText(), next.RevealText()))
}

// SetPassword implements rotator.Session.
func (s *ldapSession) SetPassword(ctx context.Context, user string, next plaintext.Value) error {
	dn, err := s.resolve(ctx, user)
	if err != nil {
		return err
	}
	return s.modify(ctx, ldap.NewPasswordModifyRequest(dn, "", next.RevealText()))
}

func (s *ldapSession) modify(ctx context.Context, request *ldap.PasswordModifyRequest) error {
	err := s.do(ctx, func() error {
		_, err := s.PasswordModify(request)
		return err
	})
	if f, ok := err.(*rotator.Failure); ok && f.Cause == causeUnsupported {
		return rotator.NewFailure(rotator.CauseOther, f.Code, "the server has no operation to change passwords (RFC 3062): "+f.Text, f)
	}
	return err
}

// UserExists implements rotator.Session.
func (s *ldapSession) UserExists(ctx context.Context, user string) (bool, error) {
	dn, err := s.resolve(ctx, user)
	if err == nil {
		_, err = s.read(ctx, dn, "1.1")
	}
	if f, ok := err.(*rotator.Failure); ok && f.Cause == rotator.CauseMissingUser {
		return false, nil
	}
	return err == nil, err
}

// CreateClone implements rotator.Session by refusing.
func (*ldapSession) CreateClone(context.Context, rotator.Login, string, plaintext.Value) error {
	return errAlternate
}

// CopyGrants implements rotator.Session by refusing.
func (*ldapSession) CopyGrants(context.Context, rotator.Login, string) error { return errAlternate }

// Close implements rotator.Session.
func (s *ldapSession) Close(context.Context) error { return s.Conn.Close() }
