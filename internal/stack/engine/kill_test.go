package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/keyturn/keyturn/internal/apitest"
)

// mixed is a template of secrets, whose names are generated, of log groups,
// one after another, and of a role.
func mixed(days int, suffix string, secrets int) string {
	var b strings.Builder
	b.WriteString(`{"Resources":{"Role":{"Type":"AWS::IAM::Role","Properties":{"AssumeRolePolicyDocument":` + *trust("lambda.amazonaws.com") + `}}`)
	for i := range secrets {
		fmt.Fprintf(&b, `,"Secret%d":{"Type":"AWS::SecretsManager::Secret","Properties":{"Description":"%d","GenerateSecretString":{}}}`, i, days)
	}
	for i := range 6 {
		depends := ""
		if i > 0 {
			depends = fmt.Sprintf(`"DependsOn":"Group%d",`, i-1)
		}
		fmt.Fprintf(&b, `,"Group%d":{"Type":"AWS::Logs::LogGroup",%s"Properties":{"LogGroupName":{"Fn::Sub":"/${AWS::StackName}/%d%s"},"RetentionInDays":%d}}`, i, depends, i, suffix, days)
	}
	b.WriteString(`},"Outputs":{"Role":{"Value":{"Fn::GetAtt":["Role","Arn"]}}}}`)
	return b.String()
}

// killed is a server that is killed.
type killed struct {
	*world
	p *apitest.Process
}

// killAfter kills the server once the stack has told of so many more things,
// and starts it again.
func (k *killed) killAfter(id string, n int) {
	k.t.Helper()
	k.reached(id, n)
	k.p.Kill()
	k.p.Restart()
}

// all demands that the stack's resources are there, each once and no others.
func (k *killed) all(stackName, suffix string, secrets int) {
	k.t.Helper()
	if got, want := k.logGroups("/"+stackName+"/"), min(6*secrets, 6); len(got) != want {
		k.t.Errorf("got log groups %v, want %d", got, want)
	}
	for _, name := range k.logGroups("/" + stackName + "/") {
		if !strings.HasSuffix(name, suffix) {
			k.t.Errorf("%s is there", name)
		}
	}
	names := k.secrets()
	slices.Sort(names)
	if len(names) != secrets {
		k.t.Errorf("got secrets %v, want %d", names, secrets)
	}
	roles, err := k.IAM.ListRoles(k.t.Context(), &iam.ListRolesInput{})
	if err != nil {
		k.t.Fatal(err)
	}
	var left []string
	for _, r := range roles.Roles {
		left = append(left, *r.RoleName)
	}
	if want := min(secrets, 1); len(left) != want {
		k.t.Errorf("got roles %v, want %d", left, want)
	}
}

// Whenever the server is killed while a change set is executed, or the stack
// is deleted, the operation comes to its end unaided once it is back, and
// nothing is there twice or left over.
func TestKilled(t *testing.T) {
	t.Parallel()
	for name, points := range map[string][]int{"sqlite": {1, 2, 5, 12, 20, 33, 45}, "postgres": {4, 25}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := apitest.Options{}
			if name == "postgres" {
				o.StoreURL = apitest.StoreURL(t)
			}
			p := apitest.StartProcess(t, o)
			k := &killed{&world{p.Server, t}, p}
			for _, n := range points {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					k := &killed{&world{p.Server, t}, p}
					k.die(fmt.Sprintf("s%d", n), n)
				})
			}
			k.all("none", "", 0)
		})
	}
}

// die runs a stack through its life with a kill in each part of it.
func (k *killed) die(stackName string, n int) {
	const secrets = 10
	name := aws.String(stackName)
	capabilities := []types.Capability{types.CapabilityCapabilityIam}
	set := k.changeSet(&cloudformation.CreateChangeSetInput{
		StackName: name, ChangeSetName: aws.String("one"), ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: aws.String(mixed(7, "a", secrets)), Capabilities: capabilities,
	})
	if _, err := k.Stacks.ExecuteChangeSet(k.t.Context(), &cloudformation.ExecuteChangeSetInput{ChangeSetName: set.ChangeSetId}); err != nil {
		k.t.Fatal(err)
	}
	k.killAfter(stackName, 2+n)
	st := k.demand(stackName, types.StackStatusCreateComplete)
	k.all(stackName, "a", secrets)
	told := len(k.events(stackName))

	set = k.changeSet(&cloudformation.CreateChangeSetInput{StackName: name, ChangeSetName: aws.String("two"), TemplateBody: aws.String(mixed(14, "b", secrets)), Capabilities: capabilities})
	if _, err := k.Stacks.ExecuteChangeSet(k.t.Context(), &cloudformation.ExecuteChangeSetInput{ChangeSetName: set.ChangeSetId}); err != nil {
		k.t.Fatal(err)
	}
	k.killAfter(stackName, told+n)
	k.demand(stackName, types.StackStatusUpdateComplete)
	k.all(stackName, "b", secrets)
	told = len(k.events(stackName))

	if _, err := k.Stacks.DeleteStack(k.t.Context(), &cloudformation.DeleteStackInput{StackName: name}); err != nil {
		k.t.Fatal(err)
	}
	k.killAfter(*st.StackId, told+min(n, 30))
	k.demand(*st.StackId, types.StackStatusDeleteComplete)
	k.all(stackName, "", 0)
}

// A kill in the middle of a rollback does not keep it from leaving things as
// they were.
func TestKilledInRollback(t *testing.T) {
	t.Parallel()
	p := apitest.StartProcess(t, apitest.Options{})
	k := &killed{&world{p.Server, t}, p}
	k.occupy()
	capabilities := []types.Capability{types.CapabilityCapabilityIam}
	bad := strings.Replace(mixed(14, "b", 10), `},"Outputs"`, `,"T":{"Type":"AWS::Logs::LogGroup","DependsOn":"Group5","Properties":{"LogGroupName":"/taken"}}},"Outputs"`, 1)
	for _, n := range []int{1, 5, 14} {
		name := fmt.Sprintf("r%d", n)
		k.create(&cloudformation.CreateStackInput{StackName: &name, TemplateBody: aws.String(mixed(7, "a", 10)), Capabilities: capabilities}, types.StackStatusCreateComplete)
		if _, err := k.Stacks.UpdateStack(t.Context(), &cloudformation.UpdateStackInput{StackName: &name, TemplateBody: &bad, Capabilities: capabilities}); err != nil {
			t.Fatal(err)
		}
		rolling := func() int {
			return slices.IndexFunc(k.events(name), func(e string) bool { return strings.Contains(e, " UPDATE_ROLLBACK_IN_PROGRESS") })
		}
		for until := time.Now().Add(within); rolling() < 0; time.Sleep(2 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("no rollback:\n%s", k.story(name))
			}
		}
		k.killAfter(name, rolling()+n)
		k.demand(name, types.StackStatusUpdateRollbackComplete)
		k.all(name, "a", 10)
		if got := k.retention("/" + name + "/3a"); got != 7 {
			t.Errorf("got a retention of %d days, want 7", got)
		}
		k.delete(name)
		k.all(name, "", 0)
	}
}

// Two nodes share the operations; what one leaves when it stops, the other
// goes on with.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	url := apitest.StoreURL(t)
	first := apitest.StartProcess(t, apitest.Options{StoreURL: url})
	second := apitest.StartProcess(t, apitest.Options{StoreURL: url, Dir: sibling(t, first.Dir)})
	a, b := &world{first.Server, t}, &world{second.Server, t}
	for i := range 6 {
		w := a
		if i%2 == 1 {
			w = b
		}
		if _, err := w.Stacks.CreateStack(t.Context(), &cloudformation.CreateStackInput{
			StackName: aws.String(fmt.Sprintf("n%d", i)), TemplateBody: aws.String(chain(7, 60)),
		}); err != nil {
			t.Fatal(err)
		}
	}
	a.reached("n0", 10)
	first.Stop()
	for i := range 6 {
		b.demand(fmt.Sprintf("n%d", i), types.StackStatusCreateComplete)
		if got := len(b.logGroups(fmt.Sprintf("/n%d/", i))); got != 50 { // a page
			t.Errorf("got %d log groups in a page, want 50", got)
		}
	}
}

// sibling is a folder for another node of the same deployment.
func sibling(t testing.TB, dir string) string {
	t.Helper()
	other := t.TempDir()
	rootKey, err := os.ReadFile(filepath.Join(dir, "root.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(other, "root.key"), rootKey, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return other
}
