package rehearse

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/mysql"
	"github.com/keyturn/keyturn/internal/rotator/postgres"
)

// Shadow says which user of a live database gets shadows. The user itself is
// only read.
type Shadow struct {
	// Engine is postgres, mysql or mariadb.
	Engine string
	// Secret is the user's secret; its password is neither used nor changed.
	Secret map[string]any
	// Superuser is the secret of a user who may make and drop users.
	Superuser map[string]any
	// CAFile holds the authority of the database's certificate; "" for the
	// system's.
	CAFile string
}

// shadows are temporary users of a live database with the grants of a real
// one.
type shadows struct {
	*database
	// real is the real user's name, before its fingerprint at the start.
	real, before string
}

// newShadow checks that the live database can be used; it makes nothing yet.
func newShadow(ctx context.Context, o Options) (target, error) {
	s := o.Shadow
	var engine rotator.Engine
	switch s.Engine {
	case "postgres":
		engine = postgres.New()
	case "mysql":
		engine = mysql.New()
	case "mariadb":
		engine = mysql.NewMariaDB()
	default:
		return nil, fmt.Errorf("shadow users can be made in postgres, mysql and mariadb, and not in %q", s.Engine)
	}
	kind := engine.Kind()
	d := &database{kind: kind, name: s.Engine, enter: entrance(engine), caFile: s.CAFile, shadow: true}
	d.host, d.port, d.dbname = text(s.Secret["host"]), kind.Port, text(s.Secret["dbname"])
	if p := text(s.Secret["port"]); p != "" {
		if _, err := fmt.Sscanf(p, "%d", &d.port); err != nil {
			return nil, fmt.Errorf("the secret's port %q is no number", p)
		}
	}
	if err := errors.Join(sameServer(s, d.host, d.port, kind.Port), refuseLeaks(s, o.Function.Environment)); err != nil {
		return nil, err
	}
	if err := d.trust(s); err != nil {
		return nil, err
	}
	real, err := d.read(s.Secret)
	if err != nil {
		return nil, fmt.Errorf("the user's secret: %w", err)
	}
	d.admin = &accounts{engine: engine, secret: s.Superuser, model: s.Secret, grants: true,
		prefix: "kt_rehearse_" + strings.ToLower(rand.Text()[:6]) + "_"}
	admin, err := d.read(s.Superuser)
	if err != nil {
		return nil, fmt.Errorf("the superuser's secret: %w", err)
	}
	if admin.Username == real.Username {
		return nil, errors.New("the superuser's secret is of the user that is to be shadowed: give one of another user")
	}
	session, err := d.asSuperuser(ctx)
	if err != nil {
		return nil, err
	}
	defer session.Close(ctx)
	there, err := session.UserExists(ctx, real.Username)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, fmt.Errorf("the database has no user %s", real.Username)
	}
	made := &shadows{database: d, real: real.Username}
	if err := made.remember(ctx, session); err != nil {
		return nil, err
	}
	o.Progress(fmt.Sprintf("shadow users of %s will be called %s*; what is left of them after a crash can be dropped", real.Username, d.admin.prefix))
	return made, nil
}

// trust makes the TLS settings. It is off only where both secrets say so: the
// user's alone must not have the superuser's password sent in the clear.
func (d *database) trust(s *Shadow) error {
	if plainly(s.Secret) && plainly(s.Superuser) {
		return nil
	}
	if s.CAFile != "" {
		secure, err := trusting(s.CAFile, d.host)
		d.secure = secure
		return err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return fmt.Errorf("reading the system's authorities: %w", err)
	}
	d.secure = &tls.Config{RootCAs: roots, ServerName: d.host, MinVersion: tls.VersionTLS12}
	return nil
}

// address implements target. A certificate names the database's host, which
// the wire is not, unless both are this machine.
func (s *shadows) address() string {
	if s.secure != nil && s.host != wireHost {
		return ""
	}
	return s.database.address()
}

// create implements target: the secret has the real one's members that lead to
// the server, and another user.
func (s *shadows) create(ctx context.Context, password string) (secret, superuser value, err error) {
	made, superuser, err := s.database.create(ctx, password)
	if err != nil {
		return nil, nil, err
	}
	secret = value{}
	for _, member := range copied {
		if v, has := s.admin.model[member]; has {
			secret[member] = v
		}
	}
	secret["username"], secret["password"] = made["username"], made["password"]
	return secret, superuser, nil
}

// setPassword implements target, for shadows only.
func (s *shadows) setPassword(ctx context.Context, secret value, password string) error {
	if !strings.HasPrefix(text(secret["username"]), s.admin.prefix) {
		return fmt.Errorf("%s is no shadow user: its password is not touched", text(secret["username"]))
	}
	return s.database.setPassword(ctx, secret, password)
}

// dropTime bounds the removal of all shadows.
const dropTime = time.Minute

// close drops every user that was made, with its clone, also after a failure
// or a signal.
func (s *shadows) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), dropTime)
	defer cancel()
	session, err := s.asSuperuser(ctx)
	if err != nil {
		return fmt.Errorf("removing the shadow users %s*: %w", s.admin.prefix, err)
	}
	defer session.Close(ctx)
	failed := []error{s.compare(ctx, session)}
	for n := range s.count.Load() {
		name := fmt.Sprintf("%s%d", s.admin.prefix, n+1)
		for _, user := range []string{name + "_clone", name} {
			there, err := session.UserExists(ctx, user)
			if err == nil && there {
				err = session.(keeper).DropUser(ctx, user)
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("removing the shadow user %s: %w", user, rotator.Classify(err)))
			}
		}
	}
	return errors.Join(failed...)
}
