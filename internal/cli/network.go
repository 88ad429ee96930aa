package cli

import (
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/gather"
	"github.com/keyturn/keyturn/internal/network"
)

type networkCmd struct {
	Function string `arg:"" help:"Name or ARN of the function."`
	To       string `help:"Where to: a service (secretsmanager, kms, rds, sts), a registered database instance, CLUSTER/writer, CLUSTER/reader, or HOST:PORT." default:"secretsmanager" placeholder:"WHERE"`
	JSON     bool   `name:"json" help:"Print JSON."`
}

// Help says what the exit codes mean.
func (networkCmd) Help() string {
	return `Follows a connection of the function hop by hop through its VPC as it is recorded, here or on AWS: name, endpoint, route, security groups and network ACLs both ways, the endpoint's policy. It names the first hop that refuses and the command that mends it, and sends no packet.

Exit codes: 0 the way is open, 1 it is not, or it could not be found out, 2 wrong usage.`
}

// Run follows the way through the AWS API that the environment names.
func (c *networkCmd) Run(p *program) error {
	cfg, err := awsConfig(p.ctx)
	if err != nil {
		return err
	}
	if cfg.Region == "" && cfg.BaseEndpoint != nil {
		cfg.Region = "us-east-1"
	}
	if err := needCredentials(p.ctx, &cfg); err != nil {
		return err
	}
	r, err := gather.New(cfg, gather.Options{}).Network(p.ctx, c.Function, c.To)
	if err != nil {
		return err
	}
	answer := reachOf(r)
	if err := (&operatorFlags{JSON: c.JSON}).show(p.stdout, answer, answer.write); err != nil {
		return err
	}
	if r.Path.Report.Verdict != network.Allowed {
		return exitError(exitFailed)
	}
	return nil
}

// reachAnswer is what the command prints.
type reachAnswer struct {
	Function string `json:"function"`
	VPCID    string `json:"vpcId,omitempty"`
	// Enforced tells whether the server holds the function to its network.
	Enforced bool   `json:"enforced"`
	To       string `json:"to"`
	Host     string `json:"host"`
	Port     uint16 `json:"port"`
	Database string `json:"database,omitempty"`
	// Verdict is allowed, denied, dropped or no route.
	Verdict string       `json:"verdict"`
	Hops    []hopAnswer  `json:"hops"`
	Gaps    []doctor.Gap `json:"gaps,omitempty"`
}

type hopAnswer struct {
	Stage    string   `json:"stage"`
	Subnet   string   `json:"subnet,omitempty"`
	Resource string   `json:"resource,omitempty"`
	Verdict  string   `json:"verdict"`
	Text     string   `json:"text"`
	Evidence []string `json:"evidence,omitempty"`
	Used     []string `json:"used,omitempty"`
	Fix      string   `json:"fix,omitempty"`
}

func reachOf(r *gather.Reach) *reachAnswer {
	a := &reachAnswer{
		Function: r.Function.ARN, VPCID: r.Function.VPCID, Enforced: r.Enforced, To: r.Path.To, Host: r.Path.Host, Port: r.Path.Port,
		Database: r.Path.Database, Verdict: r.Path.Report.Verdict.String(), Hops: []hopAnswer{}, Gaps: r.Gaps,
	}
	for _, h := range r.Path.Report.Hops {
		a.Hops = append(a.Hops, hopAnswer{string(h.Stage), h.SubnetID, h.Resource, h.Verdict.String(), h.Text, h.Evidence, h.Used, h.Fix})
	}
	return a
}

// write prints the hops, subnet by subnet, with what decided each.
func (a *reachAnswer) write(w io.Writer) {
	to := net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
	if a.Database != "" {
		to += ", " + a.Database
	}
	_, _ = fmt.Fprintf(w, "From %s to %s: %s\n", a.Function, to, a.Verdict)
	subnet := ""
	for _, h := range a.Hops {
		if h.Subnet != subnet {
			subnet = h.Subnet
			_, _ = fmt.Fprintf(w, "\nFrom subnet %s:\n", subnet)
		}
		h.write(w)
	}
	if a.Verdict != network.Allowed.String() && !a.Enforced {
		_, _ = fmt.Fprintln(w, "\nThis server does not hold functions to their VPC (see --enforce-vpc): the function gets through here, and would not on AWS.")
	}
	for _, g := range a.Gaps {
		_, _ = fmt.Fprintf(w, "\nNot looked at: %s (%s: %s)\n", g.Missing, g.Action, g.Error)
	}
}

func (h *hopAnswer) write(w io.Writer) {
	_, _ = fmt.Fprintf(w, "  %-9s %s: %s\n", h.Verdict, h.Stage, h.Text)
	for _, line := range h.Evidence {
		_, _ = fmt.Fprintf(w, "            %s\n", line)
	}
	if h.Fix != "" {
		_, _ = fmt.Fprintf(w, "            To mend it: %s\n", h.Fix)
	}
}
