package rds

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/rds"
	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// available is the status of every registration: whether the server answers
// is not looked at.
const available = "available"

// DescribeDBInstances shows one instance, by identifier or ARN, or all.
func (s *Service) DescribeDBInstances(ctx context.Context, call *wire.Call, in *api.DescribeDBInstancesMessage) (*api.DBInstanceMessage, error) {
	out := &api.DBInstanceMessage{DBInstances: []api.DBInstance{}}
	if given(in.DBInstanceIdentifier) == "" {
		if err := s.authorize(call, "", database.InstanceKind, "*", nil); err != nil {
			return nil, err
		}
	}
	page, err := newPage(in.MaxRecords, in.Marker)
	if err != nil {
		return nil, err
	}
	wanted, err := filtersOf(in.Filters, "db-cluster-id", "db-instance-id", "dbi-resource-id", "domain", "engine")
	if err != nil {
		return nil, err
	}
	keep := func(i *database.Instance) bool {
		cluster := database.Cluster{Account: i.Account, Region: i.Region, ID: i.Cluster}
		return wanted.match("db-instance-id", i.ID, i.ARN()) && wanted.match("dbi-resource-id", i.ResourceID) && wanted.match("engine", i.Engine) &&
			wanted.match("domain", "") && (i.Cluster == "" && wanted["db-cluster-id"] == nil || i.Cluster != "" && wanted.match("db-cluster-id", i.Cluster, cluster.ARN()))
	}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		list := func(after string, limit int) ([]*database.Instance, error) {
			return tx.DBInstances(call.Principal.Account, call.Region, after, limit)
		}
		if given(in.DBInstanceIdentifier) != "" {
			i, err := s.instance(tx, call, *in.DBInstanceIdentifier)
			if err != nil {
				return err
			}
			list = func(string, int) ([]*database.Instance, error) { return []*database.Instance{i}, nil }
			page.after = ""
		}
		found, next, err := walk(page, func(i *database.Instance) string { return i.ID }, list, keep)
		if err != nil {
			return err
		}
		out.Marker = next
		for _, i := range found {
			shown, err := shownInstance(tx, i)
			if err != nil {
				return err
			}
			out.DBInstances = append(out.DBInstances, *shown)
		}
		return nil
	})
}

// DescribeDBClusters shows one cluster, by identifier or ARN, or all.
func (s *Service) DescribeDBClusters(ctx context.Context, call *wire.Call, in *api.DescribeDBClustersMessage) (*api.DBClusterMessage, error) {
	out := &api.DBClusterMessage{DBClusters: []api.DBCluster{}}
	if given(in.DBClusterIdentifier) == "" {
		if err := s.authorize(call, "", database.ClusterKind, "*", nil); err != nil {
			return nil, err
		}
	}
	page, err := newPage(in.MaxRecords, in.Marker)
	if err != nil {
		return nil, err
	}
	wanted, err := filtersOf(in.Filters, "clone-group-id", "db-cluster-id", "db-cluster-resource-id", "domain", "engine")
	if err != nil {
		return nil, err
	}
	keep := func(c *database.Cluster) bool {
		return wanted.match("db-cluster-id", c.ID, c.ARN()) && wanted.match("db-cluster-resource-id", c.ResourceID) &&
			wanted.match("engine", c.Engine) && wanted.match("domain", "") && wanted.match("clone-group-id", "")
	}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		list := func(after string, limit int) ([]*database.Cluster, error) {
			return tx.DBClusters(call.Principal.Account, call.Region, after, limit)
		}
		if given(in.DBClusterIdentifier) != "" {
			c, err := s.cluster(tx, call, *in.DBClusterIdentifier)
			if err != nil {
				return err
			}
			list = func(string, int) ([]*database.Cluster, error) { return []*database.Cluster{c}, nil }
			page.after = ""
		}
		found, next, err := walk(page, func(c *database.Cluster) string { return c.ID }, list, keep)
		if err != nil {
			return err
		}
		out.Marker = next
		for _, c := range found {
			shown, err := shownCluster(tx, c)
			if err != nil {
				return err
			}
			out.DBClusters = append(out.DBClusters, *shown)
		}
		return nil
	})
}

// shownInstance is an instance as answers have it.
func shownInstance(tx *store.Tx, i *database.Instance) (*api.DBInstance, error) {
	o := &i.Settings
	out := &api.DBInstance{
		DBInstanceIdentifier: &i.ID, DBInstanceArn: new(i.ARN()), DbiResourceId: &i.ResourceID, DBInstanceClass: &i.Class,
		DBInstanceStatus: new(available), Engine: &i.Engine, EngineVersion: orNil(i.EngineVersion), MasterUsername: orNil(i.MasterUsername),
		DBName: orNil(i.Database), InstanceCreateTime: &i.CreatedAt, Endpoint: &api.Endpoint{Address: &i.Endpoint.Host, Port: &i.Endpoint.Port},
		DbInstancePort: new(int64(0)), DBClusterIdentifier: orNil(i.Cluster), ReadReplicaSourceDBInstanceIdentifier: orNil(i.Source),
		VpcSecurityGroups: shownGroups(i.SecurityGroups), DBSecurityGroups: []api.DBSecurityGroupMembership{},
		ReadReplicaDBInstanceIdentifiers: []string{}, TagList: tagsOut(i.Tags), PendingModifiedValues: &api.PendingModifiedValues{},
		DBParameterGroups: []api.DBParameterGroupStatus{}, OptionGroupMemberships: []api.OptionGroupMembership{},
		DeletionProtection: &i.DeletionProtection, AllocatedStorage: o.AllocatedStorage, BackupRetentionPeriod: o.BackupRetention,
		PromotionTier: o.PromotionTier, Iops: o.Iops, StorageType: orNil(o.StorageType), KmsKeyId: orNil(o.KMSKeyID),
		LicenseModel: orNil(o.License), AvailabilityZone: orNil(o.Zone), PreferredBackupWindow: orNil(o.BackupWindow),
		PreferredMaintenanceWindow: orNil(o.MaintenanceWindow), MultiAZ: flag(o.MultiAZ), PubliclyAccessible: flag(o.Public),
		AutoMinorVersionUpgrade: flag(o.MinorUpgrade), StorageEncrypted: flag(o.Encrypted), IAMDatabaseAuthenticationEnabled: flag(o.IAM),
		CopyTagsToSnapshot: flag(o.CopyTags),
	}
	if o.Parameters != "" {
		out.DBParameterGroups = []api.DBParameterGroupStatus{{DBParameterGroupName: &o.Parameters, ParameterApplyStatus: new("in-sync")}}
	}
	if o.Options != "" {
		out.OptionGroupMemberships = []api.OptionGroupMembership{{OptionGroupName: &o.Options, Status: new("in-sync")}}
	}
	replicas, err := tx.DBReplicas(i.Account, i.Region, i.ID)
	if err != nil {
		return nil, err
	}
	for _, r := range replicas {
		out.ReadReplicaDBInstanceIdentifiers = append(out.ReadReplicaDBInstanceIdentifiers, r.ID)
	}
	if i.SubnetGroup != "" {
		g, err := tx.DBSubnetGroup(i.Account, i.Region, i.SubnetGroup)
		if err == nil {
			out.DBSubnetGroup = shownGroup(g)
		} else if !fault.Is(err, fault.NotFound) {
			return nil, err
		}
	}
	out.MasterUserSecret, err = shownSecret(tx, i.SecretID)
	return out, err
}

// shownCluster is a cluster as answers have it.
func shownCluster(tx *store.Tx, c *database.Cluster) (*api.DBCluster, error) {
	o := &c.Settings
	out := &api.DBCluster{
		DBClusterIdentifier: &c.ID, DBClusterArn: new(c.ARN()), DbClusterResourceId: &c.ResourceID, Status: new(available), Engine: &c.Engine,
		EngineVersion: orNil(c.EngineVersion), MasterUsername: orNil(c.MasterUsername), DatabaseName: orNil(c.Database),
		Endpoint: &c.Endpoint.Host, ReaderEndpoint: orNil(c.Reader), Port: &c.Endpoint.Port, ClusterCreateTime: &c.CreatedAt,
		DBSubnetGroup: orNil(c.SubnetGroup), VpcSecurityGroups: shownGroups(c.SecurityGroups), TagList: tagsOut(c.Tags),
		DBClusterMembers: []api.DBClusterMember{}, ReadReplicaIdentifiers: []string{}, AssociatedRoles: []api.DBClusterRole{},
		EngineMode: new("provisioned"), DeletionProtection: &c.DeletionProtection, BackupRetentionPeriod: o.BackupRetention,
		AllocatedStorage: o.AllocatedStorage, Iops: o.Iops, StorageType: orNil(o.StorageType), KmsKeyId: orNil(o.KMSKeyID),
		DBClusterParameterGroup: orNil(o.Parameters), PreferredBackupWindow: orNil(o.BackupWindow),
		PreferredMaintenanceWindow: orNil(o.MaintenanceWindow), StorageEncrypted: flag(o.Encrypted),
		IAMDatabaseAuthenticationEnabled: flag(o.IAM), CopyTagsToSnapshot: flag(o.CopyTags),
	}
	members, err := tx.DBInstancesOfCluster(c.Account, c.Region, c.ID)
	if err != nil {
		return nil, err
	}
	writer := database.Writer(members)
	for _, m := range members {
		tier := m.Settings.PromotionTier
		if tier == nil {
			tier = new(int64(1)) // AWS docs
		}
		out.DBClusterMembers = append(out.DBClusterMembers, api.DBClusterMember{
			DBInstanceIdentifier: &m.ID, IsClusterWriter: new(m.ID == writer), PromotionTier: tier, DBClusterParameterGroupStatus: new("in-sync"),
		})
	}
	out.MultiAZ = new(len(members) > 1)
	out.MasterUserSecret, err = shownSecret(tx, c.SecretID)
	return out, err
}

// flag shows an option that is off by default.
func flag(b *bool) *bool { return new(isTrue(b)) }

func shownGroups(ids []string) []api.VpcSecurityGroupMembership {
	list := []api.VpcSecurityGroupMembership{}
	for i := range ids {
		list = append(list, api.VpcSecurityGroupMembership{VpcSecurityGroupId: &ids[i], Status: new("active")})
	}
	return list
}
