package storetest

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/store"
)

// Where registered databases stand in the network, and that caches of it hear
// of their changes.
func testNetworkDatabases(t *testing.T, open Open) {
	s := open(t)
	vpc, _ := everyObject()
	id := vpc.VPCs[0].ID
	var subnets []string
	for _, n := range vpc.Subnets {
		subnets = append(subnets, n.ID)
	}
	group := vpc.Groups[0].ID
	server := func(subnetGroup string, groups ...string) database.Server {
		return database.Server{SubnetGroup: subnetGroup, SecurityGroups: groups, CreatedAt: noon}
	}
	update(t, s, func(tx *store.Tx) error {
		if err := tx.SaveNetwork(account, region, vpc.Objects()...); err != nil {
			return err
		}
		err := tx.CreateDBSubnetGroup(&database.SubnetGroup{Account: account, Region: region, Name: "inside", VPC: "vpc-9", Subnets: []database.Subnet{{ID: "subnet-9"}}})
		if err != nil {
			return err
		}
		for _, i := range []*database.Instance{
			{Account: account, Region: region, ID: "alone", Endpoint: database.Endpoint{Host: "db.example.com", Port: 5432}, Server: server("")},
			{Account: account, Region: region, ID: "gone", Endpoint: database.Endpoint{Host: "10.1.1.1", Port: 5432}, Server: server("", "sg-gone")},
			{Account: account, Region: region, ID: "grouped", Endpoint: database.Endpoint{Host: "10.0.0.9", Port: 3306}, Server: server("inside", "sg-1"), Settings: database.Settings{Public: new(true)}},
			{Account: account, Region: region, ID: "unknown", Server: server("")},
		} {
			if err := tx.CreateDBInstance(i); err != nil {
				return err
			}
		}
		return tx.CreateDBCluster(&database.Cluster{
			Account: account, Region: region, ID: "c", Endpoint: database.Endpoint{Host: "w.example.com", Port: 5432}, Reader: "r.example.com", Server: server("", group),
		})
	})
	want := []network.Database{
		{ID: "alone", Host: "db.example.com", Port: 5432},
		{ID: "gone", Host: "10.1.1.1", Address: netip.MustParseAddr("10.1.1.1"), Port: 5432, GroupIDs: []string{"sg-gone"}},
		{ID: "grouped", Host: "10.0.0.9", Address: netip.MustParseAddr("10.0.0.9"), Port: 3306, VPCID: "vpc-9", SubnetIDs: []string{"subnet-9"}, GroupIDs: []string{"sg-1"}, Public: true},
		{ID: "c/writer", Host: "w.example.com", Port: 5432, VPCID: id, SubnetIDs: subnets, GroupIDs: []string{group}},
		{ID: "c/reader", Host: "r.example.com", Port: 5432, VPCID: id, SubnetIDs: subnets, GroupIDs: []string{group}},
	}
	get := func(tx *store.Tx) ([]network.Database, error) { return tx.NetworkDatabases(account, region) }
	order := cmpopts.SortSlices(func(a, b string) bool { return a < b })
	if diff := cmp.Diff(want, read(t, s, get), sameAddress, order, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	cache := store.NewCache(s, 1<<20, func(string, int) int64 { return 1 })
	for name, change := range map[string]func(tx *store.Tx) error{
		"a deleted instance": func(tx *store.Tx) error { return tx.DeleteDBInstance(account, region, "alone") },
		"a new subnet group": func(tx *store.Tx) error {
			return tx.CreateDBSubnetGroup(&database.SubnetGroup{Account: account, Region: region, Name: "other"})
		},
		"a deleted cluster": func(tx *store.Tx) error { return tx.DeleteDBCluster(account, region, "c") },
	} {
		cache.Put(s.Mark(), "k", 1, store.NetworkTopic(account, region))
		update(t, s, change)
		if _, ok := cache.Get("k"); ok {
			t.Errorf("caches do not hear of %s", name)
		}
	}
}
