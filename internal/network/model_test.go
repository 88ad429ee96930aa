package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawPrefix draws a small block around 10.0.0.0, so that blocks overlap.
func drawPrefix(t *rapid.T, label string) netip.Prefix {
	bits := rapid.IntRange(24, 32).Draw(t, label+" bits")
	last := rapid.Byte().Draw(t, label+" address")
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, last}), bits).Masked()
}

func drawPorts(t *rapid.T, label string) (from, to int32) {
	a, b := rapid.Int32Range(0, 12).Draw(t, label+" from"), rapid.Int32Range(0, 12).Draw(t, label+" to")
	return min(a, b), max(a, b)
}

// decideOne is what an ACL does with one packet, straight from the docs.
func decideOne(entries []Entry, egress bool, to netip.Addr, port int32) bool {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int { return int(a.Number - b.Number) })
	for _, e := range entries {
		if e.Egress == egress && (e.Protocol == allProtocols || e.Protocol == protocolTCP && e.From <= port && port <= e.To) && e.CIDR.Contains(to) {
			return e.Allow
		}
	}
	return false
}

// A block of addresses and ports passes an ACL just when each packet does.
func TestACLModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := &ACL{Entries: ClosedEntries()}
		for i := range rapid.IntRange(0, 6).Draw(t, "entries") {
			e := Entry{Number: int32(i + 1), Protocol: rapid.SampledFrom([]int32{allProtocols, protocolTCP, protocolUDP}).Draw(t, "protocol"),
				Allow: rapid.Bool().Draw(t, "allow"), Egress: rapid.Bool().Draw(t, "egress"), CIDR: drawPrefix(t, "entry")}
			e.From, e.To = drawPorts(t, "entry")
			if e.Protocol == allProtocols {
				e.From, e.To = -1, -1
			}
			a.Entries = append(a.Entries, e)
		}
		peer, egress := drawPrefix(t, "peer"), rapid.Bool().Draw(t, "way")
		from, to := drawPorts(t, "peer")
		want := true
		for addr := peer.Addr(); peer.Contains(addr) && want; addr = addr.Next() {
			for port := from; port <= to && want; port++ {
				want = decideOne(a.Entries, egress, addr, port)
			}
		}
		got, used := a.decide(egress, traffic{protocolTCP, peer, from, to})
		if got != want {
			t.Fatalf("%v ports %d-%d: got %v by %v, want %v with %+v", peer, from, to, got, used, want, a.Entries)
		}
		if !got && len(used) == 1 && used[0].Allow {
			t.Fatalf("refused by %+v, which allows", used[0])
		}
	})
}

// drawWorld draws a world with an endpoint and a database that the function
// reaches: by exactly one rule at each place, so that each is needed.
func drawWorld(t *rapid.T) *world {
	w := newWorld()
	target := rapid.SampledFrom([]string{"group", "block", "host"}).Draw(t, "egress to")
	peer := func(r *Rule, groupID string, block, host netip.Prefix) {
		r.CIDR, r.GroupID = netip.Prefix{}, ""
		switch target {
		case "group":
			r.GroupID = groupID
		case "block":
			r.CIDR = block
		case "host":
			r.CIDR = host
		}
	}
	peer(&w.function.Rules[0], w.endpoints.ID, w.data.CIDR, prefix("10.0.2.10/32"))
	peer(&w.function.Rules[1], w.dbGroup.ID, w.data.CIDR, prefix("10.0.2.20/32"))
	if rapid.Bool().Draw(t, "from a block") {
		w.endpoints.Rules[0].GroupID, w.endpoints.Rules[0].CIDR = "", w.private.CIDR
		w.dbGroup.Rules[0].GroupID, w.dbGroup.Rules[0].CIDR = "", w.vpc.CIDR
	}
	if rapid.Bool().Draw(t, "attached") {
		w.Attach("rotate", w.from(), noon)
	}
	for i, n := 0, rapid.IntRange(0, 3).Draw(t, "idle rules"); i < n; i++ {
		w.function.Rules = append(w.function.Rules, Rule{ID: NewID(PrefixRule), Egress: true, Protocol: "tcp", From: 8000, To: 9000, CIDR: drawPrefix(t, "idle")})
	}
	return w
}

// Every rule that the report names as used is needed: without it the
// connection is refused where the rule was.
func TestUsedRulesAreNeeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		to := rapid.SampledFrom([]Destination{toSecrets, toDatabase}).Draw(t, "to")
		report := Analyze(w.Snapshot, Path{From: w.from(), To: to})
		if report.Verdict != Allowed {
			t.Fatalf("refused: %+v", report.Refusal())
		}
		var used []Hop
		for _, h := range report.Hops {
			if len(h.Used) > 0 {
				used = append(used, h)
			}
		}
		if len(used) != 6 { // two groups, two ACLs both ways
			t.Fatalf("got %d hops with rules, want 6: %+v", len(used), used)
		}
		h := rapid.SampledFrom(used).Draw(t, "hop")
		w.removeRule(t, rapid.SampledFrom(h.Used).Draw(t, "rule"))
		after := Analyze(w.Snapshot, Path{From: w.from(), To: to})
		if r := after.Refusal(); r == nil || r.Stage != h.Stage || r.Verdict != Dropped {
			t.Fatalf("without the rule at %s: got %+v", h.Stage, r)
		}
	})
}

// removeRule takes away what Hop.Used names.
func (w *world) removeRule(t *rapid.T, name string) {
	if id, rest, ok := strings.Cut(name, "/"); ok {
		way, number, _ := strings.Cut(rest, "/")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		drop(w.ACL(id), way == "egress", int32(n))
		return
	}
	for _, g := range w.Groups {
		g.Rules = slices.DeleteFunc(g.Rules, func(r Rule) bool { return r.ID == name })
	}
}

// A network as AWS makes it, with open groups, lets everything in the VPC
// pass, whatever it is made of.
func TestOpenNetworkPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Snapshot{Account: "123456789012", Region: "eu-west-1"}
		vpc, _ := s.New(prefix("10.0.0.0/16"), noon)
		vpc.DNSHostnames = true
		open := &SecurityGroup{Record: Record{ID: NewID(PrefixGroup), VPCID: vpc.ID}, Rules: []Rule{OpenEgress(), {ID: NewID(PrefixRule), Protocol: AllProtocols, From: -1, To: -1, CIDR: anywhere}}}
		s.Add(open)
		var ids []string
		for i := range rapid.IntRange(1, 5).Draw(t, "subnets") {
			n, _ := s.AddSubnet(vpc, prefix(fmt.Sprintf("10.0.%d.0/24", i)), Zones(s.Region)[i%3], noon)
			ids = append(ids, n.ID)
		}
		s.Add(&Endpoint{Record: Record{ID: NewID(PrefixEndpoint), VPCID: vpc.ID}, Service: ServiceName(s.Region, "secretsmanager"), Type: Interfaced,
			State: StateAvailable, SubnetIDs: ids, GroupIDs: []string{open.ID}, PrivateDNS: true})
		from := VPCConfig{SubnetIDs: rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 1, len(ids), rapid.ID).Draw(t, "from"), GroupIDs: []string{open.ID}}
		if r := Analyze(s, Path{From: from, To: toSecrets}).Refusal(); r != nil {
			t.Fatalf("to the endpoint: %+v", r)
		}
		to := netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 5).Draw(t, "third")), rapid.Byte().Draw(t, "fourth")})
		if v := Egress(s, from, to, uint16(rapid.IntRange(1, 65535).Draw(t, "port")), rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t, "protocol")); v != Allowed {
			t.Fatalf("to %s: got %v", to, v)
		}
	})
}

// Every refusal can be mended: what the fix says, done, lets the connection
// pass that hop. Here for rules of groups and ACLs.
func TestFixesMend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for _, a := range []*ACL{w.acl, w.dataACL} {
			if rapid.Bool().Draw(t, "deny") {
				a.Entries = append(a.Entries, Entry{Number: rapid.Int32Range(1, 99).Draw(t, "number"), Egress: rapid.Bool().Draw(t, "egress"),
					Protocol: protocolTCP, CIDR: drawPrefix10(t), From: 0, To: rapid.Int32Range(100, 65535).Draw(t, "to")})
			}
		}
		for _, g := range []*SecurityGroup{w.function, w.endpoints} {
			if rapid.Bool().Draw(t, "no rules") {
				g.Rules = nil
			}
		}
		for range 8 {
			r := Analyze(w.Snapshot, Path{From: w.from(), To: toSecrets}).Refusal()
			if r == nil {
				return
			}
			w.apply(t, r)
		}
		t.Fatalf("still refused after eight fixes: %+v", Analyze(w.Snapshot, Path{From: w.from(), To: toSecrets}).Refusal())
	})
}

func drawPrefix10(t *rapid.T) netip.Prefix {
	return rapid.SampledFrom([]netip.Prefix{prefix("10.0.0.0/16"), prefix("10.0.2.0/24"), prefix("10.0.1.0/25"), anywhere}).Draw(t, "denied")
}

// apply does what the command of a refusal says.
func (w *world) apply(t *rapid.T, h *Hop) {
	words := strings.Fields(strings.ReplaceAll(h.Fix, "'", ""))
	value := func(flag string) string {
		if i := slices.Index(words, flag); i >= 0 && i+1 < len(words) {
			return words[i+1]
		}
		return ""
	}
	number := func(s string) int32 {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%q in %q", s, h.Fix)
		}
		return int32(n)
	}
	switch words[2] {
	case "create-network-acl-entry":
		e := Entry{Number: number(value("--rule-number")), Egress: slices.Contains(words, "--egress"), Protocol: protocolTCP, Allow: true, CIDR: prefix(value("--cidr-block"))}
		from, to, _ := strings.Cut(strings.TrimPrefix(value("--port-range"), "From="), ",To=")
		e.From, e.To = number(from), number(to)
		a := w.ACL(value("--network-acl-id"))
		if a.Entry(e.Egress, e.Number) >= 0 {
			t.Fatalf("the number in %q is taken", h.Fix)
		}
		a.Entries = append(a.Entries, e)
	case "delete-network-acl-entry":
		drop(w.ACL(value("--network-acl-id")), slices.Contains(words, "--egress"), number(value("--rule-number")))
	case "authorize-security-group-egress", "authorize-security-group-ingress":
		r := Rule{ID: NewID(PrefixRule), Egress: strings.HasSuffix(words[2], "egress")}
		for _, part := range strings.Split(value("--ip-permissions"), ",") {
			name, v, _ := strings.Cut(part, "=")
			switch name {
			case "IpProtocol":
				r.Protocol = v
			case "FromPort":
				r.From = number(v)
			case "ToPort":
				r.To = number(v)
			case "UserIdGroupPairs":
				r.GroupID = strings.TrimSuffix(strings.TrimPrefix(v, "[{GroupId="), "}]")
			case "IpRanges":
				r.CIDR = prefix(strings.TrimSuffix(strings.TrimPrefix(v, "[{CidrIp="), "}]"))
			}
		}
		g := w.Group(value("--group-id"))
		g.Rules = append(g.Rules, r)
	default:
		t.Fatalf("%+v", h)
	}
}
