package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/examples"
	"github.com/keyturn/keyturn/internal/demo"
	"github.com/keyturn/keyturn/internal/deploy"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// site is one configuration as it runs: servers, what they store in, the
// database whose users rotate, and the load.
type site struct {
	tally   *tally
	rnd     *rand.Rand
	dir     string
	nodes   []*node
	backing *backing // nil with SQLite
	target  *pgserver.Server
	gates   *gates
	ledger  *ledger

	functions map[string]string // ARN by rotator
	users     []*rotating
	// enrolled counts the users that were made; superuser is the ARN of the
	// secret of the one who makes them.
	enrolled  int
	superuser string
	// checked is how many writes of the ledger the trail is known to have.
	checked int
	// round counts those under load.
	round int
	// looked is when the trail was read last, failures are the failed attempts
	// that it told of.
	looked   time.Time
	failures map[string]bool

	mu sync.Mutex
	// done are the completed rotations since the trail was checked last, by
	// token: the secret's ARN.
	done map[string]string
}

// note remembers a completed rotation until the trail is checked.
func (s *site) note(arn, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[token] = arn
}

// setup says what a site is to be.
type setup struct {
	name string
	// A PostgreSQL is the store, and has a standby.
	postgres, standby bool
	nodes             int
	// crew are the rotating secrets: how many of each rotator and mode.
	crew []crew
}

type crew struct {
	rotator string
	mode    mode
	count   int
}

// fullCrew is what a whole run rotates.
func fullCrew() []crew {
	return []crew{
		{single, onDemand, 3}, {alternating, onDemand, 2}, {python, onDemand, 1}, {single, bySchedule, 2},
		{single, byTrap, 1}, {alternating, byTrap, 1}, {python, byTrap, 1},
	}
}

// open starts everything of a site. The caller closes it also when open
// failed.
func open(ctx context.Context, g *ground, in setup, rnd *rand.Rand) (*site, error) {
	s := &site{
		tally: newTally(in.name), rnd: rnd, dir: filepath.Join(g.dir, in.name), target: g.target, ledger: newLedger(),
		functions: map[string]string{}, done: map[string]string{}, failures: map[string]bool{}, looked: time.Now(),
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return s, err
	}
	runtime, interpreter, err := demo.FindPython(ctx, "")
	if err != nil {
		return s, err
	}
	args := []string{"--runtime", runtime + "=" + interpreter}
	if in.postgres {
		if s.backing, err = newBacking(ctx, in.standby); err != nil {
			return s, err
		}
		args = append(args, "--store", s.backing.url())
	}
	for i := range in.nodes {
		n, err := newNode(g.binary, string(rune('a'+i)), s.dir, args...)
		if err == nil && i > 0 {
			err = shareKey(s.nodes[0], n)
		}
		if err == nil {
			s.nodes = append(s.nodes, n)
			err = s.start(ctx, n)
		}
		if err != nil {
			return s, err
		}
	}
	if s.gates, err = newGates(s.nodes, fmt.Sprintf("%s:%d", s.target.Host, s.target.Port)); err != nil {
		return s, err
	}
	if s.backing != nil {
		if err := s.backing.open(ctx); err != nil {
			return s, err
		}
	}
	return s, s.populate(ctx, in.crew, runtime)
}

// shareKey gives a node the root key of the first.
func shareKey(first, n *node) error {
	const rootKey = "root.key"
	key, err := os.ReadFile(filepath.Join(first.dir, rootKey))
	if err == nil {
		err = os.Mkdir(n.dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(n.dir, rootKey), key, 0o600)
	}
	return err
}

// close ends all processes.
func (s *site) close() error {
	var errs []error
	for _, n := range s.nodes {
		errs = append(errs, n.kill())
	}
	if s.gates != nil {
		s.gates.close()
	}
	if s.backing != nil {
		errs = append(errs, s.backing.close())
	}
	return errors.Join(errs...)
}

// start starts a node and waits until it has answered.
func (s *site) start(ctx context.Context, n *node) error {
	began := time.Now()
	if err := n.start(ctx); err != nil {
		return err
	}
	s.tally.add(starts, 1)
	s.tally.took(slowStart, time.Since(began))
	return nil
}

// populate makes functions, users of the database and secrets, and turns
// rotation on.
func (s *site) populate(ctx context.Context, all []crew, runtime string) error {
	first := s.nodes[0]
	superuser, err := first.secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: aws.String("superuser"), SecretString: aws.String(s.value(pgserver.Superuser, s.target.Password, "")),
	})
	if err != nil {
		return fmt.Errorf("storing the superuser: %w", err)
	}
	s.superuser = *superuser.ARN
	for _, c := range all {
		if err := s.makeFunction(ctx, c.rotator, runtime); err != nil {
			return err
		}
		for range c.count {
			s.enrolled++
			r := &rotating{name: fmt.Sprintf("%s_%d", s.tally.name, s.enrolled), rotator: c.rotator, mode: c.mode}
			if err := s.enrol(ctx, r); err != nil {
				return fmt.Errorf("making the rotating secret %s: %w", r.name, err)
			}
			s.users = append(s.users, r)
		}
	}
	return s.settle(ctx, time.Minute)
}

// enrol makes a user, its secret, and turns rotation on: at once, or by a
// schedule that does not fire by itself while this runs.
func (s *site) enrol(ctx context.Context, r *rotating) error {
	const password = "first-Password-1"
	if err := makeUser(ctx, s.target, r.name, password); err != nil {
		return err
	}
	superuser := ""
	if r.rotator == alternating {
		superuser = s.superuser
	}
	made, err := s.nodes[0].secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: &r.name, SecretString: aws.String(s.value(r.name, password, superuser)),
	})
	if err != nil {
		return err
	}
	r.arn = *made.ARN
	out, err := s.nodes[0].secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{
		SecretId: &r.arn, RotationLambdaARN: aws.String(s.functions[r.rotator]), RotateImmediately: aws.Bool(r.mode != bySchedule),
		RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err == nil && r.mode != bySchedule {
		r.token, r.began = *out.VersionId, time.Now()
	}
	return err
}

// makeFunction makes the function of a rotator, unless it is there.
func (s *site) makeFunction(ctx context.Context, rotator, runtime string) (err error) {
	if s.functions[rotator] != "" {
		return nil
	}
	variables := map[string]string{"AWS_MAX_ATTEMPTS": "4"}
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "SECRETS_MANAGER_ENDPOINT"} {
		variables[name] = s.gates.url
	}
	first := s.nodes[0]
	if rotator == python {
		s.functions[rotator], err = makePython(ctx, first, runtime, variables)
	} else {
		spec := deploy.Spec{Name: functionName(rotator), Rotator: rotator, Timeout: 20, Memory: 256, Environment: variables}
		if rotator == alternating {
			spec.Superusers = []string{s.superuser}
		}
		s.functions[rotator], err = deploy.Apply(ctx, first.cfg, spec, func(deploy.Change) {})
	}
	if err != nil {
		return fmt.Errorf("making the function of %s: %w", rotator, err)
	}
	return lambda.NewFunctionActiveV2Waiter(first.lambda).Wait(ctx, &lambda.GetFunctionInput{FunctionName: aws.String(functionName(rotator))}, time.Minute)
}

// functionName is the name of a rotator's function.
func functionName(rotator string) string {
	return map[string]string{single: "chaos-single", alternating: "chaos-alternating", python: "chaos-python"}[rotator]
}

// The rights of the Python function's role.
const (
	trust  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	rights = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["secretsmanager:*","logs:*"],"Resource":"*"}}`
)

// makePython makes the example's Python function.
func makePython(ctx context.Context, n *node, runtime string, variables map[string]string) (string, error) {
	source, err := examples.Files.ReadFile("postgres-python/lambda_function.py")
	if err != nil {
		return "", err
	}
	var code bytes.Buffer
	z := zip.NewWriter(&code)
	w, err := z.Create("lambda_function.py")
	if err == nil {
		_, err = w.Write(source)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		return "", err
	}
	roles := iam.NewFromConfig(n.cfg)
	role, err := roles.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("chaos-python"), AssumeRolePolicyDocument: aws.String(trust)})
	if err != nil {
		return "", err
	}
	_, err = roles.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: role.Role.RoleName, PolicyName: aws.String("rotate"), PolicyDocument: aws.String(rights)})
	if err != nil {
		return "", err
	}
	fn, err := n.lambda.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: aws.String(functionName(python)), Role: role.Role.Arn, Runtime: types.Runtime(runtime), Timeout: aws.Int32(20),
		MemorySize: aws.Int32(256), Handler: aws.String("lambda_function.lambda_handler"), Code: &types.FunctionCode{ZipFile: code.Bytes()},
		Environment: &types.Environment{Variables: variables},
	})
	if err != nil {
		return "", err
	}
	_, err = n.lambda.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: fn.FunctionArn, StatementId: aws.String("SecretsManager"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("secretsmanager.amazonaws.com"),
	})
	return *fn.FunctionArn, err
}

// inStore gives the store to fn: that of SQLite while its server is down, or
// a connection to the PostgreSQL.
func (s *site) inStore(ctx context.Context, fn func(*store.Store) error) error {
	if s.backing != nil {
		return fn(s.backing.store)
	}
	st, err := sqlite.Open(ctx, sqlite.Config{Dir: s.nodes[0].dir})
	if err != nil {
		return err
	}
	return errors.Join(fn(st), st.Close())
}
