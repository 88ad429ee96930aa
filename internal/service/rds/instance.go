package rds

import (
	"context"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/rds"
	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// CreateDBInstance registers a server that exists.
func (s *Service) CreateDBInstance(ctx context.Context, call *wire.Call, in *api.CreateDBInstanceMessage) (*api.CreateDBInstanceResult, error) {
	if err := s.authorizeNew(call, database.InstanceKind, *in.DBInstanceIdentifier, in.DBSubnetGroupName, len(in.Tags) > 0); err != nil {
		return nil, err
	}
	i, err := newInstance(call, in)
	if err != nil {
		return nil, err
	}
	var m *managing
	if isTrue(in.ManageMasterUserPassword) {
		if m, err = s.manage(ctx, call, instanceSubject(i), in.MasterUserSecretKmsKeyId); err != nil {
			return nil, err
		}
		i.SecretID = m.secret.ID
	}
	out, err := update(ctx, s, call, func(tx *store.Tx) (*api.CreateDBInstanceResult, error) {
		made := i.Clone()
		if err := s.place(tx, call, made, in.DBSubnetGroupName, in.Port); err != nil {
			return nil, err
		}
		if err := createInstance(tx, made); err != nil {
			return nil, err
		}
		if err := m.save(tx); err != nil {
			return nil, err
		}
		shown, err := shownInstance(tx, made)
		return &api.CreateDBInstanceResult{DBInstance: shown}, err
	})
	if err == nil && m != nil {
		s.Wake()
	}
	return out, err
}

// authorizeNew authorises the call on something that is to be made, with the
// subnet group that it names (AWS docs).
func (s *Service) authorizeNew(call *wire.Call, kind, id string, group *string, tags bool) error {
	if given(group) != "" {
		name, _ := nameIn(call, database.SubnetGroupKind, *group)
		if err := s.authorize(call, call.Action(), database.SubnetGroupKind, name, nil); err != nil {
			return err
		}
	}
	id = strings.ToLower(id)
	if tags {
		if err := s.authorize(call, "rds:AddTagsToResource", kind, id, nil); err != nil {
			return err
		}
	}
	return s.authorize(call, "", kind, id, nil)
}

// newInstance makes the record of an instance, apart from what the store has
// to say.
func newInstance(call *wire.Call, in *api.CreateDBInstanceMessage) (*database.Instance, error) {
	id, err := database.CheckID("DBInstanceIdentifier", *in.DBInstanceIdentifier)
	if err != nil {
		return nil, err
	}
	engine, err := database.CheckEngine(*in.Engine, database.InstanceKind)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(call, in.Tags)
	if err != nil {
		return nil, err
	}
	i := &database.Instance{
		Account: call.Principal.Account, Region: call.Region, ID: id, Class: *in.DBInstanceClass, Cluster: strings.ToLower(given(in.DBClusterIdentifier)),
		Server: database.Server{
			ResourceID: database.NewResourceID("db"), Engine: engine, EngineVersion: given(in.EngineVersion), Database: given(in.DBName),
			MasterUsername: given(in.MasterUsername), SecurityGroups: in.VpcSecurityGroupIds, DeletionProtection: isTrue(in.DeletionProtection),
			Tags: tags, CreatedAt: call.Time.UTC().Truncate(time.Millisecond),
		},
		Settings: database.Settings{
			AllocatedStorage: in.AllocatedStorage, BackupRetention: in.BackupRetentionPeriod, PromotionTier: in.PromotionTier, Iops: in.Iops,
			StorageType: given(in.StorageType), KMSKeyID: given(in.KmsKeyId), License: given(in.LicenseModel), Zone: given(in.AvailabilityZone),
			BackupWindow: given(in.PreferredBackupWindow), MaintenanceWindow: given(in.PreferredMaintenanceWindow),
			Parameters: given(in.DBParameterGroupName), Options: given(in.OptionGroupName), MultiAZ: in.MultiAZ, Public: in.PubliclyAccessible,
			MinorUpgrade: in.AutoMinorVersionUpgrade, Encrypted: in.StorageEncrypted, IAM: in.EnableIAMDatabaseAuthentication, CopyTags: in.CopyTagsToSnapshot,
		},
	}
	if i.Cluster != "" {
		return i, checkMember(in)
	}
	return i, checkMaster(i.MasterUsername, in.MasterUserPassword, in.MasterUserSecretKmsKeyId, in.ManageMasterUserPassword)
}

// checkMember refuses what belongs to the cluster of which an instance is to
// be a member (AWS: reported; texts in part assumed).
func checkMember(in *api.CreateDBInstanceMessage) error {
	const member = "The requested DB Instance will be a member of a DB Cluster. "
	switch {
	case in.MasterUsername != nil:
		return fault.New(database.Combination, member+"Set master user name for the DB Cluster.")
	case in.MasterUserPassword != nil:
		return fault.New(database.Combination, member+"Set master user password for the DB Cluster.")
	case in.ManageMasterUserPassword != nil || in.MasterUserSecretKmsKeyId != nil:
		return fault.New(database.Combination, member+"Manage the master user password for the DB Cluster.")
	case in.DBName != nil:
		return fault.New(database.Combination, member+"Set database name for the DB Cluster.")
	case isTrue(in.DeletionProtection):
		return fault.New(database.Combination, member+"Set deletion protection for the DB Cluster.")
	}
	return nil
}

// checkMaster refuses what is wrong with the master user (first text AWS:
// reported; others assumed). A password is taken and not kept: it is the
// server's already.
func checkMaster(name string, password, keyID *string, managed *bool) error {
	switch {
	case name == "":
		return fault.New(fault.Parameter, "The parameter MasterUsername must be provided and must not be blank.")
	case isTrue(managed) && password != nil:
		return fault.New(database.Combination, "You can't specify MasterUserPassword when ManageMasterUserPassword is turned on.")
	case !isTrue(managed) && keyID != nil:
		return fault.New(database.Combination, "You can't specify MasterUserSecretKmsKeyId when ManageMasterUserPassword is turned off.")
	}
	return nil
}

// place completes the record by what the store says: its cluster and its
// subnet group, and where it is. Functions take the registration's word for
// what it is a part or a copy of, so the caller needs the leave of that.
func (s *Service) place(tx *store.Tx, call *wire.Call, i *database.Instance, group *string, port *int64) (err error) {
	if i.SubnetGroup, err = useGroup(tx, call, group); err != nil {
		return err
	}
	if i.Cluster != "" {
		c, err := s.joined(tx, call, i.Cluster)
		if err != nil {
			return err
		}
		if c.Engine != i.Engine {
			return fault.New(database.Combination, "The engine name requested for your DB instance (%s) doesn't match the engine name of your DB cluster (%s).", i.Engine, c.Engine)
		}
		i.MasterUsername, i.Database, i.EngineVersion = c.MasterUsername, c.Database, c.EngineVersion
		if group == nil {
			i.SubnetGroup = c.SubnetGroup
		}
		if i.SecurityGroups == nil {
			i.SecurityGroups = c.SecurityGroups
		}
	}
	if err := checkSecurityGroups(tx, call, i.SecurityGroups, i.SubnetGroup); err != nil {
		return err
	}
	if err := locateInstance(tx, i, port); err != nil || i.Cluster == "" && i.Source == "" {
		return err
	}
	ids, err := instanceSecrets(tx, i)
	if err != nil {
		return err
	}
	return s.admitReader(tx, call, ids...)
}

// locateInstance sets where the instance is, by its tag. A member of a
// cluster without one is where the cluster is.
func locateInstance(tx *store.Tx, i *database.Instance, port *int64) error {
	tag := i.Tag(database.EndpointTag)
	if tag == "" && i.Cluster != "" {
		c, err := tx.DBCluster(i.Account, i.Region, i.Cluster)
		if err == nil {
			i.Endpoint = c.Endpoint
		}
		return err
	}
	at, err := database.ReadEndpoint(tag, port, i.Engine)
	if err == nil {
		i.Endpoint = at
	}
	return err
}

func createInstance(tx *store.Tx, i *database.Instance) error {
	err := tx.CreateDBInstance(i)
	if fault.Is(err, fault.Exists) { // AWS: reported
		return fault.New(instanceExists, "DB instance already exists").For(i.ID)
	}
	return err
}

// CreateDBInstanceReadReplica registers a server that replicates another.
func (s *Service) CreateDBInstanceReadReplica(ctx context.Context, call *wire.Call, in *api.CreateDBInstanceReadReplicaMessage) (*api.CreateDBInstanceReadReplicaResult, error) {
	if err := s.authorizeNew(call, database.InstanceKind, *in.DBInstanceIdentifier, in.DBSubnetGroupName, len(in.Tags) > 0); err != nil {
		return nil, err
	}
	id, err := database.CheckID("DBInstanceIdentifier", *in.DBInstanceIdentifier)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(call, in.Tags)
	if err != nil {
		return nil, err
	}
	if given(in.SourceDBInstanceIdentifier) == "" {
		return nil, fault.New(fault.Parameter, "The parameter SourceDBInstanceIdentifier must be provided and must not be blank.")
	}
	return update(ctx, s, call, func(tx *store.Tx) (*api.CreateDBInstanceReadReplicaResult, error) {
		source, err := s.source(tx, call, *in.SourceDBInstanceIdentifier)
		if err != nil {
			return nil, err
		}
		i := source.Clone()
		i.ID, i.Source, i.ResourceID, i.SecretID, i.Cluster = id, source.ID, database.NewResourceID("db"), "", ""
		i.Tags, i.CreatedAt, i.DeletionProtection = tags, call.Time.UTC().Truncate(time.Millisecond), isTrue(in.DeletionProtection)
		if in.DBInstanceClass != nil {
			i.Class = *in.DBInstanceClass
		}
		i.SecurityGroups = in.VpcSecurityGroupIds // not the source's (AWS docs)
		group := in.DBSubnetGroupName
		if group == nil {
			group = orNil(source.SubnetGroup)
		}
		if err := s.place(tx, call, i, group, in.Port); err != nil {
			return nil, err
		}
		if err := createInstance(tx, i); err != nil {
			return nil, err
		}
		shown, err := shownInstance(tx, i)
		return &api.CreateDBInstanceReadReplicaResult{DBInstance: shown}, err
	})
}

// ModifyDBInstance changes the registration. What only the server itself
// could do is refused.
func (s *Service) ModifyDBInstance(ctx context.Context, call *wire.Call, in *api.ModifyDBInstanceMessage) (*api.ModifyDBInstanceResult, error) {
	ask := masterChange{
		manage: in.ManageMasterUserPassword, rotate: in.RotateMasterUserPassword, immediately: in.ApplyImmediately,
		password: in.MasterUserPassword, keyID: in.MasterUserSecretKmsKeyId,
	}
	var i *database.Instance
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		if i, err = s.instance(tx, call, *in.DBInstanceIdentifier); err != nil {
			return err
		}
		return ask.check(in.NewDBInstanceIdentifier, i.Cluster != "" || i.Source != "", i.SecretID)
	})
	if err != nil {
		return nil, err
	}
	m, err := s.prepareChange(ctx, call, ask, instanceSubject(i))
	if err != nil {
		return nil, err
	}
	out, err := update(ctx, s, call, func(tx *store.Tx) (*api.ModifyDBInstanceResult, error) {
		i, err := s.instance(tx, call, *in.DBInstanceIdentifier)
		if err != nil {
			return nil, err
		}
		if i.SecretID, err = s.changeMaster(tx, call, ask, m, i.SecretID); err != nil {
			return nil, err
		}
		was := i.Clone()
		if err := modifyInstance(tx, call, i, in); err != nil {
			return nil, err
		}
		if err := s.admitInstance(tx, call, was, i); err != nil {
			return nil, err
		}
		if err := tx.SaveDBInstance(i); err != nil {
			return nil, err
		}
		shown, err := shownInstance(tx, i)
		return &api.ModifyDBInstanceResult{DBInstance: shown}, err
	})
	if err == nil && (m != nil || isTrue(ask.rotate)) {
		s.Wake()
	}
	return out, err
}

func modifyInstance(tx *store.Tx, call *wire.Call, i *database.Instance, in *api.ModifyDBInstanceMessage) (err error) {
	o := &i.Settings
	set(&i.Class, in.DBInstanceClass)
	set(&i.EngineVersion, in.EngineVersion)
	set(&o.StorageType, in.StorageType)
	set(&o.License, in.LicenseModel)
	set(&o.BackupWindow, in.PreferredBackupWindow)
	set(&o.MaintenanceWindow, in.PreferredMaintenanceWindow)
	set(&o.Parameters, in.DBParameterGroupName)
	set(&o.Options, in.OptionGroupName)
	set(&i.DeletionProtection, in.DeletionProtection)
	replace(&o.AllocatedStorage, in.AllocatedStorage)
	replace(&o.BackupRetention, in.BackupRetentionPeriod)
	replace(&o.PromotionTier, in.PromotionTier)
	replace(&o.Iops, in.Iops)
	replace(&o.MultiAZ, in.MultiAZ)
	replace(&o.Public, in.PubliclyAccessible)
	replace(&o.MinorUpgrade, in.AutoMinorVersionUpgrade)
	replace(&o.IAM, in.EnableIAMDatabaseAuthentication)
	replace(&o.CopyTags, in.CopyTagsToSnapshot)
	if in.VpcSecurityGroupIds != nil {
		i.SecurityGroups = in.VpcSecurityGroupIds
	}
	if in.DBSubnetGroupName != nil {
		if i.SubnetGroup, err = useGroup(tx, call, in.DBSubnetGroupName); err != nil {
			return err
		}
	}
	if in.VpcSecurityGroupIds != nil || in.DBSubnetGroupName != nil {
		if err := checkSecurityGroups(tx, call, i.SecurityGroups, i.SubnetGroup); err != nil {
			return err
		}
	}
	if in.DBPortNumber != nil {
		return locateInstance(tx, i, in.DBPortNumber)
	}
	return nil
}

// set takes over a member that is given.
func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// replace takes over an option that is given.
func replace[T any](to **T, from *T) {
	if from != nil {
		*to = from
	}
}

// noSnapshot refuses a last snapshot, which nobody makes here.
func noSnapshot() error {
	return fault.New(database.Combination, "Keyturn holds the registration of a database, not the database, and makes no snapshot of it: use SkipFinalSnapshot.")
}

// DeleteDBInstance ends a registration; the server itself is left alone. The
// managed master secret goes into its recovery window.
func (s *Service) DeleteDBInstance(ctx context.Context, call *wire.Call, in *api.DeleteDBInstanceMessage) (*api.DeleteDBInstanceResult, error) {
	return update(ctx, s, call, func(tx *store.Tx) (*api.DeleteDBInstanceResult, error) {
		i, err := s.instance(tx, call, *in.DBInstanceIdentifier)
		if err != nil {
			return nil, err
		}
		switch { // AWS: reported
		case i.DeletionProtection:
			return nil, fault.New(database.Combination, "Cannot delete protected DB Instance, please disable deletion protection and try again.")
		case in.FinalDBSnapshotIdentifier != nil && isTrue(in.SkipFinalSnapshot):
			return nil, fault.New(database.Combination, "FinalDBSnapshotIdentifier can not be specified when deleting a database with SkipFinalSnapshot.")
		case in.FinalDBSnapshotIdentifier != nil:
			return nil, noSnapshot()
		case !isTrue(in.SkipFinalSnapshot) && i.Cluster == "" && i.Source == "":
			return nil, fault.New(database.Combination, "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
		}
		shown, err := shownInstance(tx, i)
		if err != nil {
			return nil, err
		}
		shown.DBInstanceStatus = new("deleting")
		if err := release(tx, call, i.SecretID); err != nil {
			return nil, err
		}
		if err := orphan(tx, i); err != nil {
			return nil, err
		}
		return &api.DeleteDBInstanceResult{DBInstance: shown}, tx.DeleteDBInstance(i.Account, i.Region, i.ID)
	})
}

// orphan makes the replicas of an instance stand for themselves (AWS docs).
func orphan(tx *store.Tx, i *database.Instance) error {
	replicas, err := tx.DBReplicas(i.Account, i.Region, i.ID)
	for _, r := range replicas {
		if err == nil {
			r.Source = ""
			err = tx.SaveDBInstance(r)
		}
	}
	return err
}
