package fault

import (
	"errors"
	"testing"
)

func TestKindOf(t *testing.T) {
	cause := errors.New("disk full")
	for _, tc := range []struct {
		err  error
		want Kind
	}{
		{nil, ""},
		{cause, Internal},
		{New(NotFound, "no %s", "secret"), NotFound},
		{Wrap(cause, "writing"), Internal},
		{Wrap(New(Limit, "full"), "writing"), Limit},
		{&Error{}, Internal},
	} {
		if got := KindOf(tc.err); got != tc.want {
			t.Errorf("KindOf(%v) = %q, want %q", tc.err, got, tc.want)
		}
	}
	if Wrap(nil, "writing") != nil {
		t.Error("Wrap(nil) is not nil")
	}
	if !errors.Is(Wrap(cause, "writing"), cause) {
		t.Error("Wrap hides its cause")
	}
}

func TestForAndBecauseCopy(t *testing.T) {
	base := New(State, "marked for deletion")
	got := base.For("app/db").Because(errors.New("x"))
	if base.Subject != "" || base.Cause != nil {
		t.Error("For or Because changed the receiver")
	}
	if want := "invalid request (app/db): marked for deletion: x"; got.Error() != want {
		t.Errorf("got %q, want %q", got.Error(), want)
	}
}
