// Package demo shows the main job end to end: a private PostgreSQL and a
// server in temporary folders, an application user, a secret and a rotation
// function, two rotations on demand, and a schedule. Everything is real: the
// database checks passwords with SCRAM over TLS, and the server is the same
// program that runs in production.
package demo

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/examples"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotate"
)

const (
	secretName   = "demo/app-user"
	functionName = "demo-rotate-postgres"
	roleName     = "demo-rotation"
	appUser      = "app_user"
	schedule     = "cron(0 2 ? * SUN *)"
	window       = "3h"
)

const trustPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// Config says where a demo's parts are.
type Config struct {
	// Binary is the keyturn program to run as the server.
	Binary string
	// Python is the interpreter to run the function with; it must be able
	// to import boto3 and psycopg2. Empty: found by FindPython.
	Python string
	// Out gets what the demo shows.
	Out io.Writer
}

// demo is one showing.
type demo struct {
	out io.Writer
	db  *pgserver.Server
	// operator and application reach the server as these users; role is the
	// function's.
	operator, application aws.Config
	role                  string
	// secrets is the operator's client.
	secrets *secretsmanager.Client
	arn     string
	began   time.Time
	// timeline collects what happened, for the end.
	timeline []string
}

// Run shows the demo and cleans up after it, also when ctx is cancelled.
func Run(ctx context.Context, c Config) (err error) {
	var python interpreter
	if python.runtime, python.path, err = FindPython(ctx, c.Python); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "keyturn-demo-")
	if err != nil {
		return fmt.Errorf("making a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{out: c.Out, began: time.Now()}
	d.say("Starting a private PostgreSQL (SCRAM, TLS) ...")
	if d.db, err = pgserver.Start(ctx, pgserver.Config{TLS: true}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.db.Close()) }()
	d.say("Starting keyturn serve ...")
	stop, root, err := startServer(ctx, c.Binary, dir, python, d.db.CAFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := d.createIdentities(ctx, root); err != nil {
		return err
	}
	d.secrets = secretsmanager.NewFromConfig(d.operator)
	return d.show(ctx, python)
}

func (d *demo) show(ctx context.Context, python interpreter) error {
	first, err := d.createUser(ctx)
	if err != nil {
		return err
	}
	if err := d.createSecret(ctx, first); err != nil {
		return err
	}
	function, err := d.createFunction(ctx, python.runtime)
	if err != nil {
		return err
	}
	old := first
	for turn := range 2 {
		d.say("")
		d.say("Rotation %d:", turn+1)
		if err := d.rotate(ctx, turn, function); err != nil {
			return err
		}
		if old, err = d.prove(ctx, old); err != nil {
			return err
		}
	}
	if err := d.schedule(ctx); err != nil {
		return err
	}
	d.say("")
	d.say("Timeline:")
	for _, line := range d.timeline {
		d.say("  %s", line)
	}
	d.say("Done in %.1f s.", time.Since(d.began).Seconds())
	return nil
}

func (d *demo) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, format+"\n", args...)
}

// note puts an entry on the timeline.
func (d *demo) note(format string, args ...any) {
	d.timeline = append(d.timeline, fmt.Sprintf("%6.2f s  ", time.Since(d.began).Seconds())+fmt.Sprintf(format, args...))
}

// createUser makes the application's user in the database and returns its
// first password.
func (d *demo) createUser(ctx context.Context) (string, error) {
	random, err := d.secrets.GetRandomPassword(ctx, &secretsmanager.GetRandomPasswordInput{ExcludePunctuation: aws.Bool(true)})
	if err != nil {
		return "", fmt.Errorf("making a first password: %w", err)
	}
	password := *random.RandomPassword
	conn, err := pgx.Connect(ctx, d.db.AdminURL())
	if err != nil {
		return "", fmt.Errorf("connecting to the demo's PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	// The password is letters and digits, so it needs no quoting.
	if _, err := conn.Exec(ctx, "CREATE USER "+appUser+" PASSWORD '"+password+"'"); err != nil {
		return "", fmt.Errorf("creating the application user: %w", err)
	}
	d.say("Created the database user %s.", appUser)
	return password, nil
}

func (d *demo) createSecret(ctx context.Context, password string) error {
	value, err := json.Marshal(map[string]any{
		"engine": "postgres", "host": d.db.Host, "port": d.db.Port, "dbname": "postgres",
		"username": appUser, "password": password, "ssl": true,
	})
	if err != nil {
		return err
	}
	out, err := d.secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: aws.String(secretName), SecretString: aws.String(string(value)),
	})
	if err != nil {
		return fmt.Errorf("creating the secret: %w", err)
	}
	d.arn = *out.ARN
	d.say("Created the secret %s.", d.arn)
	d.note("secret %s created", secretName)
	return nil
}

// createFunction makes the function from the example and admits Secrets Manager to it.
func (d *demo) createFunction(ctx context.Context, runtime string) (string, error) {
	code, err := zipExample()
	if err != nil {
		return "", err
	}
	client := lambda.NewFromConfig(d.operator)
	fn, err := client.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: aws.String(functionName), Role: &d.role, Runtime: lambdatypes.Runtime(runtime),
		Handler: aws.String("lambda_function.lambda_handler"), Timeout: aws.Int32(30),
		Code: &lambdatypes.FunctionCode{ZipFile: code},
	})
	if err != nil {
		return "", fmt.Errorf("creating the rotation function: %w", err)
	}
	_, err = client.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: fn.FunctionArn, StatementId: aws.String("SecretsManager"),
		Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("secretsmanager.amazonaws.com"),
	})
	if err != nil {
		return "", fmt.Errorf("admitting Secrets Manager to the function: %w", err)
	}
	if err := lambda.NewFunctionActiveV2Waiter(client).Wait(ctx, &lambda.GetFunctionInput{FunctionName: fn.FunctionArn}, time.Minute); err != nil {
		return "", fmt.Errorf("waiting for the function: %w", err)
	}
	d.say("Created the rotation function %s (%s).", *fn.FunctionArn, runtime)
	d.note("function %s created", functionName)
	return *fn.FunctionArn, nil
}

func zipExample() ([]byte, error) {
	source, err := examples.Files.ReadFile("postgres-python/lambda_function.py")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("lambda_function.py")
	if err != nil {
		return nil, err
	}
	_, err = w.Write(source)
	err = errors.Join(err, z.Close())
	return b.Bytes(), err
}

func (d *demo) rotate(ctx context.Context, turn int, function string) error {
	if turn == 0 { // configure, then every rotation uses what is stored
		_, err := d.secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{
			SecretId: &d.arn, RotationLambdaARN: &function, RotateImmediately: aws.Bool(false),
			RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
		})
		if err != nil {
			return fmt.Errorf("configuring rotation: %w", err)
		}
		if err := d.settled(ctx); err != nil {
			return err
		}
		d.say("  configured; the function's testSecret passed with the present password")
	}
	r, err := rotate.Start(ctx, rotate.NewClients(d.operator), d.arn)
	if err != nil {
		return err
	}
	return r.Watch(ctx, func(l rotate.Line) {
		d.say("  %s", l.Text())
		if rep := l.Report; rep != nil && (rep.Status == rotate.Done || rep.Step == "") {
			d.note("rotation %d: %s", turn+1, l.Text())
		}
	})
}

// settled waits until no version but the current one is pending: the
// configuration test is over.
func (d *demo) settled(ctx context.Context) error {
	for ctx.Err() == nil {
		out, err := d.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &d.arn})
		if err != nil {
			return err
		}
		pending := false
		for _, labels := range out.VersionIdsToStages {
			for _, label := range labels {
				pending = pending || label == "AWSPENDING"
			}
		}
		if !pending {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return ctx.Err()
}

// prove reads the new password as the application, which alone may, logs in with the new password and shows that the old one is refused.
// It returns the new one.
func (d *demo) prove(ctx context.Context, old string) (string, error) {
	get := &secretsmanager.GetSecretValueInput{SecretId: &d.arn}
	got, err := secretsmanager.NewFromConfig(d.application).GetSecretValue(ctx, get)
	if err != nil {
		return "", fmt.Errorf("reading the new password: %w", err)
	}
	_, err = d.secrets.GetSecretValue(ctx, get)
	if refused, ok := errors.AsType[smithy.APIError](err); !ok || refused.ErrorCode() != "AccessDeniedException" {
		return "", fmt.Errorf("the operator, who may not, asked for the password and got: %w", err)
	}
	var value struct {
		Password string `json:"password"`
	}
	if err := json.Unmarshal([]byte(*got.SecretString), &value); err != nil {
		return "", errors.New("the new value is not a JSON object")
	}
	if value.Password == old {
		return "", errors.New("the password did not change")
	}
	if err := d.login(ctx, value.Password); err != nil {
		return "", fmt.Errorf("the new password does not log in: %w", err)
	}
	d.say("  read by the application, refused to the operator")
	d.say("  login with the new password: accepted")
	if err := d.login(ctx, old); err == nil {
		return "", errors.New("the old password still logs in")
	}
	d.say("  login with the old password: refused by PostgreSQL")
	d.note("new password accepted, old one refused")
	return value.Password, nil
}

func (d *demo) login(ctx context.Context, password string) error {
	conn, err := pgx.Connect(ctx, d.db.URL(appUser, password, "postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (d *demo) schedule(ctx context.Context) error {
	_, err := d.secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{
		SecretId: &d.arn, RotateImmediately: aws.Bool(false),
		RotationRules: &smtypes.RotationRulesType{ScheduleExpression: aws.String(schedule), Duration: aws.String(window)},
	})
	if err != nil {
		return fmt.Errorf("turning the schedule on: %w", err)
	}
	if err := d.settled(ctx); err != nil {
		return err
	}
	out, err := d.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &d.arn})
	if err != nil {
		return err
	}
	d.say("")
	d.say("Schedule %s with a window of %s is on; it rotates by itself before %s.",
		schedule, window, aws.ToTime(out.NextRotationDate).UTC().Format(time.RFC1123))
	d.note("schedule on: next rotation before %s", aws.ToTime(out.NextRotationDate).UTC().Format(time.RFC3339))
	return nil
}
