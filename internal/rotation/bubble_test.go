package rotation_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/rotation"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/service/secretsmanager"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// base is when the bubbles' stories begin: a Monday.
var base = time.Date(2025, 3, 10, 5, 30, 0, 0, time.UTC)

const bubbleFunction = "arn:aws:lambda:us-east-1:123456789012:function:rotate"

// bubble is Secrets Manager with its engine and one secret, in a bubble in
// which months pass in no time. The store and the service are the real ones;
// the function is the method work, which calls the service under its role.
type bubble struct {
	t *testing.T
	*servicetest.Parts
	service *secretsmanager.Service
	arn     string
	// function rotates the secret under role, which belongs to its account;
	// passToken says that it passes the RotationToken on.
	function  string
	role      iam.Principal
	passToken bool
	// stepTime is how long the function takes for a step.
	stepTime time.Duration
	// fails says whether a step fails; nil for never.
	fails func(event) bool
	// errorType is that of the function's errors.
	errorType string
	// errorText is their text; "no luck" if empty.
	errorText string
	// poll is the engine's; a year by default, so that a rotation that
	// starts shows that the engine knew when.
	poll time.Duration

	// quiet expects errors in the engine's log; logged counts them.
	quiet  bool
	logged atomic.Int64

	// grace and parallel are the engine's; zero for its defaults.
	// diagnose is the engine's; nil for none.
	diagnose func(context.Context, rotation.Case) *rotation.Finding

	grace    time.Duration
	parallel int
	// stop ends the engine that start began, if any.
	stop func()
	// wake holds the func() by which the service wakes an engine.
	wake atomic.Value

	mu    sync.Mutex
	calls []event
	// busy says why the function cannot be invoked now; nil for never.
	busy func() error
}

// event is what the function is invoked with, and when.
type event struct {
	Step               secret.Step
	SecretId           string //nolint:revive,staticcheck // AWS's spelling
	ClientRequestToken string
	RotationToken      string
	// node is whose engine invoked the function.
	node      string
	at, ended time.Time
	// cut tells that the engine did not wait for the end.
	cut bool
}

// inBubble runs a story that begins at base, with a secret from the day
// before.
func inBubble(t *testing.T, story func(b *bubble)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(base.Add(-day)))
		b := &bubble{
			t: t, Parts: servicetest.NewParts(t), stepTime: time.Second, errorType: "Error", poll: 366 * day, stop: func() {},
			function: bubbleFunction, role: roleSession(t, servicetest.Account),
		}
		b.service = secretsmanager.New(secretsmanager.Config{
			Store: b.Store, Guard: b.Guard, Keys: key.NewRing(b.Keeper, 16), Sealer: b.Sealer,
			CanInvoke: invocation.CanInvoke, Wake: func() { b.wake.Load().(func())() },
		})
		b.wake.Store(func() {})
		b.addFunction(servicetest.Account)
		b.arn = b.create("app/db")
		time.Sleep(day)
		defer func() { b.stop() }()
		story(b)
	})
}

// roleSession is a session of the role rotate of an account, which may do
// everything with secrets.
func roleSession(t *testing.T, account string) iam.Principal {
	t.Helper()
	p := servicetest.User(t, account, "rotate", `{"Effect":"Allow","Action":["secretsmanager:*","kms:*"],"Resource":"*"}`)
	p.Type, p.Session, p.RoleARN = iam.AssumedRole, "rotate", "arn:aws:iam::"+account+":role/rotate"
	p.ARN, p.ID = "arn:aws:sts::"+account+":assumed-role/rotate/rotate", "AROAROTATE:rotate"
	return p
}

// addFunction stores the function rotate of an account, which Secrets Manager
// may invoke, and others as it is granted.
func (b *bubble) addFunction(account string, others ...string) (arn string) {
	b.t.Helper()
	arn = function.ARN(servicetest.Region, account, "rotate", "")
	var policy function.Policy
	for _, principal := range append(others, "secretsmanager.amazonaws.com") {
		grant, err := function.NewStatement(function.Grant{Sid: principal, Action: "lambda:InvokeFunction", Principal: principal, Resource: arn})
		if err != nil {
			b.t.Fatal(err)
		}
		policy.Statements = append(policy.Statements, grant)
	}
	b.update(func(tx *store.Tx) error {
		return errors.Join(tx.SaveCode("code", []byte("zip")), tx.CreateFunction(&function.Function{
			ID: uuid.NewString(), Account: account, Region: servicetest.Region, Name: "rotate",
			Config:   function.Config{Version: function.Latest, Role: "arn:aws:iam::" + account + ":role/rotate", CodeSHA256: "code", State: "Active"},
			Policies: map[string]function.Policy{"": policy},
		}))
	})
	return arn
}

func (b *bubble) update(fn func(tx *store.Tx) error) {
	b.t.Helper()
	if err := b.Store.Update(b.t.Context(), fn); err != nil {
		b.t.Fatal(err)
	}
}

// call is a call of the account's root user.
func (b *bubble) call() *wire.Call {
	return &wire.Call{RequestID: uuid.NewString(), Service: "secretsmanager", Region: servicetest.Region, Time: time.Now(), Principal: b.Root()}
}

func (b *bubble) create(name string) string {
	b.t.Helper()
	out, err := b.service.CreateSecret(b.t.Context(), b.call(), &api.CreateSecretRequest{
		Name: &name, SecretString: new("first"), ClientRequestToken: new(uuid.NewString()),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return *out.ARN
}

// put puts a value by hand.
func (b *bubble) put() {
	b.t.Helper()
	_, err := b.service.PutSecretValue(b.t.Context(), b.call(), &api.PutSecretValueRequest{
		SecretId: &b.arn, SecretString: new(uuid.NewString()), ClientRequestToken: new(uuid.NewString()),
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// rotate configures rotation, and rotates at once if now is set; it returns
// the token.
func (b *bubble) rotate(rules *api.RotationRulesType, now bool) string {
	b.t.Helper()
	token := uuid.NewString()
	_, err := b.service.RotateSecret(b.t.Context(), b.call(), &api.RotateSecretRequest{
		SecretId: &b.arn, ClientRequestToken: &token, RotationLambdaARN: &b.function,
		RotationRules: rules, RotateImmediately: &now,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return token
}

// start runs the engine, as a node starts; stop ends it and waits.
func (b *bubble) start() {
	b.t.Helper()
	b.stop = sync.OnceFunc(b.run("node"))
}

// run runs an engine of its own on the store; the result ends it and waits.
func (b *bubble) run(node string) (stop func()) {
	b.t.Helper()
	engine := rotation.New(rotation.Config{
		Store: b.Store, Sealer: b.Sealer, Node: node, Poll: b.poll, Grace: b.grace, Parallel: b.parallel, Diagnose: b.diagnose,
		Invoke: func(ctx context.Context, r invocation.Request) (invocation.Result, error) {
			return b.invoke(ctx, node, r)
		},
		Logger: slog.New(slog.NewTextHandler(bubbleLog{b}, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	b.wake.Store(engine.Wake)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- engine.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("the engine of %s ended with %v", node, err)
		}
	}
}

// bubbleLog makes what the engine logs as an error one of the test.
type bubbleLog struct{ b *bubble }

func (l bubbleLog) Write(line []byte) (int, error) {
	l.b.logged.Add(1)
	if !l.b.quiet {
		l.b.t.Errorf("the engine logs: %s", line)
	}
	return len(line), nil
}

// invoke is the function's host.
func (b *bubble) invoke(ctx context.Context, node string, r invocation.Request) (invocation.Result, error) {
	e := event{at: time.Now(), node: node}
	if err := json.Unmarshal(r.Payload, &e); err != nil {
		return invocation.Result{}, err
	}
	if b.busy != nil {
		if err := b.busy(); err != nil {
			return invocation.Result{}, err
		}
	}
	b.mu.Lock()
	n := len(b.calls)
	b.calls = append(b.calls, e)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.calls[n].ended, b.calls[n].cut = time.Now(), ctx.Err() != nil
		b.mu.Unlock()
	}()
	select {
	case <-time.After(b.stepTime):
	case <-ctx.Done():
		return invocation.Result{}, ctx.Err()
	}
	err := errors.New(cmp.Or(b.errorText, "no luck"))
	if b.fails == nil || !b.fails(e) {
		err = b.work(ctx, e)
	}
	if err != nil {
		payload, _ := json.Marshal(map[string]string{"errorType": b.errorType, "errorMessage": err.Error()})
		return invocation.Result{FunctionError: "Unhandled", Payload: payload}, nil
	}
	return invocation.Result{Payload: []byte("null")}, nil
}

// work does what a rotation function has to do, without a database.
func (b *bubble) work(ctx context.Context, e event) error {
	call := func(operation string) *wire.Call {
		c := b.call()
		c.Operation, c.Principal = operation, b.role
		return c
	}
	switch e.Step {
	case secret.CreateSecret:
		_, err := b.service.GetSecretValue(ctx, call("GetSecretValue"), &api.GetSecretValueRequest{SecretId: &e.SecretId, VersionId: &e.ClientRequestToken})
		if !fault.Is(err, fault.NotFound) {
			return err // it has its value
		}
		put := &api.PutSecretValueRequest{
			SecretId: &e.SecretId, ClientRequestToken: &e.ClientRequestToken, SecretString: new(uuid.NewString()), VersionStages: []string{secret.Pending},
		}
		if b.passToken {
			put.RotationToken = &e.RotationToken
		}
		_, err = b.service.PutSecretValue(ctx, call("PutSecretValue"), put)
		return err
	case secret.FinishSecret:
		d, err := b.service.DescribeSecret(ctx, call("DescribeSecret"), &api.DescribeSecretRequest{SecretId: &e.SecretId})
		if err != nil {
			return err
		}
		for id, labels := range d.VersionIdsToStages {
			if slices.Contains(labels, secret.Current) && id != e.ClientRequestToken {
				_, err := b.service.UpdateSecretVersionStage(ctx, call("UpdateSecretVersionStage"), &api.UpdateSecretVersionStageRequest{
					SecretId: &e.SecretId, VersionStage: new(secret.Current), MoveToVersionId: &e.ClientRequestToken, RemoveFromVersionId: &id,
				})
				return err
			}
		}
	}
	return nil
}

// until sleeps to a time.
func (b *bubble) until(t time.Time) {
	b.t.Helper()
	if d := time.Until(t); d > 0 {
		time.Sleep(d)
	}
	synctest.Wait()
}

// invocations returns what the function was invoked with so far.
func (b *bubble) invocations() []event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

// attempts returns the invocations for createSecret: the beginnings of
// attempts, configuration tests aside.
func (b *bubble) attempts() []event {
	return slices.DeleteFunc(b.invocations(), func(e event) bool { return e.Step != secret.CreateSecret })
}

func (b *bubble) describe() *api.DescribeSecretResponse {
	b.t.Helper()
	d, err := b.service.DescribeSecret(b.t.Context(), b.call(), &api.DescribeSecretRequest{SecretId: &b.arn})
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// wantNext demands a NextRotationDate.
func (b *bubble) wantNext(want time.Time) {
	b.t.Helper()
	if got := b.describe().NextRotationDate; got == nil || !got.Equal(want) {
		b.t.Errorf("at %s: NextRotationDate is %v, want %v", stamp(time.Now()), got, want)
	}
}

// count returns how many events of the name there are, failures with text
// only if it is given.
func (b *bubble) count(name, text string) int {
	b.t.Helper()
	n := 0
	err := b.Store.View(b.t.Context(), func(tx *store.Tx) error {
		n = 0
		list, _, err := tx.Events(store.EventQuery{
			Account: servicetest.Account, Region: servicetest.Region, Attribute: store.EventName, Value: name, Limit: 10_000,
		})
		for _, r := range list {
			if strings.Contains(string(r.JSON), text) {
				n++
			}
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// edit changes the stored secret and its run, which may be nil, past the
// service.
func (b *bubble) edit(fn func(s *secret.Secret, run *secret.RotationRun)) {
	b.t.Helper()
	b.update(func(tx *store.Tx) error {
		s, run, err := b.load(tx)
		if err != nil {
			return err
		}
		after := s.Clone()
		fn(after, run)
		if err := tx.SaveSecret(s, after); err != nil || run == nil {
			return err
		}
		return tx.SaveRun(run, run.Fence)
	})
}

// load reads the secret and its run, nil if it has none.
func (b *bubble) load(tx *store.Tx) (*secret.Secret, *secret.RotationRun, error) {
	s, err := tx.FindLabelled(servicetest.Account, servicetest.Region, arn.ParseSecretRef(b.arn))
	if err != nil {
		return nil, nil, err
	}
	run, err := tx.Run(s.ID)
	if fault.Is(err, fault.NotFound) {
		return s, nil, nil
	}
	return s, run, err
}

func stamp(t time.Time) string { return t.UTC().Format("Mon 2006-01-02T15:04:05") }
