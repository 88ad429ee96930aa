// Package gather collects doctor.Evidence through the AWS APIs, on Keyturn and
// on AWS alike.
//
// It reads only: clients refuse every operation that is not in Operations
// before it is sent. A call that fails becomes a doctor.Gap that says what is
// not known for it, so that fewer permissions make fewer findings and no
// failure; Policy is the least that leaves no gap. Calls run side by side, on
// AWS no faster than Options.Rate.
package gather

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
)

// DefaultSince is how far back the trail is read at least.
const DefaultSince = 24 * time.Hour

// Options say how to gather; the zero value is a good one.
type Options struct {
	// Since is how far back the trail and logs are read; DefaultSince if zero.
	// It reaches further back to the last rotation that succeeded, up to the
	// 90 days that CloudTrail keeps.
	Since time.Duration
	// Rate is the number of calls to each service a second; 10 if zero on
	// AWS's own endpoints, unlimited elsewhere. CloudTrail gets 2 at most.
	Rate float64
	// NoCode leaves the function's code package alone. A server that looks
	// for its tenants sets it: whoever can upload code decides what reading it
	// costs.
	NoCode bool
	// OwnLog reads the log group /aws/lambda/NAME alone. A server that reads
	// with more rights than who is told the findings sets it: a function's
	// owner may name any group as its own.
	OwnLog bool
	// Progress, if not nil, is told in words what is being looked at. Calls
	// do not overlap.
	Progress func(string)
}

// clients are the services that are asked.
type clients struct {
	secrets *secretsmanager.Client
	trail   *cloudtrail.Client
	lambda  *lambda.Client
	logs    *cloudwatchlogs.Client
	iam     *iam.Client
	kms     *kms.Client
	sts     *sts.Client
	stacks  *cloudformation.Client
	ec2     *ec2.Client
	rds     *rds.Client
	metrics *cloudwatch.Client
}

// Gatherer collects evidence from one account and region. It may be used by
// several goroutines. Use New.
type Gatherer struct {
	clients
	options Options
	http    aws.HTTPClient
	region  string
	// endpoint is the URL of Secrets Manager where that is not AWS's own.
	endpoint string
	telling  sync.Mutex
}

// New returns a Gatherer that calls with the configuration's region and
// credentials.
func New(cfg aws.Config, o Options) *Gatherer {
	if o.Since <= 0 {
		o.Since = DefaultSince
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = http.DefaultClient
	}
	g := &Gatherer{options: o, http: cfg.HTTPClient, region: cfg.Region}
	g.endpoint = strings.TrimSuffix(aws.ToString(secretsmanager.NewFromConfig(cfg).Options().BaseEndpoint), "/")
	var limit *rate
	switch {
	case o.Rate > 0:
		limit = newRate(o.Rate)
	case g.endpoint == "":
		limit = newRate(defaultRate)
	}
	g.clients = newClients(readOnly(cfg, guard{limit}))
	return g
}

// readOnly is the configuration with the middleware that refuses what is not
// listed.
func readOnly(cfg aws.Config, with guard) aws.Config {
	cfg = cfg.Copy()
	cfg.APIOptions = append(append([]func(*middleware.Stack) error(nil), cfg.APIOptions...), with.add)
	return cfg
}

func newClients(cfg aws.Config) clients {
	return clients{
		secrets: secretsmanager.NewFromConfig(cfg), trail: cloudtrail.NewFromConfig(cfg), lambda: lambda.NewFromConfig(cfg),
		logs: cloudwatchlogs.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg), kms: kms.NewFromConfig(cfg), sts: sts.NewFromConfig(cfg),
		stacks: cloudformation.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg), rds: rds.NewFromConfig(cfg),
		metrics: cloudwatch.NewFromConfig(cfg),
	}
}

// tell reports progress.
func (g *Gatherer) tell(what string) {
	if g.options.Progress == nil {
		return
	}
	g.telling.Lock()
	defer g.telling.Unlock()
	g.options.Progress(what)
}

// healthLimit is how long the endpoint may take to say what it is.
const healthLimit = 5 * time.Second

// onKeyturn tells whether a Keyturn server answers at the endpoint, and
// whether it holds functions to their VPC: its health page says so.
func (g *Gatherer) onKeyturn(ctx context.Context) (keyturn, enforced bool) {
	if g.endpoint == "" {
		return false, true
	}
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.endpoint+"/health", nil)
	if err != nil {
		return false, false
	}
	res, err := g.http.Do(r)
	if err != nil {
		return false, false
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 1<<10) // so that the connection serves again
	return res.Header.Get("Server") == "Keyturn", res.Header.Get("Keyturn-Enforce-Vpc") == "true"
}
