package gather

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/doctor"
)

// role reads the function's execution role, its policies, and what they let
// it do.
func (l *look) role(ctx context.Context) {
	roleARN := l.e.Function.RoleARN
	name := roleName(roleARN)
	if name == "" {
		return
	}
	l.tell("role")
	r := &doctor.Role{ARN: roleARN}
	out, err := l.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	switch {
	case is(err, "NoSuchEntity", "NoSuchEntityException"):
		l.note(func(e *doctor.Evidence) { e.Role = r })
		return
	case !l.gap(err, "iam:GetRole", roleARN, "whom the role trusts") && out.Role != nil:
		r.Found, r.Trust = true, document(out.Role.AssumeRolePolicyDocument)
	}
	whole := false
	l.together(ctx,
		func(ctx context.Context) { r.Statements, whole = l.policies(ctx, roleARN, name) },
		func(ctx context.Context) { r.Decisions = l.simulations(ctx, roleARN, l.questions()) })
	if whole && r.Found && out.Role.PermissionsBoundary == nil {
		l.statements = r.Statements
	}
	if len(r.Decisions) == 0 {
		r.Decisions = l.evaluate(l.questions())
	}
	r.Found = r.Found || len(r.Statements) > 0 || len(r.Decisions) > 0
	l.note(func(e *doctor.Evidence) { e.Role = r })
}

// roleName is the name in a role's ARN, without its path.
func roleName(roleARN string) string {
	a, ok := arn.Parse(roleARN)
	if !ok || !strings.HasPrefix(a.Resource, "role/") {
		return ""
	}
	return a.Resource[strings.LastIndexByte(a.Resource, '/')+1:]
}

// document is a policy as IAM sends it: escaped like a part of a URL (AWS
// docs).
func document(escaped *string) string {
	text, err := url.QueryUnescape(strings.ReplaceAll(aws.ToString(escaped), "+", "%2B"))
	if err != nil {
		return aws.ToString(escaped)
	}
	return text
}

// policies reads the documents of a role's policies, by name or ARN; whole
// tells whether all could be read.
func (l *look) policies(ctx context.Context, roleARN, name string) (found map[string]string, whole bool) {
	const missing = "what the role's policies say"
	var mu sync.Mutex
	found = map[string]string{}
	failed := false
	fail := func() {
		mu.Lock()
		defer mu.Unlock()
		failed = true
	}
	keep := func(name, text string) {
		mu.Lock()
		defer mu.Unlock()
		found[name] = text
	}
	l.together(ctx, func(ctx context.Context) {
		list, err := l.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &name})
		if l.gap(err, "iam:ListRolePolicies", roleARN, missing) {
			fail()
			return
		}
		var parts []part
		for _, policy := range list.PolicyNames {
			parts = append(parts, func(ctx context.Context) {
				out, err := l.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &policy})
				if l.gap(err, "iam:GetRolePolicy", roleARN, missing) {
					fail()
					return
				}
				keep(policy, document(out.PolicyDocument))
			})
		}
		l.together(ctx, parts...)
	}, func(ctx context.Context) {
		list, err := l.iam.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
		if l.gap(err, "iam:ListAttachedRolePolicies", roleARN, missing) {
			fail()
			return
		}
		var parts []part
		for _, attached := range list.AttachedPolicies {
			parts = append(parts, func(ctx context.Context) {
				text, ok := l.managed(ctx, aws.ToString(attached.PolicyArn))
				if !ok {
					fail()
					return
				}
				keep(aws.ToString(attached.PolicyArn), text)
			})
		}
		l.together(ctx, parts...)
	})
	return found, !failed
}

// managed reads the default version of a managed policy.
func (l *look) managed(ctx context.Context, policyARN string) (text string, ok bool) {
	const missing = "what the role's managed policies say"
	p, err := l.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &policyARN})
	if l.gap(err, "iam:GetPolicy", policyARN, missing) || p.Policy == nil {
		return "", false
	}
	v, err := l.iam.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &policyARN, VersionId: p.Policy.DefaultVersionId})
	if l.gap(err, "iam:GetPolicyVersion", policyARN, missing) || v.PolicyVersion == nil {
		return "", false
	}
	return document(v.PolicyVersion.Document), true
}

// question is some actions on one resource, with the condition keys that such
// calls of a rotation function have.
type question struct {
	actions  []string
	resource string
	context  map[string]string
}

// questions are the calls of a rotation function (AWS docs): on the secret, and
// what has no resource of its own. Those on keys and on the superuser's secret
// follow once these are known.
func (l *look) questions() []question {
	secret := l.e.Secret.ARN // not the whole: other parts are just being written
	all := []question{
		{secretActions, secret, l.secretContext()},
		{[]string{"secretsmanager:GetRandomPassword"}, "*", nil},
	}
	if f := l.e.Function; f != nil {
		group := l.logARN(f.LogGroup)
		all = append(all, question{[]string{"logs:CreateLogStream", "logs:PutLogEvents"}, group, nil})
		if f.VPCID != "" {
			all = append(all, question{[]string{"ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface"}, "*", nil})
		}
	}
	return all
}

// secretActions are what a rotation function does with its secret.
var secretActions = []string{
	"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage",
}

// secretContext has the condition keys of calls on the secret; the roles that
// AWS's applications make ask for the first.
func (l *look) secretContext() map[string]string {
	c := map[string]string{"secretsmanager:resource/AllowRotationLambdaArn": l.e.Secret.FunctionARN}
	for k, v := range l.e.Secret.Tags {
		c["secretsmanager:ResourceTag/"+k] = v
		c["aws:ResourceTag/"+k] = v
	}
	if f := l.e.Function; f != nil {
		c["lambda:SourceFunctionArn"] = unqualified(f.ARN)
	}
	return c
}

// keyDecisions asks whether the role may use the secret's key. AWS's own key
// needs no permission in its account.
func (l *look) keyDecisions(ctx context.Context) {
	if k := l.e.Key; k != nil && k.Found && k.Manager != "AWS" {
		l.decide(ctx, l.keyQuestion(k.ID, l.e.Secret.ARN, "kms:Decrypt", "kms:GenerateDataKey"))
	}
}

// keyQuestion asks for a key, by its ARN, with the encryption context of a
// secret.
func (l *look) keyQuestion(keyARN, secretARN string, actions ...string) question {
	return question{actions, keyARN, map[string]string{
		"kms:EncryptionContext:SecretARN": secretARN,
		"kms:ViaService":                  "secretsmanager." + l.e.Region + ".amazonaws.com",
		"kms:CallerAccount":               l.e.Account,
	}}
}

// decide adds the answers to more questions to the role's.
func (l *look) decide(ctx context.Context, questions ...question) {
	if l.e.Role == nil || !l.e.Role.Found || len(questions) == 0 {
		return
	}
	answers := l.simulations(ctx, l.e.Role.ARN, questions)
	if len(answers) == 0 {
		answers = l.evaluate(questions)
	}
	l.note(func(e *doctor.Evidence) { e.Role.Decisions = append(e.Role.Decisions, answers...) })
}

// simulations asks IAM whether the role may.
func (l *look) simulations(ctx context.Context, roleARN string, questions []question) []doctor.Decision {
	answers := make([][]doctor.Decision, len(questions))
	var parts []part
	for i, q := range questions {
		parts = append(parts, func(ctx context.Context) { answers[i] = l.simulate(ctx, roleARN, q) })
	}
	l.together(ctx, parts...)
	return slices.Concat(answers...)
}

func (l *look) simulate(ctx context.Context, roleARN string, q question) []doctor.Decision {
	in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &roleARN, ActionNames: q.actions, ResourceArns: []string{q.resource}}
	for k, v := range q.context {
		if v != "" {
			in.ContextEntries = append(in.ContextEntries, iamtypes.ContextEntry{
				ContextKeyName: &k, ContextKeyType: iamtypes.ContextKeyTypeEnumString, ContextKeyValues: []string{v},
			})
		}
	}
	out, err := l.iam.SimulatePrincipalPolicy(ctx, in)
	if l.gap(err, "iam:SimulatePrincipalPolicy", roleARN, "whether the role's policies allow the function's calls") {
		return nil
	}
	var all []doctor.Decision
	for _, r := range out.EvaluationResults {
		d := doctor.Decision{Action: aws.ToString(r.EvalActionName), Resource: q.resource, Decision: string(r.EvalDecision)}
		for _, s := range r.MatchedStatements {
			if id := aws.ToString(s.SourcePolicyId); id != "" && !slices.Contains(d.MatchedBy, id) {
				d.MatchedBy = append(d.MatchedBy, id)
			}
		}
		if b := r.PermissionsBoundaryDecisionDetail; b != nil {
			d.Boundary = !b.AllowedByPermissionsBoundary
		}
		all = append(all, d)
	}
	return all
}
