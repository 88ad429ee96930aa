package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/wire"
)

func (s *Service) regionOps() []wire.Op {
	return []wire.Op{
		wire.Handle("DescribeAvailabilityZones", s.DescribeAvailabilityZones),
		wire.Handle("DescribeNetworkInterfaces", s.DescribeNetworkInterfaces),
		wire.Handle("DescribePrefixLists", s.DescribePrefixLists),
		wire.Handle("DescribeRegions", s.DescribeRegions),
		wire.Handle("DescribeVpcEndpointServices", s.DescribeVpcEndpointServices),
	}
}

// noOptIn is the status of regions and zones that need no opting in (AWS
// docs).
const noOptIn = "opt-in-not-required"

// regionNames are the regions that AWS accounts have from the start (AWS
// docs).
var regionNames = []string{
	"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1", "eu-central-1", "eu-north-1",
	"eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
}

// DescribeRegions lists the regions of AWS, with the caller's among them.
func (s *Service) DescribeRegions(_ context.Context, call *wire.Call, in *api.DescribeRegionsRequest) (*api.DescribeRegionsResult, error) {
	if err := unauthorized(s.Guard.Action(call, "")); err != nil {
		return nil, err
	}
	if err := refuseDry(in.DryRun); err != nil {
		return nil, err
	}
	names := regionNames
	if !slices.Contains(names, call.Region) {
		names = slices.Sorted(slices.Values(append(slices.Clone(names), call.Region)))
	}
	out := &api.DescribeRegionsResult{Regions: []api.Region{}}
	for _, wanted := range in.RegionNames {
		if !slices.Contains(names, wanted) {
			return nil, fault.New(invalidValue, "Invalid region names: [%s]", wanted)
		}
	}
	for _, name := range names {
		if len(in.RegionNames) > 0 && !slices.Contains(in.RegionNames, name) {
			continue
		}
		endpoint := network.RegionalHost(name, "ec2")
		ok, err := passes(in.Filters, func(filter string) ([]string, bool) {
			v, known := map[string]string{"region-name": name, "endpoint": endpoint, "opt-in-status": noOptIn}[filter]
			return []string{v}, known
		})
		if err != nil {
			return nil, err
		}
		if ok {
			out.Regions = append(out.Regions, api.Region{RegionName: &name, Endpoint: &endpoint, OptInStatus: new(noOptIn)})
		}
	}
	return out, nil
}

// DescribeAvailabilityZones lists the zones of the region.
func (s *Service) DescribeAvailabilityZones(_ context.Context, call *wire.Call, in *api.DescribeAvailabilityZonesRequest) (*api.DescribeAvailabilityZonesResult, error) {
	if err := unauthorized(s.Guard.Action(call, "")); err != nil {
		return nil, err
	}
	if err := refuseDry(in.DryRun); err != nil {
		return nil, err
	}
	out := &api.DescribeAvailabilityZonesResult{AvailabilityZones: []api.AvailabilityZone{}}
	zones := network.Zones(call.Region)
	for _, wanted := range slices.Concat(in.ZoneNames, in.ZoneIds) {
		if !slices.ContainsFunc(zones, func(z network.Zone) bool { return z.Name == wanted || z.ID == wanted }) {
			return nil, fault.New(invalidValue, "Invalid availability zone: [%s]", wanted)
		}
	}
	for _, z := range zones {
		if len(in.ZoneNames) > 0 && !slices.Contains(in.ZoneNames, z.Name) || len(in.ZoneIds) > 0 && !slices.Contains(in.ZoneIds, z.ID) {
			continue
		}
		ok, err := passes(in.Filters, func(filter string) ([]string, bool) {
			v, known := map[string]string{
				"region-name": call.Region, "zone-name": z.Name, "zone-id": z.ID, "state": network.StateAvailable, "zone-type": "availability-zone",
				"opt-in-status": noOptIn, "group-name": call.Region + "-zg-1", "network-border-group": call.Region,
			}[filter]
			return []string{v}, known
		})
		if err != nil {
			return nil, err
		}
		if ok {
			out.AvailabilityZones = append(out.AvailabilityZones, api.AvailabilityZone{
				RegionName: &call.Region, ZoneName: &z.Name, ZoneId: &z.ID, State: new(network.StateAvailable), ZoneType: new("availability-zone"),
				OptInStatus: new(noOptIn), GroupName: new(call.Region + "-zg-1"), NetworkBorderGroup: &call.Region, Messages: []api.AvailabilityZoneMessage{},
			})
		}
	}
	return out, nil
}

// prefixList is a list of addresses that AWS keeps: here those of services
// with gateway endpoints.
type prefixList struct {
	id, name string
	cidrs    []string
}

// prefixLists are those of a region. The addresses are ones kept for
// documentation, as the services themselves are not here.
func prefixLists(region string) []prefixList {
	var list []prefixList
	for i, service := range gatewayServices {
		name := network.ServiceName(region, service)
		sum := sha256.Sum256([]byte(name))
		list = append(list, prefixList{"pl-" + hex.EncodeToString(sum[:4]), name, []string{[]string{"198.51.100.0/25", "198.51.100.128/25"}[i]}})
	}
	slices.SortFunc(list, func(a, b prefixList) int { return strings.Compare(a.id, b.id) })
	return list
}

// DescribePrefixLists lists the prefix lists of AWS services.
func (s *Service) DescribePrefixLists(_ context.Context, call *wire.Call, in *api.DescribePrefixListsRequest) (*api.DescribePrefixListsResult, error) {
	if err := unauthorized(s.Guard.Action(call, "")); err != nil {
		return nil, err
	}
	if err := refuseDry(in.DryRun); err != nil {
		return nil, err
	}
	out := &api.DescribePrefixListsResult{}
	list := []api.PrefixList{}
	for _, l := range prefixLists(call.Region) {
		ok, err := passes(in.Filters, func(filter string) ([]string, bool) {
			v, known := map[string]string{"prefix-list-id": l.id, "prefix-list-name": l.name}[filter]
			return []string{v}, known
		})
		if err != nil {
			return nil, err
		}
		if ok && (len(in.PrefixListIds) == 0 || slices.Contains(in.PrefixListIds, l.id)) {
			list = append(list, api.PrefixList{PrefixListId: &l.id, PrefixListName: &l.name, Cidrs: l.cidrs})
		}
	}
	var err error
	out.PrefixLists, out.NextToken, err = page(list, func(l api.PrefixList) string { return *l.PrefixListId }, in.MaxResults, in.NextToken)
	return out, err
}

func shownInterface(w *work, i *network.Interface) api.NetworkInterface {
	address := i.Address.String()
	out := api.NetworkInterface{
		NetworkInterfaceId: &i.ID, OwnerId: &w.Account, VpcId: &i.VPCID, SubnetId: &i.SubnetID, AvailabilityZone: &i.Zone, Status: new("in-use"),
		InterfaceType: &i.Type, Description: &i.Description, MacAddress: &i.MAC, PrivateIpAddress: &address, SourceDestCheck: new(i.Type != network.InterfaceOfNAT),
		RequesterManaged: new(true), RequesterId: new(requester(i)), Groups: []api.GroupIdentifier{}, TagSet: shownTags(i.Tags), Ipv6Addresses: []api.NetworkInterfaceIpv6Address{},
		PrivateIpAddresses: []api.NetworkInterfacePrivateIpAddress{{Primary: new(true), PrivateIpAddress: &address}},
		Attachment: &api.NetworkInterfaceAttachment{
			AttachmentId: new(network.PrefixAttachment + i.ID[len(network.PrefixInterface):]), AttachTime: &i.CreatedAt, DeleteOnTermination: new(false),
			DeviceIndex: new(int64(1)), InstanceOwnerId: new("amazon-aws"), Status: new("attached"),
		},
	}
	if i.Type == network.InterfaceOfLambda {
		out.Attachment.InstanceOwnerId = new("aws-lambda")
	}
	for _, id := range i.GroupIDs {
		name := ""
		if g := w.Group(id); g != nil {
			name = g.Name
		}
		out.Groups = append(out.Groups, api.GroupIdentifier{GroupId: &id, GroupName: &name})
	}
	return out
}

// requester is who made an interface, as answers name it (assumed but for
// its form).
func requester(i *network.Interface) string {
	if i.Type == network.InterfaceOfLambda {
		return "AROAKEYTURNLAMBDAENI:awslambda_" + i.ID[len(network.PrefixInterface)+1:]
	}
	return "amazon-aws"
}

func interfaceFields(w *work, i *network.Interface, name string) ([]string, bool) {
	switch name {
	case "subnet-id":
		return one(i.SubnetID)
	case "network-interface-id":
		return one(i.ID)
	case "group-id":
		return i.GroupIDs, true
	case "group-name":
		var names []string
		for _, id := range i.GroupIDs {
			if g := w.Group(id); g != nil {
				names = append(names, g.Name)
			}
		}
		return names, true
	case "description":
		return one(i.Description)
	case "interface-type":
		return one(i.Type)
	case "status":
		return one("in-use")
	case "attachment.status":
		return one("attached")
	case "availability-zone":
		return one(i.Zone)
	case "private-ip-address", "addresses.private-ip-address":
		return one(i.Address.String())
	case "requester-managed":
		return truth(true)
	case "requester-id":
		return one(requester(i))
	case "mac-address":
		return one(i.MAC)
	}
	return nil, false
}

// DescribeNetworkInterfaces lists the interfaces of functions, endpoints and
// NAT gateways.
func (s *Service) DescribeNetworkInterfaces(ctx context.Context, call *wire.Call, in *api.DescribeNetworkInterfacesRequest) (out *api.DescribeNetworkInterfacesResult, err error) {
	out = &api.DescribeNetworkInterfacesResult{}
	out.NetworkInterfaces, out.NextToken, err = describe(ctx, s, call, network.KindInterface,
		query{in.NetworkInterfaceIds, in.Filters, in.MaxResults, in.NextToken, in.DryRun},
		func(w *work) []*network.Interface { return w.Interfaces }, interfaceFields, shownInterface)
	return out, err
}
