// Command bootstrap rotates the password of one PostgreSQL user, on AWS's
// rotation contract, as a Lambda function for the runtime provided.al2023.
//
// Build it with CGO_ENABLED=0 go build -o bootstrap and zip the binary. The
// secret is a JSON object: engine, host, username, password, and optionally
// port (5432), dbname (postgres) and ssl (true). Each step may be repeated.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	caBundle       = "/etc/pki/tls/cert.pem"
	connectTimeout = 5 * time.Second
)

// event is what Secrets Manager sends for each step.
type event struct {
	Step, SecretID, ClientRequestToken, RotationToken string
}

// UnmarshalJSON reads the members as AWS spells them.
func (e *event) UnmarshalJSON(b []byte) error {
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	*e = event{m["Step"], m["SecretId"], m["ClientRequestToken"], m["RotationToken"]}
	return nil
}

type rotation struct {
	event
	client *secretsmanager.Client
}

func main() {
	log.SetFlags(0)
	lambda.Start(handle)
}

func handle(ctx context.Context, e event) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	r := rotation{e, secretsmanager.NewFromConfig(cfg)}
	step, ok := map[string]func(context.Context) error{
		"createSecret": r.create, "setSecret": r.set, "testSecret": r.test, "finishSecret": r.finish,
	}[e.Step]
	if !ok {
		return fmt.Errorf("Invalid step parameter %s for secret %s", e.Step, e.SecretID)
	}
	if run, err := r.mustRun(ctx); err != nil || !run {
		return err
	}
	return step(ctx)
}

func (r *rotation) mustRun(ctx context.Context) (bool, error) {
	d, err := r.client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &r.SecretID})
	if err != nil {
		return false, err
	}
	if d.RotationEnabled == nil || !*d.RotationEnabled {
		return false, fmt.Errorf("secret %s is not enabled for rotation", r.SecretID)
	}
	for _, label := range d.VersionIdsToStages[r.ClientRequestToken] {
		switch label {
		case "AWSCURRENT":
			log.Printf("Secret version %s already set as AWSCURRENT for secret %s.", r.ClientRequestToken, r.SecretID)
			return false, nil
		case "AWSPENDING":
			return true, nil
		}
	}
	return false, fmt.Errorf("secret version %s not set as AWSPENDING for rotation of secret %s", r.ClientRequestToken, r.SecretID)
}

func (r *rotation) create(ctx context.Context) error {
	current, err := r.read(ctx, "AWSCURRENT", nil)
	if err != nil {
		return err
	}
	_, err = r.read(ctx, "AWSPENDING", &r.ClientRequestToken)
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); !missing {
		return err
	}
	password, err := r.client.GetRandomPassword(ctx, &secretsmanager.GetRandomPasswordInput{
		PasswordLength: new(int64(32)), ExcludeCharacters: new(`:/@"'\`),
	})
	if err != nil {
		return err
	}
	pending := maps.Clone(current)
	pending["password"] = *password.RandomPassword
	value, err := json.Marshal(pending)
	if err != nil {
		return err
	}
	_, err = r.client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &r.SecretID, ClientRequestToken: &r.ClientRequestToken, RotationToken: &r.RotationToken,
		SecretString: new(string(value)), VersionStages: []string{"AWSPENDING"},
	})
	return err
}

func (r *rotation) set(ctx context.Context) error {
	pending, err := r.read(ctx, "AWSPENDING", &r.ClientRequestToken)
	if err != nil {
		return err
	}
	if conn, err := connect(ctx, pending); err == nil {
		return conn.Close(ctx) // set by an earlier attempt
	}
	for _, stage := range []string{"AWSCURRENT", "AWSPREVIOUS"} {
		known, err := r.read(ctx, stage, nil)
		if err != nil {
			continue
		}
		conn, err := connect(ctx, known)
		if err != nil {
			log.Printf("setSecret: login with %s refused: %v", stage, err)
			continue
		}
		defer conn.Close(ctx)
		return setPassword(ctx, conn, known, pending)
	}
	return fmt.Errorf("unable to log into database with previous, current, or pending secret of secret arn %s", r.SecretID)
}

func setPassword(ctx context.Context, conn *pgx.Conn, known, pending map[string]any) error {
	for _, key := range []string{"username", "host"} {
		if known[key] != pending[key] {
			return fmt.Errorf("attempting to modify %s %v other than current %v", key, pending[key], known[key])
		}
	}
	// ALTER USER takes no parameters: the server quotes the literal.
	var statement string
	err := conn.QueryRow(ctx, "SELECT format('ALTER USER %I WITH PASSWORD %L', $1::text, $2::text)",
		pending["username"], pending["password"]).Scan(&statement)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		refusal, ok := errors.AsType[*pgconn.PgError](err)
		if !ok {
			return errors.New("the connection broke while the password was set")
		}
		return fmt.Errorf("the server refused the password: SQLSTATE %s", refusal.Code)
	}
	return nil
}

func (r *rotation) test(ctx context.Context) error {
	pending, err := r.read(ctx, "AWSPENDING", &r.ClientRequestToken)
	if err != nil {
		return err
	}
	conn, err := connect(ctx, pending)
	if err != nil {
		return fmt.Errorf("unable to log into database with pending secret of secret ARN %s: %w", r.SecretID, err)
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "SELECT NOW()")
	return err
}

func (r *rotation) finish(ctx context.Context) error {
	d, err := r.client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &r.SecretID})
	if err != nil {
		return err
	}
	for id, labels := range d.VersionIdsToStages {
		for _, label := range labels {
			if label != "AWSCURRENT" {
				continue
			}
			_, err := r.client.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
				SecretId: &r.SecretID, VersionStage: &label, MoveToVersionId: &r.ClientRequestToken, RemoveFromVersionId: &id,
			})
			return err
		}
	}
	return fmt.Errorf("secret %s has no current version", r.SecretID)
}

func (r *rotation) read(ctx context.Context, stage string, version *string) (map[string]any, error) {
	got, err := r.client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{
		SecretId: &r.SecretID, VersionStage: &stage, VersionId: version,
	})
	if err != nil {
		return nil, err
	}
	var value map[string]any
	if err := json.Unmarshal([]byte(*got.SecretString), &value); err != nil {
		return nil, fmt.Errorf("the %s value of secret %s is not a JSON object", stage, r.SecretID)
	}
	for _, key := range []string{"engine", "host", "username", "password"} {
		if _, ok := value[key].(string); !ok {
			return nil, fmt.Errorf("%s key is missing from secret JSON", key)
		}
	}
	return value, nil
}

func connect(ctx context.Context, value map[string]any) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig("sslmode=disable connect_timeout=5")
	if err != nil {
		return nil, err
	}
	host, _ := value["host"].(string)
	cfg.Host = host
	cfg.User, _ = value["username"].(string)
	cfg.Password, _ = value["password"].(string)
	cfg.Port, cfg.Database = 5432, "postgres"
	if port, ok := value["port"].(float64); ok {
		cfg.Port = uint16(port)
	}
	if name, ok := value["dbname"].(string); ok {
		cfg.Database = name
	}
	if ssl, ok := value["ssl"].(bool); !ok || ssl {
		roots := x509.NewCertPool()
		bundle, err := os.ReadFile(caBundle)
		if err != nil {
			return nil, err
		}
		roots.AppendCertsFromPEM(bundle)
		cfg.TLSConfig = &tls.Config{ServerName: host, RootCAs: roots}
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return pgx.ConnectConfig(ctx, cfg)
}
