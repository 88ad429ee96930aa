package lambda_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

// A function's subnets and security groups have to exist, in one VPC; its
// interfaces come and go with it.
func TestVpcConfig(t *testing.T) {
	k := newKit(t).run()
	net, other := k.newNetwork(), k.newNetwork()
	try := func(subnets, groups []string) error {
		in := k.input("refused", echo)
		in.VpcConfig = &types.VpcConfig{SubnetIds: subnets, SecurityGroupIds: groups}
		_, err := k.CreateFunction(t.Context(), in)
		return err
	}
	for _, tc := range []struct {
		what            string
		subnets, groups []string
		text            string
	}{
		{"an unknown subnet", []string{net.subnets[0], "subnet-0a"}, net.groups,
			"Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. EC2 Error Message: The subnet ID 'subnet-0a' does not exist"},
		{"an unknown group", net.subnets, []string{"sg-0a"},
			"Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. EC2 Error Message: The security group 'sg-0a' does not exist"},
		{"two VPCs", []string{net.subnets[0], other.subnets[0]}, net.groups, "Subnets are required to be in the same VPC."},
		{"a group of another VPC", net.subnets, other.groups, "Security Groups are required to be in the same VPC."},
		{"no groups", net.subnets, []string{}, "SubnetIds and SecurityIds must coexist or be both empty list."},
	} {
		servicetest.WantError(t, tc.what, try(tc.subnets, tc.groups), "InvalidParameterValueException", 400, tc.text)
	}
	if list := k.interfaces(); len(list) != 0 {
		t.Errorf("refused functions left interfaces: %+v", list)
	}

	in := k.input("f", echo)
	in.VpcConfig = &types.VpcConfig{SubnetIds: net.subnets, SecurityGroupIds: net.groups}
	out := k.create(in)
	if *out.VpcConfig.VpcId != net.vpc {
		t.Errorf("got VPC %s, want %s", *out.VpcConfig.VpcId, net.vpc)
	}
	list := k.interfaces()
	if len(list) != 2 || list[0].Type != network.InterfaceOfLambda || !strings.HasPrefix(list[0].Description, "AWS Lambda VPC ENI-f-") {
		t.Fatalf("got interfaces %+v", list)
	}
	same := k.input("g", echo)
	same.VpcConfig = in.VpcConfig
	k.create(same)
	if n := len(k.interfaces()); n != 2 {
		t.Errorf("functions with the same VpcConfig have %d interfaces, want 2", n)
	}

	// A published version keeps its interfaces.
	_, err := k.PublishVersion(t.Context(), &sdk.PublishVersionInput{FunctionName: aws.String("f")})
	check(t, err)
	for _, name := range []string{"f", "g"} {
		_, err = k.UpdateFunctionConfiguration(t.Context(), &sdk.UpdateFunctionConfigurationInput{FunctionName: &name, VpcConfig: &types.VpcConfig{SubnetIds: []string{}, SecurityGroupIds: []string{}}})
		check(t, err)
		k.waitUpdated(name)
	}
	if n := len(k.interfaces()); n != 2 {
		t.Errorf("a version in the VPC has %d interfaces, want 2", n)
	}
	_, err = k.DeleteFunction(t.Context(), &sdk.DeleteFunctionInput{FunctionName: aws.String("f")})
	check(t, err)
	if list := k.interfaces(); len(list) != 0 {
		t.Errorf("deleted functions left interfaces: %+v", list)
	}
}

// A subnet without a free address takes no function, but one that shares an
// interface that is there.
func TestVpcConfigFull(t *testing.T) {
	k := newKit(t).run()
	net := k.newNetwork()
	at := &types.VpcConfig{SubnetIds: net.subnets[:1], SecurityGroupIds: net.groups[:1]}
	first := k.input("first", echo)
	first.VpcConfig = at
	k.create(first)
	check(t, k.store.Update(t.Context(), func(tx *store.Tx) error {
		s, err := tx.Network(account, region)
		if err != nil {
			return err
		}
		n := s.Subnet(net.subnets[0])
		for s.FreeAddresses(n) > 0 {
			s.AddInterface(n, network.InterfaceOfNAT, "", "", nil, n.CreatedAt)
		}
		return tx.SaveNetwork(account, region, s.Objects()...)
	}))
	second := k.input("second", echo)
	second.VpcConfig = at
	k.create(second)
	third := k.input("third", echo)
	third.VpcConfig = &types.VpcConfig{SubnetIds: net.subnets[:1], SecurityGroupIds: net.groups}
	_, err := k.CreateFunction(t.Context(), third)
	servicetest.WantError(t, "a full subnet", err, "InvalidParameterValueException", 400,
		"Lambda was not able to set up VPC access for the Lambda function because one or more configured subnets has no available IP addresses.")
}
