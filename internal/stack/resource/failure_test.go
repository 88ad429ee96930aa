package resource_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	logsapi "github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/stack/resource"
)

func TestDescribe(t *testing.T) {
	k := newKit(t)
	_, err := k.logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: new("taken")})
	k.must(err)
	_, taken := resource.Lookup("AWS::Logs::LogGroup").Create(t.Context(), k.request(`{"LogGroupName":"taken"}`))
	for _, tc := range []struct {
		err  error
		code resource.HandlerErrorCode
		want string
	}{
		{
			taken, resource.AlreadyExists,
			`Resource handler returned message: "The specified log group already exists (Service: CloudWatchLogs, Status Code: 400, Request ID: [0-9a-f-]{36})" (RequestToken: T, HandlerErrorCode: AlreadyExists)`,
		},
		{fault.New(fault.State, "No."), resource.InvalidRequest, `Resource handler returned message: "No." (RequestToken: T, HandlerErrorCode: InvalidRequest)`},
		{fault.New(fault.Exists, "Twice."), resource.AlreadyExists, `Resource handler returned message: "Twice." (RequestToken: T, HandlerErrorCode: AlreadyExists)`},
		{
			fmt.Errorf("wrapped: %w", context.DeadlineExceeded), resource.NotStabilized,
			`Resource handler returned message: "Internal Failure" (RequestToken: T, HandlerErrorCode: NotStabilized)`,
		},
		{
			fault.New(fault.Internal, "").Because(errors.New("the disk is gone")), resource.InternalFailure,
			`Resource handler returned message: "Internal Failure" (RequestToken: T, HandlerErrorCode: InternalFailure)`,
		},
	} {
		got := resource.Describe(tc.err, "T")
		pattern := strings.NewReplacer("(", `\(`, ")", `\)`).Replace(tc.want)
		if !regexp.MustCompile("^"+pattern+"$").MatchString(got) || resource.ErrorCode(tc.err) != tc.code {
			t.Errorf("%v:\ngot  %s %s\nwant %s %s", tc.err, resource.ErrorCode(tc.err), got, tc.code, tc.want)
		}
	}
}

// The handlers work with the caller's permissions and no others.
func TestDenied(t *testing.T) {
	k := newKit(t)
	before := k.inventory()
	for _, tc := range []struct{ typ, properties, statements, want string }{
		{"AWS::SecretsManager::Secret", `{"Name":"x"}`, "", "secretsmanager:CreateSecret"},
		{"AWS::Logs::LogGroup", `{"LogGroupName":"x","RetentionInDays":7}`, `{"Effect":"Allow","Action":["logs:CreateLogGroup","logs:DeleteLogGroup","logs:TagResource"],"Resource":"*"}`, "logs:PutRetentionPolicy"},
		{"AWS::IAM::Role", `{"AssumeRolePolicyDocument":` + lambdaTrust + `}`, "", "iam:CreateRole"},
		{"AWS::KMS::Key", `{}`, "", "kms:CreateKey"},
		{"AWS::EC2::VPC", `{"CidrBlock":"10.0.0.0/16"}`, "", "ec2:CreateVpc"},
	} {
		k.client = &resource.Client{Handler: k.Handler, Principal: servicetest.User(t, account, "poor", tc.statements), Region: region}
		_, err := resource.Lookup(tc.typ).Create(t.Context(), k.request(tc.properties))
		if resource.ErrorCode(err) != resource.AccessDenied || !strings.Contains(fmt.Sprint(err), tc.want) && tc.typ != "AWS::EC2::VPC" {
			t.Errorf("%s: got %s %v, want %s denied", tc.typ, resource.ErrorCode(err), err, tc.want)
		}
	}
	k.same("after what was denied", before)
}

// What exists already and is not the stack's is not taken over after a crash.
func TestTakenNames(t *testing.T) {
	k := newKit(t)
	k.newSecret("taken")
	_, err := k.logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: new("taken")})
	k.must(err)
	before := k.inventory()
	for _, tc := range []struct{ typ, properties, want string }{
		{"AWS::SecretsManager::Secret", `{"Name":"taken"}`, "The operation failed because the secret taken already exists."},
		{"AWS::Logs::LogGroup", `{"LogGroupName":"taken"}`, "The specified log group already exists"},
		{"AWS::IAM::Role", `{"RoleName":"execution","AssumeRolePolicyDocument":` + lambdaTrust + `}`, "Role with name execution already exists."},
	} {
		r := k.request(tc.properties)
		r.Resumed = true
		_, err := resource.Lookup(tc.typ).Create(t.Context(), r)
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Message != tc.want || resource.ErrorCode(err) != resource.AlreadyExists {
			t.Errorf("%s: got %v, want %s", tc.typ, err, tc.want)
		}
	}
	k.same("after the refusals", before)
}

// Clients cannot give the tags that mark what stacks own, nor take them away.
func TestReservedTags(t *testing.T) {
	k := newKit(t)
	res, err := resource.Lookup("AWS::SecretsManager::Secret").Create(t.Context(), k.request(`{"Name":"s"}`))
	k.must(err)
	_, err = k.secrets.UntagResource(t.Context(), &secretsmanager.UntagResourceInput{SecretId: &res.PhysicalID, TagKeys: []string{"aws:cloudformation:stack-id"}})
	servicetest.WantError(t, "taking the stack's tag", err, "InvalidParameterException", 400, "Tag keys that start with aws: are reserved for AWS use.")
	res, err = resource.Lookup("AWS::Logs::LogGroup").Create(t.Context(), k.request(`{"LogGroupName":"g"}`))
	k.must(err)
	arn := strings.TrimSuffix(fmt.Sprint(res.Attributes["Arn"]), ":*")
	_, err = k.logs.UntagResource(t.Context(), &cloudwatchlogs.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"aws:cloudformation:stack-id"}})
	servicetest.WantError(t, "taking the stack's tag", err, "InvalidParameterException", 400, "Tag keys starting with aws: are reserved for system use.")
	_, err = k.client.Call(t.Context(), "logs", "UntagResource", &logsapi.UntagResourceRequest{ResourceArn: &arn, TagKeys: []string{"aws:cloudformation:stack-id"}})
	k.must(err)
}

func TestGeneratedNames(t *testing.T) {
	k := newKit(t)
	h := resource.Lookup("AWS::IAM::Role")
	long := strings.Repeat("a", 60)
	for _, tc := range []struct{ stack, logical, pattern string }{
		{"shop", "Thing", `^shop-Thing-[A-Za-z0-9]{12}$`},
		{long, "Thing", `^a{45}-Thing-[A-Za-z0-9]{12}$`},
		{"shop", long, `^shop-a{46}-[A-Za-z0-9]{12}$`},
		{long, strings.Repeat("b", 60), `^a{25}-b{25}-[A-Za-z0-9]{12}$`},
	} {
		r := k.request(`{"AssumeRolePolicyDocument":` + lambdaTrust + `}`)
		r.Stack.Name, r.LogicalID = tc.stack, tc.logical
		res, err := h.Create(t.Context(), r)
		k.must(err)
		if !regexp.MustCompile(tc.pattern).MatchString(res.PhysicalID) || len(res.PhysicalID) > 64 {
			t.Errorf("got the name %s, want %s", res.PhysicalID, tc.pattern)
		}
	}
}

// Every type of the table is complete, and its attributes and properties are
// AWS's.
func TestTable(t *testing.T) {
	for _, typ := range resource.Types() {
		h := resource.Lookup(typ)
		if h.Create == nil || h.Update == nil || h.Delete == nil || h.Schema.Type != typ {
			t.Errorf("%s is not complete", typ)
		}
		if p, ok := h.Schema.Properties[h.Schema.Taggable]; h.Schema.Taggable != "" && (!ok || p.Required) {
			t.Errorf("%s has no property %s for tags", typ, h.Schema.Taggable)
		}
		if _, ok := h.Schema.Properties[h.Named]; h.Named != "" && !(ok && h.IAM) {
			t.Errorf("%s has no property %s", typ, h.Named)
		}
	}
	if resource.Lookup("AWS::S3::Bucket") != nil || resource.Schema("AWS::S3::Bucket") != nil {
		t.Error("an unknown type has a handler")
	}
}
