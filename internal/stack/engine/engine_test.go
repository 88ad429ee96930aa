package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"
)

func TestLifeOfAStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const body = `
Parameters:
  Days: {Type: Number, Default: 7}
Resources:
  Group:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: !Sub '/${AWS::StackName}/g', RetentionInDays: !Ref Days}
  Secret:
    Type: AWS::SecretsManager::Secret
    DependsOn: Group
    Properties:
      Name: !Sub '${AWS::StackName}-secret'
      Description: !GetAtt Group.Arn
      GenerateSecretString: {SecretStringTemplate: '{"username":"u"}', GenerateStringKey: password}
Outputs:
  Arn: {Value: !Ref Secret, Export: {Name: !Sub '${AWS::StackName}-arn'}}
`
	in := &cloudformation.CreateStackInput{
		StackName: aws.String("life"), TemplateBody: aws.String(body), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("db")}},
	}
	st := w.create(in, types.StackStatusCreateComplete)
	want := []string{
		"life CREATE_IN_PROGRESS User Initiated",
		"Group CREATE_IN_PROGRESS", "Group CREATE_IN_PROGRESS Resource creation Initiated", "Group CREATE_COMPLETE",
		"Secret CREATE_IN_PROGRESS", "Secret CREATE_IN_PROGRESS Resource creation Initiated", "Secret CREATE_COMPLETE",
		"life CREATE_COMPLETE",
	}
	if diff := cmp.Diff(want, w.events("life")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	arn := output(st, "Arn")
	d, err := w.Secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &arn})
	if err != nil {
		t.Fatal(err)
	}
	tags := map[string]string{}
	for _, tag := range d.Tags {
		tags[*tag.Key] = *tag.Value
	}
	if diff := cmp.Diff(map[string]string{
		"team": "db", "aws:cloudformation:stack-name": "life", "aws:cloudformation:stack-id": *st.StackId, "aws:cloudformation:logical-id": "Secret",
	}, tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}

	_, err = w.Stacks.CreateStack(t.Context(), in)
	refused(t, err, "AlreadyExistsException", "Stack [life] already exists")
	_, err = w.Stacks.UpdateStack(t.Context(), &cloudformation.UpdateStackInput{StackName: in.StackName, UsePreviousTemplate: aws.Bool(true)})
	refused(t, err, "ValidationError", "No updates are to be performed.")

	w.update(&cloudformation.UpdateStackInput{
		StackName: in.StackName, UsePreviousTemplate: aws.Bool(true), Parameters: []types.Parameter{parameter("Days", "14")},
	}, types.StackStatusUpdateComplete)
	want = append(want, "life UPDATE_IN_PROGRESS User Initiated", "Group UPDATE_IN_PROGRESS", "Group UPDATE_COMPLETE",
		"life UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "life UPDATE_COMPLETE")
	if diff := cmp.Diff(want, w.events("life")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	w.delete(*st.StackId)
	want = append(want, "life DELETE_IN_PROGRESS User Initiated", "Secret DELETE_IN_PROGRESS", "Secret DELETE_COMPLETE",
		"Group DELETE_IN_PROGRESS", "Group DELETE_COMPLETE", "life DELETE_COMPLETE")
	if diff := cmp.Diff(want, w.events(*st.StackId)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if left := slices.Concat(w.secrets(), w.logGroups("/life/")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	_, err = w.Stacks.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{StackName: in.StackName})
	refused(t, err, "ValidationError", "Stack with id life does not exist")
}

// taken is a template whose last log group exists already.
func taken(names ...string) string {
	return strings.TrimSuffix(groups(7, names...), "}}") +
		`,"Taken":{"Type":"AWS::Logs::LogGroup","DependsOn":"` + names[len(names)-1] + `","Properties":{"LogGroupName":"/taken"}}}}`
}

func (w *world) occupy() {
	w.t.Helper()
	w.create(&cloudformation.CreateStackInput{
		StackName: aws.String("occupant"), TemplateBody: aws.String(`{"Resources":{"G":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"/taken"}}}}`),
	}, types.StackStatusCreateComplete)
}

func TestFailedCreation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.occupy()
	for _, tc := range []struct {
		name    string
		failure types.OnFailure
		status  types.StackStatus
		reason  string
		left    []string
	}{
		{"rolled-back", "", types.StackStatusRollbackComplete, "", nil},
		{"kept", types.OnFailureDoNothing, types.StackStatusCreateFailed, "The following resource(s) failed to create: [Taken]. ", []string{"/kept/A"}},
		{"deleted", types.OnFailureDelete, types.StackStatusDeleteComplete, "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := w.create(&cloudformation.CreateStackInput{StackName: &tc.name, TemplateBody: aws.String(taken("A")), OnFailure: tc.failure}, tc.status)
			if got := aws.ToString(st.StackStatusReason); got != tc.reason {
				t.Errorf("got reason %q, want %q", got, tc.reason)
			}
			if got := w.logGroups("/" + tc.name + "/"); !slices.Equal(got, tc.left) {
				t.Errorf("got %v, want %v", got, tc.left)
			}
			story := w.story(*st.StackId)
			if !strings.Contains(story, "Taken CREATE_FAILED Resource handler returned message:") || !strings.Contains(story, "HandlerErrorCode: AlreadyExists)") {
				t.Errorf("the failure is not told:\n%s", story)
			}
			rollback := tc.name + " ROLLBACK_IN_PROGRESS The following resource(s) failed to create: [Taken]. Rollback requested by user."
			if got := strings.Contains(story, rollback); got != (tc.failure == "") {
				t.Errorf("rollback told: %t\n%s", got, story)
			}
		})
	}
	// What was kept can be rolled back later.
	if _, err := w.Stacks.RollbackStack(t.Context(), &cloudformation.RollbackStackInput{StackName: aws.String("kept")}); err != nil {
		t.Fatal(err)
	}
	w.demand("kept", types.StackStatusRollbackComplete)
	if left := w.logGroups("/kept/"); left != nil {
		t.Errorf("left over: %v", left)
	}
	if got := w.logGroups("/taken"); len(got) != 1 {
		t.Error("a rollback deleted what another stack has")
	}
}

func TestFailedUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.occupy()
	st := w.create(&cloudformation.CreateStackInput{StackName: aws.String("up"), TemplateBody: aws.String(groups(7, "A", "B"))}, types.StackStatusCreateComplete)
	body := strings.Replace(taken("A", "C"), `"RetentionInDays":7`, `"RetentionInDays":14`, 1)
	w.update(&cloudformation.UpdateStackInput{StackName: st.StackName, TemplateBody: &body}, types.StackStatusUpdateRollbackComplete)
	if diff := cmp.Diff([]string{"/up/A", "/up/B"}, w.logGroups("/up/")); diff != "" {
		t.Errorf("log groups (-want +got):\n%s", diff)
	}
	if got := w.retention("/up/A"); got != 7 {
		t.Errorf("got a retention of %d days, want 7", got)
	}
	story := w.story("up")
	for _, want := range []string{
		"A UPDATE_IN_PROGRESS\nA UPDATE_COMPLETE\n", "up UPDATE_ROLLBACK_IN_PROGRESS The following resource(s) failed to create: [Taken]. \n",
		"up UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS\n", "C DELETE_COMPLETE",
	} {
		if !strings.Contains(story, want) {
			t.Errorf("%q is not told:\n%s", want, story)
		}
	}
	_, err := w.Stacks.UpdateStack(t.Context(), &cloudformation.UpdateStackInput{StackName: st.StackName, TemplateBody: aws.String(groups(7, "A", "B"))})
	refused(t, err, "ValidationError", "No updates are to be performed.")

	// Without rollback the failure stays until it is mended or rolled back.
	w.update(&cloudformation.UpdateStackInput{StackName: st.StackName, TemplateBody: &body, DisableRollback: aws.Bool(true)}, types.StackStatusUpdateFailed)
	if got := w.retention("/up/A"); got != 14 {
		t.Errorf("got a retention of %d days, want 14", got)
	}
	if _, err := w.Stacks.RollbackStack(t.Context(), &cloudformation.RollbackStackInput{StackName: st.StackName}); err != nil {
		t.Fatal(err)
	}
	w.demand("up", types.StackStatusUpdateRollbackComplete)
	if got := w.retention("/up/A"); got != 7 {
		t.Errorf("got a retention of %d days, want 7", got)
	}
	w.update(&cloudformation.UpdateStackInput{StackName: st.StackName, TemplateBody: &body, DisableRollback: aws.Bool(true)}, types.StackStatusUpdateFailed)
	w.update(&cloudformation.UpdateStackInput{StackName: st.StackName, TemplateBody: aws.String(groups(30, "A", "D"))}, types.StackStatusUpdateComplete)
	if diff := cmp.Diff([]string{"/up/A", "/up/D"}, w.logGroups("/up/")); diff != "" {
		t.Errorf("log groups (-want +got):\n%s", diff)
	}
	w.delete(*st.StackId)
	if left := w.logGroups("/up/"); left != nil {
		t.Errorf("left over: %v", left)
	}
}

func TestReplacement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := func(name, policy, more string) *string {
		return aws.String(`{"Resources":{"G":{"Type":"AWS::Logs::LogGroup","UpdateReplacePolicy":"` + policy + `","Properties":{"LogGroupName":"/r/` + name + `"}},
			"S":{"Type":"AWS::SecretsManager::Secret","Properties":{"Name":"of-r","Description":{"Ref":"G"}}}` + more + `}}`)
	}
	st := w.create(&cloudformation.CreateStackInput{StackName: aws.String("r"), TemplateBody: body("a", "Delete", "")}, types.StackStatusCreateComplete)
	w.update(&cloudformation.UpdateStackInput{StackName: st.StackName, TemplateBody: body("b", "Delete", "")}, types.StackStatusUpdateComplete)
	if diff := cmp.Diff([]string{"/r/b"}, w.logGroups("/r/")); diff != "" {
		t.Errorf("log groups (-want +got):\n%s", diff)
	}
	d, err := w.Secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("of-r")})
	if err != nil || aws.ToString(d.Description) != "/r/b" {
		t.Errorf("got the description %v, %v", d, err)
	}
	want := []string{
		"r UPDATE_IN_PROGRESS User Initiated",
		"G UPDATE_IN_PROGRESS Requested update requires the creation of a new physical resource; hence creating one.",
		"G UPDATE_IN_PROGRESS Resource creation Initiated", "G UPDATE_COMPLETE", "S UPDATE_IN_PROGRESS", "S UPDATE_COMPLETE",
		"r UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "G DELETE_IN_PROGRESS", "G DELETE_COMPLETE", "r UPDATE_COMPLETE",
	}
	all := w.events("r")
	if diff := cmp.Diff(want, all[slices.Index(all, want[0]):]); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	// A replacement that is rolled back leaves the old one in its place.
	w.occupy()
	bad := `,"T":{"Type":"AWS::Logs::LogGroup","DependsOn":"S","Properties":{"LogGroupName":"/taken"}}`
	w.update(&cloudformation.UpdateStackInput{StackName: st.StackName, TemplateBody: body("c", "Delete", bad)}, types.StackStatusUpdateRollbackComplete)
	if diff := cmp.Diff([]string{"/r/b"}, w.logGroups("/r/")); diff != "" {
		t.Errorf("log groups (-want +got):\n%s", diff)
	}
	if d, err := w.Secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("of-r")}); err != nil || *d.Description != "/r/b" {
		t.Errorf("got the description %v, %v", d, err)
	}

	// UpdateReplacePolicy keeps what is replaced.
	w.update(&cloudformation.UpdateStackInput{StackName: st.StackName, TemplateBody: body("b", "Retain", "")}, types.StackStatusUpdateComplete)
	w.update(&cloudformation.UpdateStackInput{StackName: st.StackName, TemplateBody: body("d", "Retain", "")}, types.StackStatusUpdateComplete)
	if diff := cmp.Diff([]string{"/r/b", "/r/d"}, w.logGroups("/r/")); diff != "" {
		t.Errorf("log groups (-want +got):\n%s", diff)
	}
	if !slices.Contains(w.events("r"), "G DELETE_SKIPPED") {
		t.Errorf("the retention is not told:\n%s", w.story("r"))
	}
	w.delete(*st.StackId)
}

func TestParallel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := `{"Resources":{`
	for i := range 40 {
		if i > 0 {
			text += ","
		}
		name := string(rune('A'+i/10)) + string(rune('0'+i%10))
		text += `"` + name + `":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"/many/` + name + `"}}`
	}
	text += `}}`
	began := time.Now()
	st := w.create(&cloudformation.CreateStackInput{StackName: aws.String("many"), TemplateBody: &text}, types.StackStatusCreateComplete)
	t.Logf("40 resources took %v", time.Since(began))
	if got := len(w.logGroups("/many/")); got != 40 {
		t.Errorf("got %d log groups, want 40", got)
	}
	// Some are made side by side.
	running, most := 0, 0
	for _, e := range w.events("many") {
		switch {
		case strings.HasSuffix(e, " CREATE_IN_PROGRESS"):
			running++
		case strings.HasSuffix(e, " CREATE_COMPLETE"):
			running--
		}
		most = max(most, running)
	}
	if most < 2 {
		t.Errorf("at most %d resources were being made at a time:\n%s", most, w.story("many"))
	}
	w.delete(*st.StackId)
}

// What an update cannot read again stays as it was: the secret of an access
// key is seen once.
func TestAttributesStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	template := func(status string) *string {
		return aws.String(`{"Resources":{"U":{"Type":"AWS::IAM::User"},"K":{"Type":"AWS::IAM::AccessKey","Properties":{"UserName":{"Ref":"U"},"Status":"` + status + `"}}},
			"Outputs":{"S":{"Value":{"Fn::GetAtt":["K","SecretAccessKey"]}}}}`)
	}
	capabilities := []types.Capability{types.CapabilityCapabilityIam}
	made := w.create(&cloudformation.CreateStackInput{StackName: aws.String("key"), TemplateBody: template("Active"), Capabilities: capabilities}, types.StackStatusCreateComplete)
	changed := w.update(&cloudformation.UpdateStackInput{StackName: aws.String("key"), TemplateBody: template("Inactive"), Capabilities: capabilities}, types.StackStatusUpdateComplete)
	if secret := output(made, "S"); len(secret) != 40 || output(changed, "S") != secret {
		t.Errorf("got a secret of %d characters, and another after the update: %v", len(secret), output(changed, "S") != secret)
	}
}
