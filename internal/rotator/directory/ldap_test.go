package directory_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// newPerson makes a user of an odd name whose secret names it by distinguished
// name, or by what baseDN and userFilter find.
func newPerson(t testing.TB, s *slapd, byDN bool) *rotatortest.Target {
	t.Helper()
	name := rotatortest.Unique(`O'Hara, "Zoë" (test) \ *`)
	dn := "cn=" + ldap.EscapeDN(name) + ",ou=people," + suffix
	s.add(t, dn, "inetOrgPerson", "cn", name, "sn", "Hara", "uid", name, "userPassword", "first-Password-1")
	secret := map[string]any{
		"engine": "ldap", "host": "127.0.0.1", "port": s.secure, "username": dn, "password": "first-Password-1",
	}
	superuser := map[string]any{
		"engine": "ldap", "host": "127.0.0.1", "port": s.secure, "username": rootDN, "password": rootPassword,
	}
	if !byDN {
		superuser["port"], superuser["startTLS"] = s.plain, true
		secret["username"], secret["baseDN"], secret["userFilter"] = name, "ou=people,"+suffix, "(&(objectClass=inetOrgPerson)(uid=%s))"
		secret["port"], secret["startTLS"] = s.plain, true
	}
	return &rotatortest.Target{
		Secret:    secret,
		Superuser: superuser,
		Login: func(_ context.Context, secret map[string]any) error {
			conn, err := s.as(t, dn, secret["password"].(string))
			if err != nil {
				return err
			}
			return conn.Close()
		},
	}
}

func dnOf(target *rotatortest.Target) string { return target.Secret["username"].(string) }

var wrongPassword = rotatortest.Fault{
	Name: "wrong password", Step: "setSecret", Cause: rotator.CauseAuthentication, Lockout: true,
	Change: func(secret map[string]any) { secret["password"] = "not-the-password" },
}

// faultsOfTheWay are those between a rotator and any directory.
func faultsOfTheWay(t testing.TB) []rotatortest.Fault {
	refused, silent, stranger := freePort(t), blackHole(t), startSlapd(t, true)
	return []rotatortest.Fault{wrongPassword, {
		Name: "host without an address", Step: "setSecret", Cause: rotator.CauseDNS, Lockout: true,
		Change: func(secret map[string]any) { secret["host"] = "directory.invalid" },
	}, {
		Name: "nothing listens", Step: "setSecret", Cause: rotator.CauseTCP, Lockout: true,
		Change: func(secret map[string]any) { secret["port"] = refused },
	}, {
		Name: "nobody answers", Step: "setSecret", Cause: rotator.CauseTimeout, Lockout: true, Timeout: 6,
		Change: func(secret map[string]any) { secret["port"] = silent },
	}, {
		Name: "certificate of an unknown authority", Step: "setSecret", Cause: rotator.CauseTLS, Lockout: true,
		Change: func(secret map[string]any) { secret["port"] = stranger.secure },
	}, {
		Name: "certificate of another host", Step: "setSecret", Cause: rotator.CauseTLS, Lockout: true,
		Change: func(secret map[string]any) { secret["host"] = "localhost" },
	}}
}

func ldapFaults(t testing.TB, s *slapd) []rotatortest.Fault {
	return append(faultsOfTheWay(t), rotatortest.Fault{
		Name: "user missing", Step: "setSecret", Cause: rotator.CauseMissingUser, Lockout: true,
		Change: func(secret map[string]any) { secret["username"], secret["baseDN"] = "nobody", suffix },
	}, rotatortest.Fault{
		Name: "plain, where the server demands TLS", Step: "setSecret", Cause: rotator.CauseTLSRequired, Lockout: true,
		Change: func(secret map[string]any) { secret["port"], secret["ssl"] = s.plain, false },
	}, rotatortest.Fault{
		Name: "password policy", Step: "setSecret", Cause: rotator.CausePolicy,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			s.set(t, dnOf(target), "pwdPolicySubentry", "cn=strict,"+suffix)
			return func() { s.set(t, dnOf(target), "pwdPolicySubentry") }
		},
	}, rotatortest.Fault{
		Name: "account locked", Step: "setSecret", Cause: rotator.CauseLocked, Lockout: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			s.set(t, dnOf(target), "pwdPolicySubentry", "cn=lockout,"+suffix)
			s.set(t, dnOf(target), "pwdAccountLockedTime", "000001010000Z")
			return func() { s.set(t, dnOf(target), "pwdAccountLockedTime") }
		},
	})
}

// alone marks faults that break nothing but their own target.
func alone(faults []rotatortest.Fault) []rotatortest.Fault {
	for i := range faults {
		faults[i].Alone = true
	}
	return faults
}

func TestLDAP(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, true)
	suite := rotatortest.Suite{
		Rotator:     "ldap.single",
		New:         func(t testing.TB) *rotatortest.Target { return newPerson(t, s, true) },
		Environment: map[string]string{"KEYTURN_CA_BUNDLE": rotatortest.PEM(t, filepath.Join(s.dir, "ca.pem"))},
		Kill:        func(t testing.TB) { s.kill() },
		Revive: func(t testing.TB) {
			if err := s.start(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		Faults: alone(ldapFaults(t, s)),
	}
	suite.Run(t)
	suite.Rotator, suite.Faults, suite.NoKills = "ldap.superuser", nil, true
	suite.New = func(t testing.TB) *rotatortest.Target { return newPerson(t, s, false) }
	suite.Run(t)
}
