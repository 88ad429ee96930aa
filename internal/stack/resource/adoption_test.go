package resource_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/keyturn/keyturn/internal/application"
	cloudformationservice "github.com/keyturn/keyturn/internal/service/cloudformation"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/stack/resource"
	"github.com/keyturn/keyturn/internal/store"
)

// A policy that somebody else has made is not taken over after a crash,
// though it has the same name and document.
func TestForeignManagedPolicy(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	made, err := k.iam.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: new("taken"), PolicyDocument: new(reads)})
	k.must(err)
	r := k.request(`{"ManagedPolicyName":"taken","PolicyDocument":` + reads + `}`)
	r.Resumed = true
	if res, err := resource.Lookup("AWS::IAM::ManagedPolicy").Create(t.Context(), r); err == nil || resource.ErrorCode(err) != resource.AlreadyExists {
		t.Errorf("got %+v, %v, want %s", res, err, resource.AlreadyExists)
	}
	if _, err := k.iam.GetPolicy(t.Context(), &iam.GetPolicyInput{PolicyArn: made.Policy.Arn}); err != nil {
		t.Error(err)
	}
}

// What a failed creation has not put is not its own to take away.
func TestPolicyUndoesItsOwn(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.newGroup("team")
	k.newUser("ann")
	_, err := k.iam.PutGroupPolicy(t.Context(), &iam.PutGroupPolicyInput{GroupName: new("team"), PolicyName: new("p"), PolicyDocument: new(reads)})
	k.must(err)
	r := k.request(`{"PolicyName":"p","PolicyDocument":` + writes + `,"Roles":["execution"],"Users":["none"],"Groups":["team"]}`)
	if _, err := resource.Lookup("AWS::IAM::Policy").Create(t.Context(), r); err == nil || resource.ErrorCode(err) != resource.NotFound {
		t.Errorf("got %v, want %s", err, resource.NotFound)
	}
	if got, want := k.held("Group", "team"), "[][p:GetSecretValue]"; got != want {
		t.Errorf("the group has %s, want %s", got, want)
	}
	if got, want := k.held("Role", "execution"), "[][]"; got != want {
		t.Errorf("the role has %s, want %s", got, want)
	}
}

// After a crash a version that was published is the one to use, but not the
// one that it is to replace.
func TestVersionAdopted(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	h := resource.Lookup("AWS::Lambda::Version")
	fn := k.newFunction("fn")
	r := k.request(`{"FunctionName":"fn"}`)
	id, err := crash(t.Context(), h, r)
	k.must(err)
	r.Resumed = true
	res, err := h.Create(t.Context(), r)
	k.must(err)
	if id != fn+":1" || res.PhysicalID != id {
		t.Errorf("got %s, and %s after the crash, want %s:1 twice", id, res.PhysicalID, fn)
	}
	r = k.request(`{"FunctionName":"fn"}`)
	r.Resumed, r.Replaces = true, id
	if res, err := h.Create(t.Context(), r); err == nil || resource.ErrorCode(err) != resource.AlreadyExists {
		t.Errorf("got %+v, %v in place of the version itself, want %s", res, err, resource.AlreadyExists)
	}
	if _, err := k.lambda.GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &id}); err != nil {
		t.Errorf("the version that was to be replaced: %v", err)
	}
}

// An alias is taken over after a crash only if it is as asked for, and is not
// the one to replace.
func TestAliasAdopted(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	h := resource.Lookup("AWS::Lambda::Alias")
	fn := k.newFunction("fn")
	_, err := k.lambda.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: &fn})
	k.must(err)
	r := k.request(`{"FunctionName":"fn","Name":"live","FunctionVersion":"1","Description":"ours"}`)
	id, err := crash(t.Context(), h, r)
	k.must(err)
	r.Resumed = true
	if res, err := h.Create(t.Context(), r); err != nil || res.PhysicalID != id || id != fn+":live" {
		t.Errorf("got %s, and %+v, %v after the crash, want %s:live twice", id, res, err, fn)
	}
	for name, tc := range map[string]struct{ properties, replaces string }{
		"another version":     {`{"FunctionName":"fn","Name":"live","FunctionVersion":"$LATEST","Description":"ours"}`, ""},
		"another description": {`{"FunctionName":"fn","Name":"live","FunctionVersion":"1","Description":"theirs"}`, ""},
		"the one to replace":  {`{"FunctionName":"fn","Name":"live","FunctionVersion":"1","Description":"ours"}`, id},
	} {
		r := k.request(tc.properties)
		r.Resumed, r.Replaces = true, tc.replaces
		if res, err := h.Create(t.Context(), r); err == nil || resource.ErrorCode(err) != resource.Conflict {
			t.Errorf("%s: got %+v, %v, want %s", name, res, err, resource.Conflict)
		}
	}
	a, err := k.lambda.GetAlias(t.Context(), &lambda.GetAliasInput{FunctionName: &fn, Name: new("live")})
	if err != nil || *a.FunctionVersion != "1" || *a.Description != "ours" {
		t.Errorf("got %+v, %v, want the alias as it was", a, err)
	}
}

// A stack is taken over after a crash only if it is nested in the one that
// asks for it: a stack of somebody else with its name stays alone.
func TestForeignNestedStack(t *testing.T) {
	t.Parallel()
	p := servicetest.NewParts(t)
	stacks := cloudformationservice.New(cloudformationservice.Config{Store: p.Store, Guard: p.Guard, Sealer: p.Sealer, Wake: func() {}})
	_, cfg := p.Serve(t, stacks.Wire())
	k := &kit{T: t, Parts: p, client: &resource.Client{Handler: p.Handler, Principal: p.Root(), Region: region}}
	outer := &record.Stack{ID: place.ID, Account: account, Region: region, Name: place.Name, Status: record.CreateInProgress, CreatedAt: time.Now()}
	k.must(outer.Seal(p.Sealer, &record.Contents{}))
	k.must(p.Store.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.CreateStack(outer); err != nil {
			return err
		}
		return tx.CreateOperation(&record.Operation{
			ID: "o", StackID: outer.ID, Kind: record.CreateStack, Phase: record.Apply, StartedAt: time.Now(),
			Order: record.Order{AccessKeyID: p.Root().AccessKeyID, Account: account},
		})
	}))
	r := k.request(`{"TemplateURL":"` + application.TemplateURL("SecretsManagerRDSPostgreSQLRotationSingleUser", "") + `","Parameters":{"endpoint":"https://x","functionName":"f"}}`)
	r.Stacks.Capabilities = []string{"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"}
	h := resource.Lookup("AWS::CloudFormation::Stack")
	id, err := crash(t.Context(), h, r)
	k.must(err)

	// What was made is found again.
	r.Resumed = true
	if again, err := crash(t.Context(), h, r); err != nil || again != id {
		t.Errorf("got %s, %v after the crash, want %s", again, err, id)
	}

	var name string
	k.must(p.Store.Update(t.Context(), func(tx *store.Tx) error {
		made, err := tx.Stack(id)
		if err != nil {
			return err
		}
		name = made.Name
		return tx.DropStack(id)
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	client := cloudformation.NewFromConfig(cfg)
	_, err = client.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: &name, TemplateBody: new(`{"Resources":{"G":{"Type":"AWS::Logs::LogGroup"}}}`)})
	k.must(err)
	if res, err := h.Create(ctx, r); err == nil || resource.ErrorCode(err) != resource.AlreadyExists {
		t.Errorf("got %+v, %v, want %s", res, err, resource.AlreadyExists)
	}
}
