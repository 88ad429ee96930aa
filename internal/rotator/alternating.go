package rotator

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// AlternatingUsers alternates between two users with the same privileges, so
// that whoever has read the secret before a rotation can log in until the
// next one. The second user is made in the first rotation; a superuser, whose
// secret masterarn names, does all the work.
type AlternatingUsers struct{ strategy }

// NewAlternatingUsers makes the strategy for an engine.
func NewAlternatingUsers(e Engine) *AlternatingUsers { return &AlternatingUsers{strategy{engine: e}} }

// Create implements Rotator: the pending version is of the other user.
func (s *AlternatingUsers) Create(ctx context.Context, r *Rotation) (plaintext.Value, error) {
	d, err := s.newPassword(ctx, r)
	if err != nil {
		return plaintext.Value{}, err
	}
	if !d.Has("masterarn") {
		return plaintext.Value{}, MissingKey("masterarn")
	}
	other, err := s.engine.Kind().alternate(d.Text("username"), r.Settings)
	if err != nil {
		return plaintext.Value{}, err
	}
	return d.With("username", other).Value(), nil
}

// alternate names the other user of a pair.
func (k Kind) alternate(user string, settings Settings) (string, error) {
	suffix := k.CloneSuffix
	if suffix == "" {
		suffix = "_clone"
	}
	if k.CloneUpper {
		user = strings.ToUpper(user)
	}
	if original, ok := strings.CutSuffix(user, suffix); ok {
		return original, nil
	}
	limit := k.CloneLimit
	if k.CloneLimitVariable != "" {
		var err error
		if limit, err = settings.Number(k.CloneLimitVariable, limit); err != nil {
			return "", err
		}
	}
	clone := user + suffix
	length := utf8.RuneCountInString(clone)
	if k.CloneBytes {
		length = len(clone)
	}
	if limit > 0 && length > limit {
		return "", Invalid("Unable to clone user, username length with %s appended would exceed %d characters", suffix, limit)
	}
	return clone, nil
}

// Set implements Rotator. The current version has to log in first: whoever
// may only write the secret must not be able to make users by the superuser's
// hand.
func (s *AlternatingUsers) Set(ctx context.Context, r *Rotation) error {
	cur, next, err := s.load(ctx, r)
	if err != nil {
		return err
	}
	r.Plan(3)
	set, _, err := s.done(ctx, r, next)
	if set || err != nil {
		return err
	}
	if err := s.mayAlternate(r, cur, next); err != nil {
		return err
	}
	session, err := r.Connect(ctx, s.engine, cur, "current")
	if f, ok := errors.AsType[*Failure](err); ok {
		return Invalid("Unable to log into database using current credentials for secret %s", r.SecretID).Because(f)
	}
	if err != nil {
		return err
	}
	closeSession(ctx, session)
	session, err = s.enterAsSuperuser(ctx, r, cur, cur)
	if err != nil {
		return err
	}
	defer closeSession(ctx, session)
	// Whatever would fail anyhow has failed by now, and not after the hold.
	if err := r.hold(ctx, next.Username); err != nil {
		return err
	}
	if err := s.prepare(ctx, r, session, cur, next); err != nil {
		return setFailed(r, next.Username, err)
	}
	r.Logf("Successfully set password for %s in %s for secret arn %s.", next.Username, s.engine.Kind().Title, r.SecretID)
	return nil
}

func (s *AlternatingUsers) mayAlternate(r *Rotation, cur, next Login) error {
	other, err := s.engine.Kind().alternate(cur.Username, r.Settings)
	if err != nil {
		return err
	}
	if next.Username != other {
		return Invalid("Attempting to modify user %s other than current user or clone %s", next.Username, cur.Username)
	}
	return sameHost(cur, next)
}

// prepare makes the pending user what it has to be. The password comes last:
// once it logs in, a repeated step takes everything as done.
func (s *AlternatingUsers) prepare(ctx context.Context, r *Rotation, session Session, cur, next Login) error {
	exists, err := session.UserExists(ctx, next.Username)
	if err != nil {
		return err
	}
	if !exists {
		throwaway, err := r.NewPassword(ctx, s.engine.Kind().Passwords)
		if err != nil {
			return err
		}
		if err := session.CreateClone(ctx, cur, next.Username, throwaway); err != nil {
			return err
		}
		r.Logf("Created user %s beside %s.", next.Username, cur.Username)
	}
	copies, err := s.copies(ctx, r, exists, next)
	if err != nil {
		return err
	}
	if copies {
		if err := session.CopyGrants(ctx, cur, next.Username); err != nil {
			return err
		}
	}
	if a, ok := session.(Adviser); ok {
		for _, text := range a.Advice(ctx, cur, next.Username) {
			r.Warnf("%s", text)
		}
	}
	return session.SetPassword(ctx, next.Username, next.Password)
}

// copies tells whether privileges are to be copied: where the engine does so
// each time, where KEYTURN_SYNC_PRIVILEGES asks for it, and as long as no
// version has used the user: an earlier attempt may have made it and died.
func (s *AlternatingUsers) copies(ctx context.Context, r *Rotation, exists bool, next Login) (bool, error) {
	if !exists || s.engine.Kind().GrantsEachTime || r.Settings.Flag("KEYTURN_SYNC_PRIVILEGES", false) {
		return true, nil
	}
	d, err := r.Previous(ctx)
	if err != nil {
		return false, err
	}
	return d == nil || d.Text("username") != next.Username, nil
}
