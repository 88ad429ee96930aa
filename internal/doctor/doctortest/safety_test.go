package doctortest

import (
	"encoding/json"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// logins tells of each label whose value can be read whether the database
// takes its password. The next rotation hides a label that was moved wrongly,
// because functions try several passwords; this does not.
func (p *patient) logins() map[string]bool {
	p.t.Helper()
	by := map[string]bool{}
	for _, label := range []string{"AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"} {
		got, err := p.Secrets.GetSecretValue(p.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &p.secret, VersionStage: &label})
		if err != nil {
			continue // no such version, no value, or denied
		}
		var value struct{ Username, Password string }
		if json.Unmarshal([]byte(aws.ToString(got.SecretString)), &value) != nil || value.Username == "" {
			continue
		}
		user := p.user
		user.Name = value.Username
		by[label] = user.Login(p.t.Context(), value.Password) == nil
	}
	return by
}

// keepsOut fails when what was done has locked somebody out.
func (p *patient) keepsOut(before, after map[string]bool) {
	p.t.Helper()
	if before["AWSCURRENT"] && !after["AWSCURRENT"] {
		p.t.Errorf("AWSCURRENT logged in before the remedy and does not after it: %v, %v", before, after)
	}
	if anybody(before) && !anybody(after) {
		p.t.Errorf("no label leads to a password that logs in after the remedy: %v, %v", before, after)
	}
}

func anybody(logins map[string]bool) bool {
	for _, in := range logins {
		if in {
			return true
		}
	}
	return false
}

// passwordIn is the password of a value that is an object; "" if it has none.
func passwordIn(value string) string {
	var object struct{ Password string }
	_ = json.Unmarshal([]byte(value), &object) // a value may be anything
	return object.Password
}

// keep remembers what is secret in a value, to be searched for in reports.
func (p *patient) keep(value string) {
	if password := passwordIn(value); password != "" {
		value = password
	}
	if len(value) >= 8 && !slices.Contains(p.kept, value) {
		p.kept = append(p.kept, value)
	}
}
