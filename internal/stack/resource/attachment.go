package resource

import (
	"context"
	"strings"

	"github.com/keyturn/keyturn/internal/api/rds"
	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
)

// attachmentProperties are those of AWS::SecretsManager::SecretTargetAttachment.
type attachmentProperties struct{ SecretId, TargetId, TargetType string }

// connectionMembers are what an attachment writes into a secret's value (AWS:
// recorded).
var connectionMembers = []string{"engine", "host", "port", "dbname", "dbInstanceIdentifier", "dbClusterIdentifier"}

// attachmentHandler handles AWS::SecretsManager::SecretTargetAttachment.
func attachmentHandler() *Handler {
	return typed[attachmentProperties]{
		schema: &stack.Schema{
			Type: "AWS::SecretsManager::SecretTargetAttachment", Attributes: []string{"Id"},
			Properties: properties{"SecretId": fixed(required(text())), "TargetId": required(text()), "TargetType": required(text())},
		},
		create: func(ctx context.Context, r *Request, p *attachmentProperties) (Result, error) {
			return r.attach(ctx, p)
		},
		update: func(ctx context.Context, r *Request, _, p *attachmentProperties) (Result, error) {
			return r.attach(ctx, p)
		},
		delete: func(ctx context.Context, r *Request, _ *attachmentProperties) error {
			err := r.restoreLabels(ctx, r.PhysicalID, true)
			if err == nil {
				_, err = r.connect(ctx, r.PhysicalID, map[string]any{})
			}
			if codeOf(err) == "ResourceNotFoundException" || fault.Is(err, errNoConnection) {
				return nil
			}
			return err
		},
	}.handler()
}

// attach writes where the target is into the secret.
func (r *Request) attach(ctx context.Context, p *attachmentProperties) (Result, error) {
	if r.Rollback {
		if err := r.restoreLabels(ctx, p.SecretId, true); err != nil {
			return Result{}, err
		}
	}
	connection, err := r.connection(ctx, p)
	if err != nil {
		return Result{}, err
	}
	arn, err := r.connect(ctx, p.SecretId, connection)
	if err != nil {
		return Result{}, err
	}
	return secretResult(arn), r.initiated(arn)
}

// errNoConnection is the kind of a value that cannot hold members.
const errNoConnection fault.Kind = "value without members"

// connect puts the members of a connection in place of those that the current
// value has, as a new version if that changes anything.
func (r *Request) connect(ctx context.Context, id string, connection map[string]any) (arn string, err error) {
	current, err := call[api.GetSecretValueResponse](ctx, r.Client, secretsManager, "GetSecretValue", &api.GetSecretValueRequest{SecretId: &id})
	if err != nil {
		return "", err
	}
	members, err := parseMembers(deref(current.SecretString))
	if err != nil { // text assumed; the cause may quote the value
		return "", fault.New(errNoConnection, "The secret's value must be a JSON object to be attached to a target.")
	}
	before, err := formatMembers(members)
	if err != nil {
		return "", err
	}
	for _, name := range connectionMembers {
		delete(members, name)
	}
	for name, v := range connection {
		members[name] = v
	}
	after, err := formatMembers(members)
	if err != nil || after == before {
		return *current.ARN, err
	}
	if err := r.rememberLabels(ctx, *current.ARN, r.token("attach")); err != nil {
		return "", err
	}
	return *current.ARN, r.Client.do(ctx, secretsManager, "PutSecretValue", &api.PutSecretValueRequest{
		SecretId: current.ARN, ClientRequestToken: new(r.token("attach")), SecretString: &after,
	})
}

// connection asks where the target is.
func (r *Request) connection(ctx context.Context, p *attachmentProperties) (map[string]any, error) {
	switch p.TargetType {
	case "AWS::RDS::DBInstance", "AWS::DocDB::DBInstance":
		return r.instanceConnection(ctx, p.TargetId)
	case "AWS::RDS::DBCluster", "AWS::DocDB::DBCluster":
		return r.clusterConnection(ctx, p.TargetId)
	case "AWS::Redshift::Cluster", "AWS::RedshiftServerless::Namespace", "AWS::DocDBElastic::Cluster":
		return nil, fault.New(fault.State, "The target type %s is not supported by this server.", p.TargetType)
	}
	return nil, fault.New(fault.State, "Invalid TargetType: %s", p.TargetType) // text assumed
}

func (r *Request) instanceConnection(ctx context.Context, id string) (map[string]any, error) {
	out, err := call[rds.DBInstanceMessage](ctx, r.Client, rdsService, "DescribeDBInstances", &rds.DescribeDBInstancesMessage{DBInstanceIdentifier: &id})
	if err != nil {
		return nil, err
	}
	if len(out.DBInstances) == 0 || out.DBInstances[0].Endpoint == nil {
		return nil, fault.New(fault.NotFound, "DBInstance %s not found.", id)
	}
	d := out.DBInstances[0]
	return connectionOf(deref(d.Engine), deref(d.Endpoint.Address), deref(d.Endpoint.Port), deref(d.DBName), "dbInstanceIdentifier", deref(d.DBInstanceIdentifier)), nil
}

func (r *Request) clusterConnection(ctx context.Context, id string) (map[string]any, error) {
	out, err := call[rds.DBClusterMessage](ctx, r.Client, rdsService, "DescribeDBClusters", &rds.DescribeDBClustersMessage{DBClusterIdentifier: &id})
	if err != nil {
		return nil, err
	}
	if len(out.DBClusters) == 0 {
		return nil, fault.New(fault.NotFound, "DBCluster %s not found.", id)
	}
	d := out.DBClusters[0]
	return connectionOf(deref(d.Engine), deref(d.Endpoint), deref(d.Port), deref(d.DatabaseName), "dbClusterIdentifier", deref(d.DBClusterIdentifier)), nil
}

func connectionOf(engine, host string, port int64, database, idMember, id string) map[string]any {
	c := map[string]any{"engine": secretEngine(engine), "host": host, "port": port, idMember: id}
	if database != "" {
		c["dbname"] = database
	}
	return c
}

// secretEngine is what rotation functions call an engine of RDS (AWS docs).
func secretEngine(engine string) string {
	for _, e := range []struct{ prefix, name string }{
		{"aurora-postgresql", "postgres"}, {"aurora", "mysql"}, {"oracle", "oracle"}, {"custom-oracle", "oracle"}, {"sqlserver", "sqlserver"},
		{"custom-sqlserver", "sqlserver"}, {"db2", "db2"}, {"docdb", "mongo"},
	} {
		if strings.HasPrefix(engine, e.prefix) {
			return e.name
		}
	}
	return engine
}
