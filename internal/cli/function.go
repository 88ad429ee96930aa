package cli

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/keyturn/keyturn/internal/deploy"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

type functionCmd struct {
	Create  functionCreateCmd  `cmd:"" help:"Make a rotation function of a built-in rotator; again, change what differs."`
	Package functionPackageCmd `cmd:"" help:"Write a package of a built-in rotator for AWS Lambda, with a template and the role's policy."`
	List    listRotatorsCmd    `cmd:"" name:"list-rotators" help:"List the built-in rotators."`
}

type listRotatorsCmd struct{}

// Run prints a line for each rotator.
func (listRotatorsCmd) Run(p *program) error {
	for _, name := range builtin.Names() {
		_, _ = fmt.Fprintln(p.stdout, name)
	}
	return nil
}

// rotatorFlags say what function to make.
type rotatorFlags struct {
	Rotator          string            `required:"" help:"Built-in rotator, such as postgres.single; see list-rotators." placeholder:"NAME"`
	SuperuserSecret  []string          `help:"Secret that masterarn members name, which the role may read; may be repeated." placeholder:"SECRET" sep:"none"`
	KeytabSecret     []string          `help:"Secret whose keytab follows the password, which the role may change; may be repeated." placeholder:"SECRET" sep:"none"`
	ManagedSuperuser bool              `help:"The superuser's secret is managed by RDS or Redshift: let the role look up where its server is."`
	Hold             string            `help:"Keep the old password of alternating users for readers that have not moved, this long at most." placeholder:"2d"`
	Env              map[string]string `help:"Environment variable of the function; may be repeated." placeholder:"NAME=VALUE" mapsep:"none"`
	Timeout          int32             `help:"Seconds that one step may take." default:"30"`
	Memory           int32             `help:"Memory in MiB." default:"128"`
	Concurrency      *int32            `help:"Execution environments at most, and so connections to databases at a time." placeholder:"N"`
	CABundle         string            `name:"ca-bundle" help:"Certificates in PEM form that the function trusts beside the system's." placeholder:"FILE" type:"existingfile"`
	KMSKey           []string          `name:"kms-key" help:"ARN of a KMS key of secrets that the role may use; may be repeated." placeholder:"ARN" sep:"none"`
	RotateEvery      string            `help:"Schedule: 30d, a rate() or a cron() expression." placeholder:"WHEN"`
	Window           string            `help:"Length of the rotation window, such as 3h." placeholder:"HOURS"`
}

// spec checks the flags.
func (f *rotatorFlags) spec(name string) (deploy.Spec, error) {
	s := deploy.Spec{
		Name: name, Rotator: f.Rotator, Timeout: f.Timeout, Memory: f.Memory, Concurrency: f.Concurrency, Environment: f.Env, Hold: f.Hold,
		Superusers: f.SuperuserSecret, Keytabs: f.KeytabSecret, Keys: f.KMSKey, ManagedSuperuser: f.ManagedSuperuser, Every: f.RotateEvery, Window: f.Window,
	}
	if _, ok := builtin.New(f.Rotator); !ok {
		return s, fmt.Errorf("there is no built-in rotator %q; there are: %s", f.Rotator, strings.Join(builtin.Names(), ", "))
	}
	if hold, err := rotator.ParseHold(f.Hold); err != nil {
		return s, fmt.Errorf("--hold %w", err)
	} else if hold == 0 {
		s.Hold = ""
	} else if !strings.HasSuffix(f.Rotator, ".alternating") {
		return s, fmt.Errorf("--hold is for rotators of alternating users, and %s is none", f.Rotator)
	}
	if f.Window != "" && f.RotateEvery == "" {
		return s, errors.New("--window needs --rotate-every")
	}
	if f.RotateEvery != "" {
		if _, err := deploy.Rules(f.RotateEvery, f.Window); err != nil {
			return s, err
		}
	}
	for _, key := range f.KMSKey {
		if !strings.HasPrefix(key, "arn:") || !strings.Contains(key, ":key/") {
			return s, fmt.Errorf("--kms-key takes the ARN of a key, because policies do not know aliases, and not %q", key)
		}
	}
	if f.CABundle == "" {
		return s, nil
	}
	var err error
	if s.CABundle, err = os.ReadFile(f.CABundle); err != nil {
		return s, fmt.Errorf("--ca-bundle: %w", err)
	}
	if block, _ := pem.Decode(s.CABundle); block == nil || block.Type != "CERTIFICATE" {
		return s, fmt.Errorf("--ca-bundle: %s holds no certificate in PEM form", f.CABundle)
	}
	return s, nil
}

type functionCreateCmd struct {
	Name          string   `arg:"" help:"Name of the function."`
	Secret        []string `help:"Secret to rotate by it, by name or ARN; may be repeated." placeholder:"SECRET" sep:"none"`
	Role          string   `help:"ARN of an existing execution role; one with the least rights is made when empty." placeholder:"ARN"`
	rotatorFlags  `embed:""`
	operatorFlags `embed:""`
}

// Run makes or changes the function, and says each change once it is made.
func (c *functionCreateCmd) Run(p *program) error {
	spec, err := c.spec(c.Name)
	if err != nil {
		return err
	}
	spec.Role, spec.Secrets = c.Role, c.Secret
	cfg, err := c.config(p.ctx)
	if errors.Is(err, errWhichServer) {
		return fmt.Errorf("%w. For AWS itself, make a package: keyturn function package --rotator %s -o rotator.zip", err, c.Rotator)
	}
	if err != nil {
		return err
	}
	made := struct {
		FunctionArn string
		Changes     []deploy.Change
	}{Changes: []deploy.Change{}}
	changed := false
	made.FunctionArn, err = deploy.Apply(p.ctx, cfg, spec, func(d deploy.Change) {
		made.Changes = append(made.Changes, d)
		changed = changed || d.Action != deploy.Unchanged
		if !c.JSON {
			_, _ = fmt.Fprintln(p.stdout, d)
		}
	})
	if err != nil && changed {
		err = fmt.Errorf("%w\nWhat was done before stands. Once the cause is mended, the same command goes on from there", err)
	}
	if err != nil {
		return err
	}
	return c.show(p.stdout, made, func(w io.Writer) { c.epilogue(w, changed) })
}

// epilogue says what there is to do now.
func (c *functionCreateCmd) epilogue(w io.Writer, changed bool) {
	if !changed {
		_, _ = fmt.Fprintln(w, "Nothing had to be changed.")
	}
	for _, s := range c.Secret {
		_, _ = fmt.Fprintf(w, "To rotate now and see each step: keyturn rotate %s --wait\n", quote(s))
	}
}

type functionPackageCmd struct {
	Name          string `help:"Name of the function in the template; made from the rotator's when empty." placeholder:"NAME"`
	Arch          string `help:"Processor: arm64 or amd64 (which Lambda calls x86_64)." enum:"arm64,amd64,x86_64,host" default:"host"`
	Output        string `short:"o" help:"File to write; the template and the policy go beside it." default:"rotator.zip" placeholder:"FILE"`
	Binary        string `help:"Keyturn program for Linux on that processor to package; this one, or the one beside it, when empty." placeholder:"PATH" type:"existingfile"`
	PrintTemplate bool   `help:"Print the CloudFormation template, and write nothing."`
	rotatorFlags  `embed:""`
}

// Run writes the package, the template and the policy.
func (c *functionPackageCmd) Run(p *program) error {
	name := c.Name
	if name == "" {
		name = "rotate-" + strings.ReplaceAll(c.Rotator, ".", "-")
	}
	spec, err := c.spec(name)
	if err != nil {
		return err
	}
	arch := strings.Replace(c.Arch, "x86_64", "amd64", 1)
	if arch == "host" {
		arch = runtime.GOARCH
	}
	template, err := spec.Template(arch)
	if err != nil {
		return err
	}
	if c.PrintTemplate {
		_, _ = fmt.Fprint(p.stdout, template)
		return nil
	}
	policy, err := spec.PolicyText()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	binary, err := deploy.Program(c.Binary, self, arch)
	if err != nil {
		return err
	}
	size, err := deploy.WritePackage(c.Output, binary, spec.CABundle)
	if err != nil {
		return err
	}
	return c.finish(p, arch, size, map[string]string{"template": template, "policy": policy})
}

// finish writes the texts beside the package and says what is where.
func (c *functionPackageCmd) finish(p *program, arch string, size deploy.Size, texts map[string]string) error {
	base := strings.TrimSuffix(c.Output, filepath.Ext(c.Output))
	for kind, text := range texts {
		if err := os.WriteFile(base+"."+kind+".json", []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing the %s: %w", kind, err)
		}
	}
	_, _ = fmt.Fprintf(p.stdout, "%s: %s for %s on %s, %.1f MiB zipped, %.1f MiB unzipped\n", c.Output, c.Rotator, deploy.Runtime,
		deploy.LambdaArchitecture(arch), float64(size.Zipped)/(1<<20), float64(size.Content)/(1<<20))
	_, _ = fmt.Fprintf(p.stdout, "%s.template.json: CloudFormation template; upload the package to S3 and deploy it\n", base)
	_, _ = fmt.Fprintf(p.stdout, "%s.policy.json: policy of the execution role; put what is yours for the words in capitals\n", base)
	if size.NeedsS3() {
		_, _ = fmt.Fprintf(p.stderr, "keyturn: the package is over Lambda's 50 MB for direct upload: it has to go through S3\n")
	}
	return nil
}
