package rotation_test

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// A server that starts inside an open window, after a missed one, or before
// one opens rotates a real password without being asked.
func TestServerRotatesWhatIsDue(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Dir = t.TempDir()
	worlds := map[string]*world{"open": nil, "missed": nil, "to come": nil}
	t.Run("prepare", func(t *testing.T) {
		s := apitest.Start(t, o)
		function := s.NewFunction(t, apitest.PythonRotation(t, "rotate"))
		for name := range worlds {
			w := newWorld(t, s)
			w.configure(function, 1)
			worlds[name] = w
		}
	})
	var soon time.Time
	editStored(t, o.Dir, func(tx *store.Tx) error {
		now := time.Now()
		soon = now.Add(5 * time.Second)
		for name, w := range worlds {
			before, err := tx.FindLabelled(apitest.Account, apitest.Region, arn.ParseSecretRef(w.arn))
			if err != nil {
				return err
			}
			after := before.Clone()
			r := &after.Rotation
			r.ConfiguredAt = now.AddDate(0, 0, -1)
			if name == "missed" {
				r.ConfiguredAt = now.AddDate(0, 0, -10)
			}
			if err := after.Plan(nil); err != nil {
				return err
			}
			switch name {
			case "missed":
				if r.DueAt.After(now.AddDate(0, 0, -8)) {
					t.Errorf("missed: due at %v", r.DueAt)
				}
			case "open":
				r.DueAt = now.Add(-time.Minute) // today's window is open; its moment has passed
			case "to come":
				r.DueAt = soon
			}
			if err := tx.SaveSecret(before, after); err != nil {
				return err
			}
		}
		return nil
	})
	s := apitest.Start(t, o)
	for name, w := range worlds {
		t.Run(name, func(t *testing.T) {
			w.t, w.Server = t, s
			w.eventually("the rotation is made", func() bool { return w.describe().LastRotatedDate != nil })
			w.proveRotated(w.user.Password)
			d := w.describe()
			if want := midnight(*d.LastRotatedDate).Add(2*day - time.Second); d.NextRotationDate == nil || !d.NextRotationDate.Equal(want) {
				t.Errorf("NextRotationDate is %v, want %v", d.NextRotationDate, want)
			}
			if name == "to come" && d.LastRotatedDate.Before(soon) {
				t.Errorf("rotated at %v, before its time %v", d.LastRotatedDate, soon)
			}
		})
	}
	time.Sleep(time.Second)
	for _, w := range worlds {
		w.t = t
		w.wantEvents("RotateSecret", "TestRotationStarted", "TestRotationSucceeded", "RotationStarted", "RotationSucceeded")
	}
}

// editStored changes what the stopped server of a data folder stored.
func editStored(t *testing.T, dir string, fn func(tx *store.Tx) error) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}
