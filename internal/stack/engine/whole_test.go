package engine_test

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
)

// wholeTemplate has resources of every service, which an update changes in
// place and by replacement, and one that cannot be made if asked for.
//
//go:embed testdata/whole.yaml
var wholeTemplate string

// whole is a stack of everything, of which a test watches the account.
type whole struct {
	*world
	name         string
	capabilities []types.Capability
}

func newWhole(s *apitest.Server, t testing.TB) *whole {
	return &whole{&world{s, t}, "whole", []types.Capability{types.CapabilityCapabilityNamedIam}}
}

// parameters say which revision of the resources is wanted, and whether
// making them fails.
func (w *whole) parameters(revision string, fails bool) []types.Parameter {
	trap := "no"
	if fails {
		trap = "yes"
	}
	return []types.Parameter{parameter("Revision", revision), parameter("Fails", trap), parameter("Password", "open-sesame-"+revision)}
}

// begin starts the creation or the update of the stack.
func (w *whole) begin(revision string, fails bool) {
	w.t.Helper()
	ctx := w.t.Context()
	if revision == "1" {
		_, err := w.Stacks.CreateStack(ctx, &cloudformation.CreateStackInput{
			StackName: &w.name, TemplateBody: &wholeTemplate, Parameters: w.parameters(revision, fails), Capabilities: w.capabilities,
			Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("db")}},
		})
		w.must(err)
		return
	}
	_, err := w.Stacks.UpdateStack(ctx, &cloudformation.UpdateStackInput{
		StackName: &w.name, TemplateBody: &wholeTemplate, Parameters: w.parameters(revision, fails), Capabilities: w.capabilities,
	})
	w.must(err)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// same demands that the account is as it was.
func (w *whole) same(when string, want map[string]any) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.everything()); diff != "" {
		w.t.Errorf("%s, the account differs (-before +now):\n%s", when, diff)
	}
}

// Stacks of all services are made, updated, rolled back to exactly what was
// before, and deleted without a rest; the SDK's waiters see them through.
func TestWholeStack(t *testing.T) {
	t.Parallel()
	w := newWhole(apitest.Start(t, apitest.Options{}), t)
	w.occupy()
	ctx, in := t.Context(), &cloudformation.DescribeStacksInput{StackName: &w.name}
	empty := w.everything()

	w.begin("1", true)
	w.demand(w.name, types.StackStatusRollbackComplete)
	w.same("after a creation that failed", empty)
	w.delete(w.name)

	w.begin("1", false)
	created := cloudformation.NewStackCreateCompleteWaiter(w.Stacks, func(o *cloudformation.StackCreateCompleteWaiterOptions) { o.MinDelay, o.MaxDelay = delays() })
	if err := created.Wait(ctx, in, within); err != nil {
		t.Fatalf("%v\n%s", err, w.story(w.name))
	}
	first := w.everything()

	w.begin("2", true)
	w.demand(w.name, types.StackStatusUpdateRollbackComplete)
	w.same("after an update that failed", first)

	w.begin("2", false)
	updated := cloudformation.NewStackUpdateCompleteWaiter(w.Stacks, func(o *cloudformation.StackUpdateCompleteWaiterOptions) { o.MinDelay, o.MaxDelay = delays() })
	if err := updated.Wait(ctx, in, within); err != nil {
		t.Fatalf("%v\n%s", err, w.story(w.name))
	}
	w.changed(first)
	second := w.everything()

	set := w.changeSet(&cloudformation.CreateChangeSetInput{
		StackName: &w.name, ChangeSetName: aws.String("third"), TemplateBody: &wholeTemplate, Parameters: w.parameters("3", true), Capabilities: w.capabilities,
	})
	_, err := w.Stacks.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: set.ChangeSetId})
	w.must(err)
	w.demand(w.name, types.StackStatusUpdateRollbackComplete)
	w.same("after a change set that failed", second)

	id := *w.settled(w.name).StackId
	_, err = w.Stacks.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: &id})
	w.must(err)
	deleted := cloudformation.NewStackDeleteCompleteWaiter(w.Stacks, func(o *cloudformation.StackDeleteCompleteWaiterOptions) { o.MinDelay, o.MaxDelay = delays() })
	if err := deleted.Wait(ctx, &cloudformation.DescribeStacksInput{StackName: &id}, within); err != nil {
		t.Fatalf("%v\n%s", err, w.story(id))
	}
	w.same("after the deletion", empty)
}

// delays are those of a waiter that need not spare the server.
func delays() (shortest, longest time.Duration) { return 20 * time.Millisecond, time.Second }

// changed demands that an update has changed something of every service, and
// which resources it has replaced.
func (w *whole) changed(before map[string]any) {
	w.t.Helper()
	now := w.everything()
	same := []string{}
	for name := range before {
		if cmp.Equal(before[name], now[name]) {
			same = append(same, name)
		}
	}
	slices.Sort(same)
	if diff := cmp.Diff([]string{"ec2 internet gateways", "ec2 subnets", "ec2 vpcs", "secret whole-own policy"}, same); diff != "" {
		w.t.Errorf("what the update has not changed (-want +got):\n%s", diff)
	}
	var replaced []string
	for _, e := range w.events(w.name) {
		if id, ok := strings.CutSuffix(e, " UPDATE_IN_PROGRESS Requested update requires the creation of a new physical resource; hence creating one."); ok && !slices.Contains(replaced, id) {
			replaced = append(replaced, id)
		}
	}
	slices.Sort(replaced)
	if diff := cmp.Diff([]string{"Egress", "Group", "Ingress", "Layer", "Version"}, replaced); diff != "" {
		w.t.Errorf("replaced (-want +got):\n%s", diff)
	}
}

// A server that is killed in the middle of a rollback leads it to its end,
// whatever it was about.
func TestWholeStackKilled(t *testing.T) {
	t.Parallel()
	p := apitest.StartProcess(t, apitest.Options{})
	w := newWhole(p.Server, t)
	k := &killed{w.world, p}
	w.occupy()
	w.begin("1", false)
	w.demand(w.name, types.StackStatusCreateComplete)
	first := w.everything()
	for i, after := range []int{1, 4, 9} {
		told := len(w.events(w.name))
		w.begin(string(rune('2'+i)), true)
		rolling := func() int {
			list := w.events(w.name)
			return told + slices.IndexFunc(list[told:], func(e string) bool { return strings.Contains(e, " UPDATE_ROLLBACK_IN_PROGRESS") })
		}
		for until := time.Now().Add(within); rolling() < told; time.Sleep(2 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("no rollback:\n%s", w.story(w.name))
			}
		}
		k.killAfter(w.name, rolling()+after)
		w.demand(w.name, types.StackStatusUpdateRollbackComplete)
		w.same("after a rollback with a kill", first)
	}
}

// volatile are members that tell when and how often something changed.
var volatile = []string{
	"ResultMetadata", "LastModified", "RevisionId", "LastChangedDate", "LastAccessedDate", "UpdateDate", "DefaultVersionId",
}

// plain is an answer as JSON without what is volatile, its lists in order.
func plain(t testing.TB, v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	return settle(tree)
}

func settle(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range volatile {
			delete(v, name)
		}
		for name := range v {
			v[name] = settle(v[name])
		}
	case []any:
		for i := range v {
			v[i] = settle(v[i])
		}
		slices.SortFunc(v, func(a, b any) int {
			x, _ := json.Marshal(a)
			y, _ := json.Marshal(b)
			return bytes.Compare(x, y)
		})
	}
	return v
}
