package authz_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/store"
)

// people is a Keyring on a store with identities.
type people struct {
	*servicetest.Parts
	t    testing.TB
	ring *authz.Keyring
	log  *strings.Builder
}

func newPeople(t testing.TB) *people {
	t.Helper()
	p := &people{Parts: servicetest.NewParts(t), t: t, log: new(strings.Builder)}
	p.ring = authz.NewKeyring(authz.KeyringConfig{
		Root: authz.NewRoot(account), Store: p.Store, Sealer: p.Sealer, Logger: slog.New(slog.NewTextHandler(p.log, nil)),
	})
	return p
}

func (p *people) update(fn func(tx *store.Tx) error) {
	p.t.Helper()
	if err := p.Store.Update(p.t.Context(), fn); err != nil {
		p.t.Fatal(err)
	}
}

// user makes or replaces a user.
func (p *people) user(u *iam.User) {
	p.t.Helper()
	u.Account, u.Path = account, "/"
	p.update(func(tx *store.Tx) error {
		before, err := tx.User(account, u.Name)
		if fault.Is(err, fault.NotFound) {
			return tx.SaveUser(nil, u)
		}
		if err != nil {
			return err
		}
		return tx.SaveUser(before, u)
	})
}

// key makes an access key of a user, or of an account's root.
func (p *people) key(account, user string) (id, secret string) {
	p.t.Helper()
	id, secret = authz.NewAccessKey()
	p.saveKey(&iam.AccessKey{ID: id, Account: account, UserName: user, Secret: authz.SealAccessKey(p.Sealer, id, secret)})
	return id, secret
}

func (p *people) saveKey(k *iam.AccessKey) {
	p.t.Helper()
	p.update(func(tx *store.Tx) error { return tx.SaveAccessKey(k) })
}

func (p *people) managed(name, document string) (policyARN string) {
	p.t.Helper()
	m := &iam.CustomerPolicy{
		Account: account, Name: name, Path: "/", ID: "ANPA" + strings.ToUpper(name), Default: "v1", NextVersion: 2,
		Versions: []iam.PolicyVersion{{ID: "v1", Document: document}},
	}
	p.update(func(tx *store.Tx) error { return tx.SaveCustomerPolicy(nil, m) })
	return m.ARN()
}

// who finds who an access key belongs to.
func (p *people) who(id, token string) iam.Principal {
	p.t.Helper()
	_, who, err := p.ring.Secret(p.t.Context(), id, token, time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	return who
}

func (p *people) wantUnknown(what, id, token string) {
	p.t.Helper()
	secret, who, err := p.ring.Secret(p.t.Context(), id, token, time.Now())
	if !errors.Is(err, sigv4.ErrUnknownKey) || secret != "" || !who.IsZero() {
		p.t.Errorf("%s: got %s, %v, want an unknown key", what, who.ARN, err)
	}
}

// may tells what of the actions the principal may do.
func may(who iam.Principal, actions ...string) (allowed string) {
	id := who.Identity
	for _, a := range actions {
		request := iam.Request{Principal: who, Action: a, Resource: "arn:aws:secretsmanager:us-east-1:" + account + ":secret:s"}
		d := iam.Evaluate(&request, &iam.Policies{Identity: id.Policies, Boundary: id.Boundary, Session: id.Session})
		if d.Allowed() {
			allowed += a[strings.IndexByte(a, ':')+1:]
		}
	}
	return allowed
}

func allow(action string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + action + `","Resource":"*"}}`
}

// letters are actions of one letter.
var letters = []string{"t:a", "t:b", "t:c", "t:d", "t:e", "t:f"}

func TestUserKey(t *testing.T) {
	p := newPeople(t)
	p.user(&iam.User{Name: "Ann", ID: "AIDAANN", Holdings: iam.Holdings{Tags: []iam.Tag{{Key: "Team", Value: "blue"}}}})
	id, secret := p.key(account, "ann")
	got, who, err := p.ring.Secret(t.Context(), id, "", time.Now())
	if err != nil || got != secret {
		t.Fatalf("got error %v", err)
	}
	want := iam.Principal{
		Type: iam.IAMUser, Account: account, ARN: "arn:aws:iam::" + account + ":user/Ann", ID: "AIDAANN", Name: "Ann", AccessKeyID: id,
		Identity: &iam.Identity{Policies: []*iam.Policy{}, Tags: []iam.Tag{{Key: "Team", Value: "blue"}}},
	}
	if diff := cmp.Diff(want, who); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	p.wantUnknown("with a token", id, "token")
	k := &iam.AccessKey{ID: id, Account: account, UserName: "ann", Secret: authz.SealAccessKey(p.Sealer, id, secret), Inactive: true}
	p.saveKey(k)
	p.wantUnknown("inactive", id, "")
	k.Inactive = false
	p.saveKey(k)
	p.who(id, "")
	p.update(func(tx *store.Tx) error { return tx.DeleteAccessKey(id) })
	p.wantUnknown("deleted", id, "")
	again, _ := p.key(account, "ann")
	p.who(again, "")
	p.update(func(tx *store.Tx) error { return tx.DeleteUser(account, "Ann") })
	p.wantUnknown("the user is deleted", again, "")
	p.user(&iam.User{Name: "Ann", ID: "AIDANEW"})
	p.wantUnknown("the user is another", again, "")
	p.wantUnknown("nobody's", "AKIANOBODYNOBODYNOBO", "")
}

// A key whose user is missing is not the root's.
func TestOrphanKey(t *testing.T) {
	p := newPeople(t)
	id, _ := p.key(account, "nobody")
	p.wantUnknown("of no user", id, "")
}

// A sealed secret that was put beside another key opens for neither.
func TestMovedSecret(t *testing.T) {
	p := newPeople(t)
	p.user(&iam.User{Name: "ann", ID: "AIDAANN"})
	other, secret := authz.NewAccessKey()
	id, _ := authz.NewAccessKey()
	p.saveKey(&iam.AccessKey{ID: id, Account: account, UserName: "ann", Secret: authz.SealAccessKey(p.Sealer, other, secret)})
	if _, _, err := p.ring.Secret(t.Context(), id, "", time.Now()); !fault.Is(err, fault.Internal) {
		t.Errorf("got %v, want an internal error", err)
	}
}

func TestFurtherRoot(t *testing.T) {
	p := newPeople(t)
	const second = "210987654321"
	p.update(func(tx *store.Tx) error { return tx.SaveAccount(&iam.Account{ID: second, Name: "second"}) })
	id, _ := p.key(second, "")
	want := iam.Principal{Type: iam.Root, Account: second, ARN: "arn:aws:iam::" + second + ":root", ID: second, AccessKeyID: id}
	if diff := cmp.Diff(want, p.who(id, "")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, owner := range []string{second, account} {
		c, err := p.ring.IssueFor(authz.RootPrincipal(owner, "AKIA"), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		who := p.who(c.AccessKeyID, c.SessionToken)
		if who.Type != iam.Root || who.Account != owner || who.IssuedAt.IsZero() || who.AccessKeyID != c.AccessKeyID {
			t.Errorf("got %+v", who)
		}
	}
	c, err := p.ring.IssueFor(authz.RootPrincipal("333333333333", "AKIA"), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p.wantUnknown("no account", c.AccessKeyID, c.SessionToken)
}

// The policies of a user come from everywhere, and what changes them changes
// the next request.
func TestPolicies(t *testing.T) {
	p := newPeople(t)
	managed := p.managed("managed", allow("t:b"))
	u := &iam.User{Name: "ann", ID: "AIDAANN", Holdings: iam.Holdings{Inline: map[string]string{"inline": allow("t:a")}, Attached: []string{managed}}}
	p.user(u)
	id, _ := p.key(account, "ann")
	want := func(what, want string) {
		t.Helper()
		if got := may(p.who(id, ""), letters...); got != want {
			t.Errorf("%s: may do %q, want %q", what, got, want)
		}
	}
	want("own policies", "ab")
	p.update(func(tx *store.Tx) error {
		before, err := tx.CustomerPolicy(account, "managed")
		if err != nil {
			return err
		}
		after := before.Clone()
		after.Versions = append(after.Versions, iam.PolicyVersion{ID: "v2", Document: allow("t:c")})
		after.NextVersion = 3
		if err := tx.SaveCustomerPolicy(before, after); err != nil {
			return err
		}
		final := after.Clone()
		final.Default = "v2"
		return tx.SaveCustomerPolicy(after, final)
	})
	want("another default version", "ac")
	g := &iam.Group{Account: account, Name: "team", Path: "/", ID: "AGPATEAM", Holdings: iam.Holdings{
		Inline: map[string]string{"inline": allow("t:d")}, Attached: []string{p.managed("groups", allow("t:e"))},
	}}
	p.update(func(tx *store.Tx) error {
		if err := tx.SaveGroup(nil, g); err != nil {
			return err
		}
		return tx.AddToGroup(account, "team", "ann")
	})
	want("in a group", "acde")
	bounded := u.Clone()
	bounded.Boundary = p.managed("boundary", allow("t:d"))
	p.user(bounded)
	want("with a boundary", "d")
	p.update(func(tx *store.Tx) error { return tx.DeleteCustomerPolicy(account, "boundary") })
	want("with a missing boundary", "")
	p.user(u)
	want("without a boundary", "acde")
	p.update(func(tx *store.Tx) error { return tx.RemoveFromGroup(account, "team", "ann") })
	want("out of the group", "ac")
	aws := u.Clone()
	aws.Attached = []string{"arn:aws:iam::aws:policy/AdministratorAccess"}
	p.user(aws)
	want("AWS's policy", "abcdef")
}

// What may have denied something and cannot be read denies everything.
func TestClosed(t *testing.T) {
	p := newPeople(t)
	everything := map[string]string{"all": allow("*")}
	for i, held := range []iam.Holdings{
		{Inline: map[string]string{"all": allow("*"), "broken": `{"Statement":`}},
		{Inline: everything, Attached: []string{"arn:aws:iam::" + account + ":policy/gone"}},
		{Inline: everything, Attached: []string{"arn:aws:iam::999999999999:policy/foreign"}},
		{Inline: everything, Boundary: p.managed("broken", "{}")},
	} {
		name := fmt.Sprint("user", i)
		p.user(&iam.User{Name: name, ID: "AIDA" + name, Holdings: held})
		id, _ := p.key(account, name)
		if got := may(p.who(id, ""), letters...); got != "" {
			t.Errorf("%d: may do %q", i, got)
		}
	}
	if n := strings.Count(p.log.String(), "denied everything"); n != 4 {
		t.Errorf("the log tells of %d policies, want 4:\n%s", n, p.log)
	}
}

func TestSessionLimits(t *testing.T) {
	p := newPeople(t)
	r := role
	r.Holdings = iam.Holdings{
		Inline: map[string]string{"all": allow("t:*")}, Tags: []iam.Tag{{Key: "Team", Value: "blue"}, {Key: "Stage", Value: "test"}},
	}
	p.update(func(tx *store.Tx) error { return tx.SaveRole(nil, &r) })
	narrow := p.managed("narrow", allow("t:b"))
	for _, tc := range []struct {
		what  string
		given *iam.Session
		may   string
		tags  []iam.Tag
	}{
		{"nothing", nil, "abcdef", r.Tags},
		{"a policy", &iam.Session{Policies: []string{allow("t:a")}}, "a", r.Tags},
		{"a policy by ARN", &iam.Session{PolicyARNs: []string{narrow}}, "b", r.Tags},
		{"both", &iam.Session{Policies: []string{allow("t:a")}, PolicyARNs: []string{narrow}}, "ab", r.Tags},
		{"a policy that is gone", &iam.Session{PolicyARNs: []string{narrow, narrow + "er"}}, "", r.Tags},
		{"a policy that is none", &iam.Session{Policies: []string{"{}"}}, "", r.Tags},
		{"tags", &iam.Session{Tags: []iam.Tag{{Key: "team", Value: "red"}, {Key: "Cost", Value: "1"}}, Transitive: []string{"team"}, SourceIdentity: "ann"}, "abcdef",
			[]iam.Tag{{Key: "team", Value: "red"}, {Key: "Cost", Value: "1"}, {Key: "Stage", Value: "test"}}},
	} {
		c, err := p.ring.Issue(&r, "s", time.Hour, tc.given)
		if err != nil {
			t.Fatal(err)
		}
		who := p.who(c.AccessKeyID, c.SessionToken)
		if got := may(who, letters...); got != tc.may {
			t.Errorf("%s: may do %q, want %q", tc.what, got, tc.may)
		}
		if diff := cmp.Diff(tc.tags, who.Identity.Tags); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tc.what, diff)
		}
		if diff := cmp.Diff(tc.given, who.Given); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tc.what, diff)
		}
	}
}

// Sessions end with their role or user, even if another takes the name.
func TestSessionsEnd(t *testing.T) {
	p := newPeople(t)
	p.update(func(tx *store.Tx) error { return tx.SaveRole(nil, &role) })
	p.user(&iam.User{Name: "ann", ID: "AIDAANN"})
	ofRole, err := p.ring.Issue(&role, "s", time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	ofUser, err := p.ring.IssueFor(iam.Principal{Type: iam.IAMUser, Account: account, Name: "ann", ID: "AIDAANN"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if who := p.who(ofUser.AccessKeyID, ofUser.SessionToken); who.Type != iam.IAMUser || who.Name != "ann" || who.IssuedAt.IsZero() {
		t.Errorf("got %+v", who)
	}
	p.who(ofRole.AccessKeyID, ofRole.SessionToken)
	p.update(func(tx *store.Tx) error {
		if err := tx.DeleteUser(account, "ann"); err != nil {
			return err
		}
		return tx.DeleteRole(account, role.Name)
	})
	p.wantUnknown("the role is gone", ofRole.AccessKeyID, ofRole.SessionToken)
	p.wantUnknown("the user is gone", ofUser.AccessKeyID, ofUser.SessionToken)
	other := role
	other.ID = "AROAOTHER"
	p.update(func(tx *store.Tx) error { return tx.SaveRole(nil, &other) })
	p.user(&iam.User{Name: "ann", ID: "AIDAOTHER"})
	p.wantUnknown("the role is another", ofRole.AccessKeyID, ofRole.SessionToken)
	p.wantUnknown("the user is another", ofUser.AccessKeyID, ofUser.SessionToken)
	if _, err := p.ring.IssueFor(p.session(&other), time.Hour); err == nil {
		t.Error("a session of a session was made")
	}
}

// session is who calls with a session of the role.
func (p *people) session(r *iam.Role) iam.Principal {
	p.t.Helper()
	c, err := p.ring.Issue(r, "s", time.Hour, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.who(c.AccessKeyID, c.SessionToken)
}

// Who is known costs neither the store nor memory.
func TestWarm(t *testing.T) {
	p := newPeople(t)
	p.user(&iam.User{Name: "ann", ID: "AIDAANN", Holdings: iam.Holdings{Inline: map[string]string{"all": allow("*")}}})
	p.update(func(tx *store.Tx) error { return tx.SaveRole(nil, &role) })
	id, _ := p.key(account, "ann")
	c, err := p.ring.Issue(&role, "s", time.Hour, &iam.Session{Policies: []string{allow("t:a")}})
	if err != nil {
		t.Fatal(err)
	}
	p.who(id, "")
	p.who(c.AccessKeyID, c.SessionToken)
	if err := p.Store.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, now := t.Context(), time.Now()
	for _, key := range [][2]string{{id, ""}, {c.AccessKeyID, c.SessionToken}} {
		n := testing.AllocsPerRun(100, func() {
			if _, _, err := p.ring.Secret(ctx, key[0], key[1], now); err != nil {
				t.Error(err)
			}
			p.ring.Used(key[0], "secretsmanager", region, time.Unix(0, 0))
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", key[0], n)
		}
	}
	p.wantUnknown("another token", c.AccessKeyID, c.SessionToken+"A")
	p.wantUnknown("no token", c.AccessKeyID, "")
	if _, _, err := p.ring.Secret(ctx, "AKIASOMEBODY", "", now); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without the store: got %v, want that it is unavailable", err)
	}
}

// No request that begins after a change was made sees what was before it,
// however many look at the same time.
func TestChangesAreSeen(t *testing.T) {
	p := newPeople(t)
	p.user(&iam.User{Name: "ann", ID: "AIDAANN"})
	id, _ := p.key(account, "ann")
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				if _, _, err := p.ring.Secret(t.Context(), id, "", time.Now()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 100 {
		want := letters[i%len(letters)]
		p.user(&iam.User{Name: "ann", ID: "AIDAANN", Holdings: iam.Holdings{Inline: map[string]string{"p": allow(want)}}})
		if got := may(p.who(id, ""), letters...); got != want[2:] {
			t.Fatalf("change %d: may do %q, want %q", i, got, want[2:])
		}
	}
	stop.Store(true)
	wg.Wait()
}
