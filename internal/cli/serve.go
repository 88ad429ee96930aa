package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/keyturn/keyturn/internal/host"
	"github.com/keyturn/keyturn/internal/release"
	"github.com/keyturn/keyturn/internal/server"
	"github.com/keyturn/keyturn/internal/tracing"
)

// runtimeFlags are shared by serve and dev.
type runtimeFlags struct {
	Runtime        map[string]string `help:"Interpreter of a runtime, such as python3.12=/usr/bin/python3.12; may be repeated." env:"KEYTURN_RUNTIME" placeholder:"RUNTIME=PATH" mapsep:","`
	StrictRuntimes bool              `help:"Refuse a function whose runtime's exact interpreter version is missing, instead of running another." env:"KEYTURN_STRICT_RUNTIMES"`
	CABundle       []string          `name:"ca-bundle" help:"PEM files of certificate authorities that functions, and the server asking identity providers, trust beside the host's." env:"KEYTURN_CA_BUNDLE" placeholder:"FILE"`
	VPCEndpoint    []string          `name:"vpc-endpoint" help:"JSON file with a VPC endpoint (VpcEndpointId, VpcId, Listen, PolicyDocument), which gets an address of its own; may be repeated." env:"KEYTURN_VPC_ENDPOINT" placeholder:"FILE"`
	EnforceVPC     bool              `name:"enforce-vpc" help:"Hold functions with a VpcConfig to what its subnets, route tables, network ACLs and security groups allow: what they drop hangs, as on AWS. Linux only; refused where the host cannot." env:"KEYTURN_ENFORCE_VPC"`
	LogLevel       string            `help:"Least level that is logged: ${enum}." enum:"debug,info,warn,error" default:"info" env:"KEYTURN_LOG_LEVEL"`
}

type serveCmd struct {
	Data         string        `help:"Folder for the database, the keys and the trail." default:"keyturn-data" env:"KEYTURN_DATA" type:"path"`
	Listen       string        `help:"Address to listen on." default:"127.0.0.1:4566" env:"KEYTURN_LISTEN"`
	Store        string        `help:"PostgreSQL to store in, as a postgres:// URL; SQLite in the data folder when empty." env:"KEYTURN_STORE" placeholder:"URL"`
	TLSCert      string        `help:"PEM file with the server's certificate chain." env:"KEYTURN_TLS_CERT" placeholder:"FILE" type:"path"`
	TLSKey       string        `help:"PEM file with the certificate's key." env:"KEYTURN_TLS_KEY" placeholder:"FILE" type:"path"`
	InsecureHTTP bool          `name:"insecure-http" help:"Serve plain HTTP on an address that is not loopback: requests and secrets can be read on the network." env:"KEYTURN_INSECURE_HTTP"`
	Region       string        `help:"Home region." default:"us-east-1" env:"KEYTURN_REGION"`
	Account      string        `help:"Account of the root credentials: 12 digits." default:"123456789012" env:"KEYTURN_ACCOUNT"`
	RootAccess   string        `name:"root-access-key-id" help:"Access key of the root user; generated into the data folder when empty." env:"KEYTURN_ROOT_ACCESS_KEY_ID" placeholder:"ID"`
	RootSecret   string        `name:"root-secret-access-key" help:"Secret key of the root user; better given by environment." env:"KEYTURN_ROOT_SECRET_ACCESS_KEY" placeholder:"KEY"`
	RootKey      string        `help:"Root key, which wraps all other keys: file:///PATH, env:NAME, hashivault://KEY, awskms:///KEY, gcpkms://projects/…, azurekeyvault://HOST/keys/KEY/VERSION, or 32 bytes in base64, better given by environment; a file in the data folder when empty." env:"KEYTURN_ROOT_KEY" placeholder:"URL"`
	OldRootKey   []string      `help:"Root key that still opens what it wrapped, for keyturn rekey; may be repeated." env:"KEYTURN_OLD_ROOT_KEY" placeholder:"URL"`
	Concurrency  int           `help:"Functions that run at once, as the account's concurrency limit." default:"1000" env:"KEYTURN_CONCURRENCY"`
	Grace        time.Duration `help:"How long requests and running steps may take to finish on SIGTERM." default:"30s" env:"KEYTURN_GRACE"`
	CacheSize    int64         `name:"cache-size" help:"Memory for cached records in bytes; 0 for no cache." default:"67108864" env:"KEYTURN_CACHE_SIZE"`
	TrailAge     time.Duration `help:"How long events of the trail are kept; 0 for ever." default:"2160h" env:"KEYTURN_TRAIL_AGE"`
	TrailBytes   int64         `help:"Bytes that this node's record of reads may take on disk; the oldest goes first; 0 for no bound." default:"8589934592" env:"KEYTURN_TRAIL_BYTES"`
	LogAge       time.Duration `help:"How long log groups without a retention policy keep entries; 0 for ever." default:"9600h" env:"KEYTURN_LOG_AGE"`
	LogBytes     int64         `help:"Bytes that each log group without a retention policy stores; the oldest entries go first; 0 for no bound." default:"1073741824" env:"KEYTURN_LOG_BYTES"`
	StackAge     time.Duration `help:"How long deleted stacks are shown; 0 for ever." default:"2160h" env:"KEYTURN_STACK_AGE"`
	runtimeFlags `embed:""`
}

// retention says what the flags do; they have 0 where the server has less.
func (c *serveCmd) retention() server.Retention {
	return server.Retention{
		TrailAge: bound(c.TrailAge), TrailBytes: bound(c.TrailBytes), LogAge: bound(c.LogAge), LogBytes: bound(c.LogBytes), StackAge: bound(c.StackAge),
	}
}

func bound[T time.Duration | int64](v T) T {
	if v <= 0 {
		return -1
	}
	return v
}

// Run serves until the process is told to stop.
func (c *serveCmd) Run(p *program) error {
	logger, err := newLogger(p, c.LogLevel)
	if err != nil {
		return err
	}
	cfg := server.Config{
		Dir: c.Data, Listen: c.Listen, StoreURL: c.Store, TLSCert: c.TLSCert, TLSKey: c.TLSKey, InsecureHTTP: c.InsecureHTTP,
		Region: c.Region, Account: c.Account, RootAccessKeyID: c.RootAccess, RootSecretAccessKey: c.RootSecret, RootKey: c.RootKey, OldRootKeys: c.OldRootKey,
		Concurrency: c.Concurrency, Grace: c.Grace, Interpreters: c.Runtime, StrictRuntimes: c.StrictRuntimes, CABundle: c.CABundle, Logger: logger,
		EnforceVPC: c.EnforceVPC, Retention: c.retention(),
	}
	if cfg.Endpoints, err = c.endpoints(); err != nil {
		return err
	}
	if cfg.CacheSize = c.CacheSize; c.CacheSize == 0 {
		cfg.CacheSize = -1
	}
	if err := host.ForbidCoreDumps(); err != nil {
		logger.Warn("core dumps could not be turned off: a crash could write secrets to a disk", "error", err)
	}
	spendMemory(c.CacheSize)
	if cfg.Tracer, err = tracing.New(p.ctx, release.Read().Version, logger); err != nil {
		return err
	}
	s, err := server.New(p.ctx, cfg)
	if err != nil {
		return err
	}
	return s.Run(p.ctx, func() {
		_, _ = fmt.Fprintf(p.stdout, "keyturn listens on %s (region %s, account %s, data in %s)\n", s.URL(), c.Region, c.Account, c.Data)
	})
}

// How the garbage collector works unless GOGC and GOMEMLIMIT say otherwise.
// The heap is small but for the cache: collecting it each time it has doubled
// would cost every read a tenth. So it may grow fourfold, as long as all that
// the process holds beside its cache stays below a bound.
const (
	heapGrowth   = 300      // percent
	besidesCache = 64 << 20 // bytes
)

func spendMemory(cache int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(besidesCache + max(cache, 0))
	}
}

// endpoints reads the VPC endpoints.
func (f *runtimeFlags) endpoints() ([]server.Endpoint, error) {
	list := make([]server.Endpoint, len(f.VPCEndpoint))
	for i, path := range f.VPCEndpoint {
		var err error
		if list[i], err = server.ReadEndpoint(path); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func newLogger(p *program, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, err
	}
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: l})), nil
}

type devCmd struct {
	Listen       string   `help:"Loopback address to listen on." default:"127.0.0.1:4566" env:"KEYTURN_LISTEN"`
	Region       string   `help:"Home region." default:"us-east-1" env:"KEYTURN_REGION"`
	Data         string   `help:"Folder to use instead of a temporary one; refused when serve made it." env:"KEYTURN_DEV_DATA" type:"path"`
	Args         []string `arg:"" optional:"" passthrough:"" name:"command" help:"Command to run against the server, which then ends with it."`
	runtimeFlags `embed:""`
}

// devKey is both keys of a throw-away server.
const devKey = "test"

// devAccount is the account of a throw-away server.
const devAccount = "123456789012"

// Run serves from a folder that goes with it; with a command, until that
// ends.
func (c *devCmd) Run(p *program) (err error) {
	dir := c.Data
	if dir == "" {
		if dir, err = os.MkdirTemp("", "keyturn-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	logger, err := newLogger(p, c.LogLevel)
	if err != nil {
		return err
	}
	endpoints, err := c.endpoints()
	if err != nil {
		return err
	}
	tracer, err := tracing.New(p.ctx, release.Read().Version, logger)
	if err != nil {
		return err
	}
	s, err := server.New(p.ctx, server.Config{
		Tracer:    tracer,
		Endpoints: endpoints, Dir: dir, Dev: true, Listen: c.Listen, Region: c.Region, Account: devAccount, RootAccessKeyID: devKey, RootSecretAccessKey: devKey,
		Interpreters: c.Runtime, StrictRuntimes: c.StrictRuntimes, CABundle: c.CABundle, Logger: logger, EnforceVPC: c.EnforceVPC,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	env := exports{URL: s.URL(), Region: c.Region, AccessKeyID: devKey, SecretAccessKey: devKey}
	if len(c.Args) == 0 {
		return s.Run(ctx, func() { env.print(p.stdout) })
	}
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(ready) }) }()
	select {
	case err := <-done:
		return err
	case <-ready:
	}
	ran := runCommand(p, c.Args, env)
	cancel()
	return errors.Join(<-done, ran)
}

// runCommand runs a command in the environment and passes its exit code on.
func runCommand(p *program, args []string, env exports) error {
	if args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("no command after --")
	}
	cmd := exec.CommandContext(p.ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, p.stdout, p.stderr
	cmd.Env = append(os.Environ(), env.variables()...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok && failed.ExitCode() > 0 {
		return exitError(failed.ExitCode())
	}
	return err
}
