package network

import (
	"fmt"
	"net/netip"
	"slices"
)

// The ports from which clients call, so those that answers must reach: what
// Lambda's environments use lies within (AWS docs).
const (
	ephemeralFrom = 1024
	ephemeralTo   = 65535
)

// Sort puts the entries into the order in which answers list them: ingress
// and egress apart, by number.
func (a *ACL) Sort() {
	slices.SortFunc(a.Entries, func(x, y Entry) int {
		if x.Egress != y.Egress {
			if x.Egress {
				return -1
			}
			return 1
		}
		return int(x.Number - y.Number)
	})
}

// Entry returns the place of an entry in a.Entries; -1 when there is none.
func (a *ACL) Entry(egress bool, number int32) int {
	return slices.IndexFunc(a.Entries, func(e Entry) bool { return e.Egress == egress && e.Number == number })
}

// traffic is a set of packets: those of one protocol to or from the
// addresses, with destination ports in a range.
type traffic struct {
	protocol int32
	peer     netip.Prefix
	from, to int32
}

// decide tells whether the ACL lets all of the traffic through. The entries
// are those that allow it, or the one that denies first a part of it.
func (a *ACL) decide(egress bool, t traffic) (allowed bool, used []Entry) {
	entries := slices.DeleteFunc(slices.Clone(a.Entries), func(e Entry) bool { return e.Egress != egress || !e.concerns(t.protocol) })
	slices.SortFunc(entries, func(x, y Entry) int { return int(x.Number - y.Number) })
	rest := []traffic{t}
	for _, e := range entries {
		var left []traffic
		hit := false
		for _, r := range rest {
			outside, overlaps := e.cut(r)
			left = append(left, outside...)
			hit = hit || overlaps
		}
		if hit && !e.Allow {
			return false, []Entry{e}
		}
		if hit {
			used = append(used, e)
		}
		if rest = left; len(rest) == 0 {
			return true, used
		}
	}
	return false, nil
}

// concerns reports whether the entry matches packets of the protocol.
func (e Entry) concerns(protocol int32) bool {
	return e.Protocol == allProtocols || e.Protocol == protocol
}

// cut returns the part of the traffic that the entry does not match, and
// whether it matches any.
func (e Entry) cut(t traffic) (outside []traffic, overlaps bool) {
	if e.CIDR.Addr().Is4() != t.peer.Addr().Is4() || !e.CIDR.Overlaps(t.peer) {
		return []traffic{t}, false
	}
	from, to := int32(0), int32(65535)
	if e.Protocol != allProtocols && HasPorts(t.protocol) && e.From >= 0 {
		from, to = e.From, e.To
	}
	if to < t.from || t.to < from {
		return []traffic{t}, false
	}
	if t.from < from {
		outside = append(outside, traffic{t.protocol, t.peer, t.from, from - 1})
		t.from = from
	}
	if t.to > to {
		outside = append(outside, traffic{t.protocol, t.peer, to + 1, t.to})
		t.to = to
	}
	for _, p := range without(t.peer, e.CIDR) {
		outside = append(outside, traffic{t.protocol, p, t.from, t.to})
	}
	return outside, true
}

// without returns the parts of a prefix that do not lie in an overlapping
// one.
func without(p, cut netip.Prefix) []netip.Prefix {
	var parts []netip.Prefix
	for p.Bits() < cut.Bits() {
		low := netip.PrefixFrom(p.Addr(), p.Bits()+1).Masked()
		high := netip.PrefixFrom(setBit(low.Addr(), p.Bits()), p.Bits()+1)
		if low.Overlaps(cut) {
			parts, p = append(parts, high), low
		} else {
			parts, p = append(parts, low), high
		}
	}
	return parts
}

// setBit returns the address with the bit, counted from the front, set.
func setBit(a netip.Addr, bit int) netip.Addr {
	b := a.AsSlice()
	b[bit/8] |= 0x80 >> (bit % 8)
	out, _ := netip.AddrFromSlice(b)
	return out
}

// freeNumber is a number for a new entry that is tried before the given one:
// below it in steps of ten where there is room. 0 means that there is none.
func (a *ACL) freeNumber(egress bool, before int32) int32 {
	start := before - 1
	if before == LastEntry {
		last := int32(0)
		for _, e := range a.Entries {
			if e.Egress == egress && e.Number < LastEntry {
				last = max(last, e.Number)
			}
		}
		if next := (last/10 + 1) * 10; next < LastEntry {
			return next
		}
	}
	for _, step := range []int32{10, 1} {
		for n := start / step * step; n > 0; n -= step {
			if a.Entry(egress, n) < 0 {
				return n
			}
		}
	}
	return 0
}

// direction is how entries and commands name the way of packets.
func direction(egress bool) string {
	if egress {
		return "egress"
	}
	return "ingress"
}

// describe is the entry in one line, as evidence.
func (e Entry) describe() string {
	action, ports := "deny", "all ports"
	if e.Allow {
		action = "allow"
	}
	if e.From >= 0 && HasPorts(e.Protocol) {
		ports = fmt.Sprintf("ports %d-%d", e.From, e.To)
	}
	protocol := "all protocols"
	if e.Protocol != allProtocols {
		protocol = ProtocolName(e.Protocol)
	}
	number := fmt.Sprint(e.Number)
	if e.Number == LastEntry {
		number = "*"
	}
	return fmt.Sprintf("%s rule %s: %s %s, %s, %s", direction(e.Egress), number, action, protocol, ports, e.CIDR)
}
