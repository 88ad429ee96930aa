package rotation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

const foreign = "999999999999"

// share lets a role of another account use the secret: by the secret's policy
// and by that of a key of its own, as the default key is for its account only.
func (b *bubble) share(roleARN string) {
	b.t.Helper()
	shared := func(actions string) string {
		return `{"Effect":"Allow","Principal":{"AWS":"` + roleARN + `"},"Action":` + actions + `,"Resource":"*"}`
	}
	own := `{"Effect":"Allow","Principal":{"AWS":"` + servicetest.Account + `"},"Action":"kms:*","Resource":"*"}`
	rec, err := key.NewRecord(b.t.Context(), b.Keeper, key.NewKey{
		Account: servicetest.Account, Region: servicetest.Region, Policy: `{"Version":"2012-10-17","Statement":[` + own + `,` + shared(`["kms:Decrypt","kms:GenerateDataKey"]`) + `]}`,
	}, time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	b.update(func(tx *store.Tx) error { return tx.SaveKey(rec) })
	_, err = b.service.UpdateSecret(b.t.Context(), b.call(), &api.UpdateSecretRequest{
		SecretId: &b.arn, KmsKeyId: new(rec.ARN()), ClientRequestToken: new(uuid.NewString()),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	policy := `{"Version":"2012-10-17","Statement":` +
		shared(`["secretsmanager:DescribeSecret","secretsmanager:GetSecretValue","secretsmanager:PutSecretValue","secretsmanager:UpdateSecretVersionStage"]`) + `}`
	_, err = b.service.PutResourcePolicy(b.t.Context(), b.call(), &api.PutResourcePolicyRequest{SecretId: &b.arn, ResourcePolicy: &policy})
	if err != nil {
		b.t.Fatal(err)
	}
}

// A function of another account is not recognised by its role: its rotation
// fails before the next step, unless it passes the RotationToken on.
func TestFunctionOfAnotherAccount(t *testing.T) {
	for name, passes := range map[string]bool{"without the token": false, "with the token": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				b.role, b.passToken = roleSession(t, foreign), passes
				b.function = b.addFunction(foreign, servicetest.Account)
				b.share(b.role.RoleARN)
				b.start()
				token := b.rotate(nil, true)
				b.until(time.Now().Add(10 * time.Second))
				if passes {
					if got := b.describe().VersionIdsToStages[token]; len(got) != 1 || got[0] != secret.Current {
						t.Errorf("the new version has labels %v", got)
					}
					if b.count("RotationSucceeded", b.arn) != 1 {
						t.Error("there is no RotationSucceeded")
					}
					return
				}
				text := "Pending secret version " + token + " for Secret " + b.arn + " was not created by Lambda " + b.function +
					". Remove the AWSPENDING staging label and restart rotation"
				if b.count("RotationFailed", text) == 0 {
					t.Errorf("no event says %q", text)
				}
				for _, e := range b.invocations() {
					if e.Step != secret.CreateSecret {
						t.Errorf("%s ran", e.Step)
					}
				}
			})
		})
	}
}

// Whoever turns rotation on needs the right to invoke the function, in another
// account from its policy too. Nobody learns which functions there are.
func TestRotateNeedsInvoke(t *testing.T) {
	inBubble(t, func(b *bubble) {
		const (
			annARN      = "arn:aws:iam::" + servicetest.Account + ":user/ann"
			rotate      = `{"Effect":"Allow","Action":"secretsmanager:RotateSecret","Resource":"*"}`
			noneARN     = "arn:aws:lambda:us-east-1:" + servicetest.Account + ":function:none"
			awayARN     = "arn:aws:lambda:us-east-1:" + foreign + ":function:rotate"
			refused     = "User: " + annARN + " is not authorized to perform: lambda:InvokeFunction on resource: "
			noPolicy    = " because no identity-based policy allows the lambda:InvokeFunction action"
			noGrant     = " because no resource-based policy allows the lambda:InvokeFunction action"
			notAdmitted = "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to the principal secretsmanager.amazonaws.com."
		)
		invoke := `,{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"*"}`
		b.addFunction(foreign)
		for _, tc := range []struct{ name, statements, function, want string }{
			{"without permission", rotate, bubbleFunction, refused + bubbleFunction + noPolicy},
			{"of another function", rotate + strings.Replace(invoke, `"Resource":"*"`, `"Resource":"`+noneARN+`"`, 1), bubbleFunction, refused + bubbleFunction + noPolicy},
			{"a missing function, without permission", rotate, noneARN, refused + noneARN + noPolicy},
			{"a missing function", rotate + invoke, noneARN, notAdmitted},
			{"another account's that does not admit the caller", rotate + invoke, awayARN, refused + awayARN + noGrant},
			{"another account's, without permission", rotate, awayARN, refused + awayARN + noPolicy},
			{"with permission", rotate + invoke, bubbleFunction, ""},
		} {
			call := b.call()
			call.Operation, call.Principal = "RotateSecret", servicetest.User(t, servicetest.Account, "ann", tc.statements)
			_, err := b.service.RotateSecret(t.Context(), call, &api.RotateSecretRequest{
				SecretId: &b.arn, ClientRequestToken: new(uuid.NewString()), RotationLambdaARN: &tc.function,
			})
			if tc.want == "" {
				if err != nil {
					t.Errorf("%s: %v", tc.name, err)
				}
				continue
			}
			if e, ok := err.(*fault.Error); !ok || e.Kind != fault.Denied || e.Message != tc.want {
				t.Errorf("%s:\ngot  %v\nwant %s", tc.name, err, tc.want)
			}
			if d := b.describe(); d.RotationLambdaARN != nil {
				t.Errorf("%s: the refused call stored %s", tc.name, *d.RotationLambdaARN)
			}
		}
	})
}
