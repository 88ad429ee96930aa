package network

import (
	"net/netip"
	"slices"
)

// Main reports whether the table is its VPC's main one.
func (t *RouteTable) Main() bool {
	return slices.ContainsFunc(t.Associations, func(a RouteAssociation) bool { return a.Main })
}

// Lookup returns the route that packets to the address take: the one with
// the longest matching prefix; nil when none matches.
func (t *RouteTable) Lookup(to netip.Addr) *Route {
	var best *Route
	for i := range t.Routes {
		r := &t.Routes[i]
		if r.Destination.IsValid() && r.Destination.Contains(to) && (best == nil || r.Destination.Bits() > best.Destination.Bits()) {
			best = r
		}
	}
	return best
}

// Route returns the place of the route to a destination; -1 when there is
// none.
func (t *RouteTable) Route(destination netip.Prefix) int {
	return slices.IndexFunc(t.Routes, func(r Route) bool { return r.Destination == destination })
}

// Blackhole reports whether the route's target is gone, which is the route's
// state then (AWS docs).
func (s *Snapshot) Blackhole(t *RouteTable, r Route) bool {
	switch KindOf(r.Target) {
	case KindInternetGateway:
		g := s.InternetGateway(r.Target)
		return g == nil || g.VPCID != t.VPCID
	case KindNATGateway:
		g := s.NATGateway(r.Target)
		return g == nil || g.State != StateAvailable
	case KindInterface:
		return s.Interface(r.Target) == nil
	case KindEndpoint:
		return s.Endpoint(r.Target) == nil
	}
	return false
}
