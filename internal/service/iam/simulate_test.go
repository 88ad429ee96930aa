package iam_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/servicetest"
)

// statements makes a policy of the given statements.
func statements(list ...string) string {
	return `{"Version":"2012-10-17","Statement":[{` + strings.Join(list, "},{") + `}]}`
}

// Parts of policies under simulation.
const (
	allowGet = `"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"*"`
	denyGet  = `"Effect":"Deny","Action":"secretsmanager:Get*","Resource":"arn:aws:secretsmanager:us-east-1:123456789012:secret:closed-*"`
	teamGet  = `"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/Team":"${aws:PrincipalTag/Team}"}}`
	open     = "arn:aws:secretsmanager:us-east-1:123456789012:secret:open-AbCdEf"
	closed   = "arn:aws:secretsmanager:us-east-1:123456789012:secret:closed-AbCdEf"
	foreign  = "arn:aws:secretsmanager:us-east-1:999999999999:secret:s-AbCdEf"
	get      = "secretsmanager:GetSecretValue"
)

// line is an evaluation in short: action, resource, decision, the statements
// by policy and column, and missing keys of the answer and of the resource.
func line(r types.EvaluationResult) string {
	s := fmt.Sprint(*r.EvalActionName, " ", *r.EvalResourceName, " ", r.EvalDecision)
	for _, m := range r.MatchedStatements {
		s += fmt.Sprintf(" %s@%d:%d-%d", *m.SourcePolicyId, m.StartPosition.Line, m.StartPosition.Column, m.EndPosition.Column)
	}
	for _, k := range r.MissingContextValues {
		s += " -" + k
	}
	for _, x := range r.ResourceSpecificResults {
		for _, k := range x.MissingContextValues {
			s += " -" + *x.EvalResourceName + ":" + k
		}
	}
	if d := r.PermissionsBoundaryDecisionDetail; d != nil {
		s += fmt.Sprint(" boundary=", d.AllowedByPermissionsBoundary)
	}
	return s
}

func TestSimulateCustomPolicy(t *testing.T) {
	b := newBench(t)
	const everybody = `"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/ann"},"Action":"*","Resource":"*"`
	for _, tc := range []struct {
		what string
		in   sdk.SimulateCustomPolicyInput
		want []string
	}{
		{"on anything", sdk.SimulateCustomPolicyInput{
			PolicyInputList: []string{statements(allowGet)}, ActionNames: []string{get, "secretsmanager:PutSecretValue"},
		}, []string{get + " * allowed PolicyInputList.1@1:38-112", "secretsmanager:PutSecretValue * implicitDeny"}},
		{"a deny hides what allows", sdk.SimulateCustomPolicyInput{
			PolicyInputList: []string{statements(allowGet), statements(denyGet)}, ActionNames: []string{get}, ResourceArns: []string{open, closed},
		}, []string{get + " " + open + " allowed PolicyInputList.1@1:38-112", get + " " + closed + " explicitDeny PolicyInputList.2@1:38-161"}},
		{"missing keys", sdk.SimulateCustomPolicyInput{
			PolicyInputList: []string{statements(teamGet)}, ActionNames: []string{get},
		}, []string{get + " * implicitDeny -aws:ResourceTag/Team -aws:PrincipalTag/Team"}},
		{"missing keys of a resource", sdk.SimulateCustomPolicyInput{
			PolicyInputList: []string{statements(teamGet)}, ActionNames: []string{get}, ResourceArns: []string{open},
			ContextEntries: []types.ContextEntry{{ContextKeyName: aws.String("aws:principaltag/team"), ContextKeyValues: []string{"blue"}, ContextKeyType: types.ContextKeyTypeEnumString}},
		}, []string{get + " " + open + " implicitDeny -" + open + ":aws:ResourceTag/Team"}},
		{"given keys", sdk.SimulateCustomPolicyInput{
			PolicyInputList: []string{statements(teamGet)}, ActionNames: []string{get},
			ContextEntries: []types.ContextEntry{
				{ContextKeyName: aws.String("aws:PrincipalTag/Team"), ContextKeyValues: []string{"blue"}, ContextKeyType: types.ContextKeyTypeEnumString},
				{ContextKeyName: aws.String("aws:ResourceTag/Team"), ContextKeyValues: []string{"blue"}, ContextKeyType: types.ContextKeyTypeEnumString},
			},
		}, []string{get + " * allowed PolicyInputList.1@1:38-193"}},
		{"boundary", sdk.SimulateCustomPolicyInput{
			PolicyInputList: []string{statements(allowGet)}, PermissionsBoundaryPolicyInputList: []string{statements(strings.Replace(allowGet, "Get", "Put", 1))}, ActionNames: []string{get},
		}, []string{get + " * implicitDeny boundary=false"}},
		{"resource policy", sdk.SimulateCustomPolicyInput{
			PolicyInputList: []string{statements(denyGet)}, ResourcePolicy: aws.String(statements(everybody)), CallerArn: aws.String("arn:aws:iam::123456789012:user/ann"),
			ActionNames: []string{get}, ResourceArns: []string{open},
		}, []string{get + " " + open + " allowed ResourcePolicy@1:38-141"}},
		{"another account's resource", sdk.SimulateCustomPolicyInput{
			PolicyInputList: []string{statements(allowGet)}, ActionNames: []string{get}, ResourceArns: []string{foreign},
		}, []string{get + " " + foreign + " implicitDeny"}},
		{"another account owns what names none", sdk.SimulateCustomPolicyInput{
			PolicyInputList: []string{statements(`"Effect":"Allow","Action":"*","Resource":"*"`)}, ActionNames: []string{"s3:GetObject"},
			ResourceArns: []string{"arn:aws:s3:::bucket/x"}, ResourceOwner: aws.String("arn:aws:iam::999999999999:root"),
		}, []string{"s3:GetObject arn:aws:s3:::bucket/x implicitDeny"}},
	} {
		out, err := b.c.SimulateCustomPolicy(t.Context(), &tc.in)
		b.must(err)
		var got []string
		for _, r := range out.EvaluationResults {
			got = append(got, line(r))
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.what, diff)
		}
	}
}

// Positions count from 1; an end is behind its statement.
func TestMatchedPositions(t *testing.T) {
	b := newBench(t)
	text := "{\"Version\":\"2012-10-17\",\n \"Statement\": [ {" + denyGet + "},\n  {" + allowGet + "}\n]}"
	out, err := b.c.SimulateCustomPolicy(t.Context(), &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{text}, ActionNames: []string{get}})
	b.must(err)
	m := out.EvaluationResults[0].MatchedStatements[0]
	start, end := m.StartPosition, m.EndPosition
	if got := strings.Split(text, "\n")[2][start.Column-1 : end.Column-1]; start.Line != 3 || end.Line != 3 || got != "{"+allowGet+"}" {
		t.Errorf("got lines %d to %d, %s", start.Line, end.Line, got)
	}
}

// Across accounts, the answer tells what each side says.
func TestSimulateAcrossAccounts(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct {
		resource string
		want     map[string]types.PolicyEvaluationDecisionType
	}{
		{foreign, map[string]types.PolicyEvaluationDecisionType{"IAM Policy": "implicitDeny", "Resource Policy": "allowed"}},
		{open, map[string]types.PolicyEvaluationDecisionType{}},
	} {
		out, err := b.c.SimulateCustomPolicy(t.Context(), &sdk.SimulateCustomPolicyInput{
			PolicyInputList: []string{statements(denyGet)}, ActionNames: []string{get}, ResourceArns: []string{tc.resource},
			CallerArn:      aws.String("arn:aws:iam::123456789012:user/ann"),
			ResourcePolicy: aws.String(statements(`"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"*","Resource":"*"`)),
		})
		b.must(err)
		r := out.EvaluationResults[0]
		if diff := cmp.Diff(tc.want, r.EvalDecisionDetails); diff != "" || r.EvalDecision != "implicitDeny" {
			t.Errorf("%s: %s (-want +got):\n%s", tc.resource, r.EvalDecision, diff)
		}
	}
}

func TestSimulatePages(t *testing.T) {
	b := newBench(t)
	in := &sdk.SimulateCustomPolicyInput{
		PolicyInputList: []string{statements(allowGet)}, ActionNames: []string{get, "a:B", "a:C"}, ResourceArns: []string{open, closed}, MaxItems: aws.Int32(4),
	}
	var got []string
	pages := 0
	for p := sdk.NewSimulateCustomPolicyPaginator(b.c, in); p.HasMorePages(); pages++ {
		page, err := p.NextPage(t.Context())
		b.must(err)
		for _, r := range page.EvaluationResults {
			got = append(got, *r.EvalActionName+" "+(*r.EvalResourceName)[53:57])
		}
	}
	want := []string{get + " open", get + " clos", "a:B open", "a:B clos", "a:C open", "a:C clos"}
	if diff := cmp.Diff(want, got); diff != "" || pages != 2 {
		t.Errorf("%d pages (-want +got):\n%s", pages, diff)
	}
}

func TestSimulatePrincipalPolicy(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	bound := b.policy("bound") // allows secretsmanager:GetSecretValue
	made, err := b.c.CreateUser(ctx, &sdk.CreateUserInput{
		UserName: aws.String("ann"), Path: aws.String("/x/"), Tags: []types.Tag{{Key: aws.String("Team"), Value: aws.String("blue")}}, PermissionsBoundary: &bound,
	})
	b.must(err)
	b.group("ops")
	_, err = b.c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: aws.String("ops"), UserName: aws.String("ann")})
	b.must(err)
	_, err = b.c.PutGroupPolicy(ctx, &sdk.PutGroupPolicyInput{GroupName: aws.String("ops"), PolicyName: aws.String("team"), PolicyDocument: aws.String(statements(teamGet))})
	b.must(err)
	_, err = b.c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: aws.String("deny"), PolicyDocument: aws.String(statements(denyGet))})
	b.must(err)
	role := b.role("r")
	_, err = b.c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: aws.String(readWrite)})
	b.must(err)
	tag := []types.ContextEntry{{ContextKeyName: aws.String("aws:ResourceTag/Team"), ContextKeyValues: []string{"blue"}, ContextKeyType: types.ContextKeyTypeEnumString}}
	group := "arn:aws:iam::123456789012:group/ops"
	for _, tc := range []struct {
		what   string
		in     sdk.SimulatePrincipalPolicyInput
		action string
		want   string
	}{
		{"the user by its group", sdk.SimulatePrincipalPolicyInput{PolicySourceArn: made.User.Arn, ContextEntries: tag}, get, "allowed group_ops_team@1:38-193 bound@1:37-113 boundary=true"},
		{"the user's own", sdk.SimulatePrincipalPolicyInput{PolicySourceArn: made.User.Arn, ResourceArns: []string{closed}, ContextEntries: tag}, get, "explicitDeny user_ann_deny@1:38-161 boundary=true"},
		{"beyond the boundary", sdk.SimulatePrincipalPolicyInput{
			PolicySourceArn: made.User.Arn, PolicyInputList: []string{statements(`"Effect":"Allow","Action":"*","Resource":"*"`)},
		}, "kms:Decrypt", "implicitDeny boundary=false"},
		{"another boundary", sdk.SimulatePrincipalPolicyInput{
			PolicySourceArn: made.User.Arn, PolicyInputList: []string{statements(`"Effect":"Allow","Action":"*","Resource":"*"`)},
			PermissionsBoundaryPolicyInputList: []string{statements(`"Effect":"Allow","Action":"kms:*","Resource":"*"`)},
		}, "kms:Decrypt", "allowed PolicyInputList.1@1:38-84 PermissionsBoundaryPolicyInputList.1@1:38-88 boundary=true"},
		{"the group alone has no tags", sdk.SimulatePrincipalPolicyInput{PolicySourceArn: &group, ContextEntries: tag}, get, "implicitDeny -aws:PrincipalTag/Team"},
		{"the role", sdk.SimulatePrincipalPolicyInput{PolicySourceArn: role.Arn}, "iam:CreateUser", "implicitDeny"},
	} {
		tc.in.ActionNames = []string{tc.action}
		out, err := b.c.SimulatePrincipalPolicy(ctx, &tc.in)
		b.must(err)
		r := out.EvaluationResults[0]
		if got, want := line(r), tc.action+" "+*r.EvalResourceName+" "+tc.want; got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.what, got, want)
		}
	}
	out, err := b.c.SimulatePrincipalPolicy(ctx, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: role.Arn, ActionNames: []string{get}})
	b.must(err)
	r := out.EvaluationResults[0]
	if r.EvalDecision != "allowed" || len(r.MatchedStatements) != 1 || *r.MatchedStatements[0].SourcePolicyId != "SecretsManagerReadWrite" || r.MatchedStatements[0].SourcePolicyType != "IAM Policy" {
		t.Errorf("got %+v", r)
	}
}

func TestSimulationRefusals(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.user("u")
	custom := func(set func(*sdk.SimulateCustomPolicyInput)) error {
		in := &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{statements(allowGet)}, ActionNames: []string{get}}
		set(in)
		_, err := b.c.SimulateCustomPolicy(ctx, in)
		return err
	}
	for _, tc := range []struct {
		what string
		set  func(*sdk.SimulateCustomPolicyInput)
		text string
	}{
		{"policy", func(in *sdk.SimulateCustomPolicyInput) { in.PolicyInputList = []string{policy, "{"} }, "Invalid policy PolicyInputList.2: This policy contains invalid Json"},
		{"action", func(in *sdk.SimulateCustomPolicyInput) { in.ActionNames = []string{"secretsmanager:*"} }, "The action secretsmanager:* is not valid."},
		{"resource", func(in *sdk.SimulateCustomPolicyInput) { in.ResourceArns = []string{"secret"} }, "ARN secret is not valid."},
		{"caller", func(in *sdk.SimulateCustomPolicyInput) { in.CallerArn = aws.String("arn:aws:iam::123456789012:role/r") },
			"The caller ARN arn:aws:iam::123456789012:role/r is not the ARN of an IAM user."},
		{"no caller", func(in *sdk.SimulateCustomPolicyInput) { in.ResourcePolicy = aws.String(policy) }, "CallerArn is required if a resource policy is specified."},
		{"marker", func(in *sdk.SimulateCustomPolicyInput) { in.Marker = aws.String("7") }, "Invalid Marker: 7"},
		{"boundaries", func(in *sdk.SimulateCustomPolicyInput) {
			in.PermissionsBoundaryPolicyInputList = []string{policy, policy}
		}, "Only one permissions boundary policy can be specified."},
	} {
		servicetest.WantError(t, tc.what, custom(tc.set), "InvalidInput", 400, tc.text)
	}
	for arn, want := range map[string]string{
		"arn:aws:iam::123456789012:user/none": "The user with name none cannot be found.", "arn:aws:iam::123456789012:user/x/u": "The user with name u cannot be found.",
		"arn:aws:iam::123456789012:role/none": "The role with name none cannot be found.", "arn:aws:iam::123456789012:group/none": "The group with name none cannot be found.",
	} {
		_, err := b.c.SimulatePrincipalPolicy(ctx, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: &arn, ActionNames: []string{get}})
		servicetest.WantError(t, arn, err, "NoSuchEntity", 404, want)
		_, err = b.c.GetContextKeysForPrincipalPolicy(ctx, &sdk.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: &arn})
		servicetest.WantError(t, arn, err, "NoSuchEntity", 404, want)
	}
	root := "arn:aws:iam::123456789012:root"
	_, err := b.c.SimulatePrincipalPolicy(ctx, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: &root, ActionNames: []string{get}})
	servicetest.WantError(t, root, err, "InvalidInput", 400, "Invalid Entity Arn: "+root+" does not clearly define entity type and name.")
}

func TestGetContextKeys(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.role("r")
	_, err := b.c.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: aws.String("r"), PolicyName: aws.String("p"), PolicyDocument: aws.String(statements(teamGet))})
	b.must(err)
	more := statements(`"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:username}","Condition":{"StringEquals":{"AWS:resourcetag/Team":"x","aws:SecureTransport":"true"}}`)
	custom, err := b.c.GetContextKeysForCustomPolicy(ctx, &sdk.GetContextKeysForCustomPolicyInput{PolicyInputList: []string{more, statements(teamGet)}})
	b.must(err)
	if diff := cmp.Diff([]string{"aws:username", "AWS:resourcetag/Team", "aws:SecureTransport", "aws:PrincipalTag/Team"}, custom.ContextKeyNames); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	arn := "arn:aws:iam::123456789012:role/r"
	own, err := b.c.GetContextKeysForPrincipalPolicy(ctx, &sdk.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: &arn, PolicyInputList: []string{more}})
	b.must(err)
	if diff := cmp.Diff([]string{"aws:ResourceTag/Team", "aws:PrincipalTag/Team", "aws:username", "aws:SecureTransport"}, own.ContextKeyNames); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
