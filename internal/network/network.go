// Package network holds the records of a virtual private cloud: VPCs, subnets,
// security groups, network ACLs, route tables, gateways, endpoints and network
// interfaces, with the rules that AWS applies to them.
//
// All of it is pure. Nothing here carries traffic: the records say what a
// network of their kind would do with a connection. Analyze tells it hop by
// hop, with the first hop that refuses and what to change; Egress answers the
// same question for one address and port.
package network

import (
	"net/netip"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
)

// Kind is the sort of a record, in the words that tags use for it (AWS service
// model: ResourceType).
type Kind string

// The kinds.
const (
	KindVPC             Kind = "vpc"
	KindSubnet          Kind = "subnet"
	KindGroup           Kind = "security-group"
	KindRule            Kind = "security-group-rule" // part of its group's record
	KindACL             Kind = "network-acl"
	KindRouteTable      Kind = "route-table"
	KindInternetGateway Kind = "internet-gateway"
	KindNATGateway      Kind = "natgateway"
	KindEndpoint        Kind = "vpc-endpoint"
	KindInterface       Kind = "network-interface"
)

// Record is what every stored object has in common.
type Record struct {
	// ID is the kind's prefix and 17 hexadecimal digits.
	ID string
	// VPCID is the VPC that the object belongs to; a VPC's is its own ID and
	// that of a detached internet gateway is "".
	VPCID     string
	CreatedAt time.Time
	Tags      map[string]string `json:",omitempty"`
	// Token is the ClientToken of the request that made the object, Request a
	// digest of that request: the same token with another request is refused.
	Token   string `json:",omitempty"`
	Request string `json:",omitempty"`
}

// Base returns the record itself; it is how storage reaches it.
func (r *Record) Base() *Record { return r }

// Object is any of the stored records.
type Object interface {
	// Base returns what the objects have in common.
	Base() *Record
	// Kind returns the sort of the object.
	Kind() Kind
}

// VPC is a virtual private cloud.
type VPC struct {
	Record
	// CIDR is the primary IPv4 block, /16 to /28 (AWS docs).
	CIDR netip.Prefix
	// Default marks the VPC that the account has from the start.
	Default bool
	// DNSSupport and DNSHostnames are the VPC's attributes enableDnsSupport,
	// on for a new VPC, and enableDnsHostnames, off for one that is not the
	// default (AWS docs).
	DNSSupport, DNSHostnames bool
	// Tenancy is default or dedicated.
	Tenancy string
}

// Kind returns KindVPC.
func (*VPC) Kind() Kind { return KindVPC }

// Subnet is a part of a VPC in one availability zone.
type Subnet struct {
	Record
	CIDR netip.Prefix
	// Zone is the availability zone's name, ZoneID its ID.
	Zone, ZoneID string
	// Default marks the subnet of the zone in the default VPC.
	Default bool
	// PublicIP is MapPublicIpOnLaunch. It says nothing of Lambda functions:
	// those never get a public address (AWS docs).
	PublicIP bool
}

// Kind returns KindSubnet.
func (*Subnet) Kind() Kind { return KindSubnet }

// SecurityGroup is a stateful filter around network interfaces.
type SecurityGroup struct {
	Record
	// Name is unique in its VPC; "default" is that of the group that comes
	// with the VPC.
	Name, Description string
	Rules             []Rule
}

// Kind returns KindGroup.
func (*SecurityGroup) Kind() Kind { return KindGroup }

// DefaultGroup is the name of a VPC's default security group.
const DefaultGroup = "default"

// Rule is one rule of a security group: it allows, and its peer is exactly one
// of CIDR, GroupID and PrefixListID.
type Rule struct {
	// ID is sgr- and 17 hexadecimal digits.
	ID     string
	Egress bool
	// Protocol is tcp, udp, icmp, icmpv6, a protocol number, or -1 for all.
	Protocol string
	// From and To bound the ports, both included; -1 for all. For icmp they
	// are type and code.
	From, To int32
	CIDR     netip.Prefix
	// GroupID is the peer group, GroupOwner its account.
	GroupID, GroupOwner string            `json:",omitempty"`
	PrefixListID        string            `json:",omitempty"`
	Description         string            `json:",omitempty"`
	Tags                map[string]string `json:",omitempty"`
}

// ACL is a network ACL: a stateless filter around subnets.
type ACL struct {
	Record
	// Default marks the ACL that comes with the VPC and takes every subnet
	// that has no other.
	Default      bool
	Entries      []Entry
	Associations []ACLAssociation
}

// Kind returns KindACL.
func (*ACL) Kind() Kind { return KindACL }

// Entry is one rule of a network ACL. Entries are tried in ascending order of
// their numbers; the first that matches decides.
type Entry struct {
	// Number is 1 to 32766, or 32767 for the last entry, which denies and
	// cannot be changed.
	Number int32
	Egress bool
	// Protocol is an IANA protocol number; -1 for all.
	Protocol int32
	Allow    bool
	CIDR     netip.Prefix
	// From and To bound the ports of TCP and UDP; both -1 for all.
	From, To int32
	// ICMPType and ICMPCode are for protocol 1 and 58; -1 for all.
	ICMPType, ICMPCode int32
}

// LastEntry is the number of the entry that denies what no other allowed.
const LastEntry = 32767

// ACLAssociation puts a subnet under a network ACL.
type ACLAssociation struct{ ID, SubnetID string }

// RouteTable says where packets of its subnets go.
type RouteTable struct {
	Record
	Routes []Route
	// Associations lists the subnets; the one with Main has none and makes the
	// table that of every subnet without another.
	Associations []RouteAssociation
}

// Kind returns KindRouteTable.
func (*RouteTable) Kind() Kind { return KindRouteTable }

// Route is one route of a table.
type Route struct {
	// Destination is a CIDR; it is zero when PrefixListID is set.
	Destination  netip.Prefix
	PrefixListID string `json:",omitempty"`
	// Target is Local, or the ID of a gateway, interface or connection.
	Target string
	// Origin is CreateRouteTable, CreateRoute or EnableVgwRoutePropagation.
	Origin string
}

// Local is the target of the route to the VPC itself.
const Local = "local"

// RouteAssociation puts a subnet under a route table.
type RouteAssociation struct {
	ID       string
	SubnetID string `json:",omitempty"`
	Main     bool   `json:",omitempty"`
}

// InternetGateway joins a VPC to the internet. It is attached to Record.VPCID.
type InternetGateway struct{ Record }

// Kind returns KindInternetGateway.
func (*InternetGateway) Kind() Kind { return KindInternetGateway }

// NATGateway gives private addresses a way to the internet.
type NATGateway struct {
	Record
	SubnetID string
	// State is StateAvailable or StateDeleted.
	State string
	// Public tells connectivity type public from private.
	Public bool
	// AllocationID is the elastic IP address of a public gateway.
	AllocationID string
	PublicIP     netip.Addr
	PrivateIP    netip.Addr
	InterfaceID  string
	DeletedAt    time.Time
}

// Kind returns KindNATGateway.
func (*NATGateway) Kind() Kind { return KindNATGateway }

// The states of NAT gateways and endpoints as they stand on the wire. The
// service model spells those of endpoints with capitals, AWS answers in lower
// case (AWS: recorded).
const (
	StatePending   = "pending"
	StateAvailable = "available"
	StateDeleting  = "deleting"
	StateDeleted   = "deleted"
	StateFailed    = "failed"
)

// The types of endpoints (AWS service model).
const (
	Interfaced = "Interface"
	Gateway    = "Gateway"
)

// Endpoint is a VPC endpoint: a way from a VPC to one AWS service.
type Endpoint struct {
	Record
	// Service is the service's name, such as
	// com.amazonaws.eu-west-1.secretsmanager.
	Service string
	// Type is Interfaced or Gateway.
	Type  string
	State string
	// SubnetIDs, GroupIDs and InterfaceIDs are for type Interfaced: an
	// interface stands in each subnet, in the same order.
	SubnetIDs, GroupIDs, InterfaceIDs []string `json:",omitempty"`
	// RouteTableIDs is for type Gateway.
	RouteTableIDs []string `json:",omitempty"`
	PrivateDNS    bool
	// Policy is a policy document; DefaultEndpointPolicy unless one was given.
	Policy string
	// Label is the random part of its DNS names: eight letters and digits.
	Label string
}

// Kind returns KindEndpoint.
func (*Endpoint) Kind() Kind { return KindEndpoint }

// DefaultEndpointPolicy allows everything (AWS: recorded).
const DefaultEndpointPolicy = `{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}`

// Interface is a network interface: an address in a subnet.
type Interface struct {
	Record
	SubnetID string
	Zone     string
	Address  netip.Addr
	GroupIDs []string
	// Type is InterfaceOfLambda, InterfaceOfEndpoint or InterfaceOfNAT.
	Type        string
	Description string
	// MAC is the hardware address.
	MAC string
	// HolderID is the endpoint or NAT gateway that the interface belongs to;
	// "" for one that Lambda functions share.
	HolderID string
}

// Kind returns KindInterface.
func (*Interface) Kind() Kind { return KindInterface }

// The types of interfaces (AWS service model: NetworkInterfaceType).
const (
	InterfaceOfLambda   = "lambda"
	InterfaceOfEndpoint = "vpc_endpoint"
	InterfaceOfNAT      = "nat_gateway"
)

// Database is what the analysis knows of a registered database instance. The
// owner of its record fills it in.
type Database struct {
	// ID is the instance's identifier.
	ID string
	// Host is the endpoint's name, Address what it stands for if that is
	// known, Port where it listens.
	Host    string
	Address netip.Addr
	Port    uint16
	// VPCID, SubnetIDs and GroupIDs say where it stands; SubnetIDs are those
	// of its subnet group.
	VPCID     string
	SubnetIDs []string
	GroupIDs  []string
	// Public tells that it is publicly accessible.
	Public bool
}

// VPCConfig is where a function's traffic leaves: its environments stand in
// any one of the subnets, in all of the security groups. Without subnets the
// function is in no VPC.
type VPCConfig struct {
	SubnetIDs, GroupIDs []string
}

// ARN returns the address of an object of an account and region.
func ARN(account, region string, kind Kind, id string) string {
	return arn.New("ec2", region, account, string(kind)+"/"+id).String()
}

// equalSets compares lists whose order does not matter.
func equalSets(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
