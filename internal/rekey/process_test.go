package rekey_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/admin"
	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// site is a data folder with many keys, on which a process runs.
type site struct {
	*apitest.Process
	t        testing.TB
	old, new string // root key files
	blob     []byte // encrypted under a KMS key
}

const (
	manyKeys = 3000
	value    = "as it was before the root key changed"
)

// newSite starts a server, uses it, and adds many keys to what it stores.
func newSite(t testing.TB) *site {
	t.Helper()
	apitest.Binary(t)
	s := &site{Process: apitest.StartProcess(t, apitest.Options{}), t: t}
	s.old, s.new = filepath.Join(s.Dir, "root.key"), filepath.Join(s.Dir, "new.key")
	ctx := t.Context()
	if _, err := s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("app"), SecretString: aws.String(value)}); err != nil {
		t.Fatal(err)
	}
	c := kms.NewFromConfig(s.Config)
	k, err := c.CreateKey(ctx, &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: k.KeyMetadata.KeyId, Plaintext: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	s.blob = out.CiphertextBlob
	s.Stop()
	s.addKeys(manyKeys)
	return s
}

// addKeys adds keys to the store of a server that does not run.
func (s *site) addKeys(n int) {
	s.t.Helper()
	k, err := keeper.OpenFile(s.old, false)
	if err != nil {
		s.t.Fatal(err)
	}
	var list []*key.Record
	for range n {
		rec, err := key.NewRecord(s.t.Context(), k, key.NewKey{Account: apitest.Account, Region: apitest.Region, Manager: key.Customer}, time.Now())
		if err != nil {
			s.t.Fatal(err)
		}
		list = append(list, rec)
	}
	s.inStore(func(st *store.Store) error {
		return st.Update(s.t.Context(), func(tx *store.Tx) error {
			for _, rec := range list {
				if err := tx.SaveKey(rec); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// inStore opens the store of a server that does not run.
func (s *site) inStore(fn func(*store.Store) error) {
	s.t.Helper()
	st, err := sqlite.Open(s.t.Context(), sqlite.Config{Dir: s.Dir})
	if err == nil {
		err = errors.Join(fn(st), st.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// wrapped counts what each root key wraps in the store of a server that does
// not run.
func (s *site) wrapped() map[string]int {
	s.t.Helper()
	counts := map[string]int{}
	s.inStore(func(st *store.Store) error {
		return st.View(s.t.Context(), func(tx *store.Tx) error {
			ids, err := tx.RootKeyIDs()
			for _, id := range ids {
				if err == nil {
					counts[id], err = tx.CountMaterial(id)
				}
			}
			return err
		})
	})
	return counts
}

func (s *site) operator() *admin.Client {
	s.t.Helper()
	c, err := admin.New(s.Config)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// use reads what was stored before.
func (s *site) use(ctx context.Context) error {
	got, err := s.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("app")})
	if err != nil || *got.SecretString != value {
		return fmt.Errorf("reading the secret: %w", errors.Join(err))
	}
	plain, err := kms.NewFromConfig(s.Config).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: s.blob})
	if err != nil || string(plain.Plaintext) != value {
		return fmt.Errorf("decrypting: %w", errors.Join(err))
	}
	return nil
}

// A rekey that is killed over and over, by SIGKILL in the middle of its work,
// ends all the same, and the old root key then opens nothing.
func TestKilled(t *testing.T) {
	s := newSite(t)
	s.Args = []string{"--root-key", "file://" + s.new}
	if said := s.Refuse(); !strings.Contains(said, "new.key is missing") {
		t.Errorf("a new root key without the old one: got %s", said)
	}
	if _, err := os.Stat(s.new); err == nil {
		t.Error("a root key that opens nothing was made")
	}
	s.Args = append(s.Args, "--old-root-key", "file://"+s.old)
	s.Restart()
	if _, err := s.operator().StartRekey(t.Context()); err != nil {
		t.Fatal(err)
	}
	middles := 0
	for i := range 5 {
		s.Kill()
		left := s.wrapped()
		if len(left) == 2 && left[s.id(s.new)] > 0 && left[s.id(s.old)] > 0 {
			middles++
		}
		t.Logf("killed with %v", left)
		s.Restart()
		time.Sleep(time.Duration(i) * 80 * time.Millisecond)
	}
	if middles == 0 {
		t.Error("no kill hit the middle of the work")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		status, err := s.operator().DescribeRekey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if status.Rekey.Done() {
			if len(status.Remaining) != 0 || status.Rekey.RewrappedCount < manyKeys {
				t.Errorf("done with %+v", status)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the rekey does not end: %+v", status)
		}
	}
	if err := s.use(t.Context()); err != nil {
		t.Error(err)
	}
	s.Stop()
	if left := s.wrapped(); len(left) != 1 || left[s.id(s.new)] < manyKeys {
		t.Errorf("afterwards: %v", left)
	}
	s.Args = nil
	if said := s.Refuse(); !strings.Contains(said, "the store holds keys that the root key "+s.id(s.new)+" wrapped, but the root key given is "+s.id(s.old)) {
		t.Errorf("the old root key alone: got %s", said)
	}
	s.Args = []string{"--root-key", "file://" + s.new}
	s.Restart()
	if err := s.use(t.Context()); err != nil {
		t.Errorf("with the new root key alone: %v", err)
	}
}

// id is the ID of the root key in a file.
func (s *site) id(path string) string {
	s.t.Helper()
	k, err := keeper.OpenFile(path, false)
	if err != nil {
		s.t.Fatal(err)
	}
	return k.ID()
}

// Requests are answered all the while.
func TestServedMeanwhile(t *testing.T) {
	s := newSite(t)
	s.Args = []string{"--root-key", "file://" + s.new, "--old-root-key", "file://" + s.old}
	s.Restart()
	ctx, cancel := context.WithCancel(t.Context())
	var during atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for ctx.Err() == nil {
				if err := s.use(t.Context()); err != nil {
					t.Error(err)
					return
				}
				during.Add(1)
			}
		})
	}
	r, err := s.operator().StartRekey(t.Context())
	if err != nil || r.Done() {
		t.Fatalf("got %+v, %v", r, err)
	}
	before := during.Load()
	for !r.Done() {
		status, err := s.operator().DescribeRekey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r = status.Rekey
	}
	served := during.Load() - before
	cancel()
	group.Wait()
	t.Logf("%d keys in %v, with %d pairs of reads served", r.RewrappedCount, r.CompletedDate.Sub(r.StartedDate.Time), served)
	if served == 0 {
		t.Error("no read was served during the rekey")
	}
}

// The root key may be a key of AWS KMS: here of another Keyturn. What was
// wrapped by a file moves there and back.
func TestAWSKMS(t *testing.T) {
	other := apitest.Start(t, apitest.Options{})
	c := kms.NewFromConfig(other.Config)
	made, err := c.CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/root"), TargetKeyId: made.KeyMetadata.KeyId}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", apitest.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", apitest.SecretKey)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	cloud := "awskms:///alias/root?region=us-east-1&endpoint=" + other.URL
	k, err := keeper.Open(t.Context(), cloud, false)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := k.Wrap(t.Context(), []byte("material"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := k.Unwrap(t.Context(), wrapped); err != nil || !bytes.Equal(plain, []byte("material")) {
		t.Fatalf("got %q, %v", plain, err)
	}
	s := newBench(t, 30)
	there := s.rekeyer("node", k, s.old)
	stop := s.run(there)
	s.start(there)
	if p := s.await(there); p.Rewrapped != 61 {
		t.Errorf("got %+v", p)
	}
	stop()
	if s.opened(k) != 30 || s.opened(s.old) != 0 || !s.opensSealer(k) {
		t.Errorf("the cloud's key opens %d keys, the old one %d", s.opened(k), s.opened(s.old))
	}

	if _, err := c.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: made.KeyMetadata.KeyId}); err != nil {
		t.Fatal(err)
	}
	_, err = k.Unwrap(t.Context(), wrapped)
	for _, want := range []string{"the root key awskms:///alias/root: opening a wrapped key failed", "DisabledException", "kms:Decrypt"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a disabled key: got %v, want %q in it", err, want)
		}
	}
	if _, err := c.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: made.KeyMetadata.KeyId}); err != nil {
		t.Fatal(err)
	}
	back := s.rekeyer("node", s.new, k)
	stop = s.run(back)
	defer stop()
	s.start(back)
	s.await(back)
	if s.opened(s.new) != 30 || s.opened(k) != 0 {
		t.Errorf("back: the new root key opens %d keys, the cloud's %d", s.opened(s.new), s.opened(k))
	}
}
