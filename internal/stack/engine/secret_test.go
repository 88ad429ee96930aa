package engine_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
)

// forms are the ways in which a secret may be written.
func forms(secret string) [][]byte {
	list := [][]byte{[]byte(secret), []byte(hex.EncodeToString([]byte(secret)))}
	for shift := range 3 { // the secret inside a longer text
		text := base64.StdEncoding.EncodeToString(append(bytes.Repeat([]byte{'x'}, shift), secret...))
		list = append(list, []byte(text[4:len(text)-4]))
	}
	return list
}

// absent demands that no secret is in a text.
func absent(t *testing.T, where string, text []byte, secrets map[string]string) {
	t.Helper()
	for what, secret := range secrets {
		for _, form := range forms(secret) {
			if i := bytes.Index(text, form); i >= 0 {
				t.Errorf("%s holds %s: …%q", where, what, text[max(0, i-60):min(len(text), i+len(form)+10)])
			}
		}
	}
}

// answers are what CloudFormation and CloudTrail tell of a stack.
func (w *world) answers(id, changeSet string) map[string]any {
	w.t.Helper()
	ctx := w.t.Context()
	all := map[string]any{}
	note := func(name string, out any, err error) {
		w.t.Helper()
		if err != nil {
			w.t.Errorf("%s: %v", name, err)
		}
		all[name] = out
	}
	stacks, err := w.Stacks.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &id})
	note("DescribeStacks", stacks, err)
	events, err := w.Stacks.DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: &id})
	note("DescribeStackEvents", events, err)
	resources, err := w.Stacks.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{StackName: &id})
	note("DescribeStackResources", resources, err)
	template, err := w.Stacks.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: &id, TemplateStage: types.TemplateStageProcessed})
	note("GetTemplate", template, err)
	set, err := w.Stacks.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: &changeSet, IncludePropertyValues: aws.Bool(true)})
	note("DescribeChangeSet", set, err)
	trail, err := w.Trail.LookupEvents(ctx, &cloudtrail.LookupEventsInput{})
	note("LookupEvents", trail, err)
	return all
}

// What a NoEcho parameter and a dynamic reference stand for reaches the
// resource, and nothing else: no file, no event, no answer.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	p := apitest.StartProcess(t, apitest.Options{})
	w := &world{p.Server, t}
	ctx := t.Context()
	secrets := map[string]string{
		"the NoEcho parameter": "canaryNoEcho7281936450xyzzy", "the NoEcho parameter before": "canaryBefore9182736450plugh",
		"the dynamic reference": "canaryDynamic1029384756qux", "the literal in the template": "canaryLiteral5647382910thud",
	}
	value := fmt.Sprintf(`{"password":%q,"n":7}`, secrets["the dynamic reference"])
	if _, err := w.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("source"), SecretString: &value}); err != nil {
		t.Fatal(err)
	}
	const body = `{"Parameters":{"Password":{"Type":"String","NoEcho":true},"Plain":{"Type":"String","Default":"decoyInParameters"}},
		"Resources":{
			"FromParameter":{"Type":"AWS::SecretsManager::Secret","Properties":{"Name":"from-parameter","Description":{"Ref":"Plain"},"SecretString":{"Fn::Sub":"pw=${Password}"}}},
			"FromReference":{"Type":"AWS::SecretsManager::Secret","Properties":{"Name":"from-reference",
				"SecretString":"{{resolve:secretsmanager:source:SecretString:password}}/{{resolve:secretsmanager:source:SecretString:n}}"}},
			"Literal":{"Type":"AWS::SecretsManager::Secret","Properties":{"Name":"literal","SecretString":"canaryLiteral5647382910thud"}}}}`
	set := w.changeSet(&cloudformation.CreateChangeSetInput{
		StackName: aws.String("decoyInNames"), ChangeSetName: aws.String("one"), ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: aws.String(body),
		Parameters: []types.Parameter{parameter("Password", secrets["the NoEcho parameter before"])},
	})
	w.execute(*set.ChangeSetId, types.StackStatusCreateComplete)
	up := w.changeSet(&cloudformation.CreateChangeSetInput{
		StackName: aws.String("decoyInNames"), ChangeSetName: aws.String("two"), UsePreviousTemplate: aws.Bool(true),
		Parameters: []types.Parameter{parameter("Password", secrets["the NoEcho parameter"])},
	})
	st := w.execute(*up.ChangeSetId, types.StackStatusUpdateComplete)
	for name, want := range map[string]string{
		"from-parameter": "pw=" + secrets["the NoEcho parameter"], "from-reference": secrets["the dynamic reference"] + "/7", "literal": secrets["the literal in the template"],
	} {
		got, err := w.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name})
		if err != nil || *got.SecretString != want {
			t.Errorf("%s has another value than the template's: %v", name, err)
		}
	}
	for _, q := range st.Parameters {
		if want := map[string]string{"Password": "****", "Plain": "decoyInParameters"}[*q.ParameterKey]; *q.ParameterValue != want {
			t.Errorf("the parameter %s is shown as %s, want %s", *q.ParameterKey, *q.ParameterValue, want)
		}
	}
	shown := maps.Clone(secrets)
	delete(shown, "the literal in the template") // which is the caller's own text
	for name, out := range w.answers(*st.StackId, *up.ChangeSetId) {
		text, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		absent(t, name, text, shown)
		if name == "DescribeStackEvents" && (!bytes.Contains(text, []byte("pw=****")) || !bytes.Contains(text, []byte("{{resolve:secretsmanager:source:SecretString:password}}"))) {
			t.Errorf("the events do not show what stands for secrets: %s", text)
		}
	}
	p.Stop()
	p.Restart()
	found := false
	err := filepath.WalkDir(p.Dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		found = found || bytes.Contains(text, []byte("decoyInNames"))
		absent(t, path, text, secrets)
		return err
	})
	if err != nil || !found {
		t.Errorf("the search shows nothing: %v", err)
	}
	absent(t, "the log", []byte(p.Log()), secrets)
}

// A dynamic reference that leads nowhere fails its resource in AWS's words,
// and tells nothing of the secret.
func TestDynamicReferenceFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("source"), SecretString: aws.String(`{"a":"b"}`)}); err != nil {
		t.Fatal(err)
	}
	for i, tc := range []struct{ reference, text string }{
		{"{{resolve:secretsmanager:missing}}", "Secrets Manager can't find the specified secret."},
		{"{{resolve:secretsmanager:source:SecretString:c}}", "Could not find a value associated with JSONKey in SecretString"},
		{"{{resolve:ssm:name:1}}", "Systems Manager parameters are not served here, so {{resolve:ssm:name:1}} cannot be resolved."},
	} {
		name := fmt.Sprintf("dr%d", i)
		body := `{"Resources":{"S":{"Type":"AWS::SecretsManager::Secret","Properties":{"SecretString":"` + tc.reference + `"}}}}`
		w.create(&cloudformation.CreateStackInput{StackName: &name, TemplateBody: &body}, types.StackStatusRollbackComplete)
		if story := w.story(name); !strings.Contains(story, "S CREATE_FAILED "+tc.text) {
			t.Errorf("want %q in\n%s", tc.text, story)
		}
	}
}

// A service that quotes what it was given tells nobody.
func TestReasonsHideSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	secrets := map[string]string{"the NoEcho parameter": "canaryParameter5566", "the dynamic reference": "canaryFetched7788", "a member of the list": "canaryMember9900"}
	if _, err := w.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: aws.String("source"), SecretString: aws.String(`{"role":"` + secrets["the dynamic reference"] + `"}`),
	}); err != nil {
		t.Fatal(err)
	}
	policy := func(id, role string) string {
		return `"` + id + `":{"Type":"AWS::IAM::Policy","Properties":{"PolicyName":"p","Roles":` + role + `,"PolicyDocument":` + *allow(`"logs:*"`) + `}}`
	}
	for name, resource := range map[string]string{
		"parameter": policy("P", `[{"Ref":"Role"}]`), "reference": policy("P", `["{{resolve:secretsmanager:source:SecretString:role}}"]`), "list": policy("P", `{"Ref":"List"}`),
	} {
		body := `{"Parameters":{"Role":{"Type":"String","NoEcho":true},"List":{"Type":"CommaDelimitedList","NoEcho":true}},"Resources":{` + resource + `}}`
		st := w.create(&cloudformation.CreateStackInput{
			StackName: &name, TemplateBody: &body, Capabilities: []types.Capability{types.CapabilityCapabilityIam},
			Parameters: []types.Parameter{parameter("Role", secrets["the NoEcho parameter"]), parameter("List", secrets["a member of the list"]+",other")},
		}, types.StackStatusRollbackComplete)
		story := w.story(*st.StackId)
		if !strings.Contains(story, "The role with name **** cannot be found.") {
			t.Errorf("%s: got\n%s", name, story)
		}
		absent(t, "the story of "+name, []byte(story), secrets)
		resources, err := w.Stacks.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{StackName: st.StackId})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(resources)
		if err != nil {
			t.Fatal(err)
		}
		absent(t, "the resources of "+name, text, secrets)
	}
}
