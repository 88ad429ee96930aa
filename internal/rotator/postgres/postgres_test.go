package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

func secretOf(db *pgserver.Server, user, password string) map[string]any {
	return map[string]any{
		"engine": "postgres", "host": db.Host, "port": db.Port, "dbname": "postgres", "username": user, "password": password,
	}
}

func newTarget(t testing.TB, db *pgserver.Server) *rotatortest.Target {
	user := rotatortest.Unique("app")
	apitest.Exec(t, db, fmt.Sprintf(`CREATE USER %s PASSWORD 'first-Password-1'`, user))
	apitest.Exec(t, db, fmt.Sprintf(`CREATE TABLE %[1]s_orders (id int); GRANT SELECT, INSERT ON %[1]s_orders TO %[1]s`, user))
	target := &rotatortest.Target{
		Secret:    secretOf(db, user, "first-Password-1"),
		Superuser: secretOf(db, pgserver.Superuser, db.Password),
	}
	target.Login = func(ctx context.Context, secret map[string]any) error {
		conn, err := pgx.Connect(ctx, db.URL(secret["username"].(string), secret["password"].(string), "postgres"))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}
	target.Grants = func(ctx context.Context, name string) (string, error) {
		conn, err := pgx.Connect(ctx, db.AdminURL())
		if err != nil {
			return "", err
		}
		defer conn.Close(ctx)
		var held []string
		for _, privilege := range []string{"SELECT", "INSERT", "UPDATE", "DELETE"} {
			var has bool
			if err := conn.QueryRow(ctx, "SELECT has_table_privilege($1, $2, $3)", name, user+"_orders", privilege).Scan(&has); err != nil {
				return "", err
			}
			if has {
				held = append(held, privilege)
			}
		}
		slices.Sort(held)
		return strings.Join(held, " "), nil
	}
	return target
}

func TestContract(t *testing.T) {
	db, err := pgserver.Start(t.Context(), pgserver.Config{TLS: true, Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for name, overlaps := range map[string]bool{"postgres.single": false, "postgres.superuser": false, "postgres.alternating": true} {
		rotatortest.Suite{
			Rotator: name, Overlaps: overlaps,
			New:         func(t testing.TB) *rotatortest.Target { return newTarget(t, db) },
			Environment: map[string]string{"KEYTURN_CA_BUNDLE": rotatortest.PEM(t, db.CAFile)},
			Kill:        func(t testing.TB) { db.Kill() },
			Revive: func(t testing.TB) {
				if err := db.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			Faults: []rotatortest.Fault{{
				Name: "wrong password", Step: "setSecret", Cause: rotator.CauseAuthentication, Lockout: true,
				Change: func(secret map[string]any) { secret["password"] = "not-the-password" },
			}},
		}.Run(t)
	}
}
