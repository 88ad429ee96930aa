package lambda

import (
	"slices"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/store"
)

// setVPC attaches a function to subnets and security groups of one VPC, or
// detaches it with empty lists; nil leaves it as it is.
func setVPC(tx *store.Tx, f *function.Function, in *api.VpcConfig) error {
	if in == nil {
		return nil
	}
	v := &function.VPC{SubnetIDs: list(in.SubnetIds), SecurityGroupIDs: list(in.SecurityGroupIds), IPv6: value(in.Ipv6AllowedForDualStack)}
	if len(v.SubnetIDs) == 0 && len(v.SecurityGroupIDs) == 0 {
		f.Config.VPC = v
		return nil
	}
	if len(v.SubnetIDs) == 0 || len(v.SecurityGroupIDs) == 0 {
		return fault.New(fault.Parameter, "SubnetIds and SecurityIds must coexist or be both empty list.") // AWS: reported
	}
	s, err := tx.Network(f.Account, f.Region)
	if err != nil {
		return err
	}
	if v.VPCID, err = checkVPC(s, v); err != nil {
		return err
	}
	if old := f.Config.VPC; old != nil && old.VPCID == v.VPCID && slices.Equal(old.SubnetIDs, v.SubnetIDs) && slices.Equal(old.SecurityGroupIDs, v.SecurityGroupIDs) {
		f.Config.VPC = v // it has its addresses already
		return nil
	}
	f.Config.VPC = v
	return checkAddresses(s, v)
}

// checkVPC refuses subnets and security groups that do not exist (AWS:
// recorded), or that are of several VPCs (AWS: reported), and returns their
// VPC.
func checkVPC(s *network.Snapshot, v *function.VPC) (vpcID string, err error) {
	for _, id := range v.SubnetIDs {
		n := s.Subnet(id)
		if n == nil {
			return "", fault.New(fault.Parameter,
				"Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. EC2 Error Message: The subnet ID '%s' does not exist", id)
		}
		if vpcID != "" && n.VPCID != vpcID {
			return "", fault.New(fault.Parameter, "Subnets are required to be in the same VPC.")
		}
		vpcID = n.VPCID
	}
	for _, id := range v.SecurityGroupIDs {
		g := s.Group(id)
		if g == nil {
			return "", fault.New(fault.Parameter,
				"Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. EC2 Error Message: The security group '%s' does not exist", id)
		}
		if g.VPCID != vpcID {
			return "", fault.New(fault.Parameter, "Security Groups are required to be in the same VPC.")
		}
	}
	return vpcID, nil
}

// checkAddresses refuses a subnet without an address for the function's
// interface. AWS finds that out later, and the function fails with the same
// text (AWS: reported).
func checkAddresses(s *network.Snapshot, v *function.VPC) error {
	for _, id := range v.SubnetIDs {
		if s.LambdaInterface(id, v.SecurityGroupIDs) == nil && s.FreeAddresses(s.Subnet(id)) == 0 {
			return fault.New(fault.Parameter,
				"Lambda was not able to set up VPC access for the Lambda function because one or more configured subnets has no available IP addresses.").For(id)
		}
	}
	return nil
}
