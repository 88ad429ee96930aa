package rotator_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// serverDouble is a server that users log in to, and the Engine for it. It
// keeps what a server keeps, and notes who tried to log in and what changed.
type serverDouble struct {
	kind      rotator.Kind
	passwords map[string]string // by user, or by port and user
	// byPort says that there is a server at each port, with users of its own.
	byPort bool
	grants map[string]string
	supers []string

	// refuse fails attempts before they reach the server; ways are encrypted
	// and plain.
	refuse func(ctx context.Context, user, way string) error
	// broken fails what is done by name: ping, password, create, copy, exists.
	broken map[string]error

	attempts, changes []string

	// open counts sessions; hanging ones close when their time is over.
	open  int
	hangs bool
}

func at(port int, user string) string { return fmt.Sprint(port, " ", user) }

func newServerDouble() *serverDouble {
	return &serverDouble{
		kind: rotator.Kind{
			Title: "Double DB", Accepts: []string{"double"}, Port: 1000, Database: "main",
			Passwords: rotator.PasswordRules{Length: 20, Exclude: `/@"'\`}, CloneLimit: 16,
		},
		passwords: map[string]string{"app": "first-password", "admin": "admin-password"},
		grants:    map[string]string{"app": "everything"}, supers: []string{"admin"}, broken: map[string]error{},
	}
}

func (d *serverDouble) Kind() rotator.Kind { return d.kind }

var errWrongPassword = rotator.NewFailure(rotator.CauseAuthentication, "X1", "wrong password", nil)

func (d *serverDouble) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.Session, error) {
	way := "encrypted"
	if secure == nil {
		way = "plain"
	}
	d.attempts = append(d.attempts, l.Username+" "+way)
	if d.refuse != nil {
		if err := d.refuse(ctx, l.Username, way); err != nil {
			return nil, err
		}
	}
	s := &sessionDouble{d, l.Port, l.Username}
	if password, ok := d.passwords[s.name(l.Username)]; !ok || password != l.Password.RevealText() {
		return nil, errWrongPassword
	}
	d.open++
	return s, nil
}

type sessionDouble struct {
	*serverDouble
	port int
	user string
}

// name is how the server keeps a user.
func (s *sessionDouble) name(user string) string {
	if s.byPort {
		return at(s.port, user)
	}
	return user
}

func (s *sessionDouble) Ping(context.Context) error { return s.broken["ping"] }

func (s *sessionDouble) SetOwnPassword(_ context.Context, l rotator.Login, next plaintext.Value) error {
	if s.user != l.Username {
		return errors.New("not the user that logged in")
	}
	return s.set("own password", s.user, next)
}

func (s *sessionDouble) SetPassword(_ context.Context, user string, next plaintext.Value) error {
	if !slices.Contains(s.supers, s.user) {
		return rotator.NewFailure(rotator.CausePermission, "X2", "not a superuser", nil)
	}
	return s.set("password", user, next)
}

func (s *sessionDouble) set(what, user string, next plaintext.Value) error {
	if err := s.broken["password"]; err != nil {
		return err
	}
	s.passwords[s.name(user)] = next.RevealText()
	s.changes = append(s.changes, what+" of "+user)
	return nil
}

func (s *sessionDouble) UserExists(_ context.Context, user string) (bool, error) {
	_, ok := s.passwords[s.name(user)]
	return ok, s.broken["exists"]
}

func (s *sessionDouble) CreateClone(_ context.Context, from rotator.Login, to string, password plaintext.Value) error {
	if err := s.broken["create"]; err != nil {
		return err
	}
	s.passwords[s.name(to)] = password.RevealText()
	s.changes = append(s.changes, "clone "+to+" of "+from.Username)
	return nil
}

func (s *sessionDouble) CopyGrants(_ context.Context, from rotator.Login, to string) error {
	if err := s.broken["copy"]; err != nil {
		return err
	}
	s.grants[to] = s.grants[from.Username]
	s.changes = append(s.changes, "grants of "+from.Username+" to "+to)
	return nil
}

func (s *sessionDouble) Close(ctx context.Context) error {
	s.open--
	if s.hangs {
		<-ctx.Done()
	}
	return ctx.Err()
}

func secret(user, password string, more ...any) map[string]any {
	value := map[string]any{"engine": "double", "host": "db.test", "username": user, "password": password}
	for i := 0; i < len(more); i += 2 {
		value[more[i].(string)] = more[i+1]
	}
	return value
}

// strategies makes each strategy over a fresh server, with its rotation begun.
var strategies = map[string]func(rotator.Engine) rotator.Rotator{
	"single":      func(e rotator.Engine) rotator.Rotator { return rotator.NewSingleUser(e) },
	"superuser":   func(e rotator.Engine) rotator.Rotator { return rotator.NewSuperuser(e) },
	"alternating": func(e rotator.Engine) rotator.Rotator { return rotator.NewAlternatingUsers(e) },
}

func newSteps(strategy string, settings rotator.Settings) (*serverDouble, *rotatortest.Steps) {
	d := newServerDouble()
	return d, rotatortest.NewSteps(strategies[strategy](d), secret("app", "first-password"), secret("admin", "admin-password"), settings)
}

// must runs steps that have to succeed.
func must(t *testing.T, s *rotatortest.Steps, steps ...string) {
	t.Helper()
	for _, step := range steps {
		if err := s.Step(t.Context(), step); err != nil {
			t.Fatalf("%s: %v\n%s", step, err, s.Log.String())
		}
	}
}

// failsAs demands a step's error, by its type and text.
func failsAs(t *testing.T, s *rotatortest.Steps, step, kind, text string) {
	t.Helper()
	err := s.Step(t.Context(), step)
	e, ok := errors.AsType[*rotator.Error](err)
	if !ok {
		t.Fatalf("%s: got %v, want a %s", step, err, kind)
	}
	if got, want := e.Type+": "+e.Text, kind+": "+text; got != want {
		t.Errorf("%s:\ngot  %s\nwant %s", step, got, want)
	}
}

// superuserARN is where newSteps puts the superuser's secret.
func superuserARN(s *rotatortest.Steps) string {
	return fmt.Sprint(s.Value(s.ARN, "AWSCURRENT")["masterarn"])
}
