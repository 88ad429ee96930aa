package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/rehearse"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

type rehearseCmd struct {
	Function string `help:"Existing function, by name or ARN, whose code and configuration are taken from the server or account that the AWS environment names; it is only read." placeholder:"NAME" xor:"what"`
	Code     string `help:"Folder, or zip file, with the function's code." placeholder:"DIR" type:"path" xor:"what"`
	Rotator  string `help:"Built-in rotator; see keyturn function list-rotators." placeholder:"NAME" xor:"what"`

	Handler  string   `help:"Handler of --code, such as lambda_function.lambda_handler."`
	Runtime  string   `help:"Lambda runtime of --code, such as python3.12."`
	Env      []string `help:"Environment variable of the function; without a value, this process's own, which no other process sees on the command line. May be repeated." placeholder:"NAME[=VALUE]" sep:"none"`
	Timeout  int32    `help:"Seconds that one step may take; the function's own with --function, else 15." placeholder:"SECONDS"`
	Engine   string   `help:"Private database: postgres, mysql, mariadb or redis; the rotator's own with --rotator." placeholder:"NAME"`
	Service  string   `help:"Program that starts and checks another service, in place of --engine; see docs/rehearse.md." placeholder:"CMD"`
	Strategy string   `help:"What the secret is for: single, alternating or superuser; the latter two name a superuser's secret in masterarn." enum:"single,alternating,superuser," default:""`
	NoTLS    bool     `name:"no-tls" help:"Let the private database speak no TLS."`

	Only        []string          `help:"Try only this fault, or faults of a pattern such as kill-*; may be repeated." placeholder:"FAULT" sep:"none"`
	ListFaults  bool              `help:"List the faults and exit."`
	Parallel    int               `help:"Secrets that are rotated at once." default:"3"`
	Interpreter map[string]string `help:"Interpreter of a runtime, such as python3.12=/usr/bin/python3.12; may be repeated." placeholder:"RUNTIME=PATH" mapsep:"none"`
	CABundle    []string          `name:"ca-bundle" help:"PEM file of an authority that the function trusts beside the system's; may be repeated." placeholder:"FILE" type:"existingfile" sep:"none"`

	JSON  string `name:"json" help:"Write the report as JSON to this file; - for the output, in place of the text." placeholder:"FILE"`
	JUnit string `name:"junit" help:"Write the report as JUnit XML to this file." placeholder:"FILE"`
	HTML  string `name:"html" help:"Write the report as an HTML page to this file." placeholder:"FILE"`

	Shadow          string `help:"Rehearse on shadow users of the live database of this secret, which is only read; see docs/rehearse.md for what is done so that the user itself is not touched." placeholder:"SECRET"`
	SuperuserSecret string `help:"Secret of a user who may make and drop users of the live database, for --shadow." placeholder:"SECRET"`
}

// Run rehearses, writes the reports and exits with 3 if something was found.
func (c *rehearseCmd) Run(p *program) error {
	if c.ListFaults {
		for _, name := range rehearse.Names() {
			_, _ = fmt.Fprintln(p.stdout, name)
		}
		return nil
	}
	o, err := c.options(p.ctx)
	if err != nil {
		return err
	}
	o.Progress = func(line string) { _, _ = fmt.Fprintln(p.stderr, "keyturn:", line) }
	report, err := rehearse.Run(p.ctx, o)
	if report != nil {
		err = errors.Join(err, c.write(p, report)) // also of what was found before a failure
	}
	if err != nil {
		return err
	}
	if !report.Passed {
		return exitError(exitFindings)
	}
	return nil
}

func (c *rehearseCmd) options(ctx context.Context) (o rehearse.Options, err error) {
	o = rehearse.Options{
		Engine: c.Engine, Service: c.Service, Strategy: c.Strategy, Plain: c.NoTLS, Only: c.Only, Parallel: c.Parallel,
		Interpreters: c.Interpreter, CABundle: c.CABundle,
	}
	if o.Program, err = os.Executable(); err != nil {
		return o, err
	}
	if o.Function, err = c.what(ctx, &o); err != nil {
		return o, err
	}
	if c.Timeout > 0 {
		o.Function.Timeout = c.Timeout
	}
	if err := c.variables(&o.Function); err != nil {
		return o, err
	}
	if c.Shadow != "" {
		return o, c.shadow(ctx, &o)
	}
	if (o.Engine == "") == (o.Service == "") {
		return o, errors.New("against what? Give --engine or --service, or --shadow")
	}
	return o, nil
}

// variables gives the function those of the command line.
func (c *rehearseCmd) variables(f *rehearse.Function) error {
	vars := map[string]string{}
	maps.Copy(vars, f.Environment)
	for _, given := range c.Env {
		name, value, has := strings.Cut(given, "=")
		if !has {
			if value, has = os.LookupEnv(name); !has {
				return fmt.Errorf("--env %s: this process has no such variable; set it, or give %[1]s=VALUE", name)
			}
		}
		vars[name] = value
	}
	f.Environment = vars
	return nil
}

// what finds the function.
func (c *rehearseCmd) what(ctx context.Context, o *rehearse.Options) (rehearse.Function, error) {
	switch {
	case c.Rotator != "":
		if _, ok := builtin.New(c.Rotator); !ok {
			return rehearse.Function{}, fmt.Errorf("there is no built-in rotator %q; there are: %s", c.Rotator, strings.Join(builtin.Names(), ", "))
		}
		engine, strategy, _ := strings.Cut(c.Rotator, ".")
		if o.Engine == "" && o.Service == "" {
			o.Engine = engine
		}
		if o.Strategy == "" && (strategy == "alternating" || strategy == "superuser") {
			o.Strategy = strategy
		}
		return rehearse.BuiltIn(c.Rotator), nil
	case c.Code != "":
		if c.Handler == "" || c.Runtime == "" {
			return rehearse.Function{}, errors.New("--code needs --handler and --runtime")
		}
		code, err := readCode(c.Code)
		return rehearse.Function{Name: c.Code, Runtime: c.Runtime, Handler: c.Handler, Code: code}, err
	case c.Function != "":
		cfg, err := c.live(ctx)
		if err != nil {
			return rehearse.Function{}, err
		}
		return rehearse.Fetch(ctx, cfg, c.Function)
	}
	return rehearse.Function{}, errors.New("which function? Give --rotator, --code or --function")
}

// live reaches the server or account that the environment names.
func (c *rehearseCmd) live(ctx context.Context) (aws.Config, error) {
	cfg, err := awsConfig(ctx)
	if err != nil {
		return cfg, err
	}
	return cfg, needCredentials(ctx, &cfg)
}

func readCode(path string) ([]byte, error) {
	if strings.HasSuffix(path, ".zip") {
		return os.ReadFile(path)
	}
	return rehearse.Zip(path)
}

// shadow reads the secrets of the live database.
func (c *rehearseCmd) shadow(ctx context.Context, o *rehearse.Options) error {
	if c.SuperuserSecret == "" {
		return errors.New("--shadow needs --superuser-secret, of a user who may make and drop users")
	}
	if c.Service != "" {
		return errors.New("--shadow is for databases, and not for --service")
	}
	cfg, err := c.live(ctx)
	if err != nil {
		return err
	}
	client := secretsmanager.NewFromConfig(cfg)
	s := &rehearse.Shadow{Engine: o.Engine}
	if len(c.CABundle) > 0 {
		s.CAFile = c.CABundle[0]
	}
	if s.Secret, err = readObject(ctx, client, c.Shadow); err != nil {
		return err
	}
	if s.Superuser, err = readObject(ctx, client, c.SuperuserSecret); err != nil {
		return err
	}
	if s.Engine == "" {
		s.Engine, _ = s.Secret["engine"].(string)
	}
	o.Shadow = s
	return nil
}

// readObject reads a secret that is a JSON object.
func readObject(ctx context.Context, client *secretsmanager.Client, id string) (map[string]any, error) {
	out, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id})
	if err != nil {
		return nil, fmt.Errorf("reading the secret %s: %w", id, err)
	}
	var object map[string]any
	if json.Unmarshal([]byte(aws.ToString(out.SecretString)), &object) != nil {
		return nil, fmt.Errorf("the secret %s is no JSON object", id)
	}
	return object, nil
}

// write writes the reports that are asked for.
func (c *rehearseCmd) write(p *program, report *rehearse.Report) error {
	if c.JSON == "-" {
		if err := report.WriteJSON(p.stdout); err != nil {
			return err
		}
	} else {
		report.WriteText(p.stdout, isTerminal(p.stdout))
	}
	for _, out := range []struct {
		path  string
		write func(io.Writer) error
	}{{c.JSON, report.WriteJSON}, {c.JUnit, report.WriteJUnit}, {c.HTML, report.WriteHTML}} {
		if out.path == "" || out.path == "-" {
			continue
		}
		var b bytes.Buffer
		if err := out.write(&b); err != nil {
			return err
		}
		if err := os.WriteFile(out.path, b.Bytes(), 0o644); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	return nil
}

// isTerminal tells whether a person reads, who has not asked for no colour.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
