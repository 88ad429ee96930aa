package lambda_test

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/store"
)

const secretARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf"

// admitted reports whether Secrets Manager may invoke a function for the test
// secret.
func (k *kit) admitted(functionARN string) bool {
	k.t.Helper()
	err := k.store.View(k.t.Context(), func(tx *store.Tx) error { return invocation.CanInvoke(tx, functionARN, secretARN, account) })
	if err != nil && (!fault.Is(err, fault.Denied) || err.(*fault.Error).Message != "Secrets Manager cannot invoke the specified Lambda function. "+
		"Ensure that the function policy grants access to the principal secretsmanager.amazonaws.com.") {
		k.t.Errorf("got %v", err)
	}
	return err == nil
}

func TestPermission(t *testing.T) {
	k := newKit(t).run()
	ctx := t.Context()
	k.create(k.input("f", echo))
	one := k.publish("f")
	_, err := k.CreateAlias(ctx, &sdk.CreateAliasInput{FunctionName: aws.String("f"), Name: aws.String("live"), FunctionVersion: &one})
	check(t, err)
	policy := func(qualifier *string) (string, error) {
		out, err := k.GetPolicy(ctx, &sdk.GetPolicyInput{FunctionName: aws.String("f"), Qualifier: qualifier})
		if err != nil {
			return "", err
		}
		return *out.Policy, nil
	}
	_, err = policy(nil)
	wantError(t, err, "ResourceNotFoundException", 404, "The resource you requested does not exist.")
	if k.admitted(functionARN("f")) {
		t.Error("without a policy: admitted")
	}

	grant := func(qualifier, sid, principal string, account *string) (*sdk.AddPermissionOutput, error) {
		in := &sdk.AddPermissionInput{
			FunctionName: aws.String("f"), StatementId: &sid, Action: aws.String("lambda:InvokeFunction"), Principal: &principal, SourceAccount: account,
		}
		if qualifier != "" {
			in.Qualifier = &qualifier
		}
		return k.AddPermission(ctx, in)
	}
	out, err := grant("", "s", "secretsmanager.amazonaws.com", aws.String(account))
	check(t, err)
	want := `{"Sid":"s","Effect":"Allow","Principal":{"Service":"secretsmanager.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"` +
		functionARN("f") + `","Condition":{"StringEquals":{"AWS:SourceAccount":"123456789012"}}}`
	if *out.Statement != want {
		t.Errorf("got  %s\nwant %s", *out.Statement, want)
	}
	if text, err := policy(nil); err != nil || text != `{"Version":"2012-10-17","Id":"default","Statement":[`+want+`]}` || !json.Valid([]byte(text)) {
		t.Errorf("got policy %s, %v", text, err)
	}
	if !k.admitted(functionARN("f")) {
		t.Error("granted: not admitted")
	}
	if k.admitted(functionARN("f") + ":live") {
		t.Error("the grant on the function admitted to its alias")
	}
	_, err = grant("live", "s", "secretsmanager.amazonaws.com", aws.String("999999999999"))
	check(t, err)
	if k.admitted(functionARN("f") + ":live") {
		t.Error("granted to another account's secrets: admitted")
	}
	_, err = grant("live", "s2", "secretsmanager.amazonaws.com", nil)
	check(t, err)
	if !k.admitted(functionARN("f") + ":live") {
		t.Error("granted on the alias: not admitted")
	}
	for _, absent := range []string{functionARN("none"), functionARN("f") + ":none", functionARN("f") + ":7", "f", ""} {
		if k.admitted(absent) {
			t.Errorf("%q: admitted", absent)
		}
	}

	_, err = grant("", "s", "secretsmanager.amazonaws.com", nil)
	wantError(t, err, "ResourceConflictException", 409, "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing statement.")
	_, err = grant("", "t", "nobody", nil)
	wantError(t, err, "InvalidParameterValueException", 400, "The provided principal was invalid. Please check the principal and try again.")
	_, err = grant("$LATEST", "t", "secretsmanager.amazonaws.com", nil)
	wantError(t, err, "InvalidParameterValueException", 400, "We currently do not support adding policies for $LATEST.")
	_, err = grant("none", "t", "secretsmanager.amazonaws.com", nil)
	wantError(t, err, "ResourceNotFoundException", 404, "Cannot find alias arn: "+functionARN("f")+":none")

	remove := func(sid string, revision *string) error {
		_, err := k.RemovePermission(ctx, &sdk.RemovePermissionInput{FunctionName: aws.String("f"), StatementId: &sid, RevisionId: revision})
		return err
	}
	wantError(t, remove("t", nil), "ResourceNotFoundException", 404, "Statement t is not found in resource policy.")
	wantError(t, remove("s", aws.String("stale")), "PreconditionFailedException", 412,
		"The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id")
	latest, err := k.GetPolicy(ctx, &sdk.GetPolicyInput{FunctionName: aws.String("f")})
	check(t, err)
	check(t, remove("s", latest.RevisionId))
	wantError(t, remove("s", nil), "ResourceNotFoundException", 404, "No policy is associated with the given resource.")
	if k.admitted(functionARN("f")) {
		t.Error("removed: admitted")
	}
}
