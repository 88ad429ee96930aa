package cli

import (
	"fmt"
	"io"

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

func (e exports) print(w io.Writer) {
	for _, v := range e.variables() {
		_, _ = fmt.Fprintln(w, "export", v)
	}
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
