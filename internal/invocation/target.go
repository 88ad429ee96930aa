package invocation

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

// Lookup returns the function and the version that ref names. An alias leads
// to one of its versions, chosen by a random number from 0 up to but not
// including 1. The error is of kind NotFound with AWS's text.
func Lookup(tx *store.Tx, ref function.Ref, random float64) (*function.Function, *function.Config, error) {
	f, err := tx.Function(ref.Account, ref.Region, ref.Name)
	if fault.Is(err, fault.NotFound) {
		err = ref.NotFound()
	}
	if err != nil {
		return nil, nil, err
	}
	version := ref.Qualifier
	if function.IsAlias(version) {
		alias, err := tx.FunctionAlias(f.ID, version)
		if fault.Is(err, fault.NotFound) {
			err = ref.NotFound()
		}
		if err != nil {
			return nil, nil, err
		}
		version = alias.Pick(random)
	}
	c, err := Version(tx, f, version)
	if fault.Is(err, fault.NotFound) {
		err = ref.NotFound()
	}
	return f, c, err
}

// Version returns one version of a function: "" and $LATEST are the live
// configuration, anything else a number. The error is of kind NotFound,
// without message, when there is none.
func Version(tx *store.Tx, f *function.Function, version string) (*function.Config, error) {
	if version == "" || version == function.Latest {
		return &f.Config, nil
	}
	number, ok := function.VersionNumber(version)
	if !ok {
		return nil, fault.New(fault.NotFound, "")
	}
	return tx.FunctionVersion(f.ID, number)
}

// spec describes a version to the pool. box holds its environment variables.
func (i *Invoker) spec(ctx context.Context, f *function.Function, c *function.Config, box VariableBox) (environment.Spec, error) {
	variables, err := i.OpenVariables(ctx, box)
	if err != nil {
		return environment.Spec{}, err
	}
	s := environment.Spec{
		FunctionName: f.Name, FunctionARN: f.ARN(), Version: c.Version, Account: f.Account, Region: f.Region,
		Runtime: c.Runtime, Handler: c.Handler, RoleARN: c.Role, RevisionID: f.Deployment(c),
		Timeout: time.Duration(c.TimeoutSeconds) * time.Second, MemoryMB: int(c.MemoryMB), EphemeralMB: int(c.EphemeralMB),
		Env: variables, TracingMode: c.TracingMode, LogGroup: c.LogGroup(f.Name), LogFormat: c.Logging.Format,
		LogLevel: c.Logging.ApplicationLogLevel, Code: i.code(c.CodeSHA256),
	}
	if c.VPC != nil {
		s.VPC = *c.VPC
	}
	for _, l := range c.Layers {
		s.Layers = append(s.Layers, i.code(l.CodeSHA256))
	}
	return s, nil
}

// errCodeGone is the cause when a package was replaced or its function
// deleted before an environment could read it.
var errCodeGone = errors.New("the code package is not stored any more")

// code is a stored package.
func (i *Invoker) code(sha256 string) environment.Package {
	return environment.Package{SHA256: sha256, Open: func(ctx context.Context) (io.ReaderAt, int64, error) {
		var zip []byte
		err := i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			zip, err = tx.Code(sha256)
			return err
		})
		if fault.Is(err, fault.NotFound) {
			return nil, 0, errCodeGone
		}
		return bytes.NewReader(zip), int64(len(zip)), err
	}}
}

// Assumable refuses a role that does not exist or that Lambda may not assume
// for the function (AWS: reported).
func Assumable(tx *store.Tx, roleARN, functionARN, account string) error {
	_, err := executionRole(tx, roleARN, functionARN, account)
	return err
}

// lambdaService is the principal that execution roles trust.
const lambdaService = "lambda.amazonaws.com"

// executionRole returns the role of a function, without a qualifier, of the
// account.
func executionRole(tx *store.Tx, roleARN, functionARN, account string) (*iam.Role, error) {
	refused := fault.New(fault.Parameter, "The role defined for the function cannot be assumed by Lambda.").For(roleARN)
	owner, name, ok := iam.RoleNameFromARN(roleARN)
	if !ok {
		return nil, refused
	}
	role, err := tx.Role(owner, name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, refused.Because(err)
	case err != nil:
		return nil, err
	case role.ARN() != roleARN || !role.TrustsService(lambdaService, sourceContext(functionARN, account)):
		return nil, refused
	}
	return role, nil
}

// sourceContext has the condition keys by which a trust policy tells for whom
// Lambda assumes the role.
func sourceContext(functionARN, account string) iam.Context {
	return func(key string) iam.Value {
		switch key {
		case "aws:sourcearn":
			return iam.Text(functionARN)
		case "aws:sourceaccount":
			return iam.Text(account)
		}
		return iam.Value{}
	}
}

// sessionLife is how long the credentials of an environment last (AWS docs:
// up to 12 hours).
const sessionLife = 12 * time.Hour

// Credentials makes the session of a function's execution role; it is the
// pool's. A role that is gone or trusts Lambda no more is an error of kind
// Denied.
func (i *Invoker) Credentials(ctx context.Context, s environment.Spec) (environment.Credentials, error) {
	var role *iam.Role
	err := i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		role, err = executionRole(tx, s.RoleARN, s.FunctionARN, s.Account)
		return err
	})
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Kind == fault.Parameter {
		denied := *e
		denied.Kind = fault.Denied
		return environment.Credentials{}, &denied
	}
	if err != nil {
		return environment.Credentials{}, err
	}
	return i.cfg.Credentials(ctx, role, s.FunctionName, sessionLife, &iam.Session{SourceFunction: s.FunctionARN, SourceVPC: s.VPC.VPCID})
}
