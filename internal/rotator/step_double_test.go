package rotator_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// A previous version of another server at the same host logs in there, and
// must not have its password changed.
func TestPreviousOfAnotherPort(t *testing.T) {
	d := newServerDouble()
	d.byPort, d.passwords = true, map[string]string{at(2, "app"): "old"}
	s := rotatortest.NewSteps(rotator.NewSingleUser(d), secret("app", "wrong", "port", 1), nil, nil)
	s.Put(s.ARN, "older", secret("app", "old", "port", 2), "AWSPREVIOUS")
	if err := s.Step(t.Context(), "createSecret"); err != nil {
		t.Fatal(err)
	}
	err := s.Step(t.Context(), "setSecret")
	if err == nil || err.Error() != "Attempting to modify user for host db.test other than previous valid host db.test" {
		t.Errorf("got %v", err)
	}
	if d.passwords[at(2, "app")] != "old" || d.open != 0 {
		t.Errorf("the other server has the passwords %v and %d sessions", d.passwords, d.open)
	}
}

// Every step asks Secrets Manager for what it needs, and once.
func TestCallsOfRotation(t *testing.T) {
	_, s := newSteps("single", nil)
	for _, c := range []struct{ step, want string }{
		{"createSecret", "DescribeSecret GetSecretValue GetSecretValue GetRandomPassword PutSecretValue"}, // current and pending
		{"setSecret", "DescribeSecret GetSecretValue GetSecretValue"},
		{"testSecret", "DescribeSecret GetSecretValue"},
		{"finishSecret", "DescribeSecret UpdateSecretVersionStage"},
	} {
		before := len(s.Calls())
		if err := s.Step(t.Context(), c.step); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.Calls()[before:], " "); got != c.want {
			t.Errorf("%s: got the calls %s, want %s", c.step, got, c.want)
		}
	}
}

// What Secrets Manager does not do is not put on the server.
func TestNoPasswordForClone(t *testing.T) {
	_, s := newSteps("alternating", nil)
	if err := s.Step(t.Context(), "createSecret"); err != nil {
		t.Fatal(err)
	}
	s.Handler.Config.HTTPClient = broken{s.SecretsDouble, func(operation string) how {
		if operation == "GetRandomPassword" {
			return refused
		}
		return works
	}}
	err := s.Step(t.Context(), "setSecret")
	e, ok := err.(*rotator.Error)
	if !ok || e.Type != "InternalServiceError" || !strings.HasPrefix(e.Text, "making a password: ") {
		t.Errorf("got error %v, want what Secrets Manager says", err)
	}
}

// A session that does not close does not take the step's time.
func TestCloseHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := newSteps("single", nil)
		d.hangs = true
		began := time.Now()
		if err := s.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("the rotation took %v, want 3 seconds for each of its two sessions", took)
		}
	})
}

// how a call of Secrets Manager ends.
type how int

const (
	works   how = iota
	lost        // done, but nobody hears of it
	refused     // not done
)

// broken is a double of Secrets Manager of which some calls fail.
type broken struct {
	*rotatortest.SecretsDouble
	how func(operation string) how
}

func (b broken) Do(req *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	switch b.how(operation) {
	case refused:
		return &http.Response{
			StatusCode: http.StatusInternalServerError, Request: req, Body: http.NoBody,
			Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amzn-Errortype": {"InternalServiceError"}},
		}, nil
	case lost:
		if resp, err := b.SecretsDouble.Do(req); err != nil {
			return resp, err
		}
		return nil, errors.New("the connection broke")
	}
	return b.SecretsDouble.Do(req)
}

// maker makes something outside that only the pending value names, as the
// rotators of tokens do.
type maker struct{ undone int }

func (m *maker) Create(_ context.Context, r *rotator.Rotation) (plaintext.Value, error) {
	r.Undo(func(context.Context) error { m.undone++; return nil })
	return plaintext.Of(`{"token":"made outside"}`), nil
}

func (m *maker) Set(context.Context, *rotator.Rotation) error  { return nil }
func (m *maker) Test(context.Context, *rotator.Rotation) error { return nil }

// What was made for a value is taken back only if no version holds it.
func TestPutFails(t *testing.T) {
	for name, tc := range map[string]struct {
		put, after how
		fails      bool
		undone     int
		log        string
	}{
		"not":                                    {works, works, false, 0, "Successfully put secret"},
		"before it was done":                     {refused, works, true, 1, "storing the pending value"},
		"after it was done":                      {lost, works, false, 0, "Successfully put secret"},
		"and nobody can tell":                    {refused, refused, true, 0, "is left in place"},
		"after it was done, and nobody can tell": {lost, refused, true, 0, "is left in place"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &maker{}
			s := rotatortest.NewSteps(m, map[string]any{"token": "first"}, nil, nil)
			put := false
			s.Handler.Config.HTTPClient = broken{s.SecretsDouble, func(operation string) how {
				switch {
				case operation == "PutSecretValue":
					put = true
					return tc.put
				case put:
					return tc.after
				}
				return works
			}}
			err := s.Step(t.Context(), "createSecret")
			if (err != nil) != tc.fails || m.undone != tc.undone || !strings.Contains(s.Log.String(), tc.log) {
				t.Errorf("got error %v, %d times undone, log %s", err, m.undone, s.Log.String())
			}
		})
	}
}
