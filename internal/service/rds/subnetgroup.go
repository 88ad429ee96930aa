package rds

import (
	"context"
	"maps"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/rds"
	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// CreateDBSubnetGroup names a set of subnets of one VPC.
func (s *Service) CreateDBSubnetGroup(ctx context.Context, call *wire.Call, in *api.CreateDBSubnetGroupMessage) (*api.CreateDBSubnetGroupResult, error) {
	if err := s.authorize(call, "", database.SubnetGroupKind, strings.ToLower(*in.DBSubnetGroupName), nil); err != nil {
		return nil, err
	}
	name, err := database.CheckGroupName(*in.DBSubnetGroupName)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(call, in.Tags)
	if err != nil {
		return nil, err
	}
	return update(ctx, s, call, func(tx *store.Tx) (*api.CreateDBSubnetGroupResult, error) {
		g := &database.SubnetGroup{
			Account: call.Principal.Account, Region: call.Region, Name: name, Description: *in.DBSubnetGroupDescription, Tags: tags,
		}
		if err := fill(tx, g, in.SubnetIds); err != nil {
			return nil, err
		}
		err := tx.CreateDBSubnetGroup(g)
		if fault.Is(err, fault.Exists) { // AWS: reported
			return nil, fault.New(groupExists, "The DB subnet group '%s' already exists.", name)
		}
		return &api.CreateDBSubnetGroupResult{DBSubnetGroup: shownGroup(g)}, err
	})
}

// minZones is how many zones the subnets of a group have to be in (AWS docs).
const minZones = 2

// fill puts the subnets into the group. They have to exist, in one VPC and in
// two zones or more.
func fill(tx *store.Tx, g *database.SubnetGroup, ids []string) error {
	if len(ids) == 0 {
		return fault.New(fault.Parameter, "The parameter SubnetIds must be provided and must not be blank.")
	}
	zones := map[string]bool{}
	for _, id := range ids {
		o, err := tx.NetworkObject(g.Account, g.Region, id)
		n, ok := o.(*network.Subnet)
		if fault.Is(err, fault.NotFound) || err == nil && !ok { // AWS: reported
			return fault.New(badSubnet, "Some input subnets in :[%s] are invalid.", id)
		}
		if err != nil {
			return err
		}
		if g.VPC != "" && g.VPC != n.VPCID {
			return fault.New(badSubnet, "The requested subnet is invalid, or multiple subnets were requested that are not all in a common VPC.")
		}
		g.VPC = n.VPCID
		zones[n.Zone] = true
		g.Subnets = append(g.Subnets, database.Subnet{ID: id, Zone: n.Zone})
	}
	if len(zones) < minZones { // AWS: reported
		return fault.New(fewZones, "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. Current AZ coverage: %s. "+
			"Add subnets to cover at least %d AZs.", strings.Join(slices.Sorted(maps.Keys(zones)), ", "), minZones)
	}
	return nil
}

// checkSecurityGroups refuses security groups that do not exist, or are of
// another VPC than the subnet group (AWS: reported).
func checkSecurityGroups(tx *store.Tx, call *wire.Call, ids []string, subnetGroup string) error {
	vpc := ""
	if subnetGroup != "" && len(ids) > 0 {
		g, err := tx.DBSubnetGroup(call.Principal.Account, call.Region, subnetGroup)
		if err != nil {
			return err
		}
		vpc = g.VPC
	}
	for _, id := range ids {
		o, err := tx.NetworkObject(call.Principal.Account, call.Region, id)
		group, ok := o.(*network.SecurityGroup)
		if fault.Is(err, fault.NotFound) || err == nil && !ok {
			return fault.New(fault.Parameter, "Invalid security group , groupId= %s, groupName=.", id)
		}
		if err != nil {
			return err
		}
		if vpc != "" && group.VPCID != vpc {
			return fault.New(database.Combination, "The DB instance and EC2 security group are in different VPCs. "+
				"The DB instance is in %s and the EC2 security group is in %s", vpc, group.VPCID)
		}
	}
	return nil
}

// DeleteDBSubnetGroup removes a subnet group that nothing uses.
func (s *Service) DeleteDBSubnetGroup(ctx context.Context, call *wire.Call, in *api.DeleteDBSubnetGroupMessage) (*api.DeleteDBSubnetGroupResponse, error) {
	return update(ctx, s, call, func(tx *store.Tx) (*api.DeleteDBSubnetGroupResponse, error) {
		g, err := s.group(tx, call, *in.DBSubnetGroupName)
		if err != nil {
			return nil, err
		}
		user, err := tx.DBSubnetGroupUser(g.Account, g.Region, g.Name)
		if err != nil {
			return nil, err
		}
		if user != "" { // AWS: reported
			return nil, fault.New(groupState, "Cannot delete the subnet group '%s' because at least one database instance: %s is still using it.", g.Name, user)
		}
		return &api.DeleteDBSubnetGroupResponse{}, tx.DeleteDBSubnetGroup(g.Account, g.Region, g.Name)
	})
}

// DescribeDBSubnetGroups shows one subnet group, or all by name.
func (s *Service) DescribeDBSubnetGroups(ctx context.Context, call *wire.Call, in *api.DescribeDBSubnetGroupsMessage) (*api.DBSubnetGroupMessage, error) {
	out := &api.DBSubnetGroupMessage{DBSubnetGroups: []api.DBSubnetGroup{}}
	if in.DBSubnetGroupName != nil {
		return out, s.Store.View(ctx, func(tx *store.Tx) error {
			g, err := s.group(tx, call, *in.DBSubnetGroupName)
			if err == nil {
				out.DBSubnetGroups = append(out.DBSubnetGroups, *shownGroup(g))
			}
			return err
		})
	}
	if err := s.authorize(call, "", database.SubnetGroupKind, "*", nil); err != nil {
		return nil, err
	}
	page, err := newPage(in.MaxRecords, in.Marker)
	if err != nil {
		return nil, err
	}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		list, err := tx.DBSubnetGroups(call.Principal.Account, call.Region, page.after, page.size+1)
		if len(list) > page.size {
			list = list[:page.size]
			out.Marker = marker(list[page.size-1].Name)
		}
		for _, g := range list {
			out.DBSubnetGroups = append(out.DBSubnetGroups, *shownGroup(g))
		}
		return err
	})
}

// useGroup checks that a subnet group exists that a call names, and returns
// its name.
func useGroup(tx *store.Tx, call *wire.Call, name *string) (string, error) {
	if given(name) == "" {
		return "", nil
	}
	id, here := nameIn(call, database.SubnetGroupKind, *name)
	if !here {
		return "", missingGroup(*name)
	}
	g, err := tx.DBSubnetGroup(call.Principal.Account, call.Region, id)
	if fault.Is(err, fault.NotFound) {
		return "", missingGroup(*name)
	}
	if err != nil {
		return "", err
	}
	return g.Name, nil
}

func shownGroup(g *database.SubnetGroup) *api.DBSubnetGroup {
	out := &api.DBSubnetGroup{
		DBSubnetGroupName: &g.Name, DBSubnetGroupDescription: &g.Description, DBSubnetGroupArn: new(g.ARN()), VpcId: orNil(g.VPC),
		SubnetGroupStatus: new("Complete"), SupportedNetworkTypes: []string{"IPV4"}, Subnets: []api.Subnet{},
	}
	for i := range g.Subnets {
		n := &g.Subnets[i]
		shown := api.Subnet{SubnetIdentifier: &n.ID, SubnetStatus: new("Active"), SubnetOutpost: &api.Outpost{}}
		if n.Zone != "" {
			shown.SubnetAvailabilityZone = &api.AvailabilityZone{Name: &n.Zone}
		}
		out.Subnets = append(out.Subnets, shown)
	}
	return out
}
