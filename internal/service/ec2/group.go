package ec2

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/wire"
)

func (s *Service) groupOps() []wire.Op {
	return []wire.Op{
		wire.Handle("CreateSecurityGroup", s.CreateSecurityGroup),
		wire.Handle("DeleteSecurityGroup", s.DeleteSecurityGroup),
		wire.Handle("DescribeSecurityGroups", s.DescribeSecurityGroups),
	}
}

// maxGroupText bounds a security group's name and description in characters
// (AWS docs).
const maxGroupText = 255

// CreateSecurityGroup makes a security group that lets everything out and
// nothing in, in the default VPC unless another is named.
func (s *Service) CreateSecurityGroup(ctx context.Context, call *wire.Call, in *api.CreateSecurityGroupRequest) (*api.CreateSecurityGroupResult, error) {
	out := &api.CreateSecurityGroupResult{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		vpcID := text(in.VpcId)
		if vpcID == "" {
			v := w.DefaultVPC()
			if v == nil {
				return fault.New(noDefaultVPC, "No default VPC for this user")
			}
			vpcID = v.ID
		}
		if err := w.allowNew(network.KindGroup, vpcID, in.TagSpecifications); err != nil {
			return err
		}
		if _, err := w.vpc(vpcID); err != nil {
			return err
		}
		if err := w.checkGroup(vpcID, *in.GroupName, *in.Description); err != nil {
			return err
		}
		tags, err := w.newTags(network.KindGroup, in.TagSpecifications)
		if err != nil {
			return err
		}
		g := &network.SecurityGroup{Record: w.base(network.PrefixGroup, vpcID), Name: *in.GroupName, Description: *in.Description, Rules: []network.Rule{network.OpenEgress()}}
		g.Tags = tags
		w.make(g)
		w.concerns(g)
		out.GroupId, out.Tags, out.SecurityGroupArn = &g.ID, shownTags(tags), new(network.ARN(w.Account, w.Region, network.KindGroup, g.ID))
		return nil
	})
}

// checkGroup refuses names and descriptions that do not do.
func (w *work) checkGroup(vpcID, name, description string) error {
	switch {
	case name == "" || utf8.RuneCountInString(name) > maxGroupText:
		return fault.New(invalidValue, "Value (%s) for parameter GroupName is invalid. Character sets beyond ASCII are not supported.", name)
	case strings.HasPrefix(name, network.PrefixGroup+"-"):
		return fault.New(invalidValue, "Invalid value '%s' for groupName. Group names may not be in the format sg-*.", name)
	case name == network.DefaultGroup:
		return fault.New(invalidValue, "Cannot use reserved security group name: %s", name)
	case utf8.RuneCountInString(description) > maxGroupText || strings.IndexFunc(description, func(r rune) bool { return r > 0x7f }) >= 0:
		return invalid(description, "GroupDescription", "Character sets beyond ASCII are not supported.")
	}
	for _, g := range w.Groups {
		if g.VPCID == vpcID && g.Name == name {
			return fault.New(groupDuplicate, "The security group '%s' already exists for VPC '%s'", name, vpcID)
		}
	}
	return nil
}

// namedGroup finds the group that a request names by its ID, or by its name
// in the default VPC.
func (w *work) namedGroup(id, name *string) (*network.SecurityGroup, error) {
	if text(id) != "" {
		return w.group(*id)
	}
	if text(name) == "" {
		return nil, fault.New(missingParameter, "The request must contain the parameter groupName or groupId")
	}
	v := w.DefaultVPC()
	if v == nil {
		return nil, fault.New(noDefaultVPC, "No default VPC for this user")
	}
	for _, g := range w.Groups {
		if g.VPCID == v.ID && g.Name == *name {
			return w.group(g.ID)
		}
	}
	if err := w.allow(network.KindGroup, "*", nil); err != nil {
		return nil, err
	}
	return nil, fault.New("InvalidGroup.NotFound", "The security group '%s' does not exist in default VPC '%s'", *name, v.ID)
}

// DeleteSecurityGroup deletes a group that no interface has and no other
// group's rule names.
func (s *Service) DeleteSecurityGroup(ctx context.Context, call *wire.Call, in *api.DeleteSecurityGroupRequest) (*api.DeleteSecurityGroupResult, error) {
	out := &api.DeleteSecurityGroupResult{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		g, err := w.namedGroup(in.GroupId, in.GroupName)
		if err != nil {
			return err
		}
		if g.Name == network.DefaultGroup {
			return fault.New(cannotDelete, `the specified group: "%s" name: "%s" cannot be deleted by a user`, g.ID, g.Name)
		}
		used, err := w.databases()
		if err != nil {
			return err
		}
		if w.groupInUse(g.ID) || slices.Contains(used.groups, g.ID) {
			return fault.New(dependency, "resource %s has a dependent object", g.ID)
		}
		w.remove(g)
		out.Return, out.GroupId = new(true), &g.ID
		return nil
	})
}

func (w *work) groupInUse(id string) bool {
	return slices.ContainsFunc(w.Interfaces, func(i *network.Interface) bool { return slices.Contains(i.GroupIDs, id) }) ||
		slices.ContainsFunc(w.Endpoints, func(e *network.Endpoint) bool { return slices.Contains(e.GroupIDs, id) }) ||
		len(w.Referrers(id)) > 0
}

// permissions lists the rules of one direction as IpPermissions: one for each
// protocol and port range, with all its peers.
func permissions(rules []network.Rule, egress bool) []api.IpPermission {
	list := []api.IpPermission{}
	at := map[string]int{}
	for i := range rules {
		r := &rules[i]
		if r.Egress != egress {
			continue
		}
		key := r.Protocol + " " + strconv.Itoa(int(r.From)) + " " + strconv.Itoa(int(r.To))
		if _, ok := at[key]; !ok {
			at[key] = len(list)
			list = append(list, newPermission(r))
		}
		addPeer(&list[at[key]], r)
	}
	return list
}

func newPermission(r *network.Rule) api.IpPermission {
	p := api.IpPermission{
		IpProtocol: &r.Protocol, UserIdGroupPairs: []api.UserIdGroupPair{}, IpRanges: []api.IpRange{}, Ipv6Ranges: []api.Ipv6Range{}, PrefixListIds: []api.PrefixListId{},
	}
	if r.Protocol != network.AllProtocols {
		p.FromPort, p.ToPort = new(int64(r.From)), new(int64(r.To))
	}
	return p
}

func addPeer(p *api.IpPermission, r *network.Rule) {
	switch description := optional(r.Description); {
	case r.GroupID != "":
		p.UserIdGroupPairs = append(p.UserIdGroupPairs, api.UserIdGroupPair{GroupId: &r.GroupID, UserId: &r.GroupOwner, Description: description})
	case r.PrefixListID != "":
		p.PrefixListIds = append(p.PrefixListIds, api.PrefixListId{PrefixListId: &r.PrefixListID, Description: description})
	case r.CIDR.Addr().Is4():
		p.IpRanges = append(p.IpRanges, api.IpRange{CidrIp: new(r.CIDR.String()), Description: description})
	default:
		p.Ipv6Ranges = append(p.Ipv6Ranges, api.Ipv6Range{CidrIpv6: new(r.CIDR.String()), Description: description})
	}
}

func shownGroup(w *work, g *network.SecurityGroup) api.SecurityGroup {
	return api.SecurityGroup{
		GroupId: &g.ID, GroupName: &g.Name, Description: &g.Description, OwnerId: &w.Account, VpcId: &g.VPCID, Tags: shownTags(g.Tags),
		SecurityGroupArn: new(network.ARN(w.Account, w.Region, network.KindGroup, g.ID)),
		IpPermissions:    permissions(g.Rules, false), IpPermissionsEgress: permissions(g.Rules, true),
	}
}

func groupFields(_ *work, g *network.SecurityGroup, name string) ([]string, bool) {
	switch name {
	case "description":
		return one(g.Description)
	case "group-id":
		return one(g.ID)
	case "group-name":
		return one(g.Name)
	}
	of, egress := strings.CutPrefix(name, "egress.ip-permission.")
	if !egress {
		var ok bool
		if of, ok = strings.CutPrefix(name, "ip-permission."); !ok {
			return nil, false
		}
	}
	var values []string
	for i := range g.Rules {
		r := &g.Rules[i]
		v, known := ruleField(r, of)
		if !known {
			return nil, false
		}
		if r.Egress == egress && v != "" {
			values = append(values, v)
		}
	}
	_, known := ruleField(&network.Rule{}, of)
	return values, known
}

// ruleField is a rule's value for a filter of DescribeSecurityGroups (AWS
// docs).
func ruleField(r *network.Rule, name string) (value string, known bool) {
	switch name {
	case "cidr", "ipv6-cidr":
		if r.CIDR.IsValid() && r.CIDR.Addr().Is4() == (name == "cidr") {
			return r.CIDR.String(), true
		}
		return "", true
	case "from-port":
		return strconv.Itoa(int(r.From)), true
	case "to-port":
		return strconv.Itoa(int(r.To)), true
	case "protocol":
		return r.Protocol, true
	case "group-id":
		return r.GroupID, true
	case "user-id":
		return r.GroupOwner, true
	case "prefix-list-id":
		return r.PrefixListID, true
	}
	return "", false
}

// DescribeSecurityGroups lists security groups; names are those of groups in
// the default VPC.
func (s *Service) DescribeSecurityGroups(ctx context.Context, call *wire.Call, in *api.DescribeSecurityGroupsRequest) (out *api.DescribeSecurityGroupsResult, err error) {
	out = &api.DescribeSecurityGroupsResult{}
	var absent error
	out.SecurityGroups, out.NextToken, err = describe(ctx, s, call, network.KindGroup, query{in.GroupIds, in.Filters, in.MaxResults, in.NextToken, in.DryRun},
		func(w *work) (list []*network.SecurityGroup) {
			list, absent = w.namedGroups(in.GroupNames)
			return list
		}, groupFields, shownGroup)
	if err == nil {
		err = absent
	}
	return out, err
}

// namedGroups returns the groups of the default VPC with the names; all
// groups without names.
func (w *work) namedGroups(names []string) ([]*network.SecurityGroup, error) {
	if len(names) == 0 {
		return w.Groups, nil
	}
	v := w.DefaultVPC()
	if v == nil {
		return nil, fault.New(noDefaultVPC, "No default VPC for this user")
	}
	var list []*network.SecurityGroup
	for _, name := range names {
		i := slices.IndexFunc(w.Groups, func(g *network.SecurityGroup) bool { return g.VPCID == v.ID && g.Name == name })
		if i < 0 {
			return nil, fault.New("InvalidGroup.NotFound", "The security group '%s' does not exist in default VPC '%s'", name, v.ID)
		}
		list = append(list, w.Groups[i])
	}
	slices.SortFunc(list, func(a, b *network.SecurityGroup) int { return strings.Compare(a.ID, b.ID) })
	return slices.Compact(list), nil
}
