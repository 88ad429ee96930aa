package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/pgserver"
)

var (
	database once[*pgserver.Server]
	backing  once[*pgserver.Server]
	names    atomic.Int64
)

func sharedPostgres(t testing.TB, o *once[*pgserver.Server], cfg pgserver.Config) *pgserver.Server {
	t.Helper()
	s, err := o.get(func() (*pgserver.Server, error) {
		s, err := pgserver.Start(context.Background(), cfg)
		if err == nil {
			shared.atEnd(s.Close)
		}
		return s, err
	})
	if err != nil {
		t.Fatalf("starting PostgreSQL: %v", err)
	}
	return s
}

// Database is a PostgreSQL with SCRAM and TLS whose passwords are rotated. It
// is shared by the tests of a binary.
func Database(t testing.TB) *pgserver.Server {
	t.Helper()
	return sharedPostgres(t, &database, pgserver.Config{TLS: true})
}

// StoreURL is a fresh, empty place in a PostgreSQL for a server to store in.
func StoreURL(t testing.TB) string {
	t.Helper()
	s := sharedPostgres(t, &backing, pgserver.Config{Settings: map[string]string{"max_connections": "200"}})
	return fmt.Sprintf("%s&search_path=keyturn_%d", s.AdminURL(), names.Add(1))
}

// User is a user of a database, with the secret value that describes it.
type User struct {
	Name     string
	Password string
	db       *pgserver.Server
}

// NewUser makes a user in the database.
func NewUser(t testing.TB, db *pgserver.Server) User {
	t.Helper()
	u := User{Name: fmt.Sprintf("app_%d", names.Add(1)), Password: "first-Password-1", db: db}
	Exec(t, db, fmt.Sprintf("CREATE USER %s PASSWORD '%s'", u.Name, u.Password))
	return u
}

// Exec runs a statement as the database's superuser.
func Exec(t testing.TB, db *pgserver.Server, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.AdminURL())
	if err != nil {
		t.Fatalf("connecting to PostgreSQL: %v", err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", strings.Fields(statement)[0], err)
	}
}

// Value is the user's secret with a password.
func (u User) Value(password string) string {
	b, _ := json.Marshal(map[string]any{ // strings and numbers always marshal
		"engine": "postgres", "host": u.db.Host, "port": u.db.Port, "dbname": "postgres",
		"username": u.Name, "password": password, "ssl": true,
	})
	return string(b)
}

// PasswordIn returns the password in a secret value.
func PasswordIn(t testing.TB, value string) string {
	t.Helper()
	var v struct {
		Password string `json:"password"`
	}
	if err := json.Unmarshal([]byte(value), &v); err != nil {
		t.Fatal("the value is not a JSON object")
	}
	return v.Password
}

// Login tells whether the database takes the user with the password.
func (u User) Login(ctx context.Context, password string) error {
	conn, err := pgx.Connect(ctx, u.db.URL(u.Name, password, "postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}
