package ec2

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/wire"
)

func (s *Service) routeTableOps() []wire.Op {
	return []wire.Op{
		wire.Handle("AssociateRouteTable", s.AssociateRouteTable),
		wire.Handle("CreateRoute", s.CreateRoute),
		wire.Handle("CreateRouteTable", s.CreateRouteTable),
		wire.Handle("DeleteRoute", s.DeleteRoute),
		wire.Handle("DeleteRouteTable", s.DeleteRouteTable),
		wire.Handle("DescribeRouteTables", s.DescribeRouteTables),
		wire.Handle("DisassociateRouteTable", s.DisassociateRouteTable),
		wire.Handle("ReplaceRoute", s.ReplaceRoute),
		wire.Handle("ReplaceRouteTableAssociation", s.ReplaceRouteTableAssociation),
	}
}

// CreateRouteTable makes a route table with the local route.
func (s *Service) CreateRouteTable(ctx context.Context, call *wire.Call, in *api.CreateRouteTableRequest) (*api.CreateRouteTableResult, error) {
	out := &api.CreateRouteTableResult{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		if err := w.allowNew(network.KindRouteTable, *in.VpcId, in.TagSpecifications); err != nil {
			return err
		}
		vpc, err := w.vpc(*in.VpcId)
		if err != nil {
			return err
		}
		t, err := repeated(w.RouteTables, in.ClientToken, in)
		if err != nil {
			return err
		}
		if t == nil {
			tags, err := w.newTags(network.KindRouteTable, in.TagSpecifications)
			if err != nil {
				return err
			}
			t = &network.RouteTable{
				Record: w.base(network.PrefixRouteTable, vpc.ID),
				Routes: []network.Route{{Destination: vpc.CIDR, Target: network.Local, Origin: api.RouteOriginCreateRouteTable}},
			}
			t.Tags = tags
			remember(&t.Record, in.ClientToken, in)
			w.make(t)
		}
		w.concerns(t)
		out.RouteTable, out.ClientToken = new(shownTable(w, t)), in.ClientToken
		return nil
	})
}

// DeleteRouteTable deletes a route table that no subnet has.
func (s *Service) DeleteRouteTable(ctx context.Context, call *wire.Call, in *api.DeleteRouteTableRequest) (*api.DeleteRouteTableResponse, error) {
	out := &api.DeleteRouteTableResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		t, err := w.routeTable(*in.RouteTableId)
		if err != nil {
			return err
		}
		used := slices.ContainsFunc(w.Endpoints, func(e *network.Endpoint) bool { return slices.Contains(e.RouteTableIDs, t.ID) })
		if used || len(t.Associations) > 0 {
			return dependent("routeTable", t.ID)
		}
		w.remove(t)
		return nil
	})
}

// hop is where a request leads packets.
type hop struct {
	gateway, nat, face, peering, transit, endpoint *string
	others                                         []*string
}

// target checks the one target that a route has.
func (w *work) target(t *network.RouteTable, h hop) (string, error) {
	for _, other := range h.others {
		if other != nil {
			return "", fault.New(invalidValue, "Routes lead to internet gateways, NAT gateways, network interfaces, peering connections and transit gateways here.")
		}
	}
	var given []string
	for _, id := range []*string{h.gateway, h.nat, h.face, h.peering, h.transit, h.endpoint} {
		if text(id) != "" {
			given = append(given, *id)
		}
	}
	if len(given) != 1 {
		return "", fault.New(invalidCombination, "The parameters gatewayId, natGatewayId, networkInterfaceId, vpcPeeringConnectionId, transitGatewayId and vpcEndpointId are mutually exclusive, and one is required.") // text assumed
	}
	id := given[0]
	var o network.Object
	absent := missing(network.KindInterface, id)
	switch {
	case text(h.gateway) != "":
		absent = fault.New(gatewayMissing, "The gateway ID '%s' does not exist", id)
		if g := w.InternetGateway(id); g != nil {
			o = g
		}
	case text(h.nat) != "":
		absent = fault.New(natTargetMissing, "The natGateway ID '%s' does not exist", id)
		if g := w.NATGateway(id); g != nil {
			o = g
		}
	case text(h.face) != "":
		if i := w.Interface(id); i != nil {
			o = i
		}
	case text(h.endpoint) != "":
		absent = missing(network.KindEndpoint, id)
		if e := w.Endpoint(id); e != nil {
			o = e
		}
	default:
		return id, nil // peering connections and transit gateways are no records
	}
	if o == nil {
		return "", absent
	}
	if o.Base().VPCID != t.VPCID {
		return "", fault.New(invalidValue, "route table %s and network gateway %s belong to different networks", t.ID, id)
	}
	return id, nil
}

// destination reads where a route leads.
func destination(cidr, ipv6, list *string) (netip.Prefix, error) {
	if ipv6 != nil || list != nil {
		return netip.Prefix{}, fault.New(invalidValue, "Destinations of routes are IPv4 blocks here.")
	}
	if cidr == nil {
		return netip.Prefix{}, lacks("destinationCidrBlock")
	}
	return parseCIDR(*cidr, "destinationCidrBlock")
}

// maxRoutes is how many routes a table may have (AWS docs: the quota's
// default).
const maxRoutes = 500

// CreateRoute adds a route.
func (s *Service) CreateRoute(ctx context.Context, call *wire.Call, in *api.CreateRouteRequest) (*api.CreateRouteResult, error) {
	out := &api.CreateRouteResult{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		t, err := w.routeTable(*in.RouteTableId)
		if err != nil {
			return err
		}
		to, err := destination(in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
		if err != nil {
			return err
		}
		target, err := w.target(t, hop{
			in.GatewayId, in.NatGatewayId, in.NetworkInterfaceId, in.VpcPeeringConnectionId, in.TransitGatewayId, in.VpcEndpointId,
			[]*string{in.InstanceId, in.LocalGatewayId, in.CarrierGatewayId, in.CoreNetworkArn, in.OdbNetworkArn, in.EgressOnlyInternetGatewayId},
		})
		if err != nil {
			return err
		}
		if i := t.Route(to); i >= 0 {
			if t.Routes[i].Target == target {
				out.Return = new(true) // AWS: recorded
				return nil
			}
			return fault.New(routeExists, "The route identified by %s already exists.", to)
		}
		if len(t.Routes) >= maxRoutes {
			return fault.New(tooManyRoutes, "The maximum number of routes has been reached.")
		}
		t.Routes = append(t.Routes, network.Route{Destination: to, Target: target, Origin: api.RouteOriginCreateRoute})
		w.save(t)
		out.Return = new(true)
		return nil
	})
}

// ReplaceRoute changes where a route leads.
func (s *Service) ReplaceRoute(ctx context.Context, call *wire.Call, in *api.ReplaceRouteRequest) (*api.ReplaceRouteResponse, error) {
	out := &api.ReplaceRouteResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		t, err := w.routeTable(*in.RouteTableId)
		if err != nil {
			return err
		}
		i, err := w.existing(t, in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
		if err != nil {
			return err
		}
		target, err := w.target(t, hop{
			in.GatewayId, in.NatGatewayId, in.NetworkInterfaceId, in.VpcPeeringConnectionId, in.TransitGatewayId, in.VpcEndpointId,
			[]*string{in.InstanceId, in.LocalGatewayId, in.CarrierGatewayId, in.CoreNetworkArn, in.OdbNetworkArn, in.EgressOnlyInternetGatewayId},
		})
		if err != nil {
			return err
		}
		t.Routes[i].Target = target
		w.save(t)
		return nil
	})
}

// existing finds the route that a request names; the local one stays as it
// is.
func (w *work) existing(t *network.RouteTable, cidr, ipv6, list *string) (int, error) {
	to, err := destination(cidr, ipv6, list)
	if err != nil {
		return 0, err
	}
	i := t.Route(to)
	if i < 0 {
		return 0, fault.New(routeMissing, "no route with destination-cidr-block %s in route table %s", to, t.ID)
	}
	if t.Routes[i].Target == network.Local {
		return 0, fault.New(invalidValue, "cannot remove local route %s in route table %s", to, t.ID)
	}
	return i, nil
}

// DeleteRoute removes a route.
func (s *Service) DeleteRoute(ctx context.Context, call *wire.Call, in *api.DeleteRouteRequest) (*api.DeleteRouteResponse, error) {
	out := &api.DeleteRouteResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		t, err := w.routeTable(*in.RouteTableId)
		if err != nil {
			return err
		}
		i, err := w.existing(t, in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
		if err != nil {
			return err
		}
		t.Routes = slices.Delete(t.Routes, i, i+1)
		w.save(t)
		return nil
	})
}

// associated is the state of every association.
func associated() *api.RouteTableAssociationState {
	return &api.RouteTableAssociationState{State: new("associated")}
}

// AssociateRouteTable gives a subnet a route table.
func (s *Service) AssociateRouteTable(ctx context.Context, call *wire.Call, in *api.AssociateRouteTableRequest) (*api.AssociateRouteTableResult, error) {
	out := &api.AssociateRouteTableResult{AssociationState: associated()}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		t, err := w.routeTable(*in.RouteTableId)
		if err != nil {
			return err
		}
		if in.SubnetId == nil {
			return lacks("subnetId")
		}
		n, err := w.subnet(*in.SubnetId)
		if err != nil {
			return err
		}
		if n.VPCID != t.VPCID {
			return fault.New(invalidParameter, "Route table %s and subnet %s belong to different networks", t.ID, n.ID)
		}
		for _, other := range w.RouteTables {
			i := slices.IndexFunc(other.Associations, func(a network.RouteAssociation) bool { return a.SubnetID == n.ID })
			if i >= 0 && other == t {
				out.AssociationId = &t.Associations[i].ID
				return nil
			}
			if i >= 0 {
				return fault.New(alreadyAssociated, "the specified association for route table %s conflicts with an existing association", t.ID)
			}
		}
		a := network.RouteAssociation{ID: network.NewID(network.PrefixRouteAssociation), SubnetID: n.ID}
		t.Associations = append(t.Associations, a)
		w.save(t)
		out.AssociationId = &a.ID
		return nil
	})
}

// association finds an association and its route table, authorised for the
// call.
func (w *work) association(id string) (*network.RouteTable, int, error) {
	for _, t := range w.RouteTables {
		if i := slices.IndexFunc(t.Associations, func(a network.RouteAssociation) bool { return a.ID == id }); i >= 0 {
			return t, i, w.allow(network.KindRouteTable, t.ID, t)
		}
	}
	if err := w.allow(network.KindRouteTable, "*", nil); err != nil {
		return nil, 0, err
	}
	return nil, 0, fault.New(associationMissing, "The association ID '%s' does not exist", id)
}

// DisassociateRouteTable gives a subnet back to the main route table.
func (s *Service) DisassociateRouteTable(ctx context.Context, call *wire.Call, in *api.DisassociateRouteTableRequest) (*api.DisassociateRouteTableResponse, error) {
	out := &api.DisassociateRouteTableResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		t, i, err := w.association(*in.AssociationId)
		if err != nil {
			return err
		}
		if t.Associations[i].Main {
			return fault.New(invalidValue, "cannot disassociate the main route table association %s", *in.AssociationId)
		}
		t.Associations = slices.Delete(t.Associations, i, i+1)
		w.save(t)
		return nil
	})
}

// ReplaceRouteTableAssociation gives a subnet, or the VPC as its main one,
// another route table.
func (s *Service) ReplaceRouteTableAssociation(ctx context.Context, call *wire.Call, in *api.ReplaceRouteTableAssociationRequest) (*api.ReplaceRouteTableAssociationResult, error) {
	out := &api.ReplaceRouteTableAssociationResult{AssociationState: associated()}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		to, err := w.routeTable(*in.RouteTableId)
		if err != nil {
			return err
		}
		from, i, err := w.association(*in.AssociationId)
		if err != nil {
			return err
		}
		if from.VPCID != to.VPCID {
			return fault.New(invalidParameter, "Route table %s and route table %s belong to different networks", from.ID, to.ID)
		}
		moved := from.Associations[i]
		moved.ID = network.NewID(network.PrefixRouteAssociation)
		from.Associations = slices.Delete(from.Associations, i, i+1)
		to.Associations = append(to.Associations, moved)
		w.save(from, to)
		out.NewAssociationId = &moved.ID
		return nil
	})
}

func shownTable(w *work, t *network.RouteTable) api.RouteTable {
	out := api.RouteTable{
		RouteTableId: &t.ID, VpcId: &t.VPCID, OwnerId: &w.Account, Tags: shownTags(t.Tags), PropagatingVgws: []api.PropagatingVgw{},
		Routes: []api.Route{}, Associations: []api.RouteTableAssociation{},
	}
	for _, r := range t.Routes {
		out.Routes = append(out.Routes, shownRoute(w, t, r))
	}
	for _, a := range t.Associations {
		out.Associations = append(out.Associations, api.RouteTableAssociation{
			RouteTableAssociationId: &a.ID, RouteTableId: &t.ID, SubnetId: optional(a.SubnetID), Main: &a.Main, AssociationState: associated(),
		})
	}
	return out
}

func shownRoute(w *work, t *network.RouteTable, r network.Route) api.Route {
	out := api.Route{Origin: &r.Origin, State: new(routeState(w, t, r)), DestinationPrefixListId: optional(r.PrefixListID)}
	if r.Destination.IsValid() {
		out.DestinationCidrBlock = new(r.Destination.String())
	}
	*targetField(&out, r.Target) = &r.Target
	return out
}

// targetField is the member of a route that shows its target.
func targetField(r *api.Route, id string) **string {
	prefix, _, _ := strings.Cut(id, "-")
	switch prefix {
	case network.PrefixNATGateway:
		return &r.NatGatewayId
	case network.PrefixInterface:
		return &r.NetworkInterfaceId
	case "pcx":
		return &r.VpcPeeringConnectionId
	case "tgw":
		return &r.TransitGatewayId
	}
	return &r.GatewayId
}

func routeState(w *work, t *network.RouteTable, r network.Route) string {
	if w.Blackhole(t, r) {
		return api.RouteStateBlackhole
	}
	return api.RouteStateActive
}

func tableFields(w *work, t *network.RouteTable, name string) ([]string, bool) {
	if name == "route-table-id" {
		return one(t.ID)
	}
	var values []string
	if of, ok := strings.CutPrefix(name, "association."); ok {
		for _, a := range t.Associations {
			v := map[string]string{"route-table-association-id": a.ID, "route-table-id": t.ID, "subnet-id": a.SubnetID, "main": "false"}[of]
			if of == "main" && a.Main {
				v = "true"
			}
			values = append(values, v)
		}
		return values, slices.Contains([]string{"route-table-association-id", "route-table-id", "subnet-id", "main"}, of)
	}
	of, ok := strings.CutPrefix(name, "route.")
	if !ok {
		return nil, false
	}
	for _, r := range t.Routes {
		v, known := routeField(w, t, r, of)
		if !known {
			return nil, false
		}
		values = append(values, v)
	}
	return values, true
}

// routeField is a route's value for a filter (AWS docs).
func routeField(w *work, t *network.RouteTable, r network.Route, name string) (string, bool) {
	shown := shownRoute(w, t, r)
	switch name {
	case "destination-cidr-block":
		return text(shown.DestinationCidrBlock), true
	case "destination-prefix-list-id":
		return r.PrefixListID, true
	case "gateway-id":
		return text(shown.GatewayId), true
	case "nat-gateway-id":
		return text(shown.NatGatewayId), true
	case "transit-gateway-id":
		return text(shown.TransitGatewayId), true
	case "vpc-peering-connection-id":
		return text(shown.VpcPeeringConnectionId), true
	case "origin":
		return r.Origin, true
	case "state":
		return *shown.State, true
	}
	return "", false
}

// DescribeRouteTables lists route tables.
func (s *Service) DescribeRouteTables(ctx context.Context, call *wire.Call, in *api.DescribeRouteTablesRequest) (out *api.DescribeRouteTablesResult, err error) {
	out = &api.DescribeRouteTablesResult{}
	out.RouteTables, out.NextToken, err = describe(ctx, s, call, network.KindRouteTable, query{in.RouteTableIds, in.Filters, in.MaxResults, in.NextToken, in.DryRun},
		func(w *work) []*network.RouteTable { return w.RouteTables }, tableFields, shownTable)
	return out, err
}
