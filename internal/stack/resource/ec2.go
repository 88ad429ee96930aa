package resource

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/stack"
)

const ec2 = "ec2"

// newObject makes something in EC2 that has no name. While it is being made a
// tag marks it, so that a repeated creation finds it.
type newObject struct {
	// kind is the resource type of tags, such as vpc.
	kind string
	tags tags
	// create makes it and returns its ID.
	create func([]api.TagSpecification) (*string, error)
	// finish, which may be nil, brings it to its state.
	finish func(id string) error
	// remove takes it away again.
	remove func(ctx context.Context, id string) error
}

func (r *Request) makeObject(ctx context.Context, n newObject) (id string, err error) {
	if id, err = r.beginObject(ctx, n); err != nil {
		return "", err
	}
	if err = r.initiated(id); err == nil && n.finish != nil {
		err = n.finish(id)
	}
	if err == nil {
		err = r.Client.do(ctx, ec2, "DeleteTags", &api.DeleteTagsRequest{Resources: []string{id}, Tags: []api.Tag{{Key: new(tagMark)}}})
	}
	if err != nil {
		return "", undo(ctx, err, func(ctx context.Context) error { return n.remove(ctx, id) })
	}
	return id, nil
}

// beginObject makes the object, or finds the one of a creation before a crash.
func (r *Request) beginObject(ctx context.Context, n newObject) (string, error) {
	if r.PhysicalID != "" {
		return r.PhysicalID, nil
	}
	if r.Resumed {
		out, err := call[api.DescribeTagsResult](ctx, r.Client, ec2, "DescribeTags", &api.DescribeTagsRequest{Filters: []api.Filter{
			filter("key", tagMark), filter("value", r.mark()), filter("resource-type", n.kind),
		}})
		if err != nil {
			return "", err
		}
		if len(out.Tags) > 0 {
			return *out.Tags[0].ResourceId, nil
		}
	}
	all := n.tags.with(r.Tags)
	all[tagMark] = r.mark()
	id, err := n.create([]api.TagSpecification{{ResourceType: &n.kind, Tags: ec2Tags(all)}})
	return deref(id), err
}

func filter(name string, values ...string) api.Filter { return api.Filter{Name: &name, Values: values} }

func ec2Tags(all map[string]string) []api.Tag {
	return sortedTags(all, func(key, value *string) api.Tag { return api.Tag{Key: key, Value: value} })
}

// retagObject are the steps that change an object's tags.
func (r *Request) retagObject(old, new tags) (steps []step) {
	change := r.tagsChanged(old, new)
	if len(change.drop) > 0 {
		in := &api.DeleteTagsRequest{Resources: []string{r.PhysicalID}}
		for _, key := range change.drop {
			in.Tags = append(in.Tags, api.Tag{Key: &key})
		}
		steps = append(steps, step{ec2, "DeleteTags", in})
	}
	if len(change.set) > 0 {
		steps = append(steps, step{ec2, "CreateTags", &api.CreateTagsRequest{Resources: []string{r.PhysicalID}, Tags: ec2Tags(change.set)}})
	}
	return steps
}

// vpcProperties are those of AWS::EC2::VPC.
type vpcProperties struct {
	CidrBlock, InstanceTenancy           *string
	EnableDnsSupport, EnableDnsHostnames *bool
	Tags                                 tags
}

// vpcHandler handles AWS::EC2::VPC.
func vpcHandler() *Handler {
	return typed[vpcProperties]{
		schema: &stack.Schema{
			Type: "AWS::EC2::VPC", Taggable: "Tags",
			Attributes: []string{"VpcId", "CidrBlock", "DefaultNetworkAcl", "DefaultSecurityGroup", "CidrBlockAssociations", "Ipv6CidrBlocks"},
			Properties: properties{
				"CidrBlock": fixed(text()), "InstanceTenancy": fixed(text()), "EnableDnsSupport": boolean(), "EnableDnsHostnames": boolean(),
				"Tags": tagList(),
			},
		},
		create: createVPC, update: updateVPC,
		delete: func(ctx context.Context, r *Request, _ *vpcProperties) error { return r.removeVPC(ctx, r.PhysicalID) },
	}.handler()
}

func createVPC(ctx context.Context, r *Request, p *vpcProperties) (Result, error) {
	id, err := r.makeObject(ctx, newObject{
		kind: "vpc", tags: p.Tags, remove: r.removeVPC,
		create: func(specs []api.TagSpecification) (*string, error) {
			out, err := call[api.CreateVpcResult](ctx, r.Client, ec2, "CreateVpc",
				&api.CreateVpcRequest{CidrBlock: p.CidrBlock, InstanceTenancy: p.InstanceTenancy, TagSpecifications: specs})
			if err != nil {
				return nil, err
			}
			return out.Vpc.VpcId, nil
		},
		finish: func(id string) error { return r.Client.each(ctx, p.dns(&vpcProperties{}, id)...) },
	})
	if err != nil {
		return Result{}, err
	}
	return r.vpcResult(ctx, id)
}

// dns are the steps that set the DNS attributes, one at a time (AWS docs).
func (p *vpcProperties) dns(old *vpcProperties, id string) (steps []step) {
	support := func(p *vpcProperties) bool { return p.EnableDnsSupport == nil || *p.EnableDnsSupport }
	set := func(in *api.ModifyVpcAttributeRequest) {
		in.VpcId = &id
		steps = append(steps, step{ec2, "ModifyVpcAttribute", in})
	}
	if support(old) != support(p) {
		set(&api.ModifyVpcAttributeRequest{EnableDnsSupport: &api.AttributeBooleanValue{Value: new(support(p))}})
	}
	if names := deref(p.EnableDnsHostnames); names != deref(old.EnableDnsHostnames) {
		set(&api.ModifyVpcAttributeRequest{EnableDnsHostnames: &api.AttributeBooleanValue{Value: &names}})
	}
	return steps
}

// vpcResult asks for what a VPC has from the beginning.
func (r *Request) vpcResult(ctx context.Context, id string) (Result, error) {
	vpcs, err := call[api.DescribeVpcsResult](ctx, r.Client, ec2, "DescribeVpcs", &api.DescribeVpcsRequest{VpcIds: []string{id}})
	if err != nil {
		return Result{}, err
	}
	vpc := vpcs.Vpcs[0]
	associations := []any{}
	for _, a := range vpc.CidrBlockAssociationSet {
		associations = append(associations, deref(a.AssociationId))
	}
	attributes := map[string]any{
		"VpcId": id, "CidrBlock": deref(vpc.CidrBlock), "CidrBlockAssociations": associations, "Ipv6CidrBlocks": []any{},
	}
	groups, err := call[api.DescribeSecurityGroupsResult](ctx, r.Client, ec2, "DescribeSecurityGroups",
		&api.DescribeSecurityGroupsRequest{Filters: []api.Filter{filter("vpc-id", id), filter("group-name", "default")}})
	if err != nil {
		return Result{}, err
	}
	for _, g := range groups.SecurityGroups {
		attributes["DefaultSecurityGroup"] = deref(g.GroupId)
	}
	acl, err := r.defaultACL(ctx, id)
	if err != nil {
		return Result{}, err
	}
	attributes["DefaultNetworkAcl"] = acl
	return Result{PhysicalID: id, Attributes: attributes}, nil
}

// defaultACL is the network ACL of subnets of a VPC that have no other.
func (r *Request) defaultACL(ctx context.Context, vpc string) (string, error) {
	acls, err := call[api.DescribeNetworkAclsResult](ctx, r.Client, ec2, "DescribeNetworkAcls",
		&api.DescribeNetworkAclsRequest{Filters: []api.Filter{filter("vpc-id", vpc), filter("default", "true")}})
	if err != nil || len(acls.NetworkAcls) == 0 {
		return "", err
	}
	return deref(acls.NetworkAcls[0].NetworkAclId), nil
}

func updateVPC(ctx context.Context, r *Request, old, p *vpcProperties) (Result, error) {
	if err := r.Client.each(ctx, append(p.dns(old, r.PhysicalID), r.retagObject(old.Tags, p.Tags)...)...); err != nil {
		return Result{}, err
	}
	return r.vpcResult(ctx, r.PhysicalID)
}

func (r *Request) removeVPC(ctx context.Context, id string) error {
	return r.Client.without(ctx, step{ec2, "DeleteVpc", &api.DeleteVpcRequest{VpcId: &id}})
}

// subnetProperties are those of AWS::EC2::Subnet.
type subnetProperties struct {
	VpcId                                           string
	CidrBlock, AvailabilityZone, AvailabilityZoneId *string
	MapPublicIpOnLaunch                             *bool
	Tags                                            tags
}

// subnetHandler handles AWS::EC2::Subnet.
func subnetHandler() *Handler {
	return typed[subnetProperties]{
		schema: &stack.Schema{
			Type: "AWS::EC2::Subnet", Taggable: "Tags",
			Attributes: []string{
				"SubnetId", "VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId", "NetworkAclAssociationId", "Ipv6CidrBlocks",
			},
			Properties: properties{
				"VpcId": fixed(required(text())), "CidrBlock": fixed(text()), "AvailabilityZone": fixed(text()), "AvailabilityZoneId": fixed(text()),
				"MapPublicIpOnLaunch": boolean(), "Tags": tagList(),
			},
		},
		create: createSubnet, update: updateSubnet,
		delete: func(ctx context.Context, r *Request, _ *subnetProperties) error {
			return r.removeSubnet(ctx, r.PhysicalID)
		},
	}.handler()
}

func createSubnet(ctx context.Context, r *Request, p *subnetProperties) (Result, error) {
	id, err := r.makeObject(ctx, newObject{
		kind: "subnet", tags: p.Tags, remove: r.removeSubnet,
		create: func(specs []api.TagSpecification) (*string, error) {
			out, err := call[api.CreateSubnetResult](ctx, r.Client, ec2, "CreateSubnet", &api.CreateSubnetRequest{
				VpcId: &p.VpcId, CidrBlock: p.CidrBlock, AvailabilityZone: p.AvailabilityZone, AvailabilityZoneId: p.AvailabilityZoneId,
				TagSpecifications: specs,
			})
			if err != nil {
				return nil, err
			}
			return out.Subnet.SubnetId, nil
		},
		finish: func(id string) error { return r.Client.each(ctx, p.publicAddresses(&subnetProperties{}, id)...) },
	})
	if err != nil {
		return Result{}, err
	}
	return r.subnetResult(ctx, id)
}

func (p *subnetProperties) publicAddresses(old *subnetProperties, id string) []step {
	now := deref(p.MapPublicIpOnLaunch)
	if now == deref(old.MapPublicIpOnLaunch) {
		return nil
	}
	return []step{{ec2, "ModifySubnetAttribute", &api.ModifySubnetAttributeRequest{
		SubnetId: &id, MapPublicIpOnLaunch: &api.AttributeBooleanValue{Value: &now},
	}}}
}

func (r *Request) subnetResult(ctx context.Context, id string) (Result, error) {
	out, err := call[api.DescribeSubnetsResult](ctx, r.Client, ec2, "DescribeSubnets", &api.DescribeSubnetsRequest{SubnetIds: []string{id}})
	if err != nil {
		return Result{}, err
	}
	_, association, err := r.subnetACL(ctx, id)
	if err != nil {
		return Result{}, err
	}
	s := out.Subnets[0]
	return Result{PhysicalID: id, Attributes: map[string]any{
		"SubnetId": id, "VpcId": deref(s.VpcId), "CidrBlock": deref(s.CidrBlock), "AvailabilityZone": deref(s.AvailabilityZone),
		"AvailabilityZoneId": deref(s.AvailabilityZoneId), "NetworkAclAssociationId": association, "Ipv6CidrBlocks": []any{},
	}}, nil
}

func updateSubnet(ctx context.Context, r *Request, old, p *subnetProperties) (Result, error) {
	if err := r.Client.each(ctx, append(p.publicAddresses(old, r.PhysicalID), r.retagObject(old.Tags, p.Tags)...)...); err != nil {
		return Result{}, err
	}
	return r.subnetResult(ctx, r.PhysicalID)
}

func (r *Request) removeSubnet(ctx context.Context, id string) error {
	return r.Client.without(ctx, step{ec2, "DeleteSubnet", &api.DeleteSubnetRequest{SubnetId: &id}})
}
