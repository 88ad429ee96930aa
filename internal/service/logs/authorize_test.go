//lint:file-ignore SA1019 the old tagging calls are served, too

package logs_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/servicetest"
)

const (
	annARN     = "arn:aws:iam::123456789012:user/ann"
	groupsARN  = "arn:aws:logs:us-east-1:123456789012:log-group:"
	noIdentity = " because no identity-based policy allows the "
)

// as returns a client of a user who holds a policy of the statements.
func (b *bench) as(statements string) *cloudwatchlogs.Client {
	b.t.Helper()
	return cloudwatchlogs.NewFromConfig(b.Parts.As(servicetest.User(b.t, servicetest.Account, "ann", statements)))
}

// Each operation is refused by its own action on the resource that AWS's
// refusals name, whether what it asks for exists or not.
func TestRefusals(t *testing.T) {
	b := newBench(t)
	b.append("there", "stream", 0, "x")
	nobody := b.as("")
	for _, group := range []string{"there", "none"} {
		of, bare := group+":log-stream:", group
		name, stream, groupARN := &group, aws.String("stream"), aws.String(groupsARN+group)
		for _, tc := range []struct {
			action, resource string
			call             func(*cloudwatchlogs.Client) error
		}{
			{"CreateLogGroup", of, func(c *cloudwatchlogs.Client) error {
				_, err := c.CreateLogGroup(b.ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: name})
				return err
			}},
			{"DeleteLogGroup", of, func(c *cloudwatchlogs.Client) error {
				_, err := c.DeleteLogGroup(b.ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: name})
				return err
			}},
			{"DescribeLogGroups", ":log-stream:", func(c *cloudwatchlogs.Client) error {
				_, err := c.DescribeLogGroups(b.ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: name})
				return err
			}},
			{"DescribeLogStreams", of, func(c *cloudwatchlogs.Client) error {
				_, err := c.DescribeLogStreams(b.ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupIdentifier: groupARN})
				return err
			}},
			{"CreateLogStream", of + "stream", func(c *cloudwatchlogs.Client) error {
				_, err := c.CreateLogStream(b.ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: name, LogStreamName: stream})
				return err
			}},
			{"DeleteLogStream", of + "stream", func(c *cloudwatchlogs.Client) error {
				_, err := c.DeleteLogStream(b.ctx, &cloudwatchlogs.DeleteLogStreamInput{LogGroupName: name, LogStreamName: stream})
				return err
			}},
			{"PutLogEvents", of + "stream", func(c *cloudwatchlogs.Client) error {
				_, err := c.PutLogEvents(b.ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: name, LogStreamName: stream,
					LogEvents: []types.InputLogEvent{{Timestamp: b.ms(0), Message: aws.String("m")}}})
				return err
			}},
			{"GetLogEvents", of + "stream", func(c *cloudwatchlogs.Client) error {
				_, err := c.GetLogEvents(b.ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: name, LogStreamName: stream})
				return err
			}},
			{"FilterLogEvents", of, func(c *cloudwatchlogs.Client) error {
				_, err := c.FilterLogEvents(b.ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: name, LogStreamNames: []string{"stream"}})
				return err
			}},
			{"PutRetentionPolicy", of, func(c *cloudwatchlogs.Client) error {
				_, err := c.PutRetentionPolicy(b.ctx, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: name, RetentionInDays: aws.Int32(1)})
				return err
			}},
			{"TagLogGroup", of, func(c *cloudwatchlogs.Client) error {
				_, err := c.TagLogGroup(b.ctx, &cloudwatchlogs.TagLogGroupInput{LogGroupName: name, Tags: map[string]string{"k": "v"}}) //nolint:staticcheck // old clients call it
				return err
			}},
			{"TagResource", bare, func(c *cloudwatchlogs.Client) error {
				_, err := c.TagResource(b.ctx, &cloudwatchlogs.TagResourceInput{ResourceArn: groupARN, Tags: map[string]string{"k": "v"}})
				return err
			}},
			{"UntagResource", bare, func(c *cloudwatchlogs.Client) error {
				_, err := c.UntagResource(b.ctx, &cloudwatchlogs.UntagResourceInput{ResourceArn: groupARN, TagKeys: []string{"k"}})
				return err
			}},
			{"ListTagsForResource", bare, func(c *cloudwatchlogs.Client) error {
				_, err := c.ListTagsForResource(b.ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: groupARN})
				return err
			}},
		} {
			action := "logs:" + tc.action
			servicetest.WantError(t, tc.action, tc.call(nobody), "AccessDeniedException", 400,
				"User: "+annARN+" is not authorized to perform: "+action+" on resource: "+groupsARN+tc.resource+noIdentity+action+" action")
			// Allowed on exactly that resource, the call goes on.
			allowed := b.as(`{"Effect":"Allow","Action":"` + action + `","Resource":"` + groupsARN + tc.resource + `"}`)
			if err := tc.call(allowed); isDenied(err) {
				t.Errorf("%s, allowed: got %v", tc.action, err)
			}
		}
	}
}

func isDenied(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && e.ErrorCode() == "AccessDeniedException"
}

// Tags of groups and of requests count as condition keys.
func TestTagConditions(t *testing.T) {
	b := newBench(t)
	blue, red := map[string]string{"Team": "blue"}, map[string]string{"Team": "red"}
	create := func(statements, group string, tags map[string]string) error {
		_, err := b.as(statements).CreateLogGroup(b.ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &group, Tags: tags})
		return err
	}
	allow := func(actions, condition string) string {
		return `{"Effect":"Allow","Action":[` + actions + `],"Resource":"*","Condition":{` + condition + `}}`
	}
	const onlyBlue = `"StringEquals":{"aws:RequestTag/team":"blue"},"ForAllValues:StringEquals":{"aws:TagKeys":["Team"]}`
	create1, tagging := allow(`"logs:CreateLogGroup"`, ``), allow(`"logs:TagResource"`, onlyBlue)
	refused := func(action, resource string) string {
		return "User: " + annARN + " is not authorized to perform: logs:" + action + " on resource: " + groupsARN + resource + noIdentity + "logs:" + action + " action"
	}
	servicetest.WantError(t, "tags without the permission", create(create1, "g", blue), "AccessDeniedException", 400, refused("TagResource", "g"))
	servicetest.WantError(t, "other tags", create(create1+","+tagging, "g", red), "AccessDeniedException", 400, refused("TagResource", "g"))
	servicetest.WantError(t, "more tags", create(create1+","+tagging, "g", map[string]string{"Team": "blue", "x": "y"}), "AccessDeniedException", 400, refused("TagResource", "g"))
	for group, statements := range map[string]string{"blue": create1 + "," + tagging, "old": create1 + "," + allow(`"logs:TagLogGroup"`, onlyBlue), "none": create1} {
		tags := blue
		if group == "none" {
			tags = nil
		}
		if err := create(statements, group, tags); err != nil {
			t.Errorf("%s: %v", group, err)
		}
	}
	reader := b.as(allow(`"logs:FilterLogEvents"`, `"StringEquals":{"aws:ResourceTag/Team":"blue"}`))
	read := func(group string) error {
		_, err := reader.FilterLogEvents(b.ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group})
		return err
	}
	if err := read("blue"); err != nil {
		t.Error(err)
	}
	servicetest.WantError(t, "another group's", read("none"), "AccessDeniedException", 400, refused("FilterLogEvents", "none:log-stream:"))
}

// Another account's groups are refused, as they have no resource policies.
func TestAcrossAccounts(t *testing.T) {
	b := newBench(t)
	const group = "arn:aws:logs:us-east-1:999999999999:log-group:g"
	_, err := b.FilterLogEvents(b.ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupIdentifier: aws.String(group)})
	servicetest.WantError(t, "by root", err, "AccessDeniedException", 400, "User: arn:aws:iam::123456789012:root is not authorized to perform: "+
		"logs:FilterLogEvents on resource: "+group+":log-stream: because no resource-based policy allows the logs:FilterLogEvents action")
}
