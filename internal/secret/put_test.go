package secret

import (
	"errors"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
)

func answer(same bool) func() (bool, error) {
	return func() (bool, error) { return same, nil }
}

const inUse = "You can't use ClientRequestToken v1 because that value is already in use for a version of secret arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-AbCdEf."

func TestDecidePut(t *testing.T) {
	s := newSecret()
	mustPut(t, s, "v1")
	s.Versions = append(s.Versions, Version{ID: "empty", Labels: []string{Pending}})
	never := func() (bool, error) { t.Error("compared without need"); return false, nil }
	for _, tc := range []struct {
		name, token string
		same        func() (bool, error)
		want        PutDecision
	}{
		{"new token", "v2", never, NewVersion},
		{"placeholder", "empty", never, FillPlaceholder},
		{"same value", "v1", answer(true), Replay},
	} {
		got, err := s.DecidePut(tc.token, tc.same)
		if err != nil || got != tc.want {
			t.Errorf("%s: got %d, %v; want %d", tc.name, got, err, tc.want)
		}
	}
	_, err := s.DecidePut("v1", answer(false))
	wantFault(t, err, fault.Exists, inUse)
	broken := errors.New("key is gone")
	if _, err := s.DecidePut("v1", func() (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the comparison", err)
	}
}

func TestDecideCreate(t *testing.T) {
	s := newSecret()
	mustPut(t, s, "v1")
	if err := s.DecideCreate("v1", answer(true)); err != nil {
		t.Errorf("repetition: got %v, want nil", err)
	}
	wantFault(t, s.DecideCreate("v1", answer(false)), fault.Exists, inUse)
	wantFault(t, s.DecideCreate("v1", nil), fault.Exists, inUse)
	const exists = "The operation failed because the secret app/db already exists."
	wantFault(t, s.DecideCreate("v2", answer(true)), fault.Exists, exists)
	wantFault(t, newSecret().DecideCreate("v1", nil), fault.Exists, exists)
	s.DeleteAt = start
	wantFault(t, s.DecideCreate("v1", answer(true)), fault.State,
		"You can't create this secret because a secret with this name is already scheduled for deletion.")
}

func TestCheckToken(t *testing.T) {
	wantFault(t, CheckToken("", fault.State), fault.State, "You must provide a ClientRequestToken value. We recommend a UUID-type value.")
	if err := CheckToken("x", fault.Parameter); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestPutFillsPlaceholderOnce(t *testing.T) {
	s := newSecret()
	mustPut(t, s, "v1")
	created := start.Add(-1)
	s.Versions = append(s.Versions, Version{ID: "v2", Labels: []string{Pending}, CreatedAt: created})
	fill := Version{ID: "v2", CreatedAt: start, Sealed: []byte("sealed"), ByToken: true}
	if _, err := s.Put(fill, []string{Pending}); err != nil {
		t.Fatal(err)
	}
	v := s.Version("v2")
	if !v.HasValue || !v.ByToken || string(v.Sealed) != "sealed" || !v.CreatedAt.Equal(created) || len(s.Versions) != 2 {
		t.Errorf("got %+v", v)
	}
	if got, want := show(s), "v1[AWSCURRENT] v2[AWSPENDING]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := s.Put(fill, []string{Pending}); !fault.Is(err, fault.Exists) {
		t.Errorf("second fill: got %v, want %s", err, fault.Exists)
	}
}

func TestPutFillsPlaceholderAsCurrent(t *testing.T) {
	s := newSecret()
	mustPut(t, s, "v1")
	s.Versions = append(s.Versions, Version{ID: "v2", Labels: []string{Pending}})
	if got, want := mustPut(t, s, "v2"), (Effect{Current: "v2"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := show(s), "v1[AWSPREVIOUS] v2[AWSCURRENT]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A rotation of a secret that has no value yet: its value counts only when
// the function says so.
func TestPutFillsFirstPlaceholder(t *testing.T) {
	s := newSecret()
	s.Versions = append(s.Versions, Version{ID: "v1", Labels: []string{Pending}})
	mustPut(t, s, "v1", Pending)
	if got, want := show(s), "v1[AWSPENDING]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := s.UpdateVersionStage(Current, "", "v1", start); err != nil {
		t.Fatal(err)
	}
	if got, want := show(s), "v1[AWSCURRENT,AWSPENDING]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
