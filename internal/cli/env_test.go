package cli

import (
	"os/exec"
	"strings"
	"testing"
)

// A shell that reads the lines gets the very values.
func TestExports(t *testing.T) {
	e := exports{
		URL: "https://127.0.0.1:4566", Region: "us-east-1", AccessKeyID: "AKIA+/=", SecretAccessKey: "it's $HOME; `x` \"y\" \\z", CAFile: "/etc/a b/cert.pem",
	}
	var lines strings.Builder
	e.print(&lines)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", lines.String()+
		`printf '%s|' "$AWS_ENDPOINT_URL" "$AWS_DEFAULT_REGION" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "$AWS_CA_BUNDLE"`)
	out, err := cmd.CombinedOutput()
	if want := strings.Join([]string{e.URL, e.Region, e.AccessKeyID, e.SecretAccessKey, e.CAFile, ""}, "|"); err != nil || string(out) != want {
		t.Errorf("got %s, %v, want %s", out, err, want)
	}
	if !strings.Contains(lines.String(), "export AWS_ENDPOINT_URL=https://127.0.0.1:4566\n") {
		t.Errorf("a plain value is quoted:\n%s", &lines)
	}
}
