package cli

import (
	"github.com/keyturn/keyturn/internal/host"
)

// selfFlags say how the server is started that the doctor examines the
// machine for: they are those of serve, by name, variable and default.
type selfFlags struct {
	Data           string            `help:"With --self: data folder." default:"keyturn-data" env:"KEYTURN_DATA" placeholder:"FOLDER" type:"path"`
	Listen         string            `help:"With --self: address to listen on." default:"127.0.0.1:4566" env:"KEYTURN_LISTEN"`
	Store          string            `help:"With --self: PostgreSQL to store in." env:"KEYTURN_STORE" placeholder:"URL"`
	TLSCert        string            `help:"With --self: PEM file with the server's certificate chain." env:"KEYTURN_TLS_CERT" placeholder:"FILE" type:"path"`
	TLSKey         string            `help:"With --self: PEM file with the certificate's key." env:"KEYTURN_TLS_KEY" placeholder:"FILE" type:"path"`
	InsecureHTTP   bool              `name:"insecure-http" help:"With --self: plain HTTP on an address that is not loopback." env:"KEYTURN_INSECURE_HTTP"`
	RootKey        string            `help:"With --self: root key." env:"KEYTURN_ROOT_KEY" placeholder:"URL"`
	OldRootKey     []string          `help:"With --self: root key that still opens what it wrapped." env:"KEYTURN_OLD_ROOT_KEY" placeholder:"URL"`
	Runtime        map[string]string `help:"With --self: interpreter of a runtime." env:"KEYTURN_RUNTIME" placeholder:"RUNTIME=PATH" mapsep:","`
	StrictRuntimes bool              `help:"With --self: no interpreters of other versions." env:"KEYTURN_STRICT_RUNTIMES"`
	EnforceVPC     bool              `name:"enforce-vpc" help:"With --self: functions are to be held to their VPC." env:"KEYTURN_ENFORCE_VPC"`
	CacheSize      int64             `name:"cache-size" help:"With --self: memory for cached records in bytes." default:"67108864" env:"KEYTURN_CACHE_SIZE"`
}

// self examines this machine and what the server is started with.
func (c *doctorCmd) self(p *program) error {
	report := host.Examine(p.ctx, host.Config{
		Dir: c.Data, Listen: c.Listen, StoreURL: c.Store, TLSCert: c.TLSCert, TLSKey: c.TLSKey, InsecureHTTP: c.InsecureHTTP,
		RootKey: c.RootKey, OldRootKeys: c.OldRootKey, Interpreters: c.Runtime, StrictRuntimes: c.StrictRuntimes,
		EnforceVPC: c.EnforceVPC, CacheSize: c.CacheSize,
	})
	if err := p.ctx.Err(); err != nil {
		return err
	}
	err := c.writeSelf(p, &report)
	switch {
	case err != nil:
		return err
	case report.Count(host.Finding) > 0:
		return exitError(exitFindings)
	case report.Count(host.Unknown) > 0:
		return exitError(exitFailed)
	}
	return nil
}

func (c *doctorCmd) writeSelf(p *program, r *host.Report) error {
	if c.JSON {
		return printJSON(p.stdout, r)
	}
	return r.WriteText(p.stdout)
}
