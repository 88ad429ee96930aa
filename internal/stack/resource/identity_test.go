package resource_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/keyturn/keyturn/internal/stack/resource"
)

const (
	basic  = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
	vpc    = "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"
	reads  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"*"}]}`
	writes = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"secretsmanager:PutSecretValue","Resource":"*"}]}`
	broken = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"secretsmanager:PutSecretValue"}]}`
)

func identityScenarios() []scenario {
	return []scenario{
		roleScenario(), userScenario(), groupScenario(), additionScenario(), policyScenario(), managedPolicyScenario(),
		ownPolicyScenario("Role", "execution"), ownPolicyScenario("User", "ann"), ownPolicyScenario("Group", "team"),
	}
}

// lookRole shows a role with its policies.
func (k *kit) lookRole(res resource.Result) string {
	out, err := k.iam.GetRole(k.Context(), &iam.GetRoleInput{RoleName: &res.PhysicalID})
	return seen(err, func() string {
		r, tags, boundary := out.Role, map[string]string{}, "-"
		for _, t := range r.Tags {
			tags[*t.Key] = *t.Value
		}
		if r.PermissionsBoundary != nil {
			boundary = *r.PermissionsBoundary.PermissionsBoundaryArn
		}
		trust, err := url.PathUnescape(*r.AssumeRolePolicyDocument)
		k.must(err)
		return fmt.Sprintf("%s %q %d boundary=%s trust=%d %s tags=%s", *r.Path, text(r.Description), *r.MaxSessionDuration, boundary, len(trust),
			k.held("Role", *r.RoleName), k.users(tags))
	})
}

// held shows the policies of a holder.
func (k *kit) held(kind, name string) string {
	var attached, inline []string
	ctx := k.Context()
	switch kind {
	case "Role":
		a, err := k.iam.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
		k.must(err)
		for _, p := range a.AttachedPolicies {
			attached = append(attached, *p.PolicyName)
		}
		i, err := k.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &name})
		k.must(err)
		for _, p := range i.PolicyNames {
			d, err := k.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &p})
			k.must(err)
			inline = append(inline, p+":"+k.action(*d.PolicyDocument))
		}
	case "User":
		a, err := k.iam.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: &name})
		k.must(err)
		for _, p := range a.AttachedPolicies {
			attached = append(attached, *p.PolicyName)
		}
		i, err := k.iam.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: &name})
		k.must(err)
		for _, p := range i.PolicyNames {
			d, err := k.iam.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: &name, PolicyName: &p})
			k.must(err)
			inline = append(inline, p+":"+k.action(*d.PolicyDocument))
		}
	case "Group":
		a, err := k.iam.ListAttachedGroupPolicies(ctx, &iam.ListAttachedGroupPoliciesInput{GroupName: &name})
		k.must(err)
		for _, p := range a.AttachedPolicies {
			attached = append(attached, *p.PolicyName)
		}
		i, err := k.iam.ListGroupPolicies(ctx, &iam.ListGroupPoliciesInput{GroupName: &name})
		k.must(err)
		for _, p := range i.PolicyNames {
			d, err := k.iam.GetGroupPolicy(ctx, &iam.GetGroupPolicyInput{GroupName: &name, PolicyName: &p})
			k.must(err)
			inline = append(inline, p+":"+k.action(*d.PolicyDocument))
		}
	}
	slices.Sort(attached)
	slices.Sort(inline)
	return fmt.Sprintf("%v%v", attached, inline)
}

// action is what the first statement of an encoded policy allows.
func (k *kit) action(encoded string) string {
	document, err := url.PathUnescape(encoded)
	k.must(err)
	action := fmt.Sprint(k.tree(document)["Statement"].([]any)[0].(map[string]any)["Action"])
	return action[len("secretsmanager:"):]
}

func roleScenario() scenario {
	const other = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":["lambda.amazonaws.com","secretsmanager.amazonaws.com"]},"Action":"sts:AssumeRole"}]}`
	return scenario{
		typ: "AWS::IAM::Role", look: (*kit).lookRole,
		properties: `{"AssumeRolePolicyDocument":` + lambdaTrust + `,"Path":"/app/","Description":"first","ManagedPolicyArns":["` + basic + `"],
			"Policies":[{"PolicyName":"own","PolicyDocument":` + reads + `}],"Tags":[{"Key":"team","Value":"db"}]}`,
		want:       `/app/ "first" 3600 boundary=- trust=` + fmt.Sprint(len(lambdaTrust)) + ` [AWSLambdaBasicExecutionRole][own:GetSecretValue] tags=map[team:db]`,
		attributes: map[string]string{"Ref": "shop-Thing-*", "Arn": "arn:aws:iam::123456789012:role/app/$ID", "RoleId": "AROA*"},
		updates: []change{
			{
				"everything", `{"AssumeRolePolicyDocument":` + other + `,"Path":"/app/","MaxSessionDuration":"7200","PermissionsBoundary":"` + basic + `","ManagedPolicyArns":["` + vpc + `"],
					"Policies":[{"PolicyName":"own","PolicyDocument":` + writes + `},{"PolicyName":"more","PolicyDocument":` + reads + `}],"Tags":[{"Key":"a","Value":"b"}]}`,
				`/app/ "-" 7200 boundary=` + basic + ` trust=` + fmt.Sprint(len(other)) + ` [AWSLambdaVPCAccessExecutionRole][more:GetSecretValue own:PutSecretValue] tags=map[a:b]`,
			},
			{
				"nothing but the trust", `{"AssumeRolePolicyDocument":` + lambdaTrust + `,"Path":"/app/"}`,
				`/app/ "-" 3600 boundary=- trust=` + fmt.Sprint(len(lambdaTrust)) + ` [][] tags=map[]`,
			},
		},
		refused: []refusal{
			{"a broken trust", `{"AssumeRolePolicyDocument":{"Version":"2012-10-17"}}`, resource.InvalidRequest, "Syntax errors in policy."},
			{
				"a policy that does not exist", `{"AssumeRolePolicyDocument":` + lambdaTrust + `,"Policies":[{"PolicyName":"own","PolicyDocument":` + reads + `}],"ManagedPolicyArns":["` + basic + `","arn:aws:iam::123456789012:policy/none"]}`,
				resource.NotFound, "Policy arn:aws:iam::123456789012:policy/none does not exist or is not attachable.",
			},
			{
				"a broken policy", `{"AssumeRolePolicyDocument":` + lambdaTrust + `,"ManagedPolicyArns":["` + basic + `"],"Policies":[{"PolicyName":"own","PolicyDocument":` + reads + `},{"PolicyName":"bad","PolicyDocument":` + broken + `}]}`,
				resource.InvalidRequest, "Policy statement must contain resources.",
			},
			{"a name that is taken", `{"RoleName":"execution","AssumeRolePolicyDocument":` + lambdaTrust + `}`, resource.AlreadyExists, "Role with name execution already exists."},
		},
	}
}

func userScenario() scenario {
	return scenario{
		typ: "AWS::IAM::User",
		setup: func(k *kit) map[string]string {
			k.newGroup("one")
			k.newGroup("two")
			return nil
		},
		look: func(k *kit, res resource.Result) string {
			out, err := k.iam.GetUser(k.Context(), &iam.GetUserInput{UserName: &res.PhysicalID})
			return seen(err, func() string {
				u, tags, boundary, groups := out.User, map[string]string{}, "-", []string{}
				for _, t := range u.Tags {
					tags[*t.Key] = *t.Value
				}
				if u.PermissionsBoundary != nil {
					boundary = *u.PermissionsBoundary.PermissionsBoundaryArn
				}
				in, err := k.iam.ListGroupsForUser(k.Context(), &iam.ListGroupsForUserInput{UserName: u.UserName})
				k.must(err)
				for _, g := range in.Groups {
					groups = append(groups, *g.GroupName)
				}
				return fmt.Sprintf("%s boundary=%s %v %s tags=%s", *u.Path, boundary, groups, k.held("User", *u.UserName), k.users(tags))
			})
		},
		properties: `{"Path":"/app/","Groups":["one"],"ManagedPolicyArns":["` + basic + `"],"Policies":[{"PolicyName":"own","PolicyDocument":` + reads + `}],"Tags":[{"Key":"team","Value":"db"}]}`,
		want:       `/app/ boundary=- [one] [AWSLambdaBasicExecutionRole][own:GetSecretValue] tags=map[team:db]`,
		attributes: map[string]string{"Ref": "shop-Thing-*", "Arn": "arn:aws:iam::123456789012:user/app/$ID"}, unchanging: []string{"LoginProfile"},
		updates: []change{
			{
				"everything", `{"Groups":["two"],"PermissionsBoundary":"` + basic + `","Policies":[{"PolicyName":"own","PolicyDocument":` + writes + `}],"Tags":[{"Key":"a","Value":"b"}]}`,
				`/ boundary=` + basic + ` [two] [][own:PutSecretValue] tags=map[a:b]`,
			},
			{"nothing", `{"Path":"/x/"}`, `/x/ boundary=- [] [][] tags=map[]`},
		},
		refused: []refusal{
			{"a login", `{"LoginProfile":{"Password":"x"}}`, resource.InvalidRequest, "LoginProfile is not supported by this server."},
			{"a missing group", `{"Groups":["one","none"],"ManagedPolicyArns":["` + basic + `"]}`, resource.NotFound, "The group with name none cannot be found."},
		},
	}
}

func (k *kit) newGroup(name string) {
	k.Helper()
	_, err := k.iam.CreateGroup(k.Context(), &iam.CreateGroupInput{GroupName: &name})
	k.must(err)
}

func groupScenario() scenario {
	return scenario{
		typ: "AWS::IAM::Group",
		look: func(k *kit, res resource.Result) string {
			out, err := k.iam.GetGroup(k.Context(), &iam.GetGroupInput{GroupName: &res.PhysicalID})
			return seen(err, func() string { return *out.Group.Path + " " + k.held("Group", *out.Group.GroupName) })
		},
		properties: `{"ManagedPolicyArns":["` + basic + `"],"Policies":[{"PolicyName":"own","PolicyDocument":` + reads + `}]}`,
		want:       `/ [AWSLambdaBasicExecutionRole][own:GetSecretValue]`,
		attributes: map[string]string{"Ref": "shop-Thing-*", "Arn": "arn:aws:iam::123456789012:group/$ID"},
		updates:    []change{{"everything", `{"Path":"/app/","ManagedPolicyArns":["` + vpc + `"]}`, `/app/ [AWSLambdaVPCAccessExecutionRole][]`}},
		refused: []refusal{{
			"a broken policy", `{"ManagedPolicyArns":["` + basic + `"],"Policies":[{"PolicyName":"bad","PolicyDocument":` + broken + `}]}`, resource.InvalidRequest,
			"Policy statement must contain resources.",
		}},
	}
}

func additionScenario() scenario {
	return scenario{
		typ: "AWS::IAM::UserToGroupAddition",
		setup: func(k *kit) map[string]string {
			k.newGroup("one")
			k.newGroup("two")
			k.newUser("ann")
			k.newUser("bob")
			return nil
		},
		look: func(k *kit, _ resource.Result) string {
			list := "members"
			for _, name := range []string{"one", "two"} {
				out, err := k.iam.GetGroup(k.Context(), &iam.GetGroupInput{GroupName: &name})
				k.must(err)
				for _, u := range out.Users {
					list += " " + name + "=" + *u.UserName
				}
			}
			return list
		},
		properties: `{"GroupName":"one","Users":["ann"]}`, want: "members one=ann", after: "members",
		updates: []change{
			{"users", `{"GroupName":"one","Users":["bob"]}`, "members one=bob"},
			{"group", `{"GroupName":"two","Users":["bob","ann"]}`, "members two=ann two=bob"},
			{"to be left", `{"GroupName":"two","Users":["ann"]}`, "members two=ann"},
		},
		refused: []refusal{{"a missing user", `{"GroupName":"one","Users":["ann","none"]}`, resource.NotFound, "The user with name none cannot be found."}},
	}
}

func policyScenario() scenario {
	return scenario{
		typ: "AWS::IAM::Policy",
		setup: func(k *kit) map[string]string {
			k.newGroup("team")
			k.newUser("ann")
			return nil
		},
		look: func(k *kit, _ resource.Result) string {
			return k.held("Role", "execution") + k.held("User", "ann") + k.held("Group", "team")
		},
		properties: `{"PolicyName":"own","PolicyDocument":` + reads + `,"Roles":["execution"],"Users":["ann"]}`,
		want:       "[][own:GetSecretValue][][own:GetSecretValue][][]", after: "[][][][][][]", attributes: map[string]string{"Ref": "shop-Thing-*", "Id": "$ID"},
		updates: []change{
			{"document and holders", `{"PolicyName":"own","PolicyDocument":` + writes + `,"Roles":["execution"],"Groups":["team"]}`, "[][own:PutSecretValue][][][][own:PutSecretValue]"},
			{"name", `{"PolicyName":"new","PolicyDocument":` + writes + `,"Roles":["execution"],"Groups":["team"]}`, "[][new:PutSecretValue][][][][new:PutSecretValue]"},
			{"roles", `{"PolicyName":"new","PolicyDocument":` + writes + `,"Groups":["team"]}`, "[][][][][][new:PutSecretValue]"},
		},
		refused: []refusal{
			{"no holder", `{"PolicyName":"own","PolicyDocument":` + reads + `}`, resource.InvalidRequest, "At least one of [Groups,Roles,Users] must be non-empty."},
			{"a missing holder", `{"PolicyName":"own","PolicyDocument":` + reads + `,"Roles":["execution"],"Users":["none"]}`, resource.NotFound, "The user with name none cannot be found."},
		},
	}
}

func ownPolicyScenario(kind, name string) scenario {
	s := scenario{
		typ: "AWS::IAM::" + kind + "Policy",
		setup: func(k *kit) map[string]string {
			k.newGroup("team")
			k.newUser("ann")
			return nil
		},
		look:       func(k *kit, _ resource.Result) string { return k.held(kind, name) },
		properties: `{"PolicyName":"own","PolicyDocument":` + reads + `,"` + kind + `Name":"` + name + `"}`, want: "[][own:GetSecretValue]", after: "[][]",
		attributes: map[string]string{"Ref": "own|" + name},
		updates:    []change{{"document", `{"PolicyName":"own","PolicyDocument":` + writes + `,"` + kind + `Name":"` + name + `"}`, "[][own:PutSecretValue]"}},
	}
	if kind == "Role" {
		s.refused = []refusal{{"a missing holder", `{"PolicyName":"own","PolicyDocument":` + reads + `,"RoleName":"none"}`, resource.NotFound, "The role with name none cannot be found."}}
	}
	return s
}

func managedPolicyScenario() scenario {
	return scenario{
		typ: "AWS::IAM::ManagedPolicy",
		setup: func(k *kit) map[string]string {
			k.newGroup("team")
			k.newUser("ann")
			return nil
		},
		look: func(k *kit, res resource.Result) string {
			p, err := k.iam.GetPolicy(k.Context(), &iam.GetPolicyInput{PolicyArn: &res.PhysicalID})
			return seen(err, func() string {
				v, err := k.iam.GetPolicyVersion(k.Context(), &iam.GetPolicyVersionInput{PolicyArn: &res.PhysicalID, VersionId: p.Policy.DefaultVersionId})
				k.must(err)
				holders := 0
				for _, held := range []string{k.held("Role", "execution"), k.held("User", "ann"), k.held("Group", "team")} {
					holders *= 10
					if held == "["+*p.Policy.PolicyName+"][]" {
						holders++
					}
				}
				return fmt.Sprint(k.action(*v.PolicyVersion.Document), " ", text(p.Policy.Description), " ", *p.Policy.AttachmentCount, " ", holders)
			})
		},
		properties: `{"PolicyDocument":` + reads + `,"Description":"first","Path":"/app/","Roles":["execution"]}`, want: "GetSecretValue first 1 100",
		attributes: map[string]string{"Ref": "arn:aws:iam::123456789012:policy/app/shop-Thing-*", "PolicyArn": "$ID", "PolicyId": "ANPA*", "DefaultVersionId": "v1"},
		updates: []change{
			{"document and holders", `{"PolicyDocument":` + writes + `,"Description":"first","Path":"/app/","Users":["ann"],"Groups":["team"]}`, "PutSecretValue first 2 11"},
			{"2", `{"PolicyDocument":` + reads + `,"Description":"first","Path":"/app/","Users":["ann"],"Groups":["team"]}`, "GetSecretValue first 2 11"},
			{"3", `{"PolicyDocument":` + writes + `,"Description":"first","Path":"/app/","Roles":["execution"]}`, "PutSecretValue first 1 100"},
			{"4", `{"PolicyDocument":` + reads + `,"Description":"first","Path":"/app/","Roles":["execution"]}`, "GetSecretValue first 1 100"},
			{"5", `{"PolicyDocument":` + writes + `,"Description":"first","Path":"/app/","Roles":["execution"]}`, "PutSecretValue first 1 100"},
		},
		refused: []refusal{
			{"a broken document", `{"PolicyDocument":` + broken + `}`, resource.InvalidRequest, "Policy statement must contain resources."},
			{"a missing holder", `{"PolicyDocument":` + reads + `,"Roles":["execution"],"Users":["none"]}`, resource.NotFound, "The user with name none cannot be found."},
		},
	}
}

// The secret of an access key is seen once, so a repeated creation makes
// another key.
func TestAccessKey(t *testing.T) {
	k := newKit(t)
	k.newUser("ann")
	h := resource.Lookup("AWS::IAM::AccessKey")
	r := k.request(`{"UserName":"ann"}`)
	lost, err := crash(t.Context(), h, r)
	k.must(err)
	r.Resumed, r.PhysicalID = true, lost
	res, err := h.Create(t.Context(), r)
	k.must(err)
	keys := func() string {
		out, err := k.iam.ListAccessKeys(t.Context(), &iam.ListAccessKeysInput{UserName: new("ann")})
		k.must(err)
		list := ""
		for _, m := range out.AccessKeyMetadata {
			list += *m.AccessKeyId + string(m.Status)
		}
		return list
	}
	if got, want := keys(), res.PhysicalID+"Active"; got != want || lost == res.PhysicalID {
		t.Errorf("created after a crash: got %s, want %s alone, not %s", got, want, lost)
	}
	if secret, _ := res.Attributes["SecretAccessKey"].(string); len(secret) != 40 || res.RefValue() != res.PhysicalID {
		t.Errorf("the secret has %d characters and Ref gives %s", len(secret), res.RefValue())
	}
	r.PhysicalID, r.Previous, r.Properties = res.PhysicalID, r.Properties, k.tree(`{"UserName":"ann","Status":"Inactive"}`)
	if again, err := h.Update(t.Context(), r); err != nil || again.Attributes != nil {
		t.Errorf("updating: %v, attributes %v", err, len(again.Attributes))
	}
	if got, want := keys(), res.PhysicalID+"Inactive"; got != want {
		t.Errorf("updated: got %s, want %s", got, want)
	}
	for range 2 {
		k.must(h.Delete(t.Context(), r))
	}
	if got := keys(); got != "" {
		t.Errorf("deleted: got %s", got)
	}
}
