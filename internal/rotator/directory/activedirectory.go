package directory

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"strings"
	"unicode/utf16"

	"github.com/go-ldap/ldap/v3"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// ActiveDirectory is Microsoft's, or Samba's, on a domain controller.
//
// The secret's username is a sAMAccountName, a user principal name,
// DOMAIN\name or a distinguished name. Passwords change on encrypted
// connections only, which is the server's own rule: LDAPS at port 636 unless
// the secret says otherwise.
type ActiveDirectory struct{}

// NewActiveDirectory makes the engine.
func NewActiveDirectory() rotator.Engine { return ActiveDirectory{} }

// Kind implements rotator.Engine.
func (ActiveDirectory) Kind() rotator.Kind {
	return rotator.Kind{
		Title: "Active Directory", Accepts: []string{"activedirectory"}, OneTLS: true, OnePorts: []int{0, ldapPort, ldapsPort},
		Passwords: rotator.PasswordRules{Length: 32, Exclude: passwordExclude},
	}
}

// Connect implements rotator.Engine.
func (ActiveDirectory) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.Session, error) {
	if secure == nil {
		return nil, rotator.NewFailure(rotator.CauseTLSRequired, "",
			"Active Directory changes passwords on encrypted connections only, and the secret's ssl member is false", nil)
	}
	c, err := dial(ctx, l, secure)
	if err != nil {
		return nil, err
	}
	s := &domainSession{connection: c}
	if err := s.enter(ctx, l); err != nil {
		_ = c.Conn.Close() // the error says more
		return nil, err
	}
	return s, nil
}

// domainSession is a login to a domain.
type domainSession struct {
	*connection
	user string // as the secret names it
	base string // the domain's distinguished name
}

func (s *domainSession) enter(ctx context.Context, l rotator.Login) error {
	root, err := s.read(ctx, "", "defaultNamingContext")
	if err != nil {
		return err
	}
	s.user, s.base = l.Username, root.GetAttributeValue("defaultNamingContext")
	if s.base == "" {
		return rotator.NewFailure(rotator.CauseOther, "", "the server is no Active Directory domain controller: it has no defaultNamingContext", nil)
	}
	return s.bind(ctx, s.bindName(l.Username), l)
}

// bindName completes an account's name to one that the server takes.
func (s *domainSession) bindName(user string) string {
	if isDN(user) || strings.ContainsAny(user, `@\`) {
		return user
	}
	return user + "@" + s.domain()
}

// domain is the domain's DNS name.
func (s *domainSession) domain() string {
	dn, err := ldap.ParseDN(s.base)
	if err != nil {
		return ""
	}
	var labels []string
	for _, rdn := range dn.RDNs {
		for _, a := range rdn.Attributes {
			if strings.EqualFold(a.Type, "dc") {
				labels = append(labels, a.Value)
			}
		}
	}
	return strings.Join(labels, ".")
}

// account finds a user's entry.
func (s *domainSession) account(ctx context.Context, user string) (*ldap.Entry, error) {
	if isDN(user) {
		return s.read(ctx, user, "sAMAccountName")
	}
	name := user
	if _, after, ok := strings.Cut(user, `\`); ok {
		name = after
	}
	if local, domain, ok := strings.Cut(name, "@"); ok {
		e, err := s.find(ctx, s.base, "(&(objectClass=user)(userPrincipalName="+ldap.EscapeFilter(name)+"))", user, "sAMAccountName")
		if f, no := err.(*rotator.Failure); !no || f.Cause != rotator.CauseMissingUser || !strings.EqualFold(domain, s.domain()) {
			return e, err
		}
		name = local // the name that every account has without being given one
	}
	return s.find(ctx, s.base, "(&(objectClass=user)(sAMAccountName="+ldap.EscapeFilter(name)+"))", user, "sAMAccountName")
}

// Ping implements rotator.Session: the user reads its own entry.
func (s *domainSession) Ping(ctx context.Context) error {
	_, err := s.account(ctx, s.user)
	return err
}

// SetOwnPassword implements rotator.Session: taking the old value away and
// adding the new one in one request is how a user changes its own.
func (s *domainSession) SetOwnPassword(ctx context.Context, l rotator.Login, next plaintext.Value) error {
	return s.modify(ctx, l.Username, func(m *ldap.ModifyRequest) {
		m.Delete("unicodePwd", []string{quoted(l.Password)})
		m.Add("unicodePwd", []string{quoted(next)})
	})
}

// SetPassword implements rotator.Session: replacing the value is a reset,
// which the right "Reset password" on the entry allows.
func (s *domainSession) SetPassword(ctx context.Context, user string, next plaintext.Value) error {
	return s.modify(ctx, user, func(m *ldap.ModifyRequest) { m.Replace("unicodePwd", []string{quoted(next)}) })
}

func (s *domainSession) modify(ctx context.Context, user string, change func(*ldap.ModifyRequest)) error {
	e, err := s.account(ctx, user)
	if err != nil {
		return err
	}
	m := ldap.NewModifyRequest(e.DN, nil)
	change(m)
	return s.do(ctx, func() error { return s.Modify(m) })
}

// quoted is a password as unicodePwd takes it: in double quotes, as UTF-16.
func quoted(p plaintext.Value) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(`"` + p.RevealText() + `"`)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return string(b)
}

// UserExists implements rotator.Session.
func (s *domainSession) UserExists(ctx context.Context, user string) (bool, error) {
	_, err := s.account(ctx, user)
	if f, ok := err.(*rotator.Failure); ok && f.Cause == rotator.CauseMissingUser {
		return false, nil
	}
	return err == nil, err
}

// CreateClone implements rotator.Session by refusing.
func (*domainSession) CreateClone(context.Context, rotator.Login, string, plaintext.Value) error {
	return errAlternate
}

// CopyGrants implements rotator.Session by refusing.
func (*domainSession) CopyGrants(context.Context, rotator.Login, string) error { return errAlternate }

// Close implements rotator.Session.
func (s *domainSession) Close(context.Context) error { return s.Conn.Close() }
