package network

import (
	"fmt"
	"net/netip"
	"strings"
)

// Verdict is what becomes of a connection.
type Verdict int

// The verdicts, from good to bad.
const (
	// Allowed: packets go both ways.
	Allowed Verdict = iota
	// Denied: the connection is made, but the endpoint's policy refuses the
	// call.
	Denied
	// Dropped: packets are lost on the way, so that the connection hangs
	// until the caller's timeout.
	Dropped
	// NoRoute: no route leads there. AWS drops such packets too, so that this
	// also shows as a timeout.
	NoRoute
)

// String returns the verdict in a word.
func (v Verdict) String() string {
	return [...]string{"allowed", "denied", "dropped", "no route"}[v]
}

// Path is the question to Analyze: can a function reach a destination?
type Path struct {
	// Function is the function's name, for the commands that mend it; may be
	// "".
	Function string
	From     VPCConfig
	To       Destination
	// Policy, if not nil, tells whether the endpoint's policy admits the
	// calls that the function makes, and if not why.
	Policy func(*Endpoint) (allowed bool, reason string)
}

// Destination is what a function calls: exactly one of an AWS service, a
// registered database and an address.
type Destination struct {
	// Service is the service's name in its endpoints' names: secretsmanager,
	// rds, kms.
	Service string
	// Host is the host name under which the function calls the service: the
	// regional one, also if "", that of an endpoint (vpce-…), or another.
	Host string
	// Database is the identifier of a registered database.
	Database string
	// Address is where packets go. For a service it may be set to what Host
	// stands for.
	Address netip.Addr
	// Port is 443 for a service that gives none, and a database's own.
	Port uint16
	// Protocol is tcp, also if "", or udp.
	Protocol string
}

// Stage is the sort of a hop.
type Stage string

// The stages, in the order of a packet's way there and back.
const (
	StageFunction    Stage = "vpc-config"
	StageDNS         Stage = "dns"
	StageEndpoint    Stage = "endpoint"
	StageAddress     Stage = "free-address"
	StageRoute       Stage = "route"
	StageGroupOut    Stage = "security-group-egress"
	StageACLOut      Stage = "acl-egress"
	StageTargetACLIn Stage = "target-acl-ingress"
	StageGateway     Stage = "gateway"
	StageGatewayACL  Stage = "gateway-acl"
	StageGroupIn     Stage = "security-group-ingress"
	StageTargetBack  Stage = "target-acl-egress"
	StageACLBack     Stage = "acl-ingress"
	StagePolicy      Stage = "endpoint-policy"
)

// Hop is one thing on the way that lets a connection pass or refuses it.
type Hop struct {
	Stage Stage
	// SubnetID is the function's subnet from which the way was looked at.
	SubnetID string
	// Resource is the ID of what decided.
	Resource string
	// Verdict is Allowed unless the hop refuses.
	Verdict Verdict
	// Text says in a sentence what happens here.
	Text string
	// Evidence lists the rules that were looked at; Used names those that let
	// the connection pass: sgr-… or acl-…/egress/100.
	Evidence, Used []string
	// Fix is a command of the AWS CLI that mends a refusal; "" where none
	// does.
	Fix string
}

// Report is the answer of Analyze.
type Report struct {
	// Verdict is that of the first hop that refuses, else Allowed.
	Verdict Verdict
	// Hops lists the way: from every subnet of the function when all pass,
	// else from the first that fails, up to the hop that refuses.
	Hops []Hop
}

// Refusal returns the hop that refuses; nil when none does.
func (r Report) Refusal() *Hop {
	if r.Verdict == Allowed {
		return nil
	}
	return &r.Hops[len(r.Hops)-1]
}

// Analyze tells whether a function reaches a destination, hop by hop. A
// function may run in any one of its subnets, so it must do so from each.
// Where a name stands for several addresses, all of them must answer.
func Analyze(s *Snapshot, p Path) Report {
	if len(p.From.SubnetIDs) == 0 {
		return Report{Hops: []Hop{{Stage: StageFunction, Text: "The function is in no VPC: it reaches public addresses directly."}}}
	}
	var all []Hop
	for _, id := range p.From.SubnetIDs {
		t := &trace{s: s, path: p, subnetID: id}
		if !t.run() {
			return Report{t.hops[len(t.hops)-1].Verdict, t.hops}
		}
		all = append(all, t.hops...)
	}
	return Report{Allowed, all}
}

// Egress tells what becomes of a connection from a function to an address
// and port; protocol is tcp or udp. A function in several subnets gets the
// worst of their verdicts: pass one subnet to ask for one environment. An
// address with the port of a registered database is that database, wherever
// the address itself lies. A function without a VPC may do everything.
// Loopback addresses are treated as any other: whether they leave the
// machine at all is the caller's to know.
func Egress(s *Snapshot, from VPCConfig, to netip.Addr, port uint16, protocol string) Verdict {
	return Analyze(s, Path{From: from, To: Destination{Address: to, Port: port, Protocol: protocol}}).Verdict
}

// trace follows the way from one subnet.
type trace struct {
	s        *Snapshot
	path     Path
	subnetID string

	subnet   *Subnet
	vpc      *VPC
	groups   []*SecurityGroup
	source   netip.Prefix // the function's address, or its subnet's block before it has one
	protocol int32
	port     uint16
	hops     []Hop
}

// target is one place that a destination stands for.
type target struct {
	name string
	// addr is an address, or a subnet's block where the address is unknown.
	addr netip.Prefix
	// subnet is nil outside of the VPC, and for addresses in none.
	subnet *Subnet
	// groups are the security groups of what has the address; known is false
	// where the records do not tell.
	groups   []*SecurityGroup
	known    bool
	endpoint *Endpoint
}

func (t *trace) pass(h Hop) {
	h.SubnetID = t.subnetID
	t.hops = append(t.hops, h)
}

// refuse notes the hop that refuses and returns false.
func (t *trace) refuse(v Verdict, h Hop) bool {
	h.SubnetID, h.Verdict = t.subnetID, v
	t.hops = append(t.hops, h)
	return false
}

func (t *trace) run() bool {
	if !t.start() {
		return false
	}
	targets, ok := t.targets()
	if !ok {
		return false
	}
	if targets == nil {
		return t.outside(t.outsideAddress())
	}
	for _, x := range targets {
		if !t.inside(x) {
			return false
		}
	}
	if e := targets[0].endpoint; e != nil {
		return t.policy(e)
	}
	return true
}

// start finds the function's side.
func (t *trace) start() bool {
	t.subnet = t.s.Subnet(t.subnetID)
	if t.subnet != nil {
		t.vpc = t.s.VPC(t.subnet.VPCID)
	}
	if t.subnet == nil || t.vpc == nil {
		return t.refuse(Dropped, Hop{Stage: StageFunction, Resource: t.subnetID,
			Text: fmt.Sprintf("The function's subnet %s does not exist.", t.subnetID), Fix: t.moveFunction("SUBNET_ID")})
	}
	for _, id := range t.path.From.GroupIDs {
		g := t.s.Group(id)
		if g == nil || g.VPCID != t.vpc.ID {
			return t.refuse(Dropped, Hop{Stage: StageFunction, Resource: id,
				Text: fmt.Sprintf("The function's security group %s does not exist in %s.", id, t.vpc.ID), Fix: t.moveFunction(t.subnetID)})
		}
		t.groups = append(t.groups, g)
	}
	t.pass(Hop{Stage: StageFunction, Resource: t.subnetID,
		Text: fmt.Sprintf("The function runs in subnet %s (%s) of %s with %s.", t.subnetID, t.subnet.CIDR, t.vpc.ID, strings.Join(t.path.From.GroupIDs, ", "))})
	t.port, t.protocol = t.path.To.Port, protocolTCP
	if t.port == 0 {
		t.port = 443
	}
	if t.path.To.Protocol == "udp" {
		t.protocol = protocolUDP
	}
	return t.address()
}

// address finds the address that the function has, or whether it can get
// one.
func (t *trace) address() bool {
	if i := t.s.LambdaInterface(t.subnetID, t.path.From.GroupIDs); i != nil {
		t.source = netip.PrefixFrom(i.Address, i.Address.BitLen())
		return true
	}
	t.source = t.subnet.CIDR
	if t.s.FreeAddresses(t.subnet) > 0 {
		return true
	}
	move := "SUBNET_ID"
	for _, n := range t.s.Subnets {
		if n.VPCID == t.vpc.ID && t.s.FreeAddresses(n) > 0 {
			move = n.ID
			break
		}
	}
	return t.refuse(Dropped, Hop{Stage: StageAddress, Resource: t.subnetID,
		Text:     fmt.Sprintf("Subnet %s has no free address for the function's network interface.", t.subnetID),
		Evidence: []string{fmt.Sprintf("%s: 0 of %d addresses free", t.subnet.CIDR, 1<<(32-t.subnet.CIDR.Bits())-reservedAddresses)},
		Fix:      t.moveFunction(move)})
}

func (t *trace) groupIDs() string { return strings.Join(t.path.From.GroupIDs, ",") }

// moveFunction is the command that puts the function into a subnet.
func (t *trace) moveFunction(subnetID string) string {
	name := t.path.Function
	if name == "" {
		name = "FUNCTION_NAME"
	}
	return fmt.Sprintf("aws lambda update-function-configuration --function-name %s --vpc-config SubnetIds=%s,SecurityGroupIds=%s",
		name, subnetID, t.groupIDs())
}

// ports is how texts name what is called.
func (t *trace) ports() string {
	return fmt.Sprintf("%s port %d", strings.ToUpper(ProtocolName(t.protocol)), t.port)
}
