package gather

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

// A panic in one part is a gap, and the others go on.
func TestPanicIsAGap(t *testing.T) {
	e := &doctor.Evidence{}
	l := &look{e: e, gaps: &e.Gaps}
	done := false
	panics := func(context.Context) { panic("with the secret hunter2") }
	l.together(t.Context(), panics, func(context.Context) { done = true })
	l.atMost(t.Context(), 1, []part{panics})
	if !done || len(e.Gaps) != 2 || strings.Contains(e.Gaps[0].Error, "hunter2") {
		t.Errorf("got %v and the gaps %+v", done, e.Gaps)
	}
}

// Every built-in rotator is known as one, and nothing else.
func TestRotatorOf(t *testing.T) {
	for _, name := range append(builtin.Names(), "postgres.managed") {
		if got := rotatorOf(&doctor.Function{Runtime: "provided.al2023", Handler: "rotator." + name}); got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
	for _, f := range []doctor.Function{
		{Runtime: "python3.12", Handler: "rotator.lambda_handler"}, {Runtime: "python3.12", Handler: "rotator.postgres.single"},
		{Runtime: "provided.al2023", Handler: "rotator.main"}, {Runtime: "provided.al2023", Handler: "bootstrap"},
	} {
		if got := rotatorOf(&f); got != "" {
			t.Errorf("%s %s: got %q", f.Runtime, f.Handler, got)
		}
	}
}

// With OwnLog a function cannot point the reader at another's log.
func TestOwnLog(t *testing.T) {
	for own, want := range map[bool]string{false: "/payroll", true: "/aws/lambda/f"} {
		l := &look{Gatherer: &Gatherer{options: Options{OwnLog: own}}, e: &doctor.Evidence{
			Secret: doctor.Secret{FunctionARN: "arn:aws:lambda:eu-west-1:123456789012:function:f"}, Function: &doctor.Function{LogGroup: "/payroll"},
		}}
		if got := l.logGroup(); got != want {
			t.Errorf("own %v: got %s, want %s", own, got, want)
		}
	}
}

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
		{name: "call of another", events: []doctor.Event{started, {At: read.At, Name: "GetSecretValue", Principal: strings.Replace(role, "/r/", "/other/", 1), SecretID: super}}},
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
