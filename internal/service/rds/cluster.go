package rds

import (
	"context"
	"time"

	api "github.com/keyturn/keyturn/internal/api/rds"
	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// CreateDBCluster registers a cluster that exists.
func (s *Service) CreateDBCluster(ctx context.Context, call *wire.Call, in *api.CreateDBClusterMessage) (*api.CreateDBClusterResult, error) {
	if err := s.authorizeNew(call, database.ClusterKind, *in.DBClusterIdentifier, in.DBSubnetGroupName, len(in.Tags) > 0); err != nil {
		return nil, err
	}
	c, err := newCluster(call, in)
	if err != nil {
		return nil, err
	}
	var m *managing
	if isTrue(in.ManageMasterUserPassword) {
		if m, err = s.manage(ctx, call, clusterSubject(c), in.MasterUserSecretKmsKeyId); err != nil {
			return nil, err
		}
		c.SecretID = m.secret.ID
	}
	out, err := update(ctx, s, call, func(tx *store.Tx) (*api.CreateDBClusterResult, error) {
		made := c.Clone()
		var err error
		if made.SubnetGroup, err = useGroup(tx, call, in.DBSubnetGroupName); err != nil {
			return nil, err
		}
		if err := checkSecurityGroups(tx, call, made.SecurityGroups, made.SubnetGroup); err != nil {
			return nil, err
		}
		err = tx.CreateDBCluster(made)
		if fault.Is(err, fault.Exists) { // AWS: reported
			return nil, fault.New(clusterExists, "DB Cluster already exists").For(c.ID)
		}
		if err != nil {
			return nil, err
		}
		if err := m.save(tx); err != nil {
			return nil, err
		}
		shown, err := shownCluster(tx, made)
		return &api.CreateDBClusterResult{DBCluster: shown}, err
	})
	if err == nil && m != nil {
		s.Wake()
	}
	return out, err
}

func newCluster(call *wire.Call, in *api.CreateDBClusterMessage) (*database.Cluster, error) {
	id, err := database.CheckID("DBClusterIdentifier", *in.DBClusterIdentifier)
	if err != nil {
		return nil, err
	}
	engine, err := database.CheckEngine(*in.Engine, database.ClusterKind)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(call, in.Tags)
	if err != nil {
		return nil, err
	}
	c := &database.Cluster{
		Account: call.Principal.Account, Region: call.Region, ID: id,
		Server: database.Server{
			ResourceID: database.NewResourceID("cluster"), Engine: engine, EngineVersion: given(in.EngineVersion), Database: given(in.DatabaseName),
			MasterUsername: given(in.MasterUsername), SecurityGroups: in.VpcSecurityGroupIds, DeletionProtection: isTrue(in.DeletionProtection),
			Tags: tags, CreatedAt: call.Time.UTC().Truncate(time.Millisecond),
		},
		Settings: database.Settings{
			AllocatedStorage: in.AllocatedStorage, BackupRetention: in.BackupRetentionPeriod, Iops: in.Iops, StorageType: given(in.StorageType),
			KMSKeyID: given(in.KmsKeyId), BackupWindow: given(in.PreferredBackupWindow), MaintenanceWindow: given(in.PreferredMaintenanceWindow),
			Parameters: given(in.DBClusterParameterGroupName), Public: in.PubliclyAccessible, Encrypted: in.StorageEncrypted,
			IAM: in.EnableIAMDatabaseAuthentication, CopyTags: in.CopyTagsToSnapshot,
		},
	}
	if err := checkMaster(c.MasterUsername, in.MasterUserPassword, in.MasterUserSecretKmsKeyId, in.ManageMasterUserPassword); err != nil {
		return nil, err
	}
	return c, locateCluster(c, in.Port)
}

// locateCluster sets where the cluster is, by its tags.
func locateCluster(c *database.Cluster, port *int64) error {
	at, err := database.ReadEndpoint(c.Tag(database.EndpointTag), port, c.Engine)
	if err != nil {
		return err
	}
	c.Endpoint, c.Reader = at, at.Host
	if reader := c.Tag(database.ReaderTag); reader != "" {
		c.Reader, err = database.ReadHost(reader)
	}
	return err
}

// ModifyDBCluster changes the registration of a cluster.
func (s *Service) ModifyDBCluster(ctx context.Context, call *wire.Call, in *api.ModifyDBClusterMessage) (*api.ModifyDBClusterResult, error) {
	ask := masterChange{
		manage: in.ManageMasterUserPassword, rotate: in.RotateMasterUserPassword, immediately: in.ApplyImmediately,
		password: in.MasterUserPassword, keyID: in.MasterUserSecretKmsKeyId,
	}
	var c *database.Cluster
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		if c, err = s.cluster(tx, call, *in.DBClusterIdentifier); err != nil {
			return err
		}
		return ask.check(in.NewDBClusterIdentifier, false, c.SecretID)
	})
	if err != nil {
		return nil, err
	}
	m, err := s.prepareChange(ctx, call, ask, clusterSubject(c))
	if err != nil {
		return nil, err
	}
	out, err := update(ctx, s, call, func(tx *store.Tx) (*api.ModifyDBClusterResult, error) {
		c, err := s.cluster(tx, call, *in.DBClusterIdentifier)
		if err != nil {
			return nil, err
		}
		if c.SecretID, err = s.changeMaster(tx, call, ask, m, c.SecretID); err != nil {
			return nil, err
		}
		was := c.Clone()
		if err := modifyCluster(c, in); err != nil {
			return nil, err
		}
		if err := s.admitCluster(tx, call, was, c); err != nil {
			return nil, err
		}
		if in.VpcSecurityGroupIds != nil {
			if err := checkSecurityGroups(tx, call, c.SecurityGroups, c.SubnetGroup); err != nil {
				return nil, err
			}
		}
		if err := tx.SaveDBCluster(c); err != nil {
			return nil, err
		}
		shown, err := shownCluster(tx, c)
		return &api.ModifyDBClusterResult{DBCluster: shown}, err
	})
	if err == nil && (m != nil || isTrue(ask.rotate)) {
		s.Wake()
	}
	return out, err
}

func modifyCluster(c *database.Cluster, in *api.ModifyDBClusterMessage) error {
	o := &c.Settings
	set(&c.EngineVersion, in.EngineVersion)
	set(&c.DeletionProtection, in.DeletionProtection)
	set(&o.BackupWindow, in.PreferredBackupWindow)
	set(&o.MaintenanceWindow, in.PreferredMaintenanceWindow)
	set(&o.Parameters, in.DBClusterParameterGroupName)
	set(&o.StorageType, in.StorageType)
	replace(&o.BackupRetention, in.BackupRetentionPeriod)
	replace(&o.AllocatedStorage, in.AllocatedStorage)
	replace(&o.Iops, in.Iops)
	replace(&o.IAM, in.EnableIAMDatabaseAuthentication)
	replace(&o.CopyTags, in.CopyTagsToSnapshot)
	if in.VpcSecurityGroupIds != nil {
		c.SecurityGroups = in.VpcSecurityGroupIds
	}
	if in.Port != nil {
		return locateCluster(c, in.Port)
	}
	return nil
}

// DeleteDBCluster ends the registration of a cluster without members.
func (s *Service) DeleteDBCluster(ctx context.Context, call *wire.Call, in *api.DeleteDBClusterMessage) (*api.DeleteDBClusterResult, error) {
	return update(ctx, s, call, func(tx *store.Tx) (*api.DeleteDBClusterResult, error) {
		c, err := s.cluster(tx, call, *in.DBClusterIdentifier)
		if err != nil {
			return nil, err
		}
		members, err := tx.DBInstancesOfCluster(c.Account, c.Region, c.ID)
		if err != nil {
			return nil, err
		}
		switch { // AWS: reported
		case c.DeletionProtection:
			return nil, fault.New(database.Combination, "Cannot delete protected Cluster, please disable deletion protection and try again.")
		case in.FinalDBSnapshotIdentifier != nil && isTrue(in.SkipFinalSnapshot):
			return nil, fault.New(database.Combination, "FinalDBSnapshotIdentifier can not be specified when deleting a database with SkipFinalSnapshot.")
		case in.FinalDBSnapshotIdentifier != nil:
			return nil, noSnapshot()
		case !isTrue(in.SkipFinalSnapshot):
			return nil, fault.New(database.Combination, "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
		case len(members) > 0:
			return nil, fault.New(clusterState, "Cluster cannot be deleted, it still contains DB instances in non-deleting state.")
		}
		shown, err := shownCluster(tx, c)
		if err != nil {
			return nil, err
		}
		shown.Status = new("deleting")
		if err := release(tx, call, c.SecretID); err != nil {
			return nil, err
		}
		return &api.DeleteDBClusterResult{DBCluster: shown}, tx.DeleteDBCluster(c.Account, c.Region, c.ID)
	})
}
