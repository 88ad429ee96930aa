package network

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// world is a network in which a function reaches everything: a private
// subnet for the function, one for an endpoint and a database, and a public
// one with a NAT gateway.
type world struct {
	*Snapshot
	vpc                          *VPC
	private, data, public        *Subnet
	function, endpoints, dbGroup *SecurityGroup
	acl, dataACL, publicACL      *ACL
	main, publicTable            *RouteTable
	gateway                      *InternetGateway
	nat                          *NATGateway
	endpoint                     *Endpoint
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func newWorld() *world {
	w := &world{Snapshot: &Snapshot{Account: "123456789012", Region: "eu-west-1"}}
	w.vpc, _ = w.New(prefix("10.0.0.0/16"), noon)
	w.vpc.DNSHostnames = true
	zones := Zones(w.Region)
	w.private, _ = w.AddSubnet(w.vpc, prefix("10.0.1.0/24"), zones[0], noon)
	w.data, _ = w.AddSubnet(w.vpc, prefix("10.0.2.0/24"), zones[0], noon)
	w.public, _ = w.AddSubnet(w.vpc, prefix("10.0.3.0/24"), zones[0], noon)
	w.function = w.group("function", Rule{Egress: true, Protocol: "tcp", From: 443, To: 443, CIDR: prefix("0.0.0.0/0")})
	w.endpoints = w.group("endpoints", Rule{Protocol: "tcp", From: 443, To: 443, GroupID: w.function.ID})
	w.dbGroup = w.group("database", Rule{Protocol: "tcp", From: 5432, To: 5432, GroupID: w.function.ID})
	w.function.Rules = append(w.function.Rules, Rule{ID: NewID(PrefixRule), Egress: true, Protocol: "tcp", From: 5432, To: 5432, GroupID: w.dbGroup.ID})
	w.acl, w.dataACL, w.publicACL = w.aclAround(w.private), w.aclAround(w.data), w.aclAround(w.public)
	w.main = w.MainRouteTable(w.vpc.ID)
	w.gateway = &InternetGateway{Record{ID: NewID(PrefixInternetGateway), VPCID: w.vpc.ID}}
	w.nat = &NATGateway{Record: Record{ID: NewID(PrefixNATGateway), VPCID: w.vpc.ID}, SubnetID: w.public.ID, State: StateAvailable, Public: true}
	w.publicTable = &RouteTable{Record: Record{ID: NewID(PrefixRouteTable), VPCID: w.vpc.ID},
		Routes:       []Route{{Destination: w.vpc.CIDR, Target: Local}, {Destination: anywhere, Target: w.gateway.ID}},
		Associations: []RouteAssociation{{ID: NewID(PrefixRouteAssociation), SubnetID: w.public.ID}}}
	w.Add(w.gateway)
	w.Add(w.nat)
	w.Add(w.publicTable)
	w.endpoint = &Endpoint{Record: Record{ID: NewID(PrefixEndpoint), VPCID: w.vpc.ID}, Service: "com.amazonaws.eu-west-1.secretsmanager",
		Type: Interfaced, State: StateAvailable, SubnetIDs: []string{w.data.ID}, GroupIDs: []string{w.endpoints.ID}, PrivateDNS: true, Label: "abcd1234"}
	face := &Interface{Record: Record{ID: NewID(PrefixInterface), VPCID: w.vpc.ID}, SubnetID: w.data.ID, Address: netip.MustParseAddr("10.0.2.10"),
		GroupIDs: w.endpoint.GroupIDs, Type: InterfaceOfEndpoint}
	w.endpoint.InterfaceIDs = []string{face.ID}
	w.Add(w.endpoint)
	w.Add(face)
	w.Databases = []Database{{ID: "orders", Host: "orders.abc.eu-west-1.rds.amazonaws.com", Address: netip.MustParseAddr("10.0.2.20"), Port: 5432,
		VPCID: w.vpc.ID, SubnetIDs: []string{w.data.ID}, GroupIDs: []string{w.dbGroup.ID}}}
	return w
}

func (w *world) group(name string, rules ...Rule) *SecurityGroup {
	g := &SecurityGroup{Record: Record{ID: NewID(PrefixGroup), VPCID: w.vpc.ID}, Name: name, Rules: rules}
	for i := range g.Rules {
		g.Rules[i].ID = NewID(PrefixRule)
	}
	w.Add(g)
	return g
}

// aclAround gives the subnet a network ACL of its own that lets HTTPS, the
// database's port and answers through.
func (w *world) aclAround(n *Subnet) *ACL {
	a := &ACL{Record: Record{ID: NewID(PrefixACL), VPCID: n.VPCID}, Entries: ClosedEntries()}
	for _, egress := range []bool{false, true} {
		for i, ports := range [][2]int32{{443, 443}, {ephemeralFrom, ephemeralTo}} {
			a.Entries = append(a.Entries, Entry{Number: int32(100 + 10*i), Egress: egress, Protocol: protocolTCP, Allow: true, CIDR: anywhere, From: ports[0], To: ports[1]})
		}
	}
	a.Associations = []ACLAssociation{{NewID(PrefixACLAssociation), n.ID}}
	d := w.DefaultACL(n.VPCID)
	d.Associations = slices.DeleteFunc(d.Associations, func(x ACLAssociation) bool { return x.SubnetID == n.ID })
	a.Sort()
	w.Add(a)
	return a
}

func (w *world) from() VPCConfig {
	return VPCConfig{SubnetIDs: []string{w.private.ID}, GroupIDs: []string{w.function.ID}}
}

// throughNAT removes the endpoint and leads the private subnet to the NAT
// gateway.
func (w *world) throughNAT() {
	w.Endpoints = nil
	w.main.Routes = append(w.main.Routes, Route{Destination: anywhere, Target: w.nat.ID})
}

// drop removes entries of an ACL.
func drop(a *ACL, egress bool, numbers ...int32) {
	for _, n := range numbers {
		if i := a.Entry(egress, n); i >= 0 {
			a.Entries = append(a.Entries[:i], a.Entries[i+1:]...)
		}
	}
}

var (
	toSecrets  = Destination{Service: "secretsmanager"}
	toDatabase = Destination{Database: "orders"}
	toAddress  = Destination{Address: netip.MustParseAddr("198.51.100.7"), Port: 443}
)

// analyzeCase is a change to the world and what then becomes of the way to a
// destination.
type analyzeCase struct {
	name   string
	to     func(*world) Destination
	change func(*world)
	// verdict, stage and resource of the refusal; "" for one that passes
	verdict  Verdict
	stage    Stage
	resource func(*world) string
	fix      string
}

func fixed(d Destination) func(*world) Destination { return func(*world) Destination { return d } }

// byName calls the endpoint by its own name.
func byName(w *world) Destination {
	return Destination{Service: "secretsmanager", Host: w.DNSNames(w.endpoint)[0]}
}

// endpointCases are about the endpoint and its name.
func endpointCases() []analyzeCase {
	return []analyzeCase{
		{"endpoint", fixed(toSecrets), func(w *world) {}, Allowed, "", nil, ""},
		{"endpoint by its own name", byName, func(w *world) {}, Allowed, "", nil, ""},
		{"endpoint by its zone's name", func(w *world) Destination {
			return Destination{Service: "secretsmanager", Host: w.DNSNames(w.endpoint)[1]}
		}, func(w *world) {}, Allowed, "", nil, ""},
		{"another zone's name", func(w *world) Destination {
			return Destination{Service: "secretsmanager", Host: strings.Replace(w.DNSNames(w.endpoint)[1], "eu-west-1a", "eu-west-1b", 1)}
		}, func(w *world) {}, NoRoute, StageEndpoint, func(w *world) string { return w.endpoint.ID }, "--add-subnet-ids"},
		{"own name without private DNS", byName, func(w *world) { w.endpoint.PrivateDNS, w.vpc.DNSHostnames = false, false }, Allowed, "", nil, ""},
		{"private DNS off", fixed(toSecrets), func(w *world) { w.endpoint.PrivateDNS = false },
			NoRoute, StageDNS, func(w *world) string { return w.endpoint.ID }, "modify-vpc-endpoint --vpc-endpoint-id {} --private-dns-enabled"},
		{"DNS support off", fixed(toSecrets), func(w *world) { w.vpc.DNSSupport = false },
			NoRoute, StageDNS, func(w *world) string { return w.vpc.ID }, "modify-vpc-attribute --vpc-id {} --enable-dns-support Value=true"},
		{"DNS hostnames off", fixed(toSecrets), func(w *world) { w.vpc.DNSHostnames = false },
			NoRoute, StageDNS, func(w *world) string { return w.vpc.ID }, "--enable-dns-hostnames Value=true"},
		{"private DNS off, but NAT", fixed(toSecrets), func(w *world) {
			w.endpoint.PrivateDNS = false
			w.main.Routes = append(w.main.Routes, Route{Destination: anywhere, Target: w.nat.ID})
		}, Allowed, "", nil, ""},
		{"endpoint pending", fixed(toSecrets), func(w *world) { w.endpoint.State = StatePending },
			NoRoute, StageEndpoint, func(w *world) string { return w.endpoint.ID }, "describe-vpc-endpoints --vpc-endpoint-ids {}"},
		{"endpoint pending, by its own name", byName, func(w *world) { w.endpoint.State = StatePending },
			NoRoute, StageEndpoint, func(w *world) string { return w.endpoint.ID }, ""},
		{"endpoint in no subnet", fixed(toSecrets), func(w *world) { w.endpoint.SubnetIDs, w.endpoint.InterfaceIDs = nil, nil },
			NoRoute, StageEndpoint, func(w *world) string { return w.endpoint.ID }, "modify-vpc-endpoint --vpc-endpoint-id {} --add-subnet-ids"},
		{"endpoint of another VPC", byName, func(w *world) { w.endpoint.VPCID = "vpc-0other" }, NoRoute, StageEndpoint, nil, "describe-vpc-endpoints"},
		{"no endpoint, no route", fixed(toSecrets), func(w *world) { w.Endpoints = nil },
			NoRoute, StageRoute, func(w *world) string { return w.private.ID }, "create-vpc-endpoint --vpc-id"},
		{"no endpoint, internet gateway", fixed(toSecrets), func(w *world) {
			w.Endpoints = nil
			w.main.Routes = append(w.main.Routes, Route{Destination: anywhere, Target: w.gateway.ID})
		}, Dropped, StageRoute, func(w *world) string { return w.private.ID }, "create-vpc-endpoint"},
		{"gateway endpoint only", fixed(toSecrets), func(w *world) { w.endpoint.Type = Gateway }, NoRoute, StageRoute, nil, "create-vpc-endpoint"},
		{"another service's endpoint", fixed(Destination{Service: "rds"}), func(w *world) {}, NoRoute, StageRoute, nil, "com.amazonaws.eu-west-1.rds"},
		{"no egress rule", fixed(toSecrets), func(w *world) { w.function.Rules = w.function.Rules[1:] },
			Dropped, StageGroupOut, func(w *world) string { return w.function.ID }, "authorize-security-group-egress --group-id {}"},
		{"egress to the wrong port", fixed(toSecrets), func(w *world) { w.function.Rules[0].From, w.function.Rules[0].To = 80, 80 },
			Dropped, StageGroupOut, func(w *world) string { return w.function.ID }, "FromPort=443,ToPort=443,UserIdGroupPairs="},
		{"egress of another protocol", fixed(toSecrets), func(w *world) { w.function.Rules[0].Protocol = "udp" },
			Dropped, StageGroupOut, func(w *world) string { return w.function.ID }, ""},
		{"egress to another block", fixed(toSecrets), func(w *world) { w.function.Rules[0].CIDR = prefix("10.0.9.0/24") },
			Dropped, StageGroupOut, func(w *world) string { return w.function.ID }, ""},
		{"egress to the endpoint's group", fixed(toSecrets), func(w *world) {
			w.function.Rules[0].CIDR, w.function.Rules[0].GroupID = netip.Prefix{}, w.endpoints.ID
		}, Allowed, "", nil, ""},
	}
}

// outsideCases are about the way out of the VPC.
func outsideCases() []analyzeCase {
	return []analyzeCase{
		{"NAT", fixed(toSecrets), (*world).throughNAT, Allowed, "", nil, ""},
		{"NAT to an address", fixed(toAddress), (*world).throughNAT, Allowed, "", nil, ""},
		{"no route to an address", fixed(toAddress), func(w *world) {}, NoRoute, StageRoute, func(w *world) string { return w.main.ID }, "create-route --route-table-id {} --destination-cidr-block 0.0.0.0/0 --nat-gateway-id"},
		{"internet gateway to an address", fixed(toAddress), func(w *world) {
			w.main.Routes = append(w.main.Routes, Route{Destination: anywhere, Target: w.gateway.ID})
		}, Dropped, StageRoute, func(w *world) string { return w.main.ID }, "replace-route"},
		{"NAT gone", fixed(toAddress), func(w *world) { w.throughNAT(); w.nat.State = StateDeleted }, NoRoute, StageRoute, nil, ""},
		{"NAT private", fixed(toAddress), func(w *world) { w.throughNAT(); w.nat.Public = false }, Dropped, StageGateway, func(w *world) string { return w.nat.ID }, "create-nat-gateway"},
		{"NAT in a private subnet", fixed(toAddress), func(w *world) { w.throughNAT(); w.nat.SubnetID = w.data.ID },
			Dropped, StageGateway, func(w *world) string { return w.nat.ID }, "--gateway-id igw-"},
		{"internet gateway detached", fixed(toAddress), func(w *world) { w.throughNAT(); w.gateway.VPCID = "" }, Dropped, StageGateway, nil, ""},
		{"NAT subnet's ACL keeps HTTPS out", fixed(toAddress), func(w *world) { w.throughNAT(); drop(w.publicACL, false, 100) },
			Dropped, StageGatewayACL, func(w *world) string { return w.publicACL.ID }, "--ingress"},
		{"NAT subnet's ACL keeps answers out", fixed(toAddress), func(w *world) { w.throughNAT(); drop(w.publicACL, false, 110) },
			Dropped, StageGatewayACL, func(w *world) string { return w.publicACL.ID }, "From=1024,To=65535"},
		{"egress to the VPC only", fixed(toAddress), func(w *world) { w.throughNAT(); w.function.Rules[0].CIDR = w.vpc.CIDR },
			Dropped, StageGroupOut, func(w *world) string { return w.function.ID }, "IpRanges=[{CidrIp=198.51.100.7/32}]"},
		{"another gateway", fixed(toAddress), func(w *world) {
			w.main.Routes = append(w.main.Routes, Route{Destination: anywhere, Target: "tgw-0123456789abcdef0"})
		}, Allowed, "", nil, ""},
		{"a longer route elsewhere", fixed(toAddress), func(w *world) {
			w.throughNAT()
			w.main.Routes = append(w.main.Routes, Route{Destination: prefix("198.51.100.0/24"), Target: w.gateway.ID})
		}, Dropped, StageRoute, nil, ""},
	}
}

// databaseCases are about databases and addresses in the VPC.
func databaseCases() []analyzeCase {
	return []analyzeCase{
		{"database", fixed(toDatabase), func(w *world) {}, Allowed, "", nil, ""},
		{"database by its address", fixed(Destination{Address: netip.MustParseAddr("10.0.2.20"), Port: 5432}), func(w *world) {}, Allowed, "", nil, ""},
		{"database's group keeps out", fixed(toDatabase), func(w *world) { w.dbGroup.Rules[0].To = 5431; w.dbGroup.Rules[0].From = 5431 },
			Dropped, StageGroupIn, func(w *world) string { return w.dbGroup.ID }, "FromPort=5432,ToPort=5432"},
		{"database that listens elsewhere in truth", fixed(Destination{Address: netip.MustParseAddr("127.0.0.1"), Port: 15432}), func(w *world) {
			w.Databases[0].Address, w.Databases[0].Port = netip.MustParseAddr("127.0.0.1"), 15432
		}, Dropped, StageGroupOut, func(w *world) string { return w.function.ID }, ""},
		{"no egress to the database", fixed(toDatabase), func(w *world) { w.function.Rules = w.function.Rules[:1] },
			Dropped, StageGroupOut, func(w *world) string { return w.function.ID }, "UserIdGroupPairs"},
		{"database in another VPC", fixed(toDatabase), func(w *world) { w.Databases[0].VPCID = "vpc-0other" }, NoRoute, StageRoute, func(w *world) string { return "orders" }, "update-function-configuration"},
		{"unknown database", fixed(Destination{Database: "other"}), func(w *world) {}, NoRoute, StageDNS, func(w *world) string { return "other" }, ""},
		{"address of nothing in the VPC", fixed(Destination{Address: netip.MustParseAddr("10.0.2.99"), Port: 443}), func(w *world) {}, Allowed, "", nil, ""},
		{"the VPC's DNS server", fixed(Destination{Address: netip.MustParseAddr("10.0.0.2"), Port: 53, Protocol: "udp"}), func(w *world) {}, Allowed, "", nil, ""},
		{"Amazon's DNS server", fixed(Destination{Address: netip.MustParseAddr("169.254.169.253"), Port: 53, Protocol: "udp"}), func(w *world) {}, Allowed, "", nil, ""},
		{"DNS server off", fixed(Destination{Address: netip.MustParseAddr("10.0.0.2"), Port: 53, Protocol: "udp"}), func(w *world) { w.vpc.DNSSupport = false }, Dropped, StageDNS, nil, "--enable-dns-support"},
	}
}

// filterCases are about network ACLs, the endpoint's security group and addresses on
// the way to the endpoint.
func filterCases() []analyzeCase {
	return []analyzeCase{
		{"own ACL keeps HTTPS in", fixed(toSecrets), func(w *world) { drop(w.acl, true, 100) },
			Dropped, StageACLOut, func(w *world) string { return w.acl.ID }, "create-network-acl-entry --network-acl-id {} --egress --rule-number 120 --protocol tcp --port-range From=443,To=443 --cidr-block 10.0.2.10/32"},
		{"own ACL keeps answers out", fixed(toSecrets), func(w *world) { drop(w.acl, false, 110) },
			Dropped, StageACLBack, func(w *world) string { return w.acl.ID }, "--ingress --rule-number 110 --protocol tcp --port-range From=1024,To=65535"},
		{"own ACL denies some answers", fixed(toSecrets), func(w *world) {
			w.acl.Entries = append(w.acl.Entries, Entry{Number: 105, Protocol: protocolTCP, CIDR: anywhere, From: 40000, To: 40010})
		}, Dropped, StageACLBack, func(w *world) string { return w.acl.ID }, "--rule-number 90"},
		{"a deny behind the allow", fixed(toSecrets), func(w *world) {
			w.acl.Entries = append(w.acl.Entries, Entry{Number: 115, Protocol: protocolTCP, CIDR: anywhere, From: 40000, To: 40010})
		}, Allowed, "", nil, ""},
		{"endpoint's ACL keeps HTTPS out", fixed(toSecrets), func(w *world) { drop(w.dataACL, false, 100) },
			Dropped, StageTargetACLIn, func(w *world) string { return w.dataACL.ID }, "--ingress"},
		{"endpoint's ACL keeps answers in", fixed(toSecrets), func(w *world) { drop(w.dataACL, true, 110) },
			Dropped, StageTargetBack, func(w *world) string { return w.dataACL.ID }, "--egress"},
		{"ACLs do not see one subnet", fixed(toSecrets), func(w *world) {
			w.endpoint.SubnetIDs = []string{w.private.ID}
			drop(w.acl, true, 100, 110)
			drop(w.acl, false, 100, 110)
		}, Allowed, "", nil, ""},
		{"endpoint's group keeps out", fixed(toSecrets), func(w *world) { w.endpoints.Rules = nil },
			Dropped, StageGroupIn, func(w *world) string { return w.endpoints.ID }, "authorize-security-group-ingress --group-id {}"},
		{"endpoint's group lets the block in", fixed(toSecrets), func(w *world) {
			w.endpoints.Rules[0].GroupID, w.endpoints.Rules[0].CIDR = "", prefix("10.0.1.0/24")
		}, Allowed, "", nil, ""},
		{"endpoint's group lets half of the block in", fixed(toSecrets), func(w *world) {
			w.endpoints.Rules[0].GroupID, w.endpoints.Rules[0].CIDR = "", prefix("10.0.1.0/25")
		}, Dropped, StageGroupIn, func(w *world) string { return w.endpoints.ID }, ""},
		{"no free address", fixed(toSecrets), func(w *world) {
			w.private.CIDR = prefix("10.0.1.0/28")
			for a := w.NextAddress(w.private); a.IsValid(); a = w.NextAddress(w.private) {
				w.Add(&Interface{Record: Record{ID: NewID(PrefixInterface)}, SubnetID: w.private.ID, Address: a})
			}
		}, Dropped, StageAddress, func(w *world) string { return w.private.ID }, "aws lambda update-function-configuration --function-name rotate --vpc-config SubnetIds="},
		{"no free address, but the function has one", fixed(toSecrets), func(w *world) {
			w.private.CIDR = prefix("10.0.1.0/28")
			for a := w.NextAddress(w.private); a.IsValid(); a = w.NextAddress(w.private) {
				w.Add(&Interface{Record: Record{ID: NewID(PrefixInterface)}, SubnetID: w.private.ID, Address: a, Type: InterfaceOfLambda, GroupIDs: []string{w.function.ID}})
			}
		}, Allowed, "", nil, ""},
		{"subnet gone", fixed(toSecrets), func(w *world) { w.Subnets = w.Subnets[1:] }, Dropped, StageFunction, nil, "update-function-configuration"},
		{"group gone", fixed(toSecrets), func(w *world) { w.Groups = w.Groups[:1] }, Dropped, StageFunction, func(w *world) string { return w.function.ID }, ""},
	}
}

func TestAnalyze(t *testing.T) {
	for _, tc := range slices.Concat(endpointCases(), filterCases(), outsideCases(), databaseCases()) {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld()
			to := tc.to(w)
			tc.change(w)
			got := Analyze(w.Snapshot, Path{Function: "rotate", From: w.from(), To: to})
			if got.Verdict != tc.verdict {
				t.Fatalf("got %v at %+v, want %v", got.Verdict, got.Refusal(), tc.verdict)
			}
			checkRefusal(t, w, got.Refusal(), tc.stage, tc.resource, tc.fix)
		})
	}
}

func checkRefusal(t *testing.T, w *world, h *Hop, stage Stage, resource func(*world) string, fix string) {
	t.Helper()
	if h == nil {
		return
	}
	if h.Stage != stage {
		t.Errorf("got stage %q (%s), want %q", h.Stage, h.Text, stage)
	}
	id := h.Resource
	if resource != nil {
		if id = resource(w); h.Resource != id {
			t.Errorf("got resource %s, want %s", h.Resource, id)
		}
	}
	if fix = strings.Replace(fix, "{}", id, 1); !strings.Contains(h.Fix, fix) {
		t.Errorf("got fix %q, want one with %q", h.Fix, fix)
	}
	if h.Text == "" {
		t.Error("the refusal says nothing")
	}
}

func TestAnalyzeNoVPC(t *testing.T) {
	if got := Analyze(&Snapshot{}, Path{To: toSecrets}); got.Verdict != Allowed || len(got.Hops) != 1 {
		t.Errorf("got %+v, want one hop that passes", got)
	}
}

func TestAnalyzePolicy(t *testing.T) {
	w := newWorld()
	asked := ""
	got := Analyze(w.Snapshot, Path{From: w.from(), To: toSecrets, Policy: func(e *Endpoint) (bool, string) {
		asked = e.ID
		return false, "no statement allows secretsmanager:PutSecretValue"
	}})
	h := got.Refusal()
	if got.Verdict != Denied || asked != w.endpoint.ID || h.Stage != StagePolicy || h.Evidence[0] != "no statement allows secretsmanager:PutSecretValue" {
		t.Errorf("got %+v, asked about %s", got, asked)
	}
}

// Any subnet may be chosen, so the worst counts, and the report is about it.
func TestAnalyzeEverySubnet(t *testing.T) {
	w := newWorld()
	from := w.from()
	from.SubnetIDs = append(from.SubnetIDs, w.public.ID)
	drop(w.publicACL, true, 100)
	got := Analyze(w.Snapshot, Path{From: from, To: toSecrets})
	if h := got.Refusal(); h == nil || h.SubnetID != w.public.ID || h.Stage != StageACLOut {
		t.Errorf("got %+v, want a refusal in %s", h, w.public.ID)
	}
	if v := Egress(w.Snapshot, w.from(), netip.MustParseAddr("10.0.2.10"), 443, "tcp"); v != Allowed {
		t.Errorf("from the other subnet: got %v", v)
	}
}

// All interfaces of an endpoint must answer: its name stands for each.
func TestAnalyzeEveryInterface(t *testing.T) {
	w := newWorld()
	other, _ := w.AddSubnet(w.vpc, prefix("10.0.4.0/24"), Zones(w.Region)[1], noon)
	w.endpoint.SubnetIDs = append(w.endpoint.SubnetIDs, other.ID)
	drop(w.aclAround(other), false, 100)
	got := Analyze(w.Snapshot, Path{From: w.from(), To: toSecrets})
	if h := got.Refusal(); h == nil || h.Stage != StageTargetACLIn {
		t.Errorf("got %+v, want a refusal before the second interface", h)
	}
}
