package resource_test

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/stack/resource"
)

// newNetwork makes a VPC with a subnet and a security group.
func (k *kit) newNetwork() (vpcID, subnetID, groupID string) {
	k.Helper()
	v, err := k.ec2.CreateVpc(k.Context(), &ec2.CreateVpcInput{CidrBlock: new("10.0.0.0/16")})
	k.must(err)
	vpcID = *v.Vpc.VpcId
	for _, in := range []*ec2.ModifyVpcAttributeInput{
		{VpcId: &vpcID, EnableDnsHostnames: &types.AttributeBooleanValue{Value: new(true)}},
	} {
		_, err := k.ec2.ModifyVpcAttribute(k.Context(), in)
		k.must(err)
	}
	subnetID = k.newSubnet(vpcID, "10.0.1.0/24", "us-east-1a")
	return vpcID, subnetID, k.newSecurityGroup(vpcID, "made")
}

func (k *kit) newSubnet(vpcID, block, zone string) string {
	k.Helper()
	s, err := k.ec2.CreateSubnet(k.Context(), &ec2.CreateSubnetInput{VpcId: &vpcID, CidrBlock: &block, AvailabilityZone: &zone})
	k.must(err)
	return *s.Subnet.SubnetId
}

func (k *kit) newSecurityGroup(vpcID, name string) string {
	k.Helper()
	g, err := k.ec2.CreateSecurityGroup(k.Context(), &ec2.CreateSecurityGroupInput{VpcId: &vpcID, GroupName: &name, Description: &name})
	k.must(err)
	return *g.GroupId
}

func (k *kit) newLayer() string {
	k.Helper()
	l, err := k.lambda.PublishLayerVersion(k.Context(), &lambda.PublishLayerVersionInput{
		LayerName: new("layer"), Content: &lambdatypes.LayerVersionContentInput{ZipFile: apitest.Zip(k, map[string][]byte{"a": nil})},
	})
	k.must(err)
	return *l.LayerVersionArn
}

// network sets up a VPC for the texts of a scenario.
func network(k *kit) map[string]string {
	vpcID, subnetID, groupID := k.newNetwork()
	return map[string]string{"VPC": vpcID, "SUBNET": subnetID, "GROUP": groupID}
}

func (k *kit) tags(list []types.Tag) string {
	tags := map[string]string{}
	for _, t := range list {
		tags[*t.Key] = *t.Value
	}
	return k.users(tags)
}

func networkScenarios() []scenario {
	return []scenario{
		vpcScenario(), subnetScenario(), securityGroupScenario(), ruleScenario("Ingress"), ruleScenario("Egress"), endpointScenario(), aclScenario(), entryScenario(),
		aclAssociationScenario(), routeTableScenario(), routeScenario(), tableAssociationScenario(), gatewayScenario(), gatewayAttachmentScenario(),
		natScenario(), addressScenario(),
	}
}

func vpcScenario() scenario {
	return scenario{
		typ: "AWS::EC2::VPC",
		look: func(k *kit, res resource.Result) string {
			out, err := k.ec2.DescribeVpcs(k.Context(), &ec2.DescribeVpcsInput{VpcIds: []string{res.PhysicalID}})
			return seen(err, func() string {
				attribute := func(name types.VpcAttributeName) bool {
					a, err := k.ec2.DescribeVpcAttribute(k.Context(), &ec2.DescribeVpcAttributeInput{VpcId: &res.PhysicalID, Attribute: name})
					k.must(err)
					if a.EnableDnsSupport != nil {
						return *a.EnableDnsSupport.Value
					}
					return *a.EnableDnsHostnames.Value
				}
				return fmt.Sprint(*out.Vpcs[0].CidrBlock, " ", attribute(types.VpcAttributeNameEnableDnsSupport), " ", attribute(types.VpcAttributeNameEnableDnsHostnames), " ", k.tags(out.Vpcs[0].Tags))
			})
		},
		properties: `{"CidrBlock":"10.1.0.0/16","EnableDnsHostnames":"true","Tags":[{"Key":"Name","Value":"v"}]}`, want: "10.1.0.0/16 true true map[Name:v]",
		attributes: map[string]string{"Ref": "vpc-*", "VpcId": "$ID", "CidrBlock": "10.1.0.0/16", "DefaultSecurityGroup": "sg-*", "DefaultNetworkAcl": "acl-*"},
		updates: []change{
			{"names and tags", `{"CidrBlock":"10.1.0.0/16","Tags":[{"Key":"Name","Value":"w"}]}`, "10.1.0.0/16 true false map[Name:w]"},
			{"support", `{"CidrBlock":"10.1.0.0/16","EnableDnsSupport":false}`, "10.1.0.0/16 false false map[]"},
		},
		refused: []refusal{{"a block too large", `{"CidrBlock":"10.0.0.0/8"}`, resource.InvalidRequest, "The CIDR '10.0.0.0/8' is invalid."}},
	}
}

func subnetScenario() scenario {
	return scenario{
		typ: "AWS::EC2::Subnet", setup: network,
		look: func(k *kit, res resource.Result) string {
			out, err := k.ec2.DescribeSubnets(k.Context(), &ec2.DescribeSubnetsInput{SubnetIds: []string{res.PhysicalID}})
			return seen(err, func() string {
				s := out.Subnets[0]
				return fmt.Sprint(*s.CidrBlock, " ", *s.AvailabilityZone, " ", *s.MapPublicIpOnLaunch, " ", k.tags(s.Tags))
			})
		},
		properties: `{"VpcId":"${VPC}","CidrBlock":"10.0.2.0/24","AvailabilityZone":"us-east-1b","Tags":[{"Key":"Name","Value":"s"}]}`,
		want:       "10.0.2.0/24 us-east-1b false map[Name:s]",
		attributes: map[string]string{
			"Ref": "subnet-*", "SubnetId": "$ID", "VpcId": "${VPC}", "CidrBlock": "10.0.2.0/24", "AvailabilityZone": "us-east-1b", "NetworkAclAssociationId": "aclassoc-*",
		},
		updates: []change{{
			"public addresses and tags", `{"VpcId":"${VPC}","CidrBlock":"10.0.2.0/24","AvailabilityZone":"us-east-1b","MapPublicIpOnLaunch":true}`,
			"10.0.2.0/24 us-east-1b true map[]",
		}},
		refused: []refusal{{"a missing VPC", `{"VpcId":"vpc-00000000000000000","CidrBlock":"10.0.2.0/24"}`, resource.NotFound, "The vpc ID 'vpc-00000000000000000' does not exist"}},
	}
}

// rules shows the rules of a group, sorted.
func (k *kit) rules(group string) string {
	out, err := k.ec2.DescribeSecurityGroupRules(k.Context(), &ec2.DescribeSecurityGroupRulesInput{Filters: []types.Filter{{Name: new("group-id"), Values: []string{group}}}})
	k.must(err)
	var list []string
	for _, r := range out.SecurityGroupRules {
		way, peer := "in", text(r.CidrIpv4)
		if *r.IsEgress {
			way = "out"
		}
		if r.ReferencedGroupInfo != nil {
			peer = "group"
		}
		list = append(list, fmt.Sprintf("%s %s %d %s %s", way, *r.IpProtocol, *r.FromPort, peer, text(r.Description)))
	}
	slices.Sort(list)
	return fmt.Sprintf("%q", list)
}

func securityGroupScenario() scenario {
	const head = `{"GroupDescription":"d","GroupName":"named","VpcId":"${VPC}"`
	return scenario{
		typ: "AWS::EC2::SecurityGroup", setup: network,
		look: func(k *kit, res resource.Result) string {
			out, err := k.ec2.DescribeSecurityGroups(k.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{res.PhysicalID}})
			return seen(err, func() string {
				g := out.SecurityGroups[0]
				return fmt.Sprint(*g.GroupName, " ", k.rules(res.PhysicalID), " ", k.tags(g.Tags))
			})
		},
		properties: head + `,"SecurityGroupIngress":[{"IpProtocol":"tcp","FromPort":"443","ToPort":443,"CidrIp":"10.0.0.0/16","Description":"first"}],"Tags":[{"Key":"a","Value":"b"}]}`,
		want:       `named ["in tcp 443 10.0.0.0/16 first" "out -1 -1 0.0.0.0/0 -"] map[a:b]`,
		attributes: map[string]string{"Ref": "sg-*", "GroupId": "$ID", "VpcId": "${VPC}"},
		updates: []change{
			{
				"rules both ways", head + `,"SecurityGroupIngress":[{"IpProtocol":"tcp","FromPort":443,"ToPort":443,"CidrIp":"10.0.0.0/16","Description":"second"},
					{"IpProtocol":"tcp","FromPort":5432,"ToPort":5432,"SourceSecurityGroupId":"${GROUP}"}],"SecurityGroupEgress":[{"IpProtocol":"tcp","FromPort":443,"ToPort":443,"CidrIp":"0.0.0.0/0"}]}`,
				`named ["in tcp 443 10.0.0.0/16 second" "in tcp 5432 group -" "out tcp 443 0.0.0.0/0 -"] map[]`,
			},
			{"no rules", head + `}`, `named ["out -1 -1 0.0.0.0/0 -"] map[]`},
			{"what leaves again", head + `,"SecurityGroupEgress":[{"IpProtocol":"-1","CidrIp":"127.0.0.1/32"}],"Tags":[{"Key":"c","Value":"d"}]}`, `named ["out -1 -1 127.0.0.1/32 -"] map[c:d]`},
		},
		refused: []refusal{
			{"a name that is taken", `{"GroupDescription":"d","GroupName":"made","VpcId":"${VPC}"}`, resource.AlreadyExists, "The security group 'made' already exists for VPC '${VPC}'"},
			{
				"a broken rule", head + `,"SecurityGroupIngress":[{"IpProtocol":"tcp","FromPort":1,"ToPort":1,"CidrIp":"10.0.0.0/16"},{"IpProtocol":"tcp","FromPort":1,"ToPort":1,"SourceSecurityGroupId":"sg-00000000000000000"}]}`,
				resource.NotFound, "The security group 'sg-00000000000000000' does not exist",
			},
		},
	}
}

func ruleScenario(way string) scenario {
	fixed := `"GroupId":"${GROUP}","IpProtocol":"tcp","FromPort":443,"ToPort":443,"CidrIp":"10.0.0.0/16"`
	usual, mine := `"out -1 -1 0.0.0.0/0 -"`, `"in tcp 443 10.0.0.0/16 %s" `
	if way == "Egress" {
		mine = `"out tcp 443 10.0.0.0/16 %s"`
	}
	want := func(description string) string {
		if way == "Egress" {
			return "[" + usual + " " + fmt.Sprintf(mine, description) + "]"
		}
		return "[" + fmt.Sprintf(mine, description) + usual + "]"
	}
	return scenario{
		typ: "AWS::EC2::SecurityGroup" + way,
		setup: func(k *kit) map[string]string {
			variables := network(k)
			lookedAt[k.Name()] = variables["GROUP"]
			return variables
		},
		look:       func(k *kit, _ resource.Result) string { return k.rules(lookedAt[k.Name()]) },
		properties: `{` + fixed + `,"Description":"first"}`, want: want("first"), after: "[" + usual + "]", attributes: map[string]string{"Ref": "sgr-*", "Id": "$ID"},
		updates: []change{{"description", `{` + fixed + `,"Description":"second"}`, want("second")}},
		refused: []refusal{{
			"a missing group", `{"GroupId":"sg-00000000000000000","IpProtocol":"tcp","FromPort":443,"ToPort":443,"CidrIp":"10.0.0.0/16"}`, resource.NotFound,
			"The security group 'sg-00000000000000000' does not exist",
		}},
	}
}

// lookedAt is what the look of a test needs of its setup.
var lookedAt = map[string]string{}

func endpointScenario() scenario {
	const head = `{"VpcId":"${VPC}","ServiceName":"com.amazonaws.us-east-1.secretsmanager","VpcEndpointType":"Interface"`
	return scenario{
		typ: "AWS::EC2::VPCEndpoint",
		setup: func(k *kit) map[string]string {
			v := network(k)
			v["OTHER"], v["MORE"] = k.newSubnet(v["VPC"], "10.0.9.0/24", "us-east-1c"), k.newSecurityGroup(v["VPC"], "more")
			return v
		},
		look: func(k *kit, res resource.Result) string {
			out, err := k.ec2.DescribeVpcEndpoints(k.Context(), &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{res.PhysicalID}})
			return seen(err, func() string {
				e := out.VpcEndpoints[0]
				var groups []string
				for _, g := range e.Groups {
					groups = append(groups, *g.GroupId)
				}
				return fmt.Sprint(e.State, " ", e.SubnetIds, " ", groups, " ", *e.PrivateDnsEnabled, " ", len(*e.PolicyDocument) > 90, " ", k.tags(e.Tags))
			})
		},
		properties: head + `,"SubnetIds":["${SUBNET}"],"SecurityGroupIds":["${GROUP}"],"PrivateDnsEnabled":true,"Tags":[{"Key":"a","Value":"b"}]}`,
		want:       "available [${SUBNET}] [${GROUP}] true false map[a:b]", attributes: map[string]string{"Ref": "vpce-*", "Id": "$ID", "NetworkInterfaceIds": "[eni-*"},
		updates: []change{
			{
				"subnets, groups, policy", head + `,"SubnetIds":["${OTHER}"],"SecurityGroupIds":["${MORE}"],"PolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"secretsmanager:*","Resource":"*"}]}}`,
				"available [${OTHER}] [${MORE}] false true map[]",
			},
			{"the usual policy again", head + `,"SubnetIds":["${OTHER}"],"SecurityGroupIds":["${MORE}"]}`, "available [${OTHER}] [${MORE}] false false map[]"},
		},
		unchanging: []string{"RouteTableIds", "IpAddressType", "DnsOptions"},
		refused: []refusal{{
			"an unknown service", `{"VpcId":"${VPC}","ServiceName":"com.amazonaws.us-east-1.nothing","VpcEndpointType":"Interface","SubnetIds":["${SUBNET}"]}`, resource.InvalidRequest,
			"The Vpc Endpoint Service 'com.amazonaws.us-east-1.nothing' does not exist",
		}},
	}
}

func (k *kit) acl(id string) *types.NetworkAcl {
	out, err := k.ec2.DescribeNetworkAcls(k.Context(), &ec2.DescribeNetworkAclsInput{NetworkAclIds: []string{id}})
	if err != nil {
		return nil
	}
	return &out.NetworkAcls[0]
}

func aclScenario() scenario {
	return scenario{
		typ: "AWS::EC2::NetworkAcl", setup: network,
		look: func(k *kit, res resource.Result) string {
			if a := k.acl(res.PhysicalID); a != nil {
				return k.tags(a.Tags)
			}
			return absent
		},
		properties: `{"VpcId":"${VPC}","Tags":[{"Key":"a","Value":"b"}]}`, want: "map[a:b]", attributes: map[string]string{"Ref": "acl-*", "Id": "$ID"},
		updates: []change{{"tags", `{"VpcId":"${VPC}"}`, "map[]"}},
		refused: []refusal{{"a missing VPC", `{"VpcId":"vpc-00000000000000000"}`, resource.NotFound, "The vpc ID 'vpc-00000000000000000' does not exist"}},
	}
}

// networkWithACL also has an ACL, at which looks look.
func networkWithACL(k *kit) map[string]string {
	v := network(k)
	out, err := k.ec2.CreateNetworkAcl(k.Context(), &ec2.CreateNetworkAclInput{VpcId: new(v["VPC"])})
	k.must(err)
	v["ACL"] = *out.NetworkAcl.NetworkAclId
	lookedAt[k.Name()] = v["ACL"]
	return v
}

func entryScenario() scenario {
	return scenario{
		typ: "AWS::EC2::NetworkAclEntry", setup: networkWithACL,
		look: func(k *kit, _ resource.Result) string {
			for _, e := range k.acl(lookedAt[k.Name()]).Entries {
				if *e.RuleNumber == 100 {
					port := int32(0)
					if e.PortRange != nil {
						port = *e.PortRange.From
					}
					return fmt.Sprint(*e.Egress, " ", *e.Protocol, " ", e.RuleAction, " ", *e.CidrBlock, " ", port)
				}
			}
			return absent
		},
		properties: `{"NetworkAclId":"${ACL}","RuleNumber":"100","Protocol":"6","RuleAction":"allow","Egress":true,"CidrBlock":"10.0.0.0/16","PortRange":{"From":443,"To":443}}`,
		want:       "true 6 allow 10.0.0.0/16 443", attributes: map[string]string{"Ref": "shop-Thing-*"}, unchanging: []string{"Ipv6CidrBlock", "Icmp"},
		updates: []change{{
			"all", `{"NetworkAclId":"${ACL}","RuleNumber":100,"Protocol":-1,"RuleAction":"deny","Egress":true,"CidrBlock":"0.0.0.0/0"}`, "true -1 deny 0.0.0.0/0 0",
		}},
		refused: []refusal{{
			"a missing ACL", `{"NetworkAclId":"acl-00000000000000000","RuleNumber":100,"Protocol":-1,"RuleAction":"deny","CidrBlock":"0.0.0.0/0"}`, resource.NotFound,
			"The networkAcl ID 'acl-00000000000000000' does not exist",
		}},
	}
}

func aclAssociationScenario() scenario {
	return scenario{
		typ: "AWS::EC2::SubnetNetworkAclAssociation", setup: networkWithACL,
		look:       func(k *kit, _ resource.Result) string { return fmt.Sprint(len(k.acl(lookedAt[k.Name()]).Associations)) },
		properties: `{"NetworkAclId":"${ACL}","SubnetId":"${SUBNET}"}`, want: "1", after: "0", attributes: map[string]string{"Ref": "aclassoc-*", "AssociationId": "$ID"},
		refused: []refusal{{
			"a missing subnet", `{"NetworkAclId":"${ACL}","SubnetId":"subnet-00000000000000000"}`, resource.NotFound, "The subnet ID 'subnet-00000000000000000' does not exist",
		}},
	}
}

func (k *kit) table(id string) *types.RouteTable {
	out, err := k.ec2.DescribeRouteTables(k.Context(), &ec2.DescribeRouteTablesInput{RouteTableIds: []string{id}})
	if err != nil {
		return nil
	}
	return &out.RouteTables[0]
}

func routeTableScenario() scenario {
	return scenario{
		typ: "AWS::EC2::RouteTable", setup: network,
		look: func(k *kit, res resource.Result) string {
			if a := k.table(res.PhysicalID); a != nil {
				return k.tags(a.Tags)
			}
			return absent
		},
		properties: `{"VpcId":"${VPC}","Tags":[{"Key":"a","Value":"b"}]}`, want: "map[a:b]", attributes: map[string]string{"Ref": "rtb-*", "RouteTableId": "$ID"},
		updates: []change{{"tags", `{"VpcId":"${VPC}"}`, "map[]"}},
		refused: []refusal{{"a missing VPC", `{"VpcId":"vpc-00000000000000000"}`, resource.NotFound, "The vpc ID 'vpc-00000000000000000' does not exist"}},
	}
}

// networkWithRoutes also has a route table, at which looks look, and two
// gateways.
func networkWithRoutes(k *kit) map[string]string {
	v := network(k)
	table, err := k.ec2.CreateRouteTable(k.Context(), &ec2.CreateRouteTableInput{VpcId: new(v["VPC"])})
	k.must(err)
	gateway, err := k.ec2.CreateInternetGateway(k.Context(), &ec2.CreateInternetGatewayInput{})
	k.must(err)
	_, err = k.ec2.AttachInternetGateway(k.Context(), &ec2.AttachInternetGatewayInput{VpcId: new(v["VPC"]), InternetGatewayId: gateway.InternetGateway.InternetGatewayId})
	k.must(err)
	nat, err := k.ec2.CreateNatGateway(k.Context(), &ec2.CreateNatGatewayInput{SubnetId: new(v["SUBNET"]), ConnectivityType: types.ConnectivityTypePrivate})
	k.must(err)
	v["TABLE"], v["GATEWAY"], v["NAT"] = *table.RouteTable.RouteTableId, *gateway.InternetGateway.InternetGatewayId, *nat.NatGateway.NatGatewayId
	lookedAt[k.Name()] = v["TABLE"]
	return v
}

func routeScenario() scenario {
	return scenario{
		typ: "AWS::EC2::Route", setup: networkWithRoutes,
		look: func(k *kit, _ resource.Result) string {
			for _, r := range k.table(lookedAt[k.Name()]).Routes {
				if text(r.DestinationCidrBlock) == "0.0.0.0/0" {
					return text(r.GatewayId) + " " + text(r.NatGatewayId)
				}
			}
			return absent
		},
		properties: `{"RouteTableId":"${TABLE}","DestinationCidrBlock":"0.0.0.0/0","GatewayId":"${GATEWAY}"}`, want: "${GATEWAY} -",
		attributes: map[string]string{"Ref": "${TABLE}|0.0.0.0/0", "CidrBlock": "0.0.0.0/0"},
		updates:    []change{{"target", `{"RouteTableId":"${TABLE}","DestinationCidrBlock":"0.0.0.0/0","NatGatewayId":"${NAT}"}`, "- ${NAT}"}},
		unchanging: []string{
			"CarrierGatewayId", "CoreNetworkArn", "EgressOnlyInternetGatewayId", "InstanceId", "LocalGatewayId", "NetworkInterfaceId", "TransitGatewayId",
			"VpcEndpointId", "VpcPeeringConnectionId",
		},
		refused: []refusal{{
			"a missing gateway", `{"RouteTableId":"${TABLE}","DestinationCidrBlock":"0.0.0.0/0","GatewayId":"igw-00000000000000000"}`, resource.NotFound,
			"The gateway ID 'igw-00000000000000000' does not exist",
		}},
	}
}

func tableAssociationScenario() scenario {
	return scenario{
		typ: "AWS::EC2::SubnetRouteTableAssociation", setup: networkWithRoutes,
		look: func(k *kit, _ resource.Result) string {
			return fmt.Sprint(len(k.table(lookedAt[k.Name()]).Associations))
		},
		properties: `{"RouteTableId":"${TABLE}","SubnetId":"${SUBNET}"}`, want: "1", after: "0", attributes: map[string]string{"Ref": "rtbassoc-*", "Id": "$ID"},
		refused: []refusal{{
			"a missing subnet", `{"RouteTableId":"${TABLE}","SubnetId":"subnet-00000000000000000"}`, resource.NotFound, "The subnet ID 'subnet-00000000000000000' does not exist",
		}},
	}
}

func gatewayScenario() scenario {
	return scenario{
		typ: "AWS::EC2::InternetGateway",
		look: func(k *kit, res resource.Result) string {
			out, err := k.ec2.DescribeInternetGateways(k.Context(), &ec2.DescribeInternetGatewaysInput{InternetGatewayIds: []string{res.PhysicalID}})
			return seen(err, func() string { return k.tags(out.InternetGateways[0].Tags) })
		},
		properties: `{"Tags":[{"Key":"a","Value":"b"}]}`, want: "map[a:b]", attributes: map[string]string{"Ref": "igw-*", "InternetGatewayId": "$ID"},
		updates: []change{{"tags", `{}`, "map[]"}},
	}
}

func gatewayAttachmentScenario() scenario {
	return scenario{
		typ: "AWS::EC2::VPCGatewayAttachment",
		setup: func(k *kit) map[string]string {
			v := network(k)
			for _, name := range []string{"ONE", "TWO"} {
				g, err := k.ec2.CreateInternetGateway(k.Context(), &ec2.CreateInternetGatewayInput{})
				k.must(err)
				v[name] = *g.InternetGateway.InternetGatewayId
			}
			return v
		},
		look: func(k *kit, _ resource.Result) string {
			out, err := k.ec2.DescribeInternetGateways(k.Context(), &ec2.DescribeInternetGatewaysInput{})
			k.must(err)
			list := ""
			for _, g := range out.InternetGateways {
				for _, a := range g.Attachments {
					if *a.VpcId != k.defaultVPC() {
						list += *g.InternetGatewayId + "=" + *a.VpcId
					}
				}
			}
			return "attached " + list
		},
		properties: `{"VpcId":"${VPC}","InternetGatewayId":"${ONE}"}`, want: "attached ${ONE}=${VPC}", after: "attached ",
		attributes: map[string]string{"Ref": "IGW|${VPC}", "AttachmentType": "IGW"}, unchanging: []string{"VpnGatewayId"},
		updates: []change{{"gateway", `{"VpcId":"${VPC}","InternetGatewayId":"${TWO}"}`, "attached ${TWO}=${VPC}"}},
		refused: []refusal{
			{"no gateway", `{"VpcId":"${VPC}"}`, resource.InvalidRequest, "Either an InternetGatewayId or a VpnGatewayId must be specified."},
			{"a VPN gateway", `{"VpcId":"${VPC}","VpnGatewayId":"vgw-1"}`, resource.InvalidRequest, "VPN gateways are not supported by this server."},
		},
	}
}

// defaultVPC is the account's default VPC, or "".
func (k *kit) defaultVPC() string {
	out, err := k.ec2.DescribeVpcs(k.Context(), &ec2.DescribeVpcsInput{})
	k.must(err)
	for _, v := range out.Vpcs {
		if *v.IsDefault {
			return *v.VpcId
		}
	}
	return ""
}

func natScenario() scenario {
	return scenario{
		typ: "AWS::EC2::NatGateway", setup: networkWithRoutes,
		look: func(k *kit, res resource.Result) string {
			out, err := k.ec2.DescribeNatGateways(k.Context(), &ec2.DescribeNatGatewaysInput{NatGatewayIds: []string{res.PhysicalID}})
			return seen(err, func() string {
				if len(out.NatGateways) == 0 || out.NatGateways[0].State == types.NatGatewayStateDeleted {
					return absent
				}
				return fmt.Sprint(out.NatGateways[0].State, k.tags(out.NatGateways[0].Tags))
			})
		},
		properties: `{"SubnetId":"${SUBNET}","AllocationId":"eipalloc-0123456789abcdef0","Tags":[{"Key":"a","Value":"b"}]}`, want: "availablemap[a:b]",
		attributes: map[string]string{"Ref": "nat-*", "NatGatewayId": "$ID", "EniId": "eni-*"},
		updates:    []change{{"tags", `{"SubnetId":"${SUBNET}","AllocationId":"eipalloc-0123456789abcdef0"}`, "availablemap[]"}},
		refused: []refusal{{
			"no address", `{"SubnetId":"${SUBNET}"}`, resource.InvalidRequest, "The request must include the AllocationId parameter. Add the required parameter and retry the request.",
		}},
	}
}

func addressScenario() scenario {
	return scenario{
		typ: "AWS::EC2::EIP", look: func(*kit, resource.Result) string { return "a record" },
		properties: `{"Domain":"vpc"}`, want: "a record", after: "a record", attributes: map[string]string{"AllocationId": "eipalloc-*", "Ref": "203.0.113.*"},
		updates: []change{{"domain and tags", `{"Domain":"standard","Tags":[{"Key":"a","Value":"b"}]}`, "a record"}},
	}
}
