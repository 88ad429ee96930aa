package mongo_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/mongo"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

// client connects as a user, and so without the code under test.
func client(port int, database, user, password string) (*driver.Client, error) {
	return driver.Connect(options.Client().SetHosts([]string{address(port)}).SetDirect(true).
		SetAuth(options.Credential{AuthSource: database, Username: user, Password: password}))
}

func logIn(ctx context.Context, port int, database, user, password string) error {
	return command(ctx, port, database, user, password, bson.D{{Key: "usersInfo", Value: user}}, nil)
}

func command(ctx context.Context, port int, database, user, password string, command bson.D, into any) error {
	c, err := client(port, database, user, password)
	if err != nil {
		return err
	}
	defer c.Disconnect(context.WithoutCancel(ctx))
	result := c.Database(database).RunCommand(ctx, command)
	if result.Err() != nil || into == nil {
		return result.Err()
	}
	return result.Decode(into)
}

// newTarget makes a user whose name and password need quoting where quoting
// is done at all.
func newTarget(t testing.TB, s *ferretDB) *rotatortest.Target {
	const database = "application"
	user, password := rotatortest.Unique(`o'Brien "x" %s\ `), `first 'P%40ss"\word$`
	// A user is made by the superuser of the database, whom FerretDB keeps in
	// admin alone.
	create := bson.D{{Key: "createUser", Value: user}, {Key: "pwd", Value: password}, {Key: "roles", Value: bson.A{}},
		{Key: "mechanisms", Value: bson.A{"SCRAM-SHA-256"}}}
	c, err := client(s.plain, "admin", rootName, rootPassword)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Disconnect(context.WithoutCancel(t.Context()))
	if err := c.Database(database).RunCommand(t.Context(), create).Err(); err != nil {
		t.Fatal(err)
	}
	secret := func(database, user, password string) map[string]any {
		return map[string]any{
			"engine": "mongo", "host": "127.0.0.1", "port": s.tls, "dbname": database, "username": user, "password": password,
			"ssl": true,
		}
	}
	return &rotatortest.Target{
		Secret: secret(database, user, password), Superuser: secret("admin", rootName, rootPassword),
		Login: func(ctx context.Context, secret map[string]any) error {
			return logIn(ctx, s.plain, database, secret["username"].(string), secret["password"].(string))
		},
		Grants: func(ctx context.Context, name string) (string, error) { return mechanisms(ctx, s, database, name) },
	}
}

func mechanisms(ctx context.Context, s *ferretDB, database, name string) (string, error) {
	var found bson.Raw
	info := bson.D{{Key: "usersInfo", Value: bson.D{{Key: "user", Value: name}, {Key: "db", Value: database}}}}
	if err := command(ctx, s.plain, "admin", rootName, rootPassword, info, &found); err != nil {
		return "", err
	}
	return found.Lookup("users", "0", "mechanisms").String(), nil
}

func TestContract(t *testing.T) {
	s := startFerretDB(t)
	for name, overlaps := range map[string]bool{"mongo.single": false, "mongo.superuser": false, "mongo.alternating": true} {
		suite := rotatortest.Suite{
			Rotator: name, Overlaps: overlaps,
			New:         func(t testing.TB) *rotatortest.Target { return newTarget(t, s) },
			Environment: map[string]string{"KEYTURN_CA_BUNDLE": s.cert.Authority},
			Faults: []rotatortest.Fault{{
				Name: "wrong password", Step: "setSecret", Cause: rotator.CauseAuthentication, Lockout: true,
				Change: func(secret map[string]any) { secret["password"] = "not-the-password" },
			}, {
				Name: "encryption where there is none", Step: "setSecret", Cause: rotator.CauseTLS,
				Change: func(secret map[string]any) { secret["port"] = s.plain },
			}},
		}
		if suite.NoKills = name != "mongo.alternating"; name == "mongo.superuser" {
			suite.Faults = nil // they are those of mongo.single
		}
		if name == "mongo.alternating" {
			suite.Kill = func(testing.TB) { s.kill() }
			suite.Revive = func(t testing.TB) {
				if err := s.start(); err != nil {
					t.Fatal(err)
				}
				s.await(t)
			}
		}
		suite.Run(t)
	}
}

func login(port int, database, user, password string) rotator.Login {
	d, err := rotator.ParseDocument(plaintext.Of("{}"))
	if err != nil {
		panic(err) // it is an object
	}
	return rotator.Login{
		Host: "127.0.0.1", Port: port, Database: database, Username: user, Password: plaintext.Of(password), Document: d,
	}
}

func TestConnect(t *testing.T) {
	s := startFerretDB(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.cert.Authority))
	trusting := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	for _, test := range []struct {
		name   string
		port   int
		user   string
		secure *tls.Config
		want   rotator.Cause
		text   string
	}{
		{"encrypted", s.tls, rootName, trusting, "", ""},
		{"plain", s.plain, rootName, nil, "", ""},
		{"encrypted where the server is not", s.plain, rootName, trusting, rotator.CauseTLS, "not enabled"},
		{"of an unknown authority", s.tls, rootName, &tls.Config{}, rotator.CauseTLS, "unknown authority"},
		{"unknown user", s.tls, "nobody", trusting, rotator.CauseAuthentication, ""},
		{"nothing there", freePort(t), rootName, nil, rotator.CauseTCP, "refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			session, err := mongo.New().Connect(t.Context(), login(test.port, "admin", test.user, rootPassword), test.secure)
			if err == nil {
				if err := errors.Join(session.Ping(t.Context()), session.Close(t.Context())); err != nil {
					t.Error(err)
				}
			}
			demand(t, err, test.want, test.text)
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// demand demands a failure of the cause whose text holds another; no cause
// means no failure.
func demand(t testing.TB, err error, cause rotator.Cause, text string) {
	t.Helper()
	f, ok := errors.AsType[*rotator.Failure](err)
	switch {
	case err == nil && cause == "":
	case !ok:
		t.Errorf("got %v, want a failure of the cause %q", err, cause)
	case f.Cause != cause || !strings.Contains(f.Text, text):
		t.Errorf("got %v, want the cause %q and %q in the text", f, cause, text)
	}
}
