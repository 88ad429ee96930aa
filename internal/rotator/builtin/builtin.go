// Package builtin lists the rotators that the keyturn program holds, and runs
// one as a Lambda function.
//
// With Lambda's Runtime API in its environment, and a handler such as
// rotator.postgres.single, the program is its own bootstrap, here and on AWS.
package builtin

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/command"
	"github.com/keyturn/keyturn/internal/rotator/directory"
	"github.com/keyturn/keyturn/internal/rotator/elasticache"
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

// prefix is what handlers of built-in rotators begin with.
const prefix = "rotator."

// table makes the rotators by their names, which are ENGINE.STRATEGY.
var table = map[string]func() rotator.Rotator{
	"activedirectory.keytab":    directory.NewDomainKeytab,
	"activedirectory.single":    single(directory.NewActiveDirectory),
	"activedirectory.superuser": superuser(directory.NewActiveDirectory),
	"command":                   command.New,
	"directoryservice.keytab":   directory.NewServiceKeytab,
	"directoryservice.single":   directory.NewService,
	"elasticache.overlap":       elasticache.New,
	"influxdb.single":           influxdb.NewUser,
	"influxdb.token":            influxdb.NewToken,
	"ldap.single":               single(directory.NewLDAP),
	"ldap.superuser":            superuser(directory.NewLDAP),
	"mariadb.alternating":       alternating(mysql.NewMariaDB),
	"mariadb.single":            single(mysql.NewMariaDB),
	"mariadb.superuser":         superuser(mysql.NewMariaDB),
	"mongo.alternating":         alternating(mongo.New),
	"mongo.single":              single(mongo.New),
	"mongo.superuser":           superuser(mongo.New),
	"mysql.alternating":         alternating(mysql.New),
	"mysql.single":              single(mysql.New),
	"mysql.superuser":           superuser(mysql.New),
	"oracle.alternating":        alternating(oracle.New),
	"oracle.single":             single(oracle.New),
	"oracle.superuser":          superuser(oracle.New),
	"postgres.alternating":      alternating(postgres.New),
	"postgres.single":           single(postgres.New),
	"postgres.superuser":        superuser(postgres.New),
	"rabbitmq.alternating":      alternating(rabbitmq.New),
	"rabbitmq.single":           single(rabbitmq.New),
	"rabbitmq.superuser":        superuser(rabbitmq.New),
	"redis.overlap":             overlap(redis.New),
	"redis.single":              replace(redis.New),
	"redshift.alternating":      alternating(redshift.New),
	"redshift.single":           single(redshift.New),
	"redshift.superuser":        superuser(redshift.New),
	"sqlserver.alternating":     alternating(sqlserver.New),
	"sqlserver.single":          single(sqlserver.New),
	"sqlserver.superuser":       superuser(sqlserver.New),
	"ssh.single":                ssh.NewSingleUser,
}

// managed makes the rotators by which RDS rotates the secrets that it owns.
// Nobody deploys them: they are in no list.
var managed = map[string]func() rotator.Rotator{
	"mariadb.managed":   keeping(mysql.NewMariaDB),
	"mysql.managed":     keeping(mysql.New),
	"oracle.managed":    keeping(oracle.New),
	"postgres.managed":  keeping(postgres.New),
	"sqlserver.managed": keeping(sqlserver.New),
}

func keeping(engine func() rotator.Engine) func() rotator.Rotator {
	return func() rotator.Rotator { return rotator.NewManaged(engine()) }
}

func single(engine func() rotator.Engine) func() rotator.Rotator {
	return func() rotator.Rotator { return rotator.NewSingleUser(engine()) }
}

func superuser(engine func() rotator.Engine) func() rotator.Rotator {
	return func() rotator.Rotator { return rotator.NewSuperuser(engine()) }
}

func overlap(engine func() rotator.OverlapEngine) func() rotator.Rotator {
	return func() rotator.Rotator { return rotator.NewOverlapPasswords(engine()) }
}

func replace(engine func() rotator.OverlapEngine) func() rotator.Rotator {
	return func() rotator.Rotator { return rotator.NewReplacePassword(engine()) }
}

func alternating(engine func() rotator.Engine) func() rotator.Rotator {
	return func() rotator.Rotator { return rotator.NewAlternatingUsers(engine()) }
}

// Names returns the rotators' names in alphabetical order.
func Names() []string { return slices.Sorted(maps.Keys(table)) }

// New makes a rotator by its name; ok is false if there is none.
func New(name string) (r rotator.Rotator, ok bool) {
	create, ok := table[name]
	if !ok {
		return nil, false
	}
	return create(), true
}

// Handler is the Lambda handler of a rotator.
func Handler(name string) string { return prefix + name }

// RunIfAsked runs the rotator that the environment's handler names, and does
// not return, if the process was started as a Lambda function's bootstrap.
func RunIfAsked() {
	handler := os.Getenv("_HANDLER")
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") == "" || !strings.HasPrefix(handler, prefix) {
		return
	}
	run, err := start(strings.TrimPrefix(handler, prefix))
	if err != nil {
		fmt.Fprintln(os.Stderr, "keyturn:", err)
		os.Exit(1)
	}
	settle()
	lambda.Start(run)
}

// start makes the function's handler.
func start(name string) (func(context.Context, rotator.Event) (any, error), error) {
	r, ok := New(name)
	if create, owned := managed[name]; owned {
		r, ok = create(), true
	}
	if !ok {
		return nil, fmt.Errorf("the handler names the rotator %s, which does not exist; there are: %s", name, strings.Join(Names(), ", "))
	}
	h, err := rotator.NewHandler(context.Background(), r, os.Stdout)
	if err != nil {
		return nil, err
	}
	var worked sync.Once
	return func(ctx context.Context, e rotator.Event) (any, error) {
		defer worked.Do(shrink) // the first event needs what no other does
		if e.Step == probe.Step {
			results, err := probe.Serve(ctx, h, Engines(), EngineOf(name), e)
			return results, answer(err)
		}
		return nil, answer(h.Handle(ctx, e))
	}, nil
}

// answer gives an error the errorType that callers of AWS's templates know.
func answer(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*rotator.Error); ok {
		return messages.InvokeResponse_Error{Type: e.Type, Message: e.Text}
	}
	return err
}
