package rotator

import (
	"context"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

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
	if r.primaryNamed(cur, master) {
		return true, nil
	}
	if sameHost {
		return false, Invalid("Current database port %d is not the port %d of master on host %s: for a pooler before it, add %s:%d=%s:%d to the variable KEYTURN_PRIMARY_HOSTS",
			cur.Port, master.Port, cur.Host, cur.Host, cur.Port, master.Host, master.Port)
	}
	if service != RDS && service != Aurora {
		return false, nil
	}
	if !inRDS(cur.Host) || !inRDS(master.Host) {
		return r.registeredReplica(ctx, cur, master), nil
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

// primaryNamed tells whether KEYTURN_PRIMARY_HOSTS names the superuser's host
// as the primary of the current one.
func (r *Rotation) primaryNamed(cur, master Login) bool {
	for pair := range strings.SplitSeq(r.Settings.Text("KEYTURN_PRIMARY_HOSTS", ""), ",") {
		replica, primary, _ := strings.Cut(pair, "=")
		if cur.isNamed(replica) && master.isNamed(primary) {
			return true
		}
	}
	return false
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

// inRDS tells whether a host is named as RDS names its endpoints.
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

// lookAround bounds the question about a host that RDS may know nothing of,
// and that may have no way to RDS.
const lookAround = 5 * time.Second

// registeredReplica is replicaInRDS for servers whose hosts are named in other
// ways, which a service other than AWS's may know all the same. The first
// label of the host is taken for the instance's identifier. As that could be
// anybody's, the endpoints must be those of the logins.
func (r *Rotation) registeredReplica(ctx context.Context, cur, master Login) bool {
	id, _, _ := strings.Cut(cur.Host, ".")
	if !identifier.MatchString(id) || net.ParseIP(cur.Host) != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, lookAround)
	defer cancel()
	client := rds.NewFromConfig(r.Config)
	i, err := instance(ctx, client, id)
	if i == nil || err != nil || !cur.isAt(i.Endpoint) {
		return false // an error says no more than that nothing is known
	}
	if source := aws.ToString(i.ReadReplicaSourceDBInstanceIdentifier); source != "" {
		p, err := instance(ctx, client, source)
		return p != nil && err == nil && master.isAt(p.Endpoint)
	}
	if i.DBClusterIdentifier == nil {
		return false
	}
	out, err := client.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: i.DBClusterIdentifier})
	if err != nil || len(out.DBClusters) == 0 {
		return false
	}
	c := &out.DBClusters[0]
	if !master.isAt(&rdstypes.Endpoint{Address: c.Endpoint, Port: c.Port}) {
		return false
	}
	for _, m := range c.DBClusterMembers {
		if sameName(aws.ToString(m.DBInstanceIdentifier), id) {
			return !aws.ToBool(m.IsClusterWriter)
		}
	}
	return false
}

// identifier is what identifiers of instances look like (AWS docs).
var identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,62}$`)

// isAt tells whether an endpoint is the login's.
func (l Login) isAt(e *rdstypes.Endpoint) bool {
	return e != nil && sameName(aws.ToString(e.Address), l.Host) && int(aws.ToInt32(e.Port)) == l.Port
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
