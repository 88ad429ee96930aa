package network

import (
	"fmt"
	"net/netip"
)

// defaultRoute is the route of the function's subnet to public addresses.
func (t *trace) defaultRoute() *Route {
	table := t.s.RouteTableOf(t.subnet)
	if table == nil {
		return nil
	}
	return table.Lookup(t.outsideAddress())
}

// hasWayOut reports whether the records leave open that packets of the
// subnet reach public addresses: through a NAT gateway, or something that
// they do not describe.
func (t *trace) hasWayOut() bool {
	r := t.defaultRoute()
	if r == nil || r.Target == Local || t.s.Blackhole(t.s.RouteTableOf(t.subnet), *r) {
		return false
	}
	return KindOf(r.Target) != KindInternetGateway
}

// outside follows the way to an address that is not in the VPC.
func (t *trace) outside(to netip.Addr) bool {
	peer := netip.PrefixFrom(to, to.BitLen())
	if t.isResolver(peer) {
		return t.resolver()
	}
	x := target{name: "address " + to.String(), addr: peer}
	if to == publicAddress {
		x.name = "public addresses"
	}
	table, r, ok := t.routeOut(x)
	if !ok || !t.groupOut(x) {
		return false
	}
	own := t.s.ACLOf(t.subnet)
	if !t.acl(StageACLOut, own, true, peer, false) {
		return false
	}
	if KindOf(r.Target) == KindNATGateway {
		if !t.nat(t.s.NATGateway(r.Target), peer) {
			return false
		}
	} else {
		t.pass(Hop{Stage: StageGateway, Resource: r.Target, Text: fmt.Sprintf("What lies behind %s in %s is not recorded; it is taken to lead on.", r.Target, table.ID)})
	}
	return t.acl(StageACLBack, own, false, peer, true)
}

// routeOut finds the route out of the VPC.
func (t *trace) routeOut(x target) (*RouteTable, *Route, bool) {
	table := t.s.RouteTableOf(t.subnet)
	if table == nil {
		return nil, nil, t.refuse(NoRoute, Hop{Stage: StageRoute, Resource: t.subnetID, Text: fmt.Sprintf("Subnet %s has no route table.", t.subnetID)})
	}
	r := table.Lookup(x.addr.Addr())
	h := Hop{Stage: StageRoute, Resource: table.ID, Evidence: t.s.routeLines(table)}
	switch {
	case r == nil:
		h.Text = fmt.Sprintf("Route table %s of subnet %s has no route to %s.", table.ID, t.subnetID, x.name)
		h.Fix = t.routeFix(table, "create-route")
		return nil, nil, t.refuse(NoRoute, h)
	case t.s.Blackhole(table, *r):
		h.Text = fmt.Sprintf("The route of subnet %s to %s leads to %s, which is gone.", t.subnetID, x.name, r.Target)
		h.Fix = t.routeFix(table, "replace-route")
		return nil, nil, t.refuse(NoRoute, h)
	case KindOf(r.Target) == KindInternetGateway:
		h.Text = fmt.Sprintf("The route of subnet %s to %s leads to internet gateway %s. That does not help a function: it has no public address.", t.subnetID, x.name, r.Target)
		h.Fix = t.routeFix(table, "replace-route")
		return nil, nil, t.refuse(Dropped, h)
	}
	h.Text = fmt.Sprintf("Route table %s of subnet %s leads to %s by %s.", table.ID, t.subnetID, x.name, r.Target)
	h.Evidence = []string{routeLine(*r)}
	t.pass(h)
	return table, r, true
}

// routeFix is the command that leads the subnet to a NAT gateway, or makes
// one where there is none.
func (t *trace) routeFix(table *RouteTable, command string) string {
	for _, g := range t.s.NATGateways {
		if g.VPCID == t.vpc.ID && g.State == StateAvailable && g.Public && g.SubnetID != t.subnetID {
			return fmt.Sprintf("aws ec2 %s --route-table-id %s --destination-cidr-block 0.0.0.0/0 --nat-gateway-id %s", command, table.ID, g.ID)
		}
	}
	return "aws ec2 create-nat-gateway --subnet-id PUBLIC_SUBNET_ID --allocation-id ALLOCATION_ID"
}

// nat follows packets through a NAT gateway: in its subnet they need a route
// to an internet gateway, and that subnet's network ACL sees them as well.
func (t *trace) nat(g *NATGateway, peer netip.Prefix) bool {
	n := t.s.Subnet(g.SubnetID)
	if n == nil {
		return t.refuse(NoRoute, Hop{Stage: StageGateway, Resource: g.ID, Text: fmt.Sprintf("The subnet of NAT gateway %s is gone.", g.ID)})
	}
	acl, apart := t.s.ACLOf(n), n.ID != t.subnet.ID
	if apart && !t.acl(StageGatewayACL, acl, false, t.source, false) {
		return false
	}
	if !t.publicSubnet(g, n) {
		return false
	}
	if !t.acl(StageGatewayACL, acl, true, peer, false) || !t.acl(StageGatewayACL, acl, false, peer, true) {
		return false
	}
	return !apart || t.acl(StageGatewayACL, acl, true, t.source, true)
}

// publicSubnet checks that a NAT gateway stands where it reaches the
// internet.
func (t *trace) publicSubnet(g *NATGateway, n *Subnet) bool {
	h := Hop{Stage: StageGateway, Resource: g.ID}
	if !g.Public {
		h.Text = fmt.Sprintf("NAT gateway %s is private: it has no public address.", g.ID)
		h.Fix = "aws ec2 create-nat-gateway --subnet-id " + n.ID + " --allocation-id ALLOCATION_ID"
		return t.refuse(Dropped, h)
	}
	table := t.s.RouteTableOf(n)
	var r *Route
	if table != nil {
		r = table.Lookup(publicAddress)
	}
	if r == nil || KindOf(r.Target) != KindInternetGateway || t.s.Blackhole(table, *r) {
		h.Text = fmt.Sprintf("NAT gateway %s stands in subnet %s, which has no route to an internet gateway.", g.ID, n.ID)
		if table != nil {
			h.Evidence = t.s.routeLines(table)
			h.Fix = fmt.Sprintf("aws ec2 create-route --route-table-id %s --destination-cidr-block 0.0.0.0/0 --gateway-id %s", table.ID, t.gatewayID())
		}
		return t.refuse(Dropped, h)
	}
	h.Text = fmt.Sprintf("NAT gateway %s in subnet %s reaches internet gateway %s.", g.ID, n.ID, r.Target)
	h.Evidence = []string{routeLine(*r)}
	t.pass(h)
	return true
}

// gatewayID is the VPC's internet gateway.
func (t *trace) gatewayID() string {
	for _, g := range t.s.InternetGateways {
		if g.VPCID == t.vpc.ID {
			return g.ID
		}
	}
	return "INTERNET_GATEWAY_ID"
}

func routeLine(r Route) string {
	if !r.Destination.IsValid() {
		return r.PrefixListID + " -> " + r.Target
	}
	return r.Destination.String() + " -> " + r.Target
}

// routeLines lists the routes of a table as evidence.
func (s *Snapshot) routeLines(t *RouteTable) []string {
	var list []string
	for _, r := range t.Routes {
		line := routeLine(r)
		if s.Blackhole(t, r) {
			line += " (blackhole)"
		}
		list = append(list, line)
	}
	return list
}
