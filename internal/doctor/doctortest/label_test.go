package doctortest

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
)

// slow is a patient whose function takes its time in a step.
func slow(step string) plan { return doing(step, "time.sleep(2)") }

// during starts a rotation, and does something while its function sleeps.
func during(act func(*patient)) func(*patient) {
	return func(p *patient) {
		p.must(p.configure(nil))
		p.waitFor("the step runs", func() bool { return p.holder("AWSPENDING") != "" })
		time.Sleep(time.Second)
		act(p)
		p.follow()
	}
}

// asked is a request that is refused.
func asked(in secretsmanager.RotateSecretInput) func(*patient) {
	return func(p *patient) {
		p.asked = time.Now()
		in.SecretId = &p.secret
		if in.RotationLambdaARN != nil {
			in.RotationLambdaARN = &p.function
		}
		_, p.refused = p.Secrets.RotateSecret(p.t.Context(), &in)
		if p.refused == nil {
			p.t.Fatal("the request was not refused")
		}
	}
}

// labelFaults are those of requests, labels and other writers.
func labelFaults() []fault {
	nothing := func(*patient) {}
	return []fault{
		{name: "rotation was never configured", code: "D21", plan: bare, act: asked(secretsmanager.RotateSecretInput{}), cure: nothing},
		{name: "the schedule starts off the hour", code: "D24", plan: bare,
			act: asked(secretsmanager.RotateSecretInput{
				RotationLambdaARN: aws.String(""), RotationRules: &smtypes.RotationRulesType{ScheduleExpression: aws.String("cron(5 8 * * ? *)")}}),
			cure: nothing},
		{name: "a number of days and an expression", code: "D25", plan: bare,
			act: asked(secretsmanager.RotateSecretInput{
				RotationLambdaARN: aws.String(""),
				RotationRules:     &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(3), ScheduleExpression: aws.String("rate(3 days)")}}),
			cure: nothing},
		{name: "who asks for rotation may not", code: "D23", plan: bare,
			act: func(p *patient) {
				user := p.NewUser(p.t, p.name+"-user")
				p.asked = time.Now()
				_, p.refused = secretsmanager.NewFromConfig(user).RotateSecret(p.t.Context(), &secretsmanager.RotateSecretInput{
					SecretId: &p.secret, RotationLambdaARN: &p.function})
			},
			cure: nothing},
		{name: "the secret is being deleted", code: "D26", plan: bare,
			act: func(p *patient) {
				p.must(p.configure(nil))
				p.follow()
				_, err := p.Secrets.DeleteSecret(p.t.Context(), &secretsmanager.DeleteSecretInput{SecretId: &p.secret})
				p.must(err)
				p.refused = p.configure(nil)
			},
			cure: func(p *patient) {
				_, err := p.Secrets.RestoreSecret(p.t.Context(), &secretsmanager.RestoreSecretInput{SecretId: &p.secret})
				p.must(err)
			}},
		{name: "somebody puts a value while it rotates", code: "D43", plan: slow("setSecret"),
			act: during(func(p *patient) { p.put("by hand, meanwhile") }), cure: nothing},
		{name: "somebody removes AWSPENDING while it rotates", code: "D40", plan: slow("setSecret"),
			act: during((*patient).unlabel), cure: recoded},
		{name: "somebody cancels rotation while it runs", code: "D41", plan: slow("setSecret"),
			act: during(func(p *patient) {
				_, err := p.Secrets.CancelRotateSecret(p.t.Context(), &secretsmanager.CancelRotateSecretInput{SecretId: &p.secret})
				p.must(err)
			}),
			cure: (*patient).unlabel},
		{name: "somebody stored a version under AWSPENDING", code: "D22", plan: bare,
			act: func(p *patient) {
				p.rotates()
				_, err := p.Secrets.PutSecretValue(p.t.Context(), &secretsmanager.PutSecretValueInput{
					SecretId: &p.secret, SecretString: aws.String("by hand"), VersionStages: []string{"AWSPENDING"}})
				p.must(err)
				p.refused = p.configure(nil)
			},
			cure: (*patient).unlabel},
	}
}

func (p *patient) waitFor(what string, holds func() bool) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("still waiting: %s", what)
		}
	}
}
