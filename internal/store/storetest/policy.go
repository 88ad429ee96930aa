package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

func testCustomerPolicies(t *testing.T, open Open) {
	s := open(t)
	full := &iam.CustomerPolicy{
		Account: account, Name: "Read", Path: "/x/", ID: "ANPA1", Description: "d", CreatedAt: noon0, UpdatedAt: noon0.Add(time.Hour),
		Tags: []iam.Tag{{Key: "k", Value: "v"}}, Default: "v1", NextVersion: 2,
		Versions: []iam.PolicyVersion{{ID: "v1", Document: "{1}", CreatedAt: noon0}},
	}
	want := func(what string, p *iam.CustomerPolicy) {
		t.Helper()
		got := read(t, s, func(tx *store.Tx) (*iam.CustomerPolicy, error) { return tx.CustomerPolicy(account, "rEAD") })
		if diff := cmp.Diff(p, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	update(t, s, func(tx *store.Tx) error { return tx.SaveCustomerPolicy(nil, full) })
	want("new policy", full)
	update(t, s, func(tx *store.Tx) error {
		wantKind(t, tx.SaveCustomerPolicy(nil, &iam.CustomerPolicy{Account: account, Name: "READ", ID: "ANPA2"}), fault.Exists)
		return nil
	})
	for _, change := range []func(p *iam.CustomerPolicy){
		func(p *iam.CustomerPolicy) {
			p.Versions = append(p.Versions, iam.PolicyVersion{ID: "v2", Document: "{2}", CreatedAt: noon0.Add(time.Minute)})
			p.Default, p.NextVersion, p.UpdatedAt = "v2", 3, noon0.Add(time.Minute)
		},
		func(p *iam.CustomerPolicy) { p.Tags, p.Description = nil, "" },
		func(p *iam.CustomerPolicy) {
			p.Versions = append(p.Versions[1:], iam.PolicyVersion{ID: "v3", Document: "{3}", CreatedAt: noon0})
			p.NextVersion = 4
		},
		func(p *iam.CustomerPolicy) {
			p.Versions = append(p.Versions, iam.PolicyVersion{ID: "v10", Document: "{10}", CreatedAt: noon0})
			p.NextVersion = 11
		},
	} {
		after := full.Clone()
		change(after)
		update(t, s, func(tx *store.Tx) error { return tx.SaveCustomerPolicy(full, after) })
		want("changed policy", after)
		full = after
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteCustomerPolicy(account, "READ") })
	for _, change := range []func(tx *store.Tx) error{
		func(tx *store.Tx) error { _, err := tx.CustomerPolicy(account, "read"); return err },
		func(tx *store.Tx) error { return tx.DeleteCustomerPolicy(account, "read") },
		func(tx *store.Tx) error { return tx.SaveCustomerPolicy(full, full) },
	} {
		wantKind(t, s.Update(t.Context(), change), fault.NotFound)
	}
	anew := &iam.CustomerPolicy{Account: account, Name: "Read", Path: "/", ID: "ANPA3"}
	update(t, s, func(tx *store.Tx) error { return tx.SaveCustomerPolicy(nil, anew) })
	want("a policy made anew", anew)
}

func testPolicyHolders(t *testing.T, open Open) {
	s := open(t)
	const policy = "arn:p"
	with := iam.Holdings{Attached: []string{"arn:other", policy}}
	update(t, s, func(tx *store.Tx) error {
		for _, a := range []string{account, otherAccount} {
			if err := tx.SaveUser(nil, &iam.User{Account: a, Name: "U", Path: "/u/", ID: "AIDA" + a, Holdings: with}); err != nil {
				return err
			}
		}
		bounded := &iam.User{Account: account, Name: "B", Path: "/", ID: "AIDAB", Holdings: iam.Holdings{Boundary: policy}}
		if err := tx.SaveUser(nil, bounded); err != nil {
			return err
		}
		for _, name := range []string{"b", "A"} {
			if err := tx.SaveGroup(nil, &iam.Group{Account: account, Name: name, Path: "/", ID: "AGPA" + name, Holdings: with}); err != nil {
				return err
			}
		}
		both := with
		both.Boundary = policy
		return tx.SaveRole(nil, &iam.Role{Account: account, Name: "R", Path: "/r/", ID: "AROA", Holdings: both})
	})
	want := []iam.PolicyHolder{
		{Kind: iam.GroupHolder, Name: "A", ID: "AGPAA", Path: "/"}, {Kind: iam.GroupHolder, Name: "b", ID: "AGPAb", Path: "/"},
		{Kind: iam.RoleHolder, Name: "R", ID: "AROA", Path: "/r/"}, {Kind: iam.UserHolder, Name: "U", ID: "AIDA" + account, Path: "/u/"},
		{Kind: iam.RoleHolder, Name: "R", ID: "AROA", Path: "/r/", Boundary: true},
		{Kind: iam.UserHolder, Name: "B", ID: "AIDAB", Path: "/", Boundary: true},
	}
	check := func(policy string, attached, boundaries int, want ...iam.PolicyHolder) {
		t.Helper()
		view(t, s, func(tx *store.Tx) error {
			got, err := tx.PolicyHolders(account, policy)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("holders of %s (-want +got):\n%s", policy, diff)
			}
			if err != nil {
				return err
			}
			a, b, err := tx.PolicyUse(account, policy)
			if a != attached || b != boundaries {
				t.Errorf("uses of %s: got %d and %d, want %d and %d", policy, a, b, attached, boundaries)
			}
			return err
		})
	}
	check(policy, 4, 2, want...)
	update(t, s, func(tx *store.Tx) error {
		return tx.SaveAccessKey(&iam.AccessKey{ID: "AKIAROOT", Account: account, Secret: []byte{1}})
	})
	count := read(t, s, func(tx *store.Tx) (store.IdentityCount, error) { return tx.IdentityCount(account) })
	if want := (store.IdentityCount{Users: 2, Groups: 2, Roles: 1, RootAccessKeys: 1}); count != want {
		t.Errorf("got counts %+v, want %+v", count, want)
	}
	check("arn:none", 0, 0)
	check("", 0, 0)
}

func testAccounts(t *testing.T, open Open) {
	s := open(t)
	first := &iam.Account{ID: "111111111111", Name: "one", CreatedAt: noon0}
	update(t, s, func(tx *store.Tx) error {
		for _, id := range []string{"333333333333", "222222222222"} {
			if err := tx.SaveAccount(&iam.Account{ID: id}); err != nil {
				return err
			}
		}
		return tx.SaveAccount(first)
	})
	first.Name = "changed"
	update(t, s, func(tx *store.Tx) error { return tx.SaveAccount(first) })
	got := read(t, s, func(tx *store.Tx) (*iam.Account, error) { return tx.Account(first.ID) })
	if diff := cmp.Diff(first, got); diff != "" {
		t.Errorf("account (-want +got):\n%s", diff)
	}
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.Account("1"); return err }), fault.NotFound)
	list := read(t, s, func(tx *store.Tx) ([]*iam.Account, error) { return tx.Accounts(first.ID, 1) })
	if len(list) != 1 || list[0].ID != "222222222222" {
		t.Errorf("got second page %v", list)
	}

	alias := func(account, want string) {
		t.Helper()
		if got := read(t, s, func(tx *store.Tx) (string, error) { return tx.AccountAlias(account) }); got != want {
			t.Errorf("got alias %q of %s, want %q", got, account, want)
		}
	}
	set := func(account, alias string) error {
		return s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetAccountAlias(account, alias) })
	}
	alias(first.ID, "")
	for _, name := range []string{"a", "b"} {
		if err := set(first.ID, name); err != nil {
			t.Fatal(err)
		}
		alias(first.ID, name)
	}
	wantKind(t, set("222222222222", "b"), fault.Exists)
	if err := set(first.ID, ""); err != nil {
		t.Fatal(err)
	}
	alias(first.ID, "")
	if err := set("222222222222", "b"); err != nil {
		t.Errorf("an alias that is free again: %v", err)
	}
}

func testProviders(t *testing.T, open Open) {
	s := open(t)
	full := &iam.Provider{
		Account: account, URL: "a.example/id", ClientIDs: []string{"b", "a"}, Thumbprints: []string{"00"}, CreatedAt: noon0,
		Tags: []iam.Tag{{Key: "k", Value: "v"}},
	}
	plain := &iam.Provider{Account: account, URL: "a.example"}
	want := func(want ...*iam.Provider) {
		t.Helper()
		got := read(t, s, func(tx *store.Tx) ([]*iam.Provider, error) { return tx.Providers(account) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("providers (-want +got):\n%s", diff)
		}
		for _, p := range want {
			one := read(t, s, func(tx *store.Tx) (*iam.Provider, error) { return tx.Provider(account, p.URL) })
			if diff := cmp.Diff(p, one); diff != "" {
				t.Errorf("provider (-want +got):\n%s", diff)
			}
		}
	}
	update(t, s, func(tx *store.Tx) error {
		for _, p := range []*iam.Provider{full, plain, {Account: otherAccount, URL: "a.example"}} {
			if err := tx.SaveProvider(p); err != nil {
				return err
			}
		}
		return nil
	})
	want(plain, full)
	full.ClientIDs, full.Thumbprints, full.Tags = nil, []string{}, nil
	update(t, s, func(tx *store.Tx) error { return tx.SaveProvider(full) })
	want(plain, full)
	update(t, s, func(tx *store.Tx) error { return tx.DeleteProvider(account, full.URL) })
	want(plain)
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.Provider(account, full.URL); return err }), fault.NotFound)
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteProvider(account, full.URL) }), fault.NotFound)
}
