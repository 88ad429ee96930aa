package rotator

import (
	"context"
	"errors"
	"slices"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// Superuser changes the password of the secret's user through the superuser
// whose secret masterarn names: for users that may not change their own, and
// engines where nobody can.
type Superuser struct{ strategy }

// NewSuperuser makes the strategy for an engine.
func NewSuperuser(e Engine) *Superuser { return &Superuser{strategy{engine: e}} }

// Create implements Rotator.
func (s *Superuser) Create(ctx context.Context, r *Rotation) (plaintext.Value, error) {
	return value(s.newPassword(ctx, r))
}

// Set implements Rotator. A version that logs in is demanded first, the
// current or else the previous one: whoever may only write the secret must
// not be able to take over any user of the server by the superuser's hand.
func (s *Superuser) Set(ctx context.Context, r *Rotation) error {
	cur, next, err := s.load(ctx, r)
	if err != nil {
		return err
	}
	r.Plan(4)
	set, refused, err := s.done(ctx, r, next)
	if set || err != nil {
		return err
	}
	if err := sameUser(cur, next); err != nil {
		return err
	}
	session, as, err := s.enter(ctx, r, cur, next, refused)
	if err != nil {
		return err
	}
	closeSession(ctx, session)
	session, err = s.enterAsSuperuser(ctx, r, cur, as)
	if err != nil {
		return err
	}
	defer closeSession(ctx, session)
	if err := session.SetPassword(ctx, next.Username, next.Password); err != nil {
		return setFailed(r, next.Username, err)
	}
	s.passwordSet(r, next.Username)
	return nil
}

// enterAsSuperuser logs in with the secret that the current version's
// masterarn names. as is the version that has logged in.
func (s strategy) enterAsSuperuser(ctx context.Context, r *Rotation, cur, as Login) (Session, error) {
	arn := cur.Document.Text("masterarn")
	if arn == "" {
		return nil, MissingKey("masterarn")
	}
	master, err := s.superuser(ctx, r, cur, arn)
	if err != nil {
		return nil, err
	}
	if err := s.prove(ctx, r, as, master); err != nil {
		return nil, err
	}
	session, err := r.Connect(ctx, s.engine, master, "superuser's")
	if f, ok := errors.AsType[*Failure](err); ok {
		return nil, Invalid("Unable to log into database using credentials in %s secret %s", s.engine.Kind().Service.superuser(), arn).Because(f)
	}
	return session, err
}

// prove logs in, as the user did at its own host, at the superuser's where
// RDS alone says that the one replicates the other. Whoever may register
// servers could make it say so of a server of their own, at which anybody
// logs in; a replica has its users from the superuser's server.
func (s strategy) prove(ctx context.Context, r *Rotation, as, master Login) error {
	if s.engine.Kind().UsersPerNode || sameName(as.Host, master.Host) || r.primaryNamed(as, master) {
		return nil
	}
	as.Host, as.Port = master.Host, master.Port
	r.attempts += 2 // which are not in the step's plan
	session, err := r.Connect(ctx, s.engine, as, "current")
	if f, ok := errors.AsType[*Failure](err); ok {
		return Invalid("Unable to log into database using the credentials of secret %s at the host %s of the %s, of which RDS says that its own host is a replica",
			r.SecretID, master.Host, s.engine.Kind().Service.superuser()).Because(f)
	}
	if err != nil {
		return err
	}
	closeSession(ctx, session)
	return nil
}

// superuser reads the superuser's secret and checks that it is of the same
// server.
func (s strategy) superuser(ctx context.Context, r *Rotation, cur Login, arn string) (Login, error) {
	kind := s.engine.Kind()
	d, err := r.DocumentOf(ctx, arn)
	if err != nil {
		return Login{}, err
	}
	if incomplete(kind.Service, d) {
		if d, err = r.located(ctx, kind.Service, arn, d); err != nil {
			return Login{}, err
		}
	}
	master, err := kind.Login(d)
	if err != nil {
		return Login{}, err
	}
	master.Users = cur.Database
	if !kind.KeepsAdminDatabase {
		master.Database = cur.Database
	}
	if kind.UsersPerNode {
		return master, sameNodes(cur, master, arn)
	}
	if same, err := r.sameServer(ctx, kind, cur, master); err != nil || same {
		return master, err
	}
	relation := "as/rds replica of"
	if kind.KeepsAdminDatabase || kind.Service == Redshift {
		relation = "as" // AWS: the templates of MongoDB and Redshift look for no replicas
	}
	return Login{}, Invalid("Current database host %s is not the same host %s %s %s", cur.Host, relation, kind.Service.superuser(), master.Host)
}

// sameNodes guards the superuser's password: it goes only to where its own
// secret says, never to an address that the user's secret alone names.
func sameNodes(cur, master Login, arn string) error {
	if slices.Equal(cur.addresses(), master.addresses()) {
		return nil
	}
	return Invalid("Current database host %s is not the same host as master %s: host, port and nodes of master secret %s must name the same nodes",
		cur.Host, master.Host, arn)
}
