package gather

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/doctor"
)

func TestSuperuserID(t *testing.T) {
	const (
		secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app-AbCdEf"
		super  = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:super-AbCdEf"
		third  = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:third-AbCdEf"
		role   = "arn:aws:sts::123456789012:assumed-role/r/f"
	)
	at := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	started := doctor.Event{At: at, Name: "RotationStarted", Token: "t", SecretID: secret}
	read := doctor.Event{At: at.Add(time.Second), Name: "GetSecretValue", Principal: role, SecretID: super}
	allows := func(arns ...string) string {
		return `{"Statement":[{"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":["` + strings.Join(arns, `","`) + `"]}]}`
	}
	for _, tc := range []struct {
		name       string
		variables  map[string]string
		events     []doctor.Event
		parameters map[string]string
		policies   map[string]string
		want, from string
	}{
		{name: "nothing"},
		{name: "variable", variables: map[string]string{"SUPERUSER_SECRET_ARN": super}, events: []doctor.Event{started, read}, want: super, from: "variable"},
		{name: "call", events: []doctor.Event{started, read}, parameters: map[string]string{"masterSecretArn": third}, want: super, from: "GetSecretValue"},
		{name: "call of another", events: []doctor.Event{started, {At: read.At, Name: "GetSecretValue", Principal: role + "x", SecretID: super}}},
		{name: "call outside of rotations", events: []doctor.Event{started, {At: at.Add(-time.Hour), Name: "GetSecretValue", Principal: role, SecretID: super}}},
		{name: "a secret that rotates itself", events: []doctor.Event{started, read, {At: read.At, Name: "PutSecretValue", Principal: role, SecretID: super}}},
		{name: "parameter", parameters: map[string]string{"masterSecretArn": super}, policies: map[string]string{"p": allows(third)}, want: super, from: "parameter"},
		{name: "hidden parameter", parameters: map[string]string{"superuserSecretArn": "****"}},
		{name: "policy", policies: map[string]string{"p": allows(secret, super)}, want: super, from: "policy p"},
		{name: "policy with two", policies: map[string]string{"p": allows(super, third)}},
		{name: "policy with a pattern", policies: map[string]string{"p": allows(super[:len(super)-6] + "??????")}},
	} {
		l := &look{parameters: tc.parameters, e: &doctor.Evidence{
			At: at.Add(time.Minute), Secret: doctor.Secret{ARN: secret, Name: "app"}, Events: tc.events,
			Function: &doctor.Function{RoleARN: "arn:aws:iam::123456789012:role/path/r", Variables: tc.variables}, Role: &doctor.Role{Statements: tc.policies},
		}}
		id, from := l.superuserID()
		if id != tc.want || !strings.HasPrefix(from, tc.from) {
			t.Errorf("%s: got %q from %q, want %q from %s", tc.name, id, from, tc.want, tc.from)
		}
	}
}
