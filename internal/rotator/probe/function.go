package probe

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/keyturn/keyturn/internal/rotator"
)

const (
	// inFunction is the most that a probe inside a function takes.
	inFunction = 40 * time.Second
	// toAnswer is what it leaves of the function's time for its answer.
	toAnswer = time.Second
)

// Serve answers an event of the step "probe" in a function's own process: it
// reads the secret by the function's role and tries its logins. It does so
// only for a secret that is named by its ARN and that rotates by this
// function, as Secrets Manager says. engine is the function's own.
func Serve(ctx context.Context, h *rotator.Handler, engines []Engine, engine string, e rotator.Event) ([]Result, error) {
	if !strings.HasPrefix(e.SecretID, "arn:") {
		return nil, rotator.Invalid("A probe needs the secret's ARN as SecretId")
	}
	ctx, cancel := context.WithTimeout(ctx, inFunction)
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, deadline.Add(-toAnswer))
		defer stop()
	}
	client := h.Secrets()
	versions, err := read(ctx, h, e.SecretID)
	if err != nil {
		return nil, err
	}
	if arn := SuperuserARN(versions); arn != "" {
		versions = append(versions, ReadSuperuser(ctx, client, arn))
	}
	p := &Prober{Engines: engines, Engine: engine, Settings: h.Settings, Config: h.Config, From: FromFunction}
	return p.Run(ctx, versions), nil
}

// read reads the secret's values once it is known to be this function's to
// read.
func read(ctx context.Context, h *rotator.Handler, arn string) ([]Version, error) {
	own := ""
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		own = lc.InvokedFunctionArn
	}
	d, err := Describe(ctx, h.Secrets(), arn)
	if err != nil {
		return nil, err
	}
	if own == "" || unqualified(own) != unqualified(d.FunctionARN) || d.ARN != arn {
		return nil, rotator.Invalid("Secret %s does not rotate by this function", arn)
	}
	return d.Read(ctx, h.Secrets()), nil
}

// unqualified leaves out the version or alias of a function's ARN.
func unqualified(arn string) string {
	parts := strings.Split(arn, ":")
	const whole = 7 // arn, partition, lambda, Region, account, function, name
	return strings.Join(parts[:min(len(parts), whole)], ":")
}
