//go:build linux

package hardship

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
)

// A store that cannot be used is said with what is wrong, and never with its
// password.
func TestBadStores(t *testing.T) {
	t.Parallel()
	p := apitest.StartProcess(t, apitest.Options{})
	p.Stop()
	good := apitest.StoreURL(t)
	with := func(change func(*url.URL)) string {
		u, err := url.Parse(good)
		if err != nil {
			t.Fatal(err)
		}
		change(u)
		return u.String()
	}
	for name, tc := range map[string]struct{ store, want string }{
		"another database's URL": {"mysql://u:hidden-password@127.0.0.1/db", `the PostgreSQL URL is not valid: want postgres://USER:PASSWORD@HOST:PORT/DATABASE`},
		"no URL":                 {"hidden-password", `the PostgreSQL URL is not valid`},
		"nobody there":           {"postgres://u:hidden-password@127.0.0.1:1/db", `opening PostgreSQL database "db" on 127\.0\.0\.1: .*connection refused`},
		"no such host":           {"postgres://u:hidden-password@nowhere.invalid/db", `opening PostgreSQL database "db" on nowhere\.invalid: `},
		"a wrong password":       {with(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "hidden-password") }), `password authentication failed`},
		"no such database":       {with(func(u *url.URL) { u.Path = "/nothing" }), `database "nothing" does not exist`},
	} {
		t.Run(name, func(t *testing.T) {
			broken := p.Program(t.TempDir())
			broken.Args = []string{"--store", tc.store}
			got := strings.TrimSpace(broken.Refuse())
			if !regexp.MustCompile(`(?s)^keyturn: .*` + tc.want).MatchString(got) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if strings.Contains(got, "hidden-password") || strings.Contains(got, "goroutine") {
				t.Errorf("it says too much: %q", got)
			}
		})
	}
}
