package iam_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
)

// The AWS CLI reads the answers: enumerations, documents, lists and paging by
// its own loop.
func TestAWSCLI(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the AWS CLI is not installed here; the same operations are tested with the Go SDK")
	}
	b := newBench(t)
	root, err := b.cfg.Credentials.Retrieve(t.Context())
	b.must(err)
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), tool, append([]string{"iam", "--endpoint-url", *b.cfg.BaseEndpoint, "--output", "text"}, args...)...)
		cmd.Env = append(os.Environ(), "AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1",
			"AWS_ACCESS_KEY_ID="+root.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+root.SecretAccessKey, "AWS_SESSION_TOKEN=")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("aws iam %s: %v\n%s", strings.Join(args, " "), err, &stderr)
		}
		return strings.TrimSpace(string(out))
	}
	want := func(want string, args ...string) {
		t.Helper()
		if got := run(args...); got != want {
			t.Errorf("aws iam %s:\ngot  %q\nwant %q", strings.Join(args, " "), got, want)
		}
	}
	const arn = "arn:aws:iam::123456789012:policy/p"
	want("arn:aws:iam::123456789012:root", "get-user", "--query", "User.Arn")
	b.user("ann")
	b.group("ops")
	b.policy("p")
	ctx := t.Context()
	_, err = b.c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: aws.String("ops"), UserName: aws.String("ann")})
	b.must(err)
	_, err = b.c.AttachGroupPolicy(ctx, &sdk.AttachGroupPolicyInput{GroupName: aws.String("ops"), PolicyArn: aws.String(arn)})
	b.must(err)
	want("Active", "create-access-key", "--user-name", "ann", "--query", "AccessKey.Status")
	want("secretsmanager:GetSecretValue", "get-policy-version", "--policy-arn", arn, "--version-id", "v1", "--query", "PolicyVersion.Document.Statement.Action")
	want("ops", "list-entities-for-policy", "--policy-arn", arn, "--query", "PolicyGroups[].GroupName")
	want("1", "get-account-summary", "--query", "SummaryMap.Users")
	want("allowed\tp\timplicitDeny", "simulate-principal-policy", "--policy-source-arn", "arn:aws:iam::123456789012:user/ann",
		"--action-names", get, "kms:Decrypt", "--query", "EvaluationResults[].[EvalDecision,MatchedStatements[0].SourcePolicyId][]|[:3]")
}
