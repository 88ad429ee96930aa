package resource

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/stack"
)

const logs = "logs"

// maxLogGroupName is the longest name of a log group (AWS docs).
const maxLogGroupName = 512

// logGroupProperties are those of AWS::Logs::LogGroup.
type logGroupProperties struct {
	LogGroupName, KmsKeyId, LogGroupClass *string
	RetentionInDays                       *int64
	DeletionProtectionEnabled             *bool
	Tags                                  tags
}

// logGroupHandler handles AWS::Logs::LogGroup.
func logGroupHandler() *Handler {
	return typed[logGroupProperties]{
		schema: &stack.Schema{
			Type: "AWS::Logs::LogGroup", Attributes: []string{"Arn"}, Taggable: "Tags",
			Properties: properties{
				"LogGroupName": fixed(text()), "KmsKeyId": text(), "LogGroupClass": fixed(text()), "RetentionInDays": integer(),
				"DeletionProtectionEnabled": boolean(), "Tags": tagList(),
			},
		},
		create: createLogGroup, update: updateLogGroup, delete: deleteLogGroup,
	}.handler()
}

func createLogGroup(ctx context.Context, r *Request, p *logGroupProperties) (Result, error) {
	name, _ := r.nameOr(p.LogGroupName, maxLogGroupName)
	err := r.Client.do(ctx, logs, "CreateLogGroup", &api.CreateLogGroupRequest{
		LogGroupName: &name, KmsKeyId: p.KmsKeyId, LogGroupClass: p.LogGroupClass, DeletionProtectionEnabled: p.DeletionProtectionEnabled,
		Tags: p.Tags.with(r.Tags),
	})
	if exists(err) && r.ours(name, r.logGroupTag(ctx, name)) {
		err = nil
	}
	if err != nil {
		return Result{}, err
	}
	if err = r.initiated(name); err == nil && p.RetentionInDays != nil {
		err = r.Client.do(ctx, logs, "PutRetentionPolicy", &api.PutRetentionPolicyRequest{LogGroupName: &name, RetentionInDays: p.RetentionInDays})
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeLogGroup(ctx, name) })
	}
	return r.logGroupResult(name), nil
}

func (r *Request) logGroupResult(name string) Result {
	return Result{PhysicalID: name, Attributes: map[string]any{"Arn": r.logGroupARN(name) + ":*"}}
}

func (r *Request) logGroupARN(name string) string {
	return "arn:" + r.Stack.Partition + ":logs:" + r.Stack.Region + ":" + r.Stack.Account + ":log-group:" + name
}

// logGroupTag reads the tags of a log group that exists.
func (r *Request) logGroupTag(ctx context.Context, name string) func(string) string {
	return func(key string) string {
		in := &api.ListTagsForResourceRequest{ResourceArn: new(r.logGroupARN(name))}
		out, err := call[api.ListTagsForResourceResponse](ctx, r.Client, logs, "ListTagsForResource", in)
		if err != nil {
			return ""
		}
		return out.Tags[key]
	}
}

func updateLogGroup(ctx context.Context, r *Request, old, p *logGroupProperties) (Result, error) {
	name := &r.PhysicalID
	var steps []step
	if differ(old.RetentionInDays, p.RetentionInDays) {
		if p.RetentionInDays == nil {
			steps = append(steps, step{logs, "DeleteRetentionPolicy", &api.DeleteRetentionPolicyRequest{LogGroupName: name}})
		} else {
			steps = append(steps, step{logs, "PutRetentionPolicy", &api.PutRetentionPolicyRequest{LogGroupName: name, RetentionInDays: p.RetentionInDays}})
		}
	}
	if differ(old.KmsKeyId, p.KmsKeyId) {
		if p.KmsKeyId == nil {
			steps = append(steps, step{logs, "DisassociateKmsKey", &api.DisassociateKmsKeyRequest{LogGroupName: name}})
		} else {
			steps = append(steps, step{logs, "AssociateKmsKey", &api.AssociateKmsKeyRequest{LogGroupName: name, KmsKeyId: p.KmsKeyId}})
		}
	}
	change, arn := r.tagsChanged(old.Tags, p.Tags), r.logGroupARN(*name)
	if len(change.drop) > 0 {
		steps = append(steps, step{logs, "UntagResource", &api.UntagResourceRequest{ResourceArn: &arn, TagKeys: change.drop}})
	}
	if len(change.set) > 0 {
		steps = append(steps, step{logs, "TagResource", &api.TagResourceRequest{ResourceArn: &arn, Tags: change.set}})
	}
	return r.logGroupResult(*name), r.Client.each(ctx, steps...)
}

func deleteLogGroup(ctx context.Context, r *Request, _ *logGroupProperties) error {
	return r.removeLogGroup(ctx, r.PhysicalID)
}

func (r *Request) removeLogGroup(ctx context.Context, name string) error {
	return gone(r.Client.do(ctx, logs, "DeleteLogGroup", &api.DeleteLogGroupRequest{LogGroupName: &name}))
}
