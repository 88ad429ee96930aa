package gather

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/network"
)

// network follows the function's ways: to Secrets Manager, to RDS's API, and
// to the databases that its secret may mean.
func (l *look) network(ctx context.Context) {
	f := l.e.Function
	if f == nil || !f.Found || f.VPCID == "" && l.e.Keyturn {
		return // on Keyturn a function without VPC reaches what the host reaches
	}
	var s *network.Snapshot
	var all []database
	whole := true
	l.together(ctx, func(ctx context.Context) {
		if f.VPCID != "" {
			s, whole = l.snapshot(ctx, f.VPCID)
		}
	}, func(ctx context.Context) { all = l.databases(ctx) })
	if !whole {
		return
	}
	w := l.ways(f, s, all)
	w.Enforced = l.e.Network != nil && l.e.Network.Enforced
	l.note(func(e *doctor.Evidence) { e.Network = w })
}

// ways analyses what a rotation function calls.
func (l *look) ways(f *doctor.Function, s *network.Snapshot, all []database) *doctor.Network {
	w := &doctor.Network{VPCID: f.VPCID}
	if s == nil {
		for _, d := range meant(all, l.e) {
			w.Paths = append(w.Paths, withoutVPC(f, &d))
		}
		return w
	}
	place(all, s)
	for i := range all {
		s.Databases = append(s.Databases, all[i].Database)
	}
	w.Paths = append(w.Paths, l.toService(f, s, "secretsmanager", l.endpointHost(f)), l.toService(f, s, "rds", ""))
	for _, d := range meant(all, l.e) {
		w.Paths = append(w.Paths, l.toDatabase(f, s, &d))
	}
	return w
}

// withoutVPC is the way of a function in no VPC to a database: it exists only
// for one with a public address.
func withoutVPC(f *doctor.Function, d *database) doctor.Path {
	p := doctor.Path{To: "database", Host: d.Host, Port: d.Port, Database: d.words}
	p.Report = network.Analyze(&network.Snapshot{}, network.Path{})
	if d.Public || d.VPCID == "" {
		return p
	}
	p.Report = network.Report{Verdict: network.NoRoute, Hops: []network.Hop{{
		Stage: network.StageFunction, Resource: f.Name, Verdict: network.NoRoute,
		Text: fmt.Sprintf("The function is in no VPC, and database %s is in %s without a public address.", d.ID, d.VPCID),
		Fix: fmt.Sprintf("aws lambda update-function-configuration --function-name %s --vpc-config SubnetIds=%s,SecurityGroupIds=%s",
			f.Name, strings.Join(d.SubnetIDs, ","), cmp.Or(strings.Join(d.GroupIDs, ","), "SECURITY_GROUP_ID")),
	}}}
	return p
}

// endpointHost is the host that the function's variable names for Secrets
// Manager; "" for the regional one. On Keyturn every name of the server stands
// for that.
func (l *look) endpointHost(f *doctor.Function) string {
	u, err := url.Parse(f.Variables["SECRETS_MANAGER_ENDPOINT"])
	if err != nil || u.Hostname() == "" {
		return ""
	}
	if l.e.Keyturn && !strings.Contains(u.Hostname(), ".amazonaws.com") {
		return ""
	}
	return u.Hostname()
}

func from(f *doctor.Function) network.VPCConfig {
	return network.VPCConfig{SubnetIDs: f.SubnetIDs, GroupIDs: f.GroupIDs}
}

func (l *look) toService(f *doctor.Function, s *network.Snapshot, service, host string) doctor.Path {
	to := network.Destination{Service: service, Host: host}
	return doctor.Path{
		To: service, Host: cmp.Or(host, network.RegionalHost(s.Region, service)), Port: 443,
		Report: network.Analyze(s, network.Path{Function: f.Name, From: from(f), To: to, Policy: l.endpointPolicy(f, service)}),
	}
}

func (l *look) toDatabase(f *doctor.Function, s *network.Snapshot, d *database) doctor.Path {
	return doctor.Path{
		To: "database", Host: d.Host, Port: d.Port, Database: d.words,
		Report: network.Analyze(s, network.Path{Function: f.Name, From: from(f), To: network.Destination{Database: d.ID}}),
	}
}

// calls are what a rotation function asks a service for, with the resources.
func (l *look) calls(service string) map[string]string {
	switch service {
	case "secretsmanager":
		calls := map[string]string{"secretsmanager:GetRandomPassword": "*"}
		if l.e.Secret.ARN != "" {
			for _, action := range secretActions {
				calls[action] = l.e.Secret.ARN
			}
		}
		return calls
	case "rds":
		return map[string]string{"rds:DescribeDBInstances": "*"}
	}
	return nil
}

// everything lets the caller do anything, so that the endpoint's policy alone
// decides.
const everything = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`

// endpointPolicy tells whether an endpoint's policy admits the function's
// calls. What depends on a condition that cannot be known here counts as
// admitted.
func (l *look) endpointPolicy(f *doctor.Function, service string) func(*network.Endpoint) (bool, string) {
	return func(e *network.Endpoint) (bool, string) {
		if e.Policy == "" {
			return true, ""
		}
		policy, err := iam.CompileText(e.Policy, e.ID)
		if err != nil {
			return true, ""
		}
		open, err := iam.CompileText(everything, "everything")
		if err != nil {
			return true, ""
		}
		who := l.session(f)
		values := iam.ContextOf(map[string][]string{
			"aws:SourceVpc": {e.VPCID}, "aws:SourceVpce": {e.ID}, "aws:RequestedRegion": {l.e.Region}, "aws:SecureTransport": {strconv.FormatBool(true)},
			"aws:ResourceAccount": {l.e.Account},
		})
		calls := l.calls(service)
		for _, action := range slices.Sorted(maps.Keys(calls)) {
			resource := calls[action]
			x := iam.Explain(&iam.Request{Principal: who, Action: action, Resource: resource, Context: values},
				&iam.Policies{Identity: []*iam.Policy{open}, Endpoint: policy})
			if !x.Decision.Allowed() && len(x.MissingKeys) == 0 {
				return false, x.Decision.Refusal(who.ARN, action, resource)
			}
		}
		return true, ""
	}
}

// session is who the function is when it calls.
func (l *look) session(f *doctor.Function) iam.Principal {
	name := roleName(f.RoleARN)
	return iam.Principal{
		Type: iam.AssumedRole, Account: l.e.Account, Name: name, Session: f.Name, RoleARN: f.RoleARN,
		ARN: "arn:" + l.e.Partition + ":sts::" + l.e.Account + ":assumed-role/" + name + "/" + f.Name,
	}
}
