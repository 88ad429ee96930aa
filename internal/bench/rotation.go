package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/examples"
	"github.com/keyturn/keyturn/internal/deploy"
	"github.com/keyturn/keyturn/internal/pgserver"
)

const (
	builtinFunction = "bench-builtin"
	pythonFunction  = "bench-python"
	// crowd is how many execution environments the memory is measured with.
	crowd = 4
	// functionRights let the functions' role rotate and log.
	functionRights = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["secretsmanager:*","logs:*"],"Resource":"*"}}`
	functionTrust  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`
)

// rotationBench rotates the passwords of PostgreSQL users: by the built-in
// rotator and by the Python function of the examples, in one run on one
// server and one database.
type rotationBench struct {
	db      *pgserver.Server
	server  *process
	cfg     aws.Config
	secrets *secretsmanager.Client
	lambda  *lambda.Client
	length  time.Duration
	// arns are the functions'.
	arns map[string]string
	// data and args are the server's; runtime is that of the Python function.
	data, runtime string
	args          []string
}

// startRotationBench starts a database and a server on a data folder. stop
// stops both.
func startRotationBench(ctx context.Context, binary, data string, length time.Duration) (b *rotationBench, stop func() error, err error) {
	b = &rotationBench{length: length, arns: map[string]string{}, data: data}
	var path string
	if b.runtime, path, err = findPython(ctx); err != nil {
		return nil, nil, err
	}
	b.db, err = pgserver.Start(ctx, pgserver.Config{TLS: true, Settings: map[string]string{"max_connections": fmt.Sprint(maxConnections)}})
	if err != nil {
		return nil, nil, err
	}
	b.args = []string{
		"serve", "--data", data, "--listen", "127.0.0.1:0", "--log-level", "error", "--runtime", b.runtime + "=" + path, "--ca-bundle", b.db.CAFile,
	}
	if b.server, err = start(ctx, binary, b.args...); err != nil {
		return nil, nil, errors.Join(err, b.db.Close())
	}
	b.useServer()
	return b, func() error { return errors.Join(b.server.stop(), b.db.Close()) }, nil
}

// useServer makes the clients of the server.
func (b *rotationBench) useServer() {
	url := "http://" + b.server.addr
	b.cfg = aws.Config{Region: region, BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, "")}
	b.secrets, b.lambda = secretsmanager.NewFromConfig(b.cfg), lambda.NewFromConfig(b.cfg)
}

// measureRotations runs the section on rotation. many secrets are due at
// once in its last part.
func measureRotations(ctx context.Context, binary, dir string, length time.Duration, many int, only string) (err error) {
	b, stop, err := startRotationBench(ctx, binary, filepath.Join(dir, "rotation"), length)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if only == "doctor" {
		many = 1
	}
	if err := b.createUsers(ctx, many); err != nil {
		return err
	}
	if err := b.createFunctions(ctx, b.runtime); err != nil {
		return err
	}
	if only != "doctor" {
		if err := b.compare(ctx, many); err != nil {
			return err
		}
		if err := b.rush(ctx, many); err != nil {
			return err
		}
	}
	return b.diagnose(ctx, binary)
}

// findPython returns the host's Python that can run the example.
func findPython(ctx context.Context) (runtime, path string, err error) {
	const probe = "import sys, boto3, psycopg2; print('python%d.%d' % sys.version_info[:2])"
	path = "/usr/bin/python3"
	out, err := exec.CommandContext(ctx, path, "-c", probe).Output()
	if err != nil {
		return "", "", fmt.Errorf("%s cannot import boto3 and psycopg2: run apt-get install python3-boto3 python3-psycopg2: %w", path, err)
	}
	return strings.TrimSpace(string(out)), path, nil
}

func userName(i int) string { return fmt.Sprintf("app_%04d", i) }

// createUsers makes users and their secrets.
func (b *rotationBench) createUsers(ctx context.Context, n int) error {
	conn, err := pgx.Connect(ctx, b.db.AdminURL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SET scram_iterations = 4096"); err != nil && !strings.Contains(err.Error(), "unrecognized") {
		return err
	}
	for i := range n {
		if _, err := conn.Exec(ctx, "CREATE USER "+userName(i)+" PASSWORD 'first'"); err != nil {
			return fmt.Errorf("creating users: %w", err)
		}
	}
	return each(n, 16, func(i int) error {
		value, err := json.Marshal(map[string]any{
			"engine": "postgres", "host": b.db.Host, "port": b.db.Port, "dbname": "postgres", "username": userName(i), "password": "first", "ssl": true,
		})
		if err != nil {
			return err
		}
		_, err = b.secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String(userName(i)), SecretString: aws.String(string(value))})
		return err
	})
}

// each calls f for the numbers below n, by so many goroutines.
func each(n, workers int, f func(i int) error) error {
	next := make(chan int)
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return failed
}

// createFunctions makes both functions under one role.
func (b *rotationBench) createFunctions(ctx context.Context, runtime string) error {
	client := iam.NewFromConfig(b.cfg)
	role, err := client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("bench"), AssumeRolePolicyDocument: aws.String(functionTrust)})
	if err != nil {
		return err
	}
	_, err = client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("bench"), PolicyName: aws.String("bench"), PolicyDocument: aws.String(functionRights)})
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(b.db.CAFile)
	if err != nil {
		return err
	}
	b.arns[builtinFunction], err = deploy.Apply(ctx, b.cfg, deploy.Spec{
		Name: builtinFunction, Rotator: "postgres.single", Timeout: 30, Memory: 256, Role: *role.Role.Arn, CABundle: authority,
	}, func(deploy.Change) {})
	if err != nil {
		return err
	}
	code, err := pythonPackage()
	if err != nil {
		return err
	}
	fn, err := b.lambda.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: aws.String(pythonFunction), Role: role.Role.Arn, Runtime: lambdatypes.Runtime(runtime), Timeout: aws.Int32(30),
		MemorySize: aws.Int32(256), Handler: aws.String("lambda_function.lambda_handler"), Code: &lambdatypes.FunctionCode{ZipFile: code},
	})
	if err != nil {
		return err
	}
	b.arns[pythonFunction] = *fn.FunctionArn
	_, err = b.lambda.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: fn.FunctionArn, StatementId: aws.String("SecretsManager"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("secretsmanager.amazonaws.com"),
	})
	if err != nil {
		return err
	}
	return lambda.NewFunctionActiveV2Waiter(b.lambda).Wait(ctx, &lambda.GetFunctionInput{FunctionName: fn.FunctionArn}, time.Minute)
}

func pythonPackage() ([]byte, error) {
	source, err := examples.Files.ReadFile("postgres-python/lambda_function.py")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	w, err := z.Create("lambda_function.py")
	if err != nil {
		return nil, err
	}
	_, err = w.Write(source)
	err = errors.Join(err, z.Close())
	return out.Bytes(), err
}

// compare measures both functions with one execution environment and with
// several, warm, in turn, and then the memory of the environments.
func (b *rotationBench) compare(ctx context.Context, many int) error {
	fmt.Println("Rotations of PostgreSQL users (SCRAM, TLS verify-full), warm")
	rates := map[string]float64{}
	for _, n := range []int{1, crowd} {
		for _, function := range []string{pythonFunction, builtinFunction} {
			if err := b.limit(ctx, function, n); err != nil {
				return err
			}
			warm, _, err := b.rotations(ctx, function, 4*n) // tells how many fit into the time, too
			if err != nil {
				return err
			}
			count := min(max(int(warm*b.length.Seconds()), 4*n), many)
			rate, cpu, err := b.rotations(ctx, function, count)
			if err != nil {
				return err
			}
			rates[function] = rate
			fmt.Printf("  %-32s %9.1f/s  server's cpu %8s", fmt.Sprintf("%s, %d environments", function, n), rate, short(cpu))
			if function == builtinFunction {
				fmt.Printf("   x%.2f/s", rate/rates[pythonFunction])
			}
			fmt.Println()
		}
	}
	return b.memory(ctx)
}

func (b *rotationBench) limit(ctx context.Context, function string, n int) error {
	_, err := b.lambda.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{
		FunctionName: &function, ReservedConcurrentExecutions: aws.Int32(int32(n)),
	})
	return err
}

// rotations asks for n rotations at once and waits for the last; it returns
// how many there were in a second, and the server's time for each.
func (b *rotationBench) rotations(ctx context.Context, function string, n int) (perSecond float64, cpu time.Duration, err error) {
	before, began := b.server.cpuTime(), time.Now()
	tokens, err := b.beginAll(ctx, function, n)
	if err == nil {
		err = b.finish(ctx, tokens)
	}
	return float64(n) / time.Since(began).Seconds(), (b.server.cpuTime() - before) / time.Duration(n), err
}

// beginAll asks for the rotation of n secrets and returns their tokens.
func (b *rotationBench) beginAll(ctx context.Context, function string, n int) ([]string, error) {
	tokens := make([]string, n)
	err := each(n, 16, func(i int) (err error) {
		tokens[i], err = b.begin(ctx, function, userName(i))
		return err
	})
	return tokens, err
}

func (b *rotationBench) begin(ctx context.Context, function, name string) (token string, err error) {
	out, err := b.secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{
		SecretId: &name, RotationLambdaARN: aws.String(b.arns[function]), RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err != nil {
		return "", fmt.Errorf("rotating %s: %w", name, err)
	}
	return *out.VersionId, nil
}

// done tells whether a version is the current one and the rotation over.
func (b *rotationBench) done(ctx context.Context, name, token string) (bool, error) {
	out, err := b.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &name})
	if err != nil {
		return false, err
	}
	labels := out.VersionIdsToStages[token]
	return len(labels) == 1 && labels[0] == "AWSCURRENT", nil
}
