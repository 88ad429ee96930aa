package directory_test

import (
	"context"
	"testing"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// firstPassword is what accounts are made with.
const firstPassword = `first-"Pässw0rd`

// newAccount makes an account of an odd name, whose secret's username is what
// name makes of account and distinguished name.
func newAccount(t testing.TB, s *samba, name func(account, dn string) string) *rotatortest.Target {
	t.Helper()
	account := rotatortest.Unique(`O'Hara {(Zoë)}`)
	dn := s.addUser(t, account, firstPassword)
	return &rotatortest.Target{
		Secret: map[string]any{
			"engine": "activedirectory", "host": s.host, "username": name(account, dn), "password": firstPassword,
		},
		Superuser: map[string]any{
			"engine": "activedirectory", "host": s.host, "port": 389, "username": adAdministrator, "password": adPassword,
		},
		Login: func(_ context.Context, secret map[string]any) error {
			conn, err := s.as(t, dn, secret["password"].(string))
			if err != nil {
				return err
			}
			return conn.Close()
		},
	}
}

func byAccount(account, _ string) string { return account }
func byDN(_, dn string) string           { return dn }

func domainFaults(s *samba) []rotatortest.Fault {
	return []rotatortest.Fault{wrongPassword, {
		Name: "user missing", Step: "setSecret", Cause: rotator.CauseAuthentication, Lockout: true,
		Change: func(secret map[string]any) { secret["username"] = "nobody" },
	}, {
		Name: "plain", Step: "setSecret", Cause: rotator.CauseTLSRequired, Lockout: true,
		Change: func(secret map[string]any) { secret["ssl"] = false },
	}, {
		Name: "password policy", Step: "setSecret", Cause: rotator.CausePolicy,
		Break: func(t testing.TB, target *rotatortest.Target) func() { return s.policy(t, dnOf(target), "100", "0") },
	}, {
		Name: "password too young", Step: "setSecret", Cause: rotator.CausePolicy,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			return s.policy(t, dnOf(target), "7", "-864000000000")
		},
	}, {
		Name: "account disabled", Step: "setSecret", Cause: rotator.CauseLocked, Lockout: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			s.set(t, dnOf(target), "userAccountControl", "514")
			return func() { s.set(t, dnOf(target), "userAccountControl", "512") }
		},
	}, {
		Name: "password to be changed at the next login", Step: "setSecret", Cause: rotator.CauseLocked, Lockout: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			s.set(t, dnOf(target), "pwdLastSet", "0")
			return func() { s.set(t, dnOf(target), "pwdLastSet", "-1") }
		},
	}}
}

func TestDomain(t *testing.T) {
	t.Parallel()
	s := startSamba(t)
	s.set(t, adSuffix, "minPwdAge", "0")
	t.Run("side by side", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *samba){
			"passwords": testActiveDirectory, "service": testDirectoryService, "service with keytabs": testServiceKeytab,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, s)
			})
		}
	})
	t.Run("keytabs", func(t *testing.T) { testDomainKeytab(t, s) }) // kills the controller
}

func testActiveDirectory(t *testing.T, s *samba) {
	suite := rotatortest.Suite{
		Rotator:     "activedirectory.single",
		New:         func(t testing.TB) *rotatortest.Target { return newAccount(t, s, byDN) },
		Environment: map[string]string{"KEYTURN_CA_BUNDLE": rotatortest.PEM(t, s.caFile())},
		Faults:      alone(domainFaults(s)),
		NoKills:     true,
	}
	suite.Run(t)
	suite.Rotator, suite.Faults = "activedirectory.superuser", nil
	suite.New = func(t testing.TB) *rotatortest.Target { return newAccount(t, s, byAccount) }
	suite.Run(t)
}
