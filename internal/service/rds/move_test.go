package rds_test

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/keyturn/keyturn/internal/apitest"
)

// mover is a user with changing rights, who tries to redirect what functions
// send.
type mover struct {
	t *testing.T
	s *apitest.Server
	*rds.Client
}

func newMover(t *testing.T, s *apitest.Server) *mover {
	t.Helper()
	return &mover{t, s, rds.NewFromConfig(s.NewUser(t, "ann"))}
}

// may gives the user these rights and no others.
func (m *mover) may(statements ...any) {
	m.t.Helper()
	document, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		m.t.Fatal(err)
	}
	_, err = m.s.IAM.PutUserPolicy(m.t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: aws.String("p"), PolicyDocument: aws.String(string(document))})
	if err != nil {
		m.t.Fatal(err)
	}
}

func allow(resource string, actions ...string) map[string]any {
	return map[string]any{"Effect": "Allow", "Action": actions, "Resource": resource}
}

func (m *mover) tag(arn string, pairs ...string) error {
	_, err := m.AddTagsToResource(m.t.Context(), &rds.AddTagsToResourceInput{ResourceName: &arn, Tags: tags(pairs...)})
	return err
}

// want demands a refusal of the action, or success for "".
func (m *mover) want(what string, err error, action string) {
	m.t.Helper()
	if action != "" {
		wantCode(m.t, what, err, "AccessDenied", "is not authorized to perform: "+action)
	} else if err != nil {
		m.t.Errorf("%s: %v", what, err)
	}
}

// managed registers an instance at a host without a port, whose master
// password is managed.
func managed(t *testing.T, s *apitest.Server, id string) string {
	t.Helper()
	in := input(id)
	in.Tags = tags("keyturn:endpoint", id+".example.com", "keyturn:initial-secret", initialSecret(t, s, id+"-first", "admin", "initial-password-1"))
	in.ManageMasterUserPassword, in.MasterUserPassword = aws.Bool(true), nil
	return *create(t, s, in).DBInstanceArn
}

const getValue = "secretsmanager:GetSecretValue"

// Where a server is says where its managed password is sent: who may only
// tag it, or only modify it, cannot have it sent elsewhere.
func TestMoveOfManagedInstance(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	arn, m := managed(t, s, "main"), newMover(t, s)
	free := *create(t, s, input("free")).DBInstanceArn
	_, err := s.RDS.CreateDBInstanceReadReplica(ctx, &rds.CreateDBInstanceReadReplicaInput{
		DBInstanceIdentifier: aws.String("copy"), SourceDBInstanceIdentifier: &arn, Tags: tags("keyturn:endpoint", "copy.example.com"),
	})
	if err != nil {
		t.Fatal(err)
	}
	replica := *instance(t, s, "copy").DBInstanceArn
	port := func(id string) error {
		_, err := m.ModifyDBInstance(ctx, &rds.ModifyDBInstanceInput{DBInstanceIdentifier: &id, DBPortNumber: aws.Int32(7000)})
		return err
	}

	m.may(allow("*", "rds:AddTagsToResource", "rds:RemoveTagsFromResource"))
	m.want("another tag", m.tag(arn, "team", "a", "keyturn:endpoint", "main.example.com"), "")
	m.want("moving by a tag", m.tag(arn, "keyturn:endpoint", "mine.example.com"), "rds:ModifyDBInstance")
	m.want("moving by a tag's port", m.tag(arn, "keyturn:endpoint", "main.example.com:7000"), "rds:ModifyDBInstance")
	m.want("another initial secret", m.tag(arn, "keyturn:initial-secret", "other"), "rds:ModifyDBInstance")
	m.want("moving what is not managed", m.tag(free, "keyturn:endpoint", "mine.example.com"), "rds:ModifyDBInstance")

	m.may(allow("*", "rds:AddTagsToResource", "rds:ModifyDBInstance"))
	for _, id := range []string{arn, replica} {
		m.want("moving "+id, m.tag(id, "keyturn:endpoint", "mine.example.com"), getValue)
	}
	m.want("moving by a port", port("main"), getValue)
	m.want("moving a replica by a port", port("copy"), getValue)
	m.want("what is not managed", m.tag(free, "keyturn:endpoint", "mine.example.com"), "")
	if got := *instance(t, s, "main").Endpoint; *got.Address != "main.example.com" || *got.Port != 5432 {
		t.Errorf("after refusals: got %s:%d", *got.Address, *got.Port)
	}

	secret := *instance(t, s, "main").MasterUserSecret.SecretArn
	m.may(allow("*", "rds:AddTagsToResource", "rds:ModifyDBInstance"), allow(secret, getValue))
	m.want("moving as a reader", m.tag(arn, "keyturn:endpoint", "moved.example.com"), "")
	m.want("moving the replica as a reader", m.tag(replica, "keyturn:endpoint", "moved-copy.example.com"), "")
	m.want("moving by a port as a reader", port("main"), "")
	if got := *instance(t, s, "main").Endpoint; *got.Address != "moved.example.com" || *got.Port != 7000 {
		t.Errorf("after moving: got %s:%d", *got.Address, *got.Port)
	}
}

// The same holds for a cluster, its readers' endpoint and its members.
func TestMoveOfManagedCluster(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	made, err := s.RDS.CreateDBCluster(ctx, &rds.CreateDBClusterInput{
		DBClusterIdentifier: aws.String("c1"), Engine: aws.String("aurora-postgresql"), MasterUsername: aws.String("admin"), ManageMasterUserPassword: aws.Bool(true),
		Tags: tags("keyturn:endpoint", "rw.example.com", "keyturn:reader-endpoint", "ro.example.com", "keyturn:initial-secret", initialSecret(t, s, "first", "admin", "initial-password-1")),
	})
	if err != nil {
		t.Fatal(err)
	}
	member := input("one")
	member.Engine, member.DBClusterIdentifier, member.MasterUsername, member.MasterUserPassword = aws.String("aurora-postgresql"), aws.String("c1"), nil, nil
	one, cluster, m := *create(t, s, member).DBInstanceArn, *made.DBCluster.DBClusterArn, newMover(t, s)
	port := func() error {
		_, err := m.ModifyDBCluster(ctx, &rds.ModifyDBClusterInput{DBClusterIdentifier: aws.String("c1"), Port: aws.Int32(7000)})
		return err
	}
	untag := func() error {
		_, err := m.RemoveTagsFromResource(ctx, &rds.RemoveTagsFromResourceInput{ResourceName: &one, TagKeys: []string{"keyturn:endpoint"}})
		return err
	}
	tagging := allow("*", "rds:AddTagsToResource", "rds:RemoveTagsFromResource")
	modifying := allow("*", "rds:ModifyDBInstance", "rds:ModifyDBCluster")
	reading := allow(*made.DBCluster.MasterUserSecret.SecretArn, getValue)
	for _, step := range []struct {
		may             []any
		cluster, member string
		port            string
	}{
		{[]any{tagging}, "rds:ModifyDBCluster", "rds:ModifyDBInstance", "rds:ModifyDBCluster"},
		{[]any{tagging, modifying}, getValue, getValue, getValue},
		{[]any{tagging, modifying, reading}, "", "", ""},
	} {
		m.may(step.may...)
		m.want("moving the cluster", m.tag(cluster, "keyturn:endpoint", "moved.example.com"), step.cluster)
		m.want("moving the readers", m.tag(cluster, "keyturn:reader-endpoint", "moved-ro.example.com"), step.cluster)
		m.want("moving a member", m.tag(one, "keyturn:endpoint", "moved-one.example.com"), step.member)
		m.want("moving a member by its tag's end", untag(), step.member)
		m.want("moving the cluster by its port", port(), step.port)
	}
}

// What claims to replicate an instance, or to be a member of a cluster, needs
// the leave of that, and of the managed secret that may be sent there.
func TestForgedReplica(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	managed(t, s, "main")
	create(t, s, input("free", "team", "a"))
	m := newMover(t, s)
	replicate := func(id, source string) error {
		_, err := m.CreateDBInstanceReadReplica(ctx, &rds.CreateDBInstanceReadReplicaInput{
			DBInstanceIdentifier: &id, SourceDBInstanceIdentifier: &source, Tags: tags("keyturn:endpoint", id+".example.com"),
		})
		return err
	}
	const create, mine = "rds:CreateDBInstanceReadReplica", "arn:aws:rds:*:*:db:mine*"
	own := allow(mine, create, "rds:AddTagsToResource")
	m.may(own)
	m.want("of an instance of others", replicate("mine", "free"), create+" on resource: arn:aws:rds:us-east-1:123456789012:db:free")
	m.want("of what does not exist", replicate("mine", "none"), create+" on resource: arn:aws:rds:us-east-1:123456789012:db:none")
	byTag := allow("*", create)
	byTag["Condition"] = map[string]any{"StringEquals": map[string]string{"aws:ResourceTag/team": "a"}}
	m.may(own, byTag)
	m.want("of an instance with the tag", replicate("mine", "free"), "")
	m.want("of an instance without the tag", replicate("mine-too", "main"), create)
	m.want("of a replica of one's own", replicate("mine-too", "mine"), "")
	m.may(own, allow("*", create))
	m.want("of a managed one", replicate("mine-3", "main"), getValue)
	m.may(own, allow("*", create), allow(*instance(t, s, "main").MasterUserSecret.SecretArn, getValue))
	m.want("of a managed one, as its reader", replicate("mine-3", "main"), "")
	m.may(own, allow("*", create))
	m.want("of a replica of a managed one", replicate("mine-4", "mine-3"), getValue)
}

func TestForgedMember(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	ctx := t.Context()
	secrets := map[string]string{}
	for _, id := range []string{"free", "managed"} {
		in := &rds.CreateDBClusterInput{
			DBClusterIdentifier: &id, Engine: aws.String("aurora-postgresql"), MasterUsername: aws.String("admin"), Tags: tags("keyturn:endpoint", "rw.example.com"),
		}
		if id == "managed" {
			in.ManageMasterUserPassword = aws.Bool(true)
			in.Tags = append(in.Tags, tags("keyturn:initial-secret", initialSecret(t, s, "first", "admin", "initial-password-1"))...)
		}
		made, err := s.RDS.CreateDBCluster(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		if made.DBCluster.MasterUserSecret != nil {
			secrets[id] = *made.DBCluster.MasterUserSecret.SecretArn
		}
	}
	m := newMover(t, s)
	join := func(id, cluster string) error {
		in := input(id)
		in.Engine, in.DBClusterIdentifier, in.MasterUsername, in.MasterUserPassword = aws.String("aurora-postgresql"), &cluster, nil, nil
		_, err := m.CreateDBInstance(ctx, in)
		return err
	}
	const create = "rds:CreateDBInstance"
	own := allow("arn:aws:rds:*:*:db:*", create, "rds:AddTagsToResource")
	m.may(own)
	m.want("of others", join("one", "free"), create+" on resource: arn:aws:rds:us-east-1:123456789012:cluster:free")
	m.want("of none", join("one", "none"), create+" on resource: arn:aws:rds:us-east-1:123456789012:cluster:none")
	m.may(own, allow("arn:aws:rds:*:*:cluster:*", create))
	m.want("of a cluster", join("one", "free"), "")
	m.want("of a managed cluster", join("two", "managed"), getValue)
	m.may(own, allow("arn:aws:rds:*:*:cluster:*", create), allow(secrets["managed"], getValue))
	m.want("of a managed cluster, as its reader", join("two", "managed"), "")
}
