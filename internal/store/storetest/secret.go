package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/schedule"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// The account and region of the tests.
const (
	account = "123456789012"
	region  = "us-east-1"
)

var (
	day0  = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	noon0 = day0.Add(12*time.Hour + 123*time.Millisecond)
)

// newSecret returns a secret with one current version.
func newSecret(name string) *secret.Secret {
	return &secret.Secret{
		ID: "id-" + name, Account: account, Region: region, Name: name, Suffix: "AbCdEf",
		CreatedAt: noon0, ChangedAt: noon0,
		Versions: []secret.Version{version("v1", secret.Current)},
	}
}

// version returns a version with a value.
func version(id string, labels ...string) secret.Version {
	return secret.Version{ID: id, Labels: labels, CreatedAt: noon0, HasValue: true, Sealed: []byte("sealed " + id)}
}

// fullSecret returns a secret in which every member is set.
func fullSecret() *secret.Secret {
	s := newSecret("app/full")
	s.Description, s.KMSKeyID, s.Type, s.OwningService = "a \"description\" with ünïcode", "alias/k", "SomeType", "rds"
	s.AccessedOn, s.DeleteAt = day0, noon0.AddDate(0, 0, 7)
	s.Tags = []secret.Tag{{Key: "b", Value: "1"}, {Key: "a", Value: "<2>"}}
	s.Policy = `{"Version":"2012-10-17"}`
	s.Rotation = secret.Rotation{
		Configured: true, Enabled: true, FunctionARN: "arn:aws:lambda:us-east-1:123456789012:function:f",
		Rules:        schedule.Rules{AutomaticallyAfterDays: 30, Duration: "3h", Expression: "rate(30 days)"},
		ConfiguredAt: noon0.Add(1 * time.Second), LastRotatedAt: noon0.Add(2 * time.Second), ValueChangedAt: noon0.Add(3 * time.Second),
		NextDate: noon0.Add(4 * time.Second), DueAt: noon0.Add(5 * time.Second),
	}
	s.PrimaryRegion = region
	s.Replicas = []secret.Replica{
		{Region: "us-west-2", KMSKeyID: "alias/r", Status: secret.InSync, Message: "Replication succeeded", AccessedOn: day0, Revision: 1, Overwrite: true},
		{Region: "eu-west-1", Status: secret.InProgress},
	}
	s.Versions = []secret.Version{
		{
			ID: "v1", Labels: []string{"AWSCURRENT", "Custom"}, CreatedAt: noon0, AccessedOn: day0, HasValue: true, Binary: true,
			KeyARN: "arn:aws:kms:us-east-1:123456789012:key/k", WrittenBy: "arn:aws:iam::123456789012:root", ByToken: true,
			Sealed: []byte{0, 1, 2, 0xff},
		},
		{ID: "v2", Labels: []string{"AWSPENDING"}, CreatedAt: noon0.Add(time.Second)},
		version("v3"),
	}
	return s
}

// unsealed ignores sealed values, which records are read without, and takes
// nil and empty lists of versions and labels for the same.
var unsealed = cmp.Options{cmpopts.IgnoreFields(secret.Version{}, "Sealed"), cmp.FilterPath(func(p cmp.Path) bool {
	return p.Last().String() == ".Labels" || p.Last().String() == ".Versions"
}, cmpopts.EquateEmpty())}

// save stores the difference between what is stored and after.
func save(t testing.TB, s *store.Store, before, after *secret.Secret) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error { return tx.SaveSecret(before, after) })
}

// byID returns a secret.
func byID(t testing.TB, s *store.Store, id string) *secret.Secret {
	t.Helper()
	return read(t, s, func(tx *store.Tx) (*secret.Secret, error) { return tx.SecretByID(id) })
}

// wantSecret fails the test unless the stored secret is want, sealed values
// aside.
func wantSecret(t testing.TB, s *store.Store, want *secret.Secret) {
	t.Helper()
	if diff := cmp.Diff(want, byID(t, s, want.ID), unsealed); diff != "" {
		t.Errorf("the stored secret differs (-want +got):\n%s", diff)
	}
}

func testSecretRoundTrip(t *testing.T, open Open) {
	s := open(t)
	for _, want := range []*secret.Secret{newSecret("app/plain"), fullSecret(), {ID: "e", Account: account, Region: region, Name: "empty", Tags: []secret.Tag{}}} {
		save(t, s, nil, want)
		if want.Revision != 1 {
			t.Errorf("got revision %d for a new secret, want 1", want.Revision)
		}
		wantSecret(t, s, want)
		for i := range want.Versions {
			v := &want.Versions[i]
			err := s.View(t.Context(), func(tx *store.Tx) error {
				got, err := tx.SealedValue(want.ID, v.ID)
				if err == nil && string(got) != string(v.Sealed) {
					t.Errorf("got sealed value %q, want %q", got, v.Sealed)
				}
				return err
			})
			if v.HasValue && err != nil {
				t.Errorf("reading version %s: %v", v.ID, err)
			} else if !v.HasValue {
				wantKind(t, err, fault.NotFound)
			}
		}
	}
}

func testSecretChanges(t *testing.T, open Open) {
	s := open(t)
	before := fullSecret()
	save(t, s, nil, before)
	steps := []struct {
		name   string
		change func(*secret.Secret)
	}{
		{"description", func(s *secret.Secret) { s.Description = "" }},
		{"tags removed", func(s *secret.Secret) { s.Tags = []secret.Tag{} }},
		{"rotation off", func(s *secret.Secret) { s.Rotation.Enabled, s.Rotation.DueAt = false, time.Time{} }},
		{"restored", func(s *secret.Secret) { s.DeleteAt = time.Time{} }},
		{"placeholder filled", func(s *secret.Secret) {
			v := s.Version("v2")
			v.HasValue, v.Sealed, v.WrittenBy = true, []byte("filled"), "arn:role"
		}},
		{"label moved", func(s *secret.Secret) {
			s.Version("v1").Labels, s.Version("v2").Labels = []string{"AWSPREVIOUS"}, []string{"AWSCURRENT", "AWSPENDING"}
		}},
		{"version added", func(s *secret.Secret) {
			s.Version("v1").Labels, s.Version("v2").Labels = nil, []string{"AWSPREVIOUS"}
			s.Versions = append(s.Versions, version("v4", "AWSCURRENT"))
		}},
		{"version removed", func(s *secret.Secret) { s.Versions = s.Versions[1:] }},
		{"labelled version removed", func(s *secret.Secret) { s.Versions = s.Versions[1:] }},
		{"every label gone", func(s *secret.Secret) { s.Versions[1].Labels = nil }},
		{"every version gone", func(s *secret.Secret) { s.Versions = nil }},
		{"replica removed", func(s *secret.Secret) { s.Replicas = s.Replicas[:1] }},
	}
	for _, step := range steps {
		before = byID(t, s, before.ID)
		after := before.Clone()
		step.change(after)
		save(t, s, before, after)
		if t.Run(step.name, func(t *testing.T) { wantSecret(t, s, after) }); t.Failed() {
			return
		}
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("checking the database: %v", err)
	}
}

func testSecretValueKept(t *testing.T, open Open) {
	s := open(t)
	save(t, s, nil, newSecret("kept"))
	before := byID(t, s, "id-kept")
	after := before.Clone()
	after.Versions[0].Labels = []string{"AWSCURRENT", "x"}
	after.Versions[0].KeyARN = "arn:other"
	save(t, s, before, after)
	got := read(t, s, func(tx *store.Tx) ([]byte, error) { return tx.SealedValue("id-kept", "v1") })
	if string(got) != "sealed v1" {
		t.Errorf("got value %q after a change of metadata, want it unchanged", got)
	}
}

func testSecretLookup(t *testing.T, open Open) {
	s := open(t)
	for _, name := range []string{"app/db", "MyName-a1b2c3", "MyName-a1b2", "x-a1b2c3-", "MyName"} {
		save(t, s, nil, newSecret(name))
	}
	other := newSecret("app/db")
	other.ID, other.Region = "id-elsewhere", "eu-west-1"
	save(t, s, nil, other)
	prefix := "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
	for id, want := range map[string]string{
		"app/db":                        "id-app/db",
		prefix + "app/db-AbCdEf":        "id-app/db",
		prefix + "app/db":               "id-app/db",
		prefix + "app/db-aaaaaa":        "",
		prefix + "app":                  "",
		"APP/DB":                        "",
		"app/db-AbCdEf":                 "",
		prefix + "MyName-a1b2c3":        "",
		prefix + "MyName-a1b2c3-AbCdEf": "id-MyName-a1b2c3",
		prefix + "MyName-a1b2":          "id-MyName-a1b2",
		prefix + "x-a1b2c3-":            "id-x-a1b2c3-",
		prefix + "MyName-AbCdEf":        "id-MyName",
		"arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-AbCdEf":    "",
		"arn:aws:secretsmanager:us-east-1:999999999999:secret:app/db-AbCdEf":    "",
		"arn:aws-cn:secretsmanager:us-east-1:123456789012:secret:app/db-AbCdEf": "",
		"arn:aws:lambda:us-east-1:123456789012:function:app/db":                 "",
	} {
		err := s.View(t.Context(), func(tx *store.Tx) error {
			got, err := tx.FindSecret(account, region, arn.ParseSecretRef(id))
			if err == nil && got.ID != want {
				t.Errorf("%s found %s, want %q", id, got.ID, want)
			}
			return err
		})
		if want == "" {
			wantKind(t, err, fault.NotFound)
		} else if err != nil {
			t.Errorf("%s: %v, want %s", id, err, want)
		}
	}
}

func testSecretUnique(t *testing.T, open Open) {
	s := open(t)
	save(t, s, nil, newSecret("taken"))
	again := newSecret("taken")
	again.ID = "another"
	update(t, s, func(tx *store.Tx) error {
		wantKind(t, tx.SaveSecret(nil, again), fault.Exists)
		// The refusal is an answer: the transaction goes on.
		return tx.SetMeta("after", "refusal")
	})
	if got := read(t, s, func(tx *store.Tx) (string, error) { return tx.Meta("after") }); got != "refusal" {
		t.Error("a refused insert undid its transaction")
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteSecret("id-taken") })
	save(t, s, nil, again)
	wantSecret(t, s, again)
}

func testSecretRevision(t *testing.T, open Open) {
	s := open(t)
	save(t, s, nil, newSecret("r"))
	stale := byID(t, s, "id-r")
	after := stale.Clone()
	after.Description = "first"
	save(t, s, stale, after)
	if after.Revision != 2 {
		t.Errorf("got revision %d, want 2", after.Revision)
	}
	second := stale.Clone()
	second.Description = "second"
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveSecret(stale, second) }), fault.Conflict)
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveSecret(stale, stale.Clone()) }), fault.Conflict)
	wantSecret(t, s, after)
	same := after.Clone()
	save(t, s, after, same)
	if same.Revision != 2 {
		t.Errorf("got revision %d after a save without a difference, want 2", same.Revision)
	}
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.DeleteSecret("id-r"); err != nil {
			return err
		}
		return tx.SaveSecret(after, second)
	}), fault.Conflict)
}

func testSecretDelete(t *testing.T, open Open) {
	s := open(t)
	full := fullSecret()
	save(t, s, nil, full)
	update(t, s, func(tx *store.Tx) error {
		return tx.SaveRun(&secret.RotationRun{SecretID: full.ID, Token: "t", State: secret.Running}, 0)
	})
	update(t, s, func(tx *store.Tx) error { return tx.DeleteSecret(full.ID) })
	view(t, s, func(tx *store.Tx) error {
		_, err := tx.SecretByID(full.ID)
		wantKind(t, err, fault.NotFound)
		_, err = tx.SealedValue(full.ID, "v1")
		wantKind(t, err, fault.NotFound)
		_, err = tx.Run(full.ID)
		wantKind(t, err, fault.NotFound)
		stale, err := tx.StaleReplicas(10)
		if len(stale) != 0 {
			t.Errorf("got replicas %v of a deleted secret", stale)
		}
		return err
	})
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteSecret(full.ID) }), fault.NotFound)
}

func testLabelTwice(t *testing.T, open Open) {
	s := open(t)
	bad := newSecret("twice")
	bad.Versions = append(bad.Versions, version("v2", secret.Current))
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveSecret(nil, bad) }), fault.Internal)
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error {
		_, err := tx.SecretByID(bad.ID)
		return err
	}), fault.NotFound)
}

func testReadVersion(t *testing.T, open Open) {
	s := open(t)
	full := fullSecret()
	full.DeleteAt = time.Time{}
	save(t, s, nil, full)
	for _, tc := range []struct{ versionID, stage, want, sealed string }{
		{"", "AWSCURRENT", "v1", "\x00\x01\x02\xff"},
		{"", "Custom", "v1", "\x00\x01\x02\xff"},
		{"v1", "", "v1", "\x00\x01\x02\xff"},
		{"v1", "AWSPENDING", "v1", "\x00\x01\x02\xff"},
		{"", "AWSPENDING", "v2", ""},
		{"v3", "", "v3", "sealed v3"},
		{"v9", "", "", ""},
		{"", "nowhere", "", ""},
	} {
		t.Run(tc.versionID+"/"+tc.stage, func(t *testing.T) {
			get := func(tx *store.Tx) (*secret.Secret, error) {
				return tx.ReadVersion(account, region, arn.SecretRef{Name: full.Name}, tc.versionID, tc.stage)
			}
			got := read(t, s, get)
			for range 2 {
				if diff := cmp.Diff(got, recall(t, s, get)); diff != "" {
					t.Errorf("from memory (-want +got):\n%s", diff)
				}
			}
			for _, v := range got.Versions {
				if want := full.Version(v.ID); !cmp.Equal(v, *want, unsealed) {
					t.Errorf("got version %+v, want %+v", v, *want)
				}
				if v.ID == tc.want && string(v.Sealed) != tc.sealed {
					t.Errorf("got value %q, want %q", v.Sealed, tc.sealed)
				} else if v.ID != tc.want && v.Sealed != nil {
					t.Errorf("version %s came with its value", v.ID)
				}
			}
			if tc.want != "" && got.Version(tc.want) == nil {
				t.Errorf("version %s is missing", tc.want)
			}
			if got.Version("v3") != nil && tc.versionID != "v3" {
				t.Error("a deprecated version was loaded that nobody asked for")
			}
		})
	}
	for _, view := range []func(context.Context, func(*store.Tx) error) error{s.View, s.Read} {
		for _, ref := range []arn.SecretRef{{Name: "none"}, {Name: full.Name, Region: "eu-west-1"}, {ARN: full.ARN() + "x"}} {
			wantKind(t, view(t.Context(), func(tx *store.Tx) error {
				_, err := tx.ReadVersion(account, region, ref, "", "AWSCURRENT")
				return err
			}), fault.NotFound)
		}
	}
}

func testFindLabelled(t *testing.T, open Open) {
	s := open(t)
	long := newSecret("long")
	for i := range 20 {
		long.Versions = append(long.Versions, version(fmt.Sprintf("d%02d", i)))
	}
	long.Versions = append(long.Versions, version("v2", secret.Previous))
	save(t, s, nil, long)
	ids := func(versionIDs ...string) (ids []string) {
		got := read(t, s, func(tx *store.Tx) (*secret.Secret, error) {
			return tx.FindLabelled(account, region, arn.SecretRef{Name: "long"}, versionIDs...)
		})
		for i := range got.Versions {
			ids = append(ids, got.Versions[i].ID)
		}
		return ids
	}
	for _, tc := range []struct{ ask, want []string }{
		{nil, []string{"v1", "v2"}},
		{[]string{"", "none"}, []string{"v1", "v2"}},
		{[]string{"v2"}, []string{"v1", "v2"}},
		{[]string{"d07"}, []string{"v1", "d07", "v2"}},
		{[]string{"v2", "d09", "d03", "d09"}, []string{"v1", "d03", "d09", "v2"}},
	} {
		if diff := cmp.Diff(tc.want, ids(tc.ask...)); diff != "" {
			t.Errorf("asking for %v (-want +got):\n%s", tc.ask, diff)
		}
	}
	// A version put on a partly loaded secret counts, and one that exists
	// is refused.
	partly := func(tx *store.Tx) (*secret.Secret, error) {
		return tx.FindLabelled(account, region, arn.SecretRef{Name: "long"})
	}
	before := read(t, s, partly)
	after := before.Clone()
	after.Versions = append(after.Versions, version("d05"))
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveSecret(before, after) }), fault.Exists)
	for n := len(long.Versions); n < secret.KeptVersions; n++ {
		before = read(t, s, partly)
		if len(before.Versions) != 2 {
			t.Fatalf("got %d versions loaded of %d, want 2", len(before.Versions), n)
		}
		after = before.Clone()
		after.Versions = append(after.Versions, version(fmt.Sprint("n", n)))
		save(t, s, before, after)
	}
	if got := read(t, s, partly); len(got.Versions) != secret.KeptVersions {
		t.Errorf("got %d versions loaded of a crowded secret, want %d", len(got.Versions), secret.KeptVersions)
	}
}

func testCrowded(t *testing.T, open Open) {
	s := open(t)
	for i, n := range []int{secret.KeptVersions - 1, secret.KeptVersions, secret.KeptVersions + 1, secret.KeptVersions + 50} {
		x := newSecret(fmt.Sprint("crowd", i))
		for j := range n - 1 {
			x.Versions = append(x.Versions, version(fmt.Sprint("d", j)))
		}
		save(t, s, nil, x)
	}
	first := read(t, s, func(tx *store.Tx) ([]*secret.Secret, error) { return tx.CrowdedSecrets("", 1) })
	if len(first) != 1 || first[0].Name != "crowd2" || len(first[0].Versions) != secret.KeptVersions+1 {
		t.Fatalf("got %d secrets, want crowd2 with all its versions", len(first))
	}
	rest := read(t, s, func(tx *store.Tx) ([]*secret.Secret, error) { return tx.CrowdedSecrets(first[0].ID, 10) })
	if len(rest) != 1 || rest[0].Name != "crowd3" {
		t.Fatalf("got %d further secrets, want crowd3 alone", len(rest))
	}
	after := rest[0].Clone()
	after.Versions = after.Versions[:secret.KeptVersions]
	save(t, s, rest[0], after)
	if got := read(t, s, func(tx *store.Tx) ([]*secret.Secret, error) { return tx.CrowdedSecrets(first[0].ID, 10) }); len(got) != 0 {
		t.Errorf("a purged secret is still crowded")
	}
}

func testTouch(t *testing.T, open Open) {
	s := open(t)
	x := newSecret("touched")
	x.Versions = append(x.Versions, version("v2"))
	save(t, s, nil, x)
	for _, tc := range []struct {
		version   string
		day, want time.Time
	}{
		{"v1", day0, day0},
		{"v1", day0.AddDate(0, 0, -1), day0},
		{"v2", day0.AddDate(0, 0, 2), day0.AddDate(0, 0, 2)},
	} {
		update(t, s, func(tx *store.Tx) error { return tx.TouchSecret(x.ID, tc.version, tc.day) })
		if got := byID(t, s, x.ID).AccessedOn; !got.Equal(tc.want) {
			t.Errorf("got %v, want %v", got, tc.want)
		}
	}
	got := byID(t, s, x.ID)
	if v1, v2 := got.Version("v1").AccessedOn, got.Version("v2").AccessedOn; !v1.Equal(day0) || !v2.Equal(day0.AddDate(0, 0, 2)) {
		t.Errorf("got versions read on %v and %v", v1, v2)
	}
	if got.Revision != 1 {
		t.Errorf("got revision %d, want 1", got.Revision)
	}
	after := got.Clone()
	after.Description = "still saves"
	save(t, s, got, after)
}

func testPurgeAndDue(t *testing.T, open Open) {
	s := open(t)
	for i, x := range []struct{ deleteIn, dueIn time.Duration }{
		{-2 * time.Hour, 0}, {-3 * time.Hour, -time.Hour}, {time.Hour, 0}, {0, -5 * time.Minute}, {0, -10 * time.Minute}, {0, time.Minute}, {0, 0},
	} {
		sec := newSecret(fmt.Sprint(i))
		if x.deleteIn != 0 {
			sec.DeleteAt = noon0.Add(x.deleteIn)
		}
		if x.dueIn != 0 {
			sec.Rotation.DueAt = noon0.Add(x.dueIn)
		}
		save(t, s, nil, sec)
	}
	names := func(list []*secret.Secret, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var s string
		for _, x := range list {
			s += x.Name
			if x.Holder(secret.Current) == nil {
				t.Errorf("secret %s came without its labelled version", x.Name)
			}
		}
		return s
	}
	view(t, s, func(tx *store.Tx) error {
		if got := names(tx.SecretsToPurge(noon0, 10)); got != "10" {
			t.Errorf("got secrets %q to purge, want 10", got)
		}
		if got := names(tx.SecretsToPurge(noon0, 1)); got != "1" {
			t.Errorf("got secrets %q to purge, want 1", got)
		}
		if got := names(tx.DueSecrets(noon0, 10)); got != "43" {
			t.Errorf("got due secrets %q, want 43", got)
		}
		if got := names(tx.DueSecrets(noon0, 1)); got != "4" {
			t.Errorf("got due secrets %q, want 4", got)
		}
		next, err := tx.NextDue(0)
		if want := noon0.Add(-10 * time.Minute); !next.Equal(want) {
			t.Errorf("got next due %v, want %v", next, want)
		}
		return err
	})
}

func testReplicas(t *testing.T, open Open) {
	s := open(t)
	stale := func() []store.ReplicaRef {
		t.Helper()
		return read(t, s, func(tx *store.Tx) ([]store.ReplicaRef, error) { return tx.StaleReplicas(10) })
	}
	change := func(fn func(*secret.Secret)) *secret.Secret {
		t.Helper()
		before := byID(t, s, "id-p")
		after := before.Clone()
		fn(after)
		save(t, s, before, after)
		return after
	}
	save(t, s, nil, newSecret("p"))
	change(func(s *secret.Secret) {
		s.PrimaryRegion = s.Region
		s.Replicas = []secret.Replica{{Region: "eu-west-1", Status: secret.InProgress}, {Region: "ap-south-1", Status: secret.InProgress}}
	})
	both := []store.ReplicaRef{{SecretID: "id-p", Region: "ap-south-1"}, {SecretID: "id-p", Region: "eu-west-1"}}
	if diff := cmp.Diff(both, stale()); diff != "" {
		t.Errorf("new replicas (-want +got):\n%s", diff)
	}
	// Taking a revision over does not make another one to take over.
	for i := range 2 {
		after := change(func(s *secret.Secret) {
			s.Replicas[i].Status, s.Replicas[i].Revision = secret.InSync, s.Revision
		})
		if after.Revision != 2 {
			t.Errorf("got revision %d after a replica's progress, want 2", after.Revision)
		}
	}
	if got := stale(); len(got) != 0 {
		t.Errorf("got stale replicas %v after all are in sync", got)
	}
	update(t, s, func(tx *store.Tx) error { return tx.TouchSecret("id-p", "v1", day0) })
	if got := stale(); len(got) != 0 {
		t.Errorf("got stale replicas %v after a read", got)
	}
	change(func(s *secret.Secret) { s.Description = "new" })
	if diff := cmp.Diff(both, stale()); diff != "" {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
	change(func(s *secret.Secret) {
		s.Replicas[0].Status, s.Replicas[0].Revision = secret.Failed, s.Revision
		s.Replicas = s.Replicas[:1]
	})
	if got := stale(); len(got) != 0 {
		t.Errorf("got stale replicas %v, want none", got)
	}
}
