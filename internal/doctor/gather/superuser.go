package gather

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/doctor"
)

// superuser describes the secret by which the function logs in as superuser,
// as far as something names it outside of the secret's value.
func (l *look) superuser(ctx context.Context) {
	id, from := l.superuserID()
	if id == "" {
		return
	}
	l.tell("superuser secret")
	s := &doctor.Superuser{ARN: id, From: from}
	out, err := l.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &id})
	switch {
	case is(err, "ResourceNotFoundException"):
	case l.gap(err, "secretsmanager:DescribeSecret", id, "whether the superuser's secret is there, and what keeps it"):
	default:
		d := described(out)
		s.ARN, s.Found, s.Service, s.KeyID, s.Tags, s.Labels = d.ARN, true, d.OwningService, d.KeyID, d.Tags, d.Labels
	}
	l.note(func(e *doctor.Evidence) { e.Superuser = s })
	more := []question{{[]string{"secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"}, s.ARN, nil}}
	if key := l.superuserKey(ctx, s); key != "" {
		more = append(more, l.keyQuestion(key, s.ARN, "kms:Decrypt"))
	}
	if s.Service != "" {
		more = append(more, question{[]string{"rds:DescribeDBInstances", "rds:DescribeDBClusters"}, "*", nil})
	}
	l.decide(ctx, more...)
}

// superuserKey is the ARN of the key that encrypts the superuser's secret; ""
// for AWS's own, and for an alias of a key that may not be described.
func (l *look) superuserKey(ctx context.Context, s *doctor.Superuser) string {
	if s.KeyID == "" || strings.Contains(s.KeyID, ":key/") {
		return s.KeyID
	}
	if k := l.keyOf(ctx, s.KeyID); k != nil && k.Found && k.Manager != "AWS" {
		return k.ID
	}
	return ""
}

// superuserID finds the superuser's secret: in a function's variable, among
// the calls of its role, in the parameters of its stack, and last in the
// policies of its role.
func (l *look) superuserID() (id, from string) {
	if f := l.e.Function; f != nil && f.Variables["SUPERUSER_SECRET_ARN"] != "" {
		return f.Variables["SUPERUSER_SECRET_ARN"], "variable SUPERUSER_SECRET_ARN of the function"
	}
	if v := l.superuserCall(); v != nil {
		return v.SecretID, v.Name + " of the function at " + v.At.Format("2006-01-02 15:04:05")
	}
	for _, name := range []string{"superuserSecretArn", "masterSecretArn"} {
		if id := l.parameters[name]; strings.HasPrefix(id, "arn:") {
			return id, "parameter " + name + " of the function's stack"
		}
	}
	if l.e.Role == nil {
		return "", ""
	}
	names := make([]string, 0, len(l.e.Role.Statements))
	for name := range l.e.Role.Statements {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if found := l.otherSecret(l.e.Role.Statements[name]); found != "" {
			return found, "policy " + name + " of the role"
		}
	}
	return "", ""
}

// superuserCall is the newest call by which the role read another secret than
// its own: what alternating users do in setSecret.
func (l *look) superuserCall() *doctor.Event {
	if l.e.Function == nil {
		return nil
	}
	session := ":assumed-role/" + roleName(l.e.Function.RoleARN) + "/"
	for i := len(l.e.Events) - 1; i >= 0; i-- {
		v := &l.e.Events[i]
		if (v.Name == "GetSecretValue" || v.Name == "DescribeSecret") && strings.Contains(v.Principal, session) &&
			v.SecretID != "" && !l.about(*v) && l.inRotation(v) {
			return v
		}
	}
	return nil
}

// inRotation tells whether the function called while this secret was rotated:
// one that serves many secrets calls for others, too.
func (l *look) inRotation(v *doctor.Event) bool {
	for _, w := range l.rotationTimes() {
		if !v.At.Before(w.from) && !v.At.After(w.to) {
			return !l.rotatesByFunction(v.SecretID)
		}
	}
	return false
}

// rotatesByFunction tells whether events name the secret as one that rotates:
// then it is no superuser's, but another one that the function serves.
func (l *look) rotatesByFunction(secretID string) bool {
	return slices.ContainsFunc(l.e.Events, func(v doctor.Event) bool {
		return v.SecretID == secretID && (v.Name == "PutSecretValue" || v.Name == "UpdateSecretVersionStage")
	})
}

var wholeSecret = regexp.MustCompile(`"(arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:[\w/+=.@!-]+-(?:[0-9A-Za-z]{6}|\?{6}))"`)

// otherSecret is the only other secret that a policy names; "" for none and
// for several.
func (l *look) otherSecret(policy string) string {
	var found []string
	for _, m := range wholeSecret.FindAllStringSubmatch(policy, -1) {
		if m[1] != l.e.Secret.ARN && !slices.Contains(found, m[1]) && !strings.HasSuffix(m[1], "?") {
			found = append(found, m[1])
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}
