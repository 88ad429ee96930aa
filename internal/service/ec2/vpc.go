package ec2

import (
	"context"
	"net/netip"
	"slices"
	"strconv"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/wire"
)

func (s *Service) vpcOps() []wire.Op {
	return []wire.Op{
		wire.Handle("CreateVpc", s.CreateVpc),
		wire.Handle("DeleteVpc", s.DeleteVpc),
		wire.Handle("DescribeVpcAttribute", s.DescribeVpcAttribute),
		wire.Handle("DescribeVpcs", s.DescribeVpcs),
		wire.Handle("ModifyVpcAttribute", s.ModifyVpcAttribute),
	}
}

// The sizes of VPCs and subnets as prefix lengths (AWS docs).
const (
	widest    = 16
	narrowest = 28
)

// parseCIDR reads an IPv4 block; bits behind the prefix are dropped, as AWS
// does.
func parseCIDR(value, parameter string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(value)
	if err != nil || !p.Addr().Is4() {
		return netip.Prefix{}, invalid(value, parameter, "This is not a valid CIDR block.")
	}
	return p.Masked(), nil
}

// CreateVpc makes a VPC with its default security group, network ACL and
// route table.
func (s *Service) CreateVpc(ctx context.Context, call *wire.Call, in *api.CreateVpcRequest) (*api.CreateVpcResult, error) {
	out := &api.CreateVpcResult{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		if err := w.allowNew(network.KindVPC, "", in.TagSpecifications); err != nil {
			return err
		}
		if in.CidrBlock == nil {
			return fault.New(missingParameter, "Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.")
		}
		if on(in.AmazonProvidedIpv6CidrBlock) || in.Ipv6CidrBlock != nil || in.Ipv6Pool != nil || in.Ipv6IpamPoolId != nil || in.Ipv4IpamPoolId != nil {
			return fault.New(invalidValue, "IPv6 and address pools are not supported here.")
		}
		cidr, err := parseCIDR(*in.CidrBlock, "cidrBlock")
		if err != nil {
			return err
		}
		if cidr.Bits() < widest || cidr.Bits() > narrowest {
			return fault.New(vpcRange, "The CIDR '%s' is invalid.", *in.CidrBlock)
		}
		tags, err := w.newTags(network.KindVPC, in.TagSpecifications)
		if err != nil {
			return err
		}
		vpc, made := w.New(cidr, w.now)
		vpc.Tags = tags
		if in.InstanceTenancy != nil {
			vpc.Tenancy = *in.InstanceTenancy
		}
		w.save(made...)
		w.concerns(vpc)
		out.Vpc = new(shownVPC(w, vpc))
		out.Vpc.State = new(network.StatePending)
		return nil
	})
}

// dhcpOptions is what a VPC shows for its DHCP options, of which there are
// no others here.
const dhcpOptions = "default"

func shownVPC(w *work, v *network.VPC) api.Vpc {
	return api.Vpc{
		VpcId: &v.ID, OwnerId: &w.Account, CidrBlock: new(v.CIDR.String()), State: new(network.StateAvailable),
		IsDefault: &v.Default, InstanceTenancy: &v.Tenancy, DhcpOptionsId: new(dhcpOptions), Tags: shownTags(v.Tags),
		CidrBlockAssociationSet: []api.VpcCidrBlockAssociation{{
			AssociationId: new("vpc-cidr-assoc-" + v.ID[len(network.PrefixVPC)+1:]), CidrBlock: new(v.CIDR.String()),
			CidrBlockState: &api.VpcCidrBlockState{State: new("associated")},
		}},
	}
}

func vpcFields(_ *work, v *network.VPC, name string) ([]string, bool) {
	switch name {
	case "cidr", "cidr-block-association.cidr-block", "cidrBlock":
		return one(v.CIDR.String())
	case "cidr-block-association.state":
		return one("associated")
	case "dhcp-options-id":
		return one(dhcpOptions)
	case "is-default", "isDefault":
		return truth(v.Default)
	case "state":
		return one(network.StateAvailable)
	}
	return nil, false
}

// DescribeVpcs lists VPCs.
func (s *Service) DescribeVpcs(ctx context.Context, call *wire.Call, in *api.DescribeVpcsRequest) (out *api.DescribeVpcsResult, err error) {
	out = &api.DescribeVpcsResult{}
	out.Vpcs, out.NextToken, err = describe(ctx, s, call, network.KindVPC, query{in.VpcIds, in.Filters, in.MaxResults, in.NextToken, in.DryRun},
		func(w *work) []*network.VPC { return w.VPCs }, vpcFields, shownVPC)
	return out, err
}

// DeleteVpc deletes a VPC that has nothing but what came with it.
func (s *Service) DeleteVpc(ctx context.Context, call *wire.Call, in *api.DeleteVpcRequest) (*api.DeleteVpcResponse, error) {
	out := &api.DeleteVpcResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		vpc, err := w.vpc(*in.VpcId)
		if err != nil {
			return err
		}
		var own []network.Object
		for _, o := range w.Objects() {
			if o.Base().VPCID != vpc.ID {
				continue
			}
			if !cameWith(o) {
				return dependent("vpc", vpc.ID)
			}
			own = append(own, o)
		}
		w.remove(own...)
		return nil
	})
}

// cameWith reports whether an object is a VPC or was made along with it.
func cameWith(o network.Object) bool {
	switch o := o.(type) {
	case *network.VPC:
		return true
	case *network.SecurityGroup:
		return o.Name == network.DefaultGroup
	case *network.ACL:
		return o.Default
	case *network.RouteTable:
		return o.Main()
	}
	return false
}

// DescribeVpcAttribute shows one attribute.
func (s *Service) DescribeVpcAttribute(ctx context.Context, call *wire.Call, in *api.DescribeVpcAttributeRequest) (*api.DescribeVpcAttributeResult, error) {
	out := &api.DescribeVpcAttributeResult{VpcId: in.VpcId}
	return out, s.view(ctx, call, in.DryRun, func(w *work) error {
		vpc := w.VPC(*in.VpcId)
		if vpc == nil {
			return missing(network.KindVPC, *in.VpcId)
		}
		switch *in.Attribute {
		case "enableDnsSupport":
			out.EnableDnsSupport = &api.AttributeBooleanValue{Value: &vpc.DNSSupport}
		case "enableDnsHostnames":
			out.EnableDnsHostnames = &api.AttributeBooleanValue{Value: &vpc.DNSHostnames}
		default:
			out.EnableNetworkAddressUsageMetrics = &api.AttributeBooleanValue{Value: new(false)}
		}
		return nil
	})
}

// ModifyVpcAttribute sets one attribute.
func (s *Service) ModifyVpcAttribute(ctx context.Context, call *wire.Call, in *api.ModifyVpcAttributeRequest) (*api.ModifyVpcAttributeResponse, error) {
	out := &api.ModifyVpcAttributeResponse{}
	return out, s.change(ctx, call, nil, out, func(w *work) error {
		vpc, err := w.vpc(*in.VpcId)
		if err != nil {
			return err
		}
		given := 0
		for _, v := range []*api.AttributeBooleanValue{in.EnableDnsHostnames, in.EnableDnsSupport, in.EnableNetworkAddressUsageMetrics} {
			if v != nil && v.Value != nil {
				given++
			}
		}
		if given != 1 {
			return fault.New(invalidCombination, "Exactly one attribute must be specified.") // text assumed
		}
		switch {
		case in.EnableDnsSupport != nil:
			vpc.DNSSupport = *in.EnableDnsSupport.Value
		case in.EnableDnsHostnames != nil:
			if *in.EnableDnsHostnames.Value && !vpc.DNSSupport {
				return fault.New(invalidCombination, "DNS hostnames require DNS support, which is off in %s.", vpc.ID) // text assumed
			}
			vpc.DNSHostnames = *in.EnableDnsHostnames.Value
		case *in.EnableNetworkAddressUsageMetrics.Value:
			return fault.New(invalidValue, "Network address usage metrics are not supported here.")
		}
		w.save(vpc)
		return nil
	})
}

func (s *Service) subnetOps() []wire.Op {
	return []wire.Op{
		wire.Handle("CreateSubnet", s.CreateSubnet),
		wire.Handle("DeleteSubnet", s.DeleteSubnet),
		wire.Handle("DescribeSubnets", s.DescribeSubnets),
		wire.Handle("ModifySubnetAttribute", s.ModifySubnetAttribute),
	}
}

// CreateSubnet makes a subnet, in the first zone unless one is named.
func (s *Service) CreateSubnet(ctx context.Context, call *wire.Call, in *api.CreateSubnetRequest) (*api.CreateSubnetResult, error) {
	out := &api.CreateSubnetResult{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		if err := w.allowNew(network.KindSubnet, *in.VpcId, in.TagSpecifications); err != nil {
			return err
		}
		vpc, err := w.vpc(*in.VpcId)
		if err != nil {
			return err
		}
		if in.CidrBlock == nil {
			return lacks("cidrBlock")
		}
		if in.Ipv6CidrBlock != nil || on(in.Ipv6Native) || in.OutpostArn != nil || in.Ipv4IpamPoolId != nil || in.Ipv6IpamPoolId != nil {
			return fault.New(invalidValue, "IPv6, outposts and address pools are not supported here.")
		}
		cidr, err := parseCIDR(*in.CidrBlock, "cidrBlock")
		if err == nil {
			err = w.checkSubnet(vpc, cidr, *in.CidrBlock)
		}
		if err != nil {
			return err
		}
		zone, err := zoneFor(w.Region, in.AvailabilityZone, in.AvailabilityZoneId)
		if err != nil {
			return err
		}
		tags, err := w.newTags(network.KindSubnet, in.TagSpecifications)
		if err != nil {
			return err
		}
		n, made := w.AddSubnet(vpc, cidr, zone, w.now)
		n.Tags = tags
		w.save(made...)
		w.concerns(n)
		out.Subnet = new(shownSubnet(w, n))
		return nil
	})
}

// checkSubnet refuses a block that does not lie in its VPC, or in another
// subnet's.
func (w *work) checkSubnet(vpc *network.VPC, cidr netip.Prefix, given string) error {
	if cidr.Bits() < max(widest, vpc.CIDR.Bits()) || cidr.Bits() > narrowest || !vpc.CIDR.Contains(cidr.Addr()) {
		return fault.New(subnetRange, "The CIDR '%s' is invalid.", given)
	}
	for _, n := range w.Subnets {
		if n.VPCID == vpc.ID && n.CIDR.Overlaps(cidr) {
			return fault.New(subnetConflict, "The CIDR '%s' conflicts with another subnet", given)
		}
	}
	return nil
}

// zoneFor finds the zone of a name or an ID; without either it is the first.
func zoneFor(region string, name, id *string) (network.Zone, error) {
	zones := network.Zones(region)
	if name == nil && id == nil {
		return zones[0], nil
	}
	names := ""
	for _, z := range zones {
		if name != nil && z.Name == *name || name == nil && z.ID == *id {
			return z, nil
		}
		if names != "" {
			names += ", "
		}
		names += z.Name
	}
	parameter, value := "availabilityZone", name
	if name == nil {
		parameter, value = "availabilityZoneId", id
	}
	return network.Zone{}, invalid(*value, parameter, "Subnets can currently only be created in the following availability zones: %s.", names)
}

func shownSubnet(w *work, n *network.Subnet) api.Subnet {
	return api.Subnet{
		SubnetId: &n.ID, SubnetArn: new(network.ARN(w.Account, w.Region, network.KindSubnet, n.ID)), State: new(network.StateAvailable), VpcId: &n.VPCID,
		OwnerId: &w.Account, CidrBlock: new(n.CIDR.String()), AvailableIpAddressCount: new(int64(w.FreeAddresses(n))),
		AvailabilityZone: &n.Zone, AvailabilityZoneId: &n.ZoneID, DefaultForAz: &n.Default, MapPublicIpOnLaunch: &n.PublicIP,
		MapCustomerOwnedIpOnLaunch: new(false), AssignIpv6AddressOnCreation: new(false), EnableDns64: new(false), Ipv6Native: new(false),
		Ipv6CidrBlockAssociationSet: []api.SubnetIpv6CidrBlockAssociation{}, Tags: shownTags(n.Tags),
		PrivateDnsNameOptionsOnLaunch: &api.PrivateDnsNameOptionsOnLaunch{
			HostnameType: new("ip-name"), EnableResourceNameDnsARecord: new(false), EnableResourceNameDnsAAAARecord: new(false),
		},
	}
}

func subnetFields(w *work, n *network.Subnet, name string) ([]string, bool) {
	switch name {
	case "availability-zone", "availabilityZone":
		return one(n.Zone)
	case "availability-zone-id", "availabilityZoneId":
		return one(n.ZoneID)
	case "available-ip-address-count":
		return one(strconv.Itoa(w.FreeAddresses(n)))
	case "cidr-block", "cidr", "cidrBlock":
		return one(n.CIDR.String())
	case "default-for-az", "defaultForAz":
		return truth(n.Default)
	case "map-public-ip-on-launch":
		return truth(n.PublicIP)
	case "state":
		return one(network.StateAvailable)
	case "subnet-id":
		return one(n.ID)
	case "subnet-arn":
		return one(network.ARN(w.Account, w.Region, network.KindSubnet, n.ID))
	}
	return nil, false
}

// DescribeSubnets lists subnets.
func (s *Service) DescribeSubnets(ctx context.Context, call *wire.Call, in *api.DescribeSubnetsRequest) (out *api.DescribeSubnetsResult, err error) {
	out = &api.DescribeSubnetsResult{}
	out.Subnets, out.NextToken, err = describe(ctx, s, call, network.KindSubnet, query{in.SubnetIds, in.Filters, in.MaxResults, in.NextToken, in.DryRun},
		func(w *work) []*network.Subnet { return w.Subnets }, subnetFields, shownSubnet)
	return out, err
}

// DeleteSubnet deletes a subnet in which no interface and no database stands.
func (s *Service) DeleteSubnet(ctx context.Context, call *wire.Call, in *api.DeleteSubnetRequest) (*api.DeleteSubnetResponse, error) {
	out := &api.DeleteSubnetResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		n, err := w.subnet(*in.SubnetId)
		if err != nil {
			return err
		}
		used, err := w.databases()
		if err != nil {
			return err
		}
		if slices.Contains(used.subnets, n.ID) || slices.ContainsFunc(w.Interfaces, func(i *network.Interface) bool { return i.SubnetID == n.ID }) {
			return dependent("subnet", n.ID)
		}
		for _, a := range w.ACLs {
			if with := len(a.Associations); len(w.withoutACL(a, n.ID)) < with {
				w.save(a)
			}
		}
		for _, t := range w.RouteTables {
			kept := slices.DeleteFunc(slices.Clone(t.Associations), func(a network.RouteAssociation) bool { return a.SubnetID == n.ID })
			if len(kept) < len(t.Associations) {
				t.Associations = kept
				w.save(t)
			}
		}
		w.remove(n)
		return nil
	})
}

// withoutACL takes a subnet out of a network ACL's associations.
func (w *work) withoutACL(a *network.ACL, subnetID string) []network.ACLAssociation {
	a.Associations = slices.DeleteFunc(a.Associations, func(x network.ACLAssociation) bool { return x.SubnetID == subnetID })
	return a.Associations
}

// ModifySubnetAttribute sets whether instances get a public address. What
// else there is stays off.
func (s *Service) ModifySubnetAttribute(ctx context.Context, call *wire.Call, in *api.ModifySubnetAttributeRequest) (*api.ModifySubnetAttributeResponse, error) {
	out := &api.ModifySubnetAttributeResponse{}
	return out, s.change(ctx, call, nil, out, func(w *work) error {
		n, err := w.subnet(*in.SubnetId)
		if err != nil {
			return err
		}
		for _, v := range []*api.AttributeBooleanValue{
			in.AssignIpv6AddressOnCreation, in.MapCustomerOwnedIpOnLaunch, in.EnableDns64, in.EnableResourceNameDnsARecordOnLaunch, in.EnableResourceNameDnsAAAARecordOnLaunch,
		} {
			if v != nil && on(v.Value) {
				return fault.New(invalidValue, "Of the attributes of subnets only MapPublicIpOnLaunch is supported here.")
			}
		}
		if v := in.MapPublicIpOnLaunch; v != nil && v.Value != nil {
			n.PublicIP = *v.Value
			w.save(n)
		}
		return nil
	})
}
