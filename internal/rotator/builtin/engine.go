package builtin

import (
	"context"
	"crypto/tls"
	"strings"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/directory"
	"github.com/keyturn/keyturn/internal/rotator/influxdb"
	"github.com/keyturn/keyturn/internal/rotator/mongo"
	"github.com/keyturn/keyturn/internal/rotator/mysql"
	"github.com/keyturn/keyturn/internal/rotator/oracle"
	"github.com/keyturn/keyturn/internal/rotator/postgres"
	"github.com/keyturn/keyturn/internal/rotator/probe"
	"github.com/keyturn/keyturn/internal/rotator/rabbitmq"
	"github.com/keyturn/keyturn/internal/rotator/redis"
	"github.com/keyturn/keyturn/internal/rotator/redshift"
	"github.com/keyturn/keyturn/internal/rotator/sqlserver"
	"github.com/keyturn/keyturn/internal/rotator/ssh"
)

// Engines are the kinds of servers that a probe can log in to: all that
// rotators log in to by what stands in the secret alone.
func Engines() []probe.Engine {
	return []probe.Engine{
		probe.Of(postgres.New()), probe.Of(mysql.New()), probe.Of(mysql.NewMariaDB()), probe.Of(oracle.New()), probe.Of(sqlserver.New()),
		probe.Of(redshift.New()), probe.Of(mongo.New()), probe.OfOverlap(redis.New()), probe.Of(rabbitmq.New()), probe.Of(directory.NewLDAP()),
		probe.Of(directory.NewActiveDirectory()), probe.Of(influxdb.Engine{}), {Kind: ssh.SingleUser{}.Kind(), Enter: enterSSH},
	}
}

// enterSSH logs in by a key, which the secret holds in place of a password.
func enterSSH(ctx context.Context, l rotator.Login, _ *tls.Config) (probe.Visit, error) {
	if err := (ssh.SingleUser{}).LogIn(ctx, l.Document); err != nil {
		return nil, err
	}
	return left{}, nil
}

// left is a visit that is over: the login was the proof.
type left struct{}

// Ping implements probe.Visit.
func (left) Ping(context.Context) error { return nil }

// Close implements probe.Visit.
func (left) Close(context.Context) error { return nil }

// EngineOf is the engine of a built-in rotator's secrets, by its name: of
// postgres.single it is postgres. "" is for rotators that log in to nothing.
func EngineOf(name string) string {
	engine, _, _ := strings.Cut(name, ".")
	for _, e := range Engines() {
		if e.Kind.Matches(engine) {
			return engine
		}
	}
	return ""
}
