package rehearse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// keeper is a superuser's login that can remove users that it made, and see
// what becomes of those that it did not make.
type keeper interface {
	DropUser(ctx context.Context, user string) error
	// Fingerprint changes when the user's password does; "" if it cannot be
	// seen.
	Fingerprint(ctx context.Context, user string) (string, error)
	// Powers are what a user has that could harm others.
	Powers(ctx context.Context, user string) ([]string, error)
	// Expire lets the user's password end by itself before long.
	Expire(ctx context.Context, user string) error
}

// copied are the members of the real secret that a shadow's has too. Any other
// could lead to the real user.
var copied = []string{"engine", "host", "port", "dbname", "ssl", "dbInstanceIdentifier", "dbClusterIdentifier"}

// withUser matches a URL that names a user, or a password.
var withUser = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^/\s@]+@`)

// betrays tells that a text lets one log in as the user of a password.
func betrays(text, password string) bool {
	if withUser.MatchString(text) {
		return true
	}
	if password == "" {
		return false
	}
	return slices.ContainsFunc(plaintext.Forms(password), func(form string) bool { return strings.Contains(text, form) })
}

// leaks names the members, also within others, that hold the password or a URL
// with a user, but for the user's own.
func leaks(v any, path, password string) (names []string) {
	switch v := v.(type) {
	case string:
		if path != "username" && path != "password" && betrays(v, password) {
			names = append(names, path)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			names = append(names, leaks(v[name], strings.TrimPrefix(path+"."+name, "."), password)...)
		}
	case []any:
		for i, item := range v {
			names = append(names, leaks(item, path+"["+strconv.Itoa(i)+"]", password)...)
		}
	}
	return names
}

// refuseLeaks refuses secrets and variables by which the function could get
// at the real user.
func refuseLeaks(s *Shadow, variables map[string]string) error {
	password := text(s.Secret["password"])
	if names := leaks(s.Secret, "", password); len(names) > 0 {
		return fmt.Errorf("the members %s of the user's secret hold its password, or a URL with a user: a function that uses them could change the real user, so it gets no shadows",
			strings.Join(names, ", "))
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if content := variables[name]; content == text(s.Secret["username"]) || betrays(content, password) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("the function's variables %s name the real user, hold its password, or a URL with a user: give them other values by --env", strings.Join(names, ", "))
	}
	return nil
}

// loopback tells that a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// sameServer demands that the superuser's secret is for the server that the
// user's names: else whoever writes the user's secret would have the
// superuser's password sent where he likes.
func sameServer(s *Shadow, host string, port, usual int) error {
	other, otherPort := text(s.Superuser["host"]), usual
	if other == "" {
		if loopback(host) {
			return nil
		}
		return fmt.Errorf("the superuser's secret does not say that it is for the host %s of the user's secret: add its host", host)
	}
	if p := text(s.Superuser["port"]); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil {
			return fmt.Errorf("the port %q of the superuser's secret is no number", p)
		}
		otherPort = n
	}
	if !strings.EqualFold(other, host) && !(loopback(other) && loopback(host)) || otherPort != port {
		return fmt.Errorf("the superuser's secret is for %s:%d, and the user's for %s:%d: the superuser's password is not sent to another server", other, otherPort, host, port)
	}
	return nil
}

// plainly tells that a secret turns TLS off.
func plainly(secret value) bool { return strings.EqualFold(fmt.Sprint(secret["ssl"]), "false") }

// errTouched tells that the real user was changed.
var errTouched = errors.New("THE REAL USER WAS CHANGED")

// guard implements target: it looks whether the real user is as it was.
func (s *shadows) guard(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	session, err := s.asSuperuser(ctx)
	if err != nil {
		return fmt.Errorf("looking whether the real user %s is as it was: %w", s.real, err)
	}
	defer session.Close(ctx)
	return s.compare(ctx, session)
}

func (s *shadows) compare(ctx context.Context, session rotator.Session) error {
	now, err := session.(keeper).Fingerprint(ctx, s.real)
	if err != nil {
		return fmt.Errorf("looking whether the real user %s is as it was: %w", s.real, rotator.Classify(err))
	}
	if now != s.before {
		return fmt.Errorf("%w: the password or the login of %s is not what it was when the rehearsal began. The function changed it, or somebody else did meanwhile. "+
			"Unless you know who, set the password of %s in the database to that of its secret NOW; the rehearsal has stopped", errTouched, s.real, s.real)
	}
	return nil
}

// remember looks at the real user before anything is made, and refuses one
// that must not have shadows.
func (s *shadows) remember(ctx context.Context, session rotator.Session) error {
	k, can := session.(keeper)
	if !can {
		return fmt.Errorf("shadow users of %s could not be removed", s.name)
	}
	powers, err := k.Powers(ctx, s.real)
	if err != nil {
		return fmt.Errorf("reading what %s may do: %w", s.real, rotator.Classify(err))
	}
	if len(powers) > 0 {
		return fmt.Errorf("the user %s has %s, and a shadow would have it too: such users are not rehearsed with", s.real, strings.Join(powers, ", "))
	}
	if s.before, err = k.Fingerprint(ctx, s.real); err != nil || s.before == "" {
		return errors.Join(fmt.Errorf("the superuser may not see how the server keeps the password of %s, so it could not be told whether a function changes it: no shadows are made", s.real), err)
	}
	return nil
}
