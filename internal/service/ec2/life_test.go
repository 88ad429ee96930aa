package ec2_test

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// A VPC with everything is taken apart in the order that dependencies ask
// for, and leaves nothing.
func TestVPCLife(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	vpc := b.vpc("10.0.5.0/16")
	id := vpc.VpcId
	if *vpc.CidrBlock != "10.0.0.0/16" || vpc.State != types.VpcStatePending || *vpc.IsDefault || len(*id) != len("vpc-")+17 {
		t.Errorf("got %+v", vpc)
	}
	acls, err := b.c.DescribeNetworkAcls(ctx, &sdk.DescribeNetworkAclsInput{Filters: filter("vpc-id", *id)})
	b.must(err)
	var numbers []int32
	for _, e := range acls.NetworkAcls[0].Entries {
		numbers = append(numbers, *e.RuleNumber)
	}
	if len(acls.NetworkAcls) != 1 || !*acls.NetworkAcls[0].IsDefault || !slices.Equal(numbers, []int32{100, 32767, 100, 32767}) {
		t.Errorf("got ACLs %+v", acls.NetworkAcls)
	}
	groups, err := b.c.DescribeSecurityGroups(ctx, &sdk.DescribeSecurityGroupsInput{Filters: filter("vpc-id", *id)})
	b.must(err)
	g := groups.SecurityGroups[0]
	if *g.GroupName != "default" || *g.IpPermissions[0].UserIdGroupPairs[0].GroupId != *g.GroupId || *g.IpPermissionsEgress[0].IpRanges[0].CidrIp != "0.0.0.0/0" ||
		*g.IpPermissionsEgress[0].IpProtocol != "-1" || g.IpPermissionsEgress[0].FromPort != nil {
		t.Errorf("got default group %+v", g)
	}
	_, err = b.c.DeleteSecurityGroup(ctx, &sdk.DeleteSecurityGroupInput{GroupId: g.GroupId})
	b.refused("a default group", err, "CannotDelete", `the specified group: "`+*g.GroupId+`" name: "default" cannot be deleted by a user`)

	subnet := b.subnet(*id, "10.0.1.0/24", "us-east-1b")
	if *subnet.AvailabilityZoneId != "use1-az2" || *subnet.AvailableIpAddressCount != 251 || *subnet.SubnetArn != "arn:aws:ec2:us-east-1:123456789012:subnet/"+*subnet.SubnetId {
		t.Errorf("got %+v", subnet)
	}
	gateway, err := b.c.CreateInternetGateway(ctx, &sdk.CreateInternetGatewayInput{})
	b.must(err)
	igw := gateway.InternetGateway.InternetGatewayId
	_, err = b.c.AttachInternetGateway(ctx, &sdk.AttachInternetGatewayInput{InternetGatewayId: igw, VpcId: id})
	b.must(err)
	table, err := b.c.CreateRouteTable(ctx, &sdk.CreateRouteTableInput{VpcId: id})
	b.must(err)
	rtb := table.RouteTable.RouteTableId
	_, err = b.c.CreateRoute(ctx, &sdk.CreateRouteInput{RouteTableId: rtb, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: igw})
	b.must(err)
	associated, err := b.c.AssociateRouteTable(ctx, &sdk.AssociateRouteTableInput{RouteTableId: rtb, SubnetId: subnet.SubnetId})
	b.must(err)
	nat, err := b.c.CreateNatGateway(ctx, &sdk.CreateNatGatewayInput{SubnetId: subnet.SubnetId, AllocationId: aws.String("eipalloc-0123456789abcdef0")})
	b.must(err)
	natID := nat.NatGateway.NatGatewayId
	if nat.NatGateway.State != types.NatGatewayStatePending {
		t.Errorf("got state %s", nat.NatGateway.State)
	}
	nats, err := b.c.DescribeNatGateways(ctx, &sdk.DescribeNatGatewaysInput{Filter: filter("state", "avail*")})
	b.must(err)
	if len(nats.NatGateways) != 1 || *nats.NatGateways[0].NatGatewayAddresses[0].PrivateIp != "10.0.1.4" {
		t.Errorf("got %+v", nats.NatGateways)
	}
	b.takeApart(t, &parts{vpc: id, subnet: subnet.SubnetId, gateway: igw, table: rtb, association: associated.AssociationId, nat: natID})
}

// parts are the IDs of what stands in a VPC.
type parts struct{ vpc, subnet, gateway, table, association, nat *string }

// takeApart deletes a VPC's parts, in the wrong order first.
func (b *bench) takeApart(t *testing.T, p *parts) {
	t.Helper()
	ctx, id, igw, rtb, natID := t.Context(), p.vpc, p.gateway, p.table, p.nat
	for _, step := range []struct {
		what string
		do   func() error
		code string
	}{
		{"a VPC in use", func() error { _, err := b.c.DeleteVpc(ctx, &sdk.DeleteVpcInput{VpcId: id}); return err }, "DependencyViolation"},
		{"a subnet in use", func() error {
			_, err := b.c.DeleteSubnet(ctx, &sdk.DeleteSubnetInput{SubnetId: p.subnet})
			return err
		}, "DependencyViolation"},
		{"a gateway that a NAT gateway needs", func() error {
			_, err := b.c.DetachInternetGateway(ctx, &sdk.DetachInternetGatewayInput{InternetGatewayId: igw, VpcId: id})
			return err
		}, "DependencyViolation"},
		{"an attached gateway", func() error {
			_, err := b.c.DeleteInternetGateway(ctx, &sdk.DeleteInternetGatewayInput{InternetGatewayId: igw})
			return err
		}, "DependencyViolation"},
		{"an associated table", func() error {
			_, err := b.c.DeleteRouteTable(ctx, &sdk.DeleteRouteTableInput{RouteTableId: rtb})
			return err
		}, "DependencyViolation"},
		{"the NAT gateway", func() error {
			_, err := b.c.DeleteNatGateway(ctx, &sdk.DeleteNatGatewayInput{NatGatewayId: natID})
			return err
		}, ""},
		{"the deleted NAT gateway", func() error {
			_, err := b.c.DescribeNatGateways(ctx, &sdk.DescribeNatGatewaysInput{NatGatewayIds: []string{*natID}})
			return err
		}, "NatGatewayNotFound"},
		{"the association", func() error {
			_, err := b.c.DisassociateRouteTable(ctx, &sdk.DisassociateRouteTableInput{AssociationId: p.association})
			return err
		}, ""},
		{"the gateway's attachment", func() error {
			_, err := b.c.DetachInternetGateway(ctx, &sdk.DetachInternetGatewayInput{InternetGatewayId: igw, VpcId: id})
			return err
		}, ""},
		{"the gateway", func() error {
			_, err := b.c.DeleteInternetGateway(ctx, &sdk.DeleteInternetGatewayInput{InternetGatewayId: igw})
			return err
		}, ""},
	} {
		checkCode(t, step.what, step.do(), step.code)
	}
	tables, err := b.c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{RouteTableIds: []string{*rtb}, Filters: filter("route.state", "blackhole")})
	b.must(err)
	if len(tables.RouteTables) != 1 {
		t.Error("a route to a deleted gateway is no blackhole")
	}
	_, err = b.c.DeleteRouteTable(ctx, &sdk.DeleteRouteTableInput{RouteTableId: rtb})
	b.must(err)
	_, err = b.c.DeleteSubnet(ctx, &sdk.DeleteSubnetInput{SubnetId: p.subnet})
	b.must(err)
	_, err = b.c.DeleteVpc(ctx, &sdk.DeleteVpcInput{VpcId: id})
	b.must(err)
	for what, n := range b.count(*id) {
		if n != 0 {
			t.Errorf("%d %s are left of the VPC", n, what)
		}
	}
}

// count counts what is left of a VPC.
func (b *bench) count(vpcID string) map[string]int {
	b.t.Helper()
	ctx, of := b.t.Context(), filter("vpc-id", vpcID)
	vpcs, err := b.c.DescribeVpcs(ctx, &sdk.DescribeVpcsInput{Filters: of})
	b.must(err)
	groups, err := b.c.DescribeSecurityGroups(ctx, &sdk.DescribeSecurityGroupsInput{Filters: of})
	b.must(err)
	acls, err := b.c.DescribeNetworkAcls(ctx, &sdk.DescribeNetworkAclsInput{Filters: of})
	b.must(err)
	tables, err := b.c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{Filters: of})
	b.must(err)
	faces, err := b.c.DescribeNetworkInterfaces(ctx, &sdk.DescribeNetworkInterfacesInput{Filters: of})
	b.must(err)
	return map[string]int{"VPCs": len(vpcs.Vpcs), "groups": len(groups.SecurityGroups), "ACLs": len(acls.NetworkAcls), "tables": len(tables.RouteTables), "interfaces": len(faces.NetworkInterfaces)}
}
