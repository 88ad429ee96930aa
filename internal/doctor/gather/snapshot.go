package gather

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/keyturn/keyturn/internal/network"
)

// pager is a paginator of EC2.
type pager[T any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*ec2.Options)) (T, error)
}

// maxNetworkPages bounds the pages of each kind of object.
const maxNetworkPages = 20

// pages hands every page to take.
func pages[T any](ctx context.Context, p pager[T], take func(T)) error {
	for n := 0; p.HasMorePages() && n < maxNetworkPages; n++ {
		page, err := p.NextPage(ctx)
		if err != nil {
			return err
		}
		take(page)
	}
	return nil
}

// inVPC is the filter for what belongs to a VPC.
func inVPC(name, vpcID string) []ec2types.Filter {
	return []ec2types.Filter{{Name: &name, Values: []string{vpcID}}}
}

// snapshot reads a VPC's network. It is of use only if whole: what is missing
// would look like what is not there.
func (l *look) snapshot(ctx context.Context, vpcID string) (s *network.Snapshot, whole bool) {
	l.tell("network")
	s = &network.Snapshot{Account: l.e.Account, Region: l.e.Region}
	const missing = "whether the function's network lets it reach what it calls"
	reads := []struct {
		operation string
		read      func(context.Context, *network.Snapshot, string) error
	}{
		{"DescribeVpcs", l.readVPC}, {"DescribeSubnets", l.readSubnets}, {"DescribeSecurityGroups", l.readGroups},
		{"DescribeNetworkAcls", l.readACLs}, {"DescribeRouteTables", l.readRouteTables}, {"DescribeInternetGateways", l.readInternetGateways},
		{"DescribeNatGateways", l.readNATGateways}, {"DescribeVpcEndpoints", l.readEndpoints}, {"DescribeNetworkInterfaces", l.readInterfaces},
	}
	parts := make([]part, len(reads))
	failed := make([]bool, len(reads))
	for i, r := range reads {
		parts[i] = func(ctx context.Context) {
			err := r.read(ctx, s, vpcID)
			operation := r.operation
			if inner, ok := err.(operationError); ok {
				operation, err = inner.operation, inner.error
			}
			failed[i] = l.gap(err, "ec2:"+operation, "", missing)
		}
	}
	l.together(ctx, parts...)
	s.Region = l.e.Region
	alignEndpoints(s)
	return s, !slices.Contains(failed, true)
}

// operationError is the error of another operation than the part's first.
type operationError struct {
	operation string
	error
}

func tagsOf(list []ec2types.Tag) map[string]string {
	if len(list) == 0 {
		return nil
	}
	m := map[string]string{}
	for _, t := range list {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

func recordOf(id, vpcID *string, tags []ec2types.Tag) network.Record {
	return network.Record{ID: aws.ToString(id), VPCID: aws.ToString(vpcID), Tags: tagsOf(tags)}
}

// prefix reads a block; the zero Prefix for none, and for one of IPv6 that
// stands elsewhere.
func prefix(s *string) netip.Prefix {
	p, _ := netip.ParsePrefix(aws.ToString(s))
	return p
}

func address(s *string) netip.Addr {
	a, _ := netip.ParseAddr(aws.ToString(s))
	return a
}

func (l *look) readVPC(ctx context.Context, s *network.Snapshot, vpcID string) error {
	out, err := l.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{vpcID}})
	if is(err, "InvalidVpcID.NotFound") {
		return nil // the analysis says that the function's network is gone
	}
	if err != nil {
		return err
	}
	for _, v := range out.Vpcs {
		vpc := &network.VPC{
			Record: recordOf(v.VpcId, v.VpcId, v.Tags), CIDR: prefix(v.CidrBlock), Default: aws.ToBool(v.IsDefault), Tenancy: string(v.InstanceTenancy),
		}
		for _, a := range []struct {
			name ec2types.VpcAttributeName
			to   *bool
		}{{ec2types.VpcAttributeNameEnableDnsSupport, &vpc.DNSSupport}, {ec2types.VpcAttributeNameEnableDnsHostnames, &vpc.DNSHostnames}} {
			out, err := l.ec2.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{VpcId: v.VpcId, Attribute: a.name})
			if err != nil {
				return operationError{"DescribeVpcAttribute", err}
			}
			for _, value := range []*ec2types.AttributeBooleanValue{out.EnableDnsSupport, out.EnableDnsHostnames} {
				if value != nil {
					*a.to = aws.ToBool(value.Value)
				}
			}
		}
		s.VPCs = append(s.VPCs, vpc)
	}
	return nil
}

func (l *look) readSubnets(ctx context.Context, s *network.Snapshot, vpcID string) error {
	p := ec2.NewDescribeSubnetsPaginator(l.ec2, &ec2.DescribeSubnetsInput{Filters: inVPC("vpc-id", vpcID)})
	return pages(ctx, p, func(out *ec2.DescribeSubnetsOutput) {
		for _, n := range out.Subnets {
			s.Subnets = append(s.Subnets, &network.Subnet{
				Record: recordOf(n.SubnetId, n.VpcId, n.Tags), CIDR: prefix(n.CidrBlock), Zone: aws.ToString(n.AvailabilityZone),
				ZoneID: aws.ToString(n.AvailabilityZoneId), Default: aws.ToBool(n.DefaultForAz), PublicIP: aws.ToBool(n.MapPublicIpOnLaunch),
			})
		}
	})
}

// maxFilterValues is how many values a filter may have (AWS docs).
const maxFilterValues = 200

func (l *look) readGroups(ctx context.Context, s *network.Snapshot, vpcID string) error {
	byID := map[string]*network.SecurityGroup{}
	var ids []string
	p := ec2.NewDescribeSecurityGroupsPaginator(l.ec2, &ec2.DescribeSecurityGroupsInput{Filters: inVPC("vpc-id", vpcID)})
	err := pages(ctx, p, func(out *ec2.DescribeSecurityGroupsOutput) {
		for _, g := range out.SecurityGroups {
			group := &network.SecurityGroup{Record: recordOf(g.GroupId, g.VpcId, g.Tags), Name: aws.ToString(g.GroupName), Description: aws.ToString(g.Description)}
			s.Groups = append(s.Groups, group)
			byID[group.ID] = group
			ids = append(ids, group.ID)
		}
	})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(ids, maxFilterValues) {
		p := ec2.NewDescribeSecurityGroupRulesPaginator(l.ec2, &ec2.DescribeSecurityGroupRulesInput{
			Filters: []ec2types.Filter{{Name: aws.String("group-id"), Values: some}},
		})
		err := pages(ctx, p, func(out *ec2.DescribeSecurityGroupRulesOutput) {
			for i := range out.SecurityGroupRules {
				if g := byID[aws.ToString(out.SecurityGroupRules[i].GroupId)]; g != nil {
					g.Rules = append(g.Rules, rule(&out.SecurityGroupRules[i]))
				}
			}
		})
		if err != nil {
			return operationError{"DescribeSecurityGroupRules", err}
		}
	}
	return nil
}

func rule(r *ec2types.SecurityGroupRule) network.Rule {
	x := network.Rule{
		ID: aws.ToString(r.SecurityGroupRuleId), Egress: aws.ToBool(r.IsEgress), Protocol: aws.ToString(r.IpProtocol),
		From: orAll(r.FromPort), To: orAll(r.ToPort), CIDR: prefix(r.CidrIpv4), PrefixListID: aws.ToString(r.PrefixListId),
		Description: aws.ToString(r.Description),
	}
	if !x.CIDR.IsValid() {
		x.CIDR = prefix(r.CidrIpv6)
	}
	if g := r.ReferencedGroupInfo; g != nil {
		x.GroupID, x.GroupOwner = aws.ToString(g.GroupId), aws.ToString(g.UserId)
	}
	return x
}

// orAll is a port, or -1 for all.
func orAll(n *int32) int32 {
	if n == nil {
		return -1
	}
	return *n
}

func (l *look) readACLs(ctx context.Context, s *network.Snapshot, vpcID string) error {
	p := ec2.NewDescribeNetworkAclsPaginator(l.ec2, &ec2.DescribeNetworkAclsInput{Filters: inVPC("vpc-id", vpcID)})
	return pages(ctx, p, func(out *ec2.DescribeNetworkAclsOutput) {
		for _, a := range out.NetworkAcls {
			acl := &network.ACL{Record: recordOf(a.NetworkAclId, a.VpcId, a.Tags), Default: aws.ToBool(a.IsDefault)}
			for _, x := range a.Associations {
				acl.Associations = append(acl.Associations, network.ACLAssociation{ID: aws.ToString(x.NetworkAclAssociationId), SubnetID: aws.ToString(x.SubnetId)})
			}
			for i := range a.Entries {
				if e, ok := entry(&a.Entries[i]); ok {
					acl.Entries = append(acl.Entries, e)
				}
			}
			acl.Sort()
			s.ACLs = append(s.ACLs, acl)
		}
	})
}

// entry reads a rule of a network ACL; false for one of IPv6 or of a protocol
// that is no number.
func entry(e *ec2types.NetworkAclEntry) (network.Entry, bool) {
	protocol, err := strconv.ParseInt(aws.ToString(e.Protocol), 10, 32)
	x := network.Entry{
		Number: aws.ToInt32(e.RuleNumber), Egress: aws.ToBool(e.Egress), Protocol: int32(protocol), Allow: e.RuleAction == ec2types.RuleActionAllow,
		CIDR: prefix(e.CidrBlock), From: -1, To: -1, ICMPType: -1, ICMPCode: -1,
	}
	if e.PortRange != nil {
		x.From, x.To = orAll(e.PortRange.From), orAll(e.PortRange.To)
	}
	if e.IcmpTypeCode != nil {
		x.ICMPType, x.ICMPCode = orAll(e.IcmpTypeCode.Type), orAll(e.IcmpTypeCode.Code)
	}
	return x, err == nil && x.CIDR.IsValid()
}

func (l *look) readRouteTables(ctx context.Context, s *network.Snapshot, vpcID string) error {
	p := ec2.NewDescribeRouteTablesPaginator(l.ec2, &ec2.DescribeRouteTablesInput{Filters: inVPC("vpc-id", vpcID)})
	return pages(ctx, p, func(out *ec2.DescribeRouteTablesOutput) {
		for _, t := range out.RouteTables {
			table := &network.RouteTable{Record: recordOf(t.RouteTableId, t.VpcId, t.Tags)}
			for _, a := range t.Associations {
				table.Associations = append(table.Associations, network.RouteAssociation{
					ID: aws.ToString(a.RouteTableAssociationId), SubnetID: aws.ToString(a.SubnetId), Main: aws.ToBool(a.Main),
				})
			}
			for i := range t.Routes {
				if r, ok := route(&t.Routes[i]); ok {
					table.Routes = append(table.Routes, r)
				}
			}
			s.RouteTables = append(s.RouteTables, table)
		}
	})
}

// route reads a route; false for one of IPv6.
func route(r *ec2types.Route) (network.Route, bool) {
	x := network.Route{Destination: prefix(r.DestinationCidrBlock), PrefixListID: aws.ToString(r.DestinationPrefixListId), Origin: string(r.Origin)}
	for _, target := range []*string{
		r.NatGatewayId, r.GatewayId, r.TransitGatewayId, r.VpcPeeringConnectionId, r.NetworkInterfaceId, r.InstanceId, r.LocalGatewayId,
		r.CarrierGatewayId, r.CoreNetworkArn,
	} {
		if x.Target == "" {
			x.Target = aws.ToString(target)
		}
	}
	return x, x.Target != "" && (x.Destination.IsValid() || x.PrefixListID != "")
}

func (l *look) readInternetGateways(ctx context.Context, s *network.Snapshot, vpcID string) error {
	p := ec2.NewDescribeInternetGatewaysPaginator(l.ec2, &ec2.DescribeInternetGatewaysInput{Filters: inVPC("attachment.vpc-id", vpcID)})
	return pages(ctx, p, func(out *ec2.DescribeInternetGatewaysOutput) {
		for _, g := range out.InternetGateways {
			s.InternetGateways = append(s.InternetGateways, &network.InternetGateway{Record: recordOf(g.InternetGatewayId, &vpcID, g.Tags)})
		}
	})
}

func (l *look) readNATGateways(ctx context.Context, s *network.Snapshot, vpcID string) error {
	p := ec2.NewDescribeNatGatewaysPaginator(l.ec2, &ec2.DescribeNatGatewaysInput{Filter: inVPC("vpc-id", vpcID)})
	return pages(ctx, p, func(out *ec2.DescribeNatGatewaysOutput) {
		for _, g := range out.NatGateways {
			nat := &network.NATGateway{
				Record: recordOf(g.NatGatewayId, g.VpcId, g.Tags), SubnetID: aws.ToString(g.SubnetId), State: string(g.State),
				Public: g.ConnectivityType != ec2types.ConnectivityTypePrivate, DeletedAt: aws.ToTime(g.DeleteTime),
			}
			for _, a := range g.NatGatewayAddresses {
				nat.AllocationID, nat.InterfaceID = aws.ToString(a.AllocationId), aws.ToString(a.NetworkInterfaceId)
				nat.PublicIP, nat.PrivateIP = address(a.PublicIp), address(a.PrivateIp)
				break
			}
			s.NATGateways = append(s.NATGateways, nat)
		}
	})
}

func (l *look) readEndpoints(ctx context.Context, s *network.Snapshot, vpcID string) error {
	p := ec2.NewDescribeVpcEndpointsPaginator(l.ec2, &ec2.DescribeVpcEndpointsInput{Filters: inVPC("vpc-id", vpcID)})
	return pages(ctx, p, func(out *ec2.DescribeVpcEndpointsOutput) {
		for i := range out.VpcEndpoints {
			s.Endpoints = append(s.Endpoints, endpoint(&out.VpcEndpoints[i]))
		}
	})
}

func endpoint(e *ec2types.VpcEndpoint) *network.Endpoint {
	x := &network.Endpoint{
		Record: recordOf(e.VpcEndpointId, e.VpcId, e.Tags), Service: aws.ToString(e.ServiceName), Type: string(e.VpcEndpointType),
		State: strings.ToLower(string(e.State)), SubnetIDs: e.SubnetIds, InterfaceIDs: e.NetworkInterfaceIds, RouteTableIDs: e.RouteTableIds,
		PrivateDNS: aws.ToBool(e.PrivateDnsEnabled), Policy: aws.ToString(e.PolicyDocument),
	}
	for _, g := range e.Groups {
		x.GroupIDs = append(x.GroupIDs, aws.ToString(g.GroupId))
	}
	for _, d := range e.DnsEntries {
		// vpce-ID-LABEL.service…: the first name has no zone behind the label.
		label, _, _ := strings.Cut(aws.ToString(d.DnsName), ".")
		if own, ok := strings.CutPrefix(label, x.ID+"-"); ok && x.Label == "" {
			x.Label, _, _ = strings.Cut(own, "-")
		}
	}
	return x
}

func (l *look) readInterfaces(ctx context.Context, s *network.Snapshot, vpcID string) error {
	p := ec2.NewDescribeNetworkInterfacesPaginator(l.ec2, &ec2.DescribeNetworkInterfacesInput{Filters: inVPC("vpc-id", vpcID)})
	return pages(ctx, p, func(out *ec2.DescribeNetworkInterfacesOutput) {
		for _, i := range out.NetworkInterfaces {
			x := &network.Interface{
				Record: recordOf(i.NetworkInterfaceId, i.VpcId, i.TagSet), SubnetID: aws.ToString(i.SubnetId), Zone: aws.ToString(i.AvailabilityZone),
				Address: address(i.PrivateIpAddress), Type: string(i.InterfaceType), Description: aws.ToString(i.Description), MAC: aws.ToString(i.MacAddress),
			}
			for _, g := range i.Groups {
				x.GroupIDs = append(x.GroupIDs, aws.ToString(g.GroupId))
			}
			s.Interfaces = append(s.Interfaces, x)
		}
	})
}

// alignEndpoints puts the interfaces of endpoints in the order of their
// subnets: EC2 promises none.
func alignEndpoints(s *network.Snapshot) {
	for _, e := range s.Endpoints {
		ids := make([]string, len(e.SubnetIDs))
		for i, subnetID := range e.SubnetIDs {
			for _, id := range e.InterfaceIDs {
				if x := s.Interface(id); x != nil && x.SubnetID == subnetID {
					ids[i], x.HolderID = id, e.ID
				}
			}
		}
		e.InterfaceIDs = ids
	}
}
