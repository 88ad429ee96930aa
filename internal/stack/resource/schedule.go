package resource

import (
	"context"
	"slices"
	"time"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
)

// scheduleProperties are those of AWS::SecretsManager::RotationSchedule.
type scheduleProperties struct {
	SecretId, RotationLambdaARN    string
	HostedRotationLambda           *map[string]any
	RotationRules                  *api.RotationRulesType
	RotateImmediatelyOnUpdate      *bool
	ExternalSecretRotationMetadata []api.ExternalSecretRotationMetadataItem
	ExternalSecretRotationRoleArn  *string
}

// scheduleHandler handles AWS::SecretsManager::RotationSchedule.
func scheduleHandler() *Handler {
	return typed[scheduleProperties]{
		schema: &stack.Schema{
			Type: "AWS::SecretsManager::RotationSchedule", Attributes: []string{"Id"},
			Properties: properties{
				"SecretId": fixed(required(text())), "RotationLambdaARN": text(), "RotateImmediatelyOnUpdate": boolean(),
				"RotationRules": object(properties{"AutomaticallyAfterDays": integer(), "Duration": text(), "ScheduleExpression": text()}),
				"HostedRotationLambda": object(properties{
					"RotationType": required(text()), "RotationLambdaName": text(), "KmsKeyArn": text(), "MasterSecretArn": text(),
					"MasterSecretKmsKeyArn": text(), "SuperuserSecretArn": text(), "SuperuserSecretKmsKeyArn": text(), "VpcSecurityGroupIds": text(),
					"VpcSubnetIds": text(), "ExcludeCharacters": text(), "Runtime": text(),
				}),
				"ExternalSecretRotationMetadata": listOf(object(properties{"Key": required(text()), "Value": required(text())})),
				"ExternalSecretRotationRoleArn":  text(),
			},
		},
		create: func(ctx context.Context, r *Request, p *scheduleProperties) (Result, error) {
			return r.schedule(ctx, p)
		},
		update: func(ctx context.Context, r *Request, _, p *scheduleProperties) (Result, error) {
			if err := r.rested(ctx); err != nil {
				return Result{}, err
			}
			return r.schedule(ctx, p)
		},
		delete: deleteSchedule,
	}.handler()
}

// schedule turns rotation on, or changes it. It does not wait for the
// rotation that this begins.
func (r *Request) schedule(ctx context.Context, p *scheduleProperties) (Result, error) {
	if p.HostedRotationLambda != nil { // AWS: recorded
		return Result{}, fault.New(fault.State, "To use the HostedRotationLambda property, you must use the AWS::SecretsManager transform")
	}
	// A rollback changes the rules back; no value changes for that.
	now := !r.Rollback && (p.RotateImmediatelyOnUpdate == nil || *p.RotateImmediatelyOnUpdate)
	token := r.token("rotate")
	if r.Resumed {
		d, err := r.describeSecret(ctx, p.SecretId)
		if err != nil {
			return Result{}, err
		}
		if p.done(d, token, now) {
			return r.scheduled(*d.ARN)
		}
	}
	in := &api.RotateSecretRequest{
		SecretId: &p.SecretId, ClientRequestToken: &token, RotationRules: p.RotationRules, RotateImmediately: &now,
		ExternalSecretRotationMetadata: p.ExternalSecretRotationMetadata, ExternalSecretRotationRoleArn: p.ExternalSecretRotationRoleArn,
	}
	if p.RotationLambdaARN != "" {
		in.RotationLambdaARN = &p.RotationLambdaARN
	}
	out, err := call[api.RotateSecretResponse](ctx, r.Client, secretsManager, "RotateSecret", in)
	if err != nil {
		return Result{}, err
	}
	return r.scheduled(*out.ARN)
}

// rest is how long an update waits for a rotation that goes on.
const rest = 30 * time.Second

// rested waits a while for a rotation to end, such as the one that the
// creation of the schedule began: until then no other can begin. One that does
// not end, because the function fails, is RotateSecret's to refuse.
func (r *Request) rested(ctx context.Context) error {
	end := time.Now().Add(rest)
	return until(ctx, func() (bool, error) {
		d, err := r.describeSecret(ctx, r.PhysicalID)
		if err != nil {
			return false, err
		}
		for token, stages := range d.VersionIdsToStages {
			pending := slices.Contains(stages, "AWSPENDING") && !slices.Contains(stages, "AWSCURRENT")
			if pending && token != r.token("rotate") {
				return time.Now().After(end), nil
			}
		}
		return true, nil
	})
}

func (r *Request) scheduled(arn string) (Result, error) {
	return secretResult(arn), r.initiated(arn)
}

// done reports whether the secret is rotated as asked for, by a call before a
// crash.
func (p *scheduleProperties) done(d *api.DescribeSecretResponse, token string, now bool) bool {
	_, begun := d.VersionIdsToStages[token]
	return deref(d.RotationEnabled) && deref(d.RotationLambdaARN) == p.RotationLambdaARN && (begun || !now) &&
		(p.RotationRules == nil || !differ(d.RotationRules, p.RotationRules))
}

func deleteSchedule(ctx context.Context, r *Request, _ *scheduleProperties) error {
	return gone(r.Client.do(ctx, secretsManager, "CancelRotateSecret", &api.CancelRotateSecretRequest{SecretId: &r.PhysicalID}))
}

// secretPolicyProperties are those of AWS::SecretsManager::ResourcePolicy.
type secretPolicyProperties struct {
	SecretId, ResourcePolicy string
	BlockPublicPolicy        *bool
}

// secretPolicyHandler handles AWS::SecretsManager::ResourcePolicy.
func secretPolicyHandler() *Handler {
	put := func(ctx context.Context, r *Request, p *secretPolicyProperties) (Result, error) {
		out, err := call[api.PutResourcePolicyResponse](ctx, r.Client, secretsManager, "PutResourcePolicy", &api.PutResourcePolicyRequest{
			SecretId: &p.SecretId, ResourcePolicy: &p.ResourcePolicy, BlockPublicPolicy: p.BlockPublicPolicy,
		})
		if err != nil {
			return Result{}, err
		}
		return secretResult(*out.ARN), r.initiated(*out.ARN)
	}
	return typed[secretPolicyProperties]{
		schema: &stack.Schema{
			Type: "AWS::SecretsManager::ResourcePolicy", Attributes: []string{"Id"},
			Properties: properties{
				"SecretId": fixed(required(text())), "ResourcePolicy": required(document()), "BlockPublicPolicy": boolean(),
			},
		},
		create: put,
		update: func(ctx context.Context, r *Request, _, p *secretPolicyProperties) (Result, error) {
			return put(ctx, r, p)
		},
		delete: func(ctx context.Context, r *Request, _ *secretPolicyProperties) error {
			return gone(r.Client.do(ctx, secretsManager, "DeleteResourcePolicy", &api.DeleteResourcePolicyRequest{SecretId: &r.PhysicalID}))
		},
	}.handler()
}
