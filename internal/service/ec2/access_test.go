package ec2_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/service/ec2"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

func tags(kind types.ResourceType, pairs ...string) []types.TagSpecification {
	var list []types.Tag
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
	}
	return []types.TagSpecification{{ResourceType: kind, Tags: list}}
}

func TestTags(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	made, err := b.c.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: tags(types.ResourceTypeVpc, "Name", "main", "team", "db")})
	b.must(err)
	v := *made.Vpc.VpcId
	if len(made.Vpc.Tags) != 2 || *made.Vpc.Tags[0].Key != "Name" {
		t.Errorf("got tags %+v", made.Vpc.Tags)
	}
	g := b.group(v, "web")
	rule, err := b.c.AuthorizeSecurityGroupIngress(ctx, &sdk.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpProtocol: aws.String("-1"), CidrIp: aws.String("10.0.0.0/8"), TagSpecifications: tags(types.ResourceTypeSecurityGroupRule, "why", "tests")})
	b.must(err)
	sgr := *rule.SecurityGroupRules[0].SecurityGroupRuleId
	_, err = b.c.CreateTags(ctx, &sdk.CreateTagsInput{Resources: []string{g, sgr}, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("web")}}})
	b.must(err)
	described, err := b.c.DescribeTags(ctx, &sdk.DescribeTagsInput{Filters: filter("key", "te*")})
	b.must(err)
	got := map[string]string{}
	for _, d := range described.Tags {
		got[*d.ResourceId] = string(d.ResourceType) + " " + *d.Value
	}
	if len(got) != 3 || got[v] != "vpc db" || got[g] != "security-group web" || got[sgr] != "security-group-rule web" {
		t.Errorf("got %v", got)
	}
	_, err = b.c.DeleteTags(ctx, &sdk.DeleteTagsInput{Resources: []string{v}, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("other")}, {Key: aws.String("Name")}}})
	b.must(err)
	described, err = b.c.DescribeTags(ctx, &sdk.DescribeTagsInput{Filters: filter("resource-id", v)})
	b.must(err)
	if len(described.Tags) != 1 || *described.Tags[0].Key != "team" {
		t.Errorf("got %+v, want the tag whose value is another", described.Tags)
	}
	_, err = b.c.DeleteTags(ctx, &sdk.DeleteTagsInput{Resources: []string{sgr}})
	b.must(err)
	rules, err := b.c.DescribeSecurityGroupRules(ctx, &sdk.DescribeSecurityGroupRulesInput{SecurityGroupRuleIds: []string{sgr}})
	b.must(err)
	if len(rules.SecurityGroupRules[0].Tags) != 0 {
		t.Errorf("got %+v", rules.SecurityGroupRules[0].Tags)
	}
	create := func(resource, key string) error {
		_, err := b.c.CreateTags(ctx, &sdk.CreateTagsInput{Resources: []string{resource}, Tags: []types.Tag{{Key: &key, Value: aws.String("v")}}})
		return err
	}
	b.refused("an unknown prefix", create("thing-1", "k"), "InvalidID", "The ID 'thing-1' is not valid")
	b.refused("an unknown VPC", create("vpc-0a", "k"), "InvalidVpcID.NotFound", "The vpc ID 'vpc-0a' does not exist")
	b.refused("AWS's tags", create(v, "aws:cloudformation:stack-id"), "InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
	_, err = b.c.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: tags(types.ResourceTypeSubnet, "k", "v")})
	b.refused("another kind's tags", err, "InvalidParameterValue", "'subnet' is not a valid taggable resource type for this operation.")
}

// A service that acts for the caller may set AWS's own tags.
func TestTagsOfServices(t *testing.T) {
	b := newBench(t)
	h := wire.NewHandler(wire.Config{Services: []*wire.Service{ec2.New(ec2.Config{Store: b.Store, Guard: b.Guard}).Wire()}, Region: servicetest.Region, Record: b.Recorder.Record})
	key, value := "aws:cloudformation:stack-name", "net"
	call := &wire.Call{Service: "ec2", Operation: "CreateVpc", Region: servicetest.Region, Principal: b.Root(), By: "cloudformation.amazonaws.com"}
	out, err := h.Call(t.Context(), call, &api.CreateVpcRequest{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: []api.TagSpecification{
		{ResourceType: aws.String("vpc"), Tags: []api.Tag{{Key: &key, Value: &value}}},
	}})
	b.must(err)
	got := out.(*api.CreateVpcResult).Vpc.Tags
	if len(got) != 1 || *got[0].Key != key {
		t.Errorf("got %+v", got)
	}
}

func TestDryRun(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	dry := aws.Bool(true)
	_, err := b.c.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), DryRun: dry})
	servicetest.WantError(t, "a change", err, "DryRunOperation", 412, "Request would have succeeded, but DryRun flag is set.")
	_, err = b.c.DescribeVpcs(ctx, &sdk.DescribeVpcsInput{DryRun: dry})
	servicetest.WantError(t, "a read", err, "DryRunOperation", 412, "Request would have succeeded, but DryRun flag is set.")
	out, err := b.c.DescribeVpcs(ctx, &sdk.DescribeVpcsInput{})
	b.must(err)
	if len(out.Vpcs) != 1 {
		t.Errorf("a dry run made a VPC: %+v", out.Vpcs)
	}
	nobody := sdk.NewFromConfig(b.As(servicetest.User(t, servicetest.Account, "nobody", "")))
	_, err = nobody.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), DryRun: dry})
	servicetest.WantError(t, "without permission", err, "UnauthorizedOperation", 403,
		"You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/nobody is not authorized to perform: ec2:CreateVpc "+
			"on resource: arn:aws:ec2:us-east-1:123456789012:vpc/* because no identity-based policy allows the ec2:CreateVpc action")
}

// Every object that a call concerns has to be allowed, by its ARN, its tags,
// its VPC and the tags that it gets.
func TestPermissions(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	made, err := b.c.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: tags(types.ResourceTypeVpc, "team", "blue")})
	b.must(err)
	v, other := *made.Vpc.VpcId, *b.vpc("10.1.0.0/16").VpcId
	subnet := func(statements, vpc, cidr string, specs ...types.TagSpecification) error {
		c := sdk.NewFromConfig(b.As(servicetest.User(t, servicetest.Account, "ann", statements)))
		_, err := c.CreateSubnet(ctx, &sdk.CreateSubnetInput{VpcId: &vpc, CidrBlock: &cidr, TagSpecifications: specs})
		return err
	}
	const whole = `{"Effect":"Allow","Action":"ec2:CreateSubnet","Resource":"*"}`
	byTag := `{"Effect":"Allow","Action":"ec2:CreateSubnet","Resource":"arn:aws:ec2:*:*:subnet/*"},
		{"Effect":"Allow","Action":"ec2:CreateSubnet","Resource":"arn:aws:ec2:*:*:vpc/*","Condition":{"StringEquals":{"aws:ResourceTag/team":"blue"}}}`
	byVPC := `{"Effect":"Allow","Action":"ec2:CreateSubnet","Resource":"arn:aws:ec2:*:*:subnet/*","Condition":{"ArnEquals":{"ec2:Vpc":"arn:aws:ec2:us-east-1:123456789012:vpc/` + v + `"}}},
		{"Effect":"Allow","Action":"ec2:CreateSubnet","Resource":"arn:aws:ec2:*:*:vpc/*"}`
	tagging := whole + `,{"Effect":"Allow","Action":"ec2:CreateTags","Resource":"*","Condition":{"StringEquals":{"ec2:CreateAction":"CreateSubnet","aws:RequestTag/team":"blue"}}}`
	blue, red := tags(types.ResourceTypeSubnet, "team", "blue")[0], tags(types.ResourceTypeSubnet, "team", "red")[0]
	for _, tc := range []struct {
		what string
		err  error
		code string
	}{
		{"everything", subnet(whole, v, "10.0.1.0/24"), ""},
		{"by the VPC's tag", subnet(byTag, v, "10.0.2.0/24"), ""},
		{"another VPC's tag", subnet(byTag, other, "10.1.2.0/24"), "UnauthorizedOperation"},
		{"by the VPC", subnet(byVPC, v, "10.0.3.0/24"), ""},
		{"another VPC", subnet(byVPC, other, "10.1.3.0/24"), "UnauthorizedOperation"},
		{"an unknown VPC, not allowed", subnet(byTag, "vpc-0a", "10.1.3.0/24"), "UnauthorizedOperation"},
		{"an unknown VPC, allowed", subnet(whole, "vpc-0a", "10.1.3.0/24"), "InvalidVpcID.NotFound"},
		{"tags without permission", subnet(whole, v, "10.0.4.0/24", blue), "UnauthorizedOperation"},
		{"tags", subnet(tagging, v, "10.0.5.0/24", blue), ""},
		{"other tags", subnet(tagging, v, "10.0.6.0/24", red), "UnauthorizedOperation"},
	} {
		checkCode(t, tc.what, tc.err, tc.code)
	}
	nobody := sdk.NewFromConfig(b.As(servicetest.User(t, servicetest.Account, "nobody", "")))
	_, err = nobody.DescribeSubnets(ctx, &sdk.DescribeSubnetsInput{})
	servicetest.WantError(t, "a list", err, "UnauthorizedOperation", 403, "You are not authorized to perform this operation. "+
		"User: arn:aws:iam::123456789012:user/nobody is not authorized to perform: ec2:DescribeSubnets because no identity-based policy allows the ec2:DescribeSubnets action")
}

// To change an endpoint takes the leave of all that it is put into and taken
// out of.
func TestModifyEndpointPermissions(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	v := *b.vpc("10.0.0.0/16").VpcId
	b.hostnames(v)
	first, second := *b.subnet(v, "10.0.1.0/24", "us-east-1a").SubnetId, *b.subnet(v, "10.0.2.0/24", "us-east-1b").SubnetId
	g, other := b.group(v, "endpoint"), b.group(v, "other")
	faced, err := b.c.CreateVpcEndpoint(ctx, &sdk.CreateVpcEndpointInput{VpcId: &v, VpcEndpointType: types.VpcEndpointTypeInterface,
		ServiceName: aws.String(secretsManager), SubnetIds: []string{first}, SecurityGroupIds: []string{g}})
	b.must(err)
	gateway, err := b.c.CreateVpcEndpoint(ctx, &sdk.CreateVpcEndpointInput{VpcId: &v, ServiceName: aws.String("com.amazonaws.us-east-1.s3")})
	b.must(err)
	table, err := b.c.CreateRouteTable(ctx, &sdk.CreateRouteTableInput{VpcId: &v})
	b.must(err)
	rtb := *table.RouteTable.RouteTableId
	for _, tc := range []struct {
		what, needs string
		in          sdk.ModifyVpcEndpointInput
	}{
		{"a subnet more", "subnet/" + second, sdk.ModifyVpcEndpointInput{AddSubnetIds: []string{second}}},
		{"a subnet less", "subnet/" + second, sdk.ModifyVpcEndpointInput{RemoveSubnetIds: []string{second}}},
		{"an unknown subnet", "subnet/subnet-0a", sdk.ModifyVpcEndpointInput{AddSubnetIds: []string{"subnet-0a"}}},
		{"a group more", "security-group/" + other, sdk.ModifyVpcEndpointInput{AddSecurityGroupIds: []string{other}}},
		{"a group less", "security-group/" + other, sdk.ModifyVpcEndpointInput{RemoveSecurityGroupIds: []string{other}}},
		{"a route table more", "route-table/" + rtb, sdk.ModifyVpcEndpointInput{AddRouteTableIds: []string{rtb}}},
		{"a route table less", "route-table/" + rtb, sdk.ModifyVpcEndpointInput{RemoveRouteTableIds: []string{rtb}}},
	} {
		in := tc.in
		in.VpcEndpointId = faced.VpcEndpoint.VpcEndpointId
		if len(in.AddRouteTableIds)+len(in.RemoveRouteTableIds) > 0 {
			in.VpcEndpointId = gateway.VpcEndpoint.VpcEndpointId
		}
		try := func(resources string) error {
			c := sdk.NewFromConfig(b.As(servicetest.User(t, servicetest.Account, "ann", `{"Effect":"Allow","Action":"ec2:ModifyVpcEndpoint","Resource":[`+resources+`]}`)))
			_, err := c.ModifyVpcEndpoint(ctx, &in)
			return err
		}
		const own = `"arn:aws:ec2:*:*:vpc-endpoint/*"`
		checkCode(t, tc.what+" without its leave", try(own), "UnauthorizedOperation")
		want := ""
		if tc.what == "an unknown subnet" {
			want = "InvalidSubnetId.NotFound"
		}
		checkCode(t, tc.what, try(own+`,"arn:aws:ec2:us-east-1:123456789012:`+tc.needs+`"`), want)
	}
}

// Changes leave events with what they are about.
func TestEvents(t *testing.T) {
	b := newBench(t)
	v := *b.vpc("10.0.0.0/16").VpcId
	_, err := b.c.DeleteVpc(t.Context(), &sdk.DeleteVpcInput{VpcId: &v})
	b.must(err)
	var events []trail.Record
	b.must(b.Store.View(t.Context(), func(tx *store.Tx) (err error) {
		events, _, err = tx.Events(store.EventQuery{Account: servicetest.Account, Region: servicetest.Region, Limit: 10})
		return err
	}))
	var names []string
	for _, e := range events {
		names = append(names, e.Name)
		if !strings.Contains(string(e.JSON), "AWS::EC2::VPC") || !strings.Contains(string(e.JSON), "vpc/"+v) {
			t.Errorf("got event %s", e.JSON)
		}
	}
	if got := strings.Join(names, " "); got != "DeleteVpc CreateVpc" {
		t.Errorf("got events %q", got)
	}
}

// What a registered database has of a network stays.
func TestDatabaseInUse(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	v := *b.vpc("10.0.0.0/16").VpcId
	n, g := *b.subnet(v, "10.0.1.0/24", "").SubnetId, b.group(v, "database")
	i := &database.Instance{Account: servicetest.Account, Region: servicetest.Region, ID: "orders", Server: database.Server{SubnetGroup: "private", SecurityGroups: []string{g}}}
	b.must(b.Store.Update(ctx, func(tx *store.Tx) error {
		err := tx.CreateDBSubnetGroup(&database.SubnetGroup{Account: servicetest.Account, Region: servicetest.Region, Name: "private", VPC: v, Subnets: []database.Subnet{{ID: n}}})
		if err == nil {
			err = tx.CreateDBInstance(i)
		}
		return err
	}))
	group := func() error {
		_, err := b.c.DeleteSecurityGroup(ctx, &sdk.DeleteSecurityGroupInput{GroupId: &g})
		return err
	}
	subnet := func() error { _, err := b.c.DeleteSubnet(ctx, &sdk.DeleteSubnetInput{SubnetId: &n}); return err }
	b.refused("its group", group(), "DependencyViolation", "resource "+g+" has a dependent object")
	b.refused("its subnet", subnet(), "DependencyViolation", "The subnet '"+n+"' has dependencies and cannot be deleted.")
	b.must(b.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.DeleteDBInstance(servicetest.Account, servicetest.Region, "orders")
	}))
	b.must(group())
	b.must(subnet())
}
