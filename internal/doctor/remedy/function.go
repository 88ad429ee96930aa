package remedy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/iam"
)

// service is who rotates.
const service = "secretsmanager.amazonaws.com"

// statementID names the statement that addPermission adds.
const statementID = "SecretsManagerRotation"

// addPermission lets Secrets Manager invoke the function for this one secret.
func (s *Surgeon) addPermission(ctx context.Context, a doctor.Action) (string, error) {
	account, err := accountOf(a.Secret)
	if err != nil {
		return "", err
	}
	name, qualifier := unqualified(a.Function)
	in := &lambda.AddPermissionInput{
		FunctionName: &name, StatementId: aws.String(statementID), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String(service), SourceAccount: &account, SourceArn: &a.Secret,
	}
	look := &lambda.GetPolicyInput{FunctionName: &name}
	if qualifier != "" {
		in.Qualifier, look.Qualifier = &qualifier, &qualifier
	}
	policy, err := s.lambda.GetPolicy(ctx, look)
	// Without a policy, or a function, adding to it will tell.
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); err != nil && !missing {
		return "", fmt.Errorf("reading the policy of %s: %w", a.Function, err)
	}
	if policy != nil {
		if err := admits(aws.ToString(policy.Policy), a, account); err != nil {
			return "", err
		}
		in.RevisionId = policy.RevisionId
		ids := statements(aws.ToString(policy.Policy))
		for i := 2; slices.Contains(ids, *in.StatementId); i++ {
			in.StatementId = aws.String(fmt.Sprintf("%s%d", statementID, i))
		}
	}
	if _, err := s.lambda.AddPermission(ctx, in); err != nil {
		if _, changed := errors.AsType[*types.PreconditionFailedException](err); changed {
			return "", stale("the policy of %s has just been changed", a.Function)
		}
		return "", fmt.Errorf("adding a permission to %s: %w", a.Function, err)
	}
	return fmt.Sprintf("added statement %s to the policy of %s: %s may invoke it for %s", *in.StatementId, a.Function, service, a.Secret), nil
}

// admits returns an error if a permission would change nothing: the policy
// admits Secrets Manager already, or denies it, which no permission overrules.
func admits(text string, a doctor.Action, account string) error {
	policy, err := iam.CompileText(text, "policy")
	if err != nil {
		return nil // not to be judged here; adding a statement harms nothing
	}
	known := map[string]iam.Value{
		"aws:sourcearn": iam.Text(a.Secret), "aws:sourceaccount": iam.Text(account), "lambda:functionarn": iam.Text(a.Function),
	}
	decision := iam.Evaluate(&iam.Request{
		Principal: iam.Principal{Type: iam.Service, InvokedBy: service}, Action: "lambda:InvokeFunction", Resource: a.Function,
		ResourceAccount: account, Context: func(key string) iam.Value { return known[key] },
	}, &iam.Policies{Resource: policy})
	switch {
	case decision.Allowed():
		return stale("the policy of %s lets %s invoke it by now", a.Function, service)
	case strings.Contains(text, `"Deny"`):
		return stale("the policy of %s denies, which no permission overrules", a.Function)
	}
	return nil
}

// statements returns the IDs of a policy's statements; none for what is no
// policy.
func statements(policy string) (ids []string) {
	var document struct{ Statement []struct{ Sid string } }
	_ = json.Unmarshal([]byte(policy), &document) // one that cannot be read has no IDs that are in the way
	for _, s := range document.Statement {
		ids = append(ids, s.Sid)
	}
	return ids
}

// raiseTimeout gives the function more time. The function's revision guards
// against a change that somebody else makes at the same moment.
func (s *Surgeon) raiseTimeout(ctx context.Context, a doctor.Action) (string, error) {
	name, qualifier := unqualified(a.Function)
	if qualifier != "" {
		return "", stale("the secret names %s, and what a version or alias stands for is not changed here", a.Function)
	}
	now, err := s.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
	if err != nil {
		return "", fmt.Errorf("looking at %s: %w", name, err)
	}
	had := aws.ToInt32(now.Timeout)
	if had >= a.Seconds {
		return "", stale("the timeout is %d seconds", had)
	}
	_, err = s.lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name, RevisionId: now.RevisionId, Timeout: &a.Seconds,
	})
	if _, changed := errors.AsType[*types.PreconditionFailedException](err); changed {
		return "", stale("the configuration of %s has just been changed", name)
	}
	if err != nil {
		return "", fmt.Errorf("changing %s: %w", name, err)
	}
	return fmt.Sprintf("raised the timeout of %s from %d to %d seconds", name, had, a.Seconds), s.updated(ctx, name)
}

// How often it is looked whether a change of a function is in force, and for
// how long.
const (
	updatePause = time.Second
	updateTime  = time.Minute
)

// updated waits until a change of the function is in force.
func (s *Surgeon) updated(ctx context.Context, name string) error {
	for end := time.Now().Add(updateTime); ; {
		now, err := s.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
		switch {
		case err != nil:
			return fmt.Errorf("waiting for the change of %s: %w", name, err)
		case now.LastUpdateStatus == types.LastUpdateStatusFailed:
			return fmt.Errorf("the change of %s failed: %s", name, aws.ToString(now.LastUpdateStatusReason))
		case now.LastUpdateStatus != types.LastUpdateStatusInProgress:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("the change of %s is still not in force after %v", name, updateTime)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(updatePause):
		}
	}
}
