package rotator

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// strategy holds what the strategies share.
type strategy struct {
	engine Engine
	// managed says that the secret is one that a database service keeps.
	managed bool
}

// load reads the current and the pending version.
func (s strategy) load(ctx context.Context, r *Rotation) (cur, next Login, err error) {
	if cur, err = s.loginOf(ctx, r, r.Current); err != nil {
		return cur, next, err
	}
	next, err = s.loginOf(ctx, r, r.Pending)
	return cur, next, err
}

// loginOf reads a version.
func (s strategy) loginOf(ctx context.Context, r *Rotation, read func(context.Context) (*Document, error)) (Login, error) {
	d, err := read(ctx)
	if err != nil {
		return Login{}, err
	}
	return s.login(ctx, r, d)
}

// login says where and as whom a version logs in. A managed secret holds only
// the credentials: the service that keeps it knows where the server is.
func (s strategy) login(ctx context.Context, r *Rotation, d *Document) (l Login, err error) {
	if s.managed && onlyCredentials(d) {
		if d, err = r.located(ctx, s.engine.Kind().Service, r.SecretID, d); err != nil {
			return Login{}, err
		}
	}
	return s.engine.Kind().Login(d)
}

// newPassword returns the current secret with another password.
func (s strategy) newPassword(ctx context.Context, r *Rotation) (*Document, error) {
	d, err := r.Current(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.login(ctx, r, d); err != nil {
		return nil, err
	}
	p, err := r.NewPassword(ctx, s.engine.Kind().Passwords)
	if err != nil {
		return nil, err
	}
	return d.With("password", p), nil
}

// done tells whether the pending version logs in already, because an earlier
// attempt set it. A login that the server refuses is no error.
func (s strategy) done(ctx context.Context, r *Rotation, next Login) (bool, *Failure, error) {
	session, err := r.Connect(ctx, s.engine, next, "pending")
	if f, ok := errors.AsType[*Failure](err); ok {
		return false, f, nil
	}
	if err != nil {
		return false, nil, err
	}
	r.Logf("AWSPENDING secret is already set as password in %s for secret arn %s.", s.engine.Kind().Title, r.SecretID)
	closeSession(ctx, session)
	return true, nil, nil
}

// sameHost guards against a pending version that would change a password on
// another server than the current one's.
func sameHost(cur, next Login) error {
	if cur.Host != next.Host || cur.Port != next.Port {
		return Invalid("Attempting to modify user for host %s other than current host %s", next.Host, cur.Host)
	}
	if !slices.Equal(cur.addresses(), next.addresses()) {
		return Invalid("Attempting to modify user on other nodes than those of the current version")
	}
	return nil
}

// Test proves that the pending version logs in and may work.
func (s strategy) Test(ctx context.Context, r *Rotation) error {
	next, err := s.loginOf(ctx, r, r.Pending)
	if err != nil {
		return err
	}
	r.Plan(1)
	session, err := r.Connect(ctx, s.engine, next, "pending")
	refused := Invalid("Unable to log into database with pending secret of secret ARN %s", r.SecretID)
	if f, ok := errors.AsType[*Failure](err); ok {
		return refused.Because(f)
	}
	if err != nil {
		return err
	}
	defer closeSession(ctx, session)
	if err := session.Ping(ctx); err != nil {
		return refused.Because(Classify(err))
	}
	r.Logf("Successfully signed into %s with AWSPENDING secret in %s.", s.engine.Kind().Title, r.SecretID)
	return nil
}

// passwordSet says so in the log.
func (s strategy) passwordSet(r *Rotation, user string) {
	r.Logf("Successfully set password for user %s in %s for secret arn %s.", user, s.engine.Kind().Title, r.SecretID)
}

// closeSession closes even when the step's time is over, so that no
// connection is left to the server's own timeout.
func closeSession(ctx context.Context, session Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	// What the session was for has been done or has failed by itself.
	_ = session.Close(ctx)
}

// refusals collects why logins failed, for one error about all of them.
type refusals struct {
	texts []string
	last  *Failure
}

func (c *refusals) add(label string, f *Failure) {
	if f == nil {
		return
	}
	c.texts = append(c.texts, label+": "+f.Error())
	c.last = f
}

// explain adds them to an error.
func (c *refusals) explain(e *Error) error {
	if c.last == nil {
		return e
	}
	return &Error{Type: e.Type, Text: e.Text + ": " + strings.Join(c.texts, "; "), Cause: c.last.Cause, err: c.last}
}

// setFailed makes the error of a password that could not be changed, for
// which the server is to blame.
func setFailed(r *Rotation, user string, err error) error {
	if _, ok := errors.AsType[*Failure](err); !ok {
		return err
	}
	return Invalid("Unable to set the password of user %s for secret arn %s", user, r.SecretID).Because(Classify(err))
}

// SingleUser changes the password of the user itself, by the user itself.
type SingleUser struct{ strategy }

// NewSingleUser makes the strategy for an engine.
func NewSingleUser(e Engine) *SingleUser { return &SingleUser{strategy{engine: e}} }

// NewManaged makes the strategy for the master user's secret that RDS keeps,
// which holds only username and password.
func NewManaged(e Engine) *SingleUser { return &SingleUser{strategy{engine: e, managed: true}} }

// Create implements Rotator.
func (s *SingleUser) Create(ctx context.Context, r *Rotation) (plaintext.Value, error) {
	return value(s.newPassword(ctx, r))
}

func value(d *Document, err error) (plaintext.Value, error) {
	if err != nil {
		return plaintext.Value{}, err
	}
	return d.Value(), nil
}

// Set implements Rotator: it logs in with the pending, else the current, else
// the previous version, and sets the pending password.
func (s *SingleUser) Set(ctx context.Context, r *Rotation) error {
	cur, next, err := s.load(ctx, r)
	if err != nil {
		return err
	}
	r.Plan(3)
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
	defer closeSession(ctx, session)
	if err := session.SetOwnPassword(ctx, as, next.Password); err != nil {
		return setFailed(r, next.Username, err)
	}
	s.passwordSet(r, next.Username)
	return nil
}

// sameUser guards against a pending version that names another user or
// server than the current one.
func sameUser(cur, next Login) error {
	if cur.Username != next.Username {
		return Invalid("Attempting to modify user %s other than current user %s", next.Username, cur.Username)
	}
	return sameHost(cur, next)
}

// enter logs in with the current or else the previous version, and returns as
// which. Unlike AWS's templates it compares the previous version with the
// pending one only where that has logged in.
func (s strategy) enter(ctx context.Context, r *Rotation, cur, next Login, pendingRefused *Failure) (Session, Login, error) {
	why := &refusals{}
	why.add("pending", pendingRefused)
	session, err := r.Connect(ctx, s.engine, cur, "current")
	f, refused := errors.AsType[*Failure](err)
	if !refused {
		return session, cur, err
	}
	why.add("current", f)
	d, err := r.Previous(ctx)
	if err != nil {
		return nil, Login{}, err
	}
	if d == nil {
		d = &Document{} // which is no login
	}
	if prev, err := s.login(ctx, r, d); err == nil {
		prev.TLS = cur.TLS
		session, err := r.Connect(ctx, s.engine, prev, "previous")
		f, refused := errors.AsType[*Failure](err)
		switch {
		case err == nil:
			return s.asPrevious(ctx, session, prev, next)
		case !refused:
			return nil, Login{}, err
		}
		why.add("previous", f)
	}
	return nil, Login{}, why.explain(Invalid("Unable to log into database with previous, current, or pending secret of secret arn %s", r.SecretID))
}

func (s strategy) asPrevious(ctx context.Context, session Session, prev, next Login) (Session, Login, error) {
	var err error
	switch {
	case prev.Username != next.Username:
		err = Invalid("Attempting to modify user %s other than previous valid user %s", next.Username, prev.Username)
	case prev.Host != next.Host, prev.Port != next.Port, !slices.Equal(prev.addresses(), next.addresses()):
		err = Invalid("Attempting to modify user for host %s other than previous valid host %s", next.Host, prev.Host)
	default:
		return session, prev, nil
	}
	closeSession(ctx, session)
	return nil, Login{}, err
}
