package doctortest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/rotate"
)

// shape is a way in which a rotation may be well.
type shape struct {
	name string
	plan plan
	// before is done before it rotates, after once it has.
	before, after func(*patient)
	probe         bool
}

// shapes are different functions, secrets and pasts.
func shapes() []shape {
	schedule := func(r smtypes.RotationRulesType) plan { return plan{code: plain, rules: &r} }
	cured := func(ill, cure func(*patient)) func(*patient) {
		return func(p *patient) {
			ill(p)
			p.rotate(nil)
			cure(p)
			p.rotates()
		}
	}
	return []shape{
		{name: "Python, no database", plan: bare},
		{name: "Python, PostgreSQL"},
		{name: "Python, PostgreSQL, logins tried", probe: true},
		{name: "built-in, single user", plan: plan{code: builtinCode("postgres.single")}},
		{name: "built-in, single user, logins tried", plan: plan{code: builtinCode("postgres.single")}, probe: true},
		{name: "built-in, alternating users", plan: alternating(nil)},
		{name: "built-in, alternating users, twice", plan: alternating(nil), before: (*patient).rotates},
		{name: "built-in, alternating users, logins tried", plan: alternating(nil), probe: true},
		{name: "rate of hours", plan: schedule(smtypes.RotationRulesType{ScheduleExpression: aws.String("rate(4 hours)")})},
		{name: "cron with a window", plan: schedule(smtypes.RotationRulesType{ScheduleExpression: aws.String("cron(0 8 1 * ? *)"), Duration: aws.String("3h")})},
		{name: "every thousand days", plan: schedule(smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(1000)})},
		{name: "a policy of the secret", plan: bare, before: func(p *patient) {
			denyTo(p, "secretsmanager:DeleteSecret", nil)
		}},
		{name: "reserved concurrency of 2", plan: bare, before: func(p *patient) {
			_, err := p.Lambda.PutFunctionConcurrency(p.t.Context(), &lambda.PutFunctionConcurrencyInput{FunctionName: &p.function, ReservedConcurrentExecutions: aws.Int32(2)})
			p.must(err)
		}},
		{name: "permission for the one secret", plan: bare, before: func(p *patient) {
			p.forbid()
			p.permit(func(in *lambda.AddPermissionInput) { in.SourceAccount, in.SourceArn = nil, &p.secret })
		}},
		{name: "the role names the secret with question marks", plan: bare, before: func(p *patient) {
			all := p.rights()
			all[0].Resource = p.secret[:len(p.secret)-len("XXXXXX")] + "??????"
			p.give(all...)
		}},
		{name: "the key's policy names the role", plan: bare, before: func(p *patient) {
			p.keyPolicy(false, statement{Principal: map[string]string{"AWS": "arn:aws:iam::" + apitest.Account + ":role/" + p.role},
				Action: []string{"kms:Decrypt", "kms:GenerateDataKey"}, Resource: "*"})
		}},
		{name: "a function that logs much", plan: doing("createSecret", "for i in range(500): print('line', i)")},
		{name: "a slow function", plan: doing("setSecret", "time.sleep(1)")},
		{name: "a function that logs harmless errors", plan: doing("setSecret", "print('[INFO] retried after Connection refused, fine now')")},
		{name: "a value put by hand before", plan: bare, before: func(p *patient) { p.put("by hand") }},
		{name: "a value put by hand after", plan: bare, after: func(p *patient) { p.put("by hand") }},
		{name: "three rotations in a row", plan: bare, before: func(p *patient) { p.rotates(); p.rotates() }},
		{name: "a failure that was cured", plan: bare, before: cured(lacks("PutSecretValue"), (*patient).recover)},
		{name: "a login that was cured", before: cured(altered("NOLOGIN"), restored)},
		{name: "a rotation that was given up, and another", plan: slow("setSecret"), before: during(func(p *patient) { p.put("by hand") })},
	}
}

// healthyRotations is how many rotations of all shapes there are.
const healthyRotations = 100

// The doctor finds nothing in rotations that are well, whatever their shape.
func TestHealthy(t *testing.T) {
	if testing.Short() {
		t.Skip("a hundred rotations")
	}
	s := newServers(t)
	all := shapes()
	limit := make(chan struct{}, 3)
	for i, x := range all {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			limit <- struct{}{}
			defer func() { <-limit }()
			p := newPatient(t, s, fmt.Sprintf("well-%02d", i), x.plan)
			if x.before != nil {
				x.before(p)
			}
			for range (healthyRotations + len(all) - 1 - i) / len(all) {
				if got := p.rotate(x.plan.rules); got != rotate.Succeeded {
					t.Fatalf("the rotation %s: %v", got, p.refused)
				}
				if x.after != nil {
					x.after(p)
				}
				d, e := p.diagnose(x.probe)
				if report := p.outputs(d, e); len(d.Findings) > 0 || slices.ContainsFunc(d.Gaps, func(g doctor.Gap) bool { return !g.Denied }) {
					t.Fatalf("found %v in a rotation that is well:\n%s", codesOf(d), report)
				}
			}
		})
	}
}
