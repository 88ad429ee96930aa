package secretsmanager

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/secret"
)

const describedMin = "ARN CreatedDate LastChangedDate Name VersionIdsToStages"

// TestDescribeMembers follows a secret through its life and looks which
// members DescribeSecret shows (reference 6.6).
func TestDescribeMembers(t *testing.T) {
	b := newBench(t)
	b.addKey(home, "k")
	b.create("s", "x")
	describe := func() object { return b.ok("DescribeSecret", `{"SecretId":"s"}`) }
	check := func(when, more string) object {
		t.Helper()
		got := describe()
		want := strings.Fields(describedMin + " " + more)
		have := strings.Fields(members(got))
		for _, m := range want {
			if _, ok := got[m]; !ok {
				t.Errorf("%s: %s is missing", when, m)
			}
		}
		if len(have) != len(want) {
			t.Errorf("%s: got %v, want %v", when, have, want)
		}
		return got
	}
	d := check("after creation", "")
	if got := d["VersionIdsToStages"].(object)[tok("v1")]; len(texts(got)) != 1 || texts(got)[0] != "AWSCURRENT" {
		t.Errorf("got %v", d["VersionIdsToStages"])
	}
	if created, changed := d["CreatedDate"].(float64), d["LastChangedDate"].(float64); math.Abs(created-changed) > 1 || created < 1.7e9 {
		t.Errorf("created %v, changed %v, want epoch seconds within a second", created, changed)
	}
	b.ok("UpdateSecret", withToken(`"SecretId":"s","Description":"d"`))
	check("with a description", "Description")
	b.ok("UpdateSecret", withToken(`"SecretId":"s","Description":""`))
	check("without it again", "")
	b.ok("TagResource", `{"SecretId":"s","Tags":[{"Key":"b","Value":"1"},{"Key":"a","Value":""}]}`)
	b.ok("TagResource", `{"SecretId":"s","Tags":[{"Key":"b","Value":"2"},{"Key":"c","Value":"3"}]}`)
	d = check("with tags", "Tags")
	var tags []string
	for _, tag := range d["Tags"].([]any) {
		tags = append(tags, tag.(object)["Key"].(string)+"="+tag.(object)["Value"].(string))
	}
	if got := strings.Join(tags, " "); got != "b=2 a= c=3" {
		t.Errorf("got tags %s, want them merged in order of insertion", got)
	}
	b.ok("UntagResource", `{"SecretId":"s","TagKeys":["a","b","c","nope"]}`)
	if d = check("without tags again", "Tags"); len(d["Tags"].([]any)) != 0 {
		t.Errorf("got %v, want an empty list", d["Tags"])
	}
	b.ok("UpdateSecret", withToken(`"SecretId":"s","KmsKeyId":"alias/k"`))
	if d = check("with a key", "Tags KmsKeyId"); d["KmsKeyId"] != "alias/k" {
		t.Errorf("got key %v, want it as given", d["KmsKeyId"])
	}
	b.ok("UpdateSecret", withToken(`"SecretId":"s","KmsKeyId":"alias/aws/secretsmanager"`))
	check("with the default key", "Tags")
	check("describing is no access", "Tags")
	b.value(root, "s")
	d = check("after a read", "Tags LastAccessedDate")
	if at := d["LastAccessedDate"].(float64); math.Mod(at, 86400) != 0 || time.Since(time.Unix(int64(at), 0)) > 25*time.Hour {
		t.Errorf("got %v, want the day", at)
	}
	b.ok("DeleteSecret", `{"SecretId":"s","RecoveryWindowInDays":7}`)
	d = check("scheduled for deletion", "Tags LastAccessedDate DeletedDate")
	if days := time.Until(time.Unix(int64(d["DeletedDate"].(float64)), 0)).Hours() / 24; days < 6.9 || days > 7 {
		t.Errorf("deleted in %v days, want 7", days)
	}
	b.ok("RestoreSecret", `{"SecretId":"s"}`)
	check("restored", "Tags LastAccessedDate")
}

func TestDescribeEmptySecret(t *testing.T) {
	b := newBench(t)
	got := b.ok("CreateSecret", `{"Name":"s","Description":"","ClientRequestToken":"`+tok("v1")+`"}`)
	if members(got) != "ARN Name" {
		t.Errorf("creation: got %v, want no version", got)
	}
	if got := b.ok("DescribeSecret", `{"SecretId":"s"}`); members(got) != "ARN CreatedDate LastChangedDate Name" {
		t.Errorf("got %v, want no versions", got)
	}
	got = b.put("s", "v1", "x", `["mine"]`)
	if labels := strings.Join(texts(got["VersionStages"]), ","); labels != "AWSCURRENT,mine" {
		t.Errorf("the first version has %s, want AWSCURRENT with its own label", labels)
	}
}

// TestDescribeRotation shows the members of rotation through its states.
func TestDescribeRotation(t *testing.T) {
	b := newBench(t)
	b.create("s", "x")
	b.ok("RotateSecret", withToken(`"SecretId":"s","RotationLambdaARN":"`+function+`","RotationRules":{"ScheduleExpression":"rate(10 hours)","Duration":"3h"}`))
	d := b.ok("DescribeSecret", `{"SecretId":"s"}`)
	if members(d) != "ARN CreatedDate LastChangedDate Name NextRotationDate RotationEnabled RotationLambdaARN RotationRules VersionIdsToStages" {
		t.Errorf("before the first rotation: got %s", members(d))
	}
	if members(d["RotationRules"].(object)) != "Duration ScheduleExpression" || d["RotationEnabled"] != true || d["RotationLambdaARN"] != function {
		t.Errorf("got %v", d)
	}
	b.edit(home, "s", func(s *secret.Secret) {
		s.Rotation.LastRotatedAt = time.Now()
		s.Versions = s.Versions[:1]
	})
	d = b.ok("DescribeSecret", `{"SecretId":"s"}`)
	if rules := d["RotationRules"].(object); rules["AutomaticallyAfterDays"] != 1.0 || d["LastRotatedDate"] == nil {
		t.Errorf("after the first rotation: got %v", d)
	}
	got := b.ok("CancelRotateSecret", `{"SecretId":"s"}`)
	if members(got) != "ARN Name" {
		t.Errorf("cancelling: got %v, want no version", got)
	}
	d = b.ok("DescribeSecret", `{"SecretId":"s"}`)
	if members(d) != "ARN CreatedDate LastChangedDate Name RotationEnabled RotationLambdaARN RotationRules VersionIdsToStages" || d["RotationEnabled"] != false {
		t.Errorf("after cancelling: got %v", d)
	}
}

// TestAccessDates reads one version of two and looks at the dates of both.
func TestAccessDates(t *testing.T) {
	b := newBench(t)
	b.create("s", "1")
	b.put("s", "v2", "2", "")
	revision := b.stored(home, "s").Revision
	for range 2 {
		b.value(root, "s")
	}
	s := b.stored(home, "s")
	today := time.Now().UTC().Truncate(24 * time.Hour)
	if !s.AccessedOn.Equal(today) || !s.Version(tok("v2")).AccessedOn.Equal(today) || !s.Version(tok("v1")).AccessedOn.IsZero() {
		t.Errorf("accessed %v, versions %v and %v, want today for the one that was read", s.AccessedOn, s.Version(tok("v2")).AccessedOn, s.Version(tok("v1")).AccessedOn)
	}
	if s.Revision != revision {
		t.Error("a read changed the revision")
	}
	versions := b.ok("ListSecretVersionIds", `{"SecretId":"s"}`)["Versions"].([]any)
	if members(versions[0].(object)) != "CreatedDate KmsKeyIds VersionId VersionStages" ||
		members(versions[1].(object)) != "CreatedDate KmsKeyIds LastAccessedDate VersionId VersionStages" {
		t.Errorf("got %v", versions)
	}
	// The next day counts anew.
	b.edit(home, "s", func(s *secret.Secret) {
		s.AccessedOn = today.AddDate(0, 0, -1)
		s.Versions[1].AccessedOn = s.AccessedOn
	})
	b.ok("BatchGetSecretValue", `{"SecretIdList":["s"]}`)
	if s := b.stored(home, "s"); !s.AccessedOn.Equal(today) || !s.Version(tok("v2")).AccessedOn.Equal(today) {
		t.Errorf("a batch left %v, want today", s.AccessedOn)
	}
}
