package storetest

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// current reads the current version of a secret.
func current(name string) func(tx *store.Tx) (*secret.Secret, error) {
	return func(tx *store.Tx) (*secret.Secret, error) {
		return tx.ReadVersion(account, region, arn.SecretRef{Name: name}, "", secret.Current)
	}
}

func keyOf(id string) func(tx *store.Tx) (*key.Record, error) {
	return func(tx *store.Tx) (*key.Record, error) { return tx.Key(account, region, id) }
}

func grantOn(keyID, id string) *key.Grant {
	return &key.Grant{Account: account, Region: region, KeyID: keyID, ID: id, Grantee: "someone", Operations: []string{"Decrypt"}, CreatedAt: noon0}
}

func grantsOn(keyID string) func(tx *store.Tx) ([]*key.Grant, error) {
	return func(tx *store.Tx) ([]*key.Grant, error) { return tx.Grants(account, region, keyID, "someone", "", 10) }
}

// testRecall looks that what was read once takes no statement the next time,
// and that everything else does.
func testRecall(t *testing.T, open OpenFaulty) {
	var d Driver
	s := open(t, &d)
	Follow(t, s)
	save(t, s, nil, newSecret("x"))
	update(t, s, func(tx *store.Tx) error { return errors.Join(tx.SaveKey(fullKey("k")), tx.SetMeta("m", "v")) })
	both := func(tx *store.Tx) (string, error) {
		x, err := current("x")(tx)
		k, err2 := keyOf("k")(tx)
		if err = errors.Join(err, err2); err != nil {
			return "", err
		}
		return x.Name + string(x.Versions[0].Sealed) + k.ID, nil
	}
	const want = "xsealed v1k"
	statements := func(fn func()) (n int) {
		before := map[string]int{}
		for _, q := range d.Statements() {
			before[q] = d.Runs(q)
		}
		fn()
		for _, q := range d.Statements() {
			if isRead(q) {
				n += d.Runs(q) - before[q]
			}
		}
		return n
	}
	read := func() {
		if got := recall(t, s, both); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	Eventually(t, "both are in memory", func() bool { return statements(read) == 0 })
	withMeta := func() {
		got := recall(t, s, func(tx *store.Tx) (string, error) {
			first, err := both(tx)
			meta, err2 := tx.Meta("m")
			return first + meta, errors.Join(err, err2)
		})
		if got != want+"v" {
			t.Errorf("got %q, want %q", got, want+"v")
		}
	}
	if n := statements(withMeta); n < 2 {
		t.Errorf("%d statements, want all to come from one snapshot", n)
	}
	if n := statements(func() { view(t, s, func(tx *store.Tx) error { _, err := both(tx); return err }) }); n < 2 {
		t.Errorf("a view ran %d statements, want that it asks the database", n)
	}
	after := func(tx *store.Tx) error {
		tx.Touch("anything")
		_, err := both(tx)
		return err
	}
	if n := statements(func() { update(t, s, after) }); n < 2 {
		t.Errorf("an update that changed something ran %d statements, want that it asks the database", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.Read(t.Context(), func(tx *store.Tx) error { _, err := both(tx); return err }), fault.Unavailable)
}

// isRead reports whether a statement reads records.
func isRead(query string) bool {
	return len(query) > 8 && query[:8] == "SELECT s" || len(query) > 8 && query[:8] == "SELECT k"
}

// testReadChanges makes every kind of change to what Read remembers and
// looks that the next Read has it.
func testReadChanges(t *testing.T, open Open) {
	s := open(t)
	Follow(t, s)
	x := newSecret("x")
	save(t, s, nil, x)
	update(t, s, func(tx *store.Tx) error { return tx.SaveKey(fullKey("k")) })
	change := func(fn func(after *secret.Secret)) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			before, err := tx.SecretByID(x.ID)
			if err != nil {
				return err
			}
			after := before.Clone()
			fn(after)
			return tx.SaveSecret(before, after)
		}
	}
	for _, tc := range []struct {
		name   string
		change func(tx *store.Tx) error
	}{
		{"nothing", func(*store.Tx) error { return nil }},
		{"description", change(func(s *secret.Secret) { s.Description = "new" })},
		{"policy", change(func(s *secret.Secret) { s.Policy = "{}" })},
		{"version", change(func(s *secret.Secret) {
			s.Versions[0].Labels = []string{secret.Previous}
			s.Versions = append(s.Versions, version("v2", secret.Current))
		})},
		{"value", change(func(s *secret.Secret) { s.Versions[1].Sealed = []byte("sealed anew") })},
		{"replicas", change(func(s *secret.Secret) {
			s.PrimaryRegion, s.Replicas = region, []secret.Replica{{Region: "eu-west-1", Status: secret.InSync}}
		})},
		{"read", func(tx *store.Tx) error { return tx.TouchSecret(x.ID, "v2", day0) }},
		{"deletion", change(func(s *secret.Secret) { s.DeleteAt = noon0 })},
		{"key state", func(tx *store.Tx) error {
			k := fullKey("k")
			k.State = key.Disabled
			return tx.SaveKey(k)
		}},
		{"grant", func(tx *store.Tx) error { return tx.SaveGrant(grantOn("k", "g1")) }},
		{"another grant", func(tx *store.Tx) error { return tx.SaveGrant(grantOn("k", "g2")) }},
		{"a grant less", func(tx *store.Tx) error { return tx.DeleteGrant(account, region, "k", "g1") }},
	} {
		recall(t, s, current("x"))
		recall(t, s, keyOf("k"))
		recall(t, s, grantsOn("k"))
		update(t, s, tc.change)
		if diff := cmp.Diff(read(t, s, current("x")), recall(t, s, current("x"))); diff != "" {
			t.Errorf("%s: the secret from memory (-want +got):\n%s", tc.name, diff)
		}
		if diff := cmp.Diff(read(t, s, keyOf("k")), recall(t, s, keyOf("k"))); diff != "" {
			t.Errorf("%s: the key from memory (-want +got):\n%s", tc.name, diff)
		}
		if diff := cmp.Diff(read(t, s, grantsOn("k")), recall(t, s, grantsOn("k"))); diff != "" {
			t.Errorf("%s: the grants from memory (-want +got):\n%s", tc.name, diff)
		}
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteSecret(x.ID) })
	wantKind(t, s.Read(t.Context(), func(tx *store.Tx) error { _, err := current("x")(tx); return err }), fault.NotFound)
	save(t, s, nil, newSecret("x"))
	if got := recall(t, s, current("x")); got.Description != "" {
		t.Errorf("got the description %q of the secret that had the name before", got.Description)
	}
}

// testReadRace changes a secret and a key together while others read both:
// they see both changes or none, and what was acknowledged before they began.
func testReadRace(t *testing.T, open Open) {
	s := open(t)
	Follow(t, s)
	save(t, s, nil, newSecret("x"))
	update(t, s, func(tx *store.Tx) error { return tx.SaveKey(fullKey("k")) })
	set := func(n int64) {
		update(t, s, func(tx *store.Tx) error {
			before, err := tx.SecretByID("id-x")
			if err != nil {
				return err
			}
			after, k := before.Clone(), fullKey("k")
			after.Description = strconv.FormatInt(n, 10)
			k.Description = after.Description
			return errors.Join(tx.SaveSecret(before, after), tx.SaveKey(k))
		})
	}
	set(0)
	var acknowledged, reads atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				want := acknowledged.Load()
				var x *secret.Secret
				var k *key.Record
				err := s.Read(t.Context(), func(tx *store.Tx) (err error) {
					if x, err = current("x")(tx); err == nil {
						k, err = keyOf("k")(tx)
					}
					return err
				})
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				got, _ := strconv.ParseInt(x.Description, 10, 64)
				if got < want || x.Description != k.Description {
					t.Errorf("got secret %s and key %s, want the same and at least %d", x.Description, k.Description, want)
					return
				}
				reads.Add(1)
			}
		})
	}
	for n := int64(1); n <= 100; n++ {
		set(n)
		acknowledged.Store(n)
		time.Sleep(time.Millisecond)
	}
	stop.Store(true)
	wg.Wait()
	if reads.Load() < 100 {
		t.Errorf("%d reads only", reads.Load())
	}
}
