package invocation

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/store"
)

// Changed tells Run that a function was created, updated, published or
// deleted, or that its provisioned concurrency changed.
func (i *Invoker) Changed() {
	wake(i.wakeVersions)
	wake(i.wakeProvisioned)
}

// CheckRuntime says whether functions of a runtime can run here: nil, or an
// error of kind Parameter that names what is missing.
func (i *Invoker) CheckRuntime(ctx context.Context, runtime string) error {
	return i.pool.CheckRuntime(ctx, runtime)
}

// Retire ends the environments of a function, or of some of its versions,
// once they are idle.
func (i *Invoker) Retire(functionARN string, versions ...string) {
	i.pool.Retire(functionARN, versions...)
	i.Changed()
}

// versionPoll is the longest time between two looks for versions that are
// being made: it bounds how long one stays Pending that a crashed node left.
const versionPoll = time.Second

// runVersions finishes the creation and the update of versions until ctx
// ends.
func (i *Invoker) runVersions(ctx context.Context) error {
	const batch = 100
	every(ctx, i.wakeVersions, func() time.Duration {
		var changing []store.ChangingVersion
		err := i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			changing, err = tx.ChangingFunctions(batch)
			return err
		})
		for _, v := range changing {
			err = errors.Join(err, i.finishVersion(ctx, v))
		}
		if err != nil && ctx.Err() == nil {
			i.cfg.Logger.Error("finishing the creation of functions", "error", err)
		}
		if err == nil && len(changing) == batch {
			return 0
		}
		return versionPoll
	})
	return nil
}

// finishVersion checks that a version can run here and makes it Active, or
// Failed with the reason.
func (i *Invoker) finishVersion(ctx context.Context, v store.ChangingVersion) error {
	var seen *function.Config
	err := i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		_, seen, err = changingVersion(tx, v)
		return err
	})
	if err != nil {
		return ignoreNotFound(err)
	}
	runtimeErr := i.pool.CheckRuntime(ctx, seen.Runtime)
	if runtimeErr != nil && !fault.Is(runtimeErr, fault.Parameter) {
		return runtimeErr
	}
	return i.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		f, c, err := changingVersion(tx, v)
		if err != nil || c.Change != seen.Change {
			return ignoreNotFound(err) // changed again: looked at again
		}
		code, reason, err := i.unfit(tx, f, c, runtimeErr)
		if err != nil || !c.Finish(code, reason, uuid.NewString()) {
			return err
		}
		if v.Number == 0 {
			return tx.SaveFunction(f)
		}
		return tx.SaveFunctionVersion(f, c)
	})
}

func changingVersion(tx *store.Tx, v store.ChangingVersion) (*function.Function, *function.Config, error) {
	f, err := tx.FunctionByID(v.FunctionID)
	if err != nil {
		return nil, nil, err
	}
	version := ""
	if v.Number != 0 {
		version = strconv.FormatInt(v.Number, 10)
	}
	c, err := Version(tx, f, version)
	return f, c, err
}

// unfit says why a version cannot become Active; "" if it can.
func (i *Invoker) unfit(tx *store.Tx, f *function.Function, c *function.Config, runtimeErr error) (code, reason string, err error) {
	if e, ok := errors.AsType[*fault.Error](runtimeErr); ok {
		return "InvalidRuntime", e.Message, nil
	}
	err = Assumable(tx, c.Role, f.ARN(), f.Account)
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Kind == fault.Parameter {
		return "InsufficientRolePermissions", e.Message, nil
	}
	return "", "", err
}

// warmVersion is what was asked of the pool for one version.
type warmVersion struct {
	spec  environment.Spec
	count int
}

// runProvisioned keeps the environments of provisioned concurrency until ctx
// ends.
func (i *Invoker) runProvisioned(ctx context.Context) error {
	asked := map[string]warmVersion{}
	every(ctx, i.wakeProvisioned, func() time.Duration {
		if err := i.provision(ctx, asked); err != nil && ctx.Err() == nil {
			i.cfg.Logger.Error("keeping provisioned concurrency", "error", err)
		}
		return pollInterval
	})
	return nil
}

// provision compares what is wanted with what was asked of the pool and asks
// for the difference.
func (i *Invoker) provision(ctx context.Context, asked map[string]warmVersion) error {
	wanted, err := i.wantedVersions(ctx)
	if err != nil {
		return err
	}
	for name, had := range asked {
		if _, ok := wanted[name]; !ok {
			err = errors.Join(err, i.pool.SetProvisioned(had.spec, 0))
			delete(asked, name)
		}
	}
	for name, want := range wanted {
		had := asked[name]
		if had.count == want.count && had.spec.RevisionID == want.spec.RevisionID {
			continue
		}
		if failed := i.pool.SetProvisioned(want.spec, want.count); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		asked[name] = want
	}
	return err
}

// wantedVersions returns by qualified ARN the versions that have provisioned
// concurrency, by themselves or through an alias.
func (i *Invoker) wantedVersions(ctx context.Context) (map[string]warmVersion, error) {
	type version struct {
		f     *function.Function
		c     *function.Config
		box   VariableBox
		count int
	}
	var wanted map[string]version
	err := i.cfg.Store.View(ctx, func(tx *store.Tx) error {
		wanted = map[string]version{}
		functions, err := tx.ProvisionedFunctions()
		if err != nil {
			return err
		}
		for _, f := range functions {
			for qualifier, p := range f.Provisioned {
				ref := function.Ref{Region: f.Region, Account: f.Account, Name: f.Name, Qualifier: qualifier}
				// A random number of nearly 1 picks an alias's main version.
				_, c, err := Lookup(tx, ref, 1)
				if fault.Is(err, fault.NotFound) || err == nil && c.CheckInvocable() != nil {
					continue
				}
				if err != nil {
					return err
				}
				box, err := i.BoxVariables(tx, f, c)
				if err != nil {
					return err
				}
				if box.unusable != nil {
					continue
				}
				name := f.Qualified(c.Version)
				wanted[name] = version{f, c, box, wanted[name].count + int(p.Requested)}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	specs := make(map[string]warmVersion, len(wanted))
	for name, v := range wanted {
		spec, err := i.spec(ctx, v.f, v.c, v.box)
		if err != nil {
			return nil, err
		}
		specs[name] = warmVersion{spec, v.count}
	}
	return specs, nil
}

// Provisioned returns how far the provisioned concurrency of a version has
// come: environments that are ready, and why the last one could not be made.
func (i *Invoker) Provisioned(functionARN, version string) (available int64, failed error) {
	s := i.pool.Provisioned(functionARN, version)
	return int64(s.Available), s.Err
}
