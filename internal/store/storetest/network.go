package storetest

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/store"
)

// everyObject makes a VPC with at least one object of every kind.
func everyObject() (*network.Snapshot, *network.VPC) {
	s := &network.Snapshot{Account: account, Region: region}
	vpc, _ := s.NewDefault(noon)
	n := s.Subnets[0]
	i := s.AddInterface(n, network.InterfaceOfNAT, "Interface for NAT Gateway", "nat-0", nil, noon)
	s.Add(&network.NATGateway{
		Record:   network.Record{ID: "nat-00000000000000001", VPCID: vpc.ID, CreatedAt: noon, Tags: map[string]string{"team": "net"}, Token: "t", Request: "r"},
		SubnetID: n.ID, State: network.StateAvailable, Public: true, PrivateIP: i.Address, InterfaceID: i.ID, DeletedAt: noon,
	})
	s.Add(&network.Endpoint{
		Record:  network.Record{ID: "vpce-00000000000000001", VPCID: vpc.ID, CreatedAt: noon},
		Service: "com.amazonaws." + region + ".secretsmanager", Type: network.Interfaced, State: network.StateAvailable,
		SubnetIDs: []string{n.ID}, GroupIDs: []string{s.Groups[0].ID}, PrivateDNS: true, Policy: network.DefaultEndpointPolicy, Label: "abcd1234",
	})
	s.Groups[0].Rules = append(s.Groups[0].Rules, network.Rule{ID: "sgr-00000000000000001", Protocol: "tcp", From: 443, To: 443, CIDR: netip.MustParsePrefix("10.0.0.0/8"), Description: "d"})
	return s, vpc
}

var sameAddress = cmp.Options{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}

func testNetwork(t *testing.T, open Open) {
	s := open(t)
	want, vpc := everyObject()
	update(t, s, func(tx *store.Tx) error { return tx.SaveNetwork(account, region, want.Objects()...) })
	all := func(tx *store.Tx) (*network.Snapshot, error) { return tx.Network(account, region) }
	sorted := cmpopts.SortSlices(func(a, b *network.Subnet) bool { return a.ID < b.ID })
	if diff := cmp.Diff(want, read(t, s, all), sameAddress, sorted); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	got := read(t, s, func(tx *store.Tx) (*network.Snapshot, error) {
		return tx.Network(account, region, network.KindSubnet, network.KindEndpoint)
	})
	if len(got.Subnets) != len(want.Subnets) || len(got.Endpoints) != 1 || len(got.Objects()) != len(want.Subnets)+1 {
		t.Errorf("two kinds: got %d subnets, %d endpoints of %d objects", len(got.Subnets), len(got.Endpoints), len(got.Objects()))
	}

	// Another VPC, region and account stay apart.
	update(t, s, func(tx *store.Tx) error {
		other := &network.Snapshot{Account: account, Region: region}
		_, objects := other.New(netip.MustParsePrefix("10.9.0.0/16"), noon)
		detached := &network.InternetGateway{Record: network.Record{ID: network.NewID(network.PrefixInternetGateway)}}
		if err := tx.SaveNetwork(account, region, append(objects, detached)...); err != nil {
			return err
		}
		return tx.SaveNetwork(account, "eu-west-3", objects...)
	})
	got = read(t, s, func(tx *store.Tx) (*network.Snapshot, error) { return tx.VPCNetwork(account, region, vpc.ID) })
	if diff := cmp.Diff(want, got, sameAddress, sorted); diff != "" {
		t.Errorf("one VPC (-want +got):\n%s", diff)
	}
	if n := len(read(t, s, all).Objects()); n != len(want.Objects())+5 {
		t.Errorf("got %d objects, want %d", n, len(want.Objects())+5)
	}

	vpc.DNSHostnames, vpc.Tags = false, map[string]string{"Name": "main"}
	update(t, s, func(tx *store.Tx) error { return tx.SaveNetwork(account, region, vpc) })
	one := func(tx *store.Tx) (network.Object, error) { return tx.NetworkObject(account, region, vpc.ID) }
	if diff := cmp.Diff(network.Object(vpc), read(t, s, one), sameAddress); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteNetwork(account, region, vpc.ID) })
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := one(tx); return err }), fault.NotFound)
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteNetwork(account, region, vpc.ID) }), fault.NotFound)
}

func testNetworkClaim(t *testing.T, open Open) {
	s := open(t)
	has := func(tx *store.Tx) (bool, error) { return tx.HasNetwork(account, region) }
	if read(t, s, has) {
		t.Error("a new store has a network")
	}
	update(t, s, func(tx *store.Tx) error { return tx.ClaimNetwork(account, region) })
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.ClaimNetwork(account, region) }), fault.Exists)
	if !read(t, s, has) {
		t.Error("the claim is not stored")
	}
	if read(t, s, func(tx *store.Tx) (bool, error) { return tx.HasNetwork(account, "eu-west-3") }) {
		t.Error("a claim is of another region too")
	}
}

// Versions of functions with the same VpcConfig share interfaces, which go
// with the last of them.
func testFunctionInterfaces(t *testing.T, open Open) {
	s := open(t)
	w, vpc := everyObject()
	w.Interfaces = nil
	update(t, s, func(tx *store.Tx) error { return tx.SaveNetwork(account, region, w.Objects()...) })
	at := func(subnets ...int) *function.VPC {
		v := &function.VPC{VPCID: vpc.ID, SecurityGroupIDs: []string{w.Groups[0].ID}}
		for _, i := range subnets {
			v.SubnetIDs = append(v.SubnetIDs, w.Subnets[i].ID)
		}
		return v
	}
	interfaces := func() []*network.Interface {
		return read(t, s, func(tx *store.Tx) (*network.Snapshot, error) {
			return tx.Network(account, region, network.KindInterface)
		}).Interfaces
	}
	check := func(what string, subnets ...int) {
		t.Helper()
		var got, want []string
		for _, i := range interfaces() {
			got = append(got, i.SubnetID)
		}
		for _, i := range subnets {
			want = append(want, w.Subnets[i].ID)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got interfaces in %v, want %v", what, got, want)
		}
	}
	save := func(f *function.Function, v *function.VPC) {
		t.Helper()
		update(t, s, func(tx *store.Tx) error {
			f, err := tx.FunctionByID(f.ID)
			if err == nil {
				f.Config.VPC = v
				err = tx.SaveFunction(f)
			}
			return err
		})
	}
	a, b := createFunction(t, s, "a", "zip"), createFunction(t, s, "b", "zip")
	check("no VPC")
	save(a, at(0, 1))
	check("one function", 0, 1)
	if i := interfaces()[0]; i.Type != network.InterfaceOfLambda || !i.Address.IsValid() || i.VPCID != vpc.ID || i.Zone == "" {
		t.Errorf("got interface %+v", i)
	}
	save(b, at(1, 2))
	check("another with one subnet in common", 0, 1, 2)
	before := interfaces()
	save(b, at(2, 1))
	if diff := cmp.Diff(before, interfaces(), sameAddress); diff != "" {
		t.Errorf("another order changed (-before +after):\n%s", diff)
	}
	update(t, s, func(tx *store.Tx) error {
		f, err := tx.FunctionByID(a.ID)
		if err != nil {
			return err
		}
		c := f.Config.Clone()
		c.Version = "1"
		return tx.SaveFunctionVersion(f, &c)
	})
	save(a, nil)
	check("a version keeps what its function left", 0, 1, 2)
	update(t, s, func(tx *store.Tx) error { return tx.DeleteFunctionVersion(a.ID, 1) })
	check("the version is gone", 1, 2)
	update(t, s, func(tx *store.Tx) error { return tx.DeleteFunction(b.ID) })
	check("the function is gone")
}
