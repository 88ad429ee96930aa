package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The protocols that have names, and their IANA numbers.
const (
	AllProtocols   = "-1"
	allProtocols   = -1
	protocolICMP   = 1
	protocolTCP    = 6
	protocolUDP    = 17
	protocolICMPv6 = 58
)

// ProtocolNumber reads a protocol: tcp, udp, icmp, icmpv6, all, -1, or a
// number of 0 to 255. ok is false for anything else.
func ProtocolNumber(s string) (n int32, ok bool) {
	switch strings.ToLower(s) {
	case "tcp":
		return protocolTCP, true
	case "udp":
		return protocolUDP, true
	case "icmp":
		return protocolICMP, true
	case "icmpv6":
		return protocolICMPv6, true
	case "all", AllProtocols:
		return allProtocols, true
	}
	v, err := strconv.ParseUint(s, 10, 8)
	return int32(v), err == nil
}

// ProtocolName is how rules of security groups spell a protocol: by name
// where it has one (AWS: recorded).
func ProtocolName(n int32) string {
	switch n {
	case protocolTCP:
		return "tcp"
	case protocolUDP:
		return "udp"
	case protocolICMP:
		return "icmp"
	case protocolICMPv6:
		return "icmpv6"
	}
	return strconv.Itoa(int(n))
}

// HasPorts reports whether rules for the protocol name ports: tcp and udp
// (AWS docs).
func HasPorts(protocol int32) bool { return protocol == protocolTCP || protocol == protocolUDP }

// Same reports whether two rules allow the same in the same direction; IDs,
// descriptions and tags aside.
func (r Rule) Same(o Rule) bool {
	return r.Egress == o.Egress && r.Protocol == o.Protocol && r.From == o.From && r.To == o.To &&
		r.CIDR == o.CIDR && r.GroupID == o.GroupID && r.PrefixListID == o.PrefixListID
}

// Peer is what the rule lets in or out: a CIDR, a group or a prefix list.
func (r Rule) Peer() string {
	switch {
	case r.GroupID != "":
		return r.GroupID
	case r.PrefixListID != "":
		return r.PrefixListID
	}
	return r.CIDR.String()
}

// String describes the rule in the words of AWS's errors: peer: 10.0.0.0/16,
// TCP, from port: 443, to port: 443, ALLOW (AWS: recorded; for all protocols
// without ports).
func (r Rule) String() string {
	if r.Protocol == AllProtocols {
		return fmt.Sprintf("peer: %s, ALL, ALLOW", r.Peer())
	}
	return fmt.Sprintf("peer: %s, %s, from port: %d, to port: %d, ALLOW", r.Peer(), strings.ToUpper(r.Protocol), r.From, r.To)
}

// matches reports whether the rule allows a protocol and port.
func (r Rule) matches(protocol int32, port uint16) bool {
	n, ok := ProtocolNumber(r.Protocol)
	if !ok || n != allProtocols && n != protocol {
		return false
	}
	return n == allProtocols || !HasPorts(protocol) || r.From == -1 || r.From <= int32(port) && int32(port) <= r.To
}

// allowing returns the first rule of the groups that allows the port towards
// or from a peer that has all of the addresses and stands in the peer
// groups; nil when none does. Security groups only allow, so the order does
// not matter.
func allowing(groups []*SecurityGroup, egress bool, protocol int32, port uint16, peer netip.Prefix, peerGroups []string) *Rule {
	for _, g := range groups {
		for i := range g.Rules {
			r := &g.Rules[i]
			if r.Egress != egress || !r.matches(protocol, port) {
				continue
			}
			if r.GroupID != "" && slices.Contains(peerGroups, r.GroupID) || r.CIDR.IsValid() && covers(r.CIDR, peer) {
				return r
			}
		}
	}
	return nil
}

// covers reports whether outer holds every address of inner.
func covers(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// Referrers returns the IDs of the other groups whose rules name the group.
func (s *Snapshot) Referrers(groupID string) []string {
	var ids []string
	for _, g := range s.Groups {
		if g.ID != groupID && slices.ContainsFunc(g.Rules, func(r Rule) bool { return r.GroupID == groupID }) {
			ids = append(ids, g.ID)
		}
	}
	return ids
}
