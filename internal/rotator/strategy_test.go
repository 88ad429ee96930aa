package rotator_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

const arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:app-AbCdEf"

// pending stores the pending version.
func pending(s *rotatortest.Steps, value map[string]any) {
	if master, ok := s.Value(s.ARN, "AWSCURRENT")["masterarn"]; ok {
		value["masterarn"] = master
	}
	s.Put(s.ARN, s.Token, value, "AWSPENDING")
}

// TestGuards lists what stops a step, in the words of AWS's templates.
func TestGuards(t *testing.T) {
	const noLogin = "; current: authentication: wrong password (X1)"
	for _, test := range []struct {
		name, strategy string
		prepare        func(d *serverDouble, s *rotatortest.Steps)
		step           string
		kind, text     string
	}{
		{"rotation is off", "single", func(_ *serverDouble, s *rotatortest.Steps) { s.Disabled = true },
			"createSecret", "ValueError", "Secret " + arn + " is not enabled for rotation"},
		{"no such version", "single", func(_ *serverDouble, s *rotatortest.Steps) { s.Token = "other" },
			"createSecret", "ValueError", "Secret version other has no stage for rotation of secret " + arn + "."},
		{"another version is pending", "single", func(_ *serverDouble, s *rotatortest.Steps) { s.Put(arn, "later", nil, "AWSPENDING") },
			"createSecret", "ValueError", "Secret version rotation-1 not set as AWSPENDING for rotation of secret " + arn + "."},
		{"no such step", "single", nil, "danceSecret", "ValueError", "Invalid step parameter danceSecret for secret " + arn},
		{"another engine", "single", func(_ *serverDouble, s *rotatortest.Steps) {
			s.Put(arn, "first", secret("app", "x", "engine", "oracle"), "AWSCURRENT")
		},
			"createSecret", "KeyError", "Database engine must be set to 'double' in order to use this rotation lambda"},
		{"no host", "single", func(_ *serverDouble, s *rotatortest.Steps) {
			s.Put(arn, "first", map[string]any{"engine": "double", "username": "app", "password": "x"}, "AWSCURRENT")
		}, "createSecret", "KeyError", "host key is missing from secret JSON"},
		{"no JSON", "single", func(_ *serverDouble, s *rotatortest.Steps) { s.PutText(arn, "first", "Pa55-word", "AWSCURRENT") },
			"createSecret", "ValueError", "Invalid secret value JSON for secret " + arn + ": not a JSON object"},
		{"no superuser", "alternating", func(_ *serverDouble, s *rotatortest.Steps) {
			s.Put(arn, "first", secret("app", "first-password"), "AWSCURRENT")
		},
			"createSecret", "KeyError", "masterarn key is missing from secret JSON"},
		{"name too long to clone", "alternating", func(_ *serverDouble, s *rotatortest.Steps) {
			s.Put(arn, "first", secret("eleven_long", "first-password", "masterarn", superuserARN(s)), "AWSCURRENT")
		}, "createSecret", "ValueError", "Unable to clone user, username length with _clone appended would exceed 16 characters"},

		{"pending is another user", "single", func(_ *serverDouble, s *rotatortest.Steps) { pending(s, secret("root", "next-password")) },
			"setSecret", "ValueError", "Attempting to modify user root other than current user app"},
		{"pending is another user, by a superuser", "superuser", func(_ *serverDouble, s *rotatortest.Steps) { pending(s, secret("root", "next-password")) },
			"setSecret", "ValueError", "Attempting to modify user root other than current user app"},
		{"pending is on another host", "single", func(_ *serverDouble, s *rotatortest.Steps) {
			pending(s, secret("app", "next-password", "host", "evil.test"))
		},
			"setSecret", "ValueError", "Attempting to modify user for host evil.test other than current host db.test"},
		{"pending is on another port", "single", func(_ *serverDouble, s *rotatortest.Steps) { pending(s, secret("app", "next-password", "port", 2000)) },
			"setSecret", "ValueError", "Attempting to modify user for host db.test other than current host db.test"},
		{"pending is no clone", "alternating", func(_ *serverDouble, s *rotatortest.Steps) { pending(s, secret("root", "next-password")) },
			"setSecret", "ValueError", "Attempting to modify user root other than current user or clone app"},
		{"clone is on another host", "alternating", func(_ *serverDouble, s *rotatortest.Steps) {
			pending(s, secret("app_clone", "next-password", "host", "evil.test"))
		}, "setSecret", "ValueError", "Attempting to modify user for host evil.test other than current host db.test"},
		{"nothing logs in", "single", func(d *serverDouble, s *rotatortest.Steps) {
			d.passwords["app"] = "changed"
			pending(s, secret("app", "next-password"))
		}, "setSecret", "ValueError", "Unable to log into database with previous, current, or pending secret of secret arn " + arn +
			": pending: authentication: wrong password (X1)" + noLogin},
		{"current does not log in", "superuser", func(d *serverDouble, s *rotatortest.Steps) {
			d.passwords["app"] = "changed"
			pending(s, secret("app", "next-password"))
		}, "setSecret", "ValueError", "Unable to log into database with previous, current, or pending secret of secret arn " + arn +
			": pending: authentication: wrong password (X1)" + noLogin},
		{"current does not log in, alternating", "alternating", func(d *serverDouble, s *rotatortest.Steps) {
			d.passwords["app"] = "changed"
			pending(s, secret("app_clone", "next-password"))
		}, "setSecret", "ValueError", "Unable to log into database using current credentials for secret " + arn + ": authentication: wrong password (X1)"},
		{"superuser does not log in", "alternating", func(d *serverDouble, s *rotatortest.Steps) {
			d.passwords["admin"] = "changed"
			pending(s, secret("app_clone", "next-password"))
		}, "setSecret", "ValueError", "Unable to log into database using credentials in master secret " +
			"arn:aws:secretsmanager:us-east-1:123456789012:secret:superuser-AbCdEf: authentication: wrong password (X1)"},
		{"superuser is of another server", "alternating", func(_ *serverDouble, s *rotatortest.Steps) {
			s.Put(superuserARN(s), "only", secret("admin", "admin-password", "host", "other.test"), "AWSCURRENT")
			pending(s, secret("app_clone", "next-password"))
		}, "setSecret", "ValueError", "Current database host db.test is not the same host as/rds replica of master other.test"},
		{"superuser is of another server on the host", "alternating", func(_ *serverDouble, s *rotatortest.Steps) {
			s.Put(superuserARN(s), "only", secret("admin", "admin-password", "port", 5433), "AWSCURRENT")
			pending(s, secret("app_clone", "next-password"))
		}, "setSecret", "ValueError", "Current database port 1000 is not the port 5433 of master on host db.test: " +
			"for a pooler before it, add db.test:1000=db.test:5433 to the variable KEYTURN_PRIMARY_HOSTS"},
		{"pending does not log in", "single", func(_ *serverDouble, s *rotatortest.Steps) { pending(s, secret("app", "next-password")) },
			"testSecret", "ValueError", "Unable to log into database with pending secret of secret ARN " + arn + ": authentication: wrong password (X1)"},
		{"pending may not work", "single", func(d *serverDouble, s *rotatortest.Steps) {
			d.broken["ping"] = rotator.NewFailure(rotator.CauseUnavailable, "", "stopping", nil)
			pending(s, secret("app", "first-password"))
		}, "testSecret", "ValueError", "Unable to log into database with pending secret of secret ARN " + arn + ": server not ready: stopping"},
		{"password refused", "single", func(d *serverDouble, s *rotatortest.Steps) {
			d.broken["password"] = rotator.NewFailure(rotator.CausePolicy, "X9", "too weak", nil)
			pending(s, secret("app", "next-password"))
		}, "setSecret", "ValueError", "Unable to set the password of user app for secret arn " + arn + ": password policy: too weak (X9)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, s := newSteps(test.strategy, nil)
			if test.prepare != nil {
				test.prepare(d, s)
			}
			failsAs(t, s, test.step, test.kind, test.text)
			if len(d.changes) > 0 {
				t.Errorf("got the changes %q, want none", d.changes)
			}
			last := s.Log.String()
			last = last[strings.LastIndex(strings.TrimSpace(last), "\n")+1:]
			if want := test.step + ": " + test.text + "\n"; !strings.HasPrefix(last, "[ERROR]\t") || !strings.HasSuffix(last, want) {
				t.Errorf("got the last line %q, want an error that ends in %q", last, want)
			}
		})
	}
}

func TestAttemptsAreInOrder(t *testing.T) {
	wrong := func(user string) []string { return []string{user + " encrypted"} }
	for strategy, want := range map[string][]string{
		"single":      append(wrong("app"), "app encrypted", "app encrypted"),
		"superuser":   append(wrong("app"), "app encrypted", "app encrypted"),
		"alternating": append(wrong("app_clone"), "app encrypted"),
	} {
		d, s := newSteps(strategy, nil)
		s.Put(arn, "before", secret("app", "password-before"), "AWSPREVIOUS")
		d.passwords["app"] = "changed by hand"
		must(t, s, "createSecret")
		if err := s.Step(t.Context(), "setSecret"); err == nil {
			t.Fatalf("%s: succeeded though nothing logs in", strategy)
		}
		if diff := cmp.Diff(want, d.attempts); diff != "" {
			t.Errorf("%s: attempts (-want +got):\n%s", strategy, diff)
		}
	}
}

// TestPreviousIsAFallback is how a rotation mends itself after a database was
// restored from before the last one.
func TestPreviousIsAFallback(t *testing.T) {
	for _, strategy := range []string{"single", "superuser"} {
		d, s := newSteps(strategy, nil)
		s.Put(arn, "before", secret("app", "password-before"), "AWSPREVIOUS")
		d.passwords["app"] = "password-before"
		must(t, s, "createSecret", "setSecret", "testSecret", "finishSecret")
		if got, want := d.passwords["app"], s.Value(arn, "AWSCURRENT")["password"]; got != want {
			t.Errorf("%s: the server has not the current password", strategy)
		}
	}
}

// TestPreviousIsComparedAfterLogin differs from AWS's templates, which let an
// old version of another user hide why the current one does not log in.
func TestPreviousIsComparedAfterLogin(t *testing.T) {
	for _, test := range []struct {
		name     string
		previous map[string]any
		logsIn   bool
		text     string
	}{
		{"another user that does not log in", secret("old", "unknown"), false, "Unable to log into database with previous, current, or pending secret"},
		{"another user", secret("old", "old-password"), true, "Attempting to modify user app other than previous valid user old"},
		{"another host", secret("app", "old-password", "host", "old.test"), true, "Attempting to modify user for host db.test other than previous valid host old.test"},
		{"no login", map[string]any{"note": "not a login"}, false, "Unable to log into database with previous, current, or pending secret"},
	} {
		d, s := newSteps("single", nil)
		s.Put(arn, "before", test.previous, "AWSPREVIOUS")
		d.passwords["app"], d.passwords["old"] = "changed by hand", "old-password"
		if test.logsIn {
			d.passwords[test.previous["username"].(string)] = "old-password"
		}
		must(t, s, "createSecret")
		err := s.Step(t.Context(), "setSecret")
		if err == nil || !strings.HasPrefix(err.Error(), test.text) {
			t.Errorf("%s: got %v, want %s", test.name, err, test.text)
		}
	}
}

// TestStepsMayBeRepeated runs each step twice, as after an answer that was
// lost, and once more after all.
func TestStepsMayBeRepeated(t *testing.T) {
	for strategy := range strategies {
		t.Run(strategy, func(t *testing.T) {
			d, s := newSteps(strategy, nil)
			var value string
			for _, step := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
				must(t, s, step)
				changes := len(d.changes)
				if value == "" {
					value = s.Text(arn, "AWSPENDING")
				}
				must(t, s, step)
				if len(d.changes) != changes {
					t.Errorf("%s again: got the changes %q more", step, d.changes[changes:])
				}
			}
			if got := s.Text(arn, "AWSCURRENT"); got != value {
				t.Error("the current value is not the one that was pending first")
			}
			must(t, s, "createSecret", "setSecret", "testSecret", "finishSecret")
			current := s.Value(arn, "AWSCURRENT")
			if got := d.passwords[current["username"].(string)]; got != current["password"] {
				t.Error("the server has not the current password")
			}
		})
	}
}

// TestCloneIsCompleteBeforeItLogsIn kills an alternating rotation between any
// two things that it does.
func TestCloneIsCompleteBeforeItLogsIn(t *testing.T) {
	for _, what := range []string{"exists", "create", "copy", "password"} {
		d, s := newSteps("alternating", nil)
		must(t, s, "createSecret")
		d.broken[what] = rotator.NewFailure(rotator.CauseUnavailable, "", "killed", nil)
		if err := s.Step(t.Context(), "setSecret"); err == nil {
			t.Fatalf("%s: setSecret succeeded", what)
		}
		if err := s.Step(t.Context(), "testSecret"); err == nil {
			t.Errorf("%s: the clone logs in before it is complete", what)
		}
		delete(d.broken, what)
		must(t, s, "setSecret", "testSecret", "finishSecret")
		if got := d.grants["app_clone"]; got != "everything" {
			t.Errorf("%s: got the privileges %q, want everything", what, got)
		}
	}
}

// TestPrivilegesAreCopied tells when: to a clone that is new, to one that no
// version has used, and each time where that is asked for.
func TestPrivilegesAreCopied(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings rotator.Settings
		want     []string
	}{
		{"once", nil, []string{"clone app_clone of app", "grants of app to app_clone", "password of app_clone", "password of app", "password of app_clone"}},
		{"each time", rotator.Settings{"KEYTURN_SYNC_PRIVILEGES": "yes"}, []string{
			"clone app_clone of app", "grants of app to app_clone", "password of app_clone",
			"grants of app_clone to app", "password of app", "grants of app to app_clone", "password of app_clone",
		}},
	} {
		d, s := newSteps("alternating", test.settings)
		for range 3 {
			if err := s.Rotate(t.Context()); err != nil {
				t.Fatalf("%s: %v\n%s", test.name, err, s.Log.String())
			}
		}
		if diff := cmp.Diff(test.want, d.changes); diff != "" {
			t.Errorf("%s: changes (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestNoSecretInTheLog lets the server's errors say the passwords that a step
// knows: the last guard, should an engine's classification fail.
func TestNoSecretInTheLog(t *testing.T) {
	for strategy := range strategies {
		d, s := newSteps(strategy, nil)
		must(t, s, "createSecret")
		fresh := s.Value(arn, "AWSPENDING")["password"].(string)
		canaries := []string{fresh, "first-password"}
		if strategy != "single" {
			canaries = append(canaries, "admin-password")
		}
		leak := func(ctx context.Context, way, _ string) error {
			return rotator.NewFailure(rotator.CauseTLS, "", "leaking "+strings.Join(canaries, " and "), nil)
		}
		d.broken["password"] = leak(t.Context(), "", "")
		set := s.Step(t.Context(), "setSecret")
		d.refuse, canaries = leak, canaries[:1]
		test := s.Step(t.Context(), "testSecret")
		if set == nil || test == nil {
			t.Fatalf("%s: got %v and %v, want errors", strategy, set, test)
		}
		said := set.Error() + test.Error() + s.Log.String()
		if !strings.Contains(said, "leaking [REDACTED]") {
			t.Errorf("%s: nothing was taken out of %q", strategy, said)
		}
		for _, canary := range []string{fresh, "first-password", "admin-password"} {
			if strings.Contains(said, canary) {
				t.Errorf("%s: a password is in the log or an error", strategy)
			}
		}
	}
}
