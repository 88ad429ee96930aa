package secretsmanager

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
)

// replicas prints ReplicationStatus as "region status message", by region.
func replicas(o object) string {
	var out []string
	list, _ := o["ReplicationStatus"].([]any)
	for _, r := range list {
		r := r.(object)
		text := fmt.Sprint(r["Region"], " ", r["Status"])
		if m, ok := r["StatusMessage"]; ok {
			text += " " + m.(string)
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func (b *bench) replicate() { b.t.Helper(); b.must(b.Replicator().Replicate(b.t.Context())) }

// TestReplicaLife follows a replica from its making to its promotion.
func TestReplicaLife(t *testing.T) {
	b := newBench(t)
	keyID := b.addKey(away, "there")
	got := b.ok("CreateSecret", `{"Name":"s","SecretString":"1","Description":"d","Tags":[{"Key":"k","Value":"v"}],"ClientRequestToken":"`+tok("v1")+`",
		"AddReplicaRegions":[{"Region":"eu-west-1","KmsKeyId":"alias/there"}]}`)
	if replicas(got) != "eu-west-1 InProgress" || members(got) != "ARN Name ReplicationStatus VersionId" {
		t.Errorf("creation: got %v", got)
	}
	b.refusedAs(rootAway, "GetSecretValue", `{"SecretId":"s"}`, "ResourceNotFoundException", notFoundText)
	b.replicate()
	describe := func(c caller) object { t.Helper(); return b.okAs(c, "DescribeSecret", `{"SecretId":"s"}`) }
	primary, replica := describe(root), describe(rootAway)
	if replicas(primary) != "eu-west-1 InSync Replication succeeded" || primary["PrimaryRegion"] != home {
		t.Errorf("primary: got %v", primary)
	}
	address := strings.Replace(got["ARN"].(string), home, away, 1)
	if replica["ARN"] != address || replica["PrimaryRegion"] != home || replica["Description"] != "d" || replica["KmsKeyId"] != "alias/there" ||
		members(replica) != "ARN CreatedDate Description KmsKeyId LastChangedDate Name PrimaryRegion Tags VersionIdsToStages" {
		t.Errorf("replica: got %v", replica)
	}
	if b.value(rootAway, address) != "1" {
		t.Error("the replica reads another value")
	}
	if got := b.stored(away, "s").Versions[0].KeyARN; !strings.HasSuffix(got, ":key/"+keyID) {
		t.Errorf("the replica is sealed under %s", got)
	}
	if got := describe(root)["ReplicationStatus"].([]any)[0].(object); got["LastAccessedDate"] == nil || got["KmsKeyId"] != "alias/there" {
		t.Errorf("the primary knows %v, want the replica's last access", got)
	}

	// Every kind of change is taken over.
	b.put("s", "v2", "2", "")
	if got := replicas(describe(root)); got != "eu-west-1 InProgress" {
		t.Errorf("after a change: got %s", got)
	}
	b.put("s", "v3", "3", `["mine"]`)
	b.ok("UntagResource", `{"SecretId":"s","TagKeys":["k"]}`)
	b.ok("UpdateSecret", withToken(`"SecretId":"s","Description":"e"`))
	b.ok("PutResourcePolicy", `{"SecretId":"s","ResourcePolicy":`+quote(t, policyFor(`"*"`))+`}`)
	b.ok("RotateSecret", rotateWith("v4", withFunction))
	b.replicate()
	replica = describe(rootAway)
	if replica["Description"] != "e" || len(replica["Tags"].([]any)) != 0 || replica["RotationEnabled"] != nil || b.value(rootAway, "s") != "2" ||
		fmt.Sprint(replica["VersionIdsToStages"]) != fmt.Sprint(describe(root)["VersionIdsToStages"]) {
		t.Errorf("replica: got %v", replica)
	}
	if got := b.okAs(rootAway, "GetResourcePolicy", `{"SecretId":"s"}`)["ResourcePolicy"]; got != policyFor(`"*"`) {
		t.Errorf("the replica's policy is %v", got)
	}
	if got := b.okAs(rootAway, "GetSecretValue", `{"SecretId":"s","VersionStage":"mine"}`)["SecretString"]; got != "3" {
		t.Errorf("got %v, want 3", got)
	}

	// The replica's own key.
	b.okAs(rootAway, "UpdateSecret", withToken(`"SecretId":"s","KmsKeyId":""`))
	b.put("s", "v5", "5", "")
	b.replicate()
	if s := b.stored(away, "s"); s.KMSKeyID != "" || b.value(rootAway, "s") != "5" || strings.HasSuffix(s.Holder(secret.Current).KeyARN, keyID) {
		t.Errorf("key %q", s.KMSKeyID)
	}
	if got := describe(root)["ReplicationStatus"].([]any)[0].(object)["KmsKeyId"]; got != key.DefaultAlias {
		t.Errorf("the primary shows key %v", got)
	}

	b.promote(address)
}

// promote makes the replica of "s" independent.
func (b *bench) promote(address string) {
	t := b.t
	t.Helper()
	if got := b.okAs(rootAway, "StopReplicationToReplica", `{"SecretId":"s"}`); members(got) != "ARN" || got["ARN"] != address {
		t.Errorf("got %v", got)
	}
	if got := b.ok("DescribeSecret", `{"SecretId":"s"}`); got["ReplicationStatus"] != nil || got["PrimaryRegion"] != home {
		t.Errorf("the primary still has %v", got)
	}
	b.put("s", "v6", "6", "")
	b.replicate()
	if b.value(rootAway, address) != "5" {
		t.Error("the promoted secret follows its former primary")
	}
	b.okAs(rootAway, "PutSecretValue", `{"SecretId":"s","SecretString":"own","ClientRequestToken":"`+tok("own")+`"}`)
	if b.value(rootAway, "s") != "own" || b.value(root, "s") != "6" {
		t.Error("the two secrets are not independent")
	}
}

func TestReplicationConflict(t *testing.T) {
	b := newBench(t)
	b.create("s", "primary")
	b.okAs(rootAway, "CreateSecret", withToken(`"Name":"s","SecretString":"mine"`))
	b.ok("ReplicateSecretToRegions", `{"SecretId":"s","AddReplicaRegions":[{"Region":"eu-west-1"}]}`)
	b.replicate()
	failed := "eu-west-1 Failed Replication failed: Secret name s already exists in region eu-west-1."
	describe := func() string { t.Helper(); return replicas(b.ok("DescribeSecret", `{"SecretId":"s"}`)) }
	if got := describe(); got != failed {
		t.Errorf("got %s", got)
	}
	if b.value(rootAway, "s") != "mine" {
		t.Error("the secret in the way was changed")
	}
	events := len(b.events(away))
	b.replicate() // not tried again by itself
	if got := len(b.events(away)); got != events {
		t.Errorf("tried again: %d events, want %d", got, events)
	}
	got := b.ok("ReplicateSecretToRegions", `{"SecretId":"s","ForceOverwriteReplicaSecret":true,"AddReplicaRegions":[{"Region":"eu-west-1"}]}`)
	if replicas(got) != "eu-west-1 InProgress" {
		t.Errorf("asked again: got %v", got)
	}
	b.replicate()
	if got := describe(); got != "eu-west-1 InSync Replication succeeded" || b.value(rootAway, "s") != "primary" {
		t.Errorf("overwritten: got %s", got)
	}
	// Asking again for what is there changes nothing.
	got = b.ok("ReplicateSecretToRegions", `{"SecretId":"s","AddReplicaRegions":[{"Region":"eu-west-1"},{"Region":"ap-southeast-2"}]}`)
	if replicas(got) != "eu-west-1 InSync Replication succeeded; ap-southeast-2 InProgress" {
		t.Errorf("got %s", replicas(got))
	}
	b.refused("ReplicateSecretToRegions", `{"SecretId":"s","AddReplicaRegions":[{"Region":"eu-west-1"},{"Region":"eu-west-1"}]}`, "InvalidParameterException", "Duplicate replica region: eu-west-1.")
}

func TestReplicationKeyFailure(t *testing.T) {
	b := newBench(t)
	keyID := b.addKey(away, "there")
	b.setKeyState(away, keyID, key.Disabled)
	b.create("s", "1")
	b.ok("ReplicateSecretToRegions", `{"SecretId":"s","AddReplicaRegions":[{"Region":"eu-west-1","KmsKeyId":"alias/there"},{"Region":"ap-southeast-2","KmsKeyId":"alias/none"}]}`)
	b.replicate()
	want := "eu-west-1 Failed Secrets Manager can't encrypt the protected secret text using the provided KMS key. Check that the KMS key is available, enabled, and not in an invalid state.; " +
		"ap-southeast-2 Failed The operation failed because of an invalid KMS key: Invalid keyId"
	if got := replicas(b.ok("DescribeSecret", `{"SecretId":"s"}`)); got != want {
		t.Errorf("got %s", got)
	}
	b.setKeyState(away, keyID, key.Enabled)
	b.put("s", "v2", "2", "") // a change is a new try
	b.replicate()
	if got := replicas(b.ok("DescribeSecret", `{"SecretId":"s"}`)); !strings.HasPrefix(got, "eu-west-1 InSync Replication succeeded; ap-southeast-2 Failed") {
		t.Errorf("got %s", got)
	}
}

func TestRemoveRegions(t *testing.T) {
	b := newBench(t)
	b.create("s", "1")
	b.ok("ReplicateSecretToRegions", `{"SecretId":"s","AddReplicaRegions":[{"Region":"eu-west-1"},{"Region":"ap-southeast-2"}]}`)
	b.replicate()
	got := b.ok("RemoveRegionsFromReplication", `{"SecretId":"s","RemoveReplicaRegions":["eu-west-1"]}`)
	if replicas(got) != "ap-southeast-2 InSync Replication succeeded" || members(got) != "ARN ReplicationStatus" {
		t.Errorf("got %v", got)
	}
	b.refusedAs(rootAway, "DescribeSecret", `{"SecretId":"s"}`, "ResourceNotFoundException", notFoundText)
	got = b.ok("RemoveRegionsFromReplication", `{"SecretId":"s","RemoveReplicaRegions":["ap-southeast-2"]}`)
	if list, ok := got["ReplicationStatus"].([]any); !ok || len(list) != 0 {
		t.Errorf("got %v, want an empty list", got)
	}
	b.replicate()
	b.refusedAs(rootAway, "DescribeSecret", `{"SecretId":"s"}`, "ResourceNotFoundException", notFoundText)
	// The name is free there.
	b.okAs(rootAway, "CreateSecret", withToken(`"Name":"s","SecretString":"2"`))
}

// TestReplicatorRuns lets the background part do it.
func TestReplicatorRuns(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Replicator().Run(ctx) }()
	b.create("s", "1")
	b.ok("ReplicateSecretToRegions", `{"SecretId":"s","AddReplicaRegions":[{"Region":"eu-west-1"}]}`)
	deadline := time.Now().Add(20 * time.Second)
	for replicas(b.ok("DescribeSecret", `{"SecretId":"s"}`)) != "eu-west-1 InSync Replication succeeded" {
		if time.Now().After(deadline) {
			t.Fatal("the replica is never in sync")
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
	// A sweeper stops as well.
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if err := b.Sweeper().Run(ctx); err != nil {
		t.Errorf("the sweeper ended with %v", err)
	}
}
