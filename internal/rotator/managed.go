package rotator

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/redshift"
	"github.com/aws/aws-sdk-go-v2/service/redshiftserverless"
	"github.com/aws/aws-sdk-go-v2/service/redshiftserverless/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// The system tags by which a database service says whose superuser a secret
// is of, in lower case: they are compared without regard to it (AWS: the
// templates).
const (
	instanceTag   = "aws:rds:primarydbinstancearn"
	clusterTag    = "aws:rds:primarydbclusterarn"
	redshiftTag   = "aws:redshift:primaryclusterarn"
	serverlessTag = "aws:redshift-serverless:namespacearn"
)

// maxServerARN is the longest ARN of a server, in characters (AWS: the
// templates).
const maxServerARN = 256

// place is where a server is.
type place struct {
	host   string
	port   int32
	engine string
	// database is that of the server by name, or "".
	database string
}

// finder asks the service behind a tag where its server is.
type finder struct {
	tag string
	// what names the kind of server, and api the operation, in texts.
	what, api string
	find      func(ctx context.Context, cfg aws.Config, arn string) (*place, error)
}

// finders are tried in their order.
var finders = map[Service][]finder{
	RDS:    {rdsInstance},
	Aurora: {rdsInstance, rdsCluster},
	Redshift: {
		{serverlessTag, "Namespace", "ListWorkgroups Redshift Serverless", findNamespace},
		{redshiftTag, "Cluster", "DescribeClusters Redshift", findRedshift},
	},
}

var (
	rdsInstance = finder{instanceTag, "DB Instance", "DescribeDBInstances RDS", findInstance}
	rdsCluster  = finder{clusterTag, "DB Cluster", "DescribeDBClusters RDS", findCluster}
)

// incomplete tells that a superuser's secret does not say where its server
// is.
func incomplete(service Service, d *Document) bool {
	return onlyCredentials(d) || service == Redshift && !d.Has("host")
}

// located completes the secret of a superuser that holds only the
// credentials: from the secret that KEYTURN_SUPERUSER_DEFAULTS names, or else
// by what the service that keeps it says.
func (r *Rotation) located(ctx context.Context, service Service, arn string, d *Document) (*Document, error) {
	if defaults := r.Settings.Text("KEYTURN_SUPERUSER_DEFAULTS", ""); defaults != "" {
		return r.defaulted(ctx, defaults, d)
	}
	if service == NoService {
		return d, nil
	}
	out, err := r.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &arn})
	if err != nil {
		return nil, fmt.Errorf("describing the superuser's secret %s: %w", arn, err)
	}
	var wanted []string
	for _, f := range finders[service] {
		for _, tag := range out.Tags {
			if strings.EqualFold(aws.ToString(tag.Key), f.tag) {
				return r.ask(ctx, f, arn, aws.ToString(tag.Value), d)
			}
		}
		wanted = append(wanted, f.tag)
	}
	r.Warnf("The secret %s is not a service-linked secret, so it does not have a tag %s", arn, strings.Join(wanted, " or a tag "))
	return nil, MissingKey("host")
}

// defaulted adds the members of another secret that say where a server is.
func (r *Rotation) defaulted(ctx context.Context, from string, d *Document) (*Document, error) {
	defaults, err := r.DocumentOf(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("the environment variable KEYTURN_SUPERUSER_DEFAULTS: %w", err)
	}
	for _, key := range []string{"engine", "host", "port", "dbname", "ssl"} {
		if i := defaults.index(key); i >= 0 && !d.Has(key) {
			d = d.with(key, defaults.members[i].value)
		}
	}
	return d, nil
}

// ask completes the secret by a service's answer.
func (r *Rotation) ask(ctx context.Context, f finder, secretARN, serverARN string, d *Document) (*Document, error) {
	if len(serverARN) > maxServerARN {
		return nil, Invalid("%s is not a valid %s ARN. It exceeds the maximum length of %d.", serverARN, f.what, maxServerARN)
	}
	at, err := f.find(ctx, r.Config, serverARN)
	if err != nil {
		return nil, &Error{
			Type: "Exception", err: err, Text: fmt.Sprintf("Encountered API error while fetching connection parameters from %s API: %v", f.api, err),
		}
	}
	if at == nil {
		return nil, Invalid("%s is not a valid %s ARN. No %ss found when using %s API to get connection params.",
			serverARN, f.what, strings.TrimPrefix(f.what, "DB "), f.api)
	}
	operation, _, _ := strings.Cut(f.api, " ")
	r.Logf("Successfully fetched connection params for Master Secret %s from %s API.", secretARN, operation)
	return at.complete(d), nil
}

// Whereabouts completes a secret that holds only the credentials by what the
// service that keeps it says of its server: tags are the secret's. ok is
// false if it is no such secret.
func Whereabouts(ctx context.Context, cfg aws.Config, tags map[string]string, d *Document) (complete *Document, ok bool, err error) {
	for _, f := range slices.Concat(finders[Aurora], finders[Redshift]) {
		for key, server := range tags {
			if !strings.EqualFold(key, f.tag) || len(server) > maxServerARN {
				continue
			}
			at, err := f.find(ctx, cfg, server)
			if at == nil || err != nil {
				return nil, false, err
			}
			return at.complete(d), true, nil
		}
	}
	return nil, false, nil
}

// complete adds to a secret where its server is.
func (at *place) complete(d *Document) *Document {
	d = d.With("engine", at.engine).With("host", at.host).With("port", at.port)
	if at.database != "" && !d.Has("dbname") {
		d = d.With("dbname", at.database)
	}
	return d
}

func findInstance(ctx context.Context, cfg aws.Config, arn string) (*place, error) {
	i, err := instance(ctx, rds.NewFromConfig(cfg), arn)
	if i == nil || i.Endpoint == nil || err != nil {
		return nil, err
	}
	return &place{
		aws.ToString(i.Endpoint.Address), aws.ToInt32(i.Endpoint.Port), secretEngine(aws.ToString(i.Engine)), aws.ToString(i.DBName),
	}, nil
}

func findCluster(ctx context.Context, cfg aws.Config, arn string) (*place, error) {
	out, err := rds.NewFromConfig(cfg).DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: &arn})
	if err != nil || len(out.DBClusters) == 0 {
		return nil, err
	}
	c := &out.DBClusters[0]
	return &place{aws.ToString(c.Endpoint), aws.ToInt32(c.Port), secretEngine(aws.ToString(c.Engine)), aws.ToString(c.DatabaseName)}, nil
}

// secretEngine is the engine member of secrets for an engine of RDS (AWS: the
// templates).
func secretEngine(name string) string {
	switch strings.TrimPrefix(name, "custom-") {
	case "oracle-ee", "oracle-ee-cdb", "oracle-se2", "oracle-se2-cdb":
		return "oracle"
	case "sqlserver-ex", "sqlserver-web", "sqlserver-ee", "sqlserver-se":
		return "sqlserver"
	}
	return name
}

func findRedshift(ctx context.Context, cfg aws.Config, arn string) (*place, error) {
	id := arn[strings.LastIndexByte(arn, ':')+1:]
	out, err := redshift.NewFromConfig(cfg).DescribeClusters(ctx, &redshift.DescribeClustersInput{ClusterIdentifier: &id})
	if err != nil || len(out.Clusters) == 0 || out.Clusters[0].Endpoint == nil {
		return nil, err
	}
	e := out.Clusters[0].Endpoint
	return &place{aws.ToString(e.Address), aws.ToInt32(e.Port), "redshift", ""}, nil
}

// findNamespace finds a serverless namespace's workgroup, which has the
// endpoint.
func findNamespace(ctx context.Context, cfg aws.Config, arn string) (*place, error) {
	client := redshiftserverless.NewFromConfig(cfg)
	name := ""
	namespaces := redshiftserverless.NewListNamespacesPaginator(client, &redshiftserverless.ListNamespacesInput{MaxResults: aws.Int32(100)})
	for name == "" && namespaces.HasMorePages() {
		page, err := namespaces.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		is := func(n types.Namespace) bool { return strings.EqualFold(aws.ToString(n.NamespaceArn), arn) }
		if i := slices.IndexFunc(page.Namespaces, is); i >= 0 {
			name = aws.ToString(page.Namespaces[i].NamespaceName)
		}
	}
	if name == "" {
		return nil, nil
	}
	workgroups := redshiftserverless.NewListWorkgroupsPaginator(client, &redshiftserverless.ListWorkgroupsInput{MaxResults: aws.Int32(100)})
	for workgroups.HasMorePages() {
		page, err := workgroups.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, w := range page.Workgroups {
			if aws.ToString(w.NamespaceName) == name && w.Endpoint != nil {
				return &place{aws.ToString(w.Endpoint.Address), aws.ToInt32(w.Endpoint.Port), "redshift", ""}, nil
			}
		}
	}
	return nil, nil
}
