package engine_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/google/go-cmp/cmp"
)

// instance is a registered database in a template; more are properties.
func instance(id, more string) string {
	return `"` + id + `":{"Type":"AWS::RDS::DBInstance","Properties":{"DBInstanceIdentifier":"` + id + `","Tags":[{"Key":"keyturn:endpoint","Value":"` + id + `.example.com"}],` + more + `}}`
}

// A replica is registered after the instance that it is of, which has to be
// there, and goes before it.
func TestReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, name := t.Context(), aws.String("rep")
	primary := instance("one", `"Engine":"postgres","DBInstanceClass":"db.t3.micro","MasterUsername":"root","MasterUserPassword":"x"`)
	w.create(&cloudformation.CreateStackInput{
		StackName: name, TemplateBody: aws.String(`{"Resources":{` + primary + `,` + instance("two", `"SourceDBInstanceIdentifier":"nowhere"`) + `}}`),
	}, types.StackStatusRollbackComplete)
	all, err := w.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{})
	if err != nil || len(all.DBInstances) != 0 {
		t.Errorf("got %v, %v after a replica of nothing", all, err)
	}
	w.delete(*name)

	w.create(&cloudformation.CreateStackInput{
		StackName: name, TemplateBody: aws.String(`{"Resources":{` + primary + `,` + instance("two", `"SourceDBInstanceIdentifier":{"Ref":"one"}`) + `}}`),
	}, types.StackStatusCreateComplete)
	out, err := w.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String("two")})
	w.must(err)
	if d := out.DBInstances[0]; aws.ToString(d.ReadReplicaSourceDBInstanceIdentifier) != "one" || *d.Engine != "postgres" || *d.MasterUsername != "root" || *d.Endpoint.Address != "two.example.com" {
		t.Errorf("got the replica %+v", d)
	}
	w.delete(*name) // the replica before its source
	if all, err = w.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{}); err != nil || len(all.DBInstances) != 0 {
		t.Errorf("left over: %v, %v", all, err)
	}
}

// A registration does not set the server's password: another one in the
// template changes nothing, in the registration or at its server, which is
// not even asked.
func TestMasterPasswordStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := func(password, class string) *string {
		return aws.String(`{"Resources":{` + instance("db", `"Engine":"postgres","DBInstanceClass":"`+class+`","MasterUsername":"root","MasterUserPassword":"`+password+`"`) + `}}`)
	}
	w.create(&cloudformation.CreateStackInput{StackName: aws.String("pw"), TemplateBody: body("one", "db.t3.micro")}, types.StackStatusCreateComplete)
	before := w.everything()
	w.update(&cloudformation.UpdateStackInput{StackName: aws.String("pw"), TemplateBody: body("two", "db.t3.micro")}, types.StackStatusUpdateComplete)
	if diff := cmp.Diff(before, w.everything()); diff != "" {
		t.Errorf("after the update (-before +now):\n%s", diff)
	}
	w.update(&cloudformation.UpdateStackInput{StackName: aws.String("pw"), TemplateBody: body("three", "db.t3.small")}, types.StackStatusUpdateComplete)
	out, err := w.RDS.DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{})
	if err != nil || *out.DBInstances[0].DBInstanceClass != "db.t3.small" {
		t.Errorf("got %+v, %v, want the other change made", out, err)
	}
}
