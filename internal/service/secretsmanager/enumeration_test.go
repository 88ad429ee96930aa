package secretsmanager

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/trail"
)

// onSecret are the operations that take a SecretId, with the other members
// that they need.
func onSecret(b *bench) map[string]string {
	more := map[string]string{
		"PutResourcePolicy":            `,"ResourcePolicy":"{}"`,
		"ValidateResourcePolicy":       `,"ResourcePolicy":"{}"`,
		"RemoveRegionsFromReplication": `,"RemoveReplicaRegions":["eu-west-1"]`,
		"ReplicateSecretToRegions":     `,"AddReplicaRegions":[{"Region":"eu-west-1"}]`,
		"TagResource":                  `,"Tags":[{"Key":"team","Value":"blue"}]`,
		"UntagResource":                `,"TagKeys":["team"]`,
		"UpdateSecretVersionStage":     `,"VersionStage":"x"`,
		"PutSecretValue":               `,"SecretString":"y","ClientRequestToken":"` + tok("v2") + `"`,
		"UpdateSecret":                 `,"SecretString":"y","KmsKeyId":"alias/k","ClientRequestToken":"` + tok("v2") + `"`,
		"RotateSecret":                 `,"RotationLambdaARN":"` + function + `","ClientRequestToken":"` + tok("v2") + `"`,
		"DeleteSecret":                 `,"ForceDeleteWithoutRecovery":true`,
		"GetSecretValue":               `,"VersionStage":"AWSCURRENT"`,
	}
	list := map[string]string{}
	for _, op := range b.Wire().Model.Operations {
		switch op.Name {
		case "CreateSecret", "GetRandomPassword", "ListSecrets":
		case "BatchGetSecretValue":
			list[op.Name] = `{"SecretIdList":["{ID}"]}`
		default:
			list[op.Name] = `{"SecretId":"{ID}"` + more[op.Name] + `}`
		}
	}
	return list
}

// answered is all that somebody gets to know of a call: the answer, and the
// event in the trail of its account. What it was asked by is {ID}.
type answered struct {
	status  int
	headers string
	body    string
	event   trail.Event
}

func (b *bench) answered(c caller, operation, body, id string) answered {
	b.t.Helper()
	known := len(b.recorded)
	status, header, text := b.send(c, operation, strings.ReplaceAll(body, "{ID}", id))
	for _, name := range []string{"Date", "X-Amzn-Requestid", "X-Amzn-RequestId"} {
		header.Del(name)
	}
	if len(b.recorded) != known+1 {
		b.t.Errorf("%s: got %d events, want one", operation, len(b.recorded)-known)
		return answered{}
	}
	a := answered{status, fmt.Sprint(header), strings.ReplaceAll(string(text), id, "{ID}"), b.recorded[known]}
	a.event.ID, a.event.RequestID, a.event.Time, a.event.SourceIP = "", "", time.Time{}, ""
	a.event.ErrorMessage = strings.ReplaceAll(a.event.ErrorMessage, id, "{ID}")
	a.event.Request = json.RawMessage(strings.ReplaceAll(string(a.event.Request), id, "{ID}"))
	a.event.Principal.Identity = nil
	return a
}

// Nobody without the permission learns which secrets there are: the whole
// answer to every operation on one that exists is that to one that does not,
// however it is named, whatever its tags, its policy and its state.
func TestNoEnumeration(t *testing.T) {
	b := newBench(t)
	b.addKey(home, "k")
	const blue, elsewhere = `"Condition":{"StringEquals":{"aws:ResourceTag/team":"blue"}}`, `"Resource":"arn:aws:secretsmanager:*:*:secret:elsewhere/*"`
	callers := map[string]caller{
		"nobody":                b.user(account, "nobody", ""),
		"role":                  b.roleSession("worker", "AROAWORKER", `{"Effect":"Allow","Action":"kms:*","Resource":"*"}`),
		"other secrets only":    b.user(account, "other", `{"Effect":"Allow","Action":"*",`+elsewhere+`}`),
		"explicit deny":         b.user(account, "denied", everything+`,{"Effect":"Deny","Action":"*","Resource":"arn:aws:secretsmanager:*:*:secret:app/*"}`),
		"by tag":                b.user(account, "tag", `{"Effect":"Allow","Action":"*","Resource":"*",`+blue+`}`),
		"by tag, and against":   b.user(account, "against", `{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"red"}}}`),
		"by function":           b.user(account, "function", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"secretsmanager:resource/AllowRotationLambdaArn":"`+function+`x"}}}`),
		"by label":              b.user(account, "label", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"secretsmanager:VersionStage":"none"}}}`),
		"foreign root":          foreign,
		"foreign user":          b.user(stranger, "eve", everything),
		"foreign and powerless": b.user(stranger, "mallory", ""),
	}
	secrets := map[string]string{}
	for _, name := range []string{"app/plain", "app/ruled", "app/doomd", "app/turns", "app/locks"} {
		secrets[name] = b.create(name, "x")
		b.edit(home, name, func(s *secret.Secret) { s.Tags = []secret.Tag{{Key: "team", Value: "red"}} })
	}
	b.govern("app/ruled", `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalType":"Account"}}},
		{"Effect":"Deny","Principal":{"AWS":"`+stranger+`"},"Action":"*","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"*","Resource":"*"}`)
	b.ok("DeleteSecret", `{"SecretId":"app/doomd"}`)
	b.ok("RotateSecret", `{"SecretId":"app/turns","RotationLambdaARN":"`+function+`","ClientRequestToken":"`+tok("r")+`"}`)
	lock := b.addKey(home, "lock")
	b.ok("UpdateSecret", `{"SecretId":"app/locks","KmsKeyId":"alias/lock","ClientRequestToken":"`+tok("r")+`"}`)
	b.setKeyState(home, lock, key.Disabled)

	const missing = "app/noone"
	for who, c := range callers {
		for operation, body := range onSecret(b) {
			if reads := operation == "GetSecretValue" || operation == "BatchGetSecretValue"; who == "by label" && !reads {
				continue
			}
			for form, of := range map[string]func(name, address string) string{
				"name":        func(name, _ string) string { return name },
				"partial ARN": func(_, address string) string { return address[:len(address)-7] },
				"ARN":         func(_, address string) string { return address },
			} {
				if form == "name" && strings.HasPrefix(who, "foreign") {
					continue // it is about the caller's own account
				}
				want := b.answered(c, operation, body, of(missing, strings.Replace(secrets["app/plain"], "app/plain", missing, 1)))
				if !strings.Contains(want.body, "AccessDeniedException") {
					t.Errorf("%s, %s by %s: got %s, want a refusal", who, operation, form, want.body)
				}
				for name, address := range secrets {
					got := b.answered(c, operation, body, of(name, address))
					if diff := cmp.Diff(want, got, cmp.AllowUnexported(answered{})); diff != "" {
						t.Errorf("%s, %s of %s by %s (-missing +there):\n%s", who, operation, name, form, diff)
					}
				}
			}
		}
	}
}

// Who may do everything but what a secret's own policy forbids is told so:
// that a secret exists is no secret to it.
func TestDeniedByResourcePolicy(t *testing.T) {
	b := newBench(t)
	b.create("s", "x")
	ann := b.user(account, "ann", everything)
	b.govern("s", `{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::123456789012:user/ann"},"Action":"*","Resource":"*"}`)
	b.refusedAs(ann, "GetSecretValue", `{"SecretId":"s"}`, "AccessDeniedException",
		"User: arn:aws:iam::123456789012:user/ann is not authorized to perform: secretsmanager:GetSecretValue on resource: s with an explicit deny in a resource-based policy")
	b.refusedAs(ann, "GetSecretValue", `{"SecretId":"none"}`, "ResourceNotFoundException", notFoundText)
}
