package secretsmanager

import (
	"context"
	"time"

	"github.com/google/uuid"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/rotation"
	"github.com/keyturn/keyturn/internal/schedule"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// RotateSecret configures rotation and starts one, or, with
// RotateImmediately=false, the test of the configuration. The configuration is
// stored even if that rotation later fails; when the function cannot be
// invoked nothing is stored (AWS: recorded). While a rotation is unfinished
// the call is refused and that rotation runs again.
func (s *Service) RotateSecret(ctx context.Context, call *wire.Call, in *api.RotateSecretRequest) (*api.RotateSecretResponse, error) {
	token := given(in.ClientRequestToken)
	if err := checkTarget(*in.SecretId, token, fault.Parameter); err != nil {
		return nil, err
	}
	var out *api.RotateSecretResponse
	err := retry(ctx, func(int) error {
		start := secret.RotationStart{
			Token: token, RotationToken: s.Sealer.Seal(rotation.TokenPurpose, []byte(uuid.NewString())),
			Test: in.RotateImmediately != nil && !*in.RotateImmediately, Now: call.Time,
		}
		copied, err := s.testCopy(ctx, call, *in.SecretId, token, start.Test)
		if err != nil {
			return err
		}
		unfinished := false
		out, err = change(ctx, s, call, target{id: *in.SecretId, use: secret.Rotate, version: token}, func(c changing) (*api.RotateSecretResponse, error) {
			unfinished = false
			err := s.rotate(c, in, start, copied)
			if err != nil {
				unfinished = fault.Is(err, fault.State) && c.before.CheckNoRotation() != nil && !c.before.Deleted()
				return nil, err
			}
			return &api.RotateSecretResponse{ARN: new(c.after.ARN()), Name: &c.after.Name, VersionId: &token}, nil
		})
		if unfinished {
			s.resume(ctx, call, *in.SecretId)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.Wake()
	return out, nil
}

// rotate applies the call to the secret. The order of its checks is that of
// rotation.md 1.2: rules and function, then an unfinished rotation, then
// whether the function can be invoked.
func (s *Service) rotate(c changing, in *api.RotateSecretRequest, start secret.RotationStart, copied *testCopy) error {
	prev, err := lastRun(c.tx, c.before)
	if err != nil {
		return err
	}
	if in.ExternalSecretRotationMetadata != nil || in.ExternalSecretRotationRoleArn != nil {
		return fault.New(fault.Parameter, "Rotation of managed external secrets is not supported: "+
			"ExternalSecretRotationMetadata and ExternalSecretRotationRoleArn can't be used.")
	}
	rules, err := rulesOf(c.after, in.RotationRules)
	if err != nil {
		return err
	}
	if start.FunctionARN, err = c.after.RotationFunction(given(in.RotationLambdaARN)); err != nil {
		return err
	}
	if start.Test {
		if err := copied.fits(c.before); err != nil {
			return err
		}
		start.Copy = copied.version
	}
	run, err := c.after.BeginRotation(prev, start)
	if err != nil || run == prev {
		return err // refused, or the same call again
	}
	if err := s.checkInvoke(c, start.FunctionARN); err != nil {
		return err
	}
	c.after.ConfigureRotation(start.FunctionARN, rules, secret.Dates{}, start.Now)
	if old := c.before.Rotation; old.Enabled && old.Rules == c.after.Rotation.Rules {
		c.after.Rotation.ConfiguredAt = old.ConfiguredAt // a rotation on demand leaves the schedule as it is
	}
	if err := c.after.Plan(run); err != nil {
		return err
	}
	fence := int64(0)
	if prev != nil {
		fence = prev.Fence
	}
	// The run refers to the secret, which is there already.
	return c.tx.SaveRun(run, fence)
}

// checkInvoke refuses a function that the caller may not invoke (AWS docs),
// and one that Secrets Manager cannot invoke, whether it is missing or its
// policy does not admit it (AWS: recorded).
func (s *Service) checkInvoke(c changing, functionARN string) error {
	if c.after.OwningService != "" {
		return nil // an AWS service rotates the secret, with a function of its own
	}
	r, err := invocation.Resource(c.tx, functionARN)
	if err == nil {
		err = s.Guard.On(c.call, invocation.InvokeFunction, r)
	}
	if err != nil {
		return err
	}
	err = s.CanInvoke(c.tx, functionARN, c.after.ARN(), c.after.Account)
	switch fault.KindOf(err) {
	case fault.Internal, fault.Unavailable:
		return err
	case "":
		return nil
	}
	return fault.New(fault.Denied, "Secrets Manager cannot invoke the specified Lambda function. "+
		"Ensure that the function policy grants access to the principal secretsmanager.amazonaws.com.").For(functionARN).Because(err)
}

// rulesOf returns the rules that the call gives, or nil when it keeps the
// stored ones. A Duration alone changes that of the stored schedule.
func rulesOf(sec *secret.Secret, in *api.RotationRulesType) (*schedule.Rules, error) {
	if in == nil {
		return nil, nil
	}
	rules := schedule.Rules{
		AutomaticallyAfterDays: given(in.AutomaticallyAfterDays),
		Duration:               given(in.Duration), Expression: given(in.ScheduleExpression),
	}
	if rules.AutomaticallyAfterDays == 0 && rules.Expression == "" {
		if rules.Duration == "" {
			return nil, nil
		}
		rules.AutomaticallyAfterDays, rules.Expression = sec.Rotation.Rules.AutomaticallyAfterDays, sec.Rotation.Rules.Expression
	}
	_, err := schedule.Parse(rules)
	return &rules, err
}

// testCopy is the copy of the current value that a configuration test reads.
type testCopy struct {
	// currentID is the version that was copied; "" for none.
	currentID string
	version   *secret.Version
}

// fits reports, with errStale, that another version is current by now.
func (t *testCopy) fits(sec *secret.Secret) error {
	id := ""
	if v := sec.Holder(secret.Current); v != nil && v.HasValue {
		id = v.ID
	}
	if id != t.currentID {
		return errStale
	}
	return nil
}

// testCopy seals the current value for the version of a test. The copy is
// made with the service's own rights, as the call needs none on the key (AWS
// docs). Whatever else is wrong with the call is found later, in order.
func (s *Service) testCopy(ctx context.Context, call *wire.Call, id, token string, test bool) (*testCopy, error) {
	if !test {
		return nil, nil
	}
	var current *reading
	err := s.view(ctx, call, target{id: id, use: secret.Rotate}, func(tx *store.Tx, sec *secret.Secret) error {
		current = nil
		v := sec.Holder(secret.Current)
		if v == nil || !v.HasValue {
			return nil
		}
		rec, err := s.Guard.KeyIn(tx, sec.Account, sec.Region, v.KeyARN)
		if err != nil {
			return cannotOpen(err)
		}
		box, err := boxOf(tx, sec, v, rec)
		current = &reading{sec, v, box}
		return err
	})
	if err != nil || current == nil {
		return &testCopy{}, err
	}
	plain, err := s.open(ctx, &current.sealed)
	if err != nil {
		return nil, err
	}
	box, err := s.seal(ctx, current.sealed.key, current.sealed.arn, token, plain)
	return &testCopy{current.version.ID, &secret.Version{Sealed: box, KeyARN: current.version.KeyARN}}, err
}

// resume makes the unfinished rotation run again, as the refusal of another
// one promises. A failure is logged only: the refusal stands either way.
func (s *Service) resume(ctx context.Context, call *wire.Call, id string) {
	resumed := false
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		resumed = false
		sec, err := s.Guard.Secret(tx, call, id, "")
		if err != nil {
			return err
		}
		run, err := lastRun(tx, sec)
		if err != nil || run == nil {
			return err
		}
		fence := run.Fence
		if resumed = sec.Resume(run, time.Time{}, call.Time); !resumed {
			return nil
		}
		return tx.SaveRun(run, fence)
	})
	if err != nil {
		s.Logger.WarnContext(ctx, "resuming a rotation", "secret", id, "error", err)
		return
	}
	if resumed {
		s.Wake()
	}
}

// CancelRotateSecret turns rotation off and ends a rotation in progress.
// Labels stay as they are; VersionId is the version that the rotation left.
func (s *Service) CancelRotateSecret(ctx context.Context, call *wire.Call, in *api.CancelRotateSecretRequest) (*api.CancelRotateSecretResponse, error) {
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Rotate}, func(c changing) (*api.CancelRotateSecretResponse, error) {
		run, err := lastRun(c.tx, c.before)
		if err != nil {
			return nil, err
		}
		var fence int64
		active := run != nil && run.Active()
		if active {
			fence = run.Fence
		}
		partial, err := c.after.CancelRotation(run, call.Time)
		if err != nil {
			return nil, err
		}
		if active {
			if err := c.tx.SaveRun(run, fence); err != nil {
				return nil, err
			}
		}
		return &api.CancelRotateSecretResponse{ARN: new(c.after.ARN()), Name: &c.after.Name, VersionId: orNil(partial)}, nil
	})
}
