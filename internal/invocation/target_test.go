package invocation

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

// newInvoker returns an Invoker with a running pool and one function f, which
// returns 1.
func newInvoker(t *testing.T) (*Invoker, *store.Store) {
	t.Helper()
	parts := servicetest.NewParts(t)
	i := New(Config{
		Store: parts.Store, Guard: parts.Guard, Sealer: parts.Sealer, Node: "node", Principal: as(session(t, logsAll)),
		Credentials: func(context.Context, *iam.Role, string, time.Duration, *iam.Session) (environment.Credentials, error) {
			return environment.Credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: "example", SessionToken: "example"}, nil
		},
	})
	pool, err := environment.New(environment.Config{Dir: t.TempDir() + "/functions", Credentials: i.Credentials, Logs: i.Logs})
	if err != nil {
		t.Fatal(err)
	}
	i.Use(pool)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- pool.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("lambda_function.py")
	if err == nil {
		_, err = w.Write([]byte("def lambda_handler(event, context):\n    return 1\n"))
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	code := base64.StdEncoding.EncodeToString(sum[:])
	err = parts.Store.Update(t.Context(), func(tx *store.Tx) error {
		role := &iam.Role{
			Account: servicetest.Account, Name: "r", Path: "/", ID: "AROAR", CreatedAt: time.Now(),
			TrustPolicy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`,
		}
		f := &function.Function{ID: "id", Account: servicetest.Account, Region: servicetest.Region, Name: "f", NextVersion: 1, Config: function.Config{
			Version: function.Latest, Runtime: "python3.11", Handler: "lambda_function.lambda_handler", Role: role.ARN(), TimeoutSeconds: 20, MemoryMB: 128,
			EphemeralMB: 512, CodeSHA256: code, CodeSize: int64(b.Len()), Change: 1, State: function.StateActive,
		}}
		return errors.Join(tx.SaveRole(nil, role), tx.SaveCode(code, b.Bytes()), tx.CreateFunction(f))
	})
	if err != nil {
		t.Fatal(err)
	}
	return i, parts.Store
}

var request = Request{Function: "f", Account: servicetest.Account, Region: servicetest.Region}

// TestCodeReplaced runs what a request found whose package was replaced
// before an environment could read it: the request is looked up again.
func TestCodeReplaced(t *testing.T) {
	i, _ := newInvoker(t)
	old, err := i.find(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	old.spec.Code, old.spec.RevisionID = i.code("gone"), "id/0"
	result, err := i.run(t.Context(), old, request)
	if err != nil || string(result.Payload) != "1" {
		t.Errorf("got %s, %v, want 1", result.Payload, err)
	}
}

// TestRoleTakenAway invokes a function whose role is gone.
func TestRoleTakenAway(t *testing.T) {
	i, s := newInvoker(t)
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteRole(servicetest.Account, "r") }); err != nil {
		t.Fatal(err)
	}
	_, err := i.Invoke(t.Context(), request)
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Kind != fault.Denied || e.Message != "The role defined for the function cannot be assumed by Lambda." {
		t.Errorf("got %v, want it denied", err)
	}
}

// TestVariablesBound opens the variables of one function as another's.
func TestVariablesBound(t *testing.T) {
	i, s := newInvoker(t)
	const canary = "canary-variable-value"
	one := &function.Function{ID: "one", Account: servicetest.Account, Region: servicetest.Region, Name: "one"}
	open := func(f *function.Function, c *function.Config) (variables map[string]string, err error) {
		var box VariableBox
		err = s.View(t.Context(), func(tx *store.Tx) error {
			box, err = i.BoxVariables(tx, f, c)
			return err
		})
		if err != nil {
			return nil, err
		}
		return i.OpenVariables(t.Context(), box)
	}
	err := s.View(t.Context(), func(tx *store.Tx) error { return i.SealVariables(t.Context(), tx, one, map[string]string{"V": canary}) })
	if err != nil || strings.Contains(string(one.Config.Environment), canary) {
		t.Fatalf("got %q, %v", one.Config.Environment, err)
	}
	if got, err := open(one, &one.Config); err != nil || got["V"] != canary {
		t.Errorf("got %v, %v", got, err)
	}
	other := &function.Function{ID: "other", Account: servicetest.Account, Region: servicetest.Region, Name: "other"}
	if _, err := open(other, &one.Config); !fault.Is(err, fault.Internal) {
		t.Errorf("another function's: got %v, want an internal error", err)
	}
}

// TestAnotherAccountsFunction invokes a function by its ARN for another
// account: it runs, and logs, in its own.
func TestAnotherAccountsFunction(t *testing.T) {
	i, s := newInvoker(t)
	result, err := i.Invoke(t.Context(), Request{Function: functionARN, Account: owner, Region: servicetest.Region})
	if err != nil || string(result.Payload) != "1" {
		t.Fatalf("got %s, %v, want 1", result.Payload, err)
	}
	err = s.View(t.Context(), func(tx *store.Tx) error {
		_, err := tx.LogGroup(servicetest.Account, servicetest.Region, "/aws/lambda/f")
		return err
	})
	if err != nil {
		t.Errorf("the log of the function's account: %v", err)
	}
	if _, err := i.Invoke(t.Context(), Request{Function: "f", Account: owner, Region: servicetest.Region}); !fault.Is(err, fault.NotFound) {
		t.Errorf("by its name: got %v, want it not found", err)
	}
}
