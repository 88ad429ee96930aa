package cli

import (
	"os"

	"github.com/keyturn/keyturn/internal/demo"
)

type demoCmd struct {
	Python string `help:"Python interpreter with boto3 and psycopg2; the usual ones are tried when empty." type:"path"`
}

// Run shows the demo with this same program as its server.
func (c *demoCmd) Run(p *program) error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	return demo.Run(p.ctx, demo.Config{Binary: binary, Python: c.Python, Out: p.stdout})
}
