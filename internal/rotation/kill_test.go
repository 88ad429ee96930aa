package rotation_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotate"
)

// The server is killed at each boundary of each step. Whatever it leaves, a
// stored version logs in; once it is back, the rotation completes unaided.
func TestKilledAtEachBoundary(t *testing.T) {
	t.Parallel()
	for store, url := range map[string]func() string{"sqlite": func() string { return "" }, "postgres": func() string { return apitest.StoreURL(t) }} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.StoreURL = url()
			p := apitest.StartProcess(t, o)
			function := p.NewFunction(t, apitest.PythonRotation(t, "rotate"))
			for _, status := range []rotate.Status{rotate.Started, rotate.Done} {
				for _, step := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
					t.Run(fmt.Sprintf("%s-%s", step, status), func(t *testing.T) { killAt(t, p, function, step, status) })
				}
			}
		})
	}
}

func killAt(t *testing.T, p *apitest.Process, function, step string, status rotate.Status) {
	w := newWorld(t, p.Server)
	_, err := w.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &w.arn, RotationLambdaARN: &function, RotateImmediately: aws.Bool(false),
		RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("the configuration test ends", func() bool { return len(w.holders()["AWSPENDING"]) == 0 })
	r, err := rotate.Start(t.Context(), rotate.NewClients(w.Config), w.arn)
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	_ = r.Watch(ctx, func(l rotate.Line) { // ends by the kill
		if l.Report != nil && l.Report.Step == step && l.Report.Status == status && !seen {
			seen = true
			p.Kill()
			stop()
		}
	})
	if !seen {
		t.Fatalf("the rotation did not get to %s %s", step, status)
	}
	p.Restart()
	if !w.someVersionLogsIn(r.Token) {
		t.Error("no stored version logs in after the kill")
	}
	w.eventually("the rotation completes", func() bool {
		current := w.holders()["AWSCURRENT"]
		return len(current) == 1 && current[0] == r.Token && len(w.holders()["AWSPENDING"]) == 0
	})
	w.proveRotated(w.user.Password)
}

// someVersionLogsIn tries the values of the current version and of the
// rotation's, as an operator would.
func (w *world) someVersionLogsIn(token string) bool {
	w.t.Helper()
	for _, in := range []*secretsmanager.GetSecretValueInput{{SecretId: &w.arn}, {SecretId: &w.arn, VersionId: &token}} {
		out, err := w.Secrets.GetSecretValue(w.t.Context(), in)
		if err == nil && w.user.Login(w.t.Context(), apitest.PasswordIn(w.t, *out.SecretString)) == nil {
			return true
		}
	}
	return false
}
