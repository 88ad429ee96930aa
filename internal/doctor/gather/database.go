package gather

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/network"
)

// database is a registered database and what tells whose it is.
type database struct {
	network.Database
	engine, masterSecret string
	// words describe it in a report.
	words string
}

// maxDatabasePages bounds the pages of instances and clusters: 100 a page.
const maxDatabasePages = 5

// databases lists the account's database instances and the endpoints of its
// clusters.
func (l *look) databases(ctx context.Context) []database {
	const missing = "which databases there are, and whether the function's network leads to them"
	var instances []rdstypes.DBInstance
	var clusters []rdstypes.DBCluster
	var subnets []rdstypes.DBSubnetGroup
	l.together(ctx, func(ctx context.Context) {
		p := rds.NewDescribeDBInstancesPaginator(l.rds, &rds.DescribeDBInstancesInput{})
		for n := 0; p.HasMorePages() && n < maxDatabasePages; n++ {
			page, err := p.NextPage(ctx)
			if l.gap(err, "rds:DescribeDBInstances", "", missing) {
				return
			}
			instances = append(instances, page.DBInstances...)
		}
	}, func(ctx context.Context) {
		p := rds.NewDescribeDBClustersPaginator(l.rds, &rds.DescribeDBClustersInput{})
		for n := 0; p.HasMorePages() && n < maxDatabasePages; n++ {
			page, err := p.NextPage(ctx)
			if l.gap(err, "rds:DescribeDBClusters", "", missing) {
				return
			}
			clusters = append(clusters, page.DBClusters...)
		}
	}, func(ctx context.Context) {
		p := rds.NewDescribeDBSubnetGroupsPaginator(l.rds, &rds.DescribeDBSubnetGroupsInput{})
		for n := 0; p.HasMorePages() && n < maxDatabasePages; n++ {
			page, err := p.NextPage(ctx)
			if l.gap(err, "rds:DescribeDBSubnetGroups", "", missing) {
				return
			}
			subnets = append(subnets, page.DBSubnetGroups...)
		}
	})
	var all []database
	for i := range instances {
		if d, ok := ofInstance(&instances[i]); ok {
			all = append(all, d)
		}
	}
	for i := range clusters {
		all = append(all, ofCluster(&clusters[i], subnets)...)
	}
	return all
}

// at fills in where a database answers.
func (d *database) at(host string, port int32) {
	d.Host, d.Port = host, uint16(port)
	if a, err := netip.ParseAddr(host); err == nil {
		d.Address = a.Unmap()
	}
}

func (d *database) groups(list []rdstypes.VpcSecurityGroupMembership) {
	for _, g := range list {
		d.GroupIDs = append(d.GroupIDs, aws.ToString(g.VpcSecurityGroupId))
	}
}

func (d *database) stands(g *rdstypes.DBSubnetGroup) {
	if g == nil {
		return
	}
	d.VPCID = aws.ToString(g.VpcId)
	for _, n := range g.Subnets {
		d.SubnetIDs = append(d.SubnetIDs, aws.ToString(n.SubnetIdentifier))
	}
}

func masterSecret(s *rdstypes.MasterUserSecret) string {
	if s == nil {
		return ""
	}
	return aws.ToString(s.SecretArn)
}

// ofInstance reads an instance; false for one without an endpoint yet.
func ofInstance(i *rdstypes.DBInstance) (database, bool) {
	d := database{engine: aws.ToString(i.Engine), masterSecret: masterSecret(i.MasterUserSecret)}
	d.ID, d.Public = aws.ToString(i.DBInstanceIdentifier), aws.ToBool(i.PubliclyAccessible)
	d.words = "instance " + d.ID + " (" + d.engine + " " + aws.ToString(i.EngineVersion) + ", " + aws.ToString(i.DBInstanceStatus) + ")"
	if i.Endpoint == nil {
		return d, false
	}
	d.at(aws.ToString(i.Endpoint.Address), aws.ToInt32(i.Endpoint.Port))
	d.groups(i.VpcSecurityGroups)
	d.stands(i.DBSubnetGroup)
	return d, d.Host != ""
}

// ofCluster reads a cluster's endpoints, which count as one database each.
func ofCluster(c *rdstypes.DBCluster, subnets []rdstypes.DBSubnetGroup) []database {
	var list []database
	for _, e := range []struct{ kind, host string }{{"writer", aws.ToString(c.Endpoint)}, {"reader", aws.ToString(c.ReaderEndpoint)}} {
		if e.host == "" {
			continue
		}
		d := database{engine: aws.ToString(c.Engine), masterSecret: masterSecret(c.MasterUserSecret)}
		d.ID, d.Public = aws.ToString(c.DBClusterIdentifier)+"/"+e.kind, aws.ToBool(c.PubliclyAccessible)
		d.words = e.kind + " of cluster " + aws.ToString(c.DBClusterIdentifier) + " (" + d.engine + " " + aws.ToString(c.EngineVersion) + ", " + aws.ToString(c.Status) + ")"
		d.at(e.host, aws.ToInt32(c.Port))
		d.groups(c.VpcSecurityGroups)
		for i := range subnets {
			if aws.ToString(subnets[i].DBSubnetGroupName) == aws.ToString(c.DBSubnetGroup) {
				d.stands(&subnets[i])
			}
		}
		list = append(list, d)
	}
	return list
}

// place gives databases without a subnet group the VPC of their security
// groups: they stand in any of its subnets.
func place(list []database, s *network.Snapshot) {
	for i := range list {
		d := &list[i]
		if d.VPCID != "" || len(d.GroupIDs) == 0 {
			continue
		}
		if g := s.Group(d.GroupIDs[0]); g != nil {
			d.VPCID = g.VPCID
			for _, n := range s.Subnets {
				d.SubnetIDs = append(d.SubnetIDs, n.ID)
			}
		}
	}
}

// engineWords are what the names of rotation templates, rotators and their
// functions have of the engines of RDS.
var engineWords = []struct{ word, engine string }{
	{"postgres", "postgres"}, {"mariadb", "mariadb"}, {"mysql", "mysql"}, {"oracle", "oracle"}, {"sqlserver", "sqlserver"}, {"db2", "db2"},
	{"mongo", "docdb"},
}

// maxMeant bounds the databases that a secret without a value may mean.
const maxMeant = 8

// meant picks the databases that the function may have to reach. Only the
// secret's value says which it is, and that is not read: the secret's own by
// RDS's word, else those of the function's engine, first in its VPC; those of
// the VPC if nothing tells the engine.
func meant(all []database, e *doctor.Evidence) []database {
	if own := slices.DeleteFunc(slices.Clone(all), func(d database) bool { return d.masterSecret != e.Secret.ARN || e.Secret.ARN == "" }); len(own) > 0 {
		return own
	}
	engine := engineOf(e)
	if engine == "" && e.Function.VPCID == "" {
		return nil
	}
	fit := slices.DeleteFunc(slices.Clone(all), func(d database) bool { return !strings.Contains(d.engine, engine) })
	near := slices.DeleteFunc(slices.Clone(fit), func(d database) bool { return d.VPCID != e.Function.VPCID })
	if len(near) > 0 || engine == "" {
		fit = near
	}
	return fit[:min(len(fit), maxMeant)]
}

// engineOf is the engine that the function is for; "" if nothing tells.
func engineOf(e *doctor.Evidence) string {
	f := e.Function
	names := []string{f.Rotator, f.Tags[applicationTag], f.Handler, f.Name}
	if f.Code != nil {
		names = slices.Insert(names, 0, f.Code.Template)
	}
	for _, name := range names {
		for _, w := range engineWords {
			if strings.Contains(strings.ToLower(name), w.word) {
				return w.engine
			}
		}
	}
	return ""
}
