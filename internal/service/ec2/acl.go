package ec2

import (
	"context"
	"slices"
	"strconv"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/wire"
)

func (s *Service) aclOps() []wire.Op {
	return []wire.Op{
		wire.Handle("CreateNetworkAcl", s.CreateNetworkAcl),
		wire.Handle("CreateNetworkAclEntry", s.CreateNetworkAclEntry),
		wire.Handle("DeleteNetworkAcl", s.DeleteNetworkAcl),
		wire.Handle("DeleteNetworkAclEntry", s.DeleteNetworkAclEntry),
		wire.Handle("DescribeNetworkAcls", s.DescribeNetworkAcls),
		wire.Handle("ReplaceNetworkAclAssociation", s.ReplaceNetworkAclAssociation),
		wire.Handle("ReplaceNetworkAclEntry", s.ReplaceNetworkAclEntry),
	}
}

// maxEntries is how many entries a network ACL may have in each direction
// (AWS docs: the most that the quota can be raised to).
const maxEntries = 40

// CreateNetworkAcl makes a network ACL that denies everything.
func (s *Service) CreateNetworkAcl(ctx context.Context, call *wire.Call, in *api.CreateNetworkAclRequest) (*api.CreateNetworkAclResult, error) {
	out := &api.CreateNetworkAclResult{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		if err := w.allowNew(network.KindACL, *in.VpcId, in.TagSpecifications); err != nil {
			return err
		}
		vpc, err := w.vpc(*in.VpcId)
		if err != nil {
			return err
		}
		a, err := repeated(w.ACLs, in.ClientToken, in)
		if err != nil {
			return err
		}
		if a == nil {
			tags, err := w.newTags(network.KindACL, in.TagSpecifications)
			if err != nil {
				return err
			}
			a = &network.ACL{Record: w.base(network.PrefixACL, vpc.ID), Entries: network.ClosedEntries()}
			a.Tags = tags
			remember(&a.Record, in.ClientToken, in)
			w.make(a)
		}
		w.concerns(a)
		out.NetworkAcl, out.ClientToken = new(shownACL(w, a)), in.ClientToken
		return nil
	})
}

// DeleteNetworkAcl deletes a network ACL that no subnet has.
func (s *Service) DeleteNetworkAcl(ctx context.Context, call *wire.Call, in *api.DeleteNetworkAclRequest) (*api.DeleteNetworkAclResponse, error) {
	out := &api.DeleteNetworkAclResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		a, err := w.acl(*in.NetworkAclId)
		if err != nil {
			return err
		}
		if a.Default {
			return fault.New(invalidParameter, "cannot delete default network ACL %s", a.ID)
		}
		if len(a.Associations) > 0 {
			return dependent("networkAcl", a.ID)
		}
		w.remove(a)
		return nil
	})
}

// newEntry reads an entry of a request.
func newEntry(number int64, protocol, action string, egress bool, cidr, ipv6 *string, icmp *api.IcmpTypeCode, ports *api.PortRange) (network.Entry, error) {
	e := network.Entry{Egress: egress, Allow: action == api.RuleActionAllow, From: -1, To: -1, ICMPType: -1, ICMPCode: -1}
	if number < 1 || number >= network.LastEntry {
		return e, invalid(number, "ruleNumber", "The network acl entry number must be between 1 and 32766.")
	}
	e.Number = int32(number)
	n, ok := network.ProtocolNumber(protocol)
	if !ok {
		return e, fault.New(invalidValue, "Invalid value '%s' for IP protocol. Unknown protocol.", protocol)
	}
	e.Protocol = n
	if ipv6 != nil {
		return e, fault.New(invalidValue, "IPv6 is not supported here.")
	}
	if cidr == nil {
		return e, lacks("cidrBlock")
	}
	var err error
	if e.CIDR, err = parseCIDR(*cidr, "cidrBlock"); err != nil {
		return e, err
	}
	if icmp != nil && icmp.Type != nil {
		e.ICMPType = int32(*icmp.Type)
		if icmp.Code != nil {
			e.ICMPCode = int32(*icmp.Code)
		}
	}
	if !network.HasPorts(n) {
		return e, nil
	}
	if ports == nil || ports.From == nil || ports.To == nil {
		return e, fault.New(missingParameter, "The request must contain the parameter portRange.from and portRange.to for TCP and UDP")
	}
	if *ports.From < 0 || *ports.To > 65535 || *ports.From > *ports.To {
		return e, fault.New(invalidValue, "Invalid TCP/UDP port range (%d:%d)", *ports.From, *ports.To)
	}
	e.From, e.To = int32(*ports.From), int32(*ports.To)
	return e, nil
}

// CreateNetworkAclEntry adds an entry whose number is free.
func (s *Service) CreateNetworkAclEntry(ctx context.Context, call *wire.Call, in *api.CreateNetworkAclEntryRequest) (*api.CreateNetworkAclEntryResponse, error) {
	out := &api.CreateNetworkAclEntryResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		a, err := w.acl(*in.NetworkAclId)
		if err != nil {
			return err
		}
		e, err := newEntry(*in.RuleNumber, *in.Protocol, *in.RuleAction, *in.Egress, in.CidrBlock, in.Ipv6CidrBlock, in.IcmpTypeCode, in.PortRange)
		if err != nil {
			return err
		}
		if a.Entry(e.Egress, e.Number) >= 0 {
			return fault.New(entryExists, "The network acl entry identified by %d already exists.", e.Number)
		}
		count := 0
		for _, x := range a.Entries {
			if x.Egress == e.Egress && x.Number != network.LastEntry {
				count++
			}
		}
		if count >= maxEntries {
			return fault.New(tooManyEntries, "The maximum number of network acl entries has been reached.")
		}
		a.Entries = append(a.Entries, e)
		a.Sort()
		w.save(a)
		return nil
	})
}

// ReplaceNetworkAclEntry puts an entry in the place of one with its number.
func (s *Service) ReplaceNetworkAclEntry(ctx context.Context, call *wire.Call, in *api.ReplaceNetworkAclEntryRequest) (*api.ReplaceNetworkAclEntryResponse, error) {
	out := &api.ReplaceNetworkAclEntryResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		a, err := w.acl(*in.NetworkAclId)
		if err != nil {
			return err
		}
		e, err := newEntry(*in.RuleNumber, *in.Protocol, *in.RuleAction, *in.Egress, in.CidrBlock, in.Ipv6CidrBlock, in.IcmpTypeCode, in.PortRange)
		if err != nil {
			return err
		}
		i := a.Entry(e.Egress, e.Number)
		if i < 0 {
			return noEntry(a, int64(e.Number), e.Egress)
		}
		a.Entries[i] = e
		w.save(a)
		return nil
	})
}

// noEntry says that an entry does not exist (AWS: recorded).
func noEntry(a *network.ACL, number int64, egress bool) error {
	direction := "ingress"
	if egress {
		direction = "egress"
	}
	return fault.New(entryMissing, "The specified entry with rule number %d in the %s direction does not exist in network ACL %s", number, direction, a.ID)
}

// DeleteNetworkAclEntry removes an entry.
func (s *Service) DeleteNetworkAclEntry(ctx context.Context, call *wire.Call, in *api.DeleteNetworkAclEntryRequest) (*api.DeleteNetworkAclEntryResponse, error) {
	out := &api.DeleteNetworkAclEntryResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		a, err := w.acl(*in.NetworkAclId)
		if err != nil {
			return err
		}
		if *in.RuleNumber < 1 || *in.RuleNumber >= network.LastEntry {
			return invalid(*in.RuleNumber, "ruleNumber", "The network acl entry number must be between 1 and 32766.")
		}
		i := a.Entry(*in.Egress, int32(*in.RuleNumber))
		if i < 0 {
			return noEntry(a, *in.RuleNumber, *in.Egress)
		}
		a.Entries = slices.Delete(a.Entries, i, i+1)
		w.save(a)
		return nil
	})
}

// ReplaceNetworkAclAssociation puts a subnet under another network ACL.
func (s *Service) ReplaceNetworkAclAssociation(ctx context.Context, call *wire.Call, in *api.ReplaceNetworkAclAssociationRequest) (*api.ReplaceNetworkAclAssociationResult, error) {
	out := &api.ReplaceNetworkAclAssociationResult{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		to, err := w.acl(*in.NetworkAclId)
		if err != nil {
			return err
		}
		for _, from := range w.ACLs {
			i := slices.IndexFunc(from.Associations, func(x network.ACLAssociation) bool { return x.ID == *in.AssociationId })
			if i < 0 {
				continue
			}
			if err := w.allow(network.KindSubnet, from.Associations[i].SubnetID, w.Subnet(from.Associations[i].SubnetID)); err != nil {
				return err
			}
			if from.VPCID != to.VPCID {
				return fault.New(invalidParameter, "network ACL %s and network ACL %s belong to different networks", from.ID, to.ID)
			}
			moved := network.ACLAssociation{ID: network.NewID(network.PrefixACLAssociation), SubnetID: from.Associations[i].SubnetID}
			w.withoutACL(from, moved.SubnetID)
			to.Associations = append(to.Associations, moved)
			w.save(from, to)
			out.NewAssociationId = &moved.ID
			return nil
		}
		return fault.New(associationMissing, "The association ID '%s' does not exist", *in.AssociationId)
	})
}

func shownACL(w *work, a *network.ACL) api.NetworkAcl {
	out := api.NetworkAcl{
		NetworkAclId: &a.ID, VpcId: &a.VPCID, OwnerId: &w.Account, IsDefault: &a.Default, Tags: shownTags(a.Tags),
		Associations: []api.NetworkAclAssociation{}, Entries: []api.NetworkAclEntry{},
	}
	for _, x := range a.Associations {
		out.Associations = append(out.Associations, api.NetworkAclAssociation{NetworkAclAssociationId: &x.ID, NetworkAclId: &a.ID, SubnetId: &x.SubnetID})
	}
	a.Sort()
	for _, e := range a.Entries {
		out.Entries = append(out.Entries, shownEntry(e))
	}
	return out
}

func action(e network.Entry) string {
	if e.Allow {
		return api.RuleActionAllow
	}
	return api.RuleActionDeny
}

func shownEntry(e network.Entry) api.NetworkAclEntry {
	out := api.NetworkAclEntry{
		RuleNumber: new(int64(e.Number)), Protocol: new(strconv.Itoa(int(e.Protocol))), RuleAction: new(action(e)), Egress: &e.Egress, CidrBlock: new(e.CIDR.String()),
	}
	if e.From >= 0 {
		out.PortRange = &api.PortRange{From: new(int64(e.From)), To: new(int64(e.To))}
	}
	if e.Protocol == 1 {
		out.IcmpTypeCode = &api.IcmpTypeCode{Type: new(int64(e.ICMPType)), Code: new(int64(e.ICMPCode))}
	}
	return out
}

func aclFields(_ *work, a *network.ACL, name string) ([]string, bool) {
	switch name {
	case "default":
		return truth(a.Default)
	case "network-acl-id":
		return one(a.ID)
	}
	var values []string
	if of, ok := strings.CutPrefix(name, "association."); ok {
		for _, x := range a.Associations {
			values = append(values, map[string]string{"association-id": x.ID, "network-acl-id": a.ID, "subnet-id": x.SubnetID}[of])
		}
		return values, of == "association-id" || of == "network-acl-id" || of == "subnet-id"
	}
	of, ok := strings.CutPrefix(name, "entry.")
	if !ok {
		return nil, false
	}
	for _, e := range a.Entries {
		v, known := entryField(e, of)
		if !known {
			return nil, false
		}
		values = append(values, v)
	}
	return values, true
}

// entryField is an entry's value for a filter (AWS docs).
func entryField(e network.Entry, name string) (string, bool) {
	switch name {
	case "cidr":
		return e.CIDR.String(), true
	case "egress":
		return strconv.FormatBool(e.Egress), true
	case "port-range.from":
		return strconv.Itoa(int(e.From)), true
	case "port-range.to":
		return strconv.Itoa(int(e.To)), true
	case "protocol":
		return strconv.Itoa(int(e.Protocol)), true
	case "rule-action":
		return action(e), true
	case "rule-number":
		return strconv.Itoa(int(e.Number)), true
	}
	return "", false
}

// DescribeNetworkAcls lists network ACLs.
func (s *Service) DescribeNetworkAcls(ctx context.Context, call *wire.Call, in *api.DescribeNetworkAclsRequest) (out *api.DescribeNetworkAclsResult, err error) {
	out = &api.DescribeNetworkAclsResult{}
	out.NetworkAcls, out.NextToken, err = describe(ctx, s, call, network.KindACL, query{in.NetworkAclIds, in.Filters, in.MaxResults, in.NextToken, in.DryRun},
		func(w *work) []*network.ACL { return w.ACLs }, aclFields, shownACL)
	return out, err
}
