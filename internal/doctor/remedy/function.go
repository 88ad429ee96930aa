package remedy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/internal/doctor"
)

// service is who rotates.
const service = "secretsmanager.amazonaws.com"

// statementID names the statement that addPermission adds.
const statementID = "SecretsManagerRotation"

func (s *Surgeon) addPermission(ctx context.Context, a doctor.Action) (string, error) {
	account, err := accountOf(a.Secret)
	if err != nil {
		return "", err
	}
	name, qualifier := unqualified(a.Function)
	in := &lambda.AddPermissionInput{
		FunctionName: &name, StatementId: aws.String(statementID), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String(service), SourceAccount: &account,
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
	return fmt.Sprintf("added statement %s to the policy of %s: %s may invoke it for secrets of account %s", *in.StatementId, a.Function, service, account), nil
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

// raise gives the function more time or memory. The function's revision guards
// against a change that somebody else makes at the same moment.
func (s *Surgeon) raise(ctx context.Context, a doctor.Action) (string, error) {
	name, qualifier := unqualified(a.Function)
	if qualifier != "" {
		return "", stale("the secret names %s, and what a version or alias stands for is not changed here", a.Function)
	}
	now, err := s.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
	if err != nil {
		return "", fmt.Errorf("looking at %s: %w", name, err)
	}
	in := &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, RevisionId: now.RevisionId}
	var done string
	if a.Kind == doctor.RaiseTimeout {
		if had := aws.ToInt32(now.Timeout); had >= a.Seconds {
			return "", stale("the timeout is %d seconds", had)
		}
		in.Timeout = &a.Seconds
		done = fmt.Sprintf("raised the timeout of %s from %d to %d seconds", name, aws.ToInt32(now.Timeout), a.Seconds)
	} else {
		if had := aws.ToInt32(now.MemorySize); had >= a.MB {
			return "", stale("the memory is %d MB", had)
		}
		in.MemorySize = &a.MB
		done = fmt.Sprintf("raised the memory of %s from %d to %d MB", name, aws.ToInt32(now.MemorySize), a.MB)
	}
	if _, err := s.lambda.UpdateFunctionConfiguration(ctx, in); err != nil {
		if _, changed := errors.AsType[*types.PreconditionFailedException](err); changed {
			return "", stale("the configuration of %s has just been changed", name)
		}
		return "", fmt.Errorf("changing %s: %w", name, err)
	}
	return done, s.updated(ctx, name)
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

func (s *Surgeon) freeConcurrency(ctx context.Context, a doctor.Action) (string, error) {
	name, _ := unqualified(a.Function)
	now, err := s.lambda.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: &name})
	if err != nil {
		return "", fmt.Errorf("looking at the concurrency of %s: %w", name, err)
	}
	if now.ReservedConcurrentExecutions == nil {
		return "", stale("%s has no reserved concurrency", name)
	}
	if _, err := s.lambda.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: &name}); err != nil {
		return "", fmt.Errorf("removing the reserved concurrency of %s: %w", name, err)
	}
	return fmt.Sprintf("removed the reserved concurrency of %s, which was %d", name, *now.ReservedConcurrentExecutions), nil
}
