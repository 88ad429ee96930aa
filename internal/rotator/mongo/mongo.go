// Package mongo rotates the passwords of users of MongoDB and of Amazon
// DocumentDB.
//
// A user belongs to the database that the secret's dbname names, admin unless
// it says otherwise: that is where it is looked up and authenticated. The
// host is one server, and is talked to alone; with a member replicaSet it is
// where the members of that set are learnt from, and its primary is used.
package mongo

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// selectionLimit is how long a server is looked for (AWS: the templates).
const selectionLimit = 5 * time.Second

// Engine is MongoDB.
type Engine struct{}

// New makes the engine.
func New() rotator.Engine { return Engine{} }

// Kind implements rotator.Engine (AWS: the templates).
func (Engine) Kind() rotator.Kind {
	return rotator.Kind{
		Title: "MongoDB", Accepts: []string{"mongo"}, Port: 27017, Database: "admin",
		Passwords: rotator.PasswordRules{Length: 32, Exclude: `/@"'\`}, KeepsAdminDatabase: true,
	}
}

// Connect implements rotator.Engine.
func (Engine) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.Session, error) {
	within, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	set := l.Document.Text("replicaSet")
	way := &way{secure: secure}
	if set == "" {
		way.stop = stop // there is no other server to wait for
	}
	client, err := mongo.Connect(clientOptions(l, set, way))
	if err != nil {
		return nil, rotator.Classify(err)
	}
	s := &session{client: client, login: l}
	if err := s.run(within, l.Database, bson.D{{Key: "ping", Value: 1}}, nil); err != nil {
		// The connection is of no use any more.
		_ = client.Disconnect(context.WithoutCancel(ctx))
		if f := way.failure(); f != nil && !answered(err) {
			return nil, f
		}
		return nil, err
	}
	return s, nil
}

// clientOptions make a client of one connection that does nothing twice: the
// rotation repeats its steps itself.
func clientOptions(l rotator.Login, set string, way *way) *options.ClientOptions {
	o := options.Client().
		SetAppName("keyturn-rotator").
		SetHosts([]string{net.JoinHostPort(l.Host, strconv.Itoa(l.Port))}).
		SetAuth(options.Credential{AuthSource: l.Database, Username: l.Username, Password: l.Password.RevealText(), PasswordSet: true}).
		SetDialer(way).
		SetServerSelectionTimeout(selectionLimit).
		SetServerMonitoringMode("poll").
		SetMaxPoolSize(1).
		SetRetryReads(false).
		SetRetryWrites(false) // DocumentDB has none
	if set != "" {
		return o.SetReplicaSet(set)
	}
	return o.SetDirect(true)
}

type session struct {
	client *mongo.Client
	login  rotator.Login
}

// database is where the users are whose passwords the session changes.
func (s *session) database() string {
	if s.login.Users != "" {
		return s.login.Users
	}
	return s.login.Database
}

// run runs a command; the error holds nothing of it.
func (s *session) run(ctx context.Context, database string, command bson.D, into any) error {
	result := s.client.Database(database).RunCommand(ctx, command)
	if err := result.Err(); err != nil {
		return classify(err)
	}
	if into == nil {
		return nil
	}
	if err := result.Decode(into); err != nil {
		return rotator.NewFailure(rotator.CauseOther, "", "the server's answer to "+command[0].Key+" could not be read", nil)
	}
	return nil
}

// Ping implements rotator.Session with the templates' command.
func (s *session) Ping(ctx context.Context) error {
	return s.run(ctx, s.login.Database, bson.D{{Key: "usersInfo", Value: s.login.Username}}, nil)
}

// Close implements rotator.Session.
func (s *session) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return s.client.Disconnect(ctx)
}

// SetOwnPassword implements rotator.Session.
func (s *session) SetOwnPassword(ctx context.Context, l rotator.Login, next plaintext.Value) error {
	return s.SetPassword(ctx, l.Username, next)
}

// SetPassword implements rotator.Session. The user keeps the mechanisms that
// it may log in by, which a server widens to all when they are not told.
func (s *session) SetPassword(ctx context.Context, name string, next plaintext.Value) error {
	command := bson.D{{Key: "updateUser", Value: name}, {Key: "pwd", Value: next.RevealText()}}
	u, err := s.user(ctx, name)
	if err != nil {
		return err
	}
	if u != nil && len(u.Mechanisms) > 0 {
		command = append(command, bson.E{Key: "mechanisms", Value: u.Mechanisms})
	}
	return s.run(ctx, s.database(), command, nil)
}

// UserExists implements rotator.Session.
func (s *session) UserExists(ctx context.Context, name string) (bool, error) {
	u, err := s.user(ctx, name)
	return u != nil, err
}

// CreateClone implements rotator.Session. The roles are there from the
// beginning: DocumentDB makes no user without any.
func (s *session) CreateClone(ctx context.Context, from rotator.Login, to string, password plaintext.Value) error {
	u, err := s.original(ctx, from)
	if err != nil {
		return err
	}
	command := bson.D{{Key: "createUser", Value: to}, {Key: "pwd", Value: password.RevealText()}}
	command = append(command, u.grants()...)
	if len(u.Mechanisms) > 0 {
		command = append(command, bson.E{Key: "mechanisms", Value: u.Mechanisms})
	}
	err = s.run(ctx, s.database(), command, nil)
	if f, ok := err.(*rotator.Failure); ok && f.Code == codeUserExists {
		return nil
	}
	return err
}

// CopyGrants implements rotator.Session.
func (s *session) CopyGrants(ctx context.Context, from rotator.Login, to string) error {
	u, err := s.original(ctx, from)
	if err != nil {
		return err
	}
	clone, err := s.user(ctx, to)
	if err != nil || clone != nil && clone.sameAs(u) {
		return err
	}
	return s.run(ctx, s.database(), append(bson.D{{Key: "updateUser", Value: to}}, u.grants()...), nil)
}
