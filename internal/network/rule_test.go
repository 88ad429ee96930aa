package network

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNew(t *testing.T) {
	s := &Snapshot{Account: "123456789012", Region: "ap-southeast-2"}
	vpc, made := s.New(prefix("10.0.0.0/16"), noon)
	if len(made) != 4 || made[0] != Object(vpc) || !vpc.DNSSupport || vpc.DNSHostnames || vpc.Default {
		t.Errorf("got %d objects with %+v", len(made), vpc)
	}
	g := s.DefaultGroup(vpc.ID)
	if len(g.Rules) != 2 || g.Rules[0].GroupID != g.ID || g.Rules[0].Egress || !g.Rules[1].Egress || g.Rules[1].CIDR != anywhere {
		t.Errorf("got rules %+v", g.Rules)
	}
	var numbers []int32
	for _, e := range s.DefaultACL(vpc.ID).Entries {
		numbers = append(numbers, e.Number)
		if e.Allow != (e.Number == 100) {
			t.Errorf("got entry %+v", e)
		}
	}
	if len(numbers) != 4 || numbers[0] != 100 || numbers[1] != LastEntry || numbers[2] != 100 {
		t.Errorf("got numbers %v", numbers)
	}
	if table := s.MainRouteTable(vpc.ID); table.Routes[0].Target != Local || table.Routes[0].Destination != vpc.CIDR {
		t.Errorf("got routes %+v", table.Routes)
	}
	first, _ := s.AddSubnet(vpc, prefix("10.0.1.0/24"), Zones(s.Region)[0], noon)
	if s.ACLOf(first) != s.DefaultACL(vpc.ID) || s.RouteTableOf(first) != s.MainRouteTable(vpc.ID) {
		t.Error("a new subnet is not under the defaults")
	}
}

func TestNewDefault(t *testing.T) {
	s := &Snapshot{Account: "123456789012", Region: "us-east-1"}
	vpc, made := s.NewDefault(noon)
	if len(made) != len(s.Objects()) || s.DefaultVPC() != vpc || !vpc.DNSHostnames {
		t.Errorf("got %d of %d objects", len(made), len(s.Objects()))
	}
	want := []string{"172.31.0.0/20", "172.31.16.0/20", "172.31.32.0/20"}
	for i, n := range s.Subnets {
		if n.CIDR.String() != want[i] || !n.Default || !n.PublicIP {
			t.Errorf("got subnet %+v, want %s", n, want[i])
		}
	}
}

func TestZones(t *testing.T) {
	for region, want := range map[string]string{
		"eu-west-1": "eu-west-1a euw1-az1", "ap-southeast-2": "ap-southeast-2a apse2-az1", "us-gov-west-1": "us-gov-west-1a usgw1-az1", "cn-north-1": "cn-north-1a cnn1-az1",
	} {
		if z := Zones(region)[0]; z.Name+" "+z.ID != want {
			t.Errorf("%s: got %v, want %s", region, z, want)
		}
	}
}

func TestIDs(t *testing.T) {
	id := NewID(PrefixSubnet)
	if !IsID(PrefixSubnet, id) || IsID(PrefixVPC, id) || len(id) != len("subnet-")+17 || KindOf(id) != KindSubnet {
		t.Errorf("got %s", id)
	}
	for text, want := range map[string]bool{"vpc-0a1b2c3d": true, "vpc-0A1B2C3D": false, "vpc-1": false, "vpc": false, "vpc-0123456789abcdefg": false} {
		if got := IsID(PrefixVPC, text); got != want {
			t.Errorf("%s: got %v", text, got)
		}
	}
	if k := KindOf("thing-1"); k != "" {
		t.Errorf("got kind %s", k)
	}
}

func TestRuleString(t *testing.T) {
	for want, r := range map[string]Rule{
		"peer: 10.0.0.0/16, TCP, from port: 443, to port: 443, ALLOW": {Protocol: "tcp", From: 443, To: 443, CIDR: prefix("10.0.0.0/16")},
		"peer: sg-1, ALL, ALLOW": {Protocol: AllProtocols, From: -1, To: -1, GroupID: "sg-1"},
	} {
		if got := r.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestProtocols(t *testing.T) {
	for text, want := range map[string]int32{"tcp": 6, "UDP": 17, "6": 6, "-1": -1, "all": -1, "icmp": 1, "58": 58, "50": 50} {
		if n, ok := ProtocolNumber(text); !ok || n != want {
			t.Errorf("%s: got %d %v", text, n, ok)
		}
	}
	for _, text := range []string{"", "256", "-2", "ipx", "6.0"} {
		if n, ok := ProtocolNumber(text); ok {
			t.Errorf("%q: got %d", text, n)
		}
	}
}

func TestFreeNumber(t *testing.T) {
	for _, tc := range []struct {
		numbers []int32
		before  int32
		want    int32
	}{
		{nil, LastEntry, 10}, {[]int32{100}, LastEntry, 110}, {[]int32{105}, LastEntry, 110}, {[]int32{100}, 100, 90}, {[]int32{10, 5}, 10, 9},
		{[]int32{1}, 1, 0}, {[]int32{1, 2, 3}, 3, 0}, {[]int32{32766}, LastEntry, 32760},
	} {
		a := &ACL{Entries: ClosedEntries()}
		for _, n := range tc.numbers {
			a.Entries = append(a.Entries, Entry{Number: n, Egress: true, Protocol: allProtocols, CIDR: anywhere})
		}
		if got := a.freeNumber(true, tc.before); got != tc.want {
			t.Errorf("%v before %d: got %d, want %d", tc.numbers, tc.before, got, tc.want)
		}
	}
}

func TestLookup(t *testing.T) {
	table := &RouteTable{Routes: []Route{
		{Destination: anywhere, Target: "nat-1"}, {Destination: prefix("10.0.0.0/16"), Target: Local}, {PrefixListID: "pl-1", Target: "vpce-1"},
		{Destination: prefix("192.0.2.0/24"), Target: "tgw-1"},
	}}
	for addr, want := range map[string]string{"10.0.3.4": Local, "192.0.2.9": "tgw-1", "192.0.3.9": "nat-1"} {
		if r := table.Lookup(netip.MustParseAddr(addr)); r == nil || r.Target != want {
			t.Errorf("%s: got %+v, want %s", addr, r, want)
		}
	}
	if r := table.Lookup(netip.MustParseAddr("2001:db8::1")); r != nil {
		t.Errorf("IPv6: got %+v", r)
	}
}

// Addresses of a subnet are given out once each, never AWS's own.
func TestAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Snapshot{Account: "123456789012", Region: "eu-west-1"}
		vpc, _ := s.New(prefix("10.0.0.0/16"), noon)
		n, _ := s.AddSubnet(vpc, netip.PrefixFrom(netip.MustParseAddr("10.0.1.0"), rapid.IntRange(26, 28).Draw(t, "bits")), Zones(s.Region)[0], noon)
		seen := map[netip.Addr]bool{}
		total := s.FreeAddresses(n)
		for i := s.AddInterface(n, InterfaceOfNAT, "", "", nil, noon); i != nil; i = s.AddInterface(n, InterfaceOfNAT, "", "", nil, noon) {
			if seen[i.Address] || !n.CIDR.Contains(i.Address) || i.Address.As4()[3] < 4 {
				t.Fatalf("got %s", i.Address)
			}
			seen[i.Address] = true
			if rapid.IntRange(0, 9).Draw(t, "drop") == 0 {
				delete(seen, i.Address)
				s.Remove(i)
				total++
				if total > 200 {
					return
				}
			}
		}
		if s.FreeAddresses(n) != 0 || len(seen) != 1<<(32-n.CIDR.Bits())-5 {
			t.Fatalf("%d addresses given, %d left", len(seen), s.FreeAddresses(n))
		}
	})
}

func TestDNSNames(t *testing.T) {
	w := newWorld()
	names := w.DNSNames(w.endpoint)
	want := []string{
		w.endpoint.ID + "-abcd1234.secretsmanager.eu-west-1.vpce.amazonaws.com", w.endpoint.ID + "-abcd1234-eu-west-1a.secretsmanager.eu-west-1.vpce.amazonaws.com",
		"secretsmanager.eu-west-1.amazonaws.com",
	}
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("got %v, want %v", names, want)
	}
	if got := ServiceName("cn-north-1", "kms") + " " + RegionalHost("cn-north-1", "kms"); got != "cn.com.amazonaws.cn-north-1.kms kms.cn-north-1.amazonaws.com.cn" {
		t.Errorf("got %s", got)
	}
}
