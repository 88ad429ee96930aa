package rotator

import (
	"context"
	"crypto/tls"
	"errors"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// OverlapEngine is an Engine whose users can have several passwords at once.
type OverlapEngine interface {
	// Kind and Connect are as Engine's.
	Kind() Kind
	Connect(ctx context.Context, l Login, secure *tls.Config) (OverlapSession, error)
}

// OverlapSession is a login to an OverlapEngine. What Session says of its
// methods holds for these.
type OverlapSession interface {
	// Ping and Close are as Session's.
	Ping(ctx context.Context) error
	Close(ctx context.Context) error
	// SetPasswords makes exactly these passwords of the user valid, in one
	// step: there is no instant at which one that stays valid is not.
	SetPasswords(ctx context.Context, user string, passwords ...plaintext.Value) error
	// Persist makes the server keep its users over a restart. lasting is
	// false where it has no place to.
	Persist(ctx context.Context) (lasting bool, err error)
}

// OverlapPasswords gives one user two valid passwords: that of the current
// version and that of the pending one, which becomes the current one. So
// whoever has read the secret before a rotation can log in until the next
// one, without a second user. The change is made by the superuser whose
// secret masterarn names, or without one by the user itself.
type OverlapPasswords struct{ strategy }

// NewOverlapPasswords makes the strategy for an engine.
func NewOverlapPasswords(e OverlapEngine) *OverlapPasswords {
	return &OverlapPasswords{strategy{engine: overlapEngine{e}}}
}

// Create implements Rotator.
func (s *OverlapPasswords) Create(ctx context.Context, r *Rotation) (plaintext.Value, error) {
	return value(s.newPassword(ctx, r))
}

// Set implements Rotator. A version that logs in is demanded first, as by
// Superuser. Even where the pending one does, everything is done again: an
// earlier attempt may have died on some node, or before the server kept it.
func (s *OverlapPasswords) Set(ctx context.Context, r *Rotation) error {
	cur, next, err := s.load(ctx, r)
	if err != nil {
		return err
	}
	if err := sameUser(cur, next); err != nil {
		return err
	}
	r.Plan(4)
	session, err := s.loggedIn(ctx, r, cur, next)
	if err != nil {
		return err
	}
	return s.change(ctx, r, session, cur, cur.Password, next.Password)
}

// loggedIn logs in with the pending version, else the current one, else the
// previous one.
func (s *OverlapPasswords) loggedIn(ctx context.Context, r *Rotation, cur, next Login) (Session, error) {
	session, err := r.Connect(ctx, s.engine, next, "pending")
	refused, ok := errors.AsType[*Failure](err)
	if ok {
		session, _, err = s.enter(ctx, r, cur, next, refused)
		return session, err
	}
	if err != nil {
		return nil, err
	}
	if err := session.Ping(ctx); err != nil {
		closeSession(ctx, session)
		return nil, setFailed(r, next.Username, err)
	}
	r.Logf("AWSPENDING secret is already set as password in %s for secret arn %s.", s.engine.Kind().Title, r.SecretID)
	return session, nil
}

// change sets the passwords of the current version's user, by the superuser
// if there is one, else by the session, which it closes.
func (s *OverlapPasswords) change(ctx context.Context, r *Rotation, session Session, cur Login, passwords ...plaintext.Value) error {
	if cur.Document.Text("masterarn") != "" {
		closeSession(ctx, session)
		var err error
		if session, err = s.enterAsSuperuser(ctx, r, cur, cur); err != nil {
			return err
		}
	}
	defer closeSession(ctx, session)
	by := session.(overlapSession)
	if err := by.SetPasswords(ctx, cur.Username, passwords...); err != nil {
		return setFailed(r, cur.Username, err)
	}
	lasting, err := by.Persist(ctx)
	if err != nil {
		return Invalid("The password of user %s is set for secret arn %s, but would be lost when the server restarts", cur.Username, r.SecretID).
			Because(Classify(err))
	}
	if !lasting {
		r.Warnf("The password of user %s will be lost when the server restarts, because the server has no file to keep its users in", cur.Username)
	}
	s.passwordSet(r, cur.Username)
	return nil
}

// ReplacePassword is OverlapPasswords for as long as a rotation takes: once
// the pending version is the current one, its password is the only one. At
// no instant does AWSCURRENT not log in.
type ReplacePassword struct{ *OverlapPasswords }

// NewReplacePassword makes the strategy for an engine.
func NewReplacePassword(e OverlapEngine) ReplacePassword {
	return ReplacePassword{NewOverlapPasswords(e)}
}

// Finish implements Finisher.
func (s ReplacePassword) Finish(ctx context.Context, r *Rotation) error {
	cur, err := s.loginOf(ctx, r, r.Current)
	if err != nil {
		return err
	}
	r.Plan(2)
	session, err := r.Connect(ctx, s.engine, cur, "current")
	if f, ok := errors.AsType[*Failure](err); ok {
		return Invalid("Unable to log into database using current credentials for secret %s", r.SecretID).Because(f)
	}
	if err != nil {
		return err
	}
	return s.change(ctx, r, session, cur, cur.Password)
}

// overlapEngine lets the parts that strategies share log in to an
// OverlapEngine.
type overlapEngine struct{ OverlapEngine }

// Connect implements Engine.
func (e overlapEngine) Connect(ctx context.Context, l Login, secure *tls.Config) (Session, error) {
	s, err := e.OverlapEngine.Connect(ctx, l, secure)
	if err != nil {
		return nil, err
	}
	return overlapSession{s}, nil
}

// overlapSession is an OverlapSession as a Session. A user with several
// passwords needs no clone, and has none.
type overlapSession struct{ OverlapSession }

// SetOwnPassword implements Session.
func (s overlapSession) SetOwnPassword(ctx context.Context, l Login, next plaintext.Value) error {
	return s.SetPasswords(ctx, l.Username, next)
}

// SetPassword implements Session.
func (s overlapSession) SetPassword(ctx context.Context, user string, next plaintext.Value) error {
	return s.SetPasswords(ctx, user, next)
}

var errNoClone = NewFailure(CauseOther, "", "users of this server are not cloned", nil)

// UserExists implements Session.
func (overlapSession) UserExists(context.Context, string) (bool, error) { return false, errNoClone }

// CreateClone implements Session.
func (overlapSession) CreateClone(context.Context, Login, string, plaintext.Value) error {
	return errNoClone
}

// CopyGrants implements Session.
func (overlapSession) CopyGrants(context.Context, Login, string) error { return errNoClone }
