package ec2_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/service/ec2"
	"github.com/keyturn/keyturn/internal/servicetest"
)

type bench struct {
	*servicetest.Parts
	t        testing.TB
	c        *sdk.Client
	cfg      aws.Config
	endpoint string
}

func newBench(t testing.TB) *bench {
	t.Helper()
	p := servicetest.NewParts(t)
	endpoint, cfg := p.Serve(t, ec2.New(ec2.Config{Store: p.Store, Guard: p.Guard}).Wire())
	return &bench{p, t, sdk.NewFromConfig(cfg), cfg, endpoint}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// refused demands a refusal with a code and a text.
func (b *bench) refused(what string, err error, code, text string) {
	b.t.Helper()
	servicetest.WantError(b.t, what, err, code, 400, text)
}

func (b *bench) vpc(cidr string) *types.Vpc {
	b.t.Helper()
	out, err := b.c.CreateVpc(b.t.Context(), &sdk.CreateVpcInput{CidrBlock: &cidr})
	b.must(err)
	return out.Vpc
}

func (b *bench) subnet(vpcID, cidr, zone string) *types.Subnet {
	b.t.Helper()
	in := &sdk.CreateSubnetInput{VpcId: &vpcID, CidrBlock: &cidr}
	if zone != "" {
		in.AvailabilityZone = &zone
	}
	out, err := b.c.CreateSubnet(b.t.Context(), in)
	b.must(err)
	return out.Subnet
}

func (b *bench) group(vpcID, name string) string {
	b.t.Helper()
	out, err := b.c.CreateSecurityGroup(b.t.Context(), &sdk.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("for tests"), VpcId: &vpcID})
	b.must(err)
	return *out.GroupId
}

// hostnames turns DNS host names of a VPC on.
func (b *bench) hostnames(vpcID string) {
	b.t.Helper()
	_, err := b.c.ModifyVpcAttribute(b.t.Context(), &sdk.ModifyVpcAttributeInput{VpcId: &vpcID, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	b.must(err)
}

func filter(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

func TestDefaultVPC(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	vpcs, err := b.c.DescribeVpcs(ctx, &sdk.DescribeVpcsInput{})
	b.must(err)
	if len(vpcs.Vpcs) != 1 || !*vpcs.Vpcs[0].IsDefault || *vpcs.Vpcs[0].CidrBlock != "172.31.0.0/16" || vpcs.Vpcs[0].State != types.VpcStateAvailable {
		t.Fatalf("got %+v, want the default VPC", vpcs.Vpcs)
	}
	id := vpcs.Vpcs[0].VpcId
	subnets, err := b.c.DescribeSubnets(ctx, &sdk.DescribeSubnetsInput{Filters: filter("vpc-id", *id)})
	b.must(err)
	if len(subnets.Subnets) != 3 || *subnets.Subnets[0].AvailableIpAddressCount != 4091 || !*subnets.Subnets[0].DefaultForAz || !*subnets.Subnets[0].MapPublicIpOnLaunch {
		t.Errorf("got %d subnets, first %+v", len(subnets.Subnets), subnets.Subnets[0])
	}
	for _, attribute := range []types.VpcAttributeName{types.VpcAttributeNameEnableDnsHostnames, types.VpcAttributeNameEnableDnsSupport} {
		out, err := b.c.DescribeVpcAttribute(ctx, &sdk.DescribeVpcAttributeInput{VpcId: id, Attribute: attribute})
		b.must(err)
		v := out.EnableDnsHostnames
		if v == nil {
			v = out.EnableDnsSupport
		}
		if !*v.Value {
			t.Errorf("%s is off", attribute)
		}
	}
	tables, err := b.c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{Filters: filter("association.main", "true")})
	b.must(err)
	if len(tables.RouteTables) != 1 || len(tables.RouteTables[0].Routes) != 2 || !strings.HasPrefix(*tables.RouteTables[0].Routes[1].GatewayId, "igw-") {
		t.Errorf("got %+v", tables.RouteTables)
	}
	// Another account has its own, and a deleted one does not come back.
	other := sdk.NewFromConfig(b.As(servicetest.User(t, "210987654321", "ana", `{"Effect":"Allow","Action":"*","Resource":"*"}`)))
	theirs, err := other.DescribeVpcs(ctx, &sdk.DescribeVpcsInput{})
	b.must(err)
	if len(theirs.Vpcs) != 1 || *theirs.Vpcs[0].VpcId == *id {
		t.Errorf("another account: got %+v", theirs.Vpcs)
	}
	_, err = b.c.DeleteVpc(ctx, &sdk.DeleteVpcInput{VpcId: id})
	b.refused("a VPC with subnets", err, "DependencyViolation", "The vpc '"+*id+"' has dependencies and cannot be deleted.")
}

// checkCode demands an error with a code, or none for "".
func checkCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	got := ""
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		got = api.ErrorCode()
	} else if err != nil {
		got = err.Error()
	}
	if got != code {
		t.Errorf("%s: got %q (%v), want %q", what, got, err, code)
	}
}

func TestRefusals(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	v := *b.vpc("10.0.0.0/16").VpcId
	b.subnet(v, "10.0.1.0/24", "")
	s := aws.String
	for _, tc := range []struct {
		what       string
		do         func() error
		code, text string
	}{
		{"a VPC without block", func() error { _, err := b.c.CreateVpc(ctx, &sdk.CreateVpcInput{}); return err },
			"MissingParameter", "Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided."},
		{"a VPC too wide", func() error {
			_, err := b.c.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: s("10.0.0.0/8")})
			return err
		},
			"InvalidVpc.Range", "The CIDR '10.0.0.0/8' is invalid."},
		{"no block", func() error {
			_, err := b.c.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: s("10.0.0.0/33")})
			return err
		},
			"InvalidParameterValue", "Value (10.0.0.0/33) for parameter cidrBlock is invalid. This is not a valid CIDR block."},
		{"another VPC's subnet", func() error {
			_, err := b.c.CreateSubnet(ctx, &sdk.CreateSubnetInput{VpcId: &v, CidrBlock: s("10.1.0.0/24")})
			return err
		}, "InvalidSubnet.Range", "The CIDR '10.1.0.0/24' is invalid."},
		{"an overlapping subnet", func() error {
			_, err := b.c.CreateSubnet(ctx, &sdk.CreateSubnetInput{VpcId: &v, CidrBlock: s("10.0.1.128/25")})
			return err
		}, "InvalidSubnet.Conflict", "The CIDR '10.0.1.128/25' conflicts with another subnet"},
		{"an unknown VPC", func() error {
			_, err := b.c.CreateSubnet(ctx, &sdk.CreateSubnetInput{VpcId: s("vpc-0a"), CidrBlock: s("10.0.1.0/24")})
			return err
		}, "InvalidVpcID.NotFound", "The vpc ID 'vpc-0a' does not exist"},
		{"an unknown zone", func() error {
			_, err := b.c.CreateSubnet(ctx, &sdk.CreateSubnetInput{VpcId: &v, CidrBlock: s("10.0.9.0/24"), AvailabilityZone: s("us-east-1z")})
			return err
		}, "InvalidParameterValue", "Value (us-east-1z) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: us-east-1a, us-east-1b, us-east-1c."},
		{"unknown subnets", func() error {
			_, err := b.c.DescribeSubnets(ctx, &sdk.DescribeSubnetsInput{SubnetIds: []string{"subnet-1", "subnet-2"}})
			return err
		}, "InvalidSubnetID.NotFound", "The subnet IDs 'subnet-1, subnet-2' do not exist"},
		{"an unknown group", func() error {
			_, err := b.c.DescribeSecurityGroups(ctx, &sdk.DescribeSecurityGroupsInput{GroupIds: []string{"sg-1"}})
			return err
		}, "InvalidGroup.NotFound", "The security group 'sg-1' does not exist"},
		{"no group ID", func() error {
			_, err := b.c.DescribeSecurityGroups(ctx, &sdk.DescribeSecurityGroupsInput{GroupIds: []string{"web"}})
			return err
		}, "InvalidGroupId.Malformed", `Invalid id: "web" (expecting "sg-...")`},
		{"an unknown filter", func() error {
			_, err := b.c.DescribeVpcs(ctx, &sdk.DescribeVpcsInput{Filters: filter("colour", "red")})
			return err
		}, "InvalidParameterValue", "The filter 'colour' is invalid"},
		{"an unknown filter of nothing", func() error {
			_, err := b.c.DescribeVpcEndpoints(ctx, &sdk.DescribeVpcEndpointsInput{Filters: filter("colour", "red")})
			return err
		}, "InvalidParameterValue", "The filter 'colour' is invalid"},
		{"a reserved name", func() error {
			_, err := b.c.CreateSecurityGroup(ctx, &sdk.CreateSecurityGroupInput{VpcId: &v, GroupName: s("default"), Description: s("d")})
			return err
		}, "InvalidParameterValue", "Cannot use reserved security group name: default"},
		{"a name like an ID", func() error {
			_, err := b.c.CreateSecurityGroup(ctx, &sdk.CreateSecurityGroupInput{VpcId: &v, GroupName: s("sg-web"), Description: s("d")})
			return err
		}, "InvalidParameterValue", "Invalid value 'sg-web' for groupName. Group names may not be in the format sg-*."},
		{"a page token", func() error {
			_, err := b.c.DescribeVpcs(ctx, &sdk.DescribeVpcsInput{NextToken: s("made-up")})
			return err
		}, "InvalidPaginationToken", "The pagination token is invalid: made-up"},
	} {
		b.refused(tc.what, tc.do(), tc.code, tc.text)
	}
}

func TestPagesAndWildcards(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	v := *b.vpc("10.0.0.0/16").VpcId
	var want []string
	for i := range 12 {
		out, err := b.c.CreateSecurityGroup(ctx, &sdk.CreateSecurityGroupInput{
			VpcId: &v, GroupName: aws.String("web-" + string(rune('a'+i))), Description: aws.String("d"),
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroup, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("web*" + string(rune('a'+i)))}}}},
		})
		b.must(err)
		want = append(want, *out.GroupId)
	}
	slices.Sort(want)
	var got []string
	pages := sdk.NewDescribeSecurityGroupsPaginator(b.c, &sdk.DescribeSecurityGroupsInput{MaxResults: aws.Int32(5), Filters: filter("group-name", "web-?")})
	sizes := []int{}
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		b.must(err)
		sizes = append(sizes, len(out.SecurityGroups))
		for _, g := range out.SecurityGroups {
			got = append(got, *g.GroupId)
		}
	}
	if !slices.Equal(got, want) || !slices.Equal(sizes, []int{5, 5, 2}) {
		t.Errorf("got %v in pages of %v, want %v", got, sizes, want)
	}
	for _, tc := range []struct {
		name, value string
		want        int
	}{
		{"tag:Name", `web\*a`, 1}, {"tag:Name", `web*`, 12}, {"tag:Name", "Web*", 0}, {"tag:Name", "*c", 1}, {"tag-key", "Name", 12}, {"group-name", "*", 13},
	} {
		out, err := b.c.DescribeSecurityGroups(ctx, &sdk.DescribeSecurityGroupsInput{Filters: append(filter(tc.name, tc.value), filter("vpc-id", v)...)})
		b.must(err)
		if len(out.SecurityGroups) != tc.want {
			t.Errorf("%s=%s: got %d groups, want %d", tc.name, tc.value, len(out.SecurityGroups), tc.want)
		}
	}
}

func TestSecurityGroupRules(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	v := *b.vpc("10.0.0.0/16").VpcId
	web, db := b.group(v, "web"), b.group(v, "db")
	_, err := b.c.CreateSecurityGroup(ctx, &sdk.CreateSecurityGroupInput{VpcId: &v, GroupName: aws.String("web"), Description: aws.String("again")})
	b.refused("a taken name", err, "InvalidGroup.Duplicate", "The security group 'web' already exists for VPC '"+v+"'")

	https := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), IpRanges: []types.IpRange{
		{CidrIp: aws.String("10.0.0.0/16"), Description: aws.String("all")}, {CidrIp: aws.String("192.0.2.7/32")},
	}}
	out, err := b.c.AuthorizeSecurityGroupIngress(ctx, &sdk.AuthorizeSecurityGroupIngressInput{GroupId: &web, IpPermissions: []types.IpPermission{https}})
	b.must(err)
	if len(out.SecurityGroupRules) != 2 || *out.SecurityGroupRules[0].Description != "all" || *out.SecurityGroupRules[1].CidrIpv4 != "192.0.2.7/32" || *out.SecurityGroupRules[0].IsEgress {
		t.Errorf("got %+v", out.SecurityGroupRules)
	}
	_, err = b.c.AuthorizeSecurityGroupIngress(ctx, &sdk.AuthorizeSecurityGroupIngressInput{GroupId: &web, IpProtocol: aws.String("6"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), CidrIp: aws.String("10.0.0.0/16")})
	b.refused("a rule twice", err, "InvalidPermission.Duplicate", `the specified rule "peer: 10.0.0.0/16, TCP, from port: 443, to port: 443, ALLOW" already exists`)
	_, err = b.c.AuthorizeSecurityGroupIngress(ctx, &sdk.AuthorizeSecurityGroupIngressInput{GroupId: &db, IpPermissions: []types.IpPermission{
		{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(5432), ToPort: aws.Int32(5432), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &web}}},
	}})
	b.must(err)
	for text, p := range map[string]types.IpPermission{
		"Invalid value 'ipx' for IP protocol. Unknown protocol.":                           {IpProtocol: aws.String("ipx")},
		"Invalid TCP/UDP port range (443:80)":                                              {IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(80)},
		"TCP/UDP port (70000) out of range":                                                {IpProtocol: aws.String("tcp"), FromPort: aws.Int32(1), ToPort: aws.Int32(70000)},
		"Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.": {IpProtocol: aws.String("udp")},
		"CIDR block 10.0.0.0/99 is malformed":                                              {IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("10.0.0.0/99")}}},
	} {
		_, err := b.c.AuthorizeSecurityGroupEgress(ctx, &sdk.AuthorizeSecurityGroupEgressInput{GroupId: &web, IpPermissions: []types.IpPermission{p}})
		b.refused("a bad rule", err, "InvalidParameterValue", text)
	}

	groups, err := b.c.DescribeSecurityGroups(ctx, &sdk.DescribeSecurityGroupsInput{GroupIds: []string{web}})
	b.must(err)
	if p := groups.SecurityGroups[0].IpPermissions; len(p) != 1 || len(p[0].IpRanges) != 2 {
		t.Errorf("got %+v, want one permission with two ranges", p)
	}
	_, err = b.c.DeleteSecurityGroup(ctx, &sdk.DeleteSecurityGroupInput{GroupId: &web})
	b.refused("a group that another's rule names", err, "DependencyViolation", "resource "+web+" has a dependent object")

	rules, err := b.c.DescribeSecurityGroupRules(ctx, &sdk.DescribeSecurityGroupRulesInput{Filters: filter("group-id", db)})
	b.must(err)
	var toDrop string
	for _, r := range rules.SecurityGroupRules {
		if !*r.IsEgress {
			toDrop = *r.SecurityGroupRuleId
			if *r.ReferencedGroupInfo.GroupId != web || !strings.HasPrefix(toDrop, "sgr-0") {
				t.Errorf("got %+v", r)
			}
		}
	}
	revoked, err := b.c.RevokeSecurityGroupIngress(ctx, &sdk.RevokeSecurityGroupIngressInput{GroupId: &db, SecurityGroupRuleIds: []string{toDrop}})
	b.must(err)
	if len(revoked.RevokedSecurityGroupRules) != 1 || *revoked.RevokedSecurityGroupRules[0].ReferencedGroupId != web {
		t.Errorf("got %+v", revoked.RevokedSecurityGroupRules)
	}
	_, err = b.c.RevokeSecurityGroupIngress(ctx, &sdk.RevokeSecurityGroupIngressInput{GroupId: &web, IpPermissions: []types.IpPermission{https}})
	b.must(err)
	_, err = b.c.RevokeSecurityGroupIngress(ctx, &sdk.RevokeSecurityGroupIngressInput{GroupId: &web, IpPermissions: []types.IpPermission{https}})
	b.refused("a rule that is gone", err, "InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
	_, err = b.c.RevokeSecurityGroupEgress(ctx, &sdk.RevokeSecurityGroupEgressInput{GroupId: &web, IpPermissions: []types.IpPermission{{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}})
	b.must(err)
	_, err = b.c.DeleteSecurityGroup(ctx, &sdk.DeleteSecurityGroupInput{GroupId: &web})
	b.must(err)
}

func TestNetworkACLs(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	v := *b.vpc("10.0.0.0/16").VpcId
	n := b.subnet(v, "10.0.1.0/24", "")
	made, err := b.c.CreateNetworkAcl(ctx, &sdk.CreateNetworkAclInput{VpcId: &v})
	b.must(err)
	id := made.NetworkAcl.NetworkAclId
	if len(made.NetworkAcl.Entries) != 2 || *made.NetworkAcl.Entries[0].RuleNumber != 32767 || made.NetworkAcl.Entries[0].RuleAction != types.RuleActionDeny {
		t.Errorf("got %+v", made.NetworkAcl.Entries)
	}
	entry := &sdk.CreateNetworkAclEntryInput{
		NetworkAclId: id, RuleNumber: aws.Int32(100), Protocol: aws.String("6"), RuleAction: types.RuleActionAllow, Egress: aws.Bool(true),
		CidrBlock: aws.String("0.0.0.0/0"), PortRange: &types.PortRange{From: aws.Int32(443), To: aws.Int32(443)},
	}
	_, err = b.c.CreateNetworkAclEntry(ctx, entry)
	b.must(err)
	_, err = b.c.CreateNetworkAclEntry(ctx, entry)
	b.refused("a taken number", err, "NetworkAclEntryAlreadyExists", "The network acl entry identified by 100 already exists.")
	_, err = b.c.ReplaceNetworkAclEntry(ctx, &sdk.ReplaceNetworkAclEntryInput{NetworkAclId: id, RuleNumber: aws.Int32(100), Protocol: aws.String("-1"), RuleAction: types.RuleActionDeny, Egress: aws.Bool(true), CidrBlock: aws.String("10.0.0.0/8")})
	b.must(err)
	_, err = b.c.CreateNetworkAclEntry(ctx, &sdk.CreateNetworkAclEntryInput{NetworkAclId: id, RuleNumber: aws.Int32(32767), Protocol: aws.String("-1"), RuleAction: types.RuleActionAllow, Egress: aws.Bool(true), CidrBlock: aws.String("0.0.0.0/0")})
	checkCode(t, "the last number", err, "InvalidParameterValue")

	for i := range int32(41) {
		_, err := b.c.CreateNetworkAclEntry(ctx, &sdk.CreateNetworkAclEntryInput{NetworkAclId: id, RuleNumber: aws.Int32(200 + i), Protocol: aws.String("-1"), RuleAction: types.RuleActionAllow, Egress: aws.Bool(false), CidrBlock: aws.String("0.0.0.0/0")})
		checkCode(t, "many entries", err, map[bool]string{true: "NetworkAclEntryLimitExceeded"}[i == 40])
	}
	found, err := b.c.DescribeNetworkAcls(ctx, &sdk.DescribeNetworkAclsInput{Filters: filter("association.subnet-id", *n.SubnetId)})
	b.must(err)
	if len(found.NetworkAcls) != 1 || !*found.NetworkAcls[0].IsDefault {
		t.Fatalf("got %+v, want the default ACL", found.NetworkAcls)
	}
	_, err = b.c.DeleteNetworkAcl(ctx, &sdk.DeleteNetworkAclInput{NetworkAclId: found.NetworkAcls[0].NetworkAclId})
	checkCode(t, "the default ACL", err, "InvalidParameter")
	old := found.NetworkAcls[0].Associations[0].NetworkAclAssociationId
	moved, err := b.c.ReplaceNetworkAclAssociation(ctx, &sdk.ReplaceNetworkAclAssociationInput{AssociationId: old, NetworkAclId: id})
	b.must(err)
	found, err = b.c.DescribeNetworkAcls(ctx, &sdk.DescribeNetworkAclsInput{Filters: filter("association.subnet-id", *n.SubnetId)})
	b.must(err)
	a := found.NetworkAcls[0]
	if *a.NetworkAclId != *id || *a.Associations[0].NetworkAclAssociationId != *moved.NewAssociationId || *a.Entries[0].CidrBlock != "10.0.0.0/8" || a.Entries[0].PortRange != nil {
		t.Errorf("got %+v", a)
	}
	_, err = b.c.DeleteNetworkAcl(ctx, &sdk.DeleteNetworkAclInput{NetworkAclId: id})
	b.refused("an ACL around a subnet", err, "DependencyViolation", "The networkAcl '"+*id+"' has dependencies and cannot be deleted.")
	_, err = b.c.DeleteNetworkAclEntry(ctx, &sdk.DeleteNetworkAclEntryInput{NetworkAclId: id, RuleNumber: aws.Int32(100), Egress: aws.Bool(true)})
	b.must(err)
	_, err = b.c.DeleteNetworkAclEntry(ctx, &sdk.DeleteNetworkAclEntryInput{NetworkAclId: id, RuleNumber: aws.Int32(100), Egress: aws.Bool(true)})
	checkCode(t, "an entry that is gone", err, "InvalidNetworkAclEntry.NotFound")
}

func TestRoutes(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	v := *b.vpc("10.0.0.0/16").VpcId
	n := b.subnet(v, "10.0.1.0/24", "")
	token := aws.String("one")
	made, err := b.c.CreateRouteTable(ctx, &sdk.CreateRouteTableInput{VpcId: &v, ClientToken: token})
	b.must(err)
	again, err := b.c.CreateRouteTable(ctx, &sdk.CreateRouteTableInput{VpcId: &v, ClientToken: token})
	b.must(err)
	rtb := made.RouteTable.RouteTableId
	if *again.RouteTable.RouteTableId != *rtb {
		t.Error("the same token made another table")
	}
	_, err = b.c.CreateRouteTable(ctx, &sdk.CreateRouteTableInput{VpcId: b.vpc("10.1.0.0/16").VpcId, ClientToken: token})
	checkCode(t, "the token for another request", err, "IdempotentParameterMismatch")

	route := func(cidr, gateway string) error {
		_, err := b.c.CreateRoute(ctx, &sdk.CreateRouteInput{RouteTableId: rtb, DestinationCidrBlock: &cidr, GatewayId: &gateway})
		return err
	}
	b.refused("an unknown gateway", route("0.0.0.0/0", "igw-0a"), "InvalidGatewayID.NotFound", "The gateway ID 'igw-0a' does not exist")
	gateway, err := b.c.CreateInternetGateway(ctx, &sdk.CreateInternetGatewayInput{})
	b.must(err)
	igw := *gateway.InternetGateway.InternetGatewayId
	b.refused("a gateway elsewhere", route("0.0.0.0/0", igw), "InvalidParameterValue", "route table "+*rtb+" and network gateway "+igw+" belong to different networks")
	_, err = b.c.AttachInternetGateway(ctx, &sdk.AttachInternetGatewayInput{InternetGatewayId: &igw, VpcId: &v})
	b.must(err)
	b.must(route("0.0.0.0/0", igw))
	b.must(route("0.0.0.0/0", igw))
	_, err = b.c.CreateRoute(ctx, &sdk.CreateRouteInput{RouteTableId: rtb, DestinationCidrBlock: aws.String("0.0.0.0/0"), TransitGatewayId: aws.String("tgw-0a")})
	b.refused("another route to the same", err, "RouteAlreadyExists", "The route identified by 0.0.0.0/0 already exists.")
	_, err = b.c.ReplaceRoute(ctx, &sdk.ReplaceRouteInput{RouteTableId: rtb, DestinationCidrBlock: aws.String("0.0.0.0/0"), TransitGatewayId: aws.String("tgw-0a")})
	b.must(err)
	_, err = b.c.DeleteRoute(ctx, &sdk.DeleteRouteInput{RouteTableId: rtb, DestinationCidrBlock: aws.String("10.0.0.0/16")})
	b.refused("the local route", err, "InvalidParameterValue", "cannot remove local route 10.0.0.0/16 in route table "+*rtb)
	tables, err := b.c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{Filters: filter("route.transit-gateway-id", "tgw-*")})
	b.must(err)
	if len(tables.RouteTables) != 1 || *tables.RouteTables[0].Routes[1].TransitGatewayId != "tgw-0a" || tables.RouteTables[0].Routes[0].State != types.RouteStateActive {
		t.Errorf("got %+v", tables.RouteTables)
	}
	_, err = b.c.DeleteRoute(ctx, &sdk.DeleteRouteInput{RouteTableId: rtb, DestinationCidrBlock: aws.String("0.0.0.0/0")})
	b.must(err)
	_, err = b.c.DeleteRoute(ctx, &sdk.DeleteRouteInput{RouteTableId: rtb, DestinationCidrBlock: aws.String("0.0.0.0/0")})
	b.refused("a route that is gone", err, "InvalidRoute.NotFound", "no route with destination-cidr-block 0.0.0.0/0 in route table "+*rtb)

	associated, err := b.c.AssociateRouteTable(ctx, &sdk.AssociateRouteTableInput{RouteTableId: rtb, SubnetId: n.SubnetId})
	b.must(err)
	other, err := b.c.CreateRouteTable(ctx, &sdk.CreateRouteTableInput{VpcId: &v})
	b.must(err)
	_, err = b.c.AssociateRouteTable(ctx, &sdk.AssociateRouteTableInput{RouteTableId: other.RouteTable.RouteTableId, SubnetId: n.SubnetId})
	checkCode(t, "a subnet with a table", err, "Resource.AlreadyAssociated")
	_, err = b.c.ReplaceRouteTableAssociation(ctx, &sdk.ReplaceRouteTableAssociationInput{AssociationId: associated.AssociationId, RouteTableId: other.RouteTable.RouteTableId})
	b.must(err)
	main, err := b.c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{Filters: append(filter("association.main", "true"), filter("vpc-id", v)...)})
	b.must(err)
	_, err = b.c.ReplaceRouteTableAssociation(ctx, &sdk.ReplaceRouteTableAssociationInput{AssociationId: main.RouteTables[0].Associations[0].RouteTableAssociationId, RouteTableId: rtb})
	b.must(err)
	main, err = b.c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{Filters: append(filter("association.main", "true"), filter("vpc-id", v)...)})
	b.must(err)
	if *main.RouteTables[0].RouteTableId != *rtb {
		t.Error("the main table did not change")
	}
	_, err = b.c.DisassociateRouteTable(ctx, &sdk.DisassociateRouteTableInput{AssociationId: main.RouteTables[0].Associations[0].RouteTableAssociationId})
	checkCode(t, "the main association", err, "InvalidParameterValue")
}

// The command of the walk-through, by the AWS CLI where it is installed.
func TestCLI(t *testing.T) {
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the AWS CLI is not installed")
	}
	b := newBench(t)
	v := *b.vpc("10.0.0.0/16").VpcId
	b.hostnames(v)
	n, g := *b.subnet(v, "10.0.1.0/24", "").SubnetId, b.group(v, "endpoint")
	credentials, err := b.cfg.Credentials.Retrieve(t.Context())
	b.must(err)
	cmd := exec.CommandContext(t.Context(), path, "ec2", "create-vpc-endpoint", "--vpc-id", v, "--vpc-endpoint-type", "Interface",
		"--service-name", "com.amazonaws.us-east-1.secretsmanager", "--subnet-ids", n, "--security-group-ids", g)
	cmd.Env = append(cmd.Environ(), "AWS_ENDPOINT_URL="+b.endpoint, "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ACCESS_KEY_ID="+credentials.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+credentials.SecretAccessKey)
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		errors.As(err, &failed)
		t.Fatalf("%v: %s", err, failed.Stderr)
	}
	var got struct {
		VpcEndpoint struct{ VpcEndpointId, State, VpcEndpointType string }
	}
	if err := json.Unmarshal(out, &got); err != nil || got.VpcEndpoint.State != "pending" || got.VpcEndpoint.VpcEndpointType != "Interface" || !strings.HasPrefix(got.VpcEndpoint.VpcEndpointId, "vpce-0") {
		t.Errorf("got %s (%v)", out, err)
	}
}
