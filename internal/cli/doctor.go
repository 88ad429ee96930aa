package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/gather"
	"github.com/keyturn/keyturn/internal/doctor/remedy"
	"github.com/keyturn/keyturn/internal/rotate"
)

type doctorCmd struct {
	Secret   string        `arg:"" optional:"" help:"Name or ARN of the secret."`
	All      bool          `help:"Survey every secret that rotates, the worst first." xor:"what"`
	Self     bool          `help:"Examine this machine and what the server is started with: the flags below are those of serve." xor:"what"`
	Explain  string        `help:"Explain a finding by its code, such as D10, or all of them: all." placeholder:"CODE" xor:"what"`
	Policy   bool          `name:"print-policy" help:"Print the IAM policy that the doctor needs, for the secret if one is given." xor:"what"`
	JSON     bool          `name:"json" help:"Print JSON: evidence and findings." xor:"format"`
	Markdown bool          `help:"Print Markdown, for a ticket." xor:"format"`
	Since    time.Duration `help:"How far back to look, at least." default:"24h" placeholder:"DURATION"`

	Probe           bool `help:"Read the values, in memory only, and try to log in with each version from here. Costs a user at most three failed logins, none or one where AWSCURRENT logs in."`
	ProbeInFunction bool `help:"Let the function try, from its own network; built-in rotators can."`

	Fix bool `help:"Apply the remedies that are safe, after showing and asking, and rotate to see whether they helped." xor:"format"`
	Yes bool `help:"Do not ask, with --fix."`

	selfFlags `embed:""`
}

// Help says what the exit codes mean.
func (doctorCmd) Help() string {
	return `Looks at the secret, its rotation function and what lies between, through the AWS API that the environment names, here or on AWS, and tells why the rotation failed. It only reads, and never a value unless --probe is given.

With --self it examines the machine and the files, keys, store and address that the server is started with, and tells what is missing, what that means and how to get it. It takes the variables that serve takes, and changes nothing; it is best run as the server's user.

Exit codes: 0 healthy, 1 it could not be found out, 2 wrong usage, 3 there are findings.`
}

// Run looks, and tells.
func (c *doctorCmd) Run(p *program) error {
	if err := c.check(); err != nil {
		return usage(p, err)
	}
	if c.Explain != "" {
		return c.explain(p)
	}
	if c.Self {
		return c.self(p)
	}
	cfg, err := awsConfig(p.ctx)
	if err != nil {
		return err
	}
	if c.Policy {
		return c.printPolicy(p, cfg)
	}
	if cfg.Region == "" && cfg.BaseEndpoint != nil {
		cfg.Region = "us-east-1"
	}
	if err := needCredentials(p.ctx, &cfg); err != nil {
		return err
	}
	if c.All {
		return c.survey(p, cfg)
	}
	return c.one(p, cfg)
}

func (c *doctorCmd) check() error {
	whole := c.All || c.Self || c.Explain != ""
	switch {
	case !whole && !c.Policy && c.Secret == "":
		return errors.New("which secret? Give its name or ARN, or --all, or --self for this machine")
	case whole && c.Secret != "":
		return errors.New("a secret and --all, --self or --explain do not go together")
	case whole && (c.Probe || c.ProbeInFunction || c.Fix):
		return errors.New("--probe, --probe-in-function and --fix need a secret")
	case c.Self && c.Markdown:
		return errors.New("--self prints text or --json")
	case c.Yes && !c.Fix:
		return errors.New("--yes goes with --fix")
	case c.Since <= 0:
		return errors.New("--since must be more than nothing")
	}
	return nil
}

// usage reports a wrong command line.
func usage(p *program, err error) error {
	_, _ = fmt.Fprintf(p.stderr, "keyturn: %v (see keyturn doctor --help)\n", err)
	return exitError(exitUsage)
}

// one diagnoses a secret, and mends it if that is wanted.
func (c *doctorCmd) one(p *program, cfg aws.Config) error {
	e, d, err := c.diagnose(p, cfg)
	if err != nil {
		return err
	}
	if err := c.report(p, d, e); err != nil {
		return err
	}
	if c.Fix {
		return c.fix(p, cfg, e, d)
	}
	return verdict(len(d.Findings))
}

func verdict(findings int) error {
	if findings > 0 {
		return exitError(exitFindings)
	}
	return nil
}

// diagnose collects the evidence and judges it.
func (c *doctorCmd) diagnose(p *program, cfg aws.Config) (*doctor.Evidence, doctor.Diagnosis, error) {
	tell := newTicker(p.stderr)
	defer tell.clear()
	g := gather.New(cfg, gather.Options{Since: c.Since, Progress: tell.show})
	e, err := g.Secret(p.ctx, c.Secret)
	if err != nil {
		return nil, doctor.Diagnosis{}, err
	}
	if !e.Secret.Found {
		return nil, doctor.Diagnosis{}, fmt.Errorf("looking at %s: %s", c.Secret, whyMissing(e))
	}
	if c.Probe || c.ProbeInFunction {
		tell.show("trying the logins")
		c.probe(p.ctx, cfg, e)
	}
	return e, doctor.Diagnose(e), nil
}

// whyMissing is the API's answer to the very first question.
func whyMissing(e *doctor.Evidence) string {
	for _, g := range e.Gaps {
		if g.Action == "secretsmanager:DescribeSecret" {
			return g.Error
		}
	}
	return "there is nothing to look at"
}

func (c *doctorCmd) report(p *program, d doctor.Diagnosis, e *doctor.Evidence) error {
	switch {
	case c.JSON:
		return printJSON(p.stdout, struct {
			Diagnosis doctor.Diagnosis `json:"diagnosis"`
			Evidence  *doctor.Evidence `json:"evidence"`
		}{d, e})
	case c.Markdown:
		return doctor.WriteMarkdown(p.stdout, d, e)
	}
	return doctor.WriteText(p.stdout, d, e, textOptions(p.stdout))
}

func textOptions(w io.Writer) doctor.TextOptions {
	columns, ok := terminal(w)
	if !ok {
		columns = 0 // files are not broken into lines
	}
	return doctor.TextOptions{Color: coloured(w), Width: columns}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	return e.Encode(v)
}

// fix applies what is safe: it shows the plan, asks, looks again before each
// change, and rotates in the end.
func (c *doctorCmd) fix(p *program, cfg aws.Config, e *doctor.Evidence, d doctor.Diagnosis) error {
	if len(d.Findings) == 0 {
		return nil
	}
	plan := remedy.Plan(d, e)
	if len(plan) == 0 {
		_, _ = fmt.Fprintln(p.stdout, "\nNothing of this is done by --fix: the remedies are yours to apply.")
		return exitError(exitFindings)
	}
	showPlan(p.stdout, plan)
	if agreed, err := c.agreed(p); err != nil || !agreed {
		return err
	}
	// The question may have waited for minutes.
	e, d, err := c.diagnose(p, cfg)
	if err != nil {
		return err
	}
	if still := remedy.Still(plan, remedy.Plan(d, e)); len(still) < len(plan) {
		_, _ = fmt.Fprintln(p.stderr, "keyturn: nothing was changed: it is no longer as it was when the plan was made; ask keyturn doctor again")
		return exitError(exitFindings)
	}
	surgeon := remedy.New(cfg)
	for _, s := range plan {
		done, err := surgeon.Apply(p.ctx, s)
		if errors.Is(err, remedy.ErrStale) {
			_, _ = fmt.Fprintf(p.stderr, "keyturn: stopped at %q: %s\n", s.Action.Kind, problem(err))
			return exitError(exitFindings)
		}
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(p.stdout, "%s: %s.\n", s.Code, done)
	}
	if !remedy.Rotates(plan) {
		return nil
	}
	return verify(p, surgeon, cmp.Or(e.Secret.ARN, c.Secret))
}

func showPlan(w io.Writer, plan []remedy.Step) {
	_, _ = fmt.Fprintln(w, "\nTo be done:")
	for i, s := range plan {
		_, _ = fmt.Fprintf(w, "%3d. %s: %s\n", i+1, s.Code, s.Action.Kind)
		for _, command := range s.Commands {
			_, _ = fmt.Fprintf(w, "     %s\n", command)
		}
		if s.Text != "" {
			_, _ = fmt.Fprintf(w, "     %s\n", s.Text)
		}
		if s.Risk != "" {
			_, _ = fmt.Fprintf(w, "     Risk: %s\n", s.Risk)
		}
	}
	if remedy.Rotates(plan) {
		_, _ = fmt.Fprintln(w, "     Then the secret is rotated, which shows whether it helped.")
	}
}

// agreed asks. Without somebody to ask, only --yes is a yes.
func (c *doctorCmd) agreed(p *program) (bool, error) {
	if c.Yes {
		return true, nil
	}
	if _, ok := terminal(os.Stdin); !ok {
		_, _ = fmt.Fprintln(p.stderr, "keyturn: nothing was changed: there is no terminal to ask at, and no --yes")
		return false, exitError(exitUsage)
	}
	_, _ = fmt.Fprint(p.stdout, "Do it? [y/N] ")
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && answer == "" {
		return false, exitError(exitUsage)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	_, _ = fmt.Fprintln(p.stdout, "Nothing was changed.")
	return false, exitError(exitFindings)
}

// verify rotates and shows how that goes.
func verify(p *program, surgeon *remedy.Surgeon, secret string) error {
	_, _ = fmt.Fprintln(p.stdout, "Rotating.")
	ctx, cancel := context.WithTimeout(p.ctx, rotatePatience)
	defer cancel()
	err := surgeon.Verify(ctx, secret, func(l rotate.Line) { _, _ = fmt.Fprintln(p.stdout, l.Text()) })
	if errors.Is(err, rotate.ErrNotSucceeded) {
		_, _ = fmt.Fprintf(p.stderr, "keyturn: %s; ask keyturn doctor again\n", problem(err))
		return exitError(exitFindings)
	}
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(p.stdout, "The rotation succeeded.")
	return nil
}

// printPolicy prints the least that the doctor needs: for a secret that can be
// looked at now, its function, role, key and log alone. It needs nothing
// itself: what it cannot find out stays open in the policy.
func (c *doctorCmd) printPolicy(p *program, cfg aws.Config) error {
	region, account, secretARN := cmp.Or(cfg.Region, "*"), "*", c.Secret
	signed := needCredentials(p.ctx, &cfg) == nil
	if signed && c.Secret != "" {
		e, err := gather.New(cfg, gather.Options{Since: c.Since}).Secret(p.ctx, c.Secret)
		if err == nil && e.Secret.Found {
			_, err = fmt.Fprintln(p.stdout, gather.PolicyFor(e))
			return err
		}
	}
	if a, isARN := arn.Parse(c.Secret); isARN {
		region, account = a.Region, a.Account
	} else if signed {
		if id, err := sts.NewFromConfig(cfg).GetCallerIdentity(p.ctx, nil); err == nil {
			account = aws.ToString(id.Account)
		}
	}
	partition := arn.Partition(region)
	switch {
	case secretARN == "":
		secretARN = "*"
	case !strings.HasPrefix(secretARN, "arn:"):
		secretARN = fmt.Sprintf("arn:%s:secretsmanager:%s:%s:secret:%s-??????", partition, region, account, secretARN)
	}
	_, err := fmt.Fprintln(p.stdout, gather.Policy(partition, account, region, secretARN))
	return err
}
