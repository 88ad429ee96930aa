package cli

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/keyturn/keyturn/internal/server"
)

// exports is what makes AWS clients reach a server.
type exports struct {
	URL, Region, AccessKeyID, SecretAccessKey string
	// CAFile is set for a server whose certificate clients must be told.
	CAFile string
}

func (e exports) variables() []string {
	vars := []string{
		"AWS_ENDPOINT_URL=" + e.URL, "AWS_REGION=" + e.Region, "AWS_DEFAULT_REGION=" + e.Region,
		"AWS_ACCESS_KEY_ID=" + e.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + e.SecretAccessKey,
	}
	if e.CAFile != "" {
		vars = append(vars, "AWS_CA_BUNDLE="+e.CAFile)
	}
	return vars
}

// print writes lines for a shell.
func (e exports) print(w io.Writer) {
	for _, v := range e.variables() {
		name, value, _ := strings.Cut(v, "=")
		_, _ = fmt.Fprintf(w, "export %s=%s\n", name, quote(value))
	}
}

// plain is what a shell takes as it stands.
var plain = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// quote keeps a shell from reading more into a value than is there.
func quote(value string) string {
	if plain.MatchString(value) {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

type envCmd struct {
	Data string `help:"Data folder of the running server." default:"keyturn-data" env:"KEYTURN_DATA" type:"path"`
}

// Run prints export lines for a shell.
func (c *envCmd) Run(p *program) error {
	reach, err := server.ReadReach(c.Data)
	if err != nil {
		return err
	}
	exports{
		URL: reach.URL, Region: reach.Region, AccessKeyID: reach.AccessKeyID, SecretAccessKey: reach.SecretAccessKey, CAFile: reach.TLSCert,
	}.print(p.stdout)
	return nil
}
