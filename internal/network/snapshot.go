package network

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Snapshot is what is stored of an account's network in one region: all of
// it, or what belongs to one VPC. A Snapshot and what it points to must not
// change while functions of this package use it.
type Snapshot struct {
	Account, Region  string
	VPCs             []*VPC
	Subnets          []*Subnet
	Groups           []*SecurityGroup
	ACLs             []*ACL
	RouteTables      []*RouteTable
	InternetGateways []*InternetGateway
	NATGateways      []*NATGateway
	Endpoints        []*Endpoint
	Interfaces       []*Interface
	// Databases are the registered databases that the analysis may be asked
	// about.
	Databases []Database
}

// Add puts an object into the snapshot.
func (s *Snapshot) Add(o Object) {
	switch o := o.(type) {
	case *VPC:
		s.VPCs = append(s.VPCs, o)
	case *Subnet:
		s.Subnets = append(s.Subnets, o)
	case *SecurityGroup:
		s.Groups = append(s.Groups, o)
	case *ACL:
		s.ACLs = append(s.ACLs, o)
	case *RouteTable:
		s.RouteTables = append(s.RouteTables, o)
	case *InternetGateway:
		s.InternetGateways = append(s.InternetGateways, o)
	case *NATGateway:
		s.NATGateways = append(s.NATGateways, o)
	case *Endpoint:
		s.Endpoints = append(s.Endpoints, o)
	case *Interface:
		s.Interfaces = append(s.Interfaces, o)
	}
}

// Objects returns everything in the snapshot but the databases.
func (s *Snapshot) Objects() []Object {
	var all []Object
	all = appendAll(all, s.VPCs)
	all = appendAll(all, s.Subnets)
	all = appendAll(all, s.Groups)
	all = appendAll(all, s.ACLs)
	all = appendAll(all, s.RouteTables)
	all = appendAll(all, s.InternetGateways)
	all = appendAll(all, s.NATGateways)
	all = appendAll(all, s.Endpoints)
	return appendAll(all, s.Interfaces)
}

func appendAll[T Object](all []Object, list []T) []Object {
	for _, o := range list {
		all = append(all, o)
	}
	return all
}

// NewObject returns an empty object of the kind; nil for a kind that has no
// record of its own.
func NewObject(kind Kind) Object {
	switch kind {
	case KindVPC:
		return &VPC{}
	case KindSubnet:
		return &Subnet{}
	case KindGroup:
		return &SecurityGroup{}
	case KindACL:
		return &ACL{}
	case KindRouteTable:
		return &RouteTable{}
	case KindInternetGateway:
		return &InternetGateway{}
	case KindNATGateway:
		return &NATGateway{}
	case KindEndpoint:
		return &Endpoint{}
	case KindInterface:
		return &Interface{}
	}
	return nil
}

func find[T Object](list []T, id string) T {
	for _, o := range list {
		if o.Base().ID == id {
			return o
		}
	}
	var none T
	return none
}

// VPC returns the VPC with the ID; nil when there is none, as the following
// methods do.
func (s *Snapshot) VPC(id string) *VPC { return find(s.VPCs, id) }

// Subnet returns the subnet with the ID.
func (s *Snapshot) Subnet(id string) *Subnet { return find(s.Subnets, id) }

// Group returns the security group with the ID.
func (s *Snapshot) Group(id string) *SecurityGroup { return find(s.Groups, id) }

// ACL returns the network ACL with the ID.
func (s *Snapshot) ACL(id string) *ACL { return find(s.ACLs, id) }

// RouteTable returns the route table with the ID.
func (s *Snapshot) RouteTable(id string) *RouteTable { return find(s.RouteTables, id) }

// InternetGateway returns the internet gateway with the ID.
func (s *Snapshot) InternetGateway(id string) *InternetGateway { return find(s.InternetGateways, id) }

// NATGateway returns the NAT gateway with the ID.
func (s *Snapshot) NATGateway(id string) *NATGateway { return find(s.NATGateways, id) }

// Endpoint returns the endpoint with the ID.
func (s *Snapshot) Endpoint(id string) *Endpoint { return find(s.Endpoints, id) }

// Interface returns the network interface with the ID.
func (s *Snapshot) Interface(id string) *Interface { return find(s.Interfaces, id) }

// Database returns the registered database with the identifier.
func (s *Snapshot) Database(id string) *Database {
	i := slices.IndexFunc(s.Databases, func(d Database) bool { return d.ID == id })
	if i < 0 {
		return nil
	}
	return &s.Databases[i]
}

// DefaultVPC returns the default VPC; nil when it was deleted.
func (s *Snapshot) DefaultVPC() *VPC {
	for _, v := range s.VPCs {
		if v.Default {
			return v
		}
	}
	return nil
}

// DefaultGroup returns the default security group of a VPC.
func (s *Snapshot) DefaultGroup(vpcID string) *SecurityGroup {
	for _, g := range s.Groups {
		if g.VPCID == vpcID && g.Name == DefaultGroup {
			return g
		}
	}
	return nil
}

// DefaultACL returns the default network ACL of a VPC.
func (s *Snapshot) DefaultACL(vpcID string) *ACL {
	for _, a := range s.ACLs {
		if a.VPCID == vpcID && a.Default {
			return a
		}
	}
	return nil
}

// ACLOf returns the network ACL around a subnet.
func (s *Snapshot) ACLOf(subnet *Subnet) *ACL {
	for _, a := range s.ACLs {
		if slices.ContainsFunc(a.Associations, func(x ACLAssociation) bool { return x.SubnetID == subnet.ID }) {
			return a
		}
	}
	return s.DefaultACL(subnet.VPCID)
}

// MainRouteTable returns the route table of the VPC's subnets that have no
// other.
func (s *Snapshot) MainRouteTable(vpcID string) *RouteTable {
	for _, t := range s.RouteTables {
		if t.VPCID == vpcID && t.Main() {
			return t
		}
	}
	return nil
}

// RouteTableOf returns the route table of a subnet.
func (s *Snapshot) RouteTableOf(subnet *Subnet) *RouteTable {
	for _, t := range s.RouteTables {
		if slices.ContainsFunc(t.Associations, func(x RouteAssociation) bool { return x.SubnetID == subnet.ID }) {
			return t
		}
	}
	return s.MainRouteTable(subnet.VPCID)
}

// SubnetAt returns the subnet of a VPC that holds the address.
func (s *Snapshot) SubnetAt(vpcID string, a netip.Addr) *Subnet {
	for _, n := range s.Subnets {
		if n.VPCID == vpcID && n.CIDR.Contains(a) {
			return n
		}
	}
	return nil
}

// InterfaceAt returns the interface of a VPC that has the address.
func (s *Snapshot) InterfaceAt(vpcID string, a netip.Addr) *Interface {
	for _, i := range s.Interfaces {
		if i.VPCID == vpcID && i.Address == a {
			return i
		}
	}
	return nil
}

// LambdaInterface returns the interface through which functions with this
// subnet and these security groups reach the VPC; nil before the first.
func (s *Snapshot) LambdaInterface(subnetID string, groupIDs []string) *Interface {
	for _, i := range s.Interfaces {
		if i.Type == InterfaceOfLambda && i.SubnetID == subnetID && equalSets(i.GroupIDs, groupIDs) {
			return i
		}
	}
	return nil
}

// reservedAddresses is how many addresses of a subnet AWS keeps: the first
// four and the last (AWS docs).
const reservedAddresses = 5

// FreeAddresses is how many addresses of the subnet nothing has.
func (s *Snapshot) FreeAddresses(n *Subnet) int {
	used := 0
	for _, i := range s.Interfaces {
		if i.SubnetID == n.ID {
			used++
		}
	}
	return max(1<<(32-n.CIDR.Bits())-reservedAddresses-used, 0)
}

// NextAddress returns a free address of the subnet; the zero Addr when there
// is none.
func (s *Snapshot) NextAddress(n *Subnet) netip.Addr {
	used := map[netip.Addr]bool{}
	for _, i := range s.Interfaces {
		used[i.Address] = i.SubnetID == n.ID || used[i.Address]
	}
	base := n.CIDR.Masked().Addr().As4()
	first := binary.BigEndian.Uint32(base[:])
	for offset := uint32(4); offset < 1<<(32-n.CIDR.Bits())-1; offset++ {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], first+offset)
		if a := netip.AddrFrom4(b); !used[a] {
			return a
		}
	}
	return netip.Addr{}
}

// Remove takes an object out of the snapshot.
func (s *Snapshot) Remove(o Object) {
	switch o := o.(type) {
	case *VPC:
		s.VPCs = slices.DeleteFunc(s.VPCs, func(x *VPC) bool { return x == o })
	case *Subnet:
		s.Subnets = slices.DeleteFunc(s.Subnets, func(x *Subnet) bool { return x == o })
	case *SecurityGroup:
		s.Groups = slices.DeleteFunc(s.Groups, func(x *SecurityGroup) bool { return x == o })
	case *ACL:
		s.ACLs = slices.DeleteFunc(s.ACLs, func(x *ACL) bool { return x == o })
	case *RouteTable:
		s.RouteTables = slices.DeleteFunc(s.RouteTables, func(x *RouteTable) bool { return x == o })
	case *InternetGateway:
		s.InternetGateways = slices.DeleteFunc(s.InternetGateways, func(x *InternetGateway) bool { return x == o })
	case *NATGateway:
		s.NATGateways = slices.DeleteFunc(s.NATGateways, func(x *NATGateway) bool { return x == o })
	case *Endpoint:
		s.Endpoints = slices.DeleteFunc(s.Endpoints, func(x *Endpoint) bool { return x == o })
	case *Interface:
		s.Interfaces = slices.DeleteFunc(s.Interfaces, func(x *Interface) bool { return x == o })
	}
}

// Object returns any object by its ID; nil when there is none.
func (s *Snapshot) Object(id string) Object {
	for _, o := range s.Objects() {
		if o.Base().ID == id {
			return o
		}
	}
	return nil
}
