package network

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// anywhere is every IPv4 address.
var anywhere = netip.MustParsePrefix("0.0.0.0/0")

// New adds to the snapshot a VPC with what AWS makes along with it: a default
// security group that admits its own members, a default network ACL that
// lets everything through, and a main route table with the local route. It
// returns all of them, the VPC first.
func (s *Snapshot) New(cidr netip.Prefix, now time.Time) (*VPC, []Object) {
	id := NewID(PrefixVPC)
	base := func(prefix string) Record { return Record{ID: NewID(prefix), VPCID: id, CreatedAt: now} }
	vpc := &VPC{Record: Record{ID: id, VPCID: id, CreatedAt: now}, CIDR: cidr.Masked(), DNSSupport: true, Tenancy: "default"}
	group := &SecurityGroup{Record: base(PrefixGroup), Name: DefaultGroup, Description: "default VPC security group"}
	group.Rules = []Rule{
		{ID: NewID(PrefixRule), Protocol: AllProtocols, From: -1, To: -1, GroupID: group.ID, GroupOwner: s.Account},
		OpenEgress(),
	}
	acl := &ACL{Record: base(PrefixACL), Default: true, Entries: append(openEntries(), ClosedEntries()...)}
	acl.Sort()
	table := &RouteTable{
		Record:       base(PrefixRouteTable),
		Routes:       []Route{{Destination: vpc.CIDR, Target: Local, Origin: "CreateRouteTable"}},
		Associations: []RouteAssociation{{ID: NewID(PrefixRouteAssociation), Main: true}},
	}
	made := []Object{vpc, group, acl, table}
	for _, o := range made {
		s.Add(o)
	}
	return vpc, made
}

// OpenEgress is the rule that every new security group has: all traffic out
// (AWS docs).
func OpenEgress() Rule {
	return Rule{ID: NewID(PrefixRule), Egress: true, Protocol: AllProtocols, From: -1, To: -1, CIDR: anywhere}
}

// openEntries are those of a default network ACL before the last.
func openEntries() []Entry {
	open := Entry{Number: 100, Protocol: allProtocols, Allow: true, CIDR: anywhere, From: -1, To: -1, ICMPType: -1, ICMPCode: -1}
	out := open
	out.Egress = true
	return []Entry{out, open}
}

// ClosedEntries are the last entries of every network ACL: they deny all in
// both directions.
func ClosedEntries() []Entry {
	closed := Entry{Number: LastEntry, Protocol: allProtocols, CIDR: anywhere, From: -1, To: -1, ICMPType: -1, ICMPCode: -1}
	out := closed
	out.Egress = true
	return []Entry{out, closed}
}

// AddSubnet adds a subnet to a VPC; the default network ACL takes it.
// changed has the ACL besides the subnet.
func (s *Snapshot) AddSubnet(vpc *VPC, cidr netip.Prefix, zone Zone, now time.Time) (*Subnet, []Object) {
	n := &Subnet{
		Record: Record{ID: NewID(PrefixSubnet), VPCID: vpc.ID, CreatedAt: now}, CIDR: cidr.Masked(), Zone: zone.Name, ZoneID: zone.ID,
	}
	s.Add(n)
	acl := s.DefaultACL(vpc.ID)
	acl.Associations = append(acl.Associations, ACLAssociation{NewID(PrefixACLAssociation), n.ID})
	return n, []Object{n, acl}
}

// The default VPC and its subnets (AWS docs).
var defaultCIDR = netip.MustParsePrefix("172.31.0.0/16")

const defaultSubnetBits = 20

// NewDefault adds the VPC that an account has in each region from the start:
// a public /20 subnet in every zone, an internet gateway and the route to
// it. It returns all that it made, the VPC first.
func (s *Snapshot) NewDefault(now time.Time) (*VPC, []Object) {
	vpc, made := s.New(defaultCIDR, now)
	vpc.Default, vpc.DNSHostnames = true, true
	for i, zone := range Zones(s.Region) {
		block := netip.PrefixFrom(nthBlock(defaultCIDR.Addr(), defaultSubnetBits, i), defaultSubnetBits)
		n, _ := s.AddSubnet(vpc, block, zone, now)
		n.Default, n.PublicIP = true, true
		made = append(made, n)
	}
	gateway := &InternetGateway{Record{ID: NewID(PrefixInternetGateway), VPCID: vpc.ID, CreatedAt: now}}
	s.Add(gateway)
	table := s.MainRouteTable(vpc.ID)
	table.Routes = append(table.Routes, Route{Destination: anywhere, Target: gateway.ID, Origin: "CreateRoute"})
	return vpc, append(made, gateway)
}

// nthBlock is the address of the block number i of the size from the first
// one on.
func nthBlock(first netip.Addr, bits, i int) netip.Addr {
	b := first.As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n += uint32(i) << (32 - bits)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// Zone is an availability zone.
type Zone struct {
	// Name is the region and a letter, ID the short form of the region with
	// a number: eu-west-1a and euw1-az1.
	Name, ID string
}

// zoneCount is how many availability zones each region has here. AWS has two
// to six.
const zoneCount = 3

// Zones returns the availability zones of a region.
func Zones(region string) []Zone {
	zones := make([]Zone, zoneCount)
	for i := range zones {
		zones[i] = Zone{fmt.Sprintf("%s%c", region, 'a'+i), fmt.Sprintf("%s-az%d", shortRegion(region), i+1)}
	}
	return zones
}

// shortDirections are the parts of region names that IDs of zones shorten.
var shortDirections = map[string]string{
	"north": "n", "south": "s", "east": "e", "west": "w", "central": "c",
	"gov": "g", "northeast": "ne", "northwest": "nw", "southeast": "se", "southwest": "sw",
}

// shortRegion is the region's part of a zone's ID: euw1 for eu-west-1, apse2
// for ap-southeast-2.
func shortRegion(region string) string {
	var b strings.Builder
	for _, part := range strings.Split(region, "-") {
		if short, ok := shortDirections[part]; ok {
			part = short
		}
		b.WriteString(part)
	}
	return b.String()
}
