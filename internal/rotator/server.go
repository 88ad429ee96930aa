package rotator

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
)

// sameServer tells whether a superuser's host and port are the current ones,
// or the primary of the current one: as KEYTURN_PRIMARY_HOSTS says, which is
// pairs replica=primary, separated by commas, or else as RDS does. A host may
// have several servers: a login at one of them must not move the superuser of
// another.
func (r *Rotation) sameServer(ctx context.Context, kind Kind, cur, master Login) (bool, error) {
	service := kind.Service
	sameHost := sameName(cur.Host, master.Host)
	if sameHost && kind.onePort(cur.Port, master.Port) {
		return true, nil
	}
	for pair := range strings.SplitSeq(r.Settings.Text("KEYTURN_PRIMARY_HOSTS", ""), ",") {
		replica, primary, _ := strings.Cut(pair, "=")
		if cur.isNamed(replica) && master.isNamed(primary) {
			return true, nil
		}
	}
	if sameHost {
		return false, Invalid("Current database port %d is not the port %d of master on host %s: for a pooler before it, add %s:%d=%s:%d to the variable KEYTURN_PRIMARY_HOSTS",
			cur.Port, master.Port, cur.Host, cur.Host, cur.Port, master.Host, master.Port)
	}
	if service != RDS && service != Aurora || !inRDS(cur.Host) || !inRDS(master.Host) {
		return false, nil
	}
	same, err := r.replicaInRDS(ctx, service, endpointOf(cur.Host), endpointOf(master.Host))
	if err != nil && service == RDS {
		r.journal.warn("Encountered error while verifying rds replica status: %v", err)
		return false, nil
	}
	if err != nil {
		return false, &Error{Type: errorType(err), Text: "Encountered error while verifying rds replica status: " + err.Error(), err: err}
	}
	return same, nil
}

// onePort tells whether two ports of a host are one server's.
func (k Kind) onePort(a, b int) bool {
	return a == b || slices.Contains(k.OnePorts, a) && slices.Contains(k.OnePorts, b)
}

// sameName compares names of hosts.
func sameName(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}

// isNamed tells whether a name is the login's host, or its host and port.
func (l Login) isNamed(name string) bool {
	return sameName(name, l.Host) || sameName(name, net.JoinHostPort(l.Host, strconv.Itoa(l.Port)))
}

// inRDS tells whether a host is named as RDS names its endpoints: nothing can
// be asked about others.
func inRDS(host string) bool { return strings.Contains(strings.ToLower(host), ".rds.") }

// endpoint is what the name of a host of RDS tells: of an instance
// ID.ACCOUNT.REGION.rds.amazonaws.com, of a cluster ID.cluster-ACCOUNT….
type endpoint struct {
	host, id string
	cluster  bool
}

func endpointOf(host string) endpoint {
	id, rest, _ := strings.Cut(host, ".")
	second, _, _ := strings.Cut(rest, ".")
	return endpoint{host: host, id: id, cluster: strings.Contains(strings.ToLower(second), "cluster")}
}

// replicaInRDS tells whether RDS replicates the primary to the other host.
func (r *Rotation) replicaInRDS(ctx context.Context, service Service, replica, primary endpoint) (bool, error) {
	client := rds.NewFromConfig(r.Config)
	if service == Aurora {
		in, err := readsCluster(ctx, client, replica, primary)
		if in || err != nil {
			return in, err
		}
	}
	if replica.cluster || primary.cluster {
		return false, nil
	}
	i, err := instance(ctx, client, replica.id)
	if i == nil || err != nil {
		return false, err
	}
	return i.ReadReplicaSourceDBInstanceIdentifier != nil && sameName(*i.ReadReplicaSourceDBInstanceIdentifier, primary.id), nil
}

// readsCluster tells whether a host is one of the primary's Aurora cluster
// that only reads.
func readsCluster(ctx context.Context, client *rds.Client, replica, primary endpoint) (bool, error) {
	id := primary.id
	if !primary.cluster {
		i, err := instance(ctx, client, primary.id)
		if i == nil || err != nil {
			return false, err
		}
		id = aws.ToString(i.DBClusterIdentifier)
	}
	if id == "" {
		return false, nil
	}
	out, err := client.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: &id})
	if err != nil || len(out.DBClusters) == 0 {
		return false, err
	}
	c := &out.DBClusters[0]
	if replica.cluster {
		return sameName(aws.ToString(c.ReaderEndpoint), replica.host), nil
	}
	for _, m := range c.DBClusterMembers {
		if sameName(aws.ToString(m.DBInstanceIdentifier), replica.id) {
			return !aws.ToBool(m.IsClusterWriter), nil
		}
	}
	return false, nil
}

// instance describes an instance by its identifier or ARN; nil when RDS lists
// none.
func instance(ctx context.Context, client *rds.Client, id string) (*rdstypes.DBInstance, error) {
	out, err := client.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
	if err != nil || len(out.DBInstances) == 0 {
		return nil, err
	}
	return &out.DBInstances[0], nil
}
