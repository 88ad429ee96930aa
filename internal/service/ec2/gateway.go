package ec2

import (
	"context"
	"net/netip"
	"slices"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/wire"
)

func (s *Service) gatewayOps() []wire.Op {
	return []wire.Op{
		wire.Handle("AttachInternetGateway", s.AttachInternetGateway),
		wire.Handle("CreateInternetGateway", s.CreateInternetGateway),
		wire.Handle("CreateNatGateway", s.CreateNatGateway),
		wire.Handle("DeleteInternetGateway", s.DeleteInternetGateway),
		wire.Handle("DeleteNatGateway", s.DeleteNatGateway),
		wire.Handle("DescribeInternetGateways", s.DescribeInternetGateways),
		wire.Handle("DescribeNatGateways", s.DescribeNatGateways),
		wire.Handle("DescribeVpnGateways", s.DescribeVpnGateways),
		wire.Handle("DetachInternetGateway", s.DetachInternetGateway),
	}
}

// CreateInternetGateway makes an internet gateway that is in no VPC.
func (s *Service) CreateInternetGateway(ctx context.Context, call *wire.Call, in *api.CreateInternetGatewayRequest) (*api.CreateInternetGatewayResult, error) {
	out := &api.CreateInternetGatewayResult{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		if err := w.allowNew(network.KindInternetGateway, "", in.TagSpecifications); err != nil {
			return err
		}
		tags, err := w.newTags(network.KindInternetGateway, in.TagSpecifications)
		if err != nil {
			return err
		}
		g := &network.InternetGateway{Record: w.base(network.PrefixInternetGateway, "")}
		g.Tags = tags
		w.make(g)
		w.concerns(g)
		out.InternetGateway = new(shownInternetGateway(w, g))
		return nil
	})
}

// AttachInternetGateway puts an internet gateway into a VPC that has none.
func (s *Service) AttachInternetGateway(ctx context.Context, call *wire.Call, in *api.AttachInternetGatewayRequest) (*api.AttachInternetGatewayResponse, error) {
	out := &api.AttachInternetGatewayResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		g, err := w.internetGateway(*in.InternetGatewayId)
		if err != nil {
			return err
		}
		vpc, err := w.vpc(*in.VpcId)
		if err != nil {
			return err
		}
		if g.VPCID != "" {
			return fault.New(alreadyAssociated, "resource %s is already attached to network %s", g.ID, g.VPCID)
		}
		if w.gatewayOf(vpc.ID) != nil {
			return fault.New(invalidValue, "Network %s already has an internet gateway attached", vpc.ID)
		}
		g.VPCID = vpc.ID
		w.save(g)
		return nil
	})
}

// gatewayOf is the internet gateway of a VPC, or nil.
func (w *work) gatewayOf(vpcID string) *network.InternetGateway {
	for _, g := range w.InternetGateways {
		if g.VPCID == vpcID {
			return g
		}
	}
	return nil
}

// DetachInternetGateway takes an internet gateway out of its VPC, unless a
// NAT gateway there needs it.
func (s *Service) DetachInternetGateway(ctx context.Context, call *wire.Call, in *api.DetachInternetGatewayRequest) (*api.DetachInternetGatewayResponse, error) {
	out := &api.DetachInternetGatewayResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		g, err := w.internetGateway(*in.InternetGatewayId)
		if err != nil {
			return err
		}
		vpc, err := w.vpc(*in.VpcId)
		if err != nil {
			return err
		}
		if g.VPCID != vpc.ID {
			return fault.New(notAttached, "resource %s is not attached to network %s", g.ID, vpc.ID)
		}
		if slices.ContainsFunc(w.NATGateways, func(n *network.NATGateway) bool { return n.VPCID == vpc.ID && n.Public }) {
			return fault.New(dependency, "Network %s has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", vpc.ID)
		}
		g.VPCID = ""
		w.save(g)
		return nil
	})
}

// DeleteInternetGateway deletes an internet gateway that is in no VPC.
func (s *Service) DeleteInternetGateway(ctx context.Context, call *wire.Call, in *api.DeleteInternetGatewayRequest) (*api.DeleteInternetGatewayResponse, error) {
	out := &api.DeleteInternetGatewayResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		g, err := w.internetGateway(*in.InternetGatewayId)
		if err != nil {
			return err
		}
		if g.VPCID != "" {
			return dependent("internetGateway", g.ID)
		}
		w.remove(g)
		return nil
	})
}

func shownInternetGateway(w *work, g *network.InternetGateway) api.InternetGateway {
	out := api.InternetGateway{InternetGatewayId: &g.ID, OwnerId: &w.Account, Tags: shownTags(g.Tags), Attachments: []api.InternetGatewayAttachment{}}
	if g.VPCID != "" {
		out.Attachments = []api.InternetGatewayAttachment{{VpcId: &g.VPCID, State: new(network.StateAvailable)}}
	}
	return out
}

func internetGatewayFields(_ *work, g *network.InternetGateway, name string) ([]string, bool) {
	switch name {
	case "internet-gateway-id":
		return one(g.ID)
	case "attachment.vpc-id":
		if g.VPCID == "" {
			return nil, true
		}
		return one(g.VPCID)
	case "attachment.state":
		if g.VPCID == "" {
			return nil, true
		}
		return one(network.StateAvailable)
	}
	return nil, false
}

// DescribeInternetGateways lists internet gateways.
func (s *Service) DescribeInternetGateways(ctx context.Context, call *wire.Call, in *api.DescribeInternetGatewaysRequest) (out *api.DescribeInternetGatewaysResult, err error) {
	out = &api.DescribeInternetGatewaysResult{}
	out.InternetGateways, out.NextToken, err = describe(ctx, s, call, network.KindInternetGateway,
		query{in.InternetGatewayIds, in.Filters, in.MaxResults, in.NextToken, in.DryRun},
		func(w *work) []*network.InternetGateway { return w.InternetGateways }, internetGatewayFields, shownInternetGateway)
	return out, err
}

// CreateNatGateway makes a NAT gateway. A public one takes an elastic IP
// address by its allocation ID; addresses are no records here, so any ID of
// the right form will do that no other gateway has.
func (s *Service) CreateNatGateway(ctx context.Context, call *wire.Call, in *api.CreateNatGatewayRequest) (*api.CreateNatGatewayResult, error) {
	out := &api.CreateNatGatewayResult{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		if in.SubnetId == nil {
			return lacks("subnetId")
		}
		n := w.Subnet(*in.SubnetId)
		vpcID := ""
		if n != nil {
			vpcID = n.VPCID
		}
		if err := w.allowNew(network.KindNATGateway, vpcID, in.TagSpecifications); err != nil {
			return err
		}
		n, err := w.subnet(*in.SubnetId)
		if err != nil {
			return err
		}
		g, err := repeated(w.NATGateways, in.ClientToken, in)
		if err == nil && g == nil {
			g, err = w.newNAT(n, in)
		}
		if err != nil {
			return err
		}
		w.concerns(g)
		out.NatGateway, out.ClientToken = new(shownNAT(w, g)), in.ClientToken
		out.NatGateway.State = new(network.StatePending)
		return nil
	})
}

func (w *work) newNAT(n *network.Subnet, in *api.CreateNatGatewayRequest) (*network.NATGateway, error) {
	g := &network.NATGateway{Record: w.base(network.PrefixNATGateway, n.VPCID), SubnetID: n.ID, State: network.StateAvailable, Public: true}
	if text(in.ConnectivityType) == "private" {
		g.Public = false
	}
	var err error
	if g.Tags, err = w.newTags(network.KindNATGateway, in.TagSpecifications); err != nil {
		return nil, err
	}
	if g.Public {
		if err := w.checkAllocation(n, in.AllocationId); err != nil {
			return nil, err
		}
		g.AllocationID = *in.AllocationId
		g.PublicIP = publicIP(g.ID)
	} else if in.AllocationId != nil {
		return nil, fault.New(invalidParameter, "AllocationId is not supported for private NAT gateways") // text assumed
	}
	face := w.AddInterface(n, network.InterfaceOfNAT, "Interface for NAT Gateway "+g.ID, g.ID, nil, w.now)
	if face == nil {
		return nil, full(n)
	}
	g.InterfaceID, g.PrivateIP = face.ID, face.Address
	remember(&g.Record, in.ClientToken, in)
	w.make(g)
	w.save(face)
	return g, nil
}

// full says that a subnet has no free address (AWS: recorded).
func full(n *network.Subnet) error {
	return fault.New(noFreeAddress, "There are not enough free addresses in subnet '%s' to satisfy the requested number of interfaces.", n.ID)
}

func (w *work) checkAllocation(n *network.Subnet, id *string) error {
	if text(id) == "" {
		return fault.New(missingParameter, "The request must include the AllocationId parameter. Add the required parameter and retry the request.")
	}
	if !network.IsID(network.PrefixAllocation, *id) {
		return fault.New(allocationMissing, "The allocation ID '%s' does not exist", *id)
	}
	if slices.ContainsFunc(w.NATGateways, func(g *network.NATGateway) bool { return g.AllocationID == *id }) {
		return fault.New(alreadyAssociated, "Elastic IP address [%s] is already associated", *id)
	}
	if w.gatewayOf(n.VPCID) == nil {
		return fault.New(notAttached, "Network %s has no Internet gateway attached", n.VPCID)
	}
	return nil
}

// publicIP is the address that a public NAT gateway shows: one of those kept
// for documentation, as nothing here has a public address.
func publicIP(id string) netip.Addr {
	last := byte(0)
	for _, c := range []byte(id) {
		last = last*31 + c
	}
	return netip.AddrFrom4([4]byte{203, 0, 113, last})
}

// DeleteNatGateway deletes a NAT gateway; routes to it stay and lead nowhere.
func (s *Service) DeleteNatGateway(ctx context.Context, call *wire.Call, in *api.DeleteNatGatewayRequest) (*api.DeleteNatGatewayResult, error) {
	out := &api.DeleteNatGatewayResult{NatGatewayId: in.NatGatewayId}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		g, err := get(w, w.NATGateways, network.KindNATGateway, *in.NatGatewayId)
		if err != nil {
			return err
		}
		if face := w.Interface(g.InterfaceID); face != nil {
			w.remove(face)
		}
		w.remove(g)
		return nil
	})
}

func shownNAT(_ *work, g *network.NATGateway) api.NatGateway {
	connectivity := "private"
	address := api.NatGatewayAddress{NetworkInterfaceId: &g.InterfaceID, PrivateIp: new(g.PrivateIP.String()), IsPrimary: new(true), Status: new("succeeded")}
	if g.Public {
		connectivity = "public"
		address.AllocationId, address.PublicIp = &g.AllocationID, new(g.PublicIP.String())
	}
	return api.NatGateway{
		NatGatewayId: &g.ID, VpcId: &g.VPCID, SubnetId: &g.SubnetID, State: &g.State, CreateTime: &g.CreatedAt, ConnectivityType: &connectivity,
		NatGatewayAddresses: []api.NatGatewayAddress{address}, Tags: shownTags(g.Tags),
	}
}

func natFields(_ *work, g *network.NATGateway, name string) ([]string, bool) {
	switch name {
	case "nat-gateway-id":
		return one(g.ID)
	case "state":
		return one(g.State)
	case "subnet-id":
		return one(g.SubnetID)
	}
	return nil, false
}

// DescribeNatGateways lists NAT gateways.
func (s *Service) DescribeNatGateways(ctx context.Context, call *wire.Call, in *api.DescribeNatGatewaysRequest) (out *api.DescribeNatGatewaysResult, err error) {
	out = &api.DescribeNatGatewaysResult{}
	out.NatGateways, out.NextToken, err = describe(ctx, s, call, network.KindNATGateway, query{in.NatGatewayIds, in.Filter, in.MaxResults, in.NextToken, in.DryRun},
		func(w *work) []*network.NATGateway { return w.NATGateways }, natFields, shownNAT)
	return out, err
}

// vpnFilters are the filters of DescribeVpnGateways beside those about tags
// (AWS docs).
var vpnFilters = []string{"amazon-side-asn", "attachment.state", "attachment.vpc-id", "availability-zone", "state", "type", "vpn-gateway-id"}

// DescribeVpnGateways lists none: there are no VPN gateways here. What looks
// a VPC up asks for them.
func (s *Service) DescribeVpnGateways(_ context.Context, call *wire.Call, in *api.DescribeVpnGatewaysRequest) (*api.DescribeVpnGatewaysResult, error) {
	if err := unauthorized(s.Guard.Action(call, "")); err != nil {
		return nil, err
	}
	if err := refuseDry(in.DryRun); err != nil {
		return nil, err
	}
	if len(in.VpnGatewayIds) > 0 {
		return nil, fault.New(vpnMissing, "The vpnGateway ID '%s' does not exist", in.VpnGatewayIds[0])
	}
	_, err := passes(in.Filters, func(name string) ([]string, bool) {
		if slices.Contains(vpnFilters, name) {
			return nil, true
		}
		return tagFields(nil, name)
	})
	return &api.DescribeVpnGatewaysResult{VpnGateways: []api.VpnGateway{}}, err
}
