package deploy

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/schedule"
)

// everyDefault is for secrets that have no schedule yet.
const everyDefault = "30d"

var days = regexp.MustCompile(`^(\d{1,4})d$`)

// Rules reads how often to rotate: 30d, rate() or cron(), with a window such
// as 3h or "".
func Rules(every, window string) (*types.RotationRulesType, error) {
	r := &types.RotationRulesType{}
	check := schedule.Rules{Expression: every, Duration: window}
	if m := days.FindStringSubmatch(every); m != nil {
		n, _ := strconv.ParseInt(m[1], 10, 64) // four digits
		r.AutomaticallyAfterDays = &n
		check = schedule.Rules{AutomaticallyAfterDays: n, Duration: window}
	} else {
		r.ScheduleExpression = &every
	}
	if window != "" {
		r.Duration = &window
	}
	if _, err := schedule.Parse(check); err != nil {
		return nil, fmt.Errorf("how often to rotate is 30d, a rate() or a cron() expression, such as rate(12 hours), and not %q: %w", every, err)
	}
	return r, nil
}

// rotation makes the function that of a secret.
func (d *deployment) rotation(ctx context.Context, secret *secretsmanager.DescribeSecretOutput, function string) error {
	every := d.Every
	if every == "" && secret.RotationRules == nil {
		every = everyDefault
	}
	in := &secretsmanager.RotateSecretInput{SecretId: secret.ARN, RotationLambdaARN: &function, RotateImmediately: aws.Bool(false)}
	if every != "" {
		var err error
		if in.RotationRules, err = Rules(every, d.Window); err != nil {
			return err
		}
	}
	name := aws.ToString(secret.Name)
	change := Change{"rotation of", name, Unchanged, ""}
	if was := aws.ToString(secret.RotationLambdaARN); !aws.ToBool(secret.RotationEnabled) {
		change.Action, change.Detail = Created, describeRules(in.RotationRules)
	} else if was != function {
		change.Action, change.Detail = Updated, "its function was "+was
	} else if in.RotationRules != nil && !sameRules(in.RotationRules, secret.RotationRules) {
		change.Action, change.Detail = Updated, describeRules(in.RotationRules)
	}
	if change.Action != Unchanged {
		if _, err := d.secrets.RotateSecret(ctx, in); err != nil {
			return fmt.Errorf("configuring rotation of the secret %s: %w", name, err)
		}
	}
	d.did(change)
	return nil
}

// describeRules says when a secret is rotated.
func describeRules(r *types.RotationRulesType) string {
	switch {
	case r == nil:
		return "on its schedule"
	case r.AutomaticallyAfterDays != nil:
		return strings.TrimSpace(fmt.Sprintf("every %d days", *r.AutomaticallyAfterDays))
	}
	return aws.ToString(r.ScheduleExpression)
}

// sameRules compares what was asked for with what the service shows, which
// may be more: days for an expression.
func sameRules(want, have *types.RotationRulesType) bool {
	if have == nil || aws.ToString(want.Duration) != aws.ToString(have.Duration) ||
		aws.ToString(want.ScheduleExpression) != aws.ToString(have.ScheduleExpression) {
		return false
	}
	return want.ScheduleExpression != nil || aws.ToInt64(want.AutomaticallyAfterDays) == aws.ToInt64(have.AutomaticallyAfterDays)
}
