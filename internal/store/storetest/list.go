package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// listAll pages through a query and returns the names.
func listAll(t testing.TB, s *store.Store, q store.SecretQuery) (names []string) {
	t.Helper()
	for {
		var page []*secret.Secret
		var next store.SecretCursor
		view(t, s, func(tx *store.Tx) (err error) {
			page, next, err = tx.ListSecrets(q)
			return err
		})
		if len(page) > q.Limit {
			t.Fatalf("got a page of %d, want at most %d", len(page), q.Limit)
		}
		for _, x := range page {
			names = append(names, x.Name)
		}
		if next.IsZero() {
			return names
		}
		if len(page) == 0 {
			t.Fatal("got an empty page that is not the last")
		}
		q.After = next
	}
}

// fill stores secrets whose times and names sort differently, and returns
// them.
func fill(t testing.TB, s *store.Store) []*secret.Secret {
	var all []*secret.Secret
	for i, name := range []string{"b", "a", "B", "a/1", "a-1", "a_1", "A", "z", "a/10", "a/2", "a=", "ab", "a.b"} {
		x := newSecret(name)
		x.CreatedAt = noon0.Add(time.Duration(i*7%5) * time.Hour)
		x.ChangedAt = noon0.Add(time.Duration(i*11%13) * time.Hour)
		if i%3 > 0 {
			x.AccessedOn = day0.AddDate(0, 0, i%3)
		}
		if i%4 == 3 {
			x.DeleteAt = noon0.AddDate(0, 0, 30)
		}
		all = append(all, x)
		save(t, s, nil, x)
	}
	foreign := newSecret("a")
	foreign.ID, foreign.Region = "foreign", "eu-west-1"
	save(t, s, nil, foreign)
	return all
}

func testList(t *testing.T, open Open) {
	s := open(t)
	all := fill(t, s)
	key := map[store.SecretSort]func(*secret.Secret) time.Time{
		store.ByCreated: func(s *secret.Secret) time.Time { return s.CreatedAt },
		store.ByChanged: func(s *secret.Secret) time.Time { return s.ChangedAt },
		store.ByAccess:  func(s *secret.Secret) time.Time { return s.AccessedOn },
		store.ByName:    func(*secret.Secret) time.Time { return time.Time{} },
	}
	for sort, at := range key {
		for _, descending := range []bool{false, true} {
			for _, deleted := range []bool{false, true} {
				for _, prefix := range []string{"", "a", "a/", "a/1", "A", "q"} {
					var want []string
					sorted := slices.SortedFunc(slices.Values(all), func(a, b *secret.Secret) int {
						c := at(a).Compare(at(b))
						if c == 0 {
							c = strings.Compare(a.Name, b.Name)
						}
						if descending {
							c = -c
						}
						return c
					})
					for _, x := range sorted {
						if (deleted || !x.Deleted()) && strings.HasPrefix(x.Name, prefix) {
							want = append(want, x.Name)
						}
					}
					for _, limit := range []int{1, 2, 5, 100} {
						q := store.SecretQuery{
							Account: account, Region: region, Sort: sort, Descending: descending,
							NamePrefix: prefix, Deleted: deleted, Limit: limit,
						}
						if diff := cmp.Diff(want, listAll(t, s, q)); diff != "" {
							t.Errorf("%+v (-want +got):\n%s", q, diff)
						}
					}
				}
			}
		}
	}
}

func testListContent(t *testing.T, open Open) {
	s := open(t)
	full := fullSecret()
	save(t, s, nil, full)
	save(t, s, nil, newSecret("other"))
	want := full.Clone()
	want.Versions = want.Versions[:2] // the third is deprecated
	view(t, s, func(tx *store.Tx) error {
		page, next, err := tx.ListSecrets(store.SecretQuery{Account: account, Region: region, Deleted: true, Limit: 2})
		if err != nil {
			return err
		}
		if len(page) != 2 || !next.IsZero() {
			t.Fatalf("got %d secrets and cursor %v, want 2 and the end", len(page), next)
		}
		if diff := cmp.Diff(want, page[0], unsealed); diff != "" {
			t.Errorf("listed secret differs (-want +got):\n%s", diff)
		}
		return nil
	})
}

// testListManyMatches lists by a prefix that matches more secrets than are
// sorted in memory.
func testListManyMatches(t *testing.T, open Open) {
	s := open(t)
	const n = 1500
	var want []string
	update(t, s, func(tx *store.Tx) error {
		want = nil
		for i := range n {
			name := fmt.Sprintf("p/%04d", (i*7919)%n)
			if i%10 == 0 {
				name = fmt.Sprintf("q/%04d", i)
			} else {
				want = append(want, name)
			}
			x := newSecret(name)
			x.Versions = nil
			x.CreatedAt = noon0.Add(time.Duration(i) * time.Millisecond)
			if err := tx.SaveSecret(nil, x); err != nil {
				return err
			}
		}
		return nil
	})
	q := store.SecretQuery{Account: account, Region: region, NamePrefix: "p/", Limit: 100}
	if diff := cmp.Diff(want, listAll(t, s, q)); diff != "" {
		t.Errorf("by creation (-want +got):\n%s", diff)
	}
	slices.Reverse(want)
	q.Descending = true
	if diff := cmp.Diff(want, listAll(t, s, q)); diff != "" {
		t.Errorf("by creation, newest first (-want +got):\n%s", diff)
	}
}

// testListUnderInserts pages while secrets are added and removed: what was
// there all the time is listed exactly once.
func testListUnderInserts(t *testing.T, open Open) {
	s := open(t)
	var want []string
	for i := range 30 {
		x := newSecret(fmt.Sprintf("steady%02d", i))
		x.CreatedAt = noon0.Add(time.Duration(i) * time.Minute)
		save(t, s, nil, x)
		want = append(want, x.Name)
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			x := newSecret(fmt.Sprintf("passing%04d", i))
			x.CreatedAt = noon0.Add(time.Duration(i*37%30) * time.Minute)
			err = s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveSecret(nil, x) })
			if err == nil && i%2 == 1 {
				err = s.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteSecret(fmt.Sprintf("id-passing%04d", i-1)) })
			}
		}
		done <- err
	}()
	for _, descending := range []bool{false, true} {
		var got []string
		for _, name := range listAll(t, s, store.SecretQuery{Account: account, Region: region, Descending: descending, Limit: 4}) {
			if strings.HasPrefix(name, "steady") {
				got = append(got, name)
			}
		}
		if descending {
			slices.Reverse(got)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("paging during inserts (-want +got):\n%s", diff)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
