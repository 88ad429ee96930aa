package secretsmanager

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/secret"
)

func TestDeleteAndRestore(t *testing.T) {
	b := newBench(t)
	b.create("s", "1")
	b.put("s", "v2", "2", "")
	for _, tc := range []struct {
		more string
		days int
	}{
		{``, 30},
		{`,"RecoveryWindowInDays":7`, 7},
		{`,"RecoveryWindowInDays":30,"ForceDeleteWithoutRecovery":false`, 30},
	} {
		got := b.ok("DeleteSecret", `{"SecretId":"s"`+tc.more+`}`)
		left := time.Until(time.Unix(int64(got["DeletionDate"].(float64)), 0))
		want := time.Duration(tc.days) * 24 * time.Hour
		if members(got) != "ARN DeletionDate Name" || left > want || left < want-time.Minute {
			t.Errorf("%s: deleted in %v, want %d days", tc.more, left, tc.days)
		}
		if list := b.ok("ListSecrets", `{}`)["SecretList"].([]any); len(list) != 0 {
			t.Errorf("got %v, want it hidden", list)
		}
		list := b.ok("ListSecrets", `{"IncludePlannedDeletion":true}`)["SecretList"].([]any)
		if len(list) != 1 || list[0].(object)["DeletedDate"] != got["DeletionDate"] {
			t.Errorf("got %v, want it with DeletedDate", list)
		}
		if got := b.ok("RestoreSecret", `{"SecretId":"s"}`); members(got) != "ARN Name" {
			t.Errorf("restoring: got %v", got)
		}
		if got, want := b.labels("s"), "v1[AWSPREVIOUS] v2[AWSCURRENT]"; got != want || b.value(root, "s") != "2" {
			t.Errorf("restored: got %s, want %s", got, want)
		}
	}
	b.ok("RestoreSecret", `{"SecretId":"s"}`) // nothing to restore
	got := strings.Join(b.events(home), " ")
	once := "*StartSecretVersionDelete *StartSecretVersionDelete DeleteSecret *CancelSecretVersionDelete *CancelSecretVersionDelete RestoreSecret"
	if want := "CreateSecret PutSecretValue " + strings.Join([]string{once, once, once}, " ") + " RestoreSecret"; got != want {
		t.Errorf("got events\n%s\nwant\n%s", got, want)
	}
}

func TestForceDelete(t *testing.T) {
	b := newBench(t)
	first := b.create("s", "1")
	b.ok("DeleteSecret", `{"SecretId":"s"}`)
	got := b.ok("DeleteSecret", `{"SecretId":"s","ForceDeleteWithoutRecovery":true}`)
	if d := time.Since(time.Unix(int64(got["DeletionDate"].(float64)), 0)); d < 0 || d > time.Minute || got["ARN"] != first {
		t.Errorf("got %v, want it gone now", got)
	}
	b.refused("DescribeSecret", `{"SecretId":"s"}`, "ResourceNotFoundException", notFoundText)
	b.refused("RestoreSecret", `{"SecretId":"s"}`, "ResourceNotFoundException", notFoundText)
	// The name is free at once, under another ARN.
	if second := b.create("s", "2"); second == first || second[:len(second)-6] != first[:len(first)-6] {
		t.Errorf("recreated as %s after %s, want another suffix", second, first)
	}
	b.refused("DescribeSecret", `{"SecretId":"`+first+`"}`, "ResourceNotFoundException", notFoundText)
	// A secret that never was.
	got = b.ok("DeleteSecret", `{"SecretId":"never","ForceDeleteWithoutRecovery":true}`)
	if address := got["ARN"].(string); got["Name"] != "never" || !strings.HasPrefix(address, "arn:aws:secretsmanager:us-east-1:123456789012:secret:never-") {
		t.Errorf("got %v, want the name and an ARN made up for it", got)
	}
	b.refused("DeleteSecret", `{"SecretId":"never"}`, "ResourceNotFoundException", notFoundText)
	want := "CreateSecret *StartSecretVersionDelete DeleteSecret DeleteSecret *EndSecretVersionDelete CreateSecret DeleteSecret"
	if got := strings.Join(b.events(home), " "); got != want {
		t.Errorf("got events\n%s\nwant\n%s", got, want)
	}
}

func TestSweepPurges(t *testing.T) {
	b := newBench(t)
	for i := range sweepBatch + 5 {
		b.create(fmt.Sprintf("s%d", i), "x")
		b.ok("DeleteSecret", fmt.Sprintf(`{"SecretId":"s%d","RecoveryWindowInDays":7}`, i))
	}
	b.create("kept", "x")
	b.create("restored", "x")
	b.ok("DeleteSecret", `{"SecretId":"restored"}`)
	b.ok("RestoreSecret", `{"SecretId":"restored"}`)
	count := func() int {
		return len(b.ok("ListSecrets", `{"IncludePlannedDeletion":true,"MaxResults":100,"Filters":[{"Key":"name","Values":["s"]}]}`)["SecretList"].([]any))
	}
	now := time.Now()
	b.must(b.Sweeper().Sweep(t.Context(), now.Add(7*24*time.Hour-time.Minute)))
	if got := count(); got != 100 {
		t.Errorf("within the window: got %d secrets on the first page, want 100", got)
	}
	b.must(b.Sweeper().Sweep(t.Context(), now.Add(7*24*time.Hour+time.Minute)))
	if got := count(); got != 0 {
		t.Errorf("after the window: got %d secrets, want 0", got)
	}
	if b.value(root, "kept") != "x" || b.value(root, "restored") != "x" {
		t.Error("the others are damaged")
	}
	ended := slices.DeleteFunc(b.events(home), func(e string) bool { return e != "*EndSecretVersionDelete" })
	if len(ended) != sweepBatch+5 {
		t.Errorf("got %d EndSecretVersionDelete, want one for each version", len(ended))
	}
	b.ok("CreateSecret", withToken(`"Name":"s1","SecretString":"y"`))
}

// TestSweepPrunesVersions makes more versions than are kept; those of the
// last day stay.
func TestSweepPrunesVersions(t *testing.T) {
	b := newBench(t)
	b.create("s", "0")
	now := time.Now()
	for i := range secret.KeptVersions + 9 {
		b.edit(home, "s", func(s *secret.Secret) {
			for j := range s.Versions {
				s.Versions[j].CreatedAt = now.Add(-48*time.Hour + time.Duration(j)*time.Second)
			}
		})
		b.put("s", fmt.Sprintf("p%d", i), "x", "")
	}
	b.must(b.Sweeper().Sweep(t.Context(), now.Add(-25*time.Hour)))
	s := b.stored(home, "s")
	if len(s.Versions) != secret.KeptVersions+10 {
		t.Fatalf("got %d versions while all are young, want %d", len(s.Versions), secret.KeptVersions+10)
	}
	before := len(b.events(home))
	b.must(b.Sweeper().Sweep(t.Context(), now))
	s = b.stored(home, "s")
	if len(s.Versions) != secret.KeptVersions || s.Version(tok("v1")) != nil || s.Holder(secret.Previous) == nil {
		t.Errorf("got %d versions, want the latest %d", len(s.Versions), secret.KeptVersions)
	}
	if got := b.events(home)[before:]; len(got) != 20 || got[0] != "*StartSecretVersionDelete" || got[1] != "*EndSecretVersionDelete" {
		t.Errorf("got events %v, want start and end of ten versions", got)
	}
}

// TestVersionLimit makes as many versions in a day as a secret may have.
func TestVersionLimit(t *testing.T) {
	b := newBench(t)
	b.create("s", "0")
	for i := range secret.KeptVersions - 1 {
		b.put("s", fmt.Sprintf("p%d", i), "x", "")
	}
	for _, call := range []string{"PutSecretValue", "UpdateSecret"} {
		b.refused(call, withToken(`"SecretId":"s","SecretString":"y"`), "LimitExceededException", "A secret can have at most 100 versions…")
	}
	labels := `"l1","l2","l3","l4","l5","l6","l7","l8","l9","l10","l11","l12","l13","l14","l15","l16","l17","l18","l19","l20"`
	b.create("t", "0")
	b.refused("PutSecretValue", withToken(`"SecretId":"t","SecretString":"y","VersionStages":[`+labels+`]`), "LimitExceededException", "A secret can have at most 20 staging labels…")
}

func TestDeletePrimary(t *testing.T) {
	b := newBench(t)
	address := b.create("s", "1")
	b.ok("ReplicateSecretToRegions", `{"SecretId":"s","AddReplicaRegions":[{"Region":"eu-west-1"},{"Region":"ap-southeast-2"}]}`)
	for _, force := range []string{"", `,"ForceDeleteWithoutRecovery":true`} {
		b.refused("DeleteSecret", `{"SecretId":"s"`+force+`}`, "InvalidParameterException",
			"You can't delete secret "+address+" that still has replica regions [eu-west-1, ap-southeast-2].")
	}
	b.ok("RemoveRegionsFromReplication", `{"SecretId":"s","RemoveReplicaRegions":["eu-west-1","ap-southeast-2"]}`)
	b.ok("DeleteSecret", `{"SecretId":"s"}`)
}
