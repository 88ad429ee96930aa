package resource_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/resource"
)

func databaseScenarios() []scenario {
	return []scenario{instanceScenario(), replicaScenario(), clusterScenario(), subnetGroupScenario(), attachmentScenario()}
}

// others are the properties of a type that can be updated, without those that
// its scenario updates.
func others(typ string, updated ...string) (names []string) {
	for name, p := range resource.Schema(typ).Properties {
		if p.Update != stack.Replacement && !slices.Contains(updated, name) {
			names = append(names, name)
		}
	}
	return names
}

func rdsTags(list []types.Tag) map[string]string {
	tags := map[string]string{}
	for _, t := range list {
		tags[*t.Key] = *t.Value
	}
	return tags
}

func (k *kit) lookInstance(res resource.Result) string {
	out, err := k.rds.DescribeDBInstances(k.Context(), &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &res.PhysicalID})
	return seen(err, func() string {
		d := out.DBInstances[0]
		var groups []string
		for _, g := range d.VpcSecurityGroups {
			groups = append(groups, *g.VpcSecurityGroupId)
		}
		return fmt.Sprintf("%s %s %s:%d %s %s from=%s managed=%v protected=%v groups=%v tags=%s", *d.DBInstanceStatus, *d.Engine, *d.Endpoint.Address, *d.Endpoint.Port,
			*d.DBInstanceClass, *d.MasterUsername, text(d.ReadReplicaSourceDBInstanceIdentifier), d.MasterUserSecret != nil, *d.DeletionProtection, groups,
			k.users(rdsTags(d.TagList)))
	})
}

func instanceScenario() scenario {
	const head = `{"DBInstanceIdentifier":"Orders","Engine":"postgres","MasterUsername":"admin","DBName":"orders"`
	return scenario{
		typ: "AWS::RDS::DBInstance", look: (*kit).lookInstance, setup: network,
		properties: head + `,"DBInstanceClass":"db.t3.micro","MasterUserPassword":"open sesame","AllocatedStorage":"20","Port":"6432","VPCSecurityGroups":["${GROUP}"],
			"Tags":[{"Key":"keyturn:endpoint","Value":"db.example.com"},{"Key":"team","Value":"db"}]}`,
		want: "available postgres db.example.com:6432 db.t3.micro admin from=- managed=false protected=false groups=[${GROUP}] tags=map[keyturn:endpoint:db.example.com team:db]",
		attributes: map[string]string{
			"Ref": "orders", "Endpoint.Address": "db.example.com", "Endpoint.Port": "6432", "DBInstanceArn": "arn:aws:rds:us-east-1:123456789012:db:orders", "DbiResourceId": "db-*",
		},
		updates: []change{
			{
				"class, protection and tags", head + `,"DBInstanceClass":"db.t3.small","MasterUserPassword":"shut","AllocatedStorage":30,"Port":6432,"VPCSecurityGroups":["${GROUP}"],"DeletionProtection":true,
					"Tags":[{"Key":"keyturn:endpoint","Value":"db.example.com"}]}`,
				"available postgres db.example.com:6432 db.t3.small admin from=- managed=false protected=true groups=[${GROUP}] tags=map[keyturn:endpoint:db.example.com]",
			},
			{
				"no protection any more", head + `,"DBInstanceClass":"db.t3.small","MasterUserPassword":"shut","AllocatedStorage":30,"Port":6432,"VPCSecurityGroups":["${GROUP}"],
					"Tags":[{"Key":"keyturn:endpoint","Value":"db.example.com"}]}`,
				"available postgres db.example.com:6432 db.t3.small admin from=- managed=false protected=false groups=[${GROUP}] tags=map[keyturn:endpoint:db.example.com]",
			},
		},
		unchanging: others("AWS::RDS::DBInstance", "DBInstanceClass", "DeletionProtection", "Tags", "AllocatedStorage", "MasterUserPassword"),
		refused: []refusal{
			{
				"no endpoint", head + `,"DBInstanceClass":"db.t3.micro","MasterUserPassword":"x"}`, resource.InvalidRequest,
				"Keyturn makes no databases: it registers one that exists. Say where it is with the tag keyturn:endpoint, for example Key=keyturn:endpoint,Value=db.example.com:5432.",
			},
		},
	}
}

func replicaScenario() scenario {
	return scenario{
		typ: "AWS::RDS::DBInstance", look: (*kit).lookInstance,
		setup: func(k *kit) map[string]string {
			_, err := k.rds.CreateDBInstance(k.Context(), &rds.CreateDBInstanceInput{
				DBInstanceIdentifier: new("source"), Engine: new("mysql"), DBInstanceClass: new("db.t3.micro"), MasterUsername: new("root"), MasterUserPassword: new("x"),
				Tags: []types.Tag{{Key: new("keyturn:endpoint"), Value: new("one.example.com")}},
			})
			k.must(err)
			return nil
		},
		properties: `{"SourceDBInstanceIdentifier":"source","Tags":[{"Key":"keyturn:endpoint","Value":"two.example.com:3307"}]}`,
		want:       "available mysql two.example.com:3307 db.t3.micro root from=source managed=false protected=false groups=[] tags=map[keyturn:endpoint:two.example.com:3307]",
		attributes: map[string]string{"Ref": "shop-thing-*", "Endpoint.Port": "3307"}, unchanging: others("AWS::RDS::DBInstance"),
		refused: []refusal{{"a missing source", `{"SourceDBInstanceIdentifier":"none","Tags":[{"Key":"keyturn:endpoint","Value":"two.example.com"}]}`, resource.NotFound, "DBInstance none not found."}},
	}
}

func clusterScenario() scenario {
	const head = `{"Engine":"aurora-postgresql","MasterUsername":"admin","DatabaseName":"orders","Tags":[{"Key":"keyturn:endpoint","Value":"c.example.com:5433"}]`
	return scenario{
		typ: "AWS::RDS::DBCluster",
		look: func(k *kit, res resource.Result) string {
			out, err := k.rds.DescribeDBClusters(k.Context(), &rds.DescribeDBClustersInput{DBClusterIdentifier: &res.PhysicalID})
			return seen(err, func() string {
				d := out.DBClusters[0]
				return fmt.Sprintf("%s %s %s:%d %s managed=%v protected=%v tags=%s", *d.Status, *d.Engine, *d.Endpoint, *d.Port, *d.DatabaseName, d.MasterUserSecret != nil, *d.DeletionProtection,
					k.users(rdsTags(d.TagList)))
			})
		},
		properties: head + `,"MasterUserPassword":"open sesame"}`, want: "available aurora-postgresql c.example.com:5433 orders managed=false protected=false tags=map[keyturn:endpoint:c.example.com:5433]",
		attributes: map[string]string{
			"Ref": "shop-thing-*", "Endpoint.Address": "c.example.com", "Endpoint.Port": "5433", "DBClusterArn": "arn:aws:rds:us-east-1:123456789012:cluster:$ID", "DBClusterResourceId": "cluster-*",
		},
		updates: []change{
			{"protection", head + `,"MasterUserPassword":"shut","DeletionProtection":"true"}`, "available aurora-postgresql c.example.com:5433 orders managed=false protected=true tags=map[keyturn:endpoint:c.example.com:5433]"},
			{"none", head + `,"MasterUserPassword":"shut"}`, "available aurora-postgresql c.example.com:5433 orders managed=false protected=false tags=map[keyturn:endpoint:c.example.com:5433]"},
		},
		unchanging: others("AWS::RDS::DBCluster", "MasterUserPassword", "DeletionProtection"),
		refused: []refusal{{
			"an unknown engine", `{"Engine":"paper","MasterUsername":"admin","Tags":[{"Key":"keyturn:endpoint","Value":"c.example.com"}]}`, resource.InvalidRequest, "Invalid DB engine",
		}},
	}
}

func subnetGroupScenario() scenario {
	return scenario{
		typ: "AWS::RDS::DBSubnetGroup",
		setup: func(k *kit) map[string]string {
			v := network(k)
			v["OTHER"] = k.newSubnet(v["VPC"], "10.0.9.0/24", "us-east-1c")
			return v
		},
		look: func(k *kit, res resource.Result) string {
			out, err := k.rds.DescribeDBSubnetGroups(k.Context(), &rds.DescribeDBSubnetGroupsInput{DBSubnetGroupName: &res.PhysicalID})
			return seen(err, func() string {
				g := out.DBSubnetGroups[0]
				list, err := k.rds.ListTagsForResource(k.Context(), &rds.ListTagsForResourceInput{ResourceName: g.DBSubnetGroupArn})
				k.must(err)
				return fmt.Sprint(*g.DBSubnetGroupDescription, " ", len(g.Subnets), " ", k.users(rdsTags(list.TagList)))
			})
		},
		properties: `{"DBSubnetGroupDescription":"d","SubnetIds":["${SUBNET}","${OTHER}"],"Tags":[{"Key":"a","Value":"b"}]}`, want: "d 2 map[a:b]",
		attributes: map[string]string{"Ref": "shop-thing-*"},
		updates:    []change{{"tags", `{"DBSubnetGroupDescription":"d","SubnetIds":["${SUBNET}","${OTHER}"]}`, "d 2 map[]"}},
		refused: []refusal{{
			"a reserved name", `{"DBSubnetGroupDescription":"d","SubnetIds":["${SUBNET}"],"DBSubnetGroupName":"default"}`, resource.InvalidRequest,
			"The parameter DBSubnetGroupName is not a valid identifier. It must contain from 1 to 255 alphanumeric characters, periods, underscores, spaces, or hyphens, and must not be default.",
		}},
	}
}

func attachmentScenario() scenario {
	return scenario{
		typ: "AWS::SecretsManager::SecretTargetAttachment",
		setup: func(k *kit) map[string]string {
			for id, engine := range map[string]string{"one": "postgres", "two": "mariadb"} {
				_, err := k.rds.CreateDBInstance(k.Context(), &rds.CreateDBInstanceInput{
					DBInstanceIdentifier: &id, Engine: &engine, DBInstanceClass: new("db.t3.micro"), MasterUsername: new("root"), MasterUserPassword: new("x"), DBName: new("orders"),
					Tags: []types.Tag{{Key: new("keyturn:endpoint"), Value: new(id + ".example.com")}},
				})
				k.must(err)
			}
			_, err := k.rds.CreateDBCluster(k.Context(), &rds.CreateDBClusterInput{
				DBClusterIdentifier: new("three"), Engine: new("aurora-mysql"), MasterUsername: new("root"), MasterUserPassword: new("x"),
				Tags: []types.Tag{{Key: new("keyturn:endpoint"), Value: new("three.example.com")}},
			})
			k.must(err)
			return map[string]string{"SECRET": k.newSecret("attached"), "PLAIN": k.plainSecret("plain")}
		},
		look: func(k *kit, res resource.Result) string {
			v, err := k.secrets.GetSecretValue(k.Context(), &secretsmanager.GetSecretValueInput{SecretId: &res.PhysicalID})
			return seen(err, func() string { return *v.SecretString })
		},
		properties: `{"SecretId":"attached","TargetId":"one","TargetType":"AWS::RDS::DBInstance"}`,
		want:       `{"dbInstanceIdentifier":"one","dbname":"orders","engine":"postgres","host":"one.example.com","port":5432,"username":"u"}`,
		after:      `{"username":"u"}`, attributes: map[string]string{"Ref": "${SECRET}", "Id": "${SECRET}"},
		updates: []change{
			{
				"another instance, by its ARN", `{"SecretId":"attached","TargetId":"arn:aws:rds:us-east-1:123456789012:db:two","TargetType":"AWS::RDS::DBInstance"}`,
				`{"dbInstanceIdentifier":"two","dbname":"orders","engine":"mariadb","host":"two.example.com","port":3306,"username":"u"}`,
			},
			{
				"a cluster", `{"SecretId":"attached","TargetId":"three","TargetType":"AWS::RDS::DBCluster"}`,
				`{"dbClusterIdentifier":"three","engine":"mysql","host":"three.example.com","port":3306,"username":"u"}`,
			},
		},
		refused: []refusal{
			{"a missing target", `{"SecretId":"attached","TargetId":"none","TargetType":"AWS::RDS::DBInstance"}`, resource.NotFound, "DBInstance none not found."},
			{"an unknown type", `{"SecretId":"attached","TargetId":"one","TargetType":"AWS::S3::Bucket"}`, resource.InvalidRequest, "Invalid TargetType: AWS::S3::Bucket"},
			{
				"a target that is not served", `{"SecretId":"attached","TargetId":"one","TargetType":"AWS::Redshift::Cluster"}`, resource.InvalidRequest,
				"The target type AWS::Redshift::Cluster is not supported by this server.",
			},
			{
				"a value without members", `{"SecretId":"plain","TargetId":"one","TargetType":"AWS::RDS::DBInstance"}`, resource.InvalidRequest,
				"The secret's value must be a JSON object to be attached to a target.",
			},
		},
	}
}

func (k *kit) plainSecret(name string) string {
	k.Helper()
	out, err := k.secrets.CreateSecret(k.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: new("plain")})
	k.must(err)
	return *out.ARN
}

// initialSecret holds the password that a server has before it is managed.
func (k *kit) initialSecret() string {
	k.Helper()
	out, err := k.secrets.CreateSecret(k.Context(), &secretsmanager.CreateSecretInput{Name: new("initial"), SecretString: new(`{"username":"admin","password":"old"}`)})
	k.must(err)
	return *out.ARN
}

// A managed master secret is an attribute, and goes with the instance.
func TestManagedMaster(t *testing.T) {
	k := newKit(t)
	h := resource.Lookup("AWS::RDS::DBInstance")
	properties := `{"Engine":"postgres","MasterUsername":"admin","DBInstanceClass":"db.t3.micro","ManageMasterUserPassword":true,
		"Tags":[{"Key":"keyturn:endpoint","Value":"127.0.0.1:1"},{"Key":"keyturn:initial-secret","Value":"` + k.initialSecret() + `"}]}`
	res, err := h.Create(t.Context(), k.request(properties))
	k.must(err)
	arn := fmt.Sprint(res.Attributes["MasterUserSecret.SecretArn"])
	d, err := k.secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &arn})
	k.must(err)
	if d.OwningService == nil || *d.OwningService != "rds" {
		t.Errorf("the managed secret %s is owned by %v", arn, text(d.OwningService))
	}
	r := k.request(properties)
	r.PhysicalID = res.PhysicalID
	k.must(h.Delete(t.Context(), r))
	if d, err = k.secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &arn}); err == nil && d.DeletedDate == nil {
		t.Error("after the deletion of the instance its secret is there")
	}
}
