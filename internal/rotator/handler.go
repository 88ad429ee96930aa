package rotator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// The staging labels.
const (
	current  = "AWSCURRENT"
	pending  = "AWSPENDING"
	previous = "AWSPREVIOUS"
)

// Handler runs the steps of one Rotator.
type Handler struct {
	// Rotator is the kind of secret.
	Rotator Rotator
	// Config is how the AWS APIs are reached. Secrets Manager is called at
	// SECRETS_MANAGER_ENDPOINT when the settings have it.
	Config aws.Config
	// Settings are the function's environment variables.
	Settings Settings
	// Log gets the function's log lines.
	Log io.Writer

	trust  trust
	memory memory
}

// NewHandler makes a handler with the process's environment, as Lambda gives
// it.
func NewHandler(ctx context.Context, rotator Rotator, log io.Writer) (*Handler, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	return &Handler{Rotator: rotator, Config: cfg, Settings: Environment(), Log: log}, nil
}

// Handle runs one step. Errors are *Error where the failure is one that AWS's
// templates know too; their texts hold no secret.
func (h *Handler) Handle(ctx context.Context, e Event) error {
	r := h.rotation(ctx, e)
	err := r.run(ctx, h.Rotator)
	if err == nil {
		return nil
	}
	return r.journal.fail(e.Step, err)
}

func (h *Handler) rotation(ctx context.Context, e Event) *Rotation {
	requestID := ""
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		requestID = lc.AwsRequestID
	}
	r := &Rotation{
		SecretID: e.SecretID, Token: e.Token, Step: e.Step, Settings: h.Settings, Config: h.Config,
		rotationToken: e.RotationToken, memory: &h.memory, trust: &h.trust, journal: &journal{to: h.Log, requestID: requestID},
	}
	r.secrets = h.Secrets()
	return r
}

// Secrets makes the client of Secrets Manager that the steps use.
func (h *Handler) Secrets() *secretsmanager.Client {
	return secretsmanager.NewFromConfig(h.Config, func(o *secretsmanager.Options) {
		if url := h.Settings.Text("SECRETS_MANAGER_ENDPOINT", ""); url != "" {
			o.BaseEndpoint = &url
		}
	})
}

// run checks that the step may run, and runs it.
func (r *Rotation) run(ctx context.Context, rotator Rotator) error {
	d, err := r.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &r.SecretID})
	if err != nil {
		return fmt.Errorf("describing secret %s: %w", r.SecretID, err)
	}
	if d.RotationEnabled != nil && !*d.RotationEnabled {
		return Invalid("Secret %s is not enabled for rotation", r.SecretID)
	}
	labels, ok := d.VersionIdsToStages[r.Token]
	switch {
	case !ok:
		return Invalid("Secret version %s has no stage for rotation of secret %s.", r.Token, r.SecretID)
	case slices.Contains(labels, current):
		r.journal.info("Secret version %s already set as AWSCURRENT for secret %s.", r.Token, r.SecretID)
		if f, ok := rotator.(Finisher); ok && r.Step == "finishSecret" {
			return f.Finish(ctx, r)
		}
		return nil
	case !slices.Contains(labels, pending):
		return Invalid("Secret version %s not set as AWSPENDING for rotation of secret %s.", r.Token, r.SecretID)
	}
	return r.step(ctx, rotator, d)
}

func (r *Rotation) step(ctx context.Context, rotator Rotator, d *secretsmanager.DescribeSecretOutput) error {
	switch r.Step {
	case "createSecret":
		return r.create(ctx, rotator)
	case "setSecret":
		return rotator.Set(ctx, r)
	case "testSecret":
		return rotator.Test(ctx, r)
	case "finishSecret":
		if err := r.finish(ctx, d); err != nil {
			return err
		}
		if f, ok := rotator.(Finisher); ok {
			return f.Finish(ctx, r)
		}
		return nil
	default:
		r.journal.error("lambda_handler: Invalid step parameter %s for secret %s", r.Step, r.SecretID)
		return Invalid("Invalid step parameter %s for secret %s", r.Step, r.SecretID)
	}
}

// create stores the pending value, unless an earlier attempt has.
func (r *Rotation) create(ctx context.Context, rotator Rotator) error {
	cur, err := r.Value(ctx, current)
	if err != nil {
		return err
	}
	r.current = &cur
	_, err = r.Value(ctx, pending)
	if err == nil {
		r.Logf("Successfully retrieved secret for %s.", r.SecretID)
		return nil
	}
	if !missing(err) {
		return err
	}
	value, err := rotator.Create(ctx, r)
	if err != nil {
		return err
	}
	r.journal.hide(value)
	if err := r.put(ctx, r.SecretID, value.RevealText()); err != nil {
		if err = r.afterwards(ctx, value, err); err != nil {
			return err
		}
	}
	r.Logf("Successfully put secret for ARN %s and version %s.", r.SecretID, r.Token)
	return nil
}

// cleanUp is how long may be taken to end things well after a failure, which
// may be that the step's time is over.
const cleanUp = 3 * time.Second

// afterwards finds out what became of a value whose storing failed: the
// failure may be of the answer alone. What the value was made of outside is
// taken back only when no version holds it.
func (r *Rotation) afterwards(ctx context.Context, value plaintext.Value, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	stored, err := r.Value(ctx, pending)
	switch {
	case err == nil && stored.RevealText() == value.RevealText():
		return nil
	case err == nil || missing(err):
		return errors.Join(failed, r.takeBack(ctx))
	case len(r.undo) > 0:
		r.Warnf("Whether the pending value is stored is not known (%v); what was made for it is left in place", err)
	}
	return failed
}

// finish moves AWSCURRENT to the pending version.
func (r *Rotation) finish(ctx context.Context, d *secretsmanager.DescribeSecretOutput) error {
	if err := r.move(ctx, r.SecretID, d); err != nil {
		return err
	}
	r.Logf("Successfully set AWSCURRENT stage to version %s for secret %s.", r.Token, r.SecretID)
	return nil
}

// missing tells that a secret, version or value does not exist.
func missing(err error) bool {
	_, ok := errors.AsType[*types.ResourceNotFoundException](err)
	return ok
}
