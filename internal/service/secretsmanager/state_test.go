package secretsmanager

import (
	"testing"
)

// onState are calls of every operation on a secret "s" in its region, and
// what AWS answers in the two special states (reference 6.24). "" is success.
var onState = []struct{ operation, more, deleted, replica string }{
	{"GetSecretValue", ``, markedText, ""},
	{"DescribeSecret", ``, "", ""},
	{"ListSecretVersionIds", ``, "", ""},
	{"PutSecretValue", `,"SecretString":"y","ClientRequestToken":"` + "12345678901234567890123456789012" + `"`, markedText, replicaText},
	{"UpdateSecret", `,"Description":"d","ClientRequestToken":"` + "12345678901234567890123456789012" + `"`, markedText, replicaText},
	{"UpdateSecret", `,"SecretString":"y","KmsKeyId":"","ClientRequestToken":"` + "12345678901234567890123456789012" + `"`, markedText, replicaText},
	{"UpdateSecret", `,"KmsKeyId":"","ClientRequestToken":"` + "12345678901234567890123456789012" + `"`, markedText, ""},
	{"UpdateSecretVersionStage", `,"VersionStage":"x","MoveToVersionId":"` + "v1------------------------------" + `"`, markedText, replicaText},
	{"RotateSecret", `,"RotationLambdaARN":"` + function + `","ClientRequestToken":"` + "12345678901234567890123456789012" + `"`, markedText, replicaText},
	{"RotateSecret", `,"RotateImmediately":false,"RotationLambdaARN":"` + function + `","ClientRequestToken":"` + "12345678901234567890123456789012" + `"`, markedText, replicaText},
	{"CancelRotateSecret", ``, markedText, replicaText},
	{"TagResource", `,"Tags":[{"Key":"k","Value":"v"}]`, markedText, replicaText},
	{"UntagResource", `,"TagKeys":["k"]`, markedText, replicaText},
	{"GetResourcePolicy", ``, markedText, ""},
	{"PutResourcePolicy", `,"ResourcePolicy":"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\"}}"`, markedText, replicaText},
	{"DeleteResourcePolicy", ``, markedText, replicaText},
	{"ReplicateSecretToRegions", `,"AddReplicaRegions":[{"Region":"ap-southeast-2"}]`, markedText, replicaText},
	{"RemoveRegionsFromReplication", `,"RemoveReplicaRegions":["ap-southeast-2"]`, markedText, replicaText},
	{"DeleteSecret", ``, "You can't perform this operation on the secret because it was already scheduled for deletion.", replicaText},
	{"StopReplicationToReplica", ``, markedText, ""},
}

func TestScheduledForDeletion(t *testing.T) {
	b := newBench(t)
	b.create("s", "x")
	b.ok("DeleteSecret", `{"SecretId":"s"}`)
	before := b.stored(home, "s")
	for _, tc := range onState {
		body := `{"SecretId":"s"` + tc.more + `}`
		if tc.deleted == "" {
			b.ok(tc.operation, body)
		} else {
			b.refused(tc.operation, body, "InvalidRequestException", tc.deleted)
		}
	}
	got := b.ok("BatchGetSecretValue", `{"SecretIdList":["s"]}`)["Errors"].([]any)[0].(object)
	if got["ErrorCode"] != "InvalidRequestException" || got["Message"] != markedText || got["SecretId"] != "s" {
		t.Errorf("batch: got %v", got)
	}
	if after := b.stored(home, "s"); after.Revision != before.Revision {
		t.Error("refused calls changed the secret")
	}
}

func TestOnReplica(t *testing.T) {
	b := newBench(t)
	b.create("s", "x")
	b.ok("ReplicateSecretToRegions", `{"SecretId":"s","AddReplicaRegions":[{"Region":"eu-west-1"}]}`)
	b.must(b.Replicator().Replicate(t.Context()))
	for _, tc := range onState {
		body := `{"SecretId":"s"` + tc.more + `}`
		if tc.replica == "" {
			b.okAs(rootAway, tc.operation, body)
		} else {
			b.refusedAs(rootAway, tc.operation, body, "InvalidParameterException", tc.replica)
		}
	}
	// The last one made the replica independent.
	b.okAs(rootAway, "TagResource", `{"SecretId":"s","Tags":[{"Key":"k","Value":"v"}]}`)
}
