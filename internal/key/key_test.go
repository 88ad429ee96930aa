package key_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

func newKeeper(t testing.TB, seed byte) key.Keeper {
	t.Helper()
	k, err := keeper.NewEnvironment(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// counting counts what the keeper has to do.
type counting struct {
	key.Keeper
	unwraps atomic.Int64
}

func (c *counting) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	c.unwraps.Add(1)
	return c.Keeper.Unwrap(ctx, wrapped)
}

func newRecord(t testing.TB, k key.Keeper) *key.Record {
	t.Helper()
	rec, err := key.NewRecord(t.Context(), k, key.NewKey{Account: "123456789012", Region: "us-east-1", Manager: key.AWS}, now)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

var secretContext = key.SecretContext("arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-AbCdEf", "5a3c0b52-6d7f-4b6a-9d3e-0f5b8f3a2c11")

func TestNewRecord(t *testing.T) {
	k := newKeeper(t, 1)
	rec := newRecord(t, k)
	if rec.State != key.Enabled || len(rec.ID) != 36 || len(rec.Material) != 1 || len(rec.Material[0].ID) != 64 || !rec.CreatedAt.Equal(now.Truncate(time.Millisecond)) {
		t.Errorf("got %+v", rec)
	}
	if want := "arn:aws:kms:us-east-1:123456789012:key/" + rec.ID; rec.ARN() != want {
		t.Errorf("got %s, want %s", rec.ARN(), want)
	}
	own, err := key.NewRecord(t.Context(), k, key.NewKey{Account: "1", Region: "cn-north-1", Manager: key.Customer, Policy: "{}"}, now)
	if err != nil || own.Policy != "{}" || own.ID == rec.ID || !strings.HasPrefix(own.ARN(), "arn:aws-cn:kms:") {
		t.Errorf("got %+v, %v", own, err)
	}
}

func TestPolicies(t *testing.T) {
	type document struct {
		Version, Id string
		Statement   []struct {
			Sid, Effect, Resource string
			Principal             struct{ AWS string }
			Action                any
			Condition             map[string]map[string]string
		}
	}
	read := func(text string) (d document) {
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := read(key.DefaultPolicy("us-gov-west-1", "123456789012"))
	if s := d.Statement[0]; d.Id != "key-default-1" || s.Principal.AWS != "arn:aws-us-gov:iam::123456789012:root" || s.Action != "kms:*" || s.Sid != "Enable IAM User Permissions" {
		t.Errorf("default policy: %+v", d)
	}
	d = read(key.ManagedPolicy("eu-west-1", "123456789012"))
	if d.Id != "auto-secretsmanager-1" || len(d.Statement) != 2 {
		t.Fatalf("managed policy: %+v", d)
	}
	use := d.Statement[0]
	if use.Principal.AWS != "*" || use.Condition["StringEquals"]["kms:ViaService"] != "secretsmanager.eu-west-1.amazonaws.com" || use.Condition["StringEquals"]["kms:CallerAccount"] != "123456789012" {
		t.Errorf("managed policy, use: %+v", use)
	}
	if got := d.Statement[1].Principal.AWS; got != "arn:aws:iam::123456789012:root" {
		t.Errorf("managed policy, metadata: principal %s", got)
	}
	if rec := newRecord(t, newKeeper(t, 1)); rec.Policy != key.ManagedPolicy("us-east-1", "123456789012") {
		t.Errorf("an AWS-managed key has the policy %s", rec.Policy)
	}
}

func TestSealOpen(t *testing.T) {
	ctx, k := t.Context(), newKeeper(t, 1)
	rec, ring := newRecord(t, k), key.NewRing(k, 0)
	for _, n := range []int{0, 1, 1024, 65536} {
		value := bytes.Repeat([]byte("canary"), n)[:n]
		sealed, err := ring.Seal(ctx, rec, secretContext, value)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && bytes.Contains(sealed, value[:min(n, 6)]) && n > 5 {
			t.Error("the sealed value shows the plain one")
		}
		// Another ring stands for a restart.
		got, err := key.NewRing(k, 0).Open(ctx, rec, secretContext, sealed)
		if err != nil || !bytes.Equal(got, value) {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
		if id, err := key.SealedKeyID(sealed); err != nil || id != rec.ID {
			t.Errorf("SealedKeyID = %s, %v; want %s", id, err, rec.ID)
		}
	}
}

// wantDecryption wants the one error that tells a client nothing.
func wantDecryption(t *testing.T, what string, err error) {
	t.Helper()
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Kind != fault.Decryption || e.Message != "" {
		t.Errorf("%s: got %v, want a decryption failure without text", what, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	ctx, k := t.Context(), newKeeper(t, 1)
	rec, ring := newRecord(t, k), key.NewRing(k, 0)
	sealed, err := ring.Seal(ctx, rec, secretContext, []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err := ring.Open(ctx, rec, secretContext, changed)
		wantDecryption(t, fmt.Sprintf("byte %d changed", i), err)
		_, err = ring.Open(ctx, rec, secretContext, sealed[:i])
		wantDecryption(t, fmt.Sprintf("cut at %d", i), err)
	}
	for _, ec := range []key.EncryptionContext{
		nil,
		key.SecretContext(secretContext[key.SecretARN], "other"),
		{key.SecretARN: secretContext[key.SecretARN]},
		{key.SecretARN: secretContext[key.SecretARN], key.SecretVersionID: secretContext[key.SecretVersionID], "more": ""},
	} {
		_, err = ring.Open(ctx, rec, ec, sealed)
		wantDecryption(t, fmt.Sprint(ec), err)
	}
	_, err = ring.Open(ctx, newRecord(t, k), secretContext, sealed)
	wantDecryption(t, "another key", err)
	thief := newRecord(t, k)
	thief.ID = rec.ID
	_, err = key.NewRing(k, 0).Open(ctx, thief, secretContext, sealed)
	wantDecryption(t, "material missing", err)
}

// Pairs must not be shifted between keys and values.
func TestContextIsUnambiguous(t *testing.T) {
	ctx, k := t.Context(), newKeeper(t, 1)
	rec, ring := newRecord(t, k), key.NewRing(k, 0)
	contexts := []key.EncryptionContext{
		nil, {"": ""}, {"a": "bc"}, {"ab": "c"}, {"a": "b", "c": ""}, {"a": "", "bc": ""}, {"a": "b", "c": "d"}, {"c": "d"},
		{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5", "f": "6"},
	}
	for i, sealing := range contexts {
		blob, err := ring.Encrypt(ctx, rec, sealing, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		for j, opening := range contexts {
			if _, err := ring.Decrypt(ctx, rec, opening, blob); (err == nil) != (i == j) {
				t.Errorf("sealed with %v, opened with %v: %v", sealing, opening, err)
			}
		}
	}
}

func TestGenerateDataKey(t *testing.T) {
	ctx, k := t.Context(), newKeeper(t, 1)
	rec, ring := newRecord(t, k), key.NewRing(k, 0)
	plain, blob, err := ring.GenerateDataKey(ctx, rec, nil, 1024)
	if err != nil || len(plain) != 1024 {
		t.Fatalf("got %d bytes, %v", len(plain), err)
	}
	if got, err := ring.Decrypt(ctx, rec, nil, blob); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("Decrypt gives another data key, %v", err)
	}
	if id, err := key.BlobKeyID(blob); err != nil || id != rec.ID {
		t.Errorf("BlobKeyID = %s, %v", id, err)
	}
	if id, err := key.BlobMaterialID(blob); err != nil || id != rec.Material[0].ID {
		t.Errorf("BlobMaterialID = %s, %v", id, err)
	}
	other, _, err := ring.GenerateDataKey(ctx, rec, nil, 1024)
	if err != nil || bytes.Equal(other, plain) {
		t.Errorf("two data keys are the same, %v", err)
	}
}

func TestNewMaterialEncryptsAllDecrypt(t *testing.T) {
	ctx, k := t.Context(), newKeeper(t, 1)
	rec, ring := newRecord(t, k), key.NewRing(k, 0)
	var blobs [][]byte
	for i := range 3 {
		blob, err := ring.Encrypt(ctx, rec, nil, []byte{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, blob)
		m, err := key.NewMaterial(ctx, k, now)
		if err != nil {
			t.Fatal(err)
		}
		rec.Material = append(rec.Material, m)
	}
	for i, blob := range blobs {
		if id, _ := key.BlobMaterialID(blob); id != rec.Material[i].ID {
			t.Errorf("blob %d is under material %s, want %s", i, id, rec.Material[i].ID)
		}
		if got, err := ring.Decrypt(ctx, rec, nil, blob); err != nil || !bytes.Equal(got, []byte{byte(i)}) {
			t.Errorf("blob %d: got %v, %v", i, got, err)
		}
	}
}

func TestStates(t *testing.T) {
	ctx, k := t.Context(), newKeeper(t, 1)
	rec, ring := newRecord(t, k), key.NewRing(k, 0)
	sealed, err := ring.Seal(ctx, rec, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		state key.State
		kind  fault.Kind
		text  string
	}{
		{key.Disabled, key.KeyDisabled, rec.ARN() + " is disabled."},
		{key.PendingDeletion, key.KeyState, rec.ARN() + " is pending deletion."},
		{"", key.KeyState, rec.ARN() + " is in state ."},
	} {
		rec.State = tc.state
		_, sealErr := ring.Seal(ctx, rec, nil, nil)
		_, openErr := ring.Open(ctx, rec, nil, sealed)
		for _, err := range []error{sealErr, openErr} {
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Kind != tc.kind || e.Message != tc.text {
				t.Errorf("%s: got %v, want %s %q", tc.state, err, tc.kind, tc.text)
			}
		}
	}
	rec.State = key.Enabled
	if _, err := ring.Open(ctx, rec, nil, sealed); err != nil {
		t.Errorf("enabled again: %v", err)
	}
}

func TestWrongRootKey(t *testing.T) {
	k := newKeeper(t, 1)
	rec := newRecord(t, k)
	_, err := key.NewRing(newKeeper(t, 2), 0).Encrypt(t.Context(), rec, nil, nil)
	if !errors.Is(err, key.ErrWrongRootKey) || !fault.Is(err, fault.Internal) {
		t.Errorf("got %v, want an internal fault about the root key", err)
	}
	sealer, err := key.NewSealerKey(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	rec.Material[0].Wrapped = sealer
	if _, err := key.NewRing(k, 0).Encrypt(t.Context(), rec, nil, nil); !fault.Is(err, fault.Internal) {
		t.Errorf("a sealer's key as material: got %v", err)
	}
	rec.Material = nil
	if _, err := key.NewRing(k, 0).Encrypt(t.Context(), rec, nil, nil); !fault.Is(err, fault.Internal) {
		t.Errorf("no material: got %v", err)
	}
}

func TestRingUnwrapsOnceAndEvicts(t *testing.T) {
	ctx := t.Context()
	k := &counting{Keeper: newKeeper(t, 1)}
	ring := key.NewRing(k, 2)
	recs := []*key.Record{newRecord(t, k), newRecord(t, k), newRecord(t, k)}
	use := func(rec *key.Record, want int64) {
		t.Helper()
		if _, err := ring.Encrypt(ctx, rec, nil, nil); err != nil {
			t.Fatal(err)
		}
		if got := k.unwraps.Load(); got != want {
			t.Errorf("got %d unwraps, want %d", got, want)
		}
	}
	use(recs[0], 1)
	use(recs[1], 2)
	use(recs[0], 2)
	use(recs[2], 3) // recs[1] goes
	use(recs[0], 3)
	use(recs[1], 4)
	ring.Forget(recs[1].ID)
	use(recs[1], 5)
	ring.Clear()
	use(recs[1], 6)
}

func TestRingConcurrently(t *testing.T) {
	ctx := t.Context()
	k := &counting{Keeper: newKeeper(t, 1)}
	ring := key.NewRing(k, 4)
	rec := newRecord(t, k)
	sealed, err := key.NewRing(k.Keeper, 0).Seal(ctx, rec, nil, []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			if got, err := ring.Open(ctx, rec, nil, sealed); err != nil || string(got) != "value" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	group.Wait()
	if got := k.unwraps.Load(); got != 1 {
		t.Errorf("got %d unwraps of one key, want 1", got)
	}
	others := []*key.Record{newRecord(t, k), newRecord(t, k), newRecord(t, k), newRecord(t, k), newRecord(t, k), newRecord(t, k)}
	for i := range 8 {
		group.Go(func() {
			for j := range 50 {
				if _, err := ring.Encrypt(ctx, others[(i+j)%len(others)], nil, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// blocking is a keeper that answers only when its caller gives up.
type blocking struct{ key.Keeper }

func (blocking) Unwrap(ctx context.Context, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestRingHonoursContext(t *testing.T) {
	rec := newRecord(t, newKeeper(t, 1))
	ring := key.NewRing(blocking{newKeeper(t, 1)}, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if _, err := ring.Encrypt(ctx, rec, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the deadline", err)
			}
		})
	}
	group.Wait()
}

func TestSealer(t *testing.T) {
	ctx, k := t.Context(), newKeeper(t, 1)
	wrapped, err := key.NewSealerKey(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	open := func() *key.Sealer {
		s, err := key.NewSealer(ctx, k, wrapped)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	sealed := open().Seal("session", []byte("payload"))
	if len(sealed) != len("payload")+29 {
		t.Errorf("got %d bytes, want %d", len(sealed), len("payload")+29)
	}
	if got, err := open().Open("session", sealed); err != nil || string(got) != "payload" {
		t.Errorf("got %q, %v", got, err)
	}
	_, err = open().Open("rotation", sealed)
	wantDecryption(t, "another purpose", err)
	for i := range sealed {
		changed := slices.Clone(sealed)
		changed[i] ^= 1
		_, err = open().Open("session", changed)
		wantDecryption(t, fmt.Sprintf("byte %d changed", i), err)
		_, err = open().Open("session", sealed[:i])
		wantDecryption(t, fmt.Sprintf("cut at %d", i), err)
	}
	otherKey, err := key.NewSealerKey(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	other, err := key.NewSealer(ctx, k, otherKey)
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Open("session", sealed)
	wantDecryption(t, "another sealer", err)
	if _, err = key.NewSealer(ctx, newKeeper(t, 2), wrapped); !errors.Is(err, key.ErrWrongRootKey) {
		t.Errorf("got %v, want %v", err, key.ErrWrongRootKey)
	}
	if _, err = key.NewSealer(ctx, k, newRecord(t, k).Material[0].Wrapped); !fault.Is(err, fault.Internal) {
		t.Errorf("key material as a sealer's key: got %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	k := newKeeper(f, 1)
	rec, ring := newRecord(f, k), key.NewRing(k, 0)
	sealed, err := ring.Seal(f.Context(), rec, secretContext, []byte("value"))
	if err != nil {
		f.Fatal(err)
	}
	wrapped, err := key.NewSealerKey(f.Context(), k)
	if err != nil {
		f.Fatal(err)
	}
	sealer, err := key.NewSealer(f.Context(), k, wrapped)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[3:])
	f.Add([]byte{1, 36})
	f.Add([]byte{2, 255, 255})
	f.Add(sealer.Seal("x", []byte("y")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Equal(b, sealed) {
			return
		}
		if _, err := ring.Open(t.Context(), rec, secretContext, b); !fault.Is(err, fault.Decryption) {
			t.Errorf("Open(%x) = %v", b, err)
		}
		if id, err := key.BlobKeyID(b); err == nil && (id == "" || len(id) > len(b)) {
			t.Errorf("BlobKeyID(%x) = %q", b, id)
		}
		if _, err := ring.Decrypt(t.Context(), rec, nil, b); !fault.Is(err, fault.Decryption) {
			t.Errorf("Decrypt(%x) = %v", b, err)
		}
		if _, err := sealer.Open("z", b); !fault.Is(err, fault.Decryption) {
			t.Errorf("Sealer.Open(%x) = %v", b, err)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	k := newKeeper(b, 1)
	rec, ring := newRecord(b, k), key.NewRing(k, 0)
	sealed, err := ring.Seal(b.Context(), rec, secretContext, make([]byte, 1024))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		if _, err := ring.Open(b.Context(), rec, secretContext, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	k := newKeeper(b, 1)
	rec, ring := newRecord(b, k), key.NewRing(k, 0)
	value := make([]byte, 1024)
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		if _, err := ring.Seal(b.Context(), rec, secretContext, value); err != nil {
			b.Fatal(err)
		}
	}
}
