package resource_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/keyturn/keyturn/internal/stack/resource"
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
