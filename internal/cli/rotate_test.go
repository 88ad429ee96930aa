package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotate"
)

// The rotate command against a server on which the scripts make secrets and
// meddle with their rotations.
func TestRotateScripts(t *testing.T) {
	s := &meddler{apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)}), t}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/rotate",
		Setup: func(e *testscript.Env) error {
			for _, v := range []string{
				"AWS_ENDPOINT_URL=" + s.URL, "AWS_REGION=" + apitest.Region, "AWS_ACCESS_KEY_ID=" + apitest.AccessKey,
				"AWS_SECRET_ACCESS_KEY=" + apitest.SecretKey, "AWS_EC2_METADATA_DISABLED=true",
			} {
				name, value, _ := strings.Cut(v, "=")
				e.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"secret": command(s.secret), "settled": command(s.settled), "hurry": command(s.hurry), "put": command(s.put), "cancel": command(s.cancel),
			"unpermit": command(s.unpermit),
		},
	})
}

// command makes a script's command of a function of its arguments.
func command(fn func(ctx context.Context, args []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := fn(ctx, args); err != nil || neg {
			ts.Fatalf("%v", err)
		}
	}
}

// meddler does what the scripts ask for.
type meddler struct {
	*apitest.Server
	t *testing.T
}

// secret makes a secret and a function: NAME [STEP HOW].
func (m *meddler) secret(ctx context.Context, args []string) error {
	name, step, how := args[0], "", ""
	if len(args) == 3 {
		step, how = args[1], args[2]
	}
	_, err := m.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("first")})
	if err != nil {
		return err
	}
	function := m.NewFunction(m.t, apitest.StepFunction(m.t, name, step, how))
	_, err = m.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{
		SecretId: &name, RotationLambdaARN: &function, RotateImmediately: aws.Bool(false),
		RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err != nil {
		return err
	}
	return m.settled(ctx, args)
}

// settled waits until no version of the secret is pending: NAME.
func (m *meddler) settled(ctx context.Context, args []string) error {
	return poll(ctx, func() (bool, error) {
		out, err := m.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &args[0]})
		return err == nil && !strings.Contains(fmt.Sprint(out.VersionIdsToStages), "AWSPENDING"), err
	})
}

// created waits until the rotation's first step has stored a value.
func (m *meddler) created(ctx context.Context, name string) error {
	return poll(ctx, func() (bool, error) {
		_, err := m.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name, VersionStage: aws.String("AWSPENDING")})
		if _, missing := errors.AsType[*smtypes.ResourceNotFoundException](err); missing {
			return false, nil
		}
		return err == nil, err
	})
}

// hurry makes a failing rotation spend its attempts: NAME.
func (m *meddler) hurry(ctx context.Context, args []string) error {
	for attempt := 1; attempt < 5; attempt++ {
		pattern := fmt.Sprintf(`{ $.status = "retrying" && $.secretArn = "*:secret:%s-*" && $.attempt = %d }`, args[0], attempt)
		err := poll(ctx, func() (bool, error) {
			out, err := m.Logs.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{
				LogGroupName: aws.String(rotate.EngineGroup), FilterPattern: &pattern,
			})
			return err == nil && len(out.Events) > 0, err
		})
		if err != nil {
			return err
		}
		_, err = m.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &args[0]})
		if _, refused := errors.AsType[*smtypes.InvalidRequestException](err); !refused {
			return fmt.Errorf("rotating during a rotation: %w", err)
		}
	}
	return nil
}

// put puts a value by hand into a rotation under way: NAME.
func (m *meddler) put(ctx context.Context, args []string) error {
	if err := m.created(ctx, args[0]); err != nil {
		return err
	}
	_, err := m.Secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: &args[0], SecretString: aws.String("by hand")})
	return err
}

// cancel cancels a rotation under way: NAME.
func (m *meddler) cancel(ctx context.Context, args []string) error {
	if err := m.created(ctx, args[0]); err != nil {
		return err
	}
	_, err := m.Secrets.CancelRotateSecret(ctx, &secretsmanager.CancelRotateSecretInput{SecretId: &args[0]})
	return err
}

func poll(ctx context.Context, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// unpermit takes the right to invoke the secret's function away: NAME.
func (m *meddler) unpermit(ctx context.Context, args []string) error {
	_, err := m.Lambda.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: &args[0], StatementId: aws.String("SecretsManager")})
	return err
}
