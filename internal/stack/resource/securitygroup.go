package resource

import (
	"context"
	"slices"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
)

// maxGroupNameEC2 is the longest name of a security group (AWS docs).
const maxGroupNameEC2 = 255

// rule is a rule of a security group in a template, of either direction.
type rule struct {
	IpProtocol                                          string
	FromPort, ToPort                                    *int64
	CidrIp, CidrIpv6, Description                       *string
	SourcePrefixListId, SourceSecurityGroupId           *string
	SourceSecurityGroupName, SourceSecurityGroupOwnerId *string
	DestinationPrefixListId, DestinationSecurityGroupId *string
}

func ingressSchema() properties {
	return properties{
		"IpProtocol": required(text()), "FromPort": integer(), "ToPort": integer(), "CidrIp": text(), "CidrIpv6": text(), "Description": text(),
		"SourcePrefixListId": text(), "SourceSecurityGroupId": text(), "SourceSecurityGroupName": text(), "SourceSecurityGroupOwnerId": text(),
	}
}

func egressSchema() properties {
	return properties{
		"IpProtocol": required(text()), "FromPort": integer(), "ToPort": integer(), "CidrIp": text(), "CidrIpv6": text(), "Description": text(),
		"DestinationPrefixListId": text(), "DestinationSecurityGroupId": text(),
	}
}

// permission is the rule in EC2's form.
func (u rule) permission() api.IpPermission {
	p := api.IpPermission{IpProtocol: &u.IpProtocol, FromPort: u.FromPort, ToPort: u.ToPort}
	first := func(a, b *string) *string {
		if a != nil {
			return a
		}
		return b
	}
	if u.CidrIp != nil {
		p.IpRanges = []api.IpRange{{CidrIp: u.CidrIp, Description: u.Description}}
	}
	if u.CidrIpv6 != nil {
		p.Ipv6Ranges = []api.Ipv6Range{{CidrIpv6: u.CidrIpv6, Description: u.Description}}
	}
	if list := first(u.SourcePrefixListId, u.DestinationPrefixListId); list != nil {
		p.PrefixListIds = []api.PrefixListId{{PrefixListId: list, Description: u.Description}}
	}
	if group := first(u.SourceSecurityGroupId, u.DestinationSecurityGroupId); group != nil || u.SourceSecurityGroupName != nil {
		p.UserIdGroupPairs = []api.UserIdGroupPair{{
			GroupId: group, GroupName: u.SourceSecurityGroupName, UserId: u.SourceSecurityGroupOwnerId, Description: u.Description,
		}}
	}
	return p
}

// authorize is the step that adds the rule to a group.
func (u rule) authorize(group string, egress bool) step {
	if egress {
		return step{ec2, "AuthorizeSecurityGroupEgress",
			&api.AuthorizeSecurityGroupEgressRequest{GroupId: &group, IpPermissions: []api.IpPermission{u.permission()}}}
	}
	return step{ec2, "AuthorizeSecurityGroupIngress",
		&api.AuthorizeSecurityGroupIngressRequest{GroupId: &group, IpPermissions: []api.IpPermission{u.permission()}}}
}

// revoke is the step that takes the rule from a group.
func (u rule) revoke(group string, egress bool) step {
	if egress {
		return step{ec2, "RevokeSecurityGroupEgress",
			&api.RevokeSecurityGroupEgressRequest{GroupId: &group, IpPermissions: []api.IpPermission{u.permission()}}}
	}
	return step{ec2, "RevokeSecurityGroupIngress",
		&api.RevokeSecurityGroupIngressRequest{GroupId: &group, IpPermissions: []api.IpPermission{u.permission()}}}
}

// everywhere is the rule that new groups have (AWS docs).
func everywhere() rule { return rule{IpProtocol: "-1", CidrIp: new("0.0.0.0/0")} }

// securityGroupProperties are those of AWS::EC2::SecurityGroup.
type securityGroupProperties struct {
	GroupDescription                          string
	GroupName, VpcId                          *string
	SecurityGroupIngress, SecurityGroupEgress []rule
	Tags                                      tags
}

// securityGroupHandler handles AWS::EC2::SecurityGroup.
func securityGroupHandler() *Handler {
	return typed[securityGroupProperties]{
		schema: &stack.Schema{
			Type: "AWS::EC2::SecurityGroup", Attributes: []string{"GroupId", "Id", "VpcId"}, Taggable: "Tags",
			Properties: properties{
				"GroupDescription": fixed(required(text())), "GroupName": fixed(text()), "VpcId": fixed(text()), "Tags": tagList(),
				"SecurityGroupIngress": listOf(object(ingressSchema())), "SecurityGroupEgress": listOf(object(egressSchema())),
			},
		},
		create: createSecurityGroup, update: updateSecurityGroup,
		delete: func(ctx context.Context, r *Request, _ *securityGroupProperties) error {
			return r.removeSecurityGroup(ctx, r.PhysicalID)
		},
	}.handler()
}

// outward are the rules for what leaves: those of the template, or the usual
// one (AWS docs).
func (p *securityGroupProperties) outward() []rule {
	if len(p.SecurityGroupEgress) == 0 {
		return []rule{everywhere()}
	}
	return p.SecurityGroupEgress
}

func createSecurityGroup(ctx context.Context, r *Request, p *securityGroupProperties) (Result, error) {
	name, _ := r.nameOr(p.GroupName, maxGroupNameEC2)
	id, err := r.makeObject(ctx, newObject{
		kind: "security-group", tags: p.Tags, remove: r.removeSecurityGroup,
		create: func(specs []api.TagSpecification) (*string, error) {
			out, err := call[api.CreateSecurityGroupResult](ctx, r.Client, ec2, "CreateSecurityGroup", &api.CreateSecurityGroupRequest{
				GroupName: &name, Description: &p.GroupDescription, VpcId: p.VpcId, TagSpecifications: specs,
			})
			if err != nil {
				return nil, err
			}
			return out.GroupId, nil
		},
		finish: func(id string) error { return r.changeRules(ctx, id, &securityGroupProperties{}, p) },
	})
	if err != nil {
		return Result{}, err
	}
	return r.securityGroupResult(ctx, id)
}

// changeRules revokes and authorises what differs. Rules that are as wanted
// already, from before a crash, do not matter.
func (r *Request) changeRules(ctx context.Context, id string, old, p *securityGroupProperties) error {
	for _, way := range []struct {
		egress   bool
		old, new []rule
	}{{false, old.SecurityGroupIngress, p.SecurityGroupIngress}, {true, old.outward(), p.outward()}} {
		for _, u := range absent(way.old, way.new) {
			if err := r.Client.without(ctx, u.revoke(id, way.egress)); err != nil {
				return err
			}
		}
		for _, u := range absent(way.new, way.old) {
			if err := r.Client.each(ctx, u.authorize(id, way.egress)); err != nil && !(exists(err) && r.Resumed) {
				return err
			}
		}
	}
	return nil
}

// absent are the rules of a that b has not.
func absent(a, b []rule) []rule {
	return slices.DeleteFunc(slices.Clone(a), func(u rule) bool {
		return slices.ContainsFunc(b, func(other rule) bool { return !differ(u, other) })
	})
}

func (r *Request) securityGroupResult(ctx context.Context, id string) (Result, error) {
	out, err := call[api.DescribeSecurityGroupsResult](ctx, r.Client, ec2, "DescribeSecurityGroups",
		&api.DescribeSecurityGroupsRequest{GroupIds: []string{id}})
	if err != nil {
		return Result{}, err
	}
	return Result{PhysicalID: id, Attributes: map[string]any{"GroupId": id, "Id": id, "VpcId": deref(out.SecurityGroups[0].VpcId)}}, nil
}

func updateSecurityGroup(ctx context.Context, r *Request, old, p *securityGroupProperties) (Result, error) {
	if err := r.changeRules(ctx, r.PhysicalID, old, p); err != nil {
		return Result{}, err
	}
	if err := r.Client.each(ctx, r.retagObject(old.Tags, p.Tags)...); err != nil {
		return Result{}, err
	}
	return r.securityGroupResult(ctx, r.PhysicalID)
}

func (r *Request) removeSecurityGroup(ctx context.Context, id string) error {
	return r.Client.without(ctx, step{ec2, "DeleteSecurityGroup", &api.DeleteSecurityGroupRequest{GroupId: &id}})
}

// ruleProperties are those of a rule that is a resource of its own.
type ruleProperties struct {
	rule
	GroupId, GroupName *string
}

// ruleHandler handles AWS::EC2::SecurityGroupIngress and Egress. The ID of the
// rule changes with its description, so the rule is found by its properties.
func ruleHandler(egress bool) *Handler {
	typ, schema := "AWS::EC2::SecurityGroupIngress", ingressSchema()
	if egress {
		typ, schema = "AWS::EC2::SecurityGroupEgress", egressSchema()
	}
	for name, p := range schema {
		if name != "Description" {
			schema[name] = fixed(p)
		}
	}
	schema["GroupId"] = fixed(text())
	if egress {
		schema["GroupId"] = fixed(required(text()))
	} else {
		schema["GroupName"] = fixed(text())
	}
	return typed[ruleProperties]{
		schema: &stack.Schema{Type: typ, Attributes: []string{"Id"}, Properties: schema},
		create: func(ctx context.Context, r *Request, p *ruleProperties) (Result, error) {
			return r.makeRule(ctx, p, egress)
		},
		update: func(ctx context.Context, r *Request, old, p *ruleProperties) (Result, error) {
			if err := r.removeRule(ctx, old, egress); err != nil {
				return Result{}, err
			}
			_, err := r.makeRule(ctx, p, egress)
			return Result{PhysicalID: r.PhysicalID}, err
		},
		delete: func(ctx context.Context, r *Request, p *ruleProperties) error { return r.removeRule(ctx, p, egress) },
	}.handler()
}

// group finds the group of the rule, by name one of the default VPC.
func (p *ruleProperties) group(ctx context.Context, c *Client) (string, error) {
	if p.GroupId != nil {
		return *p.GroupId, nil
	}
	if p.GroupName == nil { // AWS: recorded
		return "", fault.New(fault.State, "The request must contain the parameter groupName or groupId")
	}
	out, err := call[api.DescribeSecurityGroupsResult](ctx, c, ec2, "DescribeSecurityGroups",
		&api.DescribeSecurityGroupsRequest{GroupNames: []string{*p.GroupName}})
	if err != nil {
		return "", err
	}
	return deref(out.SecurityGroups[0].GroupId), nil
}

func (r *Request) makeRule(ctx context.Context, p *ruleProperties, egress bool) (Result, error) {
	group, err := p.group(ctx, r.Client)
	if err != nil {
		return Result{}, err
	}
	s := p.authorize(group, egress)
	out, err := r.Client.Call(ctx, s.service, s.operation, s.in)
	id := ""
	switch made := out.(type) {
	case *api.AuthorizeSecurityGroupIngressResult:
		id = ruleID(made.SecurityGroupRules)
	case *api.AuthorizeSecurityGroupEgressResult:
		id = ruleID(made.SecurityGroupRules)
	}
	if exists(err) && r.Resumed {
		id, err = r.findRule(ctx, group, p.rule, egress)
	}
	if err != nil {
		return Result{}, err
	}
	return Result{PhysicalID: id, Attributes: map[string]any{"Id": id}}, r.initiated(id)
}

func ruleID(list []api.SecurityGroupRule) string {
	if len(list) == 0 {
		return ""
	}
	return deref(list[0].SecurityGroupRuleId)
}

// findRule finds the rule that a creation before a crash has made.
func (r *Request) findRule(ctx context.Context, group string, u rule, egress bool) (string, error) {
	out, err := call[api.DescribeSecurityGroupRulesResult](ctx, r.Client, ec2, "DescribeSecurityGroupRules",
		&api.DescribeSecurityGroupRulesRequest{Filters: []api.Filter{filter("group-id", group)}})
	if err != nil {
		return "", err
	}
	for _, have := range out.SecurityGroupRules {
		if deref(have.IsEgress) == egress && u.describes(have) {
			return deref(have.SecurityGroupRuleId), nil
		}
	}
	return "", fault.New(fault.NotFound, "The specified rule does not exist in this security group.")
}

// describes reports whether a rule that exists has this one's peer and ports.
func (u rule) describes(have api.SecurityGroupRule) bool {
	ports := u.IpProtocol == "-1" || deref(u.FromPort) == deref(have.FromPort) && deref(u.ToPort) == deref(have.ToPort)
	group := deref(u.SourceSecurityGroupId) + deref(u.DestinationSecurityGroupId)
	peer := ""
	if have.ReferencedGroupInfo != nil {
		peer = deref(have.ReferencedGroupInfo.GroupId)
	}
	return ports && deref(u.CidrIp) == deref(have.CidrIpv4) && deref(u.CidrIpv6) == deref(have.CidrIpv6) && group == peer &&
		deref(u.SourcePrefixListId)+deref(u.DestinationPrefixListId) == deref(have.PrefixListId)
}

func (r *Request) removeRule(ctx context.Context, p *ruleProperties, egress bool) error {
	group, err := p.group(ctx, r.Client)
	if err != nil {
		return gone(err)
	}
	return r.Client.without(ctx, p.revoke(group, egress))
}
