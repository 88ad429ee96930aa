package engine_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// A deletion is forced, and told what to retain, only once one has failed.
func TestForcedDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	st := w.create(&cloudformation.CreateStackInput{
		StackName: aws.String("fd"), TemplateBody: aws.String(`{"Resources":{"Net":{"Type":"AWS::EC2::VPC","Properties":{"CidrBlock":"10.0.0.0/16"}},
			"G":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"/fd/g"}}},"Outputs":{"Net":{"Value":{"Ref":"Net"}}}}`),
	}, types.StackStatusCreateComplete)
	force := &cloudformation.DeleteStackInput{StackName: st.StackId, DeletionMode: types.DeletionModeForceDeleteStack}
	_, err := w.Stacks.DeleteStack(ctx, force)
	refused(t, err, "ValidationError", "Invalid operation on stack ["+*st.StackId+
		"]. You can activate DeletionMode FORCE_DELETE_STACK in a delete stack operation only when the stack is in the DELETE_FAILED state.")
	w.demand("fd", types.StackStatusCreateComplete)

	vpc := output(st, "Net")
	subnet, err := w.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: aws.String("10.0.0.0/24")})
	w.must(err)
	_, err = w.Stacks.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: st.StackId})
	w.must(err)
	w.demand(*st.StackId, types.StackStatusDeleteFailed)
	for _, id := range []string{"G", "Nothing"} { // deleted, and never there
		_, err = w.Stacks.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: st.StackId, RetainResources: []string{"Net", id}})
		refused(t, err, "ValidationError", "The specified resources to retain must be in a valid state. Do not specify resources that are in the DELETE_COMPLETE state.")
	}
	_, err = w.Stacks.DeleteStack(ctx, force)
	w.must(err)
	w.demand(*st.StackId, types.StackStatusDeleteComplete)
	_, err = w.EC2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: subnet.Subnet.SubnetId})
	w.must(err)
	_, err = w.EC2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: &vpc}) // which the stack gave up
	w.must(err)
}

// A rollback that is continued skips only what it has failed at.
func TestResourcesToSkip(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.occupy()
	ctx, name := t.Context(), aws.String("skip")
	w.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: aws.String(groups(7, "A", "B"))}, types.StackStatusCreateComplete)
	_, err := w.Stacks.ContinueUpdateRollback(ctx, &cloudformation.ContinueUpdateRollbackInput{StackName: name, ResourcesToSkip: []string{"A"}})
	st := w.settled(*name)
	refused(t, err, "ValidationError", "Stack:"+*st.StackId+" is in CREATE_COMPLETE state and can not continue rollback.")
	w.fail(*name, `{"Resources":{"A":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"/skip/A","RetentionInDays":14}},
		"B":{"Type":"AWS::Logs::LogGroup","DependsOn":"A","Properties":{"LogGroupName":"/skip/B","RetentionInDays":14}},
		"T":{"Type":"AWS::Logs::LogGroup","DependsOn":"B","Properties":{"LogGroupName":"/taken"}}}}`)
	_, err = w.Logs.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: aws.String("/skip/A")})
	w.must(err)
	_, err = w.Stacks.RollbackStack(ctx, &cloudformation.RollbackStackInput{StackName: name})
	w.must(err)
	w.demand(*name, types.StackStatusUpdateRollbackFailed)
	for _, id := range []string{"Nothing", "T"} {
		_, err = w.Stacks.ContinueUpdateRollback(ctx, &cloudformation.ContinueUpdateRollbackInput{StackName: name, ResourcesToSkip: []string{"A", id}})
		refused(t, err, "ValidationError", "ResourcesToSkip can only name resources that are in the UPDATE_FAILED state because a rollback failed: ["+id+"] is not")
	}
	_, err = w.Stacks.ContinueUpdateRollback(ctx, &cloudformation.ContinueUpdateRollbackInput{StackName: name, ResourcesToSkip: []string{"inner.A"}})
	refused(t, err, "ValidationError", "ResourcesToSkip cannot name resources of nested stacks here: [inner.A]")
	w.demand(*name, types.StackStatusUpdateRollbackFailed)
	_, err = w.Stacks.ContinueUpdateRollback(ctx, &cloudformation.ContinueUpdateRollbackInput{StackName: name, ResourcesToSkip: []string{"A"}})
	w.must(err)
	w.demand(*name, types.StackStatusUpdateRollbackComplete)
	if got := w.retention("/skip/B"); got != 7 {
		t.Errorf("got a retention of %d days, want 7", got)
	}
}
