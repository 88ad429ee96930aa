package resource

import (
	"context"
	"strconv"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/stack"
)

// inVPC are the properties of what has no others than its VPC.
type inVPC struct {
	VpcId string
	Tags  tags
}

// networkACLHandler handles AWS::EC2::NetworkAcl.
func networkACLHandler() *Handler {
	result := func(id string) Result { return Result{PhysicalID: id, Attributes: map[string]any{"Id": id}} }
	remove := func(r *Request) func(ctx context.Context, id string) error {
		return func(ctx context.Context, id string) error {
			return r.Client.without(ctx, step{ec2, "DeleteNetworkAcl", &api.DeleteNetworkAclRequest{NetworkAclId: &id}})
		}
	}
	return typed[inVPC]{
		schema: &stack.Schema{
			Type: "AWS::EC2::NetworkAcl", Attributes: []string{"Id"}, Taggable: "Tags",
			Properties: properties{"VpcId": fixed(required(text())), "Tags": tagList()},
		},
		create: func(ctx context.Context, r *Request, p *inVPC) (Result, error) {
			id, err := r.makeObject(ctx, newObject{
				kind: "network-acl", tags: p.Tags, remove: remove(r),
				create: func(specs []api.TagSpecification) (*string, error) {
					out, err := call[api.CreateNetworkAclResult](ctx, r.Client, ec2, "CreateNetworkAcl",
						&api.CreateNetworkAclRequest{VpcId: &p.VpcId, TagSpecifications: specs})
					if err != nil {
						return nil, err
					}
					return out.NetworkAcl.NetworkAclId, nil
				},
			})
			return result(id), err
		},
		update: func(ctx context.Context, r *Request, old, p *inVPC) (Result, error) {
			return result(r.PhysicalID), r.Client.each(ctx, r.retagObject(old.Tags, p.Tags)...)
		},
		delete: func(ctx context.Context, r *Request, _ *inVPC) error { return remove(r)(ctx, r.PhysicalID) },
	}.handler()
}

// entryProperties are those of AWS::EC2::NetworkAclEntry.
type entryProperties struct {
	NetworkAclId, RuleAction string
	CidrBlock, Ipv6CidrBlock *string
	Protocol, RuleNumber     int64
	Egress                   bool
	Icmp                     *api.IcmpTypeCode
	PortRange                *api.PortRange
}

// entryHandler handles AWS::EC2::NetworkAclEntry.
func entryHandler() *Handler {
	remove := func(ctx context.Context, r *Request, p *entryProperties) error {
		return r.Client.without(ctx, step{ec2, "DeleteNetworkAclEntry",
			&api.DeleteNetworkAclEntryRequest{NetworkAclId: &p.NetworkAclId, RuleNumber: &p.RuleNumber, Egress: &p.Egress}})
	}
	return typed[entryProperties]{
		schema: &stack.Schema{
			Type: "AWS::EC2::NetworkAclEntry", Attributes: []string{"Id"},
			Properties: properties{
				"NetworkAclId": fixed(required(text())), "RuleNumber": fixed(required(integer())), "Egress": fixed(boolean()),
				"Protocol": required(integer()), "RuleAction": required(text()), "CidrBlock": text(), "Ipv6CidrBlock": text(),
				"Icmp": object(properties{"Code": integer(), "Type": integer()}), "PortRange": object(properties{"From": integer(), "To": integer()}),
			},
		},
		create: func(ctx context.Context, r *Request, p *entryProperties) (Result, error) {
			id := r.generatedName(maxGroupNameEC2)
			err := r.Client.do(ctx, ec2, "CreateNetworkAclEntry", new(api.CreateNetworkAclEntryRequest(p.replacement())))
			if exists(err) && r.Resumed {
				err = r.Client.do(ctx, ec2, "ReplaceNetworkAclEntry", new(p.replacement()))
			}
			if err != nil {
				return Result{}, err
			}
			return Result{PhysicalID: id, Attributes: map[string]any{"Id": id}}, r.initiated(id)
		},
		update: func(ctx context.Context, r *Request, _, p *entryProperties) (Result, error) {
			return Result{PhysicalID: r.PhysicalID}, r.Client.do(ctx, ec2, "ReplaceNetworkAclEntry", new(p.replacement()))
		},
		delete: remove,
	}.handler()
}

// replacement is the request that sets the entry.
func (p *entryProperties) replacement() api.ReplaceNetworkAclEntryRequest {
	return api.ReplaceNetworkAclEntryRequest{
		NetworkAclId: &p.NetworkAclId, RuleNumber: &p.RuleNumber, Protocol: new(strconv.FormatInt(p.Protocol, 10)), RuleAction: &p.RuleAction,
		Egress: &p.Egress, CidrBlock: p.CidrBlock, Ipv6CidrBlock: p.Ipv6CidrBlock, IcmpTypeCode: p.Icmp, PortRange: p.PortRange,
	}
}

// subnetACL finds the network ACL of a subnet and their association; "" if
// the subnet does not exist.
func (r *Request) subnetACL(ctx context.Context, subnet string) (acl *api.NetworkAcl, association string, err error) {
	out, err := call[api.DescribeNetworkAclsResult](ctx, r.Client, ec2, "DescribeNetworkAcls",
		&api.DescribeNetworkAclsRequest{Filters: []api.Filter{filter("association.subnet-id", subnet)}})
	if err != nil {
		return nil, "", err
	}
	for i := range out.NetworkAcls {
		for _, a := range out.NetworkAcls[i].Associations {
			if deref(a.SubnetId) == subnet {
				return &out.NetworkAcls[i], deref(a.NetworkAclAssociationId), nil
			}
		}
	}
	return nil, "", nil
}

// aclAssociationProperties are those of AWS::EC2::SubnetNetworkAclAssociation.
type aclAssociationProperties struct{ NetworkAclId, SubnetId string }

// aclAssociationHandler handles AWS::EC2::SubnetNetworkAclAssociation.
func aclAssociationHandler() *Handler {
	return typed[aclAssociationProperties]{
		schema: &stack.Schema{
			Type: "AWS::EC2::SubnetNetworkAclAssociation", Attributes: []string{"AssociationId"},
			Properties: properties{"NetworkAclId": fixed(required(text())), "SubnetId": fixed(required(text()))},
		},
		create: createACLAssociation, delete: deleteACLAssociation,
	}.handler()
}

func createACLAssociation(ctx context.Context, r *Request, p *aclAssociationProperties) (Result, error) {
	acl, id, err := r.subnetACL(ctx, p.SubnetId)
	if err != nil {
		return Result{}, err
	}
	if acl == nil { // the service says that there is no such subnet
		err := r.Client.do(ctx, ec2, "DescribeSubnets", &api.DescribeSubnetsRequest{SubnetIds: []string{p.SubnetId}})
		return Result{}, err
	}
	if !(r.Resumed && deref(acl.NetworkAclId) == p.NetworkAclId) {
		if id, err = r.associateACL(ctx, id, p.NetworkAclId); err != nil {
			return Result{}, err
		}
	}
	return Result{PhysicalID: id, Attributes: map[string]any{"AssociationId": id}}, r.initiated(id)
}

// associateACL puts another network ACL into an association.
func (r *Request) associateACL(ctx context.Context, association, acl string) (string, error) {
	out, err := call[api.ReplaceNetworkAclAssociationResult](ctx, r.Client, ec2, "ReplaceNetworkAclAssociation",
		&api.ReplaceNetworkAclAssociationRequest{AssociationId: &association, NetworkAclId: &acl})
	if err != nil {
		return "", err
	}
	return deref(out.NewAssociationId), nil
}

// deleteACLAssociation gives the subnet its VPC's default ACL, unless it has
// another association by now.
func deleteACLAssociation(ctx context.Context, r *Request, p *aclAssociationProperties) error {
	acl, id, err := r.subnetACL(ctx, p.SubnetId)
	if err != nil || acl == nil || id != r.PhysicalID {
		return gone(err)
	}
	usual, err := r.defaultACL(ctx, deref(acl.VpcId))
	if err != nil {
		return err
	}
	_, err = r.associateACL(ctx, id, usual)
	return gone(err)
}
