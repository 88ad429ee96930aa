package ec2

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/wire"
)

func (s *Service) endpointOps() []wire.Op {
	return []wire.Op{
		wire.Handle("CreateVpcEndpoint", s.CreateVpcEndpoint),
		wire.Handle("DeleteVpcEndpoints", s.DeleteVpcEndpoints),
		wire.Handle("DescribeVpcEndpoints", s.DescribeVpcEndpoints),
		wire.Handle("ModifyVpcEndpoint", s.ModifyVpcEndpoint),
	}
}

// policyText checks the policy of an endpoint; without one it is the default.
func policyText(given *string) (string, error) {
	if text(given) == "" {
		return network.DefaultEndpointPolicy, nil
	}
	d, err := iam.ParseDocument(*given)
	if err == nil {
		err = d.CheckResource()
	}
	if err == nil {
		_, err = iam.Compile(d, "endpoint")
	}
	if err != nil {
		return "", fault.New(invalidPolicy, "The policy document is invalid.").Because(err) // text assumed
	}
	return *given, nil
}

// CreateVpcEndpoint makes an endpoint: an interface in each of the subnets,
// or a route in each of the route tables.
func (s *Service) CreateVpcEndpoint(ctx context.Context, call *wire.Call, in *api.CreateVpcEndpointRequest) (*api.CreateVpcEndpointResult, error) {
	out := &api.CreateVpcEndpointResult{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		vpc, err := w.endpointVPC(in)
		if err != nil {
			return err
		}
		e, err := repeated(w.Endpoints, in.ClientToken, in)
		if err == nil && e == nil {
			e, err = w.newEndpoint(vpc, in)
		}
		if err != nil {
			return err
		}
		w.concerns(e)
		out.VpcEndpoint, out.ClientToken = new(shownEndpoint(w, e)), in.ClientToken
		if e.Type == network.Interfaced {
			out.VpcEndpoint.State = new(network.StatePending)
		}
		return nil
	})
}

// endpointVPC finds the VPC of a new endpoint. The call is authorised on all
// that it concerns (AWS docs).
func (w *work) endpointVPC(in *api.CreateVpcEndpointRequest) (*network.VPC, error) {
	vpc := w.VPC(*in.VpcId)
	if err := w.allowNew(network.KindEndpoint, *in.VpcId, in.TagSpecifications); err != nil {
		return nil, err
	}
	if err := w.allowAll(concerned{network.KindVPC, []string{*in.VpcId}}, concerned{network.KindSubnet, in.SubnetIds},
		concerned{network.KindGroup, in.SecurityGroupIds}, concerned{network.KindRouteTable, in.RouteTableIds}); err != nil {
		return nil, err
	}
	if vpc == nil {
		return nil, fault.New(endpointVPCMissing, "The Vpc Id %s does not exist", *in.VpcId)
	}
	return vpc, nil
}

func (w *work) newEndpoint(vpc *network.VPC, in *api.CreateVpcEndpointRequest) (*network.Endpoint, error) {
	if text(in.ServiceName) == "" {
		return nil, lacks("serviceName")
	}
	service, ok := findService(w.Region, *in.ServiceName)
	if !ok {
		return nil, fault.New(invalidServiceName, "The Vpc Endpoint Service '%s' does not exist", *in.ServiceName)
	}
	e := &network.Endpoint{
		Record: w.base(network.PrefixEndpoint, vpc.ID), Service: *in.ServiceName, Type: cmp.Or(text(in.VpcEndpointType), network.Gateway), State: network.StateAvailable,
		Label: strings.ToLower(rand.Text()[:8]),
	}
	if !slices.Contains(service.types(), e.Type) {
		return nil, fault.New(invalidParameter, "Endpoint type (%s) does not match available service types ([%s]).", e.Type, strings.Join(service.types(), ", "))
	}
	if t := text(in.IpAddressType); t != "" && t != api.IpAddressTypeIpv4 {
		return nil, fault.New(invalidParameter, "Only the IP address type ipv4 is supported here.")
	}
	var err error
	if e.Policy, err = policyText(in.PolicyDocument); err != nil {
		return nil, err
	}
	if e.Tags, err = w.newTags(network.KindEndpoint, in.TagSpecifications); err != nil {
		return nil, err
	}
	remember(&e.Record, in.ClientToken, in)
	w.make(e)
	if e.Type == network.Gateway {
		if len(in.SubnetIds) > 0 || len(in.SecurityGroupIds) > 0 || on(in.PrivateDnsEnabled) {
			return nil, fault.New(invalidParameter, "Subnets, security groups and private DNS are only supported for Interface type VPC Endpoints.") // text assumed
		}
		return e, w.addTables(e, in.RouteTableIds)
	}
	if len(in.RouteTableIds) > 0 {
		return nil, fault.New(invalidParameter, "Route table IDs are only supported for Gateway type VPC Endpoint.") // text assumed
	}
	groups := in.SecurityGroupIds
	if len(groups) == 0 {
		groups = []string{w.DefaultGroup(vpc.ID).ID}
	}
	if err := w.addGroups(e, groups); err != nil {
		return nil, err
	}
	if err := w.setPrivateDNS(e, vpc, in.PrivateDnsEnabled == nil || *in.PrivateDnsEnabled); err != nil {
		return nil, err
	}
	return e, w.addSubnets(e, in.SubnetIds)
}

// setPrivateDNS makes the service's regional name stand for the endpoint in
// its VPC, which allows one endpoint to do so.
func (w *work) setPrivateDNS(e *network.Endpoint, vpc *network.VPC, enabled bool) error {
	e.PrivateDNS = enabled
	if !enabled {
		return nil
	}
	if !vpc.DNSSupport || !vpc.DNSHostnames {
		return fault.New(invalidParameter, "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for %s", vpc.ID)
	}
	for _, other := range w.Endpoints {
		if other != e && other.VPCID == vpc.ID && other.Service == e.Service && other.PrivateDNS {
			return fault.New(invalidParameter, "private-dns-enabled cannot be set because there is already a conflicting DNS domain for %s in the VPC %s",
				privateName(w.Region, e.Service), vpc.ID)
		}
	}
	return nil
}

// addSubnets puts an interface of the endpoint into subnets, one in each
// zone.
func (w *work) addSubnets(e *network.Endpoint, ids []string) error {
	for _, id := range ids {
		n := w.Subnet(id)
		if n == nil {
			return fault.New(endpointNetMissing, "The subnet ID '%s' does not exist", id)
		}
		if n.VPCID != e.VPCID {
			return fault.New(invalidParameter, "Subnet %s does not belong to VPC %s", n.ID, e.VPCID) // text assumed
		}
		for _, other := range e.SubnetIDs {
			if o := w.Subnet(other); o != nil && o.Zone == n.Zone {
				return fault.New(duplicateZone, "Found another VPC endpoint subnet in the availability zone of %s. "+
					"VPC endpoint subnets should be in different availability zones supported by the VPC endpoint service.", n.ID)
			}
		}
		face := w.AddInterface(n, network.InterfaceOfEndpoint, "VPC Endpoint Interface "+e.ID, e.ID, e.GroupIDs, w.now)
		if face == nil {
			return full(n)
		}
		e.SubnetIDs, e.InterfaceIDs = append(e.SubnetIDs, n.ID), append(e.InterfaceIDs, face.ID)
		w.save(face)
	}
	return nil
}

// addGroups puts the endpoint's interfaces into security groups.
func (w *work) addGroups(e *network.Endpoint, ids []string) error {
	for _, id := range ids {
		g := w.Group(id)
		if g == nil {
			return fault.New(endpointGroupMissing, "The security group '%s' does not exist", id)
		}
		if g.VPCID != e.VPCID {
			return fault.New(invalidParameter, "Security group %s and VPC %s belong to different networks", g.ID, e.VPCID) // text assumed
		}
		if !slices.Contains(e.GroupIDs, id) {
			e.GroupIDs = append(e.GroupIDs, id)
		}
	}
	w.regroup(e)
	return nil
}

// regroup gives the endpoint's interfaces its groups.
func (w *work) regroup(e *network.Endpoint) {
	for _, id := range e.InterfaceIDs {
		if face := w.Interface(id); face != nil {
			face.GroupIDs = slices.Clone(e.GroupIDs)
			w.save(face)
		}
	}
}

// addTables adds the route to a gateway endpoint to route tables.
func (w *work) addTables(e *network.Endpoint, ids []string) error {
	for _, id := range ids {
		t := w.RouteTable(id)
		if t == nil {
			return fault.New(endpointTableMissing, "The routeTable ID '%s' does not exist", id)
		}
		if t.VPCID != e.VPCID {
			return fault.New(invalidParameter, "Route table %s and VPC %s belong to different networks", t.ID, e.VPCID) // text assumed
		}
		if slices.Contains(e.RouteTableIDs, id) {
			continue
		}
		e.RouteTableIDs = append(e.RouteTableIDs, id)
		for _, l := range prefixLists(w.Region) {
			if l.name == e.Service {
				t.Routes = append(t.Routes, network.Route{PrefixListID: l.id, Target: e.ID, Origin: api.RouteOriginCreateRoute})
			}
		}
		w.save(t)
	}
	return nil
}

// dropTables takes the endpoint's route out of route tables.
func (w *work) dropTables(e *network.Endpoint, ids []string) {
	e.RouteTableIDs = slices.DeleteFunc(e.RouteTableIDs, func(id string) bool { return slices.Contains(ids, id) })
	for _, id := range ids {
		if t := w.RouteTable(id); t != nil {
			t.Routes = slices.DeleteFunc(t.Routes, func(r network.Route) bool { return r.Target == e.ID })
			w.save(t)
		}
	}
}

// dropSubnets takes the endpoint's interfaces out of subnets.
func (w *work) dropSubnets(e *network.Endpoint, ids []string) error {
	for _, id := range ids {
		i := slices.Index(e.SubnetIDs, id)
		if i < 0 {
			return fault.New(endpointNetMissing, "The subnet ID '%s' does not exist", id)
		}
		if face := w.Interface(e.InterfaceIDs[i]); face != nil {
			w.remove(face)
		}
		e.SubnetIDs, e.InterfaceIDs = slices.Delete(e.SubnetIDs, i, i+1), slices.Delete(e.InterfaceIDs, i, i+1)
	}
	return nil
}

// ModifyVpcEndpoint changes an endpoint's policy, subnets, security groups,
// route tables and private DNS. The call is authorised on all that it adds
// and removes, too (AWS docs).
func (s *Service) ModifyVpcEndpoint(ctx context.Context, call *wire.Call, in *api.ModifyVpcEndpointRequest) (*api.ModifyVpcEndpointResult, error) {
	out := &api.ModifyVpcEndpointResult{Return: new(true)}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		e, err := get(w, w.Endpoints, network.KindEndpoint, *in.VpcEndpointId)
		if err != nil {
			return err
		}
		if err := w.allowAll(concerned{network.KindSubnet, slices.Concat(in.AddSubnetIds, in.RemoveSubnetIds)},
			concerned{network.KindGroup, slices.Concat(in.AddSecurityGroupIds, in.RemoveSecurityGroupIds)},
			concerned{network.KindRouteTable, slices.Concat(in.AddRouteTableIds, in.RemoveRouteTableIds)}); err != nil {
			return err
		}
		w.save(e)
		if in.PolicyDocument != nil || on(in.ResetPolicy) {
			policy := in.PolicyDocument
			if on(in.ResetPolicy) {
				policy = nil
			}
			if e.Policy, err = policyText(policy); err != nil {
				return err
			}
		}
		if t := text(in.IpAddressType); t != "" && t != api.IpAddressTypeIpv4 {
			return fault.New(invalidParameter, "Only the IP address type ipv4 is supported here.")
		}
		if e.Type == network.Gateway {
			if len(in.AddSubnetIds)+len(in.RemoveSubnetIds)+len(in.AddSecurityGroupIds)+len(in.RemoveSecurityGroupIds) > 0 || in.PrivateDnsEnabled != nil {
				return fault.New(invalidParameter, "Subnets, security groups and private DNS are only supported for Interface type VPC Endpoints.") // text assumed
			}
			w.dropTables(e, in.RemoveRouteTableIds)
			return w.addTables(e, in.AddRouteTableIds)
		}
		return w.modifyInterfaces(e, in)
	})
}

func (w *work) modifyInterfaces(e *network.Endpoint, in *api.ModifyVpcEndpointRequest) error {
	if len(in.AddRouteTableIds)+len(in.RemoveRouteTableIds) > 0 {
		return fault.New(invalidParameter, "Route table IDs are only supported for Gateway type VPC Endpoint.") // text assumed
	}
	if err := w.addGroups(e, in.AddSecurityGroupIds); err != nil {
		return err
	}
	e.GroupIDs = slices.DeleteFunc(e.GroupIDs, func(id string) bool { return slices.Contains(in.RemoveSecurityGroupIds, id) })
	if len(e.GroupIDs) == 0 {
		return fault.New(invalidParameter, "At least one security group must be associated with the VPC endpoint %s", e.ID) // text assumed
	}
	w.regroup(e)
	if err := w.dropSubnets(e, in.RemoveSubnetIds); err != nil {
		return err
	}
	if err := w.addSubnets(e, in.AddSubnetIds); err != nil {
		return err
	}
	if in.PrivateDnsEnabled == nil {
		return nil
	}
	return w.setPrivateDNS(e, w.VPC(e.VPCID), *in.PrivateDnsEnabled)
}

// DeleteVpcEndpoints deletes endpoints, and says of those that do not exist
// that they do not.
func (s *Service) DeleteVpcEndpoints(ctx context.Context, call *wire.Call, in *api.DeleteVpcEndpointsRequest) (*api.DeleteVpcEndpointsResult, error) {
	out := &api.DeleteVpcEndpointsResult{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		out.Unsuccessful = []api.UnsuccessfulItem{}
		for _, id := range in.VpcEndpointIds {
			e, err := get(w, w.Endpoints, network.KindEndpoint, id)
			if fault.Is(err, absences[network.KindEndpoint].kind) {
				out.Unsuccessful = append(out.Unsuccessful, api.UnsuccessfulItem{ResourceId: &id, Error: &api.UnsuccessfulItemError{
					Code: new(string(absences[network.KindEndpoint].kind)), Message: new("The Vpc Endpoint Id '" + id + "' does not exist"),
				}})
				continue
			}
			if err != nil {
				return err
			}
			w.dropTables(e, slices.Clone(e.RouteTableIDs))
			if err := w.dropSubnets(e, slices.Clone(e.SubnetIDs)); err != nil {
				return err
			}
			w.remove(e)
		}
		return nil
	})
}

// zoneOfNames is the hosted zone that answers show for endpoints' names
// (assumed but for its form).
const zoneOfNames = "Z7HUB22UULQXV"

func shownEndpoint(w *work, e *network.Endpoint) api.VpcEndpoint {
	out := api.VpcEndpoint{
		VpcEndpointId: &e.ID, VpcEndpointType: &e.Type, VpcId: &e.VPCID, ServiceName: &e.Service, State: &e.State, PolicyDocument: &e.Policy,
		RouteTableIds: append([]string{}, e.RouteTableIDs...), SubnetIds: append([]string{}, e.SubnetIDs...), NetworkInterfaceIds: append([]string{}, e.InterfaceIDs...),
		Groups: []api.SecurityGroupIdentifier{}, DnsEntries: []api.DnsEntry{}, PrivateDnsEnabled: &e.PrivateDNS, RequesterManaged: new(false),
		CreationTimestamp: &e.CreatedAt, OwnerId: &w.Account, Tags: shownTags(e.Tags), ServiceRegion: &w.Region,
	}
	if e.Type == network.Gateway {
		return out
	}
	out.IpAddressType, out.DnsOptions = new(api.IpAddressTypeIpv4), &api.DnsOptions{DnsRecordIpType: new(api.DnsRecordIpTypeIpv4)}
	for _, id := range e.GroupIDs {
		name := ""
		if g := w.Group(id); g != nil {
			name = g.Name
		}
		out.Groups = append(out.Groups, api.SecurityGroupIdentifier{GroupId: &id, GroupName: &name})
	}
	for _, name := range w.DNSNames(e) {
		out.DnsEntries = append(out.DnsEntries, api.DnsEntry{DnsName: &name, HostedZoneId: new(zoneOfNames)})
	}
	return out
}

func endpointFields(w *work, e *network.Endpoint, name string) ([]string, bool) {
	switch name {
	case "service-name":
		return one(e.Service)
	case "service-region":
		return one(w.Region)
	case "vpc-endpoint-id":
		return one(e.ID)
	case "vpc-endpoint-state":
		return one(e.State)
	case "vpc-endpoint-type":
		return one(e.Type)
	case "ip-address-type":
		return one(api.IpAddressTypeIpv4)
	}
	return nil, false
}

// DescribeVpcEndpoints lists endpoints.
func (s *Service) DescribeVpcEndpoints(ctx context.Context, call *wire.Call, in *api.DescribeVpcEndpointsRequest) (out *api.DescribeVpcEndpointsResult, err error) {
	out = &api.DescribeVpcEndpointsResult{}
	out.VpcEndpoints, out.NextToken, err = describe(ctx, s, call, network.KindEndpoint, query{in.VpcEndpointIds, in.Filters, in.MaxResults, in.NextToken, in.DryRun},
		func(w *work) []*network.Endpoint { return w.Endpoints }, endpointFields, shownEndpoint)
	return out, err
}
