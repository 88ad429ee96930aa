package resource

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
)

// routeTableHandler handles AWS::EC2::RouteTable.
func routeTableHandler() *Handler {
	result := func(id string) Result { return Result{PhysicalID: id, Attributes: map[string]any{"RouteTableId": id}} }
	remove := func(r *Request) func(ctx context.Context, id string) error {
		return func(ctx context.Context, id string) error {
			return r.Client.without(ctx, step{ec2, "DeleteRouteTable", &api.DeleteRouteTableRequest{RouteTableId: &id}})
		}
	}
	return typed[inVPC]{
		schema: &stack.Schema{
			Type: "AWS::EC2::RouteTable", Attributes: []string{"RouteTableId"}, Taggable: "Tags",
			Properties: properties{"VpcId": fixed(required(text())), "Tags": tagList()},
		},
		create: func(ctx context.Context, r *Request, p *inVPC) (Result, error) {
			id, err := r.makeObject(ctx, newObject{
				kind: "route-table", tags: p.Tags, remove: remove(r),
				create: func(specs []api.TagSpecification) (*string, error) {
					out, err := call[api.CreateRouteTableResult](ctx, r.Client, ec2, "CreateRouteTable",
						&api.CreateRouteTableRequest{VpcId: &p.VpcId, TagSpecifications: specs})
					if err != nil {
						return nil, err
					}
					return out.RouteTable.RouteTableId, nil
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

// routeHandler handles AWS::EC2::Route.
func routeHandler() *Handler {
	schema := properties{
		"RouteTableId": fixed(required(text())), "DestinationCidrBlock": fixed(text()), "DestinationIpv6CidrBlock": fixed(text()),
		"DestinationPrefixListId": fixed(text()),
	}
	for _, target := range []string{
		"CarrierGatewayId", "CoreNetworkArn", "EgressOnlyInternetGatewayId", "GatewayId", "InstanceId", "LocalGatewayId", "NatGatewayId",
		"NetworkInterfaceId", "TransitGatewayId", "VpcEndpointId", "VpcPeeringConnectionId",
	} {
		schema[target] = text()
	}
	return typed[api.CreateRouteRequest]{
		schema: &stack.Schema{Type: "AWS::EC2::Route", Attributes: []string{"CidrBlock"}, Properties: schema},
		create: func(ctx context.Context, r *Request, p *api.CreateRouteRequest) (Result, error) {
			err := r.Client.do(ctx, ec2, "CreateRoute", p)
			if exists(err) && r.Resumed && routeResult(p).PhysicalID != r.Replaces {
				err = r.Client.do(ctx, ec2, "ReplaceRoute", routeChange(p))
			}
			if err != nil {
				return Result{}, err
			}
			return routeResult(p), r.initiated(routeResult(p).PhysicalID)
		},
		update: func(ctx context.Context, r *Request, _, p *api.CreateRouteRequest) (Result, error) {
			return routeResult(p), r.Client.do(ctx, ec2, "ReplaceRoute", routeChange(p))
		},
		delete: func(ctx context.Context, r *Request, p *api.CreateRouteRequest) error {
			return r.Client.without(ctx, step{ec2, "DeleteRoute", &api.DeleteRouteRequest{
				RouteTableId: p.RouteTableId, DestinationCidrBlock: p.DestinationCidrBlock, DestinationIpv6CidrBlock: p.DestinationIpv6CidrBlock,
				DestinationPrefixListId: p.DestinationPrefixListId,
			}})
		},
	}.handler()
}

func routeResult(p *api.CreateRouteRequest) Result {
	destination := deref(p.DestinationCidrBlock) + deref(p.DestinationIpv6CidrBlock) + deref(p.DestinationPrefixListId)
	return Result{PhysicalID: deref(p.RouteTableId) + "|" + destination, Attributes: map[string]any{"CidrBlock": destination}}
}

func routeChange(p *api.CreateRouteRequest) *api.ReplaceRouteRequest {
	return &api.ReplaceRouteRequest{
		RouteTableId: p.RouteTableId, DestinationCidrBlock: p.DestinationCidrBlock, DestinationIpv6CidrBlock: p.DestinationIpv6CidrBlock,
		DestinationPrefixListId: p.DestinationPrefixListId, CarrierGatewayId: p.CarrierGatewayId, CoreNetworkArn: p.CoreNetworkArn,
		EgressOnlyInternetGatewayId: p.EgressOnlyInternetGatewayId, GatewayId: p.GatewayId, InstanceId: p.InstanceId, LocalGatewayId: p.LocalGatewayId,
		NatGatewayId: p.NatGatewayId, NetworkInterfaceId: p.NetworkInterfaceId, TransitGatewayId: p.TransitGatewayId, VpcEndpointId: p.VpcEndpointId,
		VpcPeeringConnectionId: p.VpcPeeringConnectionId,
	}
}

// tableAssociationProperties are those of
// AWS::EC2::SubnetRouteTableAssociation.
type tableAssociationProperties struct{ RouteTableId, SubnetId string }

// tableAssociationHandler handles AWS::EC2::SubnetRouteTableAssociation.
func tableAssociationHandler() *Handler {
	return typed[tableAssociationProperties]{
		schema: &stack.Schema{
			Type: "AWS::EC2::SubnetRouteTableAssociation", Attributes: []string{"Id"},
			Properties: properties{"RouteTableId": fixed(required(text())), "SubnetId": fixed(required(text()))},
		},
		create: createTableAssociation,
		delete: func(ctx context.Context, r *Request, _ *tableAssociationProperties) error {
			return r.Client.without(ctx, step{ec2, "DisassociateRouteTable", &api.DisassociateRouteTableRequest{AssociationId: &r.PhysicalID}})
		},
	}.handler()
}

// createTableAssociation associates a subnet with a route table, or replaces
// the association that it has, as CloudFormation does so that a replacement
// leaves no gap.
func createTableAssociation(ctx context.Context, r *Request, p *tableAssociationProperties) (Result, error) {
	have, err := r.tableAssociation(ctx, p.SubnetId)
	if err != nil {
		return Result{}, err
	}
	var id string
	switch {
	case have != nil && r.Resumed && deref(have.RouteTableId) == p.RouteTableId:
		id = deref(have.RouteTableAssociationId)
	case have != nil && r.Replaces == deref(have.RouteTableAssociationId):
		out, err := call[api.ReplaceRouteTableAssociationResult](ctx, r.Client, ec2, "ReplaceRouteTableAssociation",
			&api.ReplaceRouteTableAssociationRequest{AssociationId: have.RouteTableAssociationId, RouteTableId: &p.RouteTableId})
		if err != nil {
			return Result{}, err
		}
		id = deref(out.NewAssociationId)
	default:
		out, err := call[api.AssociateRouteTableResult](ctx, r.Client, ec2, "AssociateRouteTable",
			&api.AssociateRouteTableRequest{SubnetId: &p.SubnetId, RouteTableId: &p.RouteTableId})
		if err != nil {
			return Result{}, err
		}
		id = deref(out.AssociationId)
	}
	return Result{PhysicalID: id, Attributes: map[string]any{"Id": id}}, r.initiated(id)
}

// tableAssociation finds the association of a subnet with a route table; nil
// for none.
func (r *Request) tableAssociation(ctx context.Context, subnet string) (*api.RouteTableAssociation, error) {
	out, err := call[api.DescribeRouteTablesResult](ctx, r.Client, ec2, "DescribeRouteTables",
		&api.DescribeRouteTablesRequest{Filters: []api.Filter{filter("association.subnet-id", subnet)}})
	if err != nil {
		return nil, err
	}
	for _, t := range out.RouteTables {
		for i, a := range t.Associations {
			if deref(a.SubnetId) == subnet {
				return &t.Associations[i], nil
			}
		}
	}
	return nil, nil
}

// gatewayHandler handles AWS::EC2::InternetGateway.
func gatewayHandler() *Handler {
	result := func(id string) Result {
		return Result{PhysicalID: id, Attributes: map[string]any{"InternetGatewayId": id}}
	}
	remove := func(r *Request) func(ctx context.Context, id string) error {
		return func(ctx context.Context, id string) error {
			return r.Client.without(ctx, step{ec2, "DeleteInternetGateway", &api.DeleteInternetGatewayRequest{InternetGatewayId: &id}})
		}
	}
	return typed[inVPC]{
		schema: &stack.Schema{
			Type: "AWS::EC2::InternetGateway", Attributes: []string{"InternetGatewayId"}, Taggable: "Tags",
			Properties: properties{"Tags": tagList()},
		},
		create: func(ctx context.Context, r *Request, p *inVPC) (Result, error) {
			id, err := r.makeObject(ctx, newObject{
				kind: "internet-gateway", tags: p.Tags, remove: remove(r),
				create: func(specs []api.TagSpecification) (*string, error) {
					out, err := call[api.CreateInternetGatewayResult](ctx, r.Client, ec2, "CreateInternetGateway",
						&api.CreateInternetGatewayRequest{TagSpecifications: specs})
					if err != nil {
						return nil, err
					}
					return out.InternetGateway.InternetGatewayId, nil
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

// gatewayAttachment are the properties of AWS::EC2::VPCGatewayAttachment.
type gatewayAttachment struct {
	VpcId                           string
	InternetGatewayId, VpnGatewayId *string
}

// gatewayAttachmentHandler handles AWS::EC2::VPCGatewayAttachment.
func gatewayAttachmentHandler() *Handler {
	return typed[gatewayAttachment]{
		schema: &stack.Schema{
			Type: "AWS::EC2::VPCGatewayAttachment", Attributes: []string{"AttachmentType"},
			Properties: properties{"VpcId": fixed(required(text())), "InternetGatewayId": text(), "VpnGatewayId": text()},
		},
		create: func(ctx context.Context, r *Request, p *gatewayAttachment) (Result, error) {
			id := "IGW|" + p.VpcId
			if err := r.attachGateway(ctx, p); err != nil {
				return Result{}, err
			}
			return Result{PhysicalID: id, Attributes: map[string]any{"AttachmentType": "IGW"}}, r.initiated(id)
		},
		update: func(ctx context.Context, r *Request, old, p *gatewayAttachment) (Result, error) {
			if err := r.detachGateway(ctx, old); err != nil {
				return Result{}, err
			}
			return Result{PhysicalID: r.PhysicalID}, r.attachGateway(ctx, p)
		},
		delete: func(ctx context.Context, r *Request, p *gatewayAttachment) error { return r.detachGateway(ctx, p) },
	}.handler()
}

func (r *Request) attachGateway(ctx context.Context, p *gatewayAttachment) error {
	if p.VpnGatewayId != nil {
		return fault.New(fault.State, "VPN gateways are not supported by this server.")
	}
	if p.InternetGatewayId == nil { // AWS: recorded
		return fault.New(fault.State, "Either an InternetGatewayId or a VpnGatewayId must be specified.")
	}
	err := r.Client.do(ctx, ec2, "AttachInternetGateway", &api.AttachInternetGatewayRequest{VpcId: &p.VpcId, InternetGatewayId: p.InternetGatewayId})
	if err == nil || !r.Resumed {
		return err
	}
	out, failed := call[api.DescribeInternetGatewaysResult](ctx, r.Client, ec2, "DescribeInternetGateways",
		&api.DescribeInternetGatewaysRequest{InternetGatewayIds: []string{*p.InternetGatewayId}})
	if failed == nil {
		for _, a := range out.InternetGateways[0].Attachments {
			if deref(a.VpcId) == p.VpcId {
				return nil
			}
		}
	}
	return err
}

func (r *Request) detachGateway(ctx context.Context, p *gatewayAttachment) error {
	if p.InternetGatewayId == nil {
		return nil
	}
	err := r.Client.without(ctx, step{ec2, "DetachInternetGateway",
		&api.DetachInternetGatewayRequest{VpcId: &p.VpcId, InternetGatewayId: p.InternetGatewayId}})
	if codeOf(err) == "Gateway.NotAttached" {
		return nil
	}
	return err
}

// natProperties are those of AWS::EC2::NatGateway.
type natProperties struct {
	SubnetId, AllocationId, ConnectivityType, PrivateIpAddress *string
	Tags                                                       tags
}

// natHandler handles AWS::EC2::NatGateway.
func natHandler() *Handler {
	return typed[natProperties]{
		schema: &stack.Schema{
			Type: "AWS::EC2::NatGateway", Attributes: []string{"NatGatewayId", "EniId"}, Taggable: "Tags",
			Properties: properties{
				"SubnetId": fixed(text()), "AllocationId": fixed(text()), "ConnectivityType": fixed(text()), "PrivateIpAddress": fixed(text()),
				"Tags": tagList(),
			},
		},
		create: createNAT,
		update: func(ctx context.Context, r *Request, old, p *natProperties) (Result, error) {
			if err := r.Client.each(ctx, r.retagObject(old.Tags, p.Tags)...); err != nil {
				return Result{}, err
			}
			return r.readyNAT(ctx, r.PhysicalID)
		},
		delete: func(ctx context.Context, r *Request, _ *natProperties) error { return r.removeNAT(ctx, r.PhysicalID) },
	}.handler()
}

func createNAT(ctx context.Context, r *Request, p *natProperties) (Result, error) {
	var res Result
	_, err := r.makeObject(ctx, newObject{
		kind: "natgateway", tags: p.Tags, remove: r.removeNAT,
		create: func(specs []api.TagSpecification) (*string, error) {
			out, err := call[api.CreateNatGatewayResult](ctx, r.Client, ec2, "CreateNatGateway", &api.CreateNatGatewayRequest{
				SubnetId: p.SubnetId, AllocationId: p.AllocationId, ConnectivityType: p.ConnectivityType, PrivateIpAddress: p.PrivateIpAddress,
				TagSpecifications: specs,
			})
			if err != nil {
				return nil, err
			}
			return out.NatGateway.NatGatewayId, nil
		},
		finish: func(id string) (err error) {
			res, err = r.readyNAT(ctx, id)
			return err
		},
	})
	return res, err
}

func (r *Request) describeNAT(ctx context.Context, id string) (*api.NatGateway, error) {
	out, err := call[api.DescribeNatGatewaysResult](ctx, r.Client, ec2, "DescribeNatGateways", &api.DescribeNatGatewaysRequest{NatGatewayIds: []string{id}})
	if err != nil {
		return nil, err
	}
	if len(out.NatGateways) == 0 {
		return &api.NatGateway{State: new(api.NatGatewayStateDeleted)}, nil
	}
	return &out.NatGateways[0], nil
}

// readyNAT waits until a NAT gateway is available.
func (r *Request) readyNAT(ctx context.Context, id string) (Result, error) {
	res := Result{PhysicalID: id, Attributes: map[string]any{"NatGatewayId": id}}
	return res, until(ctx, func() (bool, error) {
		g, err := r.describeNAT(ctx, id)
		if err != nil {
			return false, err
		}
		switch deref(g.State) {
		case api.NatGatewayStateFailed, api.NatGatewayStateDeleted, api.NatGatewayStateDeleting:
			return false, notStabilized("NatGateway %s is in state %s and hence failed to stabilize. Detailed failure message: %s",
				id, deref(g.State), deref(g.FailureMessage))
		}
		for _, a := range g.NatGatewayAddresses {
			res.Attributes["EniId"] = deref(a.NetworkInterfaceId)
		}
		return deref(g.State) == api.NatGatewayStateAvailable, nil
	})
}

// removeNAT deletes a NAT gateway and waits until it is gone, for what it
// stands in can only go then.
func (r *Request) removeNAT(ctx context.Context, id string) error {
	if err := r.Client.without(ctx, step{ec2, "DeleteNatGateway", &api.DeleteNatGatewayRequest{NatGatewayId: &id}}); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		g, err := r.describeNAT(ctx, id)
		if err != nil {
			return isNotFound(err), gone(err)
		}
		return deref(g.State) == api.NatGatewayStateDeleted, nil
	})
}
