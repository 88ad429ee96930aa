package mongo_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/mongo"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// doubleTarget makes a user with everything that users can have.
func doubleTarget(s *serverDouble) *rotatortest.Target {
	user := rotatortest.Unique("app")
	s.set(func() {
		u := s.add("application", user, "first-password", bson.A{role("readWrite", "application"), role("read", "reports")})
		if !s.documentDB {
			u.custom = bson.D{{Key: "team", Value: "billing"}}
			u.restrictions = bson.A{bson.D{{Key: "clientSource", Value: bson.A{"127.0.0.1"}}}}
		}
	})
	secret := func(database, user, password string) map[string]any {
		return map[string]any{
			"engine": "mongo", "host": "127.0.0.1", "port": s.port(), "dbname": database, "username": user, "password": password,
			"ssl": "false",
		}
	}
	return &rotatortest.Target{
		Secret: secret("application", user, "first-password"), Superuser: secret("admin", rootName, rootPassword),
		Login: func(ctx context.Context, secret map[string]any) error {
			return logIn(ctx, s.port(), "application", secret["username"].(string), secret["password"].(string))
		},
		Grants: func(_ context.Context, name string) (string, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			u := s.users["application."+name]
			return fmt.Sprint(u.roles, u.custom, u.restrictions, s.documentDB || len(u.mechanisms) == 1), nil
		},
	}
}

// doubleFaults are refusals of the commands that change users.
func doubleFaults(s *serverDouble) []rotatortest.Fault {
	var faults []rotatortest.Fault
	for name, refused := range map[string]*errorDouble{
		string(rotator.CauseReadOnly):   {10107, "not primary"},
		string(rotator.CausePolicy):     {2, "Password does not meet the requirements"},
		string(rotator.CausePermission): {13, "not authorized on application to execute command"},
	} {
		faults = append(faults, rotatortest.Fault{
			Name: name, Step: "setSecret", Cause: rotator.Cause(name),
			Break: func(testing.TB, *rotatortest.Target) func() {
				s.set(func() { s.refuse["updateUser"] = refused })
				return func() { s.set(func() { delete(s.refuse, "updateUser") }) }
			},
		})
	}
	return faults
}

// TestDouble rotates users with roles of a double of MongoDB, and of one of
// DocumentDB.
func TestDouble(t *testing.T) {
	for name, documentDB := range map[string]bool{"MongoDB": false, "DocumentDB": true} {
		t.Run(name, func(t *testing.T) {
			s := startDouble(t)
			s.documentDB = documentDB
			for rotator, overlaps := range map[string]bool{"mongo.single": false, "mongo.alternating": true} {
				suite := rotatortest.Suite{
					Rotator: rotator, Overlaps: overlaps, NoKills: true,
					New: func(testing.TB) *rotatortest.Target { return doubleTarget(s) },
				}
				if rotator == "mongo.single" && !documentDB {
					suite.Faults = doubleFaults(s)
				}
				suite.Run(t)
			}
		})
	}
}

// TestCopyGrants brings a clone up to date after the original's roles have
// changed, and does nothing the second time.
func TestCopyGrants(t *testing.T) {
	s := startDouble(t)
	user := doubleTarget(s).Secret["username"].(string)
	master := login(s.port(), "admin", rootName, rootPassword)
	master.Users = "application"
	session, err := mongo.New().Connect(t.Context(), master, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(t.Context())
	from := login(s.port(), "application", user, "")
	for range 2 { // as after a crash
		if err := session.CreateClone(t.Context(), from, user+"_clone", plaintext.Of("throwaway")); err != nil {
			t.Fatal(err)
		}
	}
	s.set(func() { s.users["application."+user].roles = bson.A{role("dbAdmin", "application")} })
	if err := session.CopyGrants(t.Context(), from, user+"_clone"); err != nil {
		t.Fatal(err)
	}
	var got string
	s.set(func() { got = fmt.Sprint(s.users["application."+user+"_clone"].roles) })
	if !strings.Contains(got, "dbAdmin") || strings.Contains(got, "readWrite") {
		t.Errorf("the clone has the roles %s", got)
	}
	s.set(func() { s.refuse["updateUser"] = &errorDouble{13, "no"} })
	if err := session.CopyGrants(t.Context(), from, user+"_clone"); err != nil {
		t.Errorf("again: %v", err)
	}
	demand(t, session.CopyGrants(t.Context(), login(s.port(), "application", "nobody", ""), user), rotator.CauseMissingUser, "nobody")
}

func TestRefusals(t *testing.T) {
	s := startDouble(t)
	for code, want := range map[int32]rotator.Cause{
		18: rotator.CauseAuthentication, 334: rotator.CauseAuthentication, 8000: rotator.CauseAuthentication, 13436: rotator.CauseUnavailable,
		11600: rotator.CauseUnavailable, 13435: rotator.CauseReadOnly, 4242: rotator.CauseOther,
	} {
		s.set(func() { s.refuse["saslStart"] = &errorDouble{code, "bad auth"} })
		_, err := mongo.New().Connect(t.Context(), login(s.port(), "admin", rootName, rootPassword), nil)
		demand(t, err, want, "")
		if f, _ := errors.AsType[*rotator.Failure](err); f != nil && f.Code != fmt.Sprint(code) {
			t.Errorf("got the code %q, want %d", f.Code, code)
		}
	}
}

// TestSilentServer shows that an attempt ends with its deadline, and that a
// server that hangs up at once ends it earlier.
func TestSilentServer(t *testing.T) {
	for name, hangUp := range map[string]bool{"silent": false, "hangs up": true} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					if hangUp {
						conn.Close()
					} else {
						defer conn.Close()
					}
				}
			}()
			want, patience := rotator.CauseTimeout, 500*time.Millisecond
			if hangUp {
				want, patience = rotator.CauseTLSRequired, 30*time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			began := time.Now()
			_, err = mongo.New().Connect(ctx, login(l.Addr().(*net.TCPAddr).Port, "admin", "u", "p"), nil)
			demand(t, err, want, "")
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
