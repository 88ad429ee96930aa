package cli

import (
	"fmt"

	"github.com/keyturn/keyturn/internal/release"
	"github.com/keyturn/keyturn/internal/store"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints the version, and what else tells two builds apart: the schema is
// that of the database that the program makes.
func (c *versionCmd) Run(p *program) error {
	b := release.Read()
	if c.JSON {
		return printJSON(p.stdout, struct {
			release.Build
			Schema int `json:"schema"`
		}{b, store.Schema()})
	}
	commit := b.Commit
	switch {
	case commit == "":
		commit = "unknown"
	case b.Modified:
		commit += " with changes"
	}
	_, err := fmt.Fprintf(p.stdout, "keyturn %s\ncommit  %s\ngo      %s %s\nschema  %d\n", b.Version, commit, b.Go, b.Platform, store.Schema())
	return err
}
