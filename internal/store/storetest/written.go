package storetest

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// putNext gives the secret another current version, whose value and whose
// description are the number of the one before and one, and returns it.
func putNext(s *store.Store, t testing.TB, name string) (n int, err error) {
	err = s.Update(t.Context(), func(tx *store.Tx) error {
		before, err := tx.FindLabelled(account, region, arn.SecretRef{Name: name}, "no such version")
		if err != nil {
			return err
		}
		after := before.Clone()
		n, _ = strconv.Atoi(before.Description) // "" is 0
		n++
		after.Description = strconv.Itoa(n)
		for i := range after.Versions {
			switch v := &after.Versions[i]; {
			case v.Has(secret.Current):
				v.Labels = []string{secret.Previous}
			case v.Has(secret.Previous):
				v.Labels = nil
			}
		}
		v := version(fmt.Sprintf("%s-%d", name, n), secret.Current)
		v.Sealed = []byte(after.Description)
		after.Versions = append(after.Versions, v)
		return tx.SaveSecret(before, after)
	})
	return n, err
}

// testWritten looks that what an update left in memory is what the database
// has, whatever the next ones change.
func testWritten(t *testing.T, open Open) {
	s := open(t)
	Follow(t, s)
	save(t, s, nil, newSecret("x"))
	same := func(what string) {
		t.Helper()
		for _, ref := range []arn.SecretRef{{Name: "x"}, {ARN: newSecret("x").ARN()}} {
			find := func(tx *store.Tx) (*secret.Secret, error) {
				return tx.ReadVersion(account, region, ref, "", secret.Current)
			}
			if diff := cmp.Diff(read(t, s, find), recall(t, s, find)); diff != "" {
				t.Errorf("%s: from memory (-want +got):\n%s", what, diff)
			}
			labelled := func(tx *store.Tx) (*secret.Secret, error) { return tx.FindLabelled(account, region, ref, "x-1") }
			var got *secret.Secret
			update(t, s, func(tx *store.Tx) (err error) {
				got, err = labelled(tx)
				return err
			})
			withoutValue(got)
			if diff := cmp.Diff(read(t, s, labelled), got); diff != "" {
				t.Errorf("%s: in an update (-want +got):\n%s", what, diff)
			}
		}
	}
	for n := range 5 {
		if _, err := putNext(s, t, "x"); err != nil {
			t.Fatal(err)
		}
		same(fmt.Sprint("put ", n))
	}
	for what, change := range map[string]func(tx *store.Tx, before, after *secret.Secret) error{
		"then read": func(tx *store.Tx, before, after *secret.Secret) error {
			after.Policy = "{}"
			if err := tx.SaveSecret(before, after); err != nil {
				return err
			}
			return tx.TouchSecret(after.ID, "x-5", day0)
		},
		"a tag": func(tx *store.Tx, before, after *secret.Secret) error {
			after.Tags = []secret.Tag{{Key: "k", Value: "v"}}
			return tx.SaveSecret(before, after)
		},
		"replicas": func(tx *store.Tx, before, after *secret.Secret) error {
			after.PrimaryRegion, after.Replicas = region, []secret.Replica{{Region: "eu-west-1", Status: secret.InSync}}
			return tx.SaveSecret(before, after)
		},
	} {
		update(t, s, func(tx *store.Tx) error {
			before, err := tx.FindLabelled(account, region, arn.SecretRef{Name: "x"})
			if err != nil {
				return err
			}
			return change(tx, before, before.Clone())
		})
		same(what)
	}
}

// withoutValue takes the sealed values away, which FindLabelled need not load.
func withoutValue(s *secret.Secret) {
	for i := range s.Versions {
		s.Versions[i].Sealed = nil
	}
}

// testWrittenInTurn lets many callers write the same two secrets: each write
// builds on the one before, and who wrote reads nothing older.
func testWrittenInTurn(t *testing.T, open Open) {
	const callers, rounds = 6, 20
	s := open(t)
	Follow(t, s)
	names := []string{"x", "y"}
	for _, name := range names {
		save(t, s, nil, newSecret(name))
	}
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := range rounds {
				name := names[i%len(names)]
				n, err := putNext(s, t, name)
				if err != nil {
					t.Errorf("putting: %v", err)
					return
				}
				var got *secret.Secret
				if err := s.Read(t.Context(), func(tx *store.Tx) (err error) {
					got, err = current(name)(tx)
					return err
				}); err != nil {
					t.Errorf("reading: %v", err)
					return
				}
				if has, _ := strconv.Atoi(got.Description); has < n || string(got.Holder(secret.Current).Sealed) != got.Description {
					t.Errorf("got value %s with description %s after %d was written", got.Holder(secret.Current).Sealed, got.Description, n)
				}
			}
		})
	}
	wg.Wait()
	for _, name := range names {
		if got := recall(t, s, current(name)); got.Description != strconv.Itoa(callers*rounds/len(names)) {
			t.Errorf("%s: got %s writes, want %d", name, got.Description, callers*rounds/len(names))
		}
		if diff := cmp.Diff(read(t, s, current(name)), recall(t, s, current(name))); diff != "" {
			t.Errorf("%s: from memory (-want +got):\n%s", name, diff)
		}
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}
