package serverlessrepo_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/serverlessapplicationrepository"
	apptypes "github.com/aws/aws-sdk-go-v2/service/serverlessapplicationrepository/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/servicetest"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// request is a change set for an application with what it must have.
func request(id, stack string, parameters ...string) *serverlessapplicationrepository.CreateCloudFormationChangeSetInput {
	in := &serverlessapplicationrepository.CreateCloudFormationChangeSetInput{
		ApplicationId: &id, StackName: &stack, Capabilities: []string{"CAPABILITY_IAM", "CAPABILITY_RESOURCE_POLICY"},
	}
	for i := 0; i < len(parameters); i += 2 {
		in.ParameterOverrides = append(in.ParameterOverrides, apptypes.ParameterValue{Name: &parameters[i], Value: &parameters[i+1]})
	}
	return in
}

// described waits until a change set has been made or has failed.
func described(t *testing.T, s *apitest.Server, set *string) *cloudformation.DescribeChangeSetOutput {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		out, err := s.Stacks.DescribeChangeSet(t.Context(), &cloudformation.DescribeChangeSetInput{ChangeSetName: set})
		if err != nil {
			t.Fatal(err)
		}
		if out.Status == cfntypes.ChangeSetStatusCreateComplete || out.Status == cfntypes.ChangeSetStatusFailed {
			return out
		}
		if time.Now().After(end) {
			t.Fatalf("the change set is still %s", out.Status)
		}
	}
}

func TestChangeSet(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	in := request(multi, "rotation", "endpoint", "https://x", "functionName", "f")
	in.Tags = []apptypes.Tag{{Key: aws.String("Team"), Value: aws.String("db")}}
	made, err := s.Apps.CreateCloudFormationChangeSet(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(*made.StackId, ":stack/serverlessrepo-rotation/") || *made.SemanticVersion != "1.1.671" || *made.ApplicationId != multi {
		t.Errorf("got %s %s %s", *made.StackId, *made.SemanticVersion, *made.ApplicationId)
	}
	set := described(t, s, made.ChangeSetId)
	var added []string
	for _, c := range set.Changes {
		added = append(added, string(c.ResourceChange.Action)+" "+*c.ResourceChange.LogicalResourceId)
	}
	slices.Sort(added)
	want := []string{"Add LambdaPermission", "Add SecretsManagerRDSMySQLRotationMultiUser", "Add SecretsManagerRDSMySQLRotationMultiUserRole"}
	if set.Status != cfntypes.ChangeSetStatusCreateComplete || !slices.Equal(added, want) {
		t.Errorf("got the change set %s (%s): %v, want %v", set.Status, aws.ToString(set.StatusReason), added, want)
	}
	tags := map[string]string{}
	for _, tag := range set.Tags {
		tags[*tag.Key] = *tag.Value
	}
	if tags["Team"] != "db" || tags["serverlessrepo:applicationId"] != multi || tags["serverlessrepo:semanticVersion"] != "1.1.671" {
		t.Errorf("got the tags %v", tags)
	}
	if got := set.Capabilities; len(got) != 1 || got[0] != cfntypes.CapabilityCapabilityIam {
		t.Errorf("got the capabilities %v, want those that CloudFormation knows", got)
	}
	// The stack is still under review: another change set is for its creation
	// too.
	in.ChangeSetName = aws.String("again")
	again, err := s.Apps.CreateCloudFormationChangeSet(t.Context(), in)
	if err != nil || *again.StackId != *made.StackId || !strings.Contains(*again.ChangeSetId, ":changeSet/again/") {
		t.Errorf("got %v, %v", again, err)
	}
	checkEvents(t, s)
}

// checkEvents demands an event of the call and one of what it calls, by the
// same caller, neither of which shows a parameter's value.
func checkEvents(t *testing.T, s *apitest.Server) {
	t.Helper()
	for name, invokedBy := range map[string]string{"CreateCloudFormationChangeSet": "", "CreateChangeSet": "serverlessrepo.amazonaws.com"} {
		out, err := s.Trail.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{
			LookupAttributes: []types.LookupAttribute{{AttributeKey: types.LookupAttributeKeyEventName, AttributeValue: &name}},
		})
		if err != nil || len(out.Events) != 2 {
			t.Errorf("%s: got %d events, want 2: %v", name, len(out.Events), err)
			continue
		}
		text := *out.Events[0].CloudTrailEvent
		var e struct {
			UserIdentity struct{ Type, InvokedBy string }
		}
		if err := json.Unmarshal([]byte(text), &e); err != nil || e.UserIdentity.Type != "Root" || e.UserIdentity.InvokedBy != invokedBy {
			t.Errorf("%s: got the event %s, want it of the root user, invoked by %q", name, text, invokedBy)
		}
		if strings.Contains(text, "https://x") {
			t.Errorf("%s shows a parameter's value: %s", name, text)
		}
	}
}

func TestChangeSetRefusals(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	expired := request(multi, "s")
	expired.TemplateId = aws.String("019abcde-0000-8000-8000-000000000000")
	tagged := request(multi, "s", "endpoint", "x", "functionName", "f")
	tagged.Tags = []apptypes.Tag{{Key: aws.String("aws:x"), Value: aws.String("y")}}
	newer := request(multi, "s", "endpoint", "x", "functionName", "f")
	newer.SemanticVersion = aws.String("9.0.0")
	for name, c := range map[string]struct {
		in     *serverlessapplicationrepository.CreateCloudFormationChangeSetInput
		code   string
		status int
		want   string
	}{
		"unknown":            {request(unknown, "s"), "NotFoundException", 404, "Application not found: " + unknown},
		"version":            {newer, "NotFoundException", 404, "Application version not found: 9.0.0 of SecretsManagerRDSMySQLRotationMultiUser"},
		"template":           {expired, "NotFoundException", 404, "Template not found: 019abcde-0000-8000-8000-000000000000"},
		"tag":                {tagged, "BadRequestException", 400, "Tag keys cannot start with aws: or serverlessrepo: (aws:x)"},
		"missing parameters": {request(multi, "s"), "BadRequestException", 400, "Parameters: [endpoint, functionName] must have values"},
		"unknown parameter": {
			request(strings.Replace(multi, "Multi", "Single", 1), "s", "endpoint", "x", "functionName", "f", "masterSecretArn", "x"),
			"BadRequestException", 400, "Parameters: [masterSecretArn] do not exist in the template",
		},
	} {
		_, err := s.Apps.CreateCloudFormationChangeSet(t.Context(), c.in)
		servicetest.WantError(t, name, err, c.code, c.status, c.want)
	}
}

// The stack is the caller's work: to use an application takes the permissions
// on CloudFormation too.
func TestChangeSetAsCaller(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	cfg := s.NewUser(t, "ann")
	allow := func(actions string) {
		_, err := s.IAM.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{
			UserName: aws.String("ann"), PolicyName: aws.String("p"),
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":` + actions + `,"Resource":"*"}}`),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c := serverlessapplicationrepository.NewFromConfig(cfg)
	in := request(multi, "s", "endpoint", "x", "functionName", "f")
	allow(`"serverlessrepo:*"`)
	_, err := c.CreateCloudFormationChangeSet(t.Context(), in)
	denied, ok := errors.AsType[smithy.APIError](err)
	if !ok || denied.ErrorCode() != "AccessDeniedException" || !strings.Contains(denied.ErrorMessage(), "user/ann is not authorized to perform: cloudformation:CreateChangeSet on resource: arn:aws:cloudformation:") {
		t.Errorf("got %v, want CreateChangeSet denied", err)
	}
	allow(`["serverlessrepo:*","cloudformation:CreateChangeSet"]`)
	if _, err := c.CreateCloudFormationChangeSet(t.Context(), in); err != nil {
		t.Error(err)
	}
}
