package secretsmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// TestIdempotency is the table of reference 5.
func TestIdempotency(t *testing.T) {
	b := newBench(t)
	const body = `{"Name":"s","SecretString":"x","Description":"d","ClientRequestToken":"v1------------------------------"}`
	first := b.ok("CreateSecret", body)
	for range 2 {
		if again := b.ok("CreateSecret", strings.Replace(body, `"d"`, `"other"`, 1)); fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("a repeated creation: got %v, want %v", again, first)
		}
	}
	address := first["ARN"].(string)
	inUse := "You can't use ClientRequestToken " + tok("v1") + " because that value is already in use for a version of secret " + address + "."
	b.refused("CreateSecret", strings.Replace(body, `"x"`, `"y"`, 1), "ResourceExistsException", inUse)
	b.refused("CreateSecret", strings.Replace(body, `"SecretString":"x"`, `"SecretBinary":"eA=="`, 1), "ResourceExistsException", inUse)
	b.refused("CreateSecret", strings.Replace(body, "v1", "v2", 1), "ResourceExistsException", "The operation failed because the secret s already exists.")

	b.put("s", "v2", "y", "")
	revision := b.stored(home, "s").Revision
	if got := b.put("s", "v2", "y", `["AWSPENDING"]`); strings.Join(texts(got["VersionStages"]), ",") != "AWSCURRENT" {
		t.Errorf("a repeated put: got %v, want the labels as they are", got)
	}
	if got := b.ok("UpdateSecret", `{"SecretId":"s","ClientRequestToken":"`+tok("v2")+`","SecretString":"y"}`); got["VersionId"] != tok("v2") {
		t.Errorf("a repeated update: got %v", got)
	}
	if got := b.stored(home, "s").Revision; got != revision {
		t.Errorf("repeated calls changed the secret: revision %d, want %d", got, revision)
	}
	inUse = strings.Replace(inUse, "v1", "v2", 1)
	b.refused("PutSecretValue", `{"SecretId":"s","ClientRequestToken":"`+tok("v2")+`","SecretString":"z"}`, "ResourceExistsException", inUse)
	b.refused("UpdateSecret", `{"SecretId":"s","ClientRequestToken":"`+tok("v2")+`","SecretString":"z"}`, "ResourceExistsException", inUse)

	changed := b.ok("DescribeSecret", `{"SecretId":"s"}`)["LastChangedDate"].(float64)
	b.ok("UpdateSecret", `{"SecretId":"s","ClientRequestToken":"`+tok("v3")+`","SecretString":"y"}`)
	if got, want := b.labels("s"), "v2[AWSPREVIOUS] v3[AWSCURRENT]"; got != want {
		t.Errorf("the same value with a new token: got %s, want %s", got, want)
	}
	if got := b.ok("DescribeSecret", `{"SecretId":"s"}`)["LastChangedDate"].(float64); got <= changed {
		t.Errorf("LastChangedDate %v stayed", got)
	}
	// Tokens belong to one secret.
	b.ok("CreateSecret", strings.Replace(body, `"s"`, `"t"`, 1))
}

func TestReadResponses(t *testing.T) {
	b := newBench(t)
	address := b.create("s", `{\"a\":\"é\"}`)
	got := b.ok("GetSecretValue", `{"SecretId":"`+address+`","VersionId":"`+tok("v1")+`","VersionStage":"AWSCURRENT"}`)
	if members(got) != "ARN CreatedDate Name SecretString VersionId VersionStages" || got["SecretString"] != `{"a":"é"}` || got["ARN"] != address {
		t.Errorf("got %v", got)
	}
	// The trail says which version it was, which the labels no longer do later.
	b.ok("GetSecretValue", `{"SecretId":"s"}`)
	if e := b.recorded[len(b.recorded)-1]; string(e.Additional) != `{"versionId":"`+tok("v1")+`"}` || string(e.Request) != `{"secretId":"s"}` {
		t.Errorf("got the event %s of %s, want the version's id", e.Additional, e.Request)
	}
	b.ok("CreateSecret", withToken(`"Name":"bin","SecretBinary":"Zm9vdGVzdA=="`))
	got = b.ok("GetSecretValue", `{"SecretId":"bin"}`)
	if members(got) != "ARN CreatedDate Name SecretBinary VersionId VersionStages" || got["SecretBinary"] != "Zm9vdGVzdA==" {
		t.Errorf("got %v", got)
	}
	if got := b.ok("UpdateSecret", withToken(`"SecretId":"s"`)); members(got) != "ARN Name" {
		t.Errorf("an update of nothing: got %v", got)
	}
}

// TestAccessDateDoesNotFailTheRead lets the store refuse writes.
func TestAccessDateDoesNotFailTheRead(t *testing.T) {
	b := newBench(t)
	b.create("s", "x")
	s := b.stored(home, "s")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	b.noteAccess(ended, callAt(b), reading{secret: s, version: &s.Versions[0]})
	if !strings.Contains(b.log.String(), "storing the last accessed date") {
		t.Error("the failure is not logged")
	}
}

// TestReencryption changes the key and looks what it seals by then.
func TestReencryption(t *testing.T) {
	b := newBench(t)
	first, second := b.addKey(home, "one"), b.addKey(home, "two")
	b.create("s", "1")
	b.put("s", "v2", "2", "")
	b.put("s", "v3", "3", "")
	b.put("s", "v4", "4", `["AWSPENDING"]`)
	b.put("s", "v5", "5", `["mine"]`)
	keys := func() string {
		var out []string
		for _, v := range b.ok("ListSecretVersionIds", `{"SecretId":"s","IncludeDeprecated":true}`)["Versions"].([]any) {
			id := texts(v.(object)["KmsKeyIds"])[0]
			for name, key := range map[string]string{"one": first, "two": second} {
				if strings.HasSuffix(id, ":key/"+key) {
					id = name
				}
			}
			out = append(out, id)
		}
		return strings.Join(out, " ")
	}
	d := "DefaultEncryptionKey"
	for _, tc := range []struct{ key, want string }{
		{"", strings.Join([]string{d, d, d, d, d}, " ")},
		{"alias/one", strings.Join([]string{d, "one", "one", "one", d}, " ")},
		{second, strings.Join([]string{d, "two", "two", "two", d}, " ")},
		{"arn:aws:kms:us-east-1:123456789012:alias/one", strings.Join([]string{d, "one", "one", "one", d}, " ")},
		{"arn:aws:kms:us-east-1:123456789012:key/" + second, strings.Join([]string{d, "two", "two", "two", d}, " ")},
		{"", strings.Join([]string{d, d, d, d, d}, " ")},
	} {
		b.ok("UpdateSecret", withToken(`"SecretId":"s","KmsKeyId":"`+tc.key+`"`))
		if got := keys(); got != tc.want {
			t.Errorf("key %q: got %s, want %s", tc.key, got, tc.want)
		}
		for i := 1; i <= 5; i++ {
			if got := b.ok("GetSecretValue", fmt.Sprintf(`{"SecretId":"s","VersionId":"%s"}`, tok(fmt.Sprintf("v%d", i))))["SecretString"]; got != fmt.Sprint(i) {
				t.Errorf("key %q: version %d reads %v", tc.key, i, got)
			}
		}
	}
	// A key and a value at once.
	b.ok("UpdateSecret", `{"SecretId":"s","KmsKeyId":"alias/one","SecretString":"6","ClientRequestToken":"`+tok("v6")+`"}`)
	if got, want := keys(), strings.Join([]string{d, "one", "one", "one", d, "one"}, " "); got != want || b.value(root, "s") != "6" {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestConcurrentPuts lets many callers put, read, label and change keys at
// once; every one of them must succeed.
func TestConcurrentPuts(t *testing.T) {
	b := newBench(t)
	b.addKey(home, "one")
	b.create("s", "0")
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			version := fmt.Sprintf("p%d", i)
			b.put("s", version, "x", fmt.Sprintf(`["AWSCURRENT","l%d"]`, i))
			b.value(root, "s")
			if i%4 == 0 {
				b.ok("UpdateSecret", `{"SecretId":"s","KmsKeyId":"`+[]string{"alias/one", ""}[i/4%2]+`","ClientRequestToken":"`+tok(version+"k")+`"}`)
			}
			b.ok("CreateSecret", `{"Name":"same","SecretString":"x","ClientRequestToken":"`+tok("same")+`"}`)
		})
	}
	all.Wait()
	s := b.stored(home, "s")
	if len(s.Versions) != 13 || s.Holder(secret.Current) == nil || s.Holder(secret.Previous) == nil {
		t.Errorf("got %d versions, current %v, previous %v", len(s.Versions), s.Holder(secret.Current), s.Holder(secret.Previous))
	}
	for i := range s.Versions {
		b.ok("GetSecretValue", `{"SecretId":"s","VersionId":"`+s.Versions[i].ID+`"}`)
	}
}

// TestNoPlaintextAtRest looks for values in everything that is written.
func TestNoPlaintextAtRest(t *testing.T) {
	b := newBench(t)
	const canary = "cAnArY-7f31b2"
	b.addKey(home, "k")
	b.create("s", canary+"1")
	b.put("s", "v2", canary+"2", "")
	b.ok("UpdateSecret", withToken(`"SecretId":"s","SecretString":"`+canary+`3","KmsKeyId":"alias/k"`))
	b.ok("RotateSecret", `{"SecretId":"s","RotateImmediately":false,"RotationLambdaARN":"`+function+`","ClientRequestToken":"`+tok("t")+`"}`)
	b.ok("PutSecretValue", `{"SecretId":"s","SecretString":"`+canary+`4","RotationToken":"`+canary+strings.Repeat("x", 40)+`","ClientRequestToken":"`+tok("v4")+`"}`)
	b.ok("ReplicateSecretToRegions", `{"SecretId":"s","AddReplicaRegions":[{"Region":"eu-west-1"}]}`)
	b.must(b.Replicator().Replicate(t.Context()))
	b.value(root, "s")
	b.ok("BatchGetSecretValue", `{"SecretIdList":["s"]}`)
	b.refused("PutSecretValue", `{"SecretId":"s","SecretString":"`+canary+`5","ClientRequestToken":"`+tok("v2")+`"}`, "ResourceExistsException", "You can't…")
	password := b.ok("GetRandomPassword", `{"ExcludePunctuation":true}`)["RandomPassword"].(string)
	if got := b.value(rootAway, "s"); got != canary+"4" {
		t.Fatalf("the replica reads %s", got)
	}
	b.must(b.Store.View(t.Context(), func(*store.Tx) error { return nil }))
	written := b.log.Bytes()
	recorded, err := json.Marshal(b.recorded)
	b.must(err)
	written = append(written, recorded...)
	b.must(filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		written = append(written, text...)
		return err
	}))
	if !bytes.Contains(written, []byte("PutSecretValue")) {
		t.Fatal("the events are not among what is searched")
	}
	for _, s := range []string{canary, password} {
		if bytes.Contains(written, []byte(s)) {
			t.Errorf("%q is written in the clear", s)
		}
	}
}

// TestStalePreparation changes a secret between the sealing of its versions
// under a new key and the transaction that would store them.
func TestStalePreparation(t *testing.T) {
	b := newBench(t)
	b.addKey(home, "one")
	b.create("s", "1")
	p, err := b.prepare(t.Context(), callAt(b), "s", tok("k"), value{}, new("alias/one"), 0)
	b.must(err)
	fits := func() error {
		return b.Store.View(t.Context(), func(tx *store.Tx) error {
			sec, err := tx.FindLabelled(account, home, arn.SecretRef{Name: "s"}, "")
			if err != nil {
				return err
			}
			return p.fits(b.Service, changing{tx, callAt(b), sec, sec.Clone()})
		})
	}
	if err := fits(); err != nil {
		t.Errorf("unchanged: got %v", err)
	}
	b.put("s", "v2", "2", "")
	if err := fits(); !errors.Is(err, errStale) {
		t.Errorf("changed: got %v, want it stale", err)
	}
	b.ok("DeleteSecret", `{"SecretId":"s","ForceDeleteWithoutRecovery":true}`)
	b.create("s", "1")
	if err := fits(); !errors.Is(err, errStale) {
		t.Errorf("made anew: got %v, want it stale", err)
	}
}
