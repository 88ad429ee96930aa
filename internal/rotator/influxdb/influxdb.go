// Package influxdb rotates the passwords of InfluxDB 2 users, and tokens.
//
// The server is one of Timestream for InfluxDB, which the secret names by
// dbIdentifier (engine timestream-influxdb), or any other, by host, port and
// ssl (engine influxdb). Only the HTTP API is used, without a proxy.
package influxdb

import (
	"context"
	"crypto/tls"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/timestreaminfluxdb"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// timestream is the engine whose servers AWS runs: they are asked for by
// their identifier, and always encrypted.
const timestream = "timestream-influxdb"

// Engine is InfluxDB 2.
type Engine struct{}

// Kind implements rotator.Engine (AWS: the templates; the password is what
// GetRandomPassword makes when it is not asked for anything).
func (Engine) Kind() rotator.Kind {
	return rotator.Kind{
		Title: "InfluxDB", Accepts: []string{timestream, "influxdb"}, Required: []string{"username", "password"}, Port: 8086,
		Passwords: rotator.PasswordRules{Length: 32},
	}
}

// User changes the password of a user, by the user itself.
type User struct{ *rotator.SingleUser }

// NewUser makes the rotator.
func NewUser() rotator.Rotator { return User{rotator.NewSingleUser(Engine{})} }

// Set implements rotator.Rotator.
func (u User) Set(ctx context.Context, r *rotator.Rotation) error {
	cur, err := r.Current(ctx)
	if err != nil {
		return err
	}
	next, err := r.Pending(ctx)
	if err != nil {
		return err
	}
	if err := sameDB(cur, next, "user"); err != nil {
		return err
	}
	return u.SingleUser.Set(ctx, r)
}

// sameDB guards against a pending version that would change something on
// another server than the current one's.
func sameDB(cur, next *rotator.Document, what string) error {
	for _, member := range []string{"dbIdentifier", "host", "port"} {
		if c, n := cur.Text(member), next.Text(member); c != n {
			return rotator.Invalid("Attempting to modify %s for DB %s other than current DB %s.", what, n, c)
		}
	}
	return nil
}

// Connect implements rotator.Engine. A secret without a user name is one of a
// token, which needs no login: it is only used.
func (Engine) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.Session, error) {
	l, err := locate(ctx, l)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		secure = secure.Clone()
		secure.ServerName = l.Host
	} else if l.Document.Text("engine") == timestream {
		return nil, rotator.NewFailure(rotator.CauseTLSRequired, "", "Timestream for InfluxDB takes no plain connections", nil)
	}
	s := newSession(l, secure)
	if l.Document.Has("username") {
		err = s.signIn(ctx, l.Username, l.Password)
	} else {
		s.token = l.Document.Secret("token")
		err = s.Ping(ctx)
	}
	if err != nil {
		s.forget()
		return nil, err
	}
	return s, nil
}

// locate completes a login to a server of Timestream for InfluxDB.
func locate(ctx context.Context, l rotator.Login) (rotator.Login, error) {
	id := l.Document.Text("dbIdentifier")
	if l.Document.Text("engine") != timestream {
		if l.Host == "" {
			return l, rotator.MissingKey("host")
		}
		return l, nil
	}
	if id == "" {
		return l, rotator.MissingKey("dbIdentifier")
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return l, rotator.Classify(err)
	}
	db, err := timestreaminfluxdb.NewFromConfig(cfg).GetDbInstance(ctx, &timestreaminfluxdb.GetDbInstanceInput{Identifier: &id})
	if err != nil {
		f := rotator.Classify(err)
		return l, rotator.NewFailure(f.Cause, f.Code, "asking for the endpoint of DB "+id+": "+f.Text, f)
	}
	if l.Host = aws.ToString(db.Endpoint); l.Host == "" {
		return l, rotator.NewFailure(rotator.CauseUnavailable, "", "DB "+id+" has no endpoint yet: its status is "+string(db.Status), nil)
	}
	if db.Port != nil {
		l.Port = int(*db.Port)
	}
	return l, nil
}

// Ping implements rotator.Session (AWS: the template lists organizations).
func (s *session) Ping(ctx context.Context) error {
	return s.call(ctx, "GET", "/api/v2/orgs?limit=1", nil, nil)
}

// SetOwnPassword implements rotator.Session.
func (s *session) SetOwnPassword(ctx context.Context, _ rotator.Login, next plaintext.Value) error {
	var me identified
	if err := s.call(ctx, "GET", "/api/v2/me", nil, &me); err != nil {
		return err
	}
	return s.setPassword(ctx, me.ID, next)
}

// SetPassword implements rotator.Session.
func (s *session) SetPassword(ctx context.Context, user string, next plaintext.Value) error {
	id, err := s.userID(ctx, user)
	if err != nil {
		return err
	}
	if id == "" {
		return rotator.NewFailure(rotator.CauseMissingUser, "", "the user does not exist", nil)
	}
	return s.setPassword(ctx, id, next)
}

// UserExists implements rotator.Session.
func (s *session) UserExists(ctx context.Context, user string) (bool, error) {
	id, err := s.userID(ctx, user)
	return id != "", err
}

// CreateClone implements rotator.Session by refusing: InfluxDB's users are not
// alternated, its tokens are (AWS: the templates).
func (*session) CreateClone(context.Context, rotator.Login, string, plaintext.Value) error {
	return errNoClones()
}

// CopyGrants implements rotator.Session as CreateClone does.
func (*session) CopyGrants(context.Context, rotator.Login, string) error { return errNoClones() }

func errNoClones() error {
	return rotator.NewFailure(rotator.CauseOther, "", "users of InfluxDB are not alternated; rotate a token instead", nil)
}
