package gather

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/keyturn/keyturn/internal/doctor"
)

// stack finds the CloudFormation stack that the function belongs to.
func (l *look) stack(ctx context.Context) {
	f := l.e.Function
	if s := l.stackOf(ctx, f); s != nil {
		l.note(func(e *doctor.Evidence) { e.Stack = s })
	}
}

// The tags by which CloudFormation and the Serverless Application Repository
// mark what they make (AWS docs).
const (
	stackIDTag     = "aws:cloudformation:stack-id"
	stackNameTag   = "aws:cloudformation:stack-name"
	applicationTag = "serverlessrepo:applicationId"
	versionTag     = "serverlessrepo:semanticVersion"
)

// stackOf describes the stack that a function's tags name; nil for none.
func (l *look) stackOf(ctx context.Context, f *doctor.Function) *doctor.Stack {
	id := firstOf(f.Tags[stackIDTag], f.Tags[stackNameTag])
	if id == "" {
		return nil
	}
	l.tell("stack")
	s := &doctor.Stack{
		ID: f.Tags[stackIDTag], Name: f.Tags[stackNameTag], RootName: f.Tags[stackNameTag],
		Application: f.Tags[applicationTag], Version: f.Tags[versionTag],
	}
	const missing = "how the function was deployed, and so how it is upgraded"
	own, err := l.describeStack(ctx, id)
	if l.gap(err, "cloudformation:DescribeStacks", id, missing) || own == nil {
		return s
	}
	describeInto(s, own)
	parameters := map[string]string{}
	for _, p := range own.Parameters {
		parameters[aws.ToString(p.ParameterKey)] = aws.ToString(p.ParameterValue)
	}
	l.note(func(*doctor.Evidence) { l.parameters = parameters })
	root := id
	if parent := aws.ToString(own.RootId); parent != "" {
		root = parent
		top, err := l.describeStack(ctx, parent)
		if !l.gap(err, "cloudformation:DescribeStacks", parent, missing) && top != nil {
			s.RootName = aws.ToString(top.StackName)
		}
	}
	summary, err := l.stacks.GetTemplateSummary(ctx, &cloudformation.GetTemplateSummaryInput{StackName: &root})
	if !l.gap(err, "cloudformation:GetTemplateSummary", root, "which transforms the stack's template has") {
		s.Transforms = summary.DeclaredTransforms
		s.CDK = s.CDK || slices.Contains(summary.ResourceTypes, "AWS::CDK::Metadata")
	}
	return s
}

func (l *look) describeStack(ctx context.Context, id string) (*cfntypes.Stack, error) {
	out, err := l.stacks.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &id})
	if err != nil || len(out.Stacks) == 0 {
		return nil, err
	}
	return &out.Stacks[0], nil
}

// describeInto copies what a stack's description tells.
func describeInto(s *doctor.Stack, from *cfntypes.Stack) {
	s.ID, s.Name, s.RootName = aws.ToString(from.StackId), aws.ToString(from.StackName), aws.ToString(from.StackName)
	s.CreatedAt, s.UpdatedAt, s.Status = aws.ToTime(from.CreationTime), aws.ToTime(from.LastUpdatedTime), string(from.StackStatus)
	for _, t := range from.Tags {
		switch key := aws.ToString(t.Key); {
		case key == applicationTag:
			s.Application = aws.ToString(t.Value)
		case key == versionTag:
			s.Version = aws.ToString(t.Value)
		case strings.HasPrefix(key, "aws-cdk:"), strings.HasPrefix(key, "aws:cdk:"):
			s.CDK = true
		}
	}
}
