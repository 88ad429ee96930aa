package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

const otherAccount = "999999999999"

// holdings are full ones of a group; users and roles have more.
func holdings() iam.Holdings {
	return iam.Holdings{Inline: map[string]string{"a": "{1}", "b": "{2}"}, Attached: []string{"arn:z", "arn:a"}}
}

func fullUser(name, id string) *iam.User {
	u := &iam.User{Account: account, Name: name, Path: "/app/", ID: id, CreatedAt: noon0, Holdings: holdings()}
	u.Boundary, u.Tags = "arn:b", []iam.Tag{{Key: "k", Value: "v"}}
	return u
}

func plainUser(name, id string) *iam.User {
	return &iam.User{Account: account, Name: name, Path: "/", ID: id, CreatedAt: noon0}
}

// saveUsers stores new users and demands that they come back as they are.
func saveUsers(t *testing.T, s *store.Store, users ...*iam.User) {
	t.Helper()
	for _, u := range users {
		update(t, s, func(tx *store.Tx) error { return tx.SaveUser(nil, u) })
		got := read(t, s, func(tx *store.Tx) (*iam.User, error) { return tx.User(u.Account, u.Name) })
		if diff := cmp.Diff(u, got); diff != "" {
			t.Errorf("new user (-want +got):\n%s", diff)
		}
	}
}

func testUsers(t *testing.T, open Open) {
	s := open(t)
	full := fullUser("Alice", "AIDA1")
	get := func(name string) (u *iam.User, err error) {
		err = s.View(t.Context(), func(tx *store.Tx) (err error) {
			u, err = tx.User(account, name)
			return err
		})
		return u, err
	}
	saveUsers(t, s, full, plainUser("bob", "AIDA2"))
	if u, err := get("aLICE"); err != nil || u.Name != "Alice" {
		t.Errorf("got %v, %v", u, err)
	}
	update(t, s, func(tx *store.Tx) error {
		wantKind(t, tx.SaveUser(nil, plainUser("ALICE", "AIDA3")), fault.Exists)
		return nil
	})
	after := full.Clone()
	after.Path, after.Boundary, after.Tags, after.Attached = "/", "", nil, []string{"arn:z"}
	after.Inline = map[string]string{"a": "{3}"}
	update(t, s, func(tx *store.Tx) error { return tx.SaveUser(full, after) })
	if got, err := get("Alice"); cmp.Diff(after, got) != "" {
		t.Errorf("changed user, error %v (-want +got):\n%s", err, cmp.Diff(after, got))
	}
	update(t, s, func(tx *store.Tx) error {
		taken := after.Clone()
		taken.Name = "BOB"
		wantKind(t, tx.SaveUser(after, taken), fault.Exists)
		return nil
	})
	// A new name takes everything along, also where only its case is new.
	for _, name := range []string{"ALICE", "carol"} {
		before := after
		after = before.Clone()
		after.Name = name
		after.Inline = map[string]string{"a": "{3}", "of " + name: "{4}"}
		update(t, s, func(tx *store.Tx) error { return tx.SaveUser(before, after) })
		if got, err := get(name); cmp.Diff(after, got) != "" {
			t.Errorf("renamed user, error %v (-want +got):\n%s", err, cmp.Diff(after, got))
		}
	}
	_, err := get("alice")
	wantKind(t, err, fault.NotFound)
	update(t, s, func(tx *store.Tx) error { return tx.DeleteUser(account, "CAROL") })
	_, err = get("carol")
	wantKind(t, err, fault.NotFound)
	for _, change := range []func(tx *store.Tx) error{
		func(tx *store.Tx) error { return tx.DeleteUser(account, "carol") },
		func(tx *store.Tx) error { return tx.SaveUser(after, after) },
	} {
		wantKind(t, s.Update(t.Context(), change), fault.NotFound)
	}
	saveUsers(t, s, plainUser("carol", "AIDA4"), plainUser("Alice", "AIDA5")) // nothing of the old ones is left
}

func testUserLists(t *testing.T, open Open) {
	s := open(t)
	update(t, s, func(tx *store.Tx) error {
		for i, u := range []struct{ name, path string }{{"b", "/"}, {"A", "/app/"}, {"C", "/app/db/"}, {"d", "/ap_/"}} {
			if err := tx.SaveUser(nil, &iam.User{Account: account, Name: u.name, Path: u.path, ID: fmt.Sprint("AIDA", i)}); err != nil {
				return err
			}
			if err := tx.SaveGroup(nil, &iam.Group{Account: account, Name: u.name, Path: u.path, ID: fmt.Sprint("AGPA", i)}); err != nil {
				return err
			}
			p := iam.CustomerPolicy{Account: account, Name: u.name, Path: u.path, ID: fmt.Sprint("ANPA", i)}
			if err := tx.SaveCustomerPolicy(nil, &p); err != nil {
				return err
			}
		}
		return tx.SaveUser(nil, &iam.User{Account: otherAccount, Name: "a", Path: "/", ID: "AIDAX"})
	})
	for _, tc := range []struct {
		prefix, after string
		limit         int
		want          string
	}{{"/", "", 10, "A b C d "}, {"/", "B", 1, "C "}, {"", "", 1, "A "}, {"/app/", "", 10, "A C "}, {"/ap_/", "", 10, "d "}, {"/x/", "", 10, ""}} {
		var users, groups, policies string
		view(t, s, func(tx *store.Tx) error {
			list, err := tx.Users(account, tc.prefix, tc.after, tc.limit)
			users = names(list, func(u *iam.User) string { return u.Name })
			if err != nil {
				return err
			}
			list2, err := tx.Groups(account, tc.prefix, tc.after, tc.limit)
			groups = names(list2, func(g *iam.Group) string { return g.Name })
			if err != nil {
				return err
			}
			list3, err := tx.CustomerPolicies(account, tc.prefix, tc.after, tc.limit)
			policies = names(list3, func(p *iam.CustomerPolicy) string { return p.Name })
			return err
		})
		if users != tc.want || groups != tc.want || policies != tc.want {
			t.Errorf("under %q behind %q: got users %q, groups %q, policies %q, want %q", tc.prefix, tc.after, users, groups, policies, tc.want)
		}
	}
}

func names[T any](list []T, name func(T) string) (all string) {
	for _, x := range list {
		all += name(x) + " "
	}
	return all
}

func testGroups(t *testing.T, open Open) {
	s := open(t)
	full := &iam.Group{Account: account, Name: "Ops", Path: "/x/", ID: "AGPA1", CreatedAt: noon0, Holdings: holdings()}
	other := &iam.Group{Account: account, Name: "dev", Path: "/", ID: "AGPA2", CreatedAt: noon0}
	want := func(what string, g *iam.Group) {
		t.Helper()
		got := read(t, s, func(tx *store.Tx) (*iam.Group, error) { return tx.Group(account, g.Name) })
		if diff := cmp.Diff(g, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	update(t, s, func(tx *store.Tx) error {
		if err := tx.SaveGroup(nil, other); err != nil {
			return err
		}
		return tx.SaveGroup(nil, full)
	})
	want("new group", full)
	want("plain group", other)
	update(t, s, func(tx *store.Tx) error {
		wantKind(t, tx.SaveGroup(nil, &iam.Group{Account: account, Name: "OPS", ID: "AGPA3"}), fault.Exists)
		taken := full.Clone()
		taken.Name = "DEV"
		wantKind(t, tx.SaveGroup(full, taken), fault.Exists)
		return nil
	})
	after := full.Clone()
	after.Name, after.Path, after.Attached = "operators", "/", nil
	update(t, s, func(tx *store.Tx) error { return tx.SaveGroup(full, after) })
	want("renamed group", after)
	update(t, s, func(tx *store.Tx) error { return tx.DeleteGroup(account, "Operators") })
	for _, change := range []func(tx *store.Tx) error{
		func(tx *store.Tx) error { _, err := tx.Group(account, "ops"); return err },
		func(tx *store.Tx) error { _, err := tx.Group(account, "operators"); return err },
		func(tx *store.Tx) error { return tx.DeleteGroup(account, "operators") },
		func(tx *store.Tx) error { return tx.SaveGroup(after, after) },
	} {
		wantKind(t, s.Update(t.Context(), change), fault.NotFound)
	}
}

func testMemberships(t *testing.T, open Open) {
	s := open(t)
	u := plainUser("Alice", "AIDA1")
	g := &iam.Group{Account: account, Name: "Ops", Path: "/", ID: "AGPA1", Holdings: holdings()}
	update(t, s, func(tx *store.Tx) error {
		for i, name := range []string{"bob", "Carol", "dave"} {
			if err := tx.SaveUser(nil, plainUser(name, fmt.Sprint("AIDA2", i))); err != nil {
				return err
			}
		}
		if err := tx.SaveUser(nil, u); err != nil {
			return err
		}
		if err := tx.SaveGroup(nil, &iam.Group{Account: account, Name: "dev", Path: "/", ID: "AGPA2"}); err != nil {
			return err
		}
		if err := tx.SaveGroup(nil, g); err != nil {
			return err
		}
		for _, m := range [][2]string{{"OPS", "alice"}, {"ops", "bob"}, {"ops", "carol"}, {"dev", "ALICE"}, {"ops", "Alice"}} {
			if err := tx.AddToGroup(account, m[0], m[1]); err != nil {
				return err
			}
		}
		return nil
	})
	groups := func(user string) string {
		t.Helper()
		list := read(t, s, func(tx *store.Tx) ([]*iam.Group, error) { return tx.GroupsOf(account, user) })
		return names(list, func(g *iam.Group) string { return fmt.Sprintf("%s%d%d", g.Name, len(g.Inline), len(g.Attached)) })
	}
	users := func(group, after string, limit int) string {
		t.Helper()
		list := read(t, s, func(tx *store.Tx) ([]*iam.User, error) { return tx.GroupUsers(account, group, after, limit) })
		return names(list, func(u *iam.User) string { return u.Name })
	}
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	want("groups of Alice", groups("Alice"), "dev00 Ops22 ")
	want("groups of nobody", groups("nobody"), "")
	want("users of ops", users("ops", "", 10), "Alice bob Carol ")
	want("page of users", users("Ops", "ALICE", 1), "bob ")

	renamed, operators := u.Clone(), g.Clone()
	renamed.Name, operators.Name = "zoe", "operators"
	update(t, s, func(tx *store.Tx) error {
		if err := tx.SaveUser(u, renamed); err != nil {
			return err
		}
		return tx.SaveGroup(g, operators)
	})
	want("users of the renamed group", users("operators", "", 10), "bob Carol zoe ")
	want("groups of the renamed user", groups("zoe"), "dev00 operators22 ")

	update(t, s, func(tx *store.Tx) error { return tx.RemoveFromGroup(account, "DEV", "Zoe") })
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.RemoveFromGroup(account, "dev", "zoe") }), fault.NotFound)
	want("groups", groups("zoe"), "operators22 ")
	update(t, s, func(tx *store.Tx) error { return tx.DeleteUser(account, "bob") })
	want("users", users("operators", "", 10), "Carol zoe ")
	update(t, s, func(tx *store.Tx) error { return tx.DeleteGroup(account, "operators") })
	want("groups of a deleted group's user", groups("zoe"), "")
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.AddToGroup(account, "dev", "nobody") }); err == nil {
		t.Error("nobody became a member of a group")
	}
}

func testAccessKeys(t *testing.T, open Open) {
	s := open(t)
	alice := plainUser("Alice", "AIDA1")
	saveUsers(t, s, alice)
	first := &iam.AccessKey{ID: "AKIA2", Account: account, UserName: "Alice", Secret: []byte{0, 1}, CreatedAt: noon0}
	second := &iam.AccessKey{
		ID: "AKIA1", Account: account, UserName: "Alice", Secret: []byte{2}, Inactive: true, CreatedAt: noon0.Add(time.Second),
		UsedAt: noon0.Add(time.Hour), UsedService: "sts", UsedRegion: region,
	}
	root := &iam.AccessKey{ID: "AKIAROOT", Account: account, Secret: []byte{3}, CreatedAt: noon0}
	update(t, s, func(tx *store.Tx) error {
		for _, k := range []*iam.AccessKey{second, first, root, {ID: "AKIAOTHER", Account: otherAccount, Secret: []byte{4}}} {
			if err := tx.SaveAccessKey(k); err != nil {
				return err
			}
		}
		return nil
	})
	want := func(user string, want ...*iam.AccessKey) {
		t.Helper()
		got := read(t, s, func(tx *store.Tx) ([]*iam.AccessKey, error) { return tx.AccessKeys(account, user) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("keys of %q (-want +got):\n%s", user, diff)
		}
		for _, k := range want {
			one := read(t, s, func(tx *store.Tx) (*iam.AccessKey, error) { return tx.AccessKey(k.ID) })
			if diff := cmp.Diff(k, one); diff != "" {
				t.Errorf("key %s (-want +got):\n%s", k.ID, diff)
			}
		}
	}
	want("ALICE", first, second)
	want("", root)
	first.Inactive = true
	update(t, s, func(tx *store.Tx) error { return tx.SaveAccessKey(first) })
	update(t, s, func(tx *store.Tx) error {
		if err := tx.NoteAccessKeyUse("gone", noon0, "iam", "x"); err != nil {
			return err
		}
		return tx.NoteAccessKeyUse(first.ID, noon0, "kms", "eu-west-1")
	})
	first.UsedAt, first.UsedService, first.UsedRegion = noon0, "kms", "eu-west-1"
	want("alice", first, second)
	zoe := alice.Clone()
	zoe.Name = "Zoe"
	update(t, s, func(tx *store.Tx) error { return tx.SaveUser(alice, zoe) })
	first.UserName, second.UserName = "Zoe", "Zoe"
	want("zoe", first, second)
	update(t, s, func(tx *store.Tx) error { return tx.DeleteAccessKey(first.ID) })
	want("zoe", second)
	update(t, s, func(tx *store.Tx) error { return tx.DeleteUser(account, "zoe") })
	want("zoe")
	want("", root)
	for _, id := range []string{first.ID, second.ID} {
		wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.AccessKey(id); return err }), fault.NotFound)
		wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteAccessKey(id) }), fault.NotFound)
	}
}
