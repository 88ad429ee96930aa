package resource

import (
	"context"
	"maps"
	"strconv"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/rds"
	"github.com/keyturn/keyturn/internal/stack"
)

const rdsService = "rds"

// maxDatabaseID is the longest identifier of an instance or a cluster (AWS
// docs).
const maxDatabaseID = 63

// optionalTags are tags whose value may be missing.
func optionalTags() stack.Property {
	return listOf(object(properties{"Key": required(text()), "Value": text()}))
}

// all adds properties of one form to a schema.
func (s schemaTable) all(p stack.Property, names string) schemaTable {
	for _, name := range strings.Fields(names) {
		s[name] = p
	}
	return s
}

type schemaTable properties

// instanceSchema are the properties of AWS::RDS::DBInstance, without those
// that make one of a backup.
func instanceSchema() properties {
	s := schemaTable{
		"Tags": optionalTags(), "MasterUserSecret": object(properties{"KmsKeyId": text(), "SecretArn": text()}),
		"ProcessorFeatures": listOf(object(properties{"Name": text(), "Value": text()})),
	}
	s.all(texts(), "DBSecurityGroups DomainDnsIps EnableCloudwatchLogsExports VPCSecurityGroups")
	s.all(boolean(), `AllowMajorVersionUpgrade ApplyImmediately AutoMinorVersionUpgrade CertificateRotationRestart CopyTagsToSnapshot
		DedicatedLogVolume DeleteAutomatedBackups DeletionProtection EnableIAMDatabaseAuthentication EnablePerformanceInsights
		ManageMasterUserPassword MultiAZ PubliclyAccessible UseDefaultProcessorFeatures`)
	s.all(integer(), `AllocatedStorage BackupRetentionPeriod Iops MaxAllocatedStorage MonitoringInterval PerformanceInsightsRetentionPeriod Port
		PromotionTier StorageThroughput`)
	s.all(text(), `CACertificateIdentifier DBInstanceClass DBParameterGroupName DatabaseInsightsMode Domain DomainAuthSecretArn DomainFqdn
		DomainIAMRoleName DomainOu EngineLifecycleSupport EngineVersion LicenseModel MasterUserAuthenticationType MasterUserPassword
		MonitoringRoleArn NetworkType OptionGroupName PerformanceInsightsKMSKeyId PreferredBackupWindow PreferredMaintenanceWindow ReplicaMode
		StorageType TdeCredentialArn TdeCredentialPassword`)
	s.all(fixed(text()), `AvailabilityZone BackupTarget CharacterSetName CustomIAMInstanceProfile DBClusterIdentifier DBInstanceIdentifier DBName
		DBSubnetGroupName DBSystemId Engine KmsKeyId MasterUsername NcharCharacterSetName SourceDBInstanceIdentifier Timezone`)
	s["StorageEncrypted"] = fixed(boolean())
	return properties(s)
}

// clusterSchema are the properties of AWS::RDS::DBCluster, without those that
// make one of a backup.
func clusterSchema() properties {
	s := schemaTable{
		"Tags": optionalTags(), "MasterUserSecret": object(properties{"KmsKeyId": text(), "SecretArn": text()}),
		"AvailabilityZones": fixed(texts()),
		"ScalingConfiguration": object(properties{
			"AutoPause": boolean(), "MaxCapacity": integer(), "MinCapacity": integer(), "SecondsBeforeTimeout": integer(),
			"SecondsUntilAutoPause": integer(), "TimeoutAction": text(),
		}),
		"ServerlessV2ScalingConfiguration": object(properties{"MaxCapacity": number(), "MinCapacity": number(), "SecondsUntilAutoPause": integer()}),
	}
	s.all(texts(), "EnableCloudwatchLogsExports VpcSecurityGroupIds")
	s.all(boolean(), `AutoMinorVersionUpgrade CopyTagsToSnapshot DeleteAutomatedBackups DeletionProtection EnableGlobalWriteForwarding
		EnableHttpEndpoint EnableIAMDatabaseAuthentication EnableLocalWriteForwarding ManageMasterUserPassword`)
	s.all(fixed(boolean()), "PubliclyAccessible StorageEncrypted")
	s.all(integer(), "AllocatedStorage BacktrackWindow BackupRetentionPeriod Iops MonitoringInterval PerformanceInsightsRetentionPeriod Port")
	s.all(text(), `DBClusterInstanceClass DBClusterParameterGroupName DBInstanceParameterGroupName DatabaseInsightsMode Domain DomainIAMRoleName
		EngineLifecycleSupport EngineVersion MasterUserAuthenticationType MasterUserPassword MonitoringRoleArn NetworkType
		PreferredBackupWindow PreferredMaintenanceWindow StorageType`)
	s.all(fixed(text()), `ClusterScalabilityType DBClusterIdentifier DBSubnetGroupName DBSystemId DatabaseName Engine EngineMode
		GlobalClusterIdentifier KmsKeyId MasterUsername`)
	return properties(s)
}

// databaseProperties are those that the types of databases share and whose
// form is not that of the operations.
type databaseProperties struct {
	MasterUserSecret *struct{ KmsKeyId *string }
}

// secretKey is the key of a managed master secret.
func (p *databaseProperties) secretKey() *string {
	if p.MasterUserSecret == nil {
		return nil
	}
	return p.MasterUserSecret.KmsKeyId
}

// databaseName is the given identifier or a generated one; RDS has them in
// lower case.
func (r *Request) databaseName(given *string) string {
	name, _ := r.nameOr(given, maxDatabaseID)
	return strings.ToLower(name)
}

// turnedOff are the switches of which a template that no longer has them
// means that they are off.
var turnedOff = []string{"DeletionProtection", "ManageMasterUserPassword"}

// changes are the properties that an update changes, in the form of the
// operation that modifies.
func changes[In any](r *Request, schema *stack.Schema) (*In, bool, error) {
	names, _ := schema.Compare(r.Previous, r.Properties)
	tree := map[string]any{}
	for _, name := range names {
		if v, ok := r.Properties[name]; ok {
			tree[name] = v
		}
	}
	for _, name := range turnedOff {
		if _, was := r.Previous[name]; was && r.Properties[name] == nil {
			tree[name] = false
		}
	}
	delete(tree, "Tags") // which have operations of their own
	// The password is the server's: what a reference to a secret gives changes
	// with every rotation, which has set it there already.
	delete(tree, "MasterUserPassword")
	in, err := decode[In](schema, tree)
	return in, len(tree) > 0, err
}

func rdsTags(all map[string]string) []api.Tag {
	return sortedTags(all, func(key, value *string) api.Tag { return api.Tag{Key: key, Value: value} })
}

// rdsTag finds the value of a tag.
func rdsTag(list []api.Tag) func(string) string {
	return func(key string) string {
		for _, t := range list {
			if deref(t.Key) == key {
				return deref(t.Value)
			}
		}
		return ""
	}
}

// retagDatabase are the steps that change the tags behind an ARN.
func (r *Request) retagDatabase(arn string, old, new tags) (steps []step) {
	change := r.tagsChanged(old, new)
	if len(change.drop) > 0 {
		steps = append(steps, step{rdsService, "RemoveTagsFromResource", &api.RemoveTagsFromResourceMessage{ResourceName: &arn, TagKeys: change.drop}})
	}
	if len(change.set) > 0 {
		steps = append(steps, step{rdsService, "AddTagsToResource", &api.AddTagsToResourceMessage{ResourceName: &arn, Tags: rdsTags(change.set)}})
	}
	return steps
}

// instanceProperties are those of AWS::RDS::DBInstance.
type instanceProperties struct {
	api.CreateDBInstanceMessage
	databaseProperties
	VPCSecurityGroups          []string
	SourceDBInstanceIdentifier *string
	Tags                       tags
}

// instanceHandler handles AWS::RDS::DBInstance, which registers a database
// that exists.
func instanceHandler() *Handler {
	schema := &stack.Schema{
		Type: "AWS::RDS::DBInstance", Taggable: "Tags", Properties: instanceSchema(),
		Attributes: []string{
			"Endpoint.Address", "Endpoint.Port", "Endpoint.HostedZoneId", "DBInstanceArn", "DbiResourceId", "MasterUserSecret.SecretArn",
		},
	}
	return typed[instanceProperties]{
		schema: schema,
		create: func(ctx context.Context, r *Request, p *instanceProperties) (Result, error) {
			return createInstance(ctx, r, schema, p)
		},
		update: func(ctx context.Context, r *Request, old, p *instanceProperties) (Result, error) {
			return updateInstance(ctx, r, schema, old, p)
		},
		delete: func(ctx context.Context, r *Request, _ *instanceProperties) error {
			return r.removeInstance(ctx, r.PhysicalID)
		},
	}.handler()
}

// registration is the step that makes the instance: a replica if it has a
// source.
func (p *instanceProperties) registration(r *Request, schema *stack.Schema, id string) (step, error) {
	all := rdsTags(p.Tags.with(r.Tags))
	if p.SourceDBInstanceIdentifier != nil {
		tree := maps.Clone(r.Properties)
		delete(tree, "Tags")
		in, err := decode[api.CreateDBInstanceReadReplicaMessage](schema, tree)
		if err != nil {
			return step{}, err
		}
		in.DBInstanceIdentifier, in.VpcSecurityGroupIds, in.Tags = &id, p.VPCSecurityGroups, all
		return step{rdsService, "CreateDBInstanceReadReplica", in}, nil
	}
	in := p.CreateDBInstanceMessage
	in.DBInstanceIdentifier, in.MasterUserSecretKmsKeyId, in.VpcSecurityGroupIds, in.Tags = &id, p.secretKey(), p.VPCSecurityGroups, all
	return step{rdsService, "CreateDBInstance", &in}, nil
}

func createInstance(ctx context.Context, r *Request, schema *stack.Schema, p *instanceProperties) (Result, error) {
	id := r.databaseName(p.DBInstanceIdentifier)
	s, err := p.registration(r, schema, id)
	if err != nil {
		return Result{}, err
	}
	err = r.Client.each(ctx, s)
	if exists(err) && r.Resumed {
		if d, failed := r.describeInstance(ctx, id); failed == nil && r.ours(id, rdsTag(d.TagList)) {
			err = nil
		}
	}
	if err != nil {
		return Result{}, err
	}
	var res Result
	if err = r.initiated(id); err == nil {
		res, err = r.readyInstance(ctx, id)
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeInstance(ctx, id) })
	}
	return res, nil
}

func (r *Request) describeInstance(ctx context.Context, id string) (*api.DBInstance, error) {
	out, err := call[api.DBInstanceMessage](ctx, r.Client, rdsService, "DescribeDBInstances", &api.DescribeDBInstancesMessage{DBInstanceIdentifier: &id})
	if err != nil {
		return nil, err
	}
	return &out.DBInstances[0], nil
}

// available is the status of what can be used.
const available = "available"

// readyInstance waits until an instance can be used.
func (r *Request) readyInstance(ctx context.Context, id string) (Result, error) {
	var d *api.DBInstance
	err := until(ctx, func() (_ bool, err error) {
		if d, err = r.describeInstance(ctx, id); err != nil {
			return false, err
		}
		return deref(d.DBInstanceStatus) == available, nil
	})
	if err != nil {
		return Result{}, err
	}
	attributes := map[string]any{"DBInstanceArn": deref(d.DBInstanceArn), "DbiResourceId": deref(d.DbiResourceId)}
	if e := d.Endpoint; e != nil {
		maps.Copy(attributes, map[string]any{
			"Endpoint.Address": deref(e.Address), "Endpoint.Port": strconv.FormatInt(deref(e.Port), 10), "Endpoint.HostedZoneId": deref(e.HostedZoneId),
		})
	}
	if s := d.MasterUserSecret; s != nil {
		attributes["MasterUserSecret.SecretArn"] = deref(s.SecretArn)
	}
	return Result{PhysicalID: id, Attributes: attributes}, nil
}

func updateInstance(ctx context.Context, r *Request, schema *stack.Schema, old, p *instanceProperties) (Result, error) {
	in, changed, err := changes[api.ModifyDBInstanceMessage](r, schema)
	if err != nil {
		return Result{}, err
	}
	d, err := r.describeInstance(ctx, r.PhysicalID)
	if err != nil {
		return Result{}, err
	}
	steps := r.retagDatabase(deref(d.DBInstanceArn), old.Tags, p.Tags)
	if changed {
		in.DBInstanceIdentifier, in.ApplyImmediately = &r.PhysicalID, new(true)
		if differ(old.Port, p.Port) {
			in.DBPortNumber = p.Port
		}
		if differ(old.VPCSecurityGroups, p.VPCSecurityGroups) {
			in.VpcSecurityGroupIds = p.VPCSecurityGroups
		}
		if differ(old.secretKey(), p.secretKey()) {
			in.MasterUserSecretKmsKeyId = p.secretKey()
		}
		steps = append(steps, step{rdsService, "ModifyDBInstance", in})
	}
	if err := r.Client.each(ctx, steps...); err != nil {
		return Result{}, err
	}
	return r.readyInstance(ctx, r.PhysicalID)
}

// removeInstance forgets an instance; there are no snapshots here.
func (r *Request) removeInstance(ctx context.Context, id string) error {
	in := &api.DeleteDBInstanceMessage{DBInstanceIdentifier: &id, SkipFinalSnapshot: new(true)}
	if err := r.Client.without(ctx, step{rdsService, "DeleteDBInstance", in}); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		_, err := r.describeInstance(ctx, id)
		return isNotFound(err), gone(err)
	})
}

// clusterProperties are those of AWS::RDS::DBCluster.
type clusterProperties struct {
	api.CreateDBClusterMessage
	databaseProperties
	Tags tags
}

// clusterHandler handles AWS::RDS::DBCluster, which registers a database that
// exists.
func clusterHandler() *Handler {
	schema := &stack.Schema{
		Type: "AWS::RDS::DBCluster", Taggable: "Tags", Properties: clusterSchema(),
		Attributes: []string{
			"Endpoint.Address", "Endpoint.Port", "ReadEndpoint.Address", "DBClusterArn", "DBClusterResourceId", "MasterUserSecret.SecretArn",
		},
	}
	return typed[clusterProperties]{
		schema: schema, create: createCluster,
		update: func(ctx context.Context, r *Request, old, p *clusterProperties) (Result, error) {
			return updateCluster(ctx, r, schema, old, p)
		},
		delete: func(ctx context.Context, r *Request, _ *clusterProperties) error {
			return r.removeCluster(ctx, r.PhysicalID)
		},
	}.handler()
}

func createCluster(ctx context.Context, r *Request, p *clusterProperties) (Result, error) {
	id := r.databaseName(p.DBClusterIdentifier)
	in := p.CreateDBClusterMessage
	in.DBClusterIdentifier, in.MasterUserSecretKmsKeyId, in.Tags = &id, p.secretKey(), rdsTags(p.Tags.with(r.Tags))
	err := r.Client.do(ctx, rdsService, "CreateDBCluster", &in)
	if exists(err) && r.Resumed {
		if d, failed := r.describeCluster(ctx, id); failed == nil && r.ours(id, rdsTag(d.TagList)) {
			err = nil
		}
	}
	if err != nil {
		return Result{}, err
	}
	var res Result
	if err = r.initiated(id); err == nil {
		res, err = r.readyCluster(ctx, id)
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeCluster(ctx, id) })
	}
	return res, nil
}

func (r *Request) describeCluster(ctx context.Context, id string) (*api.DBCluster, error) {
	out, err := call[api.DBClusterMessage](ctx, r.Client, rdsService, "DescribeDBClusters", &api.DescribeDBClustersMessage{DBClusterIdentifier: &id})
	if err != nil {
		return nil, err
	}
	return &out.DBClusters[0], nil
}

// readyCluster waits until a cluster can be used.
func (r *Request) readyCluster(ctx context.Context, id string) (Result, error) {
	var d *api.DBCluster
	err := until(ctx, func() (_ bool, err error) {
		if d, err = r.describeCluster(ctx, id); err != nil {
			return false, err
		}
		return deref(d.Status) == available, nil
	})
	if err != nil {
		return Result{}, err
	}
	attributes := map[string]any{
		"Endpoint.Address": deref(d.Endpoint), "Endpoint.Port": strconv.FormatInt(deref(d.Port), 10), "ReadEndpoint.Address": deref(d.ReaderEndpoint),
		"DBClusterArn": deref(d.DBClusterArn), "DBClusterResourceId": deref(d.DbClusterResourceId),
	}
	if s := d.MasterUserSecret; s != nil {
		attributes["MasterUserSecret.SecretArn"] = deref(s.SecretArn)
	}
	return Result{PhysicalID: id, Attributes: attributes}, nil
}

func updateCluster(ctx context.Context, r *Request, schema *stack.Schema, old, p *clusterProperties) (Result, error) {
	in, changed, err := changes[api.ModifyDBClusterMessage](r, schema)
	if err != nil {
		return Result{}, err
	}
	d, err := r.describeCluster(ctx, r.PhysicalID)
	if err != nil {
		return Result{}, err
	}
	steps := r.retagDatabase(deref(d.DBClusterArn), old.Tags, p.Tags)
	if changed {
		in.DBClusterIdentifier, in.ApplyImmediately = &r.PhysicalID, new(true)
		if differ(old.secretKey(), p.secretKey()) {
			in.MasterUserSecretKmsKeyId = p.secretKey()
		}
		steps = append(steps, step{rdsService, "ModifyDBCluster", in})
	}
	if err := r.Client.each(ctx, steps...); err != nil {
		return Result{}, err
	}
	return r.readyCluster(ctx, r.PhysicalID)
}

// removeCluster forgets a cluster; there are no snapshots here.
func (r *Request) removeCluster(ctx context.Context, id string) error {
	in := &api.DeleteDBClusterMessage{DBClusterIdentifier: &id, SkipFinalSnapshot: new(true)}
	if err := r.Client.without(ctx, step{rdsService, "DeleteDBCluster", in}); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		_, err := r.describeCluster(ctx, id)
		return isNotFound(err), gone(err)
	})
}
