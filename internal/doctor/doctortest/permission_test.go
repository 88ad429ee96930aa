package doctortest

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
)

// bare is a patient without a database.
var bare = plan{code: plain}

func denyTo(p *patient, action string, condition map[string]map[string]string) {
	if condition == nil {
		condition = map[string]map[string]string{}
	}
	condition["ArnNotEquals"] = map[string]string{"aws:PrincipalArn": "arn:aws:iam::" + apitest.Account + ":root"}
	p.resourcePolicy(statement{Effect: "Deny", Principal: "*", Action: action, Resource: "*", Condition: condition})
}

func (p *patient) dropResourcePolicy() {
	p.t.Helper()
	_, err := p.Secrets.DeleteResourcePolicy(p.t.Context(), &secretsmanager.DeleteResourcePolicyInput{SecretId: &p.secret})
	p.must(err)
}

func lacks(action string) func(*patient) { return func(p *patient) { p.without(action) } }

// permissionFaults are those of policies.
func permissionFaults() []fault {
	return slices.Concat(invokeFaults(), roleFaults(), keyFaults(), endpointFaults())
}

func invokeFaults() []fault {
	// once lets a rotation pass first: what is refused later names a function.
	once := func(then func(*patient)) func(*patient) {
		return func(p *patient) {
			p.rotates()
			then(p)
		}
	}
	permitted := func(more func(*patient, *lambda.AddPermissionInput)) func(*patient) {
		return func(p *patient) {
			p.rotates()
			p.forbid()
			p.permit(func(in *lambda.AddPermissionInput) { more(p, in) })
		}
	}
	return []fault{
		{name: "no statement for Secrets Manager in the function's policy", code: "D20", plan: bare, ill: once((*patient).forbid)},
		{name: "the statement names another account", code: "D20", plan: bare,
			ill: permitted(func(_ *patient, in *lambda.AddPermissionInput) { in.SourceAccount = new("999999999999") })},
		{name: "the statement names another secret", code: "D20", plan: bare,
			ill: permitted(func(p *patient, in *lambda.AddPermissionInput) { in.SourceArn = new(p.secret + "x") })},
		{name: "the function has been deleted", code: "D20", plan: bare,
			ill: once(func(p *patient) {
				_, err := p.Lambda.DeleteFunction(p.t.Context(), &lambda.DeleteFunctionInput{FunctionName: &p.function})
				p.must(err)
			}),
			cure: func(p *patient) {
				f := plain(p.t, p.name)
				_, err := p.Lambda.CreateFunction(p.t.Context(), f.Input("arn:aws:iam::"+apitest.Account+":role/"+p.role))
				p.must(err)
				p.permit(nil)
				p.reconfigure(lambda.UpdateFunctionConfigurationInput{})
			}},
		{name: "the permission was taken away while the rotation ran", code: "D20",
			plan: plan{code: saying("createSecret", "time.sleep(2)")},
			act: func(p *patient) {
				p.must(p.configure(nil))
				p.forbid()
				p.follow()
			}},
		{name: "the role's trust policy does not let Lambda take it on", code: "K06", plan: bare,
			ill: func(p *patient) {
				p.trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
			},
			cure: func(p *patient) { p.trust(apitest.TrustPolicy) }},
	}
}

func (p *patient) trust(policy string) {
	p.t.Helper()
	_, err := p.IAM.UpdateAssumeRolePolicy(p.t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: &p.role, PolicyDocument: &policy})
	p.must(err)
}

func roleFaults() []fault {
	return []fault{
		{name: "the role lacks DescribeSecret", code: "D04", plan: bare, ill: lacks("DescribeSecret"), cure: (*patient).recover},
		{name: "the role lacks GetSecretValue", code: "D04", plan: bare, ill: lacks("GetSecretValue"), cure: (*patient).recover},
		{name: "the role lacks PutSecretValue", code: "D04", plan: bare, ill: lacks("PutSecretValue"), cure: (*patient).recover},
		{name: "the role lacks GetRandomPassword", code: "D04", plan: bare,
			ill: func(p *patient) {
				all := p.rights()
				p.give(all[0], all[2], all[3])
			},
			cure: (*patient).recover},
		{name: "the role names the secret without its suffix", code: "D04", plan: bare,
			ill: func(p *patient) {
				all := p.rights()
				all[0].Resource = p.secret[:len(p.secret)-len("-XXXXXX")]
				p.give(all...)
			},
			cure: func(p *patient) {
				all := p.rights()
				all[0].Resource = p.secret[:len(p.secret)-len("XXXXXX")] + "??????"
				p.give(all...)
			}},
		{name: "the secret's own policy denies", code: "D04", plan: bare,
			ill: func(p *patient) { denyTo(p, "secretsmanager:GetSecretValue", nil) }, cure: (*patient).dropResourcePolicy},
		{name: "the role lacks UpdateSecretVersionStage", code: "D39", plan: bare, ill: lacks("UpdateSecretVersionStage"), cure: (*patient).recover},
	}
}

func keyFaults() []fault {
	return []fault{
		{name: "the key's policy leaves the role out", code: "D03", plan: bare,
			ill: func(p *patient) { p.keyPolicy(false) }, cure: func(p *patient) { p.keyPolicy(true) }},
		{name: "the role's statement on the key names another secret", code: "D03", plan: bare,
			ill: func(p *patient) {
				all := p.rights()
				all[3].Condition = map[string]map[string]string{"StringEquals": {"kms:EncryptionContext:SecretARN": p.secret + "x"}}
				p.give(all...)
			},
			cure: (*patient).recover},
		{name: "the role may not use the key", code: "D03", plan: bare,
			ill: func(p *patient) { p.give(p.rights()[:3]...) }, cure: (*patient).recover},
		{name: "the key is disabled", code: "D03", plan: bare,
			ill: func(p *patient) {
				_, err := p.KMS.DisableKey(p.t.Context(), &kms.DisableKeyInput{KeyId: &p.key})
				p.must(err)
			},
			cure: func(p *patient) {
				_, err := p.KMS.EnableKey(p.t.Context(), &kms.EnableKeyInput{KeyId: &p.key})
				p.must(err)
			}},
	}
}

func endpointFaults() []fault {
	through := func(endpoint string) func(*patient) {
		return func(p *patient) { p.variables("SECRETS_MANAGER_ENDPOINT", p.EndpointURL(endpoint)) }
	}
	return []fault{
		{name: "the VPC endpoint's policy lets only reading pass", code: "D02", plan: bare, ill: through("vpce-reading"), cure: through("vpce-all")},
		{name: "the secret's policy wants another VPC endpoint", code: "D04", plan: bare,
			ill: func(p *patient) {
				denyTo(p, "secretsmanager:GetSecretValue", map[string]map[string]string{"StringNotEquals": {"aws:SourceVpce": "vpce-all"}})
			},
			cure: through("vpce-all")},
	}
}
