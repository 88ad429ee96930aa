package postgres_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// sql is a fault by statements; %[1]s is the user, %[2]s the superuser of the
// secret, %[3]s the database.
func (w *world) sql(f rotatortest.Fault, during, after string) rotatortest.Fault {
	f.Step, f.Alone = "setSecret", true
	f.Break = func(t testing.TB, target *rotatortest.Target) func() {
		p := w.placeOf(target)
		run := func(statement string) {
			w.exec(t, "postgres", fmt.Sprintf(statement+" -- %[1]s %[2]s %[3]s", ident(p.user), ident(p.admin), ident(p.database)))
		}
		run(during)
		return func() { run(after) }
	}
	return f
}

// loginFaults are what can be wrong between a user and the server.
func (w *world) loginFaults() []rotatortest.Fault {
	change := func(name string, cause rotator.Cause, member string, value any) rotatortest.Fault {
		return rotatortest.Fault{
			Name: name, Step: "setSecret", Cause: cause, Alone: true, Lockout: true,
			Change: func(secret map[string]any) { secret[member] = value },
		}
	}
	dns := change("no such host", rotator.CauseDNS, "host", "database.invalid")
	dns.Lockout = false // the tests know where the server is
	return append(w.networkFaults(), dns,
		change("wrong password", rotator.CauseAuthentication, "password", "not-the-password"),
		change("no such database", rotator.CauseDatabase, "dbname", "nowhere"),
		w.sql(rotatortest.Fault{Name: "no such user", Cause: rotator.CauseAuthentication, Text: "does not exist", Lockout: true},
			"ALTER ROLE %[1]s RENAME TO gone", "ALTER ROLE gone RENAME TO %[1]s"),
		w.sql(rotatortest.Fault{Name: "user may not log in", Cause: rotator.CauseLocked, Text: "not permitted to log in", Lockout: true},
			"ALTER ROLE %[1]s NOLOGIN", "ALTER ROLE %[1]s LOGIN"),
		w.sql(rotatortest.Fault{Name: "expired password", Cause: rotator.CauseAuthentication, Text: "VALID UNTIL", Lockout: true},
			"ALTER ROLE %[1]s VALID UNTIL '2001-01-01'", "ALTER ROLE %[1]s VALID UNTIL 'infinity'"),
		w.sql(rotatortest.Fault{Name: "user's connections used up", Cause: rotator.CauseConnections, Text: "for role", Lockout: true},
			"ALTER ROLE %[1]s CONNECTION LIMIT 0", "ALTER ROLE %[1]s CONNECTION LIMIT -1"),
		w.sql(rotatortest.Fault{Name: "database's connections used up", Cause: rotator.CauseConnections, Text: "for database", Lockout: true},
			"ALTER DATABASE %[3]s CONNECTION LIMIT 0", "ALTER DATABASE %[3]s CONNECTION LIMIT -1"),
		w.sql(rotatortest.Fault{Name: "database closed to the user", Cause: rotator.CauseDatabase, Text: "permission denied for database", Lockout: true},
			"REVOKE CONNECT ON DATABASE %[3]s FROM PUBLIC", "GRANT CONNECT ON DATABASE %[3]s TO PUBLIC"),
		w.policy("%[1]s"),
		w.readOnly("setSecret"),
		rotatortest.Fault{
			Name: "server's connections used up", Step: "setSecret", Cause: rotator.CauseConnections, Lockout: true,
			Break: func(t testing.TB, target *rotatortest.Target) func() { return w.fill(t, target) },
		})
}

// networkFaults are what can be wrong on the way.
func (w *world) networkFaults() []rotatortest.Fault {
	cut := func(f rotatortest.Fault, do func(*rotatortest.Proxy)) rotatortest.Fault {
		f.Step, f.Alone = "setSecret", true
		f.Break = func(t testing.TB, target *rotatortest.Target) func() {
			proxy := w.placeOf(target).proxy
			do(proxy)
			return func() { proxy.Forward(t) }
		}
		return f
	}
	return []rotatortest.Fault{
		cut(rotatortest.Fault{Name: "nobody listens", Cause: rotator.CauseTCP, Text: "connection refused"}, (*rotatortest.Proxy).Refuse),
		cut(rotatortest.Fault{
			Name: "no answer", Cause: rotator.CauseTimeout, Text: "the attempt with the current secret had ", Timeout: 6,
		}, (*rotatortest.Proxy).Swallow),
	}
}

// policy is a fault of a module of the server that checks what the user who
// changes a password sets.
func (w *world) policy(user string) rotatortest.Fault {
	return w.sql(rotatortest.Fault{
		Name: "password policy", Cause: rotator.CausePolicy, Text: "password is too short",
		Environment: map[string]string{"KEYTURN_PLAIN_PASSWORDS": "true", "PASSWORD_LENGTH": "7"},
	}, "ALTER ROLE "+user+" SET session_preload_libraries = passwordcheck", "ALTER ROLE "+user+" RESET session_preload_libraries")
}

// readOnly is a fault in which the server has become a replica.
func (w *world) readOnly(step string) rotatortest.Fault {
	return rotatortest.Fault{
		Name: "read-only replica", Step: step, Cause: rotator.CauseReadOnly, Alone: true,
		Break: func(t testing.TB, target *rotatortest.Target) func() {
			p := w.placeOf(target)
			w.replicated(t, target)
			p.proxy.Redirect(net.JoinHostPort(w.standby.Host, strconv.Itoa(w.standby.Port)))
			return func() { p.proxy.Redirect(net.JoinHostPort(w.db.Host, strconv.Itoa(w.db.Port))) }
		},
	}
}

// replicated waits until the standby knows the target's users.
func (w *world) replicated(t testing.TB, target *rotatortest.Target) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := as(t.Context(), w.standby, w.placeOf(target).user, firstPassword, w.placeOf(target).database)
		if err == nil {
			conn.Close(t.Context())
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the standby does not follow: %v", err)
		}
	}
}

// fill opens connections until the server takes no more of ordinary users.
func (w *world) fill(t testing.TB, target *rotatortest.Target) (empty func()) {
	t.Helper()
	p := w.placeOf(target)
	w.exec(t, "postgres", "ALTER ROLE "+ident(p.user)+" CONNECTION LIMIT -1")
	var open []*pgx.Conn
	for {
		conn, err := as(t.Context(), w.db, p.user, firstPassword, p.database)
		if err != nil {
			break
		}
		open = append(open, conn)
	}
	if len(open) < 5 {
		t.Fatalf("the server took only %d connections", len(open))
	}
	return func() {
		ctx := context.WithoutCancel(t.Context())
		for _, conn := range open {
			conn.Close(ctx)
		}
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if conn, err := as(ctx, w.db, p.user, firstPassword, p.database); err == nil {
				conn.Close(ctx)
				return // the server has noticed
			}
		}
	}
}

// superuserFaults are what can be wrong with the superuser.
func (w *world) superuserFaults() []rotatortest.Fault {
	return []rotatortest.Fault{
		{
			Name: "wrong password", Step: "setSecret", Cause: rotator.CauseAuthentication, Alone: true, Lockout: true,
			Change: func(secret map[string]any) { secret["password"] = "not-the-password" },
		},
		w.sql(rotatortest.Fault{Name: "superuser's wrong password", Cause: rotator.CauseAuthentication, Text: "master secret"},
			"ALTER ROLE %[2]s PASSWORD 'another'", "ALTER ROLE %[2]s PASSWORD '"+firstPassword+"'"),
		w.sql(rotatortest.Fault{Name: "superuser is none", Cause: rotator.CausePermission},
			"ALTER ROLE %[2]s NOSUPERUSER", "ALTER ROLE %[2]s SUPERUSER"),
		w.policy("%[2]s"),
		w.readOnly("setSecret"),
	}
}

// grantFaults are of superusers that are none.
func (w *world) grantFaults() []rotatortest.Fault {
	return []rotatortest.Fault{
		w.sql(rotatortest.Fault{Name: "may not grant the role", Cause: rotator.CausePermission, Text: "WITH ADMIN OPTION"},
			"REVOKE %[1]s FROM %[2]s CASCADE", "GRANT %[1]s TO %[2]s WITH ADMIN OPTION"),
		w.sql(rotatortest.Fault{Name: "may not make roles", Cause: rotator.CausePermission, Text: "CREATEROLE"},
			"ALTER ROLE %[2]s NOCREATEROLE", "ALTER ROLE %[2]s CREATEROLE"),
	}
}
