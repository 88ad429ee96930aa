package rds_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
)

// wantCode demands an error of AWS's with a code and a text in it.
func wantCode(t *testing.T, what string, err error, code, text string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), text) {
		t.Errorf("%s: got %v, want %s: %s", what, err, code, text)
	}
}

// input is a registration that is taken.
func input(id string, more ...string) *rds.CreateDBInstanceInput {
	return &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: &id, DBInstanceClass: aws.String("db.t3.micro"), Engine: aws.String("postgres"), MasterUsername: aws.String("admin"),
		MasterUserPassword: aws.String("never-kept-1"), Tags: tags(append([]string{"keyturn:endpoint", id + ".example.com:6432"}, more...)...),
	}
}

func create(t *testing.T, s *apitest.Server, in *rds.CreateDBInstanceInput) types.DBInstance {
	t.Helper()
	out, err := s.RDS.CreateDBInstance(t.Context(), in)
	if err != nil {
		t.Fatalf("registering %s: %v", *in.DBInstanceIdentifier, err)
	}
	return *out.DBInstance
}

func TestInstance(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	_, err := s.RDS.CreateDBSubnetGroup(ctx, &rds.CreateDBSubnetGroupInput{
		DBSubnetGroupName: aws.String("Inside"), DBSubnetGroupDescription: aws.String("d"), SubnetIds: subnets(t, s),
	})
	if err != nil {
		t.Fatal(err)
	}
	in := input("Db1", "team", "db")
	in.DBName, in.DBSubnetGroupName, in.VpcSecurityGroupIds = aws.String("app"), aws.String("inside"), []string{securityGroup(t, s, "one", "")}
	in.EngineVersion, in.AllocatedStorage, in.MultiAZ, in.DeletionProtection = aws.String("16.3"), aws.Int32(20), aws.Bool(true), aws.Bool(true)
	create(t, s, in)
	got := instance(t, s, "DB1")
	if *got.DBInstanceIdentifier != "db1" || *got.Endpoint.Address != "Db1.example.com" || *got.Endpoint.Port != 6432 || *got.DBInstanceStatus != "available" ||
		*got.DBName != "app" || *got.EngineVersion != "16.3" || *got.MasterUsername != "admin" || *got.AllocatedStorage != 20 || !*got.MultiAZ ||
		!strings.HasPrefix(*got.DbiResourceId, "db-") || len(*got.DbiResourceId) != 29 || *got.DBInstanceArn != "arn:aws:rds:us-east-1:123456789012:db:db1" {
		t.Errorf("described: got %+v", got)
	}
	if g := got.DBSubnetGroup; g == nil || *g.DBSubnetGroupName != "inside" || len(g.Subnets) != 2 {
		t.Errorf("subnet group: got %+v", g)
	}
	if diff := cmp.Diff([]string{in.VpcSecurityGroupIds[0] + " active"}, []string{*got.VpcSecurityGroups[0].VpcSecurityGroupId + " " + *got.VpcSecurityGroups[0].Status}); diff != "" {
		t.Error(diff)
	}
	if byARN := instance(t, s, *got.DBInstanceArn); *byARN.DBInstanceIdentifier != "db1" {
		t.Errorf("by ARN: got %s", *byARN.DBInstanceIdentifier)
	}
	_, err = s.RDS.CreateDBInstance(ctx, input("db1"))
	wantCode(t, "the same again", err, "DBInstanceAlreadyExists", "DB instance already exists")
	_, err = s.RDS.DeleteDBSubnetGroup(ctx, &rds.DeleteDBSubnetGroupInput{DBSubnetGroupName: aws.String("inside")})
	wantCode(t, "a subnet group in use", err, "InvalidDBSubnetGroupStateFault", "because at least one database instance: db1 is still using it.")

	remove := &rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("db1")}
	_, err = s.RDS.DeleteDBInstance(ctx, remove)
	wantCode(t, "deleting what is protected", err, "InvalidParameterCombination", "Cannot delete protected DB Instance")
	modified, err := s.RDS.ModifyDBInstance(ctx, &rds.ModifyDBInstanceInput{
		DBInstanceIdentifier: aws.String("db1"), DeletionProtection: aws.Bool(false), VpcSecurityGroupIds: []string{securityGroup(t, s, "two", ""), in.VpcSecurityGroupIds[0]}, BackupRetentionPeriod: aws.Int32(3),
	})
	if err != nil || *modified.DBInstance.DeletionProtection || len(modified.DBInstance.VpcSecurityGroups) != 2 || *modified.DBInstance.BackupRetentionPeriod != 3 {
		t.Errorf("modified: got %+v, %v", modified, err)
	}
	_, err = s.RDS.DeleteDBInstance(ctx, remove)
	wantCode(t, "deleting without a word on snapshots", err, "InvalidParameterCombination", "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
	remove.FinalDBSnapshotIdentifier = aws.String("last")
	_, err = s.RDS.DeleteDBInstance(ctx, remove)
	wantCode(t, "deleting with a snapshot", err, "InvalidParameterCombination", "makes no snapshot of it: use SkipFinalSnapshot.")
	remove.FinalDBSnapshotIdentifier, remove.SkipFinalSnapshot = nil, aws.Bool(true)
	if out, err := s.RDS.DeleteDBInstance(ctx, remove); err != nil || *out.DBInstance.DBInstanceStatus != "deleting" {
		t.Errorf("deleting: got %+v, %v", out, err)
	}
	_, err = s.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String("db1")})
	wantCode(t, "describing what is gone", err, "DBInstanceNotFound", "DBInstance db1 not found.")
	if _, err := s.RDS.DeleteDBSubnetGroup(ctx, &rds.DeleteDBSubnetGroupInput{DBSubnetGroupName: aws.String("inside")}); err != nil {
		t.Errorf("deleting the subnet group: %v", err)
	}
}

// subnets returns two subnets of the default VPC, in two zones.
func subnets(t *testing.T, s *apitest.Server) []string {
	t.Helper()
	out, err := s.EC2.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{})
	if err != nil || len(out.Subnets) < 2 {
		t.Fatalf("subnets: got %d, %v", len(out.Subnets), err)
	}
	return []string{*out.Subnets[0].SubnetId, *out.Subnets[1].SubnetId}
}

// securityGroup makes a security group in a VPC; "" is the default one.
func securityGroup(t *testing.T, s *apitest.Server, name, vpc string) string {
	t.Helper()
	in := &ec2.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("d")}
	if vpc != "" {
		in.VpcId = &vpc
	}
	out, err := s.EC2.CreateSecurityGroup(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return *out.GroupId
}

func TestNetwork(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	inside := subnets(t, s)
	vpc, err := s.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.0.0.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	group := func(name string, ids ...string) error {
		_, err := s.RDS.CreateDBSubnetGroup(ctx, &rds.CreateDBSubnetGroupInput{DBSubnetGroupName: &name, DBSubnetGroupDescription: aws.String("d"), SubnetIds: ids})
		return err
	}
	wantCode(t, "no such subnet", group("g", "subnet-0"), "InvalidSubnet", "Some input subnets in :[subnet-0] are invalid.")
	wantCode(t, "one zone", group("g", inside[0]), "DBSubnetGroupDoesNotCoverEnoughAZs", "Add subnets to cover at least 2 AZs.")
	wantCode(t, "two VPCs", group("g", inside[0], *other.Subnet.SubnetId), "InvalidSubnet", "not all in a common VPC")
	wantCode(t, "the default's name", group("default", inside...), "InvalidParameterValue", "DBSubnetGroupName")
	if err := group("g", inside...); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "the same again", group("G", inside...), "DBSubnetGroupAlreadyExists", "The DB subnet group 'g' already exists.")
	shown, err := s.RDS.DescribeDBSubnetGroups(ctx, &rds.DescribeDBSubnetGroupsInput{})
	if err != nil || len(shown.DBSubnetGroups) != 1 || aws.ToString(shown.DBSubnetGroups[0].VpcId) == "" || shown.DBSubnetGroups[0].Subnets[0].SubnetAvailabilityZone == nil {
		t.Errorf("described: got %+v, %v", shown, err)
	}
	in := input("db1")
	in.DBSubnetGroupName, in.VpcSecurityGroupIds = aws.String("g"), []string{"sg-0"}
	_, err = s.RDS.CreateDBInstance(ctx, in)
	wantCode(t, "no such security group", err, "InvalidParameterValue", "Invalid security group , groupId= sg-0, groupName=.")
	in.VpcSecurityGroupIds = []string{securityGroup(t, s, "elsewhere", *vpc.Vpc.VpcId)}
	_, err = s.RDS.CreateDBInstance(ctx, in)
	wantCode(t, "another VPC's security group", err, "InvalidParameterCombination", "The DB instance and EC2 security group are in different VPCs.")
}

func TestRefusals(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	create(t, s, input("taken"))
	for _, c := range []struct {
		name       string
		change     func(*rds.CreateDBInstanceInput)
		code, text string
	}{
		{"no endpoint", func(in *rds.CreateDBInstanceInput) { in.Tags = nil }, "InvalidParameterCombination", "with the tag keyturn:endpoint, for example"},
		{"another port", func(in *rds.CreateDBInstanceInput) { in.Port = aws.Int32(1) }, "InvalidParameterCombination", "The parameter Port is 1, but the tag"},
		{"bad endpoint", func(in *rds.CreateDBInstanceInput) { in.Tags = tags("keyturn:endpoint", "http://x") }, "InvalidParameterValue", "The tag keyturn:endpoint must be"},
		{"bad identifier", func(in *rds.CreateDBInstanceInput) { in.DBInstanceIdentifier = aws.String("1x") }, "InvalidParameterValue", "The parameter DBInstanceIdentifier is not a valid identifier."},
		{"bad engine", func(in *rds.CreateDBInstanceInput) { in.Engine = aws.String("x") }, "InvalidParameterValue", "Invalid DB engine"},
		{"no user", func(in *rds.CreateDBInstanceInput) { in.MasterUsername = nil }, "InvalidParameterValue", "The parameter MasterUsername must be provided and must not be blank."},
		{"two passwords", func(in *rds.CreateDBInstanceInput) { in.ManageMasterUserPassword = aws.Bool(true) }, "InvalidParameterCombination", "You can't specify MasterUserPassword when"},
		{"a key alone", func(in *rds.CreateDBInstanceInput) { in.MasterUserSecretKmsKeyId = aws.String("k") }, "InvalidParameterCombination", "MasterUserSecretKmsKeyId"},
		{"no initial secret", func(in *rds.CreateDBInstanceInput) {
			in.ManageMasterUserPassword, in.MasterUserPassword = aws.Bool(true), nil
		}, "InvalidParameterCombination", "the tag keyturn:initial-secret."},
		{"no such initial secret", func(in *rds.CreateDBInstanceInput) {
			in.ManageMasterUserPassword, in.MasterUserPassword, in.Tags = aws.Bool(true), nil, append(in.Tags, tags("keyturn:initial-secret", "none")...)
		}, "InvalidParameterValue", "cannot be read"},
		{"an engine without rotator", func(in *rds.CreateDBInstanceInput) {
			in.ManageMasterUserPassword, in.MasterUserPassword, in.Engine = aws.Bool(true), nil, aws.String("db2-se")
		}, "InvalidParameterCombination", "not supported for the engine db2-se"},
		{"no such subnet group", func(in *rds.CreateDBInstanceInput) { in.DBSubnetGroupName = aws.String("none") }, "DBSubnetGroupNotFoundFault", "DB subnet group 'none' does not exist."},
		{"no such cluster", func(in *rds.CreateDBInstanceInput) {
			in.DBClusterIdentifier, in.MasterUsername, in.MasterUserPassword = aws.String("none"), nil, nil
		}, "DBClusterNotFoundFault", "DBCluster none not found."},
		{"a member with a user", func(in *rds.CreateDBInstanceInput) { in.DBClusterIdentifier = aws.String("c") }, "InvalidParameterCombination", "Set master user name for the DB Cluster."},
		{"a tag of AWS", func(in *rds.CreateDBInstanceInput) { in.Tags = append(in.Tags, tags("aws:x", "y")...) }, "InvalidParameterValue", "reserved for AWS"},
	} {
		in := input("fresh")
		c.change(in)
		_, err := s.RDS.CreateDBInstance(t.Context(), in)
		wantCode(t, c.name, err, c.code, c.text)
	}
	for _, c := range []struct {
		name string
		in   rds.ModifyDBInstanceInput
		text string
	}{
		{"a password", rds.ModifyDBInstanceInput{MasterUserPassword: aws.String("x")}, "cannot set its password"},
		{"a name", rds.ModifyDBInstanceInput{NewDBInstanceIdentifier: aws.String("x")}, "does not rename"},
		{"rotation of what is not managed", rds.ModifyDBInstanceInput{RotateMasterUserPassword: aws.Bool(true), ApplyImmediately: aws.Bool(true)}, "only when the master user password is managed"},
		{"management without an initial secret", rds.ModifyDBInstanceInput{ManageMasterUserPassword: aws.Bool(true)}, "the tag keyturn:initial-secret."},
	} {
		c.in.DBInstanceIdentifier = aws.String("taken")
		_, err := s.RDS.ModifyDBInstance(t.Context(), &c.in)
		wantCode(t, c.name, err, "InvalidParameterCombination", c.text)
	}
}

func TestInitialSecretOfAnotherUser(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	for name, value := range map[string][2]string{"is of another user": {"root", "x"}, "does not hold a JSON object with username and password": {"admin", ""}} {
		in := input("db1", "keyturn:initial-secret", initialSecret(t, s, "of-"+value[0], value[0], value[1]))
		in.ManageMasterUserPassword, in.MasterUserPassword = aws.Bool(true), nil
		_, err := s.RDS.CreateDBInstance(t.Context(), in)
		wantCode(t, name, err, "InvalidParameterValue", name)
	}
	out, err := s.RDS.DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{})
	if err != nil || len(out.DBInstances) != 0 {
		t.Errorf("after refusals: got %d instances, %v; want none", len(out.DBInstances), err)
	}
}

func TestCluster(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	made, err := s.RDS.CreateDBCluster(ctx, &rds.CreateDBClusterInput{
		DBClusterIdentifier: aws.String("C1"), Engine: aws.String("aurora-postgresql"), MasterUsername: aws.String("admin"), DatabaseName: aws.String("app"),
		Tags: tags("keyturn:endpoint", "rw.example.com", "keyturn:reader-endpoint", "ro.example.com"),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := made.DBCluster
	if *c.DBClusterIdentifier != "c1" || *c.Endpoint != "rw.example.com" || *c.ReaderEndpoint != "ro.example.com" || *c.Port != 5432 || *c.DatabaseName != "app" ||
		*c.DBClusterArn != "arn:aws:rds:us-east-1:123456789012:cluster:c1" || !strings.HasPrefix(*c.DbClusterResourceId, "cluster-") {
		t.Errorf("created: got %+v", c)
	}
	for _, id := range []string{"one", "two"} {
		_, err := s.RDS.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
			DBInstanceIdentifier: &id, DBInstanceClass: aws.String("db.r6g.large"), Engine: aws.String("aurora-postgresql"), DBClusterIdentifier: aws.String("c1"),
			Tags: tags("keyturn:endpoint", id+".example.com:5433"),
		})
		if err != nil {
			t.Fatalf("member %s: %v", id, err)
		}
	}
	_, err = s.RDS.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("three"), DBInstanceClass: aws.String("x"), Engine: aws.String("aurora-postgresql"), DBClusterIdentifier: aws.String("c1"),
	})
	if err != nil {
		t.Fatalf("a member without an endpoint of its own: %v", err)
	}
	if got := instance(t, s, "three"); *got.Endpoint.Address != "rw.example.com" || *got.MasterUsername != "admin" {
		t.Errorf("a member without an endpoint: got %s of %s, want the cluster's", *got.Endpoint.Address, *got.MasterUsername)
	}
	members := func() string {
		out, err := s.RDS.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: c.DBClusterArn})
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, m := range out.DBClusters[0].DBClusterMembers {
			list = append(list, fmt.Sprint(*m.DBInstanceIdentifier, *m.IsClusterWriter))
		}
		return strings.Join(list, " ")
	}
	if got := members(); got != "onetrue threefalse twofalse" {
		t.Errorf("members: got %s", got)
	}
	two := instance(t, s, "two")
	if _, err := s.RDS.AddTagsToResource(ctx, &rds.AddTagsToResourceInput{ResourceName: two.DBInstanceArn, Tags: tags("keyturn:writer", "true")}); err != nil {
		t.Fatal(err)
	}
	if got := members(); got != "onefalse threefalse twotrue" {
		t.Errorf("members after a failover: got %s", got)
	}
	_, err = s.RDS.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("four"), DBInstanceClass: aws.String("x"), Engine: aws.String("aurora-mysql"), DBClusterIdentifier: aws.String("c1"),
	})
	wantCode(t, "another engine", err, "InvalidParameterCombination", "doesn't match the engine name of your DB cluster")
	list, err := s.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{Filters: []types.Filter{{Name: aws.String("db-cluster-id"), Values: []string{*c.DBClusterArn}}}})
	if err != nil || len(list.DBInstances) != 3 {
		t.Errorf("instances of the cluster: got %d, %v", len(list.DBInstances), err)
	}
	remove := &rds.DeleteDBClusterInput{DBClusterIdentifier: aws.String("c1"), SkipFinalSnapshot: aws.Bool(true)}
	_, err = s.RDS.DeleteDBCluster(ctx, remove)
	wantCode(t, "a cluster with members", err, "InvalidDBClusterStateFault", "it still contains DB instances in non-deleting state.")
	for _, id := range []string{"one", "two", "three"} {
		if _, err := s.RDS.DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: &id}); err != nil {
			t.Errorf("deleting %s: %v", id, err)
		}
	}
	if _, err := s.RDS.DeleteDBCluster(ctx, remove); err != nil {
		t.Errorf("deleting the cluster: %v", err)
	}
	_, err = s.RDS.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: aws.String("c1")})
	wantCode(t, "describing what is gone", err, "DBClusterNotFoundFault", "DBCluster c1 not found.")
}

func TestList(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	var want []string
	for i := range 45 {
		in := input(fmt.Sprintf("db-%02d", i))
		if i%2 == 0 {
			in.Engine = aws.String("mysql")
		}
		create(t, s, in)
		want = append(want, *in.DBInstanceIdentifier)
	}
	var got []string
	pages := rds.NewDescribeDBInstancesPaginator(s.RDS, &rds.DescribeDBInstancesInput{MaxRecords: aws.Int32(20)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.DBInstances) > 20 {
			t.Errorf("got a page of %d, want at most 20", len(page.DBInstances))
		}
		for _, i := range page.DBInstances {
			got = append(got, *i.DBInstanceIdentifier)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	filtered := func(name string, values ...string) int {
		out, err := s.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{Filters: []types.Filter{{Name: &name, Values: values}}})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.DBInstances)
	}
	first := instance(t, s, "db-00")
	for _, c := range []struct {
		name   string
		values []string
		want   int
	}{
		{"engine", []string{"mysql"}, 23}, {"engine", []string{"mysql", "postgres"}, 45}, {"engine", []string{"mariadb"}, 0},
		{"db-instance-id", []string{"DB-01", "arn:aws:rds:us-east-1:123456789012:db:db-02"}, 2},
		{"dbi-resource-id", []string{*first.DbiResourceId}, 1}, {"db-cluster-id", []string{"none"}, 0},
	} {
		if got := filtered(c.name, c.values...); got != c.want {
			t.Errorf("%s %v: got %d instances, want %d", c.name, c.values, got, c.want)
		}
	}
	_, err := s.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{MaxRecords: aws.Int32(5)})
	wantCode(t, "a short page", err, "InvalidParameterValue", "Invalid value 5 for MaxRecords. Must be between 20 and 100")
	_, err = s.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{Filters: []types.Filter{{Name: aws.String("x"), Values: []string{"y"}}}})
	wantCode(t, "an unknown filter", err, "InvalidParameterValue", "Unrecognized filter name: x")
	_, err = s.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{Marker: aws.String("%")})
	wantCode(t, "a marker", err, "InvalidParameterValue", "Marker")
}

func TestTags(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	arn := create(t, s, input("db1", "team", "a")).DBInstanceArn
	if _, err := s.RDS.AddTagsToResource(ctx, &rds.AddTagsToResourceInput{ResourceName: arn, Tags: tags("team", "b", "keyturn:endpoint", "moved.example.com")}); err != nil {
		t.Fatal(err)
	}
	if got := instance(t, s, "db1").Endpoint; *got.Address != "moved.example.com" || *got.Port != 5432 {
		t.Errorf("after its tag moved: got %s:%d", *got.Address, *got.Port)
	}
	_, err := s.RDS.RemoveTagsFromResource(ctx, &rds.RemoveTagsFromResourceInput{ResourceName: arn, TagKeys: []string{"keyturn:endpoint"}})
	wantCode(t, "removing the endpoint", err, "InvalidParameterCombination", "keyturn:endpoint")
	if _, err := s.RDS.RemoveTagsFromResource(ctx, &rds.RemoveTagsFromResourceInput{ResourceName: arn, TagKeys: []string{"team", "none"}}); err != nil {
		t.Fatal(err)
	}
	out, err := s.RDS.ListTagsForResource(ctx, &rds.ListTagsForResourceInput{ResourceName: arn})
	if err != nil || len(out.TagList) != 1 || *out.TagList[0].Value != "moved.example.com" {
		t.Errorf("tags: got %+v, %v", out, err)
	}
	_, err = s.RDS.ListTagsForResource(ctx, &rds.ListTagsForResourceInput{ResourceName: aws.String("arn:aws:rds:us-east-1:123456789012:db:none")})
	wantCode(t, "tags of nothing", err, "DBInstanceNotFound", "not found.")
	_, err = s.RDS.ListTagsForResource(ctx, &rds.ListTagsForResourceInput{ResourceName: aws.String("db1")})
	wantCode(t, "tags of a name", err, "InvalidParameterValue", "Invalid resource name: db1")
}

func TestAuthorization(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	create(t, s, input("db1", "team", "a"))
	create(t, s, input("db2", "team", "b"))
	cfg := s.NewUser(t, "ann")
	ann := rds.NewFromConfig(cfg)
	_, err := ann.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{})
	wantCode(t, "without a policy", err, "AccessDenied", "is not authorized to perform: rds:DescribeDBInstances on resource: arn:aws:rds:us-east-1:123456789012:db:*")
	_, err = ann.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String("none")})
	wantCode(t, "denied before not found", err, "AccessDenied", "on resource: arn:aws:rds:us-east-1:123456789012:db:none")
	policy, _ := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{
		map[string]any{"Effect": "Allow", "Action": "rds:*", "Resource": "*", "Condition": map[string]any{"StringEquals": map[string]string{"aws:ResourceTag/team": "a"}}},
		map[string]any{"Effect": "Allow", "Action": []string{"rds:CreateDBInstance", "rds:AddTagsToResource"}, "Resource": "*", "Condition": map[string]any{"StringEquals": map[string]string{"aws:RequestTag/team": "a"}}},
	}})
	_, err = s.IAM.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: aws.String("p"), PolicyDocument: aws.String(string(policy))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ann.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String("db1")}); err != nil {
		t.Errorf("an instance with the tag: %v", err)
	}
	_, err = ann.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String("db2")})
	wantCode(t, "an instance with another tag", err, "AccessDenied", "db:db2")
	if _, err := ann.CreateDBInstance(ctx, input("db3", "team", "a")); err != nil {
		t.Errorf("making one with the tag: %v", err)
	}
	_, err = ann.CreateDBInstance(ctx, input("db4", "team", "b"))
	wantCode(t, "making one with another tag", err, "AccessDenied", "db:db4")
	// Managing the password takes the secret, the role and the initial secret.
	managed := input("db5", "team", "a", "keyturn:initial-secret", initialSecret(t, s, "first", "admin", "pw"))
	managed.ManageMasterUserPassword, managed.MasterUserPassword = aws.Bool(true), nil
	for _, grant := range []string{"secretsmanager:CreateSecret", "secretsmanager:TagResource", "iam:CreateServiceLinkedRole", "secretsmanager:GetSecretValue"} {
		_, err = ann.CreateDBInstance(ctx, managed)
		wantCode(t, "management without "+grant, err, "AccessDenied", grant)
		document := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"%s","Resource":"*"}}`, grant)
		name := strings.ReplaceAll(grant, ":", "-")
		if _, err := s.IAM.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: &name, PolicyDocument: &document}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ann.CreateDBInstance(ctx, managed); err != nil {
		t.Errorf("management with all that it takes: %v", err)
	}
	other := s.NewAccount(t, "210987654321")
	_, err = other.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String("arn:aws:rds:us-east-1:123456789012:db:db1")})
	wantCode(t, "another account's", err, "DBInstanceNotFound", "not found.")
	if out, err := other.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{}); err != nil || len(out.DBInstances) != 0 {
		t.Errorf("in another account: got %d instances, %v; want none", len(out.DBInstances), err)
	}
}

// The trail has the calls and what the service did for them, and no password.
func TestEvents(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	create(t, s, input("db1"))
	managed := input("db2", "keyturn:initial-secret", initialSecret(t, s, "first", "admin", "initial-password-1"))
	managed.ManageMasterUserPassword, managed.MasterUserPassword = aws.Bool(true), nil
	create(t, s, managed)
	out, err := s.Trail.LookupEvents(ctx, &cloudtrail.LookupEventsInput{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range out.Events {
		text := *e.CloudTrailEvent
		if strings.Contains(text, "never-kept-1") || strings.Contains(text, "initial-password-1") {
			t.Errorf("a password is in the event %s", *e.EventName)
		}
		if strings.Contains(text, `"invokedBy":"rds.amazonaws.com"`) || *e.EventSource == "rds.amazonaws.com" && *e.EventName == "CreateDBInstance" {
			got = append(got, *e.EventSource+" "+*e.EventName)
		}
	}
	slices.Sort(got)
	want := []string{
		"iam.amazonaws.com CreateServiceLinkedRole",
		"rds.amazonaws.com CreateDBInstance", "rds.amazonaws.com CreateDBInstance",
		"secretsmanager.amazonaws.com CreateSecret", "secretsmanager.amazonaws.com GetSecretValue",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
