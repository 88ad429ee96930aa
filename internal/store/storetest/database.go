package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/store"
)

func testDatabases(t *testing.T, open Open) {
	s := open(t)
	primary := &database.Instance{
		Account: account, Region: region, ID: "db1", Class: "db.t3.micro", Endpoint: database.Endpoint{Host: "db1.example.com", Port: 5432},
		Server: database.Server{
			ResourceID: "db-A", Engine: "postgres", MasterUsername: "admin", SubnetGroup: "inside", SecurityGroups: []string{"sg-1"},
			Tags: []database.Tag{{Key: "team", Value: "db"}}, CreatedAt: noon,
		},
		Settings: database.Settings{MultiAZ: new(true), AllocatedStorage: new(int64(20))},
	}
	replica := &database.Instance{Account: account, Region: region, ID: "db2", Source: "db1", Server: database.Server{CreatedAt: noon}}
	member := &database.Instance{Account: account, Region: region, ID: "m1", Cluster: "c1", Server: database.Server{CreatedAt: noon}}
	elsewhere := &database.Instance{Account: account, Region: "eu-west-1", ID: "db1", Source: "db1", Cluster: "c1", Server: database.Server{CreatedAt: noon}}
	update(t, s, func(tx *store.Tx) error {
		for _, i := range []*database.Instance{primary, replica, member, elsewhere} {
			if err := tx.CreateDBInstance(i); err != nil {
				return err
			}
		}
		return nil
	})
	get := func(tx *store.Tx) (*database.Instance, error) { return tx.DBInstance(account, region, "db1") }
	if diff := cmp.Diff(primary, read(t, s, get)); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateDBInstance(primary) }), fault.Exists)
	for name, list := range map[string]func(*store.Tx) ([]*database.Instance, error){
		"db1 db2 m1": func(tx *store.Tx) ([]*database.Instance, error) { return tx.DBInstances(account, region, "", 10) },
		"db2":        func(tx *store.Tx) ([]*database.Instance, error) { return tx.DBInstances(account, region, "db1", 1) },
		"m1": func(tx *store.Tx) ([]*database.Instance, error) {
			return tx.DBInstancesOfCluster(account, region, "c1")
		},
		"db2 ": func(tx *store.Tx) ([]*database.Instance, error) { return tx.DBReplicas(account, region, "db1") },
		"":     func(tx *store.Tx) ([]*database.Instance, error) { return tx.DBReplicas(account, region, "") },
	} {
		got := ""
		for n, i := range read(t, s, list) {
			if n > 0 {
				got += " "
			}
			got += i.ID
		}
		if got != name && got+" " != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
	primary.Source, primary.SubnetGroup = "db2", ""
	update(t, s, func(tx *store.Tx) error { return tx.SaveDBInstance(primary) })
	if diff := cmp.Diff(primary, read(t, s, get)); diff != "" {
		t.Errorf("saved (-want +got):\n%s", diff)
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteDBInstance(account, region, "db1") })
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := get(tx); return err }), fault.NotFound)
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveDBInstance(primary) }), fault.NotFound)
}

func testDatabaseClusters(t *testing.T, open Open) {
	s := open(t)
	group := &database.SubnetGroup{Account: account, Region: region, Name: "inside", VPC: "vpc-1", Subnets: []database.Subnet{{ID: "subnet-1", Zone: "a"}}}
	cluster := &database.Cluster{
		Account: account, Region: region, ID: "c1", Reader: "ro.example.com", Endpoint: database.Endpoint{Host: "rw.example.com", Port: 3306},
		Server: database.Server{Engine: "aurora-mysql", SubnetGroup: "inside", CreatedAt: noon},
	}
	user := func(tx *store.Tx) (*string, error) {
		id, err := tx.DBSubnetGroupUser(account, region, "inside")
		return &id, err
	}
	update(t, s, func(tx *store.Tx) error { return tx.CreateDBSubnetGroup(group) })
	if got := *read(t, s, user); got != "" {
		t.Errorf("user of a fresh subnet group: got %q, want none", got)
	}
	update(t, s, func(tx *store.Tx) error { return tx.CreateDBCluster(cluster) })
	if got := *read(t, s, user); got != "c1" {
		t.Errorf("user of the subnet group: got %q, want c1", got)
	}
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateDBCluster(cluster) }), fault.Exists)
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateDBSubnetGroup(group) }), fault.Exists)
	cluster.Reader, cluster.SubnetGroup, group.Description = "", "", "changed"
	update(t, s, func(tx *store.Tx) error {
		if err := tx.SaveDBSubnetGroup(group); err != nil {
			return err
		}
		return tx.SaveDBCluster(cluster)
	})
	clusters := read(t, s, func(tx *store.Tx) ([]*database.Cluster, error) { return tx.DBClusters(account, region, "", 10) })
	if diff := cmp.Diff([]*database.Cluster{cluster}, clusters); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
	groups := read(t, s, func(tx *store.Tx) ([]*database.SubnetGroup, error) { return tx.DBSubnetGroups(account, region, "", 10) })
	if diff := cmp.Diff([]*database.SubnetGroup{group}, groups); diff != "" {
		t.Errorf("subnet groups (-want +got):\n%s", diff)
	}
	update(t, s, func(tx *store.Tx) error {
		if err := tx.DeleteDBSubnetGroup(account, region, "inside"); err != nil {
			return err
		}
		return tx.DeleteDBCluster(account, region, "c1")
	})
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.DBCluster(account, region, "c1"); return err }), fault.NotFound)
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.DBSubnetGroup(account, region, "inside"); return err }), fault.NotFound)
}

// testOwnedFunctions shows that services' own functions are in no list.
func testOwnedFunctions(t *testing.T, open Open) {
	s := open(t)
	createFunction(t, s, "users", "zip")
	owned := newFunction(function.OwnedName("rds", "postgres"), "zip")
	owned.Owner = "rds"
	update(t, s, func(tx *store.Tx) error { return tx.CreateFunction(owned) })
	list := read(t, s, func(tx *store.Tx) ([]*function.Function, error) { return tx.Functions(account, region, "", 10) })
	if len(list) != 1 || list[0].Name != "users" {
		t.Errorf("listed: got %d functions, want the user's alone", len(list))
	}
	got := read(t, s, func(tx *store.Tx) (*function.Function, error) { return tx.Function(account, region, owned.Name) })
	if got.Owner != "rds" {
		t.Errorf("owner: got %q, want rds", got.Owner)
	}
	count := read(t, s, func(tx *store.Tx) (int64, error) {
		n, _, err := tx.FunctionUsage(account, region)
		return n, err
	})
	if count != 1 {
		t.Errorf("functions in use: got %d, want 1", count)
	}
}
