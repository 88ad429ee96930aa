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

func (s *Service) ruleOps() []wire.Op {
	return []wire.Op{
		wire.Handle("AuthorizeSecurityGroupEgress", s.AuthorizeSecurityGroupEgress),
		wire.Handle("AuthorizeSecurityGroupIngress", s.AuthorizeSecurityGroupIngress),
		wire.Handle("DescribeSecurityGroupRules", s.DescribeSecurityGroupRules),
		wire.Handle("RevokeSecurityGroupEgress", s.RevokeSecurityGroupEgress),
		wire.Handle("RevokeSecurityGroupIngress", s.RevokeSecurityGroupIngress),
	}
}

// maxRules is how many rules a security group may have in each direction
// (AWS docs: the quota's default).
const maxRules = 60

// short is the form of a request with one rule among its own members.
type short struct {
	protocol, cidr, groupName, groupOwner *string
	from, to                              *int64
}

// ruleRequest is what the four operations that change rules have in common.
type ruleRequest struct {
	egress      bool
	id, name    *string
	permissions []api.IpPermission
	short       short
	ruleIDs     []string
	tags        []api.TagSpecification
	dry         *bool
}

// rules reads the rules that a request describes.
func (w *work) rules(g *network.SecurityGroup, q *ruleRequest) ([]network.Rule, error) {
	list := q.permissions
	if len(list) == 0 && (q.short.protocol != nil || q.short.cidr != nil || q.short.groupName != nil) {
		p := api.IpPermission{IpProtocol: q.short.protocol, FromPort: q.short.from, ToPort: q.short.to}
		if q.short.cidr != nil {
			p.IpRanges = []api.IpRange{{CidrIp: q.short.cidr}}
		}
		if q.short.groupName != nil {
			p.IpProtocol = new(network.AllProtocols)
			p.UserIdGroupPairs = []api.UserIdGroupPair{{GroupName: q.short.groupName, UserId: q.short.groupOwner}}
		}
		list = []api.IpPermission{p}
	}
	if len(list) == 0 {
		return nil, lacks("ipPermissions")
	}
	var rules []network.Rule
	for i := range list {
		made, err := w.permission(g, &list[i], q.egress)
		if err != nil {
			return nil, err
		}
		for _, r := range made {
			if slices.ContainsFunc(rules, r.Same) {
				return nil, fault.New(invalidValue, "The same permission must not appear multiple times")
			}
			rules = append(rules, r)
		}
	}
	return rules, nil
}

// permission makes a rule of each peer of an IpPermission.
func (w *work) permission(g *network.SecurityGroup, p *api.IpPermission, egress bool) ([]network.Rule, error) {
	rule, err := newRule(p, egress)
	if err != nil {
		return nil, err
	}
	var rules []network.Rule
	add := func(description *string, set func(*network.Rule)) {
		r := rule
		r.Description = text(description)
		set(&r)
		rules = append(rules, r)
	}
	for _, x := range p.IpRanges {
		cidr, err := ruleCIDR(text(x.CidrIp), true)
		if err != nil {
			return nil, err
		}
		add(x.Description, func(r *network.Rule) { r.CIDR = cidr })
	}
	for _, x := range p.Ipv6Ranges {
		cidr, err := ruleCIDR(text(x.CidrIpv6), false)
		if err != nil {
			return nil, err
		}
		add(x.Description, func(r *network.Rule) { r.CIDR = cidr })
	}
	for i := range p.UserIdGroupPairs {
		peer, err := w.peer(g, &p.UserIdGroupPairs[i])
		if err != nil {
			return nil, err
		}
		add(p.UserIdGroupPairs[i].Description, func(r *network.Rule) { r.GroupID, r.GroupOwner = peer.ID, w.Account })
	}
	for _, x := range p.PrefixListIds {
		id := text(x.PrefixListId)
		if !slices.ContainsFunc(prefixLists(w.Region), func(l prefixList) bool { return l.id == id }) {
			return nil, fault.New(prefixListMissing, "The prefix list ID '%s' does not exist", id)
		}
		add(x.Description, func(r *network.Rule) { r.PrefixListID = id })
	}
	if rules == nil {
		return nil, fault.New(missingParameter, "Must specify at least one of: ipRanges, ipv6Ranges, groups, prefixListIds") // text assumed
	}
	return rules, nil
}

// newRule reads the protocol and the ports of an IpPermission.
func newRule(p *api.IpPermission, egress bool) (network.Rule, error) {
	if p.IpProtocol == nil {
		return network.Rule{}, lacks("ipProtocol")
	}
	n, ok := network.ProtocolNumber(*p.IpProtocol)
	if !ok {
		return network.Rule{}, fault.New(invalidValue, "Invalid value '%s' for IP protocol. Unknown protocol.", *p.IpProtocol)
	}
	r := network.Rule{Egress: egress, Protocol: network.ProtocolName(n), From: -1, To: -1}
	if r.Protocol == network.AllProtocols {
		return r, nil
	}
	if p.FromPort != nil {
		r.From = int32(max(-1, min(*p.FromPort, 1<<16)))
	}
	if p.ToPort != nil {
		r.To = int32(max(-1, min(*p.ToPort, 1<<16)))
	}
	if !network.HasPorts(n) {
		return r, nil
	}
	switch {
	case p.FromPort == nil || p.ToPort == nil:
		return r, fault.New(invalidValue, "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
	case r.From < 0 || r.From > 65535:
		return r, fault.New(invalidValue, "TCP/UDP port (%d) out of range", *p.FromPort)
	case r.To < 0 || r.To > 65535:
		return r, fault.New(invalidValue, "TCP/UDP port (%d) out of range", *p.ToPort)
	case r.From > r.To:
		return r, fault.New(invalidValue, "Invalid TCP/UDP port range (%d:%d)", r.From, r.To)
	}
	return r, nil
}

// ruleCIDR reads a rule's block; bits behind the prefix are dropped.
func ruleCIDR(s string, v4 bool) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4() != v4 {
		return netip.Prefix{}, fault.New(invalidValue, "CIDR block %s is malformed", s)
	}
	return p.Masked(), nil
}

// peer finds the group that a rule names: one of the same VPC.
func (w *work) peer(g *network.SecurityGroup, x *api.UserIdGroupPair) (*network.SecurityGroup, error) {
	name := text(x.GroupId)
	if name == "" {
		name = text(x.GroupName)
	}
	for _, p := range w.Groups {
		if p.ID == name || x.GroupId == nil && p.Name == name && p.VPCID == g.VPCID {
			if p.VPCID != g.VPCID {
				return nil, fault.New("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")
			}
			return p, nil
		}
	}
	return nil, missing(network.KindGroup, name)
}

// authorize adds rules to a group, all or none.
func (s *Service) authorize(ctx context.Context, call *wire.Call, q ruleRequest, out wire.Output, show func([]api.SecurityGroupRule)) error {
	return s.change(ctx, call, q.dry, out, func(w *work) error {
		g, err := w.namedGroup(q.id, q.name)
		if err != nil {
			return err
		}
		if len(q.tags) > 0 {
			if err := w.allowNew(network.KindRule, g.VPCID, q.tags); err != nil {
				return err
			}
		}
		rules, err := w.rules(g, &q)
		if err != nil {
			return err
		}
		tags, err := w.newTags(network.KindRule, q.tags)
		if err != nil {
			return err
		}
		count := 0
		for _, r := range g.Rules {
			if r.Egress == q.egress {
				count++
			}
		}
		if count+len(rules) > maxRules {
			return fault.New(tooManyRules, "The maximum number of rules per security group has been reached.")
		}
		var shown []api.SecurityGroupRule
		for _, r := range rules {
			if slices.ContainsFunc(g.Rules, r.Same) {
				return fault.New(ruleDuplicate, `the specified rule "%s" already exists`, r)
			}
			r.ID, r.Tags = network.NewID(network.PrefixRule), tags
			g.Rules = append(g.Rules, r)
			shown = append(shown, shownRule(w, g, &r))
		}
		w.save(g)
		show(shown)
		return nil
	})
}

// revoke removes rules from a group, named by ID or described, all or none.
func (s *Service) revoke(ctx context.Context, call *wire.Call, q ruleRequest, out wire.Output, show func([]api.RevokedSecurityGroupRule)) error {
	return s.change(ctx, call, q.dry, out, func(w *work) error {
		g, err := w.namedGroup(q.id, q.name)
		if err != nil {
			return err
		}
		var shown []api.RevokedSecurityGroupRule
		drop := func(i int) {
			shown = append(shown, revokedRule(g, g.Rules[i]))
			g.Rules = slices.Delete(slices.Clone(g.Rules), i, i+1)
		}
		for _, id := range q.ruleIDs {
			i := slices.IndexFunc(g.Rules, func(r network.Rule) bool { return r.ID == id && r.Egress == q.egress })
			if i < 0 {
				return missing(network.KindRule, id)
			}
			drop(i)
		}
		if len(q.ruleIDs) == 0 || len(q.permissions) > 0 {
			rules, err := w.rules(g, &q)
			if err != nil {
				return err
			}
			for _, r := range rules {
				i := slices.IndexFunc(g.Rules, r.Same)
				if i < 0 {
					return fault.New(ruleMissing, "The specified rule does not exist in this security group.")
				}
				drop(i)
			}
		}
		w.save(g)
		show(shown)
		return nil
	})
}

// AuthorizeSecurityGroupIngress adds rules that let traffic in.
func (s *Service) AuthorizeSecurityGroupIngress(ctx context.Context, call *wire.Call, in *api.AuthorizeSecurityGroupIngressRequest) (*api.AuthorizeSecurityGroupIngressResult, error) {
	out := &api.AuthorizeSecurityGroupIngressResult{Return: new(true)}
	return out, s.authorize(ctx, call, ruleRequest{
		id: in.GroupId, name: in.GroupName, permissions: in.IpPermissions, tags: in.TagSpecifications, dry: in.DryRun,
		short: short{in.IpProtocol, in.CidrIp, in.SourceSecurityGroupName, in.SourceSecurityGroupOwnerId, in.FromPort, in.ToPort},
	}, out, func(rules []api.SecurityGroupRule) { out.SecurityGroupRules = rules })
}

// AuthorizeSecurityGroupEgress adds rules that let traffic out.
func (s *Service) AuthorizeSecurityGroupEgress(ctx context.Context, call *wire.Call, in *api.AuthorizeSecurityGroupEgressRequest) (*api.AuthorizeSecurityGroupEgressResult, error) {
	out := &api.AuthorizeSecurityGroupEgressResult{Return: new(true)}
	return out, s.authorize(ctx, call, ruleRequest{
		egress: true, id: in.GroupId, permissions: in.IpPermissions, tags: in.TagSpecifications, dry: in.DryRun,
		short: short{in.IpProtocol, in.CidrIp, in.SourceSecurityGroupName, in.SourceSecurityGroupOwnerId, in.FromPort, in.ToPort},
	}, out, func(rules []api.SecurityGroupRule) { out.SecurityGroupRules = rules })
}

// RevokeSecurityGroupIngress removes rules that let traffic in.
func (s *Service) RevokeSecurityGroupIngress(ctx context.Context, call *wire.Call, in *api.RevokeSecurityGroupIngressRequest) (*api.RevokeSecurityGroupIngressResult, error) {
	out := &api.RevokeSecurityGroupIngressResult{Return: new(true)}
	return out, s.revoke(ctx, call, ruleRequest{
		id: in.GroupId, name: in.GroupName, permissions: in.IpPermissions, ruleIDs: in.SecurityGroupRuleIds, dry: in.DryRun,
		short: short{in.IpProtocol, in.CidrIp, in.SourceSecurityGroupName, in.SourceSecurityGroupOwnerId, in.FromPort, in.ToPort},
	}, out, func(rules []api.RevokedSecurityGroupRule) { out.RevokedSecurityGroupRules = rules })
}

// RevokeSecurityGroupEgress removes rules that let traffic out.
func (s *Service) RevokeSecurityGroupEgress(ctx context.Context, call *wire.Call, in *api.RevokeSecurityGroupEgressRequest) (*api.RevokeSecurityGroupEgressResult, error) {
	out := &api.RevokeSecurityGroupEgressResult{Return: new(true)}
	return out, s.revoke(ctx, call, ruleRequest{
		egress: true, id: in.GroupId, permissions: in.IpPermissions, ruleIDs: in.SecurityGroupRuleIds, dry: in.DryRun,
		short: short{in.IpProtocol, in.CidrIp, in.SourceSecurityGroupName, in.SourceSecurityGroupOwnerId, in.FromPort, in.ToPort},
	}, out, func(rules []api.RevokedSecurityGroupRule) { out.RevokedSecurityGroupRules = rules })
}

func shownRule(w *work, g *network.SecurityGroup, r *network.Rule) api.SecurityGroupRule {
	out := api.SecurityGroupRule{
		SecurityGroupRuleId: &r.ID, GroupId: &g.ID, GroupOwnerId: &w.Account, IsEgress: &r.Egress, IpProtocol: &r.Protocol,
		FromPort: new(int64(r.From)), ToPort: new(int64(r.To)), Description: optional(r.Description), PrefixListId: optional(r.PrefixListID),
		Tags: shownTags(r.Tags), SecurityGroupRuleArn: new(network.ARN(w.Account, w.Region, network.KindRule, r.ID)),
	}
	out.CidrIpv4, out.CidrIpv6 = shownCIDR(r.CIDR)
	if r.GroupID != "" {
		out.ReferencedGroupInfo = &api.ReferencedSecurityGroup{GroupId: &r.GroupID, UserId: &r.GroupOwner, VpcId: &g.VPCID}
	}
	return out
}

func revokedRule(g *network.SecurityGroup, r network.Rule) api.RevokedSecurityGroupRule {
	out := api.RevokedSecurityGroupRule{
		SecurityGroupRuleId: &r.ID, GroupId: &g.ID, IsEgress: &r.Egress, IpProtocol: &r.Protocol, FromPort: new(int64(r.From)), ToPort: new(int64(r.To)),
		Description: optional(r.Description), PrefixListId: optional(r.PrefixListID), ReferencedGroupId: optional(r.GroupID),
	}
	out.CidrIpv4, out.CidrIpv6 = shownCIDR(r.CIDR)
	return out
}

func shownCIDR(p netip.Prefix) (v4, v6 *string) {
	switch {
	case !p.IsValid():
	case p.Addr().Is4():
		v4 = new(p.String())
	default:
		v6 = new(p.String())
	}
	return v4, v6
}

// DescribeSecurityGroupRules lists rules by ID.
func (s *Service) DescribeSecurityGroupRules(ctx context.Context, call *wire.Call, in *api.DescribeSecurityGroupRulesRequest) (*api.DescribeSecurityGroupRulesResult, error) {
	out := &api.DescribeSecurityGroupRulesResult{}
	return out, s.view(ctx, call, in.DryRun, func(w *work) error {
		var ids []string
		list := []api.SecurityGroupRule{}
		for _, g := range w.Groups {
			for i := range g.Rules {
				r := shownRule(w, g, &g.Rules[i])
				ids = append(ids, *r.SecurityGroupRuleId)
				ok, err := passes(in.Filters, func(name string) ([]string, bool) { return ruleFields(&g.Rules[i], g, name) })
				if err != nil {
					return err
				}
				if ok && (len(in.SecurityGroupRuleIds) == 0 || slices.Contains(in.SecurityGroupRuleIds, *r.SecurityGroupRuleId)) {
					list = append(list, r)
				}
			}
		}
		if err := w.exist(network.KindRule, ids, in.SecurityGroupRuleIds); err != nil {
			return err
		}
		key := func(r api.SecurityGroupRule) string { return *r.SecurityGroupRuleId }
		slices.SortFunc(list, func(a, b api.SecurityGroupRule) int { return strings.Compare(key(a), key(b)) })
		var err error
		out.SecurityGroupRules, out.NextToken, err = page(list, key, in.MaxResults, in.NextToken)
		return err
	})
}

func ruleFields(r *network.Rule, g *network.SecurityGroup, name string) ([]string, bool) {
	switch name {
	case "group-id":
		return one(g.ID)
	case "security-group-rule-id":
		return one(r.ID)
	}
	return tagFields(r.Tags, name)
}
