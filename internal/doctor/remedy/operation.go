package remedy

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/middleware"
)

// operations is everything that is ever called, by the names that IAM has for
// them, sorted.
var operations = []string{
	"cloudtrail:LookupEvents",
	"lambda:AddPermission",
	"lambda:GetFunctionConfiguration",
	"lambda:GetPolicy",
	"lambda:UpdateFunctionConfiguration",
	"logs:FilterLogEvents",
	"secretsmanager:DescribeSecret",
	"secretsmanager:RotateSecret",
	"secretsmanager:UpdateSecretVersionStage",
}

// prefixes maps the SDK's service IDs to IAM's prefixes.
var prefixes = map[string]string{
	"CloudTrail": "cloudtrail", "CloudWatch Logs": "logs", "Lambda": "lambda", "Secrets Manager": "secretsmanager",
}

// Operations returns the API operations that a Surgeon may call, by the names
// of their permissions, sorted.
func Operations() []string { return slices.Clone(operations) }

// guard refuses, at the very beginning of every call, what is not listed.
type guard struct{}

// ID names the middleware.
func (guard) ID() string { return "KeyturnRemedies" }

// HandleInitialize refuses or passes on.
func (guard) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
	out middleware.InitializeOutput, metadata middleware.Metadata, err error,
) {
	action := prefixes[middleware.GetServiceID(ctx)] + ":" + middleware.GetOperationName(ctx)
	if _, listed := slices.BinarySearch(operations, action); !listed {
		return out, metadata, fmt.Errorf("%s is not one of the operations by which remedies are applied; it was not sent", action)
	}
	return next.HandleInitialize(ctx, in)
}

// restricted is the configuration with the guard in every call.
func restricted(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	cfg.APIOptions = append(slices.Clone(cfg.APIOptions), func(s *middleware.Stack) error {
		return s.Initialize.Add(guard{}, middleware.Before)
	})
	return cfg
}
