package ec2_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const secretsManager = "com.amazonaws.us-east-1.secretsmanager"

func TestInterfaceEndpoint(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	v := *b.vpc("10.0.0.0/16").VpcId
	first, second := *b.subnet(v, "10.0.1.0/24", "us-east-1a").SubnetId, *b.subnet(v, "10.0.2.0/24", "us-east-1b").SubnetId
	twin := *b.subnet(v, "10.0.3.0/24", "us-east-1a").SubnetId
	g, other := b.group(v, "endpoint"), b.group(v, "other")
	in := func() *sdk.CreateVpcEndpointInput {
		return &sdk.CreateVpcEndpointInput{VpcId: &v, VpcEndpointType: types.VpcEndpointTypeInterface, ServiceName: aws.String(secretsManager),
			SubnetIds: []string{first, second}, SecurityGroupIds: []string{g}, ClientToken: aws.String("once")}
	}
	_, err := b.c.CreateVpcEndpoint(ctx, in())
	b.refused("private DNS without host names", err, "InvalidParameter",
		"Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for "+v)
	b.hostnames(v)
	b.refuseEndpoints(v, first, twin, g, in)
	if faces := b.faces("vpc-id", v); len(faces) != 0 {
		t.Errorf("refused endpoints left %d interfaces", len(faces))
	}

	made, err := b.c.CreateVpcEndpoint(ctx, in())
	b.must(err)
	e := made.VpcEndpoint
	id := *e.VpcEndpointId
	if e.State != "pending" || !*e.PrivateDnsEnabled || len(e.NetworkInterfaceIds) != 2 || *e.Groups[0].GroupName != "endpoint" ||
		*e.PolicyDocument != `{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}` || len(e.DnsEntries) != 4 {
		t.Errorf("got %+v", e)
	}
	if name := *e.DnsEntries[0].DnsName; !strings.HasPrefix(name, id+"-") || !strings.HasSuffix(name, ".secretsmanager.us-east-1.vpce.amazonaws.com") {
		t.Errorf("got name %s", name)
	}
	if name := *e.DnsEntries[3].DnsName; name != "secretsmanager.us-east-1.amazonaws.com" {
		t.Errorf("got private name %s", name)
	}
	again, err := b.c.CreateVpcEndpoint(ctx, in())
	b.must(err)
	if *again.VpcEndpoint.VpcEndpointId != id {
		t.Error("the same token made another endpoint")
	}
	conflict := in()
	conflict.ClientToken = nil
	_, err = b.c.CreateVpcEndpoint(ctx, conflict)
	b.refused("a second private name", err, "InvalidParameter",
		"private-dns-enabled cannot be set because there is already a conflicting DNS domain for secretsmanager.us-east-1.amazonaws.com in the VPC "+v)
	described, err := b.c.DescribeVpcEndpoints(ctx, &sdk.DescribeVpcEndpointsInput{Filters: filter("service-name", "*.secretsmanager")})
	b.must(err)
	if len(described.VpcEndpoints) != 1 || described.VpcEndpoints[0].State != "available" {
		t.Errorf("got %+v", described.VpcEndpoints)
	}
	b.modifyEndpoint(id, first, g, other)
	b.deleteEndpoint(id, first, other)
}

// refuseEndpoints tries what makes no endpoint.
func (b *bench) refuseEndpoints(v, first, twin, g string, in func() *sdk.CreateVpcEndpointInput) {
	b.t.Helper()
	elsewhere := *b.vpc("10.9.0.0/16").VpcId
	far := b.group(elsewhere, "far")
	for _, tc := range []struct {
		what       string
		change     func(*sdk.CreateVpcEndpointInput)
		code, text string
	}{
		{"no type", func(in *sdk.CreateVpcEndpointInput) { in.VpcEndpointType = "" }, "InvalidParameter",
			"Endpoint type (Gateway) does not match available service types ([Interface])."},
		{"an unknown service", func(in *sdk.CreateVpcEndpointInput) { in.ServiceName = aws.String("com.amazonaws.us-east-1.none") }, "InvalidServiceName",
			"The Vpc Endpoint Service 'com.amazonaws.us-east-1.none' does not exist"},
		{"another region's service", func(in *sdk.CreateVpcEndpointInput) {
			in.ServiceName = aws.String("com.amazonaws.eu-west-1.secretsmanager")
		}, "InvalidServiceName",
			"The Vpc Endpoint Service 'com.amazonaws.eu-west-1.secretsmanager' does not exist"},
		{"an unknown VPC", func(in *sdk.CreateVpcEndpointInput) { in.VpcId = aws.String("vpc-0a") }, "InvalidVpcId.NotFound", "The Vpc Id vpc-0a does not exist"},
		{"an unknown subnet", func(in *sdk.CreateVpcEndpointInput) { in.SubnetIds = []string{"subnet-0a"} }, "InvalidSubnetId.NotFound", "The subnet ID 'subnet-0a' does not exist"},
		{"an unknown group", func(in *sdk.CreateVpcEndpointInput) { in.SecurityGroupIds = []string{"sg-0a"} }, "InvalidSecurityGroupId.NotFound", "The security group 'sg-0a' does not exist"},
		{"another VPC's group", func(in *sdk.CreateVpcEndpointInput) { in.SecurityGroupIds = []string{far} }, "InvalidParameter",
			"Security group " + far + " and VPC " + v + " belong to different networks"},
		{"two subnets of a zone", func(in *sdk.CreateVpcEndpointInput) { in.SubnetIds = []string{first, twin} }, "DuplicateSubnetsInSameZone",
			"Found another VPC endpoint subnet in the availability zone of " + twin +
				". VPC endpoint subnets should be in different availability zones supported by the VPC endpoint service."},
		{"no policy", func(in *sdk.CreateVpcEndpointInput) { in.PolicyDocument = aws.String(`{"Statement":1}`) }, "InvalidPolicyDocument", "The policy document is invalid."},
		{"route tables", func(in *sdk.CreateVpcEndpointInput) { in.RouteTableIds = []string{"rtb-0a"} }, "InvalidParameter",
			"Route table IDs are only supported for Gateway type VPC Endpoint."},
	} {
		request := in()
		tc.change(request)
		_, err := b.c.CreateVpcEndpoint(b.t.Context(), request)
		b.refused(tc.what, err, tc.code, tc.text)
	}
}

// faces lists network interfaces.
func (b *bench) faces(name, value string) []types.NetworkInterface {
	b.t.Helper()
	out, err := b.c.DescribeNetworkInterfaces(b.t.Context(), &sdk.DescribeNetworkInterfacesInput{Filters: filter(name, value)})
	b.must(err)
	return out.NetworkInterfaces
}

func (b *bench) modifyEndpoint(id, first, g, other string) {
	b.t.Helper()
	_, err := b.c.ModifyVpcEndpoint(b.t.Context(), &sdk.ModifyVpcEndpointInput{VpcEndpointId: &id, RemoveSecurityGroupIds: []string{g}})
	checkCode(b.t.(*testing.T), "no group left", err, "InvalidParameter")
	_, err = b.c.ModifyVpcEndpoint(b.t.Context(), &sdk.ModifyVpcEndpointInput{VpcEndpointId: &id, AddSecurityGroupIds: []string{other}, RemoveSecurityGroupIds: []string{g}, RemoveSubnetIds: []string{first}})
	b.must(err)
	faces := b.faces("group-id", other)
	if len(faces) != 1 || faces[0].InterfaceType != "vpc_endpoint" || *faces[0].Description != "VPC Endpoint Interface "+id || *faces[0].PrivateIpAddress != "10.0.2.4" || !*faces[0].RequesterManaged {
		b.t.Errorf("got interfaces %+v", faces)
	}
	_, err = b.c.DeleteSecurityGroup(b.t.Context(), &sdk.DeleteSecurityGroupInput{GroupId: &g})
	b.must(err)
	_, err = b.c.DeleteSecurityGroup(b.t.Context(), &sdk.DeleteSecurityGroupInput{GroupId: &other})
	b.refused("a group of an endpoint", err, "DependencyViolation", "resource "+other+" has a dependent object")
	_, err = b.c.ModifyVpcEndpoint(b.t.Context(), &sdk.ModifyVpcEndpointInput{VpcEndpointId: &id, AddSubnetIds: []string{first}, PrivateDnsEnabled: aws.Bool(false)})
	b.must(err)
	_, err = b.c.DeleteSubnet(b.t.Context(), &sdk.DeleteSubnetInput{SubnetId: &first})
	b.refused("a subnet of an endpoint", err, "DependencyViolation", "The subnet '"+first+"' has dependencies and cannot be deleted.")
}

func (b *bench) deleteEndpoint(id, first, other string) {
	b.t.Helper()
	out, err := b.c.DeleteVpcEndpoints(b.t.Context(), &sdk.DeleteVpcEndpointsInput{VpcEndpointIds: []string{"vpce-0a", id}})
	b.must(err)
	if len(out.Unsuccessful) != 1 || *out.Unsuccessful[0].ResourceId != "vpce-0a" || *out.Unsuccessful[0].Error.Code != "InvalidVpcEndpointId.NotFound" {
		b.t.Errorf("got %+v", out.Unsuccessful)
	}
	_, err = b.c.DescribeVpcEndpoints(b.t.Context(), &sdk.DescribeVpcEndpointsInput{VpcEndpointIds: []string{id}})
	b.refused("a deleted endpoint", err, "InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '"+id+"' does not exist")
	_, err = b.c.DeleteSubnet(b.t.Context(), &sdk.DeleteSubnetInput{SubnetId: &first})
	b.must(err)
	_, err = b.c.DeleteSecurityGroup(b.t.Context(), &sdk.DeleteSecurityGroupInput{GroupId: &other})
	b.must(err)
}

func TestGatewayEndpoint(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	v := *b.vpc("10.0.0.0/16").VpcId
	table, err := b.c.CreateRouteTable(ctx, &sdk.CreateRouteTableInput{VpcId: &v})
	b.must(err)
	rtb := *table.RouteTable.RouteTableId
	made, err := b.c.CreateVpcEndpoint(ctx, &sdk.CreateVpcEndpointInput{VpcId: &v, ServiceName: aws.String("com.amazonaws.us-east-1.s3"), RouteTableIds: []string{rtb}})
	b.must(err)
	id := *made.VpcEndpoint.VpcEndpointId
	if made.VpcEndpoint.VpcEndpointType != types.VpcEndpointTypeGateway || made.VpcEndpoint.State != "available" || len(made.VpcEndpoint.DnsEntries) != 0 {
		t.Errorf("got %+v", made.VpcEndpoint)
	}
	lists, err := b.c.DescribePrefixLists(ctx, &sdk.DescribePrefixListsInput{Filters: filter("prefix-list-name", "com.amazonaws.us-east-1.s3")})
	b.must(err)
	tables, err := b.c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{RouteTableIds: []string{rtb}})
	b.must(err)
	if r := tables.RouteTables[0].Routes; len(r) != 2 || *r[1].DestinationPrefixListId != *lists.PrefixLists[0].PrefixListId || *r[1].GatewayId != id {
		t.Errorf("got routes %+v", r)
	}
	_, err = b.c.DeleteRouteTable(ctx, &sdk.DeleteRouteTableInput{RouteTableId: &rtb})
	checkCode(t, "a table of an endpoint", err, "DependencyViolation")
	_, err = b.c.DeleteVpcEndpoints(ctx, &sdk.DeleteVpcEndpointsInput{VpcEndpointIds: []string{id}})
	b.must(err)
	tables, err = b.c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{RouteTableIds: []string{rtb}})
	b.must(err)
	if r := tables.RouteTables[0].Routes; len(r) != 1 {
		t.Errorf("a deleted endpoint left routes %+v", r)
	}
}

func TestRegional(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	zones, err := b.c.DescribeAvailabilityZones(ctx, &sdk.DescribeAvailabilityZonesInput{Filters: filter("state", "available")})
	b.must(err)
	if len(zones.AvailabilityZones) != 3 || *zones.AvailabilityZones[2].ZoneName != "us-east-1c" || *zones.AvailabilityZones[2].ZoneId != "use1-az3" {
		t.Errorf("got %+v", zones.AvailabilityZones)
	}
	regions, err := b.c.DescribeRegions(ctx, &sdk.DescribeRegionsInput{RegionNames: []string{"eu-west-1"}})
	b.must(err)
	if len(regions.Regions) != 1 || *regions.Regions[0].Endpoint != "ec2.eu-west-1.amazonaws.com" {
		t.Errorf("got %+v", regions.Regions)
	}
	_, err = b.c.DescribeRegions(ctx, &sdk.DescribeRegionsInput{RegionNames: []string{"mars-1"}})
	checkCode(t, "an unknown region", err, "InvalidParameterValue")
	services, err := b.c.DescribeVpcEndpointServices(ctx, &sdk.DescribeVpcEndpointServicesInput{ServiceNames: []string{secretsManager}})
	b.must(err)
	if d := services.ServiceDetails; !slices.Equal(services.ServiceNames, []string{secretsManager}) || *d[0].PrivateDnsName != "secretsmanager.us-east-1.amazonaws.com" || d[0].ServiceType[0].ServiceType != types.ServiceTypeInterface {
		t.Errorf("got %v, %+v", services.ServiceNames, d)
	}
	gateways, err := b.c.DescribeVpcEndpointServices(ctx, &sdk.DescribeVpcEndpointServicesInput{Filters: filter("service-type", "Gateway")})
	b.must(err)
	if len(gateways.ServiceNames) != 2 {
		t.Errorf("got services %v", gateways.ServiceNames)
	}
	vpn, err := b.c.DescribeVpnGateways(ctx, &sdk.DescribeVpnGatewaysInput{Filters: filter("attachment.vpc-id", "vpc-0a")})
	b.must(err)
	if len(vpn.VpnGateways) != 0 {
		t.Errorf("got %+v", vpn.VpnGateways)
	}
}
