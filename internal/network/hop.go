package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// inside follows the way to a place in the VPC and back.
func (t *trace) inside(x target) bool {
	if t.isResolver(x.addr) {
		return t.resolver()
	}
	t.pass(Hop{Stage: StageRoute, Resource: t.subnetID, Text: fmt.Sprintf("%s (%s) lies in %s: the local route leads there.", x.name, x.addr, t.vpc.ID)})
	if !t.groupOut(x) {
		return false
	}
	if x.subnet == nil || x.subnet.ID == t.subnet.ID {
		return t.groupIn(x) // network ACLs are around subnets, not in them
	}
	own, far := t.s.ACLOf(t.subnet), t.s.ACLOf(x.subnet)
	return t.acl(StageACLOut, own, true, x.addr, false) &&
		t.acl(StageTargetACLIn, far, false, t.source, false) &&
		t.groupIn(x) &&
		t.acl(StageTargetBack, far, true, t.source, true) &&
		t.acl(StageACLBack, own, false, x.addr, true)
}

// resolverAddress is that of Amazon's DNS server beside the VPC's own (AWS
// docs).
var resolverAddress = netip.AddrFrom4([4]byte{169, 254, 169, 253})

// isResolver reports whether packets go to the VPC's DNS server, which
// filters do not see (AWS docs).
func (t *trace) isResolver(p netip.Prefix) bool {
	return t.port == 53 && p.IsSingleIP() && (p.Addr() == resolverAddress || p.Addr() == t.vpc.CIDR.Addr().Next().Next())
}

func (t *trace) resolver() bool {
	h := Hop{Stage: StageDNS, Resource: t.vpc.ID, Text: "The DNS server of the VPC answers; no filter sees it."}
	if t.vpc.DNSSupport {
		t.pass(h)
		return true
	}
	h.Text = fmt.Sprintf("DNS resolution is off in %s: its DNS server does not answer.", t.vpc.ID)
	h.Evidence = []string{"enableDnsSupport: false"}
	h.Fix = fmt.Sprintf("aws ec2 modify-vpc-attribute --vpc-id %s --enable-dns-support Value=true", t.vpc.ID)
	return t.refuse(Dropped, h)
}

// groupOut asks the function's security groups.
func (t *trace) groupOut(x target) bool {
	r := allowing(t.groups, true, t.protocol, t.port, x.addr, idsOf(x.groups))
	if r != nil {
		t.pass(Hop{Stage: StageGroupOut, Resource: t.ruleOwner(r), Used: []string{r.ID}, Evidence: []string{r.line()},
			Text: fmt.Sprintf("The function's security group lets %s out to %s.", t.ports(), x.name)})
		return true
	}
	id := "SECURITY_GROUP_ID"
	if len(t.groups) > 0 {
		id = t.groups[0].ID
	}
	return t.refuse(Dropped, Hop{Stage: StageGroupOut, Resource: id, Evidence: lines(t.groups, true),
		Text: fmt.Sprintf("No egress rule of %s lets %s out to %s (%s).", strings.Join(t.path.From.GroupIDs, ", "), t.ports(), x.name, x.addr),
		Fix:  t.authorize("egress", id, x.groups, x.addr)})
}

// groupIn asks the security groups of what is called. Answers need no rule:
// security groups remember connections.
func (t *trace) groupIn(x target) bool {
	if !x.known {
		return true
	}
	r := allowing(x.groups, false, t.protocol, t.port, t.source, t.path.From.GroupIDs)
	if r != nil {
		t.pass(Hop{Stage: StageGroupIn, Resource: t.ruleOwner(r), Used: []string{r.ID}, Evidence: []string{r.line()},
			Text: fmt.Sprintf("The security group of %s lets %s in from the function.", x.name, t.ports())})
		return true
	}
	id := "SECURITY_GROUP_ID"
	if len(x.groups) > 0 {
		id = x.groups[0].ID
	}
	return t.refuse(Dropped, Hop{Stage: StageGroupIn, Resource: id, Evidence: lines(x.groups, false),
		Text: fmt.Sprintf("No ingress rule of %s, around %s, lets %s in from the function (%s, %s).",
			strings.Join(idsOf(x.groups), ", "), x.name, t.ports(), strings.Join(t.path.From.GroupIDs, ", "), t.source),
		Fix: t.authorize("ingress", id, t.groups, t.source)})
}

// authorize is the command that adds the missing rule to a group; the peer is
// its first group, or else the addresses.
func (t *trace) authorize(way, groupID string, peers []*SecurityGroup, addr netip.Prefix) string {
	peer := fmt.Sprintf("IpRanges=[{CidrIp=%s}]", named(addr))
	if len(peers) > 0 {
		peer = fmt.Sprintf("UserIdGroupPairs=[{GroupId=%s}]", peers[0].ID)
	}
	return fmt.Sprintf("aws ec2 authorize-security-group-%s --group-id %s --ip-permissions 'IpProtocol=%s,FromPort=%d,ToPort=%d,%s'",
		way, groupID, ProtocolName(t.protocol), t.port, t.port, peer)
}

// acl asks a network ACL about packets to (egress) or from a peer. Answers go
// to the ephemeral port from which the function called.
func (t *trace) acl(stage Stage, a *ACL, egress bool, peer netip.Prefix, answers bool) bool {
	if a == nil {
		return true
	}
	ports := traffic{t.protocol, peer, int32(t.port), int32(t.port)}
	what := t.ports()
	if answers {
		ports.from, ports.to = ephemeralFrom, ephemeralTo
		what = fmt.Sprintf("answers to ports %d-%d", ephemeralFrom, ephemeralTo)
	}
	prepositions := map[bool]string{true: "out to", false: "in from"}
	allowed, used := a.decide(egress, ports)
	h := Hop{Stage: stage, Resource: a.ID}
	for _, e := range used {
		h.Evidence = append(h.Evidence, e.describe())
	}
	if allowed {
		for _, e := range used {
			h.Used = append(h.Used, fmt.Sprintf("%s/%s/%d", a.ID, direction(egress), e.Number))
		}
		h.Text = fmt.Sprintf("Network ACL %s lets %s %s %s.", a.ID, what, prepositions[egress], peer)
		t.pass(h)
		return true
	}
	h.Text = fmt.Sprintf("Network ACL %s does not let %s %s %s. Network ACLs keep no state: both directions need a rule.", a.ID, what, prepositions[egress], peer)
	h.Fix = aclFix(a, egress, ports, used)
	return t.refuse(Dropped, h)
}

// aclFix is the command that adds an entry before the one that denied.
func aclFix(a *ACL, egress bool, ports traffic, denied []Entry) string {
	before := int32(LastEntry)
	if len(denied) > 0 {
		before = denied[0].Number
	}
	number := a.freeNumber(egress, before)
	if number == 0 {
		return fmt.Sprintf("aws ec2 delete-network-acl-entry --network-acl-id %s --%s --rule-number %d", a.ID, direction(egress), before)
	}
	return fmt.Sprintf("aws ec2 create-network-acl-entry --network-acl-id %s --%s --rule-number %d --protocol %s --port-range From=%d,To=%d --cidr-block %s --rule-action allow",
		a.ID, direction(egress), number, ProtocolName(ports.protocol), ports.from, ports.to, named(ports.peer))
}

// named is a block as commands give it: everything for an unknown public
// address.
func named(p netip.Prefix) netip.Prefix {
	if p.Addr() == publicAddress {
		return anywhere
	}
	return p.Masked()
}

// policy asks the endpoint's policy.
func (t *trace) policy(e *Endpoint) bool {
	if t.path.Policy == nil {
		return true
	}
	if ok, reason := t.path.Policy(e); !ok {
		return t.refuse(Denied, Hop{Stage: StagePolicy, Resource: e.ID, Evidence: []string{reason},
			Text: fmt.Sprintf("The policy of endpoint %s does not admit the call.", e.ID),
			Fix:  fmt.Sprintf("aws ec2 modify-vpc-endpoint --vpc-endpoint-id %s --reset-policy", e.ID)})
	}
	t.pass(Hop{Stage: StagePolicy, Resource: e.ID, Text: fmt.Sprintf("The policy of endpoint %s admits the call.", e.ID)})
	return true
}

func idsOf(groups []*SecurityGroup) []string {
	var ids []string
	for _, g := range groups {
		ids = append(ids, g.ID)
	}
	return ids
}

// ruleOwner is the ID of the group that has the rule.
func (t *trace) ruleOwner(r *Rule) string {
	for _, g := range t.s.Groups {
		if slices.ContainsFunc(g.Rules, func(x Rule) bool { return x.ID == r.ID }) {
			return g.ID
		}
	}
	return ""
}

// line is the rule in one line, as evidence.
func (r *Rule) line() string { return fmt.Sprintf("%s %s: %s", r.ID, direction(r.Egress), r) }

// lines lists the rules of groups in one direction.
func lines(groups []*SecurityGroup, egress bool) []string {
	var list []string
	for _, g := range groups {
		for i := range g.Rules {
			if g.Rules[i].Egress == egress {
				list = append(list, g.ID+" "+g.Rules[i].line())
			}
		}
	}
	if list == nil {
		for _, g := range groups {
			list = append(list, fmt.Sprintf("%s has no %s rule", g.ID, direction(egress)))
		}
	}
	return list
}
