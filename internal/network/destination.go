package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// publicAddress stands for the public address of a service that nobody has
// looked up: one kept for documentation, so no rule is about it alone.
var publicAddress = netip.AddrFrom4([4]byte{203, 0, 113, 1})

// outsideAddress is where packets go that leave the VPC.
func (t *trace) outsideAddress() netip.Addr {
	if d := t.path.To; d.Address.IsValid() {
		return d.Address
	}
	if a, err := netip.ParseAddr(strings.Trim(t.path.To.Host, "[]")); err == nil {
		return a
	}
	if d := t.s.Database(t.path.To.Database); d != nil && d.Address.IsValid() {
		return d.Address
	}
	return publicAddress
}

// targets finds what in the VPC the destination stands for; none when it
// lies outside. ok is false when it was refused.
func (t *trace) targets() (list []target, ok bool) {
	d := t.path.To
	switch {
	case d.Service != "":
		return t.service()
	case d.Database != "":
		db := t.s.Database(d.Database)
		if db == nil {
			return nil, t.refuse(NoRoute, Hop{Stage: StageDNS, Resource: d.Database, Text: fmt.Sprintf("No database %s is registered.", d.Database)})
		}
		return t.database(db)
	}
	for i := range t.s.Databases {
		if db := &t.s.Databases[i]; db.Address.IsValid() && db.Address == d.Address && db.Port == d.Port {
			return t.database(db)
		}
	}
	return t.inVPC(d.Address), true
}

// inVPC finds an address in the VPC; nil when it lies outside.
func (t *trace) inVPC(a netip.Addr) []target {
	if !t.vpc.CIDR.Contains(a) {
		return nil
	}
	x := target{name: a.String(), addr: netip.PrefixFrom(a, a.BitLen()), subnet: t.s.SubnetAt(t.vpc.ID, a)}
	if i := t.s.InterfaceAt(t.vpc.ID, a); i != nil {
		x.groups, x.known = t.groupsOf(i.GroupIDs), true
	}
	return []target{x}
}

func (t *trace) groupsOf(ids []string) []*SecurityGroup {
	var groups []*SecurityGroup
	for _, id := range ids {
		if g := t.s.Group(id); g != nil {
			groups = append(groups, g)
		}
	}
	return groups
}

// database finds where a registered database may stand: in any subnet of its
// group. One in another VPC is reached, if at all, by its public address.
func (t *trace) database(db *Database) ([]target, bool) {
	t.port = db.Port
	if len(db.SubnetIDs) == 0 {
		if db.Address.IsValid() {
			return t.inVPC(db.Address), true
		}
		return nil, true
	}
	if db.VPCID != t.vpc.ID {
		if db.Public {
			return nil, true
		}
		return nil, t.refuse(NoRoute, Hop{Stage: StageRoute, Resource: db.ID,
			Text: fmt.Sprintf("Database %s is in %s and not publicly accessible; the function is in %s, and nothing recorded joins the two.", db.ID, db.VPCID, t.vpc.ID),
			Fix:  t.moveFunction(strings.Join(db.SubnetIDs, ","))})
	}
	var list []target
	for _, id := range db.SubnetIDs {
		n := t.s.Subnet(id)
		if n == nil || db.Address.IsValid() && t.vpc.CIDR.Contains(db.Address) && !n.CIDR.Contains(db.Address) {
			continue
		}
		x := target{name: "database " + db.ID, addr: n.CIDR, subnet: n, groups: t.groupsOf(db.GroupIDs), known: true}
		if n.CIDR.Contains(db.Address) {
			x.addr = netip.PrefixFrom(db.Address, db.Address.BitLen())
		}
		list = append(list, x)
	}
	if len(list) == 0 {
		return nil, t.refuse(NoRoute, Hop{Stage: StageRoute, Resource: db.ID,
			Text: fmt.Sprintf("Database %s stands in no subnet that exists.", db.ID), Evidence: db.SubnetIDs})
	}
	return list, true
}

// ServiceName is the full name of an AWS service for its endpoints.
func ServiceName(region, service string) string {
	if strings.HasPrefix(region, "cn-") {
		return "cn.com.amazonaws." + region + "." + service
	}
	return "com.amazonaws." + region + "." + service
}

// suffix is the domain of the region's AWS host names.
func suffix(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// RegionalHost is the host name of a service in a region.
func RegionalHost(region, service string) string {
	return service + "." + region + "." + suffix(region)
}

// DNSNames returns the host names of an endpoint of the type Interfaced: its
// own, one for each zone of its subnets, and with private DNS the service's.
func (s *Snapshot) DNSNames(e *Endpoint) []string {
	service := e.Service[strings.LastIndexByte(e.Service, '.')+1:]
	tail := "." + service + "." + s.Region + ".vpce." + suffix(s.Region)
	names := []string{e.ID + "-" + e.Label + tail}
	for _, id := range e.SubnetIDs {
		if n := s.Subnet(id); n != nil {
			names = append(names, e.ID+"-"+e.Label+"-"+n.Zone+tail)
		}
	}
	if e.PrivateDNS {
		names = append(names, RegionalHost(s.Region, service))
	}
	return names
}

// service finds the endpoint that the host name leads to, if any.
func (t *trace) service() ([]target, bool) {
	host := strings.ToLower(strings.TrimSuffix(t.path.To.Host, "."))
	regional := RegionalHost(t.s.Region, t.path.To.Service)
	switch {
	case host == "" || host == regional:
		return t.regional(regional)
	case strings.HasPrefix(host, PrefixEndpoint+"-"):
		return t.byEndpointName(host)
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return t.inVPC(a), true
	}
	if t.path.To.Address.IsValid() {
		return t.inVPC(t.path.To.Address), true
	}
	t.pass(Hop{Stage: StageDNS, Resource: host, Text: fmt.Sprintf("%s is not the name of an endpoint of %s: its address is a public one.", host, t.vpc.ID)})
	return nil, true
}

// regional follows the service's regional name: with private DNS it stands
// for an endpoint's interfaces, else for public addresses.
func (t *trace) regional(host string) ([]target, bool) {
	name := ServiceName(t.s.Region, t.path.To.Service)
	var mine []*Endpoint
	for _, e := range t.s.Endpoints {
		if e.VPCID == t.vpc.ID && e.Service == name && e.Type == Interfaced && e.State != StateDeleted && e.State != StateDeleting {
			mine = append(mine, e)
		}
	}
	for _, e := range mine {
		if t.privateName(e) == nil {
			t.pass(Hop{Stage: StageDNS, Resource: e.ID, Text: fmt.Sprintf("%s stands for the interfaces of endpoint %s, whose private DNS is on.", host, e.ID)})
			return t.endpoint(e)
		}
	}
	if t.hasWayOut() {
		t.pass(Hop{Stage: StageDNS, Resource: t.vpc.ID, Text: fmt.Sprintf("%s stands for public addresses: no endpoint of %s takes the name.", host, t.vpc.ID)})
		return nil, true
	}
	if len(mine) > 0 {
		return nil, t.refuse(NoRoute, *t.privateName(mine[0]))
	}
	return nil, t.noEndpoint(host, name)
}

// noEndpoint refuses a service that has no endpoint where nothing else leads
// out.
func (t *trace) noEndpoint(host, name string) bool {
	evidence := []string{fmt.Sprintf("no endpoint for %s in %s", name, t.vpc.ID)}
	v, text := NoRoute, "and its subnet %s has no route out of it."
	if r := t.defaultRoute(); r != nil {
		evidence = append(evidence, fmt.Sprintf("route %s -> %s in %s", r.Destination, r.Target, t.s.RouteTableOf(t.subnet).ID))
		text = "and the route of its subnet %s out of it does not work."
		if KindOf(r.Target) == KindInternetGateway {
			v, text = Dropped, "and the route of its subnet %s to an internet gateway does not help: a function has no public address."
		}
	}
	fix := fmt.Sprintf("aws ec2 create-vpc-endpoint --vpc-id %s --vpc-endpoint-type Interface --service-name %s --subnet-ids %s --security-group-ids %s --private-dns-enabled",
		t.vpc.ID, name, strings.Join(t.path.From.SubnetIDs, " "), strings.Join(t.path.From.GroupIDs, " "))
	return t.refuse(v, Hop{Stage: StageRoute, Resource: t.subnetID, Evidence: evidence, Fix: fix,
		Text: fmt.Sprintf("%s has no endpoint for %s, "+text, t.vpc.ID, host, t.subnetID)})
}

// privateName tells why the regional name does not stand for the endpoint;
// nil when it does.
func (t *trace) privateName(e *Endpoint) *Hop {
	h := &Hop{Stage: StageDNS, Resource: e.ID}
	switch {
	case e.State != StateAvailable:
		h.Stage = StageEndpoint
		h.Text = fmt.Sprintf("Endpoint %s is not available: its state is %s.", e.ID, e.State)
		h.Fix = "aws ec2 describe-vpc-endpoints --vpc-endpoint-ids " + e.ID
	case !t.vpc.DNSSupport:
		h.Resource = t.vpc.ID
		h.Text = fmt.Sprintf("DNS resolution is off in %s, so the service's name does not stand for endpoint %s.", t.vpc.ID, e.ID)
		h.Evidence = []string{"enableDnsSupport: false"}
		h.Fix = fmt.Sprintf("aws ec2 modify-vpc-attribute --vpc-id %s --enable-dns-support Value=true", t.vpc.ID)
	case !t.vpc.DNSHostnames:
		h.Resource = t.vpc.ID
		h.Text = fmt.Sprintf("DNS hostnames are off in %s, so the service's name does not stand for endpoint %s.", t.vpc.ID, e.ID)
		h.Evidence = []string{"enableDnsHostnames: false"}
		h.Fix = fmt.Sprintf("aws ec2 modify-vpc-attribute --vpc-id %s --enable-dns-hostnames Value=true", t.vpc.ID)
	case !e.PrivateDNS:
		h.Text = fmt.Sprintf("Private DNS of endpoint %s is off, so the service's name stands for public addresses.", e.ID)
		h.Evidence = []string{"privateDnsEnabled: false"}
		h.Fix = fmt.Sprintf("aws ec2 modify-vpc-endpoint --vpc-endpoint-id %s --private-dns-enabled", e.ID)
	default:
		return nil
	}
	return h
}

// byEndpointName follows a name of the form vpce-ID-LABEL….
func (t *trace) byEndpointName(host string) ([]target, bool) {
	i := slices.IndexFunc(t.s.Endpoints, func(e *Endpoint) bool { return strings.HasPrefix(host, e.ID+"-"+e.Label) })
	if i < 0 || t.s.Endpoints[i].VPCID != t.vpc.ID {
		return nil, t.refuse(NoRoute, Hop{Stage: StageEndpoint, Resource: host,
			Text: fmt.Sprintf("%s is not the name of an endpoint in %s.", host, t.vpc.ID),
			Fix:  "aws ec2 describe-vpc-endpoints --filters Name=vpc-id,Values=" + t.vpc.ID})
	}
	e := t.s.Endpoints[i]
	if e.State != StateAvailable {
		return nil, t.refuse(NoRoute, *t.privateName(e))
	}
	t.pass(Hop{Stage: StageDNS, Resource: e.ID, Text: fmt.Sprintf("%s is a name of endpoint %s.", host, e.ID)})
	list, ok := t.endpoint(e)
	label, _, _ := strings.Cut(host, ".")
	zone := strings.TrimPrefix(strings.TrimPrefix(label, e.ID+"-"+e.Label), "-")
	if !ok || zone == "" {
		return list, ok
	}
	list = slices.DeleteFunc(list, func(x target) bool { return x.subnet.Zone != zone })
	if len(list) == 0 {
		return nil, t.refuse(NoRoute, Hop{Stage: StageEndpoint, Resource: e.ID,
			Text: fmt.Sprintf("Endpoint %s has no interface in zone %s.", e.ID, zone),
			Fix:  fmt.Sprintf("aws ec2 modify-vpc-endpoint --vpc-endpoint-id %s --add-subnet-ids SUBNET_ID", e.ID)})
	}
	return list, true
}

// endpoint returns the interfaces of an endpoint.
func (t *trace) endpoint(e *Endpoint) ([]target, bool) {
	var list []target
	for i, id := range e.SubnetIDs {
		n := t.s.Subnet(id)
		if n == nil {
			continue
		}
		x := target{name: "endpoint " + e.ID, addr: n.CIDR, subnet: n, groups: t.groupsOf(e.GroupIDs), known: true, endpoint: e}
		if i < len(e.InterfaceIDs) {
			if face := t.s.Interface(e.InterfaceIDs[i]); face != nil {
				x.addr = netip.PrefixFrom(face.Address, face.Address.BitLen())
			}
		}
		list = append(list, x)
	}
	if len(list) == 0 {
		return nil, t.refuse(NoRoute, Hop{Stage: StageEndpoint, Resource: e.ID,
			Text: fmt.Sprintf("Endpoint %s has no interface in any subnet.", e.ID),
			Fix:  fmt.Sprintf("aws ec2 modify-vpc-endpoint --vpc-endpoint-id %s --add-subnet-ids %s", e.ID, t.subnetID)})
	}
	return list, true
}
