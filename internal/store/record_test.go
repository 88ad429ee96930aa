package store

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/schedule"
	"github.com/keyturn/keyturn/internal/secret"
)

func someSecret() *secret.Secret {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)
	return &secret.Secret{
		Account: "123456789012", Region: "us-east-1", Name: "app/db", Suffix: "AbCdEf", Description: "d\x00ü", KMSKeyID: "k", Type: "t",
		OwningService: "o", CreatedAt: at, ChangedAt: at.Add(1), AccessedOn: at.Add(time.Hour), DeleteAt: at.AddDate(0, 0, 7),
		Tags: []secret.Tag{{Key: "a", Value: ""}, {Key: "", Value: "b"}}, Policy: "{}", PrimaryRegion: "eu-west-1",
		Rotation: secret.Rotation{
			Configured: true, Enabled: true, FunctionARN: "f", Rules: schedule.Rules{AutomaticallyAfterDays: 30, Duration: "3h", Expression: "rate(1 day)"},
			ConfiguredAt: at, LastRotatedAt: at, ValueChangedAt: at, NextDate: at, DueAt: at,
		},
		Versions: []secret.Version{
			{ID: "v1", Labels: []string{"AWSCURRENT", "x"}, CreatedAt: at, AccessedOn: at, HasValue: true, Binary: true, ByToken: true, KeyARN: "k", WrittenBy: "w"},
			{ID: "v2", Labels: []string{"AWSPENDING"}},
		},
	}
}

func TestRecordRoundTrip(t *testing.T) {
	full := someSecret()
	full.ChangedAt = full.CreatedAt // stored in microseconds
	for _, want := range []*secret.Secret{full, {}, {Tags: []secret.Tag{}}} {
		var got secret.Secret
		if err := decodeSecret(encodeSecret(want), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, &got); diff != "" {
			t.Errorf("a record changed on its way (-want +got):\n%s", diff)
		}
	}
}

// TestRecordCut reads every beginning of a record: each is an error.
func TestRecordCut(t *testing.T) {
	whole := encodeSecret(someSecret())
	for n := range whole {
		var s secret.Secret
		if err := decodeSecret(whole[:n], &s); err == nil {
			t.Errorf("the first %d of %d bytes read as a record", n, len(whole))
		}
	}
	meta := encodeVersion(&someSecret().Versions[0])
	for n := range meta {
		var v secret.Version
		if err := decodeVersion(meta[:n], &v); err == nil {
			t.Errorf("the first %d of %d bytes read as a version", n, len(meta))
		}
	}
}

// TestRecordMayGrow reads a record to which a later version added.
func TestRecordMayGrow(t *testing.T) {
	var s secret.Secret
	if err := decodeSecret(append(encodeSecret(someSecret()), 1, 2, 3), &s); err != nil || s.Name != "app/db" {
		t.Errorf("got secret %q and error %v", s.Name, err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(encodeSecret(someSecret()))
	f.Add(encodeSecret(&secret.Secret{}))
	f.Add([]byte{recordFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again secret.Secret
		if decodeSecret(b, &s) != nil {
			return
		}
		encoded := encodeSecret(&s)
		if err := decodeSecret(encoded, &again); err != nil {
			t.Fatalf("a record that was read cannot be read again: %v", err)
		}
		if !bytes.Equal(encoded, encodeSecret(&again)) {
			t.Fatal("a record changed on its way")
		}
	})
}
