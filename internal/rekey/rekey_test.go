package rekey_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/rekey"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

const (
	account = "123456789012"
	region  = "us-east-1"
)

func newKeeper(t testing.TB, seed byte) key.Keeper {
	t.Helper()
	k, err := keeper.NewEnvironment(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// bench is a store full of keys that one root key wrapped, and another that
// is to replace it.
type bench struct {
	t        testing.TB
	store    *store.Store
	old, new key.Keeper
	// blobs are ciphertexts under each key.
	blobs map[string][]byte
}

func newBench(t testing.TB, keys int) *bench {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return fill(t, s, keys)
}

// fill puts keys into an empty store.
func fill(t testing.TB, s *store.Store, keys int) *bench {
	t.Helper()
	t.Cleanup(func() { s.Close() })
	b := &bench{t, s, newKeeper(t, 1), newKeeper(t, 2), map[string][]byte{}}
	sealer, err := key.NewSealerKey(t.Context(), b.old)
	if err != nil {
		t.Fatal(err)
	}
	b.update(func(tx *store.Tx) error {
		for range keys {
			if err := tx.SaveKey(b.newKey(b.old)); err != nil {
				return err
			}
		}
		return tx.SetSealerKey(sealer)
	})
	return b
}

func (b *bench) update(fn func(*store.Tx) error) {
	b.t.Helper()
	if err := b.store.Update(b.t.Context(), fn); err != nil {
		b.t.Fatal(err)
	}
}

// newKey makes a key with two generations of material, under which something
// is encrypted.
func (b *bench) newKey(k key.Keeper) *key.Record {
	b.t.Helper()
	rec, err := key.NewRecord(b.t.Context(), k, key.NewKey{Account: account, Region: region, Manager: key.Customer}, time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	if b.blobs[rec.ID], err = key.NewRing(k, 0).Encrypt(b.t.Context(), rec, nil, []byte(rec.ID)); err != nil {
		b.t.Fatal(err)
	}
	m, err := key.NewMaterial(b.t.Context(), k, time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	rec.Material = append(rec.Material, m)
	return rec
}

// opened counts the keys under which the keeper opens what was encrypted.
func (b *bench) opened(k key.Keeper) (n int) {
	b.t.Helper()
	ring := key.NewRing(k, 0)
	err := b.store.View(b.t.Context(), func(tx *store.Tx) error {
		n = 0
		for id, blob := range b.blobs {
			rec, err := tx.Key(account, region, id)
			if err != nil {
				return err
			}
			if plain, err := ring.Decrypt(b.t.Context(), rec, nil, blob); err == nil && string(plain) == id {
				n++
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *bench) opensSealer(k key.Keeper) bool {
	b.t.Helper()
	var wrapped []byte
	if err := b.store.View(b.t.Context(), func(tx *store.Tx) (err error) {
		wrapped, err = tx.SealerKey()
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	_, err := key.NewSealer(b.t.Context(), k, wrapped)
	return err == nil
}

func (b *bench) rekeyer(node string, first key.Keeper, others ...key.Keeper) *rekey.Rekeyer {
	return rekey.New(rekey.Config{
		Store: b.store, Keepers: keeper.NewSet(first, others...), Node: node, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
}

func (b *bench) start(r *rekey.Rekeyer) *rekey.Progress {
	b.t.Helper()
	var p *rekey.Progress
	b.update(func(tx *store.Tx) (err error) {
		p, err = r.Start(tx, time.Now())
		return err
	})
	return p
}

func (b *bench) status(r *rekey.Rekeyer) *rekey.Status {
	b.t.Helper()
	var s *rekey.Status
	if err := b.store.View(b.t.Context(), func(tx *store.Tx) (err error) {
		s, err = r.Status(tx)
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// run runs rekeyers until stop is called.
func (b *bench) run(list ...*rekey.Rekeyer) (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error)
	for _, r := range list {
		go func() { done <- r.Run(ctx) }()
	}
	return func() {
		b.t.Helper()
		cancel()
		for range list {
			if err := <-done; err != nil {
				b.t.Error(err)
			}
		}
	}
}

// await waits for the rekey's end.
func (b *bench) await(r *rekey.Rekeyer) *rekey.Progress {
	b.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		s := b.status(r)
		if s.Last.State == rekey.Done {
			return s.Last
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the rekey does not end: %+v", s.Last)
		}
	}
}

func TestRekey(t *testing.T) {
	const keys = 120 // several transactions
	b := newBench(t, keys)
	b.update(func(tx *store.Tx) error { return tx.SaveKey(b.newKey(b.new)) })
	r := b.rekeyer("node", b.new, b.old)
	if got := b.status(r); got.Last != nil || !slices.Equal(got.Remaining, []rekey.Remaining{{b.old.ID(), 2*keys + 1}}) || got.RootKeyID != b.new.ID() {
		t.Errorf("before: got %+v", got)
	}
	stop := b.run(r)
	defer stop()
	if p := b.start(r); p.State != rekey.Running {
		t.Errorf("got %+v", p)
	}
	p := b.await(r)
	if p.Rewrapped != 2*keys+1 || p.Failing != 0 || p.Error != "" || p.FinishedAt.Before(p.StartedAt) || p.RootKeyID != b.new.ID() {
		t.Errorf("got %+v", p)
	}
	if got := b.opened(b.new); got != keys+1 || !b.opensSealer(b.new) {
		t.Errorf("the new root key opens %d keys, want %d, and the sealer's: %v", got, keys+1, b.opensSealer(b.new))
	}
	if got := b.opened(b.old); got != 0 || b.opensSealer(b.old) {
		t.Errorf("the old root key opens %d keys, and the sealer's: %v", got, b.opensSealer(b.old))
	}
	if again := b.start(r); again.State != rekey.Done || again.Rewrapped != 0 || again.ID == p.ID {
		t.Errorf("with nothing to do: got %+v", again)
	}
}

// limited opens and wraps only so often, then never answers well again; or
// rather stops the test's node, as a crash would.
type limited struct {
	key.Keeper
	left atomic.Int64
	stop func()
}

func (l *limited) Wrap(ctx context.Context, plain []byte) ([]byte, error) {
	if l.left.Add(-1) < 0 {
		l.stop()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return l.Keeper.Wrap(ctx, plain)
}

// Whenever a node is lost, another one goes on when the lease ends, and the
// same node at once.
func TestResume(t *testing.T) {
	for _, sameNode := range []bool{true, false} {
		t.Run(fmt.Sprintf("same node %v", sameNode), func(t *testing.T) {
			const keys = 80
			b := newBench(t, keys)
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				broken := &limited{Keeper: b.new, stop: cancel}
				broken.left.Store(130) // two batches, and a part of the third
				first := b.rekeyer("node 1", broken, b.old)
				b.start(first)
				if err := first.Run(ctx); err != nil {
					t.Error(err)
				}
				p := b.status(first).Last
				if p.State != rekey.Running || p.Rewrapped != 100 {
					t.Fatalf("lost in the middle: got %+v", p)
				}
				node, began := "node 2", time.Now()
				if sameNode {
					node = "node 1"
				}
				second := b.rekeyer(node, b.new, b.old)
				stop := b.run(second)
				p = b.await(second)
				stop()
				if p.Rewrapped != 2*keys+1 {
					t.Errorf("got %d rewrapped, want %d", p.Rewrapped, 2*keys+1)
				}
				if waited := time.Since(began) >= 30*time.Second; waited == sameNode {
					t.Errorf("%s went on after %v", node, time.Since(began))
				}
			})
			if b.opened(b.new) != keys || b.opened(b.old) != 0 {
				t.Errorf("the new root key opens %d of %d keys, the old one %d", b.opened(b.new), keys, b.opened(b.old))
			}
		})
	}
}

// What does not open is tried again, does not hold up the rest, and keeps the
// rekey from being done; the sealer's key waits for it.
func TestDamaged(t *testing.T) {
	b := newBench(t, 60)
	bad := b.newKey(b.old)
	good := bytes.Clone(bad.Material[0].Wrapped)
	bad.Material[0].Wrapped[30] ^= 1
	b.update(func(tx *store.Tx) error { return tx.SaveKey(bad) })
	synctest.Test(t, func(t *testing.T) {
		r := b.rekeyer("node", b.new, b.old)
		b.start(r)
		stop := b.run(r)
		defer stop()
		time.Sleep(10 * time.Second)
		s := b.status(r)
		if p := s.Last; p.State != rekey.Running || p.Failing != 1 || !strings.Contains(p.Error, "a wrapped key is damaged") || p.Rewrapped != 121 {
			t.Errorf("got %+v", p)
		}
		if !slices.Equal(s.Remaining, []rekey.Remaining{{b.old.ID(), 2}}) || b.opensSealer(b.new) {
			t.Errorf("got %v remaining, sealer re-wrapped %v", s.Remaining, b.opensSealer(b.new))
		}
		bad.Material[0].Wrapped = good
		b.update(func(tx *store.Tx) error { return tx.SaveKey(bad) })
		if p := b.await(r); p.Error != "" || p.Failing != 0 {
			t.Errorf("got %+v", p)
		}
	})
	if got := b.opened(b.new); got != 61 {
		t.Errorf("the new root key opens %d keys, want 61", got)
	}
}

// silent does not answer.
type silent struct{ key.Keeper }

func (silent) Wrap(context.Context, []byte) ([]byte, error) { return nil, errors.New("no answer") }

// A keeper that does not answer is not asked for every key.
func TestSilentKeeper(t *testing.T) {
	b := newBench(t, 20)
	synctest.Test(t, func(t *testing.T) {
		r := b.rekeyer("node", silent{b.new}, b.old)
		b.start(r)
		stop := b.run(r)
		defer stop()
		time.Sleep(time.Second)
		if p := b.status(r).Last; p.State != rekey.Running || p.Rewrapped != 0 || p.Failing != 3 || !strings.Contains(p.Error, "no answer") {
			t.Errorf("got %+v", p)
		}
	})
	if got := b.opened(b.old); got != 20 {
		t.Errorf("the old root key opens %d keys, want all 20", got)
	}
}

// lying gives back other bytes than it wrapped.
type lying struct{ key.Keeper }

func (l lying) Wrap(ctx context.Context, plain []byte) ([]byte, error) {
	return l.Keeper.Wrap(ctx, append(bytes.Clone(plain), 0))
}

// Nothing is given up for what a new root key cannot give back.
func TestLyingKeeper(t *testing.T) {
	b := newBench(t, 2)
	synctest.Test(t, func(t *testing.T) {
		r := b.rekeyer("node", lying{b.new}, b.old)
		b.start(r)
		stop := b.run(r)
		defer stop()
		time.Sleep(time.Second)
		if p := b.status(r).Last; p.Rewrapped != 0 || !strings.Contains(p.Error, "does not give back") {
			t.Errorf("got %+v", p)
		}
	})
	if b.opened(b.old) != 2 {
		t.Error("keys were lost")
	}
}

// Two nodes share the work without doing anything twice, and a key that a
// node wraps with the old root key meanwhile, or afterwards, is not left.
func TestTwoNodes(t *testing.T) {
	const keys = 100
	b := newBench(t, keys)
	synctest.Test(t, func(t *testing.T) {
		one, two := b.rekeyer("node 1", b.new, b.old), b.rekeyer("node 2", b.new, b.old)
		stop := b.run(one, two)
		defer stop()
		b.start(one)
		if p := b.start(two); p.ID == "" {
			t.Errorf("got %+v", p)
		}
		p := b.await(two)
		if p.Rewrapped != 2*keys+1 {
			t.Errorf("got %d rewrapped, want %d", p.Rewrapped, 2*keys+1)
		}
		b.update(func(tx *store.Tx) error { return tx.SaveKey(b.newKey(b.old)) })
		time.Sleep(time.Minute)
		if p := b.await(one); p.Rewrapped != 2*keys+3 {
			t.Errorf("got %d rewrapped, want %d", p.Rewrapped, 2*keys+3)
		}
	})
	if got := b.opened(b.new); got != keys+1 {
		t.Errorf("the new root key opens %d keys, want %d", got, keys+1)
	}
}

// On PostgreSQL several processes have the same store: both nodes work, and a
// third one goes on making keys.
func TestPostgres(t *testing.T) {
	const keys = 60
	url := apitest.StoreURL(t)
	open := func() *store.Store {
		s, err := postgres.Open(t.Context(), postgres.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	b := fill(t, open(), keys)
	second := *b
	second.store = open()
	defer second.store.Close()
	one, two := b.rekeyer("node 1", b.new, b.old), second.rekeyer("node 2", b.new, b.old)
	stop := b.run(one, two)
	defer stop()
	b.start(two)
	for range 20 {
		b.update(func(tx *store.Tx) error { return tx.SaveKey(b.newKey(b.new)) })
	}
	if p := b.await(one); p.Rewrapped != 2*keys+1 || p.Error != "" {
		t.Errorf("got %+v", p)
	}
	if b.opened(b.new) != keys+20 || b.opened(b.old) != 0 || !b.opensSealer(b.new) {
		t.Errorf("the new root key opens %d keys, the old one %d", b.opened(b.new), b.opened(b.old))
	}
}

// A node with the roles of the keys exchanged leaves the rekey alone.
func TestOtherTarget(t *testing.T) {
	b := newBench(t, 2)
	synctest.Test(t, func(t *testing.T) {
		r, other := b.rekeyer("node 1", b.new, b.old), b.rekeyer("node 2", b.old, b.new)
		b.start(r)
		stop := b.run(other)
		defer stop()
		time.Sleep(5 * time.Minute)
		if p := b.status(r).Last; p.State != rekey.Running || p.Rewrapped != 0 {
			t.Errorf("got %+v", p)
		}
	})
}

func TestCheck(t *testing.T) {
	b := newBench(t, 2)
	for _, tc := range []struct {
		name string
		set  *keeper.Set
		want string
	}{
		{"the old one", keeper.NewSet(b.old), ""},
		{"both", keeper.NewSet(b.new, b.old), ""},
		{"the new one", keeper.NewSet(b.new), "that the root key " + b.old.ID() + " wrapped, but the root key given is " + b.new.ID()},
	} {
		err := rekey.Check(t.Context(), b.store, tc.set)
		if (err == nil) != (tc.want == "") || err != nil && !(strings.Contains(err.Error(), tc.want) && strings.Contains(err.Error(), "--old-root-key")) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}
