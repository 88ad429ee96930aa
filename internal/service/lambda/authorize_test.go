package lambda_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

const (
	annARN    = "arn:aws:iam::" + account + ":user/ann"
	foreign   = "999999999999"
	noPolicy  = " because no identity-based policy allows the "
	noGrant   = " because no resource-based policy allows the "
	layerARN  = "arn:aws:lambda:" + region + ":" + account + ":layer:l"
	allowsAll = `{"Effect":"Allow","Action":"*","Resource":"*"}`
)

// as returns a client of a principal.
func (k *kit) as(p iam.Principal) *sdk.Client { return sdk.NewFromConfig(k.As(p)) }

// ann returns a client of a user of the account who holds a policy of the
// statements.
func (k *kit) ann(statements string) *sdk.Client {
	k.t.Helper()
	return k.as(servicetest.User(k.t, account, "ann", statements))
}

func refusal(user, action, resource, why string) string {
	return "User: " + user + " is not authorized to perform: " + action + " on resource: " + resource + why + action + " action"
}

func isDenied(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && e.ErrorCode() == "AccessDeniedException"
}

// guarded is an operation, the action that guards it, and on what.
type guarded struct {
	name, action, resource string
	call                   func(*sdk.Client) error
}

// operations are calls about a function, with or without a qualifier.
func operations(t *testing.T, f, qualified string) []guarded {
	ctx, fn := t.Context(), functionARN(f)
	name, q := &f, &qualified
	at := fn + ":" + qualified
	return []guarded{
		{"GetFunction", "GetFunction", fn, func(c *sdk.Client) error {
			_, err := c.GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: name})
			return err
		}},
		{"GetFunction of a version", "GetFunction", at, func(c *sdk.Client) error {
			_, err := c.GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: name, Qualifier: q})
			return err
		}},
		{"GetFunctionConfiguration by ARN", "GetFunctionConfiguration", at, func(c *sdk.Client) error {
			_, err := c.GetFunctionConfiguration(ctx, &sdk.GetFunctionConfigurationInput{FunctionName: &at})
			return err
		}},
		{"ListFunctions", "ListFunctions", "*", func(c *sdk.Client) error {
			_, err := c.ListFunctions(ctx, &sdk.ListFunctionsInput{})
			return err
		}},
		{"GetAccountSettings", "GetAccountSettings", "*", func(c *sdk.Client) error {
			_, err := c.GetAccountSettings(ctx, &sdk.GetAccountSettingsInput{})
			return err
		}},
		{"Invoke", "InvokeFunction", fn, func(c *sdk.Client) error {
			_, err := c.Invoke(ctx, &sdk.InvokeInput{FunctionName: name, InvocationType: types.InvocationTypeDryRun})
			return err
		}},
		{"Invoke a version", "InvokeFunction", at, func(c *sdk.Client) error {
			_, err := c.Invoke(ctx, &sdk.InvokeInput{FunctionName: name, Qualifier: q, InvocationType: types.InvocationTypeDryRun})
			return err
		}},
		{"UpdateFunctionCode", "UpdateFunctionCode", fn, func(c *sdk.Client) error {
			_, err := c.UpdateFunctionCode(ctx, &sdk.UpdateFunctionCodeInput{FunctionName: name, ZipFile: []byte("no zip")})
			return err
		}},
		{"UpdateFunctionConfiguration", "UpdateFunctionConfiguration", fn, func(c *sdk.Client) error {
			_, err := c.UpdateFunctionConfiguration(ctx, &sdk.UpdateFunctionConfigurationInput{FunctionName: name, RevisionId: aws.String("stale")})
			return err
		}},
		{"AddPermission", "AddPermission", at, func(c *sdk.Client) error {
			_, err := c.AddPermission(ctx, &sdk.AddPermissionInput{FunctionName: name, Qualifier: q, StatementId: aws.String("s"),
				Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("nobody")})
			return err
		}},
		{"RemovePermission", "RemovePermission", fn, func(c *sdk.Client) error {
			_, err := c.RemovePermission(ctx, &sdk.RemovePermissionInput{FunctionName: name, StatementId: aws.String("none")})
			return err
		}},
		{"GetPolicy", "GetPolicy", fn, func(c *sdk.Client) error {
			_, err := c.GetPolicy(ctx, &sdk.GetPolicyInput{FunctionName: name})
			return err
		}},
		{"PutFunctionConcurrency", "PutFunctionConcurrency", fn, func(c *sdk.Client) error {
			_, err := c.PutFunctionConcurrency(ctx, &sdk.PutFunctionConcurrencyInput{FunctionName: name, ReservedConcurrentExecutions: aws.Int32(10000)})
			return err
		}},
		{"PutProvisionedConcurrencyConfig", "PutProvisionedConcurrencyConfig", fn + ":none", func(c *sdk.Client) error {
			_, err := c.PutProvisionedConcurrencyConfig(ctx, &sdk.PutProvisionedConcurrencyConfigInput{FunctionName: name, Qualifier: aws.String("none"),
				ProvisionedConcurrentExecutions: aws.Int32(1)})
			return err
		}},
		{"PublishVersion", "PublishVersion", fn, func(c *sdk.Client) error {
			_, err := c.PublishVersion(ctx, &sdk.PublishVersionInput{FunctionName: name, RevisionId: aws.String("stale")})
			return err
		}},
		{"CreateAlias", "CreateAlias", fn, func(c *sdk.Client) error {
			_, err := c.CreateAlias(ctx, &sdk.CreateAliasInput{FunctionName: name, Name: aws.String("a"), FunctionVersion: aws.String("99")})
			return err
		}},
		{"GetAlias", "GetAlias", fn, func(c *sdk.Client) error {
			_, err := c.GetAlias(ctx, &sdk.GetAliasInput{FunctionName: name, Name: aws.String("none")})
			return err
		}},
		{"ListTags", "ListTags", fn, func(c *sdk.Client) error {
			_, err := c.ListTags(ctx, &sdk.ListTagsInput{Resource: &fn})
			return err
		}},
		{"DeleteFunction", "DeleteFunction", fn + ":99", func(c *sdk.Client) error {
			_, err := c.DeleteFunction(ctx, &sdk.DeleteFunctionInput{FunctionName: name, Qualifier: aws.String("99")})
			return err
		}},
		{"PutFunctionEventInvokeConfig", "PutFunctionEventInvokeConfig", fn, func(c *sdk.Client) error {
			_, err := c.PutFunctionEventInvokeConfig(ctx, &sdk.PutFunctionEventInvokeConfigInput{FunctionName: name})
			return err
		}},
		{"PublishLayerVersion", "PublishLayerVersion", layerARN, func(c *sdk.Client) error {
			_, err := c.PublishLayerVersion(ctx, &sdk.PublishLayerVersionInput{LayerName: aws.String("l"), Content: &types.LayerVersionContentInput{ZipFile: []byte("no zip")}})
			return err
		}},
		{"GetLayerVersion", "GetLayerVersion", layerARN + ":1", func(c *sdk.Client) error {
			_, err := c.GetLayerVersion(ctx, &sdk.GetLayerVersionInput{LayerName: aws.String("l"), VersionNumber: aws.Int64(1)})
			return err
		}},
		{"GetLayerVersionByArn", "GetLayerVersion", layerARN + ":1", func(c *sdk.Client) error {
			_, err := c.GetLayerVersionByArn(ctx, &sdk.GetLayerVersionByArnInput{Arn: aws.String(layerARN + ":1")})
			return err
		}},
		{"DeleteLayerVersion", "DeleteLayerVersion", layerARN + ":7", func(c *sdk.Client) error {
			_, err := c.DeleteLayerVersion(ctx, &sdk.DeleteLayerVersionInput{LayerName: aws.String("l"), VersionNumber: aws.Int64(7)})
			return err
		}},
		{"ListLayerVersions", "ListLayerVersions", layerARN, func(c *sdk.Client) error {
			_, err := c.ListLayerVersions(ctx, &sdk.ListLayerVersionsInput{LayerName: aws.String("l")})
			return err
		}},
	}
}

// Each operation is refused by its own action on its own resource, alike for
// what exists and what does not, and allowed on exactly that.
func TestRefusals(t *testing.T) {
	k := newKit(t).run()
	k.create(k.input("there", echo))
	version := k.publish("there")
	nobody := k.ann("")
	for _, f := range []string{"there", "none"} {
		for _, o := range operations(t, f, version) {
			action := "lambda:" + o.action
			servicetest.WantError(t, o.name, o.call(nobody), "AccessDeniedException", 403, refusal(annARN, action, o.resource, noPolicy))
			if err := o.call(k.ann(`{"Effect":"Allow","Action":"` + action + `","Resource":"` + o.resource + `"}`)); isDenied(err) {
				t.Errorf("%s, allowed on %s: got %v", o.name, o.resource, err)
			}
		}
	}
}

// A function is protected as a whole by its ARN, however it is named.
func TestLatestByName(t *testing.T) {
	k := newKit(t).run()
	k.create(k.input("f", echo))
	ann := k.ann(allowsAll + `,{"Effect":"Deny","Action":"lambda:*","Resource":"` + functionARN("f") + `"}`)
	latest := aws.String("f:$LATEST")
	for name, call := range map[string]func() error{
		"UpdateFunctionCode": func() error {
			_, err := ann.UpdateFunctionCode(t.Context(), &sdk.UpdateFunctionCodeInput{FunctionName: latest, ZipFile: zipOf(t, echo)})
			return err
		},
		"PublishVersion": func() error {
			_, err := ann.PublishVersion(t.Context(), &sdk.PublishVersionInput{FunctionName: latest})
			return err
		},
		"PutFunctionConcurrency": func() error {
			_, err := ann.PutFunctionConcurrency(t.Context(), &sdk.PutFunctionConcurrencyInput{FunctionName: latest, ReservedConcurrentExecutions: aws.Int32(0)})
			return err
		},
		"PutFunctionEventInvokeConfig": func() error {
			_, err := ann.PutFunctionEventInvokeConfig(t.Context(), &sdk.PutFunctionEventInvokeConfigInput{FunctionName: aws.String("f"), Qualifier: aws.String("$LATEST"), MaximumRetryAttempts: aws.Int32(0)})
			return err
		},
		"DeleteFunction": func() error {
			_, err := ann.DeleteFunction(t.Context(), &sdk.DeleteFunctionInput{FunctionName: aws.String("f")})
			return err
		},
	} {
		servicetest.WantError(t, name, call(), "AccessDeniedException", 403,
			"User: "+annARN+" is not authorized to perform: lambda:"+name+" on resource: "+functionARN("f")+" with an explicit deny in an identity-based policy")
	}
}

// Another account invokes by ARN what the function's policy lets it, and only
// if its own policies do too.
func TestAcrossAccounts(t *testing.T) {
	k := newKit(t).run()
	k.create(k.input("f", echo))
	version := k.publish("f")
	const userARN, roleARN = "arn:aws:iam::" + foreign + ":user/bob", "arn:aws:iam::" + foreign + ":role/app"
	session := "arn:aws:sts::" + foreign + ":assumed-role/app/s"
	own := servicetest.User(t, foreign, "bob", allowsAll)
	app := iam.Principal{Type: iam.AssumedRole, Account: foreign, ARN: session, RoleARN: roleARN, ID: "AROAAPP:s", Name: "app", Session: "s", Identity: own.Identity}
	invoke := func(p iam.Principal, arn string) (string, error) {
		out, err := k.as(p).Invoke(t.Context(), &sdk.InvokeInput{FunctionName: &arn, Payload: []byte(`"hello"`)})
		if err != nil {
			return "", err
		}
		return string(out.Payload), nil
	}
	grant := func(sid, principal, qualifier string) {
		t.Helper()
		in := &sdk.AddPermissionInput{FunctionName: aws.String("f"), StatementId: &sid, Action: aws.String("lambda:InvokeFunction"), Principal: &principal}
		if qualifier != "" {
			in.Qualifier = &qualifier
		}
		_, err := k.AddPermission(t.Context(), in)
		check(t, err)
	}
	f, v := functionARN("f"), functionARN("f")+":"+version
	for _, arn := range []string{f, v, functionARN("none")} {
		_, err := invoke(own, arn)
		servicetest.WantError(t, "without a grant", err, "AccessDeniedException", 403, refusal(userARN, "lambda:InvokeFunction", arn, noGrant))
	}
	grant("role", roleARN, "")
	if got, err := invoke(app, f); err != nil || got != `"hello"` {
		t.Errorf("the role: got %s, %v", got, err)
	}
	_, err := invoke(own, f)
	servicetest.WantError(t, "another principal", err, "AccessDeniedException", 403, refusal(userARN, "lambda:InvokeFunction", f, noGrant))
	_, err = invoke(app, v)
	servicetest.WantError(t, "the version", err, "AccessDeniedException", 403, refusal(session, "lambda:InvokeFunction", v, noGrant))
	grant("account", foreign, version)
	if got, err := invoke(own, v); err != nil || got != `"hello"` {
		t.Errorf("the account: got %s, %v", got, err)
	}
	poor := servicetest.User(t, foreign, "bob", "")
	_, err = invoke(poor, v)
	servicetest.WantError(t, "without a policy of its own", err, "AccessDeniedException", 403, refusal(userARN, "lambda:InvokeFunction", v, noPolicy))
	_, err = k.as(own).GetFunction(t.Context(), &sdk.GetFunctionInput{FunctionName: &v})
	servicetest.WantError(t, "another action", err, "AccessDeniedException", 403, refusal(userARN, "lambda:GetFunction", v, noGrant))

	// In the function's own account the policy alone is enough.
	check(t, k.store.Update(t.Context(), func(tx *store.Tx) error {
		return tx.SaveUser(nil, &iam.User{Account: account, Name: "ann", Path: "/", ID: "AIDAann", CreatedAt: time.Now()})
	}))
	grant("ann", annARN, "")
	out, err := k.ann("").Invoke(t.Context(), &sdk.InvokeInput{FunctionName: aws.String("f"), Payload: []byte(`1`)})
	if err != nil || string(out.Payload) != "1" {
		t.Errorf("ann: got %v", err)
	}
	_, err = k.ann(`{"Effect":"Deny","Action":"lambda:InvokeFunction","Resource":"*"}`).Invoke(t.Context(), &sdk.InvokeInput{FunctionName: aws.String("f")})
	servicetest.WantError(t, "denied", err, "AccessDeniedException", 403,
		"User: "+annARN+" is not authorized to perform: lambda:InvokeFunction on resource: "+f+" with an explicit deny in an identity-based policy")
}

// A permission for a role is for that role: one that has its name later does
// not inherit it.
func TestPermissionOfANamesake(t *testing.T) {
	k := newKit(t).run()
	k.create(k.input("f", echo))
	grantTo := k.newMuteRole()
	_, err := k.AddPermission(t.Context(), &sdk.AddPermissionInput{
		FunctionName: aws.String("f"), StatementId: aws.String("s"), Action: aws.String("lambda:InvokeFunction"), Principal: &grantTo,
	})
	check(t, err)
	names := func(principal string) {
		t.Helper()
		out, err := k.GetPolicy(t.Context(), &sdk.GetPolicyInput{FunctionName: aws.String("f")})
		check(t, err)
		if !strings.Contains(*out.Policy, `"AWS":"`+principal+`"`) {
			t.Errorf("got %s, want %s in it", *out.Policy, principal)
		}
	}
	invoke := func(roleID string) error {
		p := iam.Principal{
			Type: iam.AssumedRole, Account: account, ARN: "arn:aws:sts::" + account + ":assumed-role/mute/s", RoleARN: grantTo, ID: roleID + ":s",
			Name: "mute", Session: "s", Identity: &iam.Identity{},
		}
		_, err := k.as(p).Invoke(t.Context(), &sdk.InvokeInput{FunctionName: aws.String("f")})
		return err
	}
	names(grantTo)
	check(t, invoke("AROAMUTE"))
	if err := invoke("AROANAMESAKE"); !isDenied(err) {
		t.Errorf("the namesake: got %v, want it refused", err)
	}
	check(t, k.store.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteRole(account, "mute") }))
	names("AROAMUTE")
	_, err = k.AddPermission(t.Context(), &sdk.AddPermissionInput{
		FunctionName: aws.String("f"), StatementId: aws.String("t"), Action: aws.String("lambda:InvokeFunction"), Principal: &grantTo,
	})
	wantError(t, err, "InvalidParameterValueException", 400, "The provided principal was invalid. Please check the principal and try again.")
}

// A link to code needs no signature, so events, which others may read, have
// none.
func TestNoLinkInEvents(t *testing.T) {
	k := newKit(t).run()
	out, err := k.PublishLayerVersion(t.Context(), &sdk.PublishLayerVersionInput{LayerName: aws.String("l"), Content: &types.LayerVersionContentInput{ZipFile: layerZip(t, "x")}})
	check(t, err)
	if !strings.HasPrefix(*out.Content.Location, codeSite) {
		t.Errorf("got the link %s", *out.Content.Location)
	}
	check(t, k.store.View(t.Context(), func(tx *store.Tx) error {
		events, _, err := tx.Events(store.EventQuery{Account: account, Region: region, Limit: 50})
		if len(events) == 0 {
			t.Error("there is no event")
		}
		for _, e := range events {
			if strings.Contains(string(e.JSON), codeSite) || !strings.Contains(string(e.JSON), *out.Content.CodeSha256) {
				t.Errorf("got %s", e.JSON)
			}
		}
		return err
	}))
}

// To give a function its role, its layers, its tags or its network takes
// permissions of their own.
func TestCreateFunctionPermissions(t *testing.T) {
	k := newKit(t).run()
	layer, err := k.PublishLayerVersion(t.Context(), &sdk.PublishLayerVersionInput{LayerName: aws.String("l"), Content: &types.LayerVersionContentInput{ZipFile: layerZip(t, "x")}})
	check(t, err)
	const (
		create   = `{"Effect":"Allow","Action":["lambda:CreateFunction","lambda:UpdateFunctionConfiguration"],"Resource":"*"}`
		pass     = `{"Effect":"Allow","Action":"iam:PassRole","Resource":"` + roleARN + `"}`
		denied   = "Your access has been denied by EC2, please make sure your request credentials have permission to "
		deniedBy = ". EC2 Error Code: UnauthorizedOperation. EC2 Error Message: You are not authorized to perform this operation."
	)
	passTo := func(service, function string) string {
		return `{"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":"` + service + `"},"ArnLike":{"iam:AssociatedResourceArn":"` + function + `"}}}`
	}
	plain := func(*sdk.CreateFunctionInput) {}
	layered := func(in *sdk.CreateFunctionInput) { in.Layers = []string{*layer.LayerVersionArn} }
	tagged := func(in *sdk.CreateFunctionInput) { in.Tags = map[string]string{"Team": "blue"} }
	vpc := k.newNetwork()
	network := func(in *sdk.CreateFunctionInput) {
		in.VpcConfig = &types.VpcConfig{SubnetIds: vpc.subnets[:1], SecurityGroupIds: vpc.groups[:1]}
	}
	with := func(action, condition string) string {
		return create + "," + pass + `,{"Effect":"Allow","Action":"` + action + `","Resource":"*","Condition":{` + condition + `}}`
	}
	for i, tc := range []struct {
		name, statements string
		change           func(*sdk.CreateFunctionInput)
		want             string
	}{
		{"no PassRole", create, plain, refusal(annARN, "iam:PassRole", roleARN, noPolicy)},
		{"PassRole", create + "," + pass, plain, ""},
		{"PassRole to this", create + "," + passTo("lambda.amazonaws.com", functionARN("*")), plain, ""},
		{"PassRole to another service", create + "," + passTo("ec2.amazonaws.com", functionARN("*")), plain, refusal(annARN, "iam:PassRole", roleARN, noPolicy)},
		{"PassRole to another function", create + "," + passTo("lambda.amazonaws.com", functionARN("other")), plain, refusal(annARN, "iam:PassRole", roleARN, noPolicy)},
		{"PassRole denied", create + "," + pass + `,{"Effect":"Deny","Action":"iam:PassRole","Resource":"*"}`, plain,
			"User: " + annARN + " is not authorized to perform: iam:PassRole on resource: " + roleARN + " with an explicit deny in an identity-based policy"},
		{"a role that is not there", create, func(in *sdk.CreateFunctionInput) { in.Role = aws.String(roleARN + "-none") }, refusal(annARN, "iam:PassRole", roleARN+"-none", noPolicy)},
		{"another account's role", create + "," + pass, func(in *sdk.CreateFunctionInput) { in.Role = aws.String("arn:aws:iam::" + foreign + ":role/r") }, "Cross-account pass role is not allowed."},
		{"layer without permission", create + "," + pass, layered, refusal(annARN, "lambda:GetLayerVersion", *layer.LayerVersionArn, noPolicy)},
		{"layer", with("lambda:GetLayerVersion", ``), layered, ""},
		{"tags without permission", create + "," + pass, tagged, "tags"},
		{"tags", with("lambda:TagResource", `"StringEquals":{"aws:RequestTag/team":"blue"},"ForAllValues:StringEquals":{"aws:TagKeys":["Team"]}`), tagged, ""},
		{"other tags", with("lambda:TagResource", `"StringEquals":{"aws:RequestTag/team":"red"}`), tagged, "tags"},
		{"network without permission", create + "," + pass, network, denied + "DescribeSecurityGroups for " + vpc.groups[0] + deniedBy},
		{"network half", with("ec2:DescribeSecurityGroups", ``), network, denied + "DescribeSubnets for " + vpc.subnets[0] + deniedBy},
		{"network but its VPC", create + "," + pass + `,{"Effect":"Allow","Action":["ec2:DescribeSecurityGroups","ec2:DescribeSubnets"],"Resource":"*"}`, network,
			denied + "DescribeVpcs for " + vpc.subnets[0] + deniedBy},
		{"network", with("ec2:Describe*", ``), network, ""},
		{"only one subnet", pass + `,{"Effect":"Allow","Action":["lambda:*","ec2:*"],"Resource":"*","Condition":{"ForAnyValue:StringEquals":{"lambda:SubnetIds":"` + vpc.subnets[1] + `"}}}`, network, "create"},
		{"only some layers", pass + `,{"Effect":"Allow","Action":"lambda:*","Resource":"*","Condition":{"ForAllValues:StringLike":{"lambda:Layer":"` + layerARN + `:*"}}}`, layered, ""},
		{"only other layers", pass + `,{"Effect":"Allow","Action":"lambda:*","Resource":"*","Condition":{"ForAllValues:StringLike":{"lambda:Layer":"` + layerARN + `2:*"}}}`, layered, "create"},
	} {
		name := fmt.Sprintf("f%d", i)
		in := k.input(name, echo)
		tc.change(in)
		want := tc.want
		switch want {
		case "tags":
			want = refusal(annARN, "lambda:TagResource", functionARN(name), noPolicy)
		case "create":
			want = refusal(annARN, "lambda:CreateFunction", functionARN(name), noPolicy)
		}
		_, err := k.ann(tc.statements).CreateFunction(t.Context(), in)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		servicetest.WantError(t, tc.name, err, "AccessDeniedException", 403, want)
		if _, err := k.GetFunction(t.Context(), &sdk.GetFunctionInput{FunctionName: &name}); err == nil {
			t.Errorf("%s: the function was made", tc.name)
		}
	}
}

// An update takes PassRole only for a role that it names.
func TestUpdatePassRole(t *testing.T) {
	k := newKit(t).run()
	k.create(k.input("f", echo))
	ann := k.ann(`{"Effect":"Allow","Action":"lambda:UpdateFunctionConfiguration","Resource":"` + functionARN("f") + `"}`)
	_, err := ann.UpdateFunctionConfiguration(t.Context(), &sdk.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"), Description: aws.String("d")})
	check(t, err)
	k.waitUpdated("f")
	_, err = ann.UpdateFunctionConfiguration(t.Context(), &sdk.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"), Role: aws.String(roleARN)})
	servicetest.WantError(t, "with a role", err, "AccessDeniedException", 403, refusal(annARN, "iam:PassRole", roleARN, noPolicy))
}

// Whom a permission is for can be limited, for the one who adds it and the one
// who removes it.
func TestPermissionPrincipal(t *testing.T) {
	k := newKit(t).run()
	k.create(k.input("f", echo))
	ann := k.ann(`{"Effect":"Allow","Action":["lambda:AddPermission","lambda:RemovePermission"],"Resource":"*","Condition":{"StringEquals":{"lambda:Principal":["secretsmanager.amazonaws.com","` + foreign + `"]}}}`)
	add := func(c *sdk.Client, sid, principal string) error {
		_, err := c.AddPermission(t.Context(), &sdk.AddPermissionInput{FunctionName: aws.String("f"), StatementId: &sid, Action: aws.String("lambda:InvokeFunction"), Principal: &principal})
		return err
	}
	remove := func(sid string) error {
		_, err := ann.RemovePermission(t.Context(), &sdk.RemovePermissionInput{FunctionName: aws.String("f"), StatementId: &sid})
		return err
	}
	check(t, add(ann, "service", "secretsmanager.amazonaws.com"))
	check(t, add(ann, "account", foreign))
	servicetest.WantError(t, "another service", add(ann, "events", "events.amazonaws.com"), "AccessDeniedException", 403,
		refusal(annARN, "lambda:AddPermission", functionARN("f"), noPolicy))
	check(t, add(k.Client, "events", "events.amazonaws.com"))
	check(t, remove("service"))
	check(t, remove("account"))
	// An account has two names; a Deny that has one of them is for both.
	for _, named := range []string{foreign, "arn:aws:iam::" + foreign + ":root"} {
		but := k.ann(`{"Effect":"Allow","Action":"lambda:*","Resource":"*"},
			{"Effect":"Deny","Action":"lambda:AddPermission","Resource":"*","Condition":{"StringEquals":{"lambda:Principal":"` + named + `"}}}`)
		for _, principal := range []string{foreign, "arn:aws:iam::" + foreign + ":root"} {
			if err := add(but, "both", principal); !isDenied(err) {
				t.Errorf("%s with %s denied: got %v", principal, named, err)
			}
		}
	}
	for _, sid := range []string{"events", "none"} {
		servicetest.WantError(t, sid, remove(sid), "AccessDeniedException", 403, refusal(annARN, "lambda:RemovePermission", functionARN("f"), noPolicy))
	}
}

// Tags of functions decide, and GetFunction shows them only to those who may
// list them.
func TestResourceTags(t *testing.T) {
	k := newKit(t).run()
	for name, team := range map[string]string{"mine": "blue", "theirs": "red"} {
		in := k.input(name, echo)
		in.Tags = map[string]string{"Team": team}
		k.create(in)
	}
	const mine = `{"Effect":"Allow","Action":["lambda:GetFunction","lambda:TagResource","lambda:UntagResource"],"Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/Team":"blue"}}}`
	get := func(statements, name string) (*sdk.GetFunctionOutput, error) {
		return k.ann(statements).GetFunction(t.Context(), &sdk.GetFunctionInput{FunctionName: &name})
	}
	out, err := get(mine, "mine")
	check(t, err)
	if want := refusal(annARN, "lambda:ListTags", functionARN("mine"), noPolicy); out.Tags != nil || out.TagsError == nil || *out.TagsError.Message != want {
		t.Errorf("without lambda:ListTags: got tags %v and %v", out.Tags, out.TagsError)
	}
	out, err = get(mine+`,{"Effect":"Allow","Action":"lambda:ListTags","Resource":"*"}`, "mine")
	check(t, err)
	if out.Tags["Team"] != "blue" || out.TagsError != nil {
		t.Errorf("with lambda:ListTags: got tags %v", out.Tags)
	}
	_, err = get(mine, "theirs")
	servicetest.WantError(t, "another team's", err, "AccessDeniedException", 403, refusal(annARN, "lambda:GetFunction", functionARN("theirs"), noPolicy))
	noTeam := `,{"Effect":"Deny","Action":"lambda:*","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"aws:TagKeys":["Team"]}}}`
	_, err = k.ann(mine+noTeam).UntagResource(t.Context(), &sdk.UntagResourceInput{Resource: aws.String(functionARN("mine")), TagKeys: []string{"Team"}})
	servicetest.WantError(t, "a tag that may not be touched", err, "AccessDeniedException", 403,
		"User: "+annARN+" is not authorized to perform: lambda:UntagResource on resource: "+functionARN("mine")+" with an explicit deny in an identity-based policy")
	_, err = k.ann(mine+noTeam).TagResource(t.Context(), &sdk.TagResourceInput{Resource: aws.String(functionARN("mine")), Tags: map[string]string{"Other": "x"}})
	check(t, err)
}

// newMuteRole makes a role that may do nothing.
func (k *kit) newMuteRole() (arn string) {
	k.t.Helper()
	role := &iam.Role{Account: account, Name: "mute", Path: "/", ID: "AROAMUTE", TrustPolicy: lambdaTrust, CreatedAt: time.Now()}
	check(k.t, k.store.Update(k.t.Context(), func(tx *store.Tx) error { return tx.SaveRole(nil, role) }))
	return role.ARN()
}

// A role without permissions on network interfaces cannot have a function in a
// VPC, whichever of the two comes last.
func TestRoleInVPC(t *testing.T) {
	k := newKit(t).run()
	mute := k.newMuteRole()
	const text = "The provided execution role does not have permissions to call CreateNetworkInterface on EC2"
	net := k.newNetwork()
	vpc := &types.VpcConfig{SubnetIds: net.subnets[:1], SecurityGroupIds: net.groups[:1]}
	in := k.input("f", echo)
	in.Role, in.VpcConfig = &mute, vpc
	_, err := k.CreateFunction(t.Context(), in)
	servicetest.WantError(t, "create", err, "InvalidParameterValueException", 400, text)
	in.VpcConfig = nil
	k.create(in)
	update := func(role *string, vpc *types.VpcConfig) error {
		_, err := k.UpdateFunctionConfiguration(t.Context(), &sdk.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"), Role: role, VpcConfig: vpc})
		if err == nil {
			k.waitUpdated("f")
		}
		return err
	}
	servicetest.WantError(t, "the VPC", update(nil, vpc), "InvalidParameterValueException", 400, text)
	check(t, update(aws.String(roleARN), vpc))
	servicetest.WantError(t, "the role", update(&mute, nil), "InvalidParameterValueException", 400, text)
	check(t, update(&mute, &types.VpcConfig{SubnetIds: []string{}, SecurityGroupIds: []string{}}))
}

// A function whose role may not log runs all the same, and leaves no log
// (AWS docs); whoever asks for the end of its log gets that.
func TestFunctionWithoutLog(t *testing.T) {
	k := newKit(t).run()
	for name, role := range map[string]string{"mute": k.newMuteRole(), "loud": roleARN} {
		in := k.input(name, echo)
		in.Role = &role
		k.create(in)
		out, err := k.Invoke(t.Context(), &sdk.InvokeInput{FunctionName: &name, Payload: []byte("1"), LogType: types.LogTypeTail})
		check(t, err)
		tail, err := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
		check(t, err)
		if string(out.Payload) != "1" || !strings.Contains(string(tail), "got 1") {
			t.Errorf("%s: got %s and log %s", name, out.Payload, tail)
		}
	}
	var groups []*loggroup.Group
	check(t, k.store.View(t.Context(), func(tx *store.Tx) (err error) {
		groups, err = tx.LogGroups(account, region, store.LogGroupQuery{Limit: 10})
		return err
	}))
	if len(groups) != 1 || groups[0].Name != "/aws/lambda/loud" {
		t.Errorf("got log groups %v, want that of the function that may log", groups)
	}
}

// A function's calls carry its ARN as a condition key, which tells apart
// functions of one role.
func TestSourceFunction(t *testing.T) {
	k := newKit(t).run()
	check(t, k.store.Update(t.Context(), func(tx *store.Tx) error {
		document := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"lambda:GetAccountSettings","Resource":"*","Condition":{"ArnEquals":{"lambda:SourceFunctionArn":"` + functionARN("one") + `"}}}}`
		return tx.SaveRole(nil, &iam.Role{Account: account, Name: "shared", Path: "/", ID: "AROASHARED", TrustPolicy: lambdaTrust, CreatedAt: time.Now(),
			Holdings: iam.Holdings{Inline: map[string]string{"p": document}}})
	}))
	const source = "import os\ndef lambda_handler(event, context):\n    return [os.environ[n] for n in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN')]\n"
	for name, allowed := range map[string]bool{"one": true, "two": false} {
		in := k.input(name, source)
		in.Role = aws.String("arn:aws:iam::" + account + ":role/shared")
		k.create(in)
		out, err := k.Invoke(t.Context(), &sdk.InvokeInput{FunctionName: &name})
		check(t, err)
		var session []string
		check(t, json.Unmarshal(out.Payload, &session))
		cfg := k.cfg.Copy()
		cfg.Credentials = credentials.NewStaticCredentialsProvider(session[0], session[1], session[2])
		_, err = sdk.NewFromConfig(cfg).GetAccountSettings(t.Context(), &sdk.GetAccountSettingsInput{})
		if allowed {
			check(t, err)
			continue
		}
		servicetest.WantError(t, name, err, "AccessDeniedException", 403,
			refusal("arn:aws:sts::"+account+":assumed-role/shared/two", "lambda:GetAccountSettings", "*", noPolicy))
	}
}
