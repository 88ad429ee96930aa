package resource

import (
	"context"
	"fmt"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/cloudformation"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
)

const cloudFormation = "cloudformation"

// maxStackName is the longest name of a stack (AWS docs).
const maxStackName = 128

// stackProperties are those of AWS::CloudFormation::Stack.
type stackProperties struct {
	TemplateURL      string
	Parameters       map[string]string
	NotificationARNs []string
	TimeoutInMinutes *int64
	Tags             tags
}

// stackHandler handles AWS::CloudFormation::Stack, a stack in a stack. The
// service knows the outer stack by the tag aws:cloudformation:stack-id of a
// call that CloudFormation makes itself.
func stackHandler() *Handler {
	return typed[stackProperties]{
		schema: &stack.Schema{
			Type: "AWS::CloudFormation::Stack", Attributes: []string{"Outputs.*"}, Taggable: "Tags",
			Properties: properties{
				"TemplateURL": required(text()), "Parameters": mapOf(text()), "NotificationARNs": texts(), "TimeoutInMinutes": integer(), "Tags": tagList(),
			},
		},
		create: createStack, update: updateStack,
		delete: func(ctx context.Context, r *Request, _ *stackProperties) error {
			return r.removeStack(ctx, r.PhysicalID)
		},
	}.handler()
}

func (p *stackProperties) parameters() []api.Parameter {
	return sortedTags(p.Parameters, func(key, value *string) api.Parameter { return api.Parameter{ParameterKey: key, ParameterValue: value} })
}

func (p *stackProperties) stackTags(r *Request) []api.Tag {
	return sortedTags(p.Tags.with(r.Tags), func(key, value *string) api.Tag { return api.Tag{Key: key, Value: value} })
}

// notified are the topics of the inner stack.
func (p *stackProperties) notified(r *Request) []string {
	if p.NotificationARNs == nil {
		return r.Stacks.NotificationARNs
	}
	return p.NotificationARNs
}

// nonEmpty is a pointer to s; nil for "".
func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func createStack(ctx context.Context, r *Request, p *stackProperties) (Result, error) {
	id, err := r.makeStack(ctx, p)
	if err != nil {
		return Result{}, err
	}
	if err = r.initiated(id); err == nil {
		err = r.settled(ctx, id, api.StackStatusCreateComplete)
	}
	var res Result
	if err == nil {
		res, err = r.stackResult(ctx, id)
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeStack(ctx, id) })
	}
	return res, nil
}

func (r *Request) makeStack(ctx context.Context, p *stackProperties) (string, error) {
	if r.PhysicalID != "" {
		return r.PhysicalID, nil
	}
	name := r.generatedName(maxStackName)
	if r.Resumed {
		if s, err := r.describeStack(ctx, name); err == nil && deref(s.ParentId) == r.Stack.ID {
			return deref(s.StackId), nil
		}
	}
	out, err := call[api.CreateStackOutput](ctx, r.Client, cloudFormation, "CreateStack", &api.CreateStackInput{
		StackName: &name, TemplateURL: &p.TemplateURL, Parameters: p.parameters(), TimeoutInMinutes: p.TimeoutInMinutes, Tags: p.stackTags(r),
		NotificationARNs: p.notified(r), Capabilities: r.Stacks.Capabilities, RoleARN: nonEmpty(r.Stacks.RoleARN),
		ClientRequestToken: new(r.token("stack")), OnFailure: new(api.OnFailureDoNothing),
	})
	if err != nil {
		return "", err
	}
	return deref(out.StackId), nil
}

func (r *Request) describeStack(ctx context.Context, id string) (*api.Stack, error) {
	out, err := call[api.DescribeStacksOutput](ctx, r.Client, cloudFormation, "DescribeStacks", &api.DescribeStacksInput{StackName: &id})
	if err != nil {
		return nil, err
	}
	return &out.Stacks[0], nil
}

// settled waits until nothing is in progress in a stack any more, and fails
// unless its status is then as wanted (AWS: recorded).
func (r *Request) settled(ctx context.Context, id, want string) error {
	return until(ctx, func() (bool, error) {
		s, err := r.describeStack(ctx, id)
		if err != nil {
			return false, err
		}
		status := deref(s.StackStatus)
		if strings.HasSuffix(status, "_IN_PROGRESS") {
			return false, nil
		}
		if status != want {
			return false, notStabilized("Embedded stack %s was not successfully %s: %s", id, pastTense(want), deref(s.StackStatusReason))
		}
		return true, nil
	})
}

func pastTense(status string) string {
	return map[string]string{
		api.StackStatusCreateComplete: "created", api.StackStatusUpdateComplete: "updated", api.StackStatusDeleteComplete: "deleted",
		api.StackStatusUpdateRollbackComplete: "rolled back",
	}[status]
}

func (r *Request) stackResult(ctx context.Context, id string) (Result, error) {
	s, err := r.describeStack(ctx, id)
	if err != nil {
		return Result{}, err
	}
	attributes := map[string]any{}
	for _, o := range s.Outputs {
		attributes["Outputs."+deref(o.OutputKey)] = deref(o.OutputValue)
	}
	return Result{PhysicalID: id, Attributes: attributes}, nil
}

func updateStack(ctx context.Context, r *Request, _, p *stackProperties) (Result, error) {
	id := r.PhysicalID
	if err := r.rolledBack(ctx, id); err != nil {
		return Result{}, err
	}
	err := r.Client.do(ctx, cloudFormation, "UpdateStack", &api.UpdateStackInput{
		StackName: &id, TemplateURL: &p.TemplateURL, Parameters: p.parameters(), Tags: p.stackTags(r), NotificationARNs: p.notified(r),
		Capabilities: r.Stacks.Capabilities, RoleARN: nonEmpty(r.Stacks.RoleARN), ClientRequestToken: new(r.token("stack")),
	})
	switch {
	case err == nil, r.Resumed && r.updating(ctx, id):
		if err := r.settled(ctx, id, api.StackStatusUpdateComplete); err != nil {
			return Result{}, err
		}
	case !unchanged(err):
		return Result{}, err
	}
	return r.stackResult(ctx, id)
}

// rolledBack takes up the rollback of a stack in which that has failed, since
// it cannot be updated before. What the rollback leads to may still differ
// from what is wanted.
func (r *Request) rolledBack(ctx context.Context, id string) error {
	s, err := r.describeStack(ctx, id)
	if err != nil {
		return err
	}
	switch deref(s.StackStatus) {
	case api.StackStatusUpdateRollbackFailed:
		in := &api.ContinueUpdateRollbackInput{StackName: &id, RoleARN: nonEmpty(r.Stacks.RoleARN), ClientRequestToken: new(r.token("continue"))}
		if err := r.Client.do(ctx, cloudFormation, "ContinueUpdateRollback", in); err != nil {
			return err
		}
	case api.StackStatusUpdateRollbackInProgress, api.StackStatusUpdateRollbackCompleteCleanupInProgress:
		if !r.Resumed { // nobody knows whose
			return nil
		}
	default:
		return nil
	}
	return r.settled(ctx, id, api.StackStatusUpdateRollbackComplete)
}

// unchanged reports whether an update had nothing to do.
func unchanged(err error) bool {
	f, ok := err.(*Failure)
	return ok && f.Message == "No updates are to be performed."
}

// updating reports whether an update, begun before a crash, is going on.
func (r *Request) updating(ctx context.Context, id string) bool {
	s, err := r.describeStack(ctx, id)
	return err == nil && strings.HasPrefix(deref(s.StackStatus), "UPDATE_") && strings.HasSuffix(deref(s.StackStatus), "_IN_PROGRESS")
}

// removeStack deletes a stack and waits until it is gone.
func (r *Request) removeStack(ctx context.Context, id string) error {
	s, err := r.describeStack(ctx, id)
	if f, ok := err.(*Failure); ok && strings.HasSuffix(f.Message, "does not exist") {
		return nil
	}
	if err != nil || deref(s.StackStatus) == api.StackStatusDeleteComplete {
		return err
	}
	if err := r.Client.do(ctx, cloudFormation, "DeleteStack", &api.DeleteStackInput{StackName: &id, ClientRequestToken: new(r.token("delete"))}); err != nil {
		return err
	}
	return r.settled(ctx, id, api.StackStatusDeleteComplete)
}

// nothingHandler handles types that make nothing: the resource is a name.
func nothingHandler(schema *stack.Schema, attributes map[string]any) *Handler {
	return typed[struct{}]{
		schema: schema,
		create: func(_ context.Context, r *Request, _ *struct{}) (Result, error) {
			id := r.generatedName(maxStackName)
			return Result{PhysicalID: id, Attributes: attributes}, r.initiated(id)
		},
		update: func(_ context.Context, r *Request, _, _ *struct{}) (Result, error) {
			return Result{PhysicalID: r.PhysicalID}, nil
		},
		delete: func(context.Context, *Request, *struct{}) error { return nil },
	}.handler()
}

// metadataHandler handles AWS::CDK::Metadata.
func metadataHandler() *Handler {
	return nothingHandler(&stack.Schema{Type: "AWS::CDK::Metadata", Properties: properties{"Analytics": text()}}, nil)
}

// waitHandleHandler handles AWS::CloudFormation::WaitConditionHandle. There
// is no place to which signals are sent, so it is a name alone.
func waitHandleHandler() *Handler {
	return nothingHandler(&stack.Schema{Type: "AWS::CloudFormation::WaitConditionHandle", Attributes: []string{"Id"}}, nil)
}

// waitProperties are those of AWS::CloudFormation::WaitCondition.
type waitProperties struct {
	Count *int64
}

// waitHandler handles AWS::CloudFormation::WaitCondition with a count of 0,
// which waits for nothing.
func waitHandler() *Handler {
	check := func(p *waitProperties) error {
		if p.Count == nil || *p.Count != 0 {
			return fault.New(fault.State, "A WaitCondition can only have a Count of 0 here: this server receives no signals.")
		}
		return nil
	}
	return typed[waitProperties]{
		schema: &stack.Schema{
			Type: "AWS::CloudFormation::WaitCondition", Attributes: []string{"Data", "Id"},
			Properties: properties{"Count": integer(), "Handle": text(), "Timeout": text()},
		},
		create: func(_ context.Context, r *Request, p *waitProperties) (Result, error) {
			id := r.generatedName(maxStackName)
			if err := check(p); err != nil {
				return Result{}, err
			}
			return Result{PhysicalID: id, Attributes: map[string]any{"Data": "{}", "Id": id}}, r.initiated(id)
		},
		update: func(_ context.Context, r *Request, _, p *waitProperties) (Result, error) {
			return Result{PhysicalID: r.PhysicalID}, check(p)
		},
		delete: func(context.Context, *Request, *waitProperties) error { return nil },
	}.handler()
}

// addressHandler handles AWS::EC2::EIP. Addresses are records with nothing
// behind them, so that a NAT gateway can name one: an allocation ID and an
// address of the range for documentation.
func addressHandler() *Handler {
	result := func(mark string) Result {
		last := 0
		for _, c := range mark {
			last = (last*31 + int(c)) % 254
		}
		id, ip := "eipalloc-"+mark, fmt.Sprintf("203.0.113.%d", last+1)
		return Result{PhysicalID: id, Ref: ip, Attributes: map[string]any{"AllocationId": id, "PublicIp": ip}}
	}
	return typed[struct{}]{
		schema: &stack.Schema{
			Type: "AWS::EC2::EIP", Attributes: []string{"AllocationId", "PublicIp"}, Taggable: "Tags",
			Properties: properties{"Domain": text(), "NetworkBorderGroup": fixed(text()), "Tags": tagList()},
		},
		create: func(_ context.Context, r *Request, _ *struct{}) (Result, error) {
			res := result(r.mark()[:17])
			return res, r.initiated(res.PhysicalID)
		},
		update: func(_ context.Context, r *Request, _, _ *struct{}) (Result, error) {
			return result(strings.TrimPrefix(r.PhysicalID, "eipalloc-")), nil
		},
		delete: func(context.Context, *Request, *struct{}) error { return nil },
	}.handler()
}
