package secret

import (
	"regexp"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
)

func TestValidateName(t *testing.T) {
	const text = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"
	for _, bad := range []string{" app", "a b", "a*", "a?", `a\`, "a]", "a:b", "ä", "a\n", "a\x00"} {
		wantFault(t, ValidateName(bad), fault.Validation, text)
		wantFault(t, ValidateID(bad), fault.Validation, text)
	}
	for _, good := range []string{"app/db", "rds!cluster-1", "A_b+c=d.e@f-9"} {
		if err := ValidateName(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	if err := ValidateID("arn:aws:secretsmanager:us-east-1:123456789012:secret:x"); err != nil {
		t.Errorf("an ARN as SecretId: %v", err)
	}
	if err := ValidateName("arn:aws:secretsmanager:us-east-1:123456789012:secret:x"); err == nil {
		t.Error("an ARN was accepted as a name")
	}
}

func TestNewSuffix(t *testing.T) {
	form := regexp.MustCompile(`^[0-9A-Za-z]{6}$`)
	seen := make(map[string]bool)
	for range 1000 {
		s := NewSuffix()
		if !form.MatchString(s) {
			t.Fatalf("got %q, want six alphanumerics", s)
		}
		seen[s] = true
	}
	if len(seen) < 999 {
		t.Errorf("got %d different suffixes of 1000", len(seen))
	}
}
