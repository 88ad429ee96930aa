package sts_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/trail"
)

// Who was given which credentials is in the trail; what they are is not.
func TestEventsNameTheCredentials(t *testing.T) {
	b := newBench(t)
	b.role("rotator", "/ops/", trustsAccount)
	assumed, err := b.assume(nil)
	if err != nil {
		t.Fatal(err)
	}
	session, err := b.c.GetSessionToken(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]*string{"AssumeRole": assumed.Credentials.AccessKeyId, "GetSessionToken": session.Credentials.AccessKeyId}
	found := 0
	err = b.Recorder.Scan(time.Now().Add(-time.Hour), time.Now().Add(time.Hour), func(r trail.Record) bool {
		var e struct {
			ReadOnly         bool
			ResponseElements struct {
				Credentials     struct{ AccessKeyID string }
				AssumedRoleUser struct{ Arn string }
			}
		}
		if err := json.Unmarshal(r.JSON, &e); err != nil {
			t.Error(err)
		}
		if id := given[r.Name]; id != nil {
			found++
			if e.ResponseElements.Credentials.AccessKeyID != *id || !e.ReadOnly {
				t.Errorf("%s: got %s, want a read that names %s", r.Name, r.JSON, *id)
			}
		}
		if r.Name == "AssumeRole" && e.ResponseElements.AssumedRoleUser.Arn != *assumed.AssumedRoleUser.Arn {
			t.Errorf("got %s, want %s", r.JSON, *assumed.AssumedRoleUser.Arn)
		}
		for _, hidden := range []*string{
			assumed.Credentials.SecretAccessKey, assumed.Credentials.SessionToken, session.Credentials.SecretAccessKey, session.Credentials.SessionToken,
		} {
			if bytes.Contains(r.JSON, []byte(*hidden)) {
				t.Errorf("%s shows what it handed out", r.Name)
			}
		}
		return true
	})
	if err != nil || found != len(given) {
		t.Errorf("found %d events, %v", found, err)
	}
}
