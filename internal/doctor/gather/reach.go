package gather

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/network"
)

// Reach is how a function gets, or does not get, to one destination.
type Reach struct {
	Function *doctor.Function
	Path     doctor.Path
	// Enforced tells that the network counts: always on AWS, on Keyturn with
	// --enforce-vpc.
	Enforced bool
	Gaps     []doctor.Gap
}

// Network follows the way of a function, by its name or ARN, to a destination:
// the name of an AWS service such as secretsmanager, a database instance, the
// writer or reader of a cluster as CLUSTER/writer, or HOST:PORT. The error says
// what could not be found out; without the whole network there is no answer.
func (g *Gatherer) Network(ctx context.Context, function, to string) (*Reach, error) {
	r := &Reach{}
	l := &look{Gatherer: g, gaps: &r.Gaps, e: &doctor.Evidence{At: time.Now().UTC(), Region: g.region, Network: &doctor.Network{}}}
	l.together(ctx, l.caller, l.server, func(ctx context.Context) { r.Function, _ = l.functionOf(ctx, function) })
	r.Enforced = l.e.Network.Enforced
	f := r.Function
	if f == nil {
		return r, l.unknown("the function " + function + " could not be looked at")
	}
	if !f.Found {
		return r, fmt.Errorf("there is no function %s", function)
	}
	if a, ok := arn.Parse(f.ARN); ok {
		l.e.Account, l.e.Region, l.e.Partition = a.Account, a.Region, a.Partition
	}
	s, whole := &network.Snapshot{Account: l.e.Account, Region: l.e.Region}, true
	var all []database
	l.together(ctx, func(ctx context.Context) {
		if f.VPCID != "" {
			s, whole = l.snapshot(ctx, f.VPCID)
		}
	}, func(ctx context.Context) {
		if !serviceName(to) {
			all = l.databases(ctx)
		}
	})
	if err := ctx.Err(); err != nil {
		return r, fmt.Errorf("following the network of %s: %w", function, context.Cause(ctx))
	}
	if !whole {
		return r, l.unknown("the network of " + function + " could not be looked at as a whole")
	}
	var err error
	r.Path, err = l.way(ctx, f, s, all, to)
	return r, err
}

// unknown is an error with the first gap, which says why.
func (l *look) unknown(what string) error {
	if len(*l.gaps) == 0 {
		return fmt.Errorf("%s", what)
	}
	first := (*l.gaps)[0]
	return fmt.Errorf("%s: %s: %s", what, first.Action, first.Error)
}

// services are the AWS services that a rotation function may call.
var services = []string{"secretsmanager", "kms", "rds", "sts", "lambda", "logs", "ds", "elasticache", "redshift", "redshift-serverless", "timestream-influxdb", "ec2", "iam"}

func serviceName(to string) bool { return slices.Contains(services, to) }

// way analyses the way to one destination.
func (l *look) way(ctx context.Context, f *doctor.Function, s *network.Snapshot, all []database, to string) (doctor.Path, error) {
	if serviceName(to) {
		host := ""
		if to == "secretsmanager" {
			host = l.endpointHost(f)
		}
		return l.toService(f, s, to, host), nil
	}
	place(all, s)
	for i := range all {
		s.Databases = append(s.Databases, all[i].Database)
	}
	host, port := to, uint16(0)
	if h, p, err := net.SplitHostPort(to); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return doctor.Path{}, fmt.Errorf("%q is no port", p)
		}
		host, port = h, uint16(n)
	}
	for i := range all {
		d := &all[i]
		if d.ID == to || d.ID == to+"/writer" || strings.EqualFold(d.Host, host) && d.Port == port {
			if f.VPCID == "" {
				return withoutVPC(f, d), nil
			}
			return l.toDatabase(f, s, d), nil
		}
	}
	if port == 0 {
		return doctor.Path{}, fmt.Errorf("%q is no service that rotation functions call, no registered database, and no HOST:PORT", to)
	}
	a, err := resolve(ctx, host)
	if err != nil {
		return doctor.Path{}, err
	}
	return doctor.Path{To: "address", Host: host, Port: port, Report: network.Analyze(s, network.Path{
		Function: f.Name, From: from(f), To: network.Destination{Host: host, Address: a, Port: port},
	})}, nil
}

// resolve finds a host's first IPv4 address, as it looks from here.
func resolve(ctx context.Context, host string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return a.Unmap(), nil
	}
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil || len(list) == 0 {
		return netip.Addr{}, fmt.Errorf("the name %s does not resolve from here", host)
	}
	return list[0].Unmap(), nil
}
