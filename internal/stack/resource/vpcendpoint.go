package resource

import (
	"context"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
)

// endpointProperties are those of AWS::EC2::VPCEndpoint.
type endpointProperties struct {
	VpcId                                                       string
	ServiceName, VpcEndpointType, PolicyDocument, IpAddressType *string
	SubnetIds, SecurityGroupIds, RouteTableIds                  []string
	PrivateDnsEnabled                                           *bool
	DnsOptions                                                  *struct {
		DnsRecordIpType, PrivateDnsOnlyForInboundResolverEndpoint *string
	}
	Tags tags
}

// endpointHandler handles AWS::EC2::VPCEndpoint.
func endpointHandler() *Handler {
	return typed[endpointProperties]{
		schema: &stack.Schema{
			Type: "AWS::EC2::VPCEndpoint", Attributes: []string{"Id", "DnsEntries", "NetworkInterfaceIds", "CreationTimestamp"}, Taggable: "Tags",
			Properties: properties{
				"VpcId": fixed(required(text())), "ServiceName": fixed(text()), "VpcEndpointType": fixed(text()), "PolicyDocument": document(),
				"SubnetIds": texts(), "SecurityGroupIds": texts(), "RouteTableIds": texts(), "PrivateDnsEnabled": boolean(), "IpAddressType": text(),
				"DnsOptions": object(properties{"DnsRecordIpType": text(), "PrivateDnsOnlyForInboundResolverEndpoint": text()}), "Tags": tagList(),
			},
		},
		create: createEndpoint, update: updateEndpoint,
		delete: func(ctx context.Context, r *Request, _ *endpointProperties) error {
			return r.removeEndpoint(ctx, r.PhysicalID)
		},
	}.handler()
}

// private tells whether AWS's names lead to the endpoint: unlike with EC2
// itself only if the template says so (AWS docs); nil where the question does
// not arise.
func (p *endpointProperties) private() *bool {
	if p.PrivateDnsEnabled == nil && strings.EqualFold(deref(p.VpcEndpointType), api.VpcEndpointTypeInterface) {
		return new(false)
	}
	return p.PrivateDnsEnabled
}

func (p *endpointProperties) dnsOptions() *api.DnsOptionsSpecification {
	if p.DnsOptions == nil {
		return nil
	}
	return &api.DnsOptionsSpecification{DnsRecordIpType: p.DnsOptions.DnsRecordIpType}
}

func createEndpoint(ctx context.Context, r *Request, p *endpointProperties) (Result, error) {
	var res Result
	_, err := r.makeObject(ctx, newObject{
		kind: "vpc-endpoint", tags: p.Tags, remove: r.removeEndpoint,
		create: func(specs []api.TagSpecification) (*string, error) {
			out, err := call[api.CreateVpcEndpointResult](ctx, r.Client, ec2, "CreateVpcEndpoint", &api.CreateVpcEndpointRequest{
				VpcId: &p.VpcId, ServiceName: p.ServiceName, VpcEndpointType: p.VpcEndpointType, PolicyDocument: p.PolicyDocument,
				SubnetIds: p.SubnetIds, SecurityGroupIds: p.SecurityGroupIds, RouteTableIds: p.RouteTableIds, PrivateDnsEnabled: p.private(),
				IpAddressType: p.IpAddressType, DnsOptions: p.dnsOptions(), TagSpecifications: specs,
			})
			if err != nil {
				return nil, err
			}
			return out.VpcEndpoint.VpcEndpointId, nil
		},
		finish: func(id string) (err error) {
			res, err = r.readyEndpoint(ctx, id)
			return err
		},
	})
	return res, err
}

func (r *Request) describeEndpoint(ctx context.Context, id string) (*api.VpcEndpoint, error) {
	out, err := call[api.DescribeVpcEndpointsResult](ctx, r.Client, ec2, "DescribeVpcEndpoints", &api.DescribeVpcEndpointsRequest{VpcEndpointIds: []string{id}})
	if err != nil {
		return nil, err
	}
	if len(out.VpcEndpoints) == 0 {
		return &api.VpcEndpoint{State: new("deleted")}, nil
	}
	return &out.VpcEndpoints[0], nil
}

// readyEndpoint waits until an endpoint is available.
func (r *Request) readyEndpoint(ctx context.Context, id string) (Result, error) {
	var e *api.VpcEndpoint
	err := until(ctx, func() (_ bool, err error) {
		if e, err = r.describeEndpoint(ctx, id); err != nil {
			return false, err
		}
		switch strings.ToLower(deref(e.State)) {
		case "available":
			return true, nil
		case "pending":
			return false, nil
		}
		return false, notStabilized("The VPC endpoint %s is in state %s.", id, deref(e.State))
	})
	if err != nil {
		return Result{}, err
	}
	entries, interfaces := []any{}, []any{}
	for _, d := range e.DnsEntries {
		entries = append(entries, deref(d.HostedZoneId)+":"+deref(d.DnsName))
	}
	for _, id := range e.NetworkInterfaceIds {
		interfaces = append(interfaces, id)
	}
	return Result{PhysicalID: id, Attributes: map[string]any{
		"Id": id, "DnsEntries": entries, "NetworkInterfaceIds": interfaces, "CreationTimestamp": instant(e.CreationTimestamp),
	}}, nil
}

func updateEndpoint(ctx context.Context, r *Request, old, p *endpointProperties) (Result, error) {
	have, err := r.describeEndpoint(ctx, r.PhysicalID)
	if err != nil {
		return Result{}, err
	}
	in := &api.ModifyVpcEndpointRequest{VpcEndpointId: &r.PhysicalID}
	if differ(old.SubnetIds, p.SubnetIds) {
		in.AddSubnetIds, in.RemoveSubnetIds = missing(p.SubnetIds, have.SubnetIds), missing(have.SubnetIds, p.SubnetIds)
	}
	if differ(old.RouteTableIds, p.RouteTableIds) {
		in.AddRouteTableIds, in.RemoveRouteTableIds = missing(p.RouteTableIds, have.RouteTableIds), missing(have.RouteTableIds, p.RouteTableIds)
	}
	if differ(old.SecurityGroupIds, p.SecurityGroupIds) {
		var groups []string
		for _, g := range have.Groups {
			groups = append(groups, deref(g.GroupId))
		}
		in.AddSecurityGroupIds, in.RemoveSecurityGroupIds = missing(p.SecurityGroupIds, groups), missing(groups, p.SecurityGroupIds)
	}
	if differ(old.PolicyDocument, p.PolicyDocument) {
		if in.PolicyDocument = p.PolicyDocument; p.PolicyDocument == nil {
			in.ResetPolicy = new(true)
		}
	}
	if differ(old.private(), p.private()) {
		in.PrivateDnsEnabled = p.private()
	}
	if differ(old.IpAddressType, p.IpAddressType) {
		in.IpAddressType = p.IpAddressType
	}
	if differ(old.DnsOptions, p.DnsOptions) {
		in.DnsOptions = p.dnsOptions()
	}
	var steps []step
	if differ(in, &api.ModifyVpcEndpointRequest{VpcEndpointId: &r.PhysicalID}) {
		steps = append(steps, step{ec2, "ModifyVpcEndpoint", in})
	}
	if err := r.Client.each(ctx, append(steps, r.retagObject(old.Tags, p.Tags)...)...); err != nil {
		return Result{}, err
	}
	return r.readyEndpoint(ctx, r.PhysicalID)
}

// removeEndpoint deletes an endpoint and waits until it is gone, for what it
// stands in can only go then.
func (r *Request) removeEndpoint(ctx context.Context, id string) error {
	out, err := call[api.DeleteVpcEndpointsResult](ctx, r.Client, ec2, "DeleteVpcEndpoints", &api.DeleteVpcEndpointsRequest{VpcEndpointIds: []string{id}})
	if err != nil {
		return gone(err)
	}
	for _, u := range out.Unsuccessful {
		if u.Error == nil || strings.Contains(deref(u.Error.Code), "NotFound") {
			continue
		}
		cause := fault.New(fault.State, "%s", deref(u.Error.Message))
		return &Failure{Service: ec2, Code: deref(u.Error.Code), Status: 400, Message: cause.Message, err: cause}
	}
	return until(ctx, func() (bool, error) {
		e, err := r.describeEndpoint(ctx, id)
		if err != nil {
			return isNotFound(err), gone(err)
		}
		return strings.EqualFold(deref(e.State), "deleted"), nil
	})
}
