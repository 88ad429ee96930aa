package authz_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/store"
)

const account = servicetest.Account

// role lies below a path, which its sessions do not show.
var role = iam.Role{Account: account, Name: "rotator", Path: "/ops/", ID: "AROAEXAMPLE"}

// newKeyring makes a Keyring on a store that holds the role.
func newKeyring(t *testing.T) (*authz.Keyring, authz.Root) {
	t.Helper()
	p := servicetest.NewParts(t)
	if err := p.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveRole(nil, &role) }); err != nil {
		t.Fatal(err)
	}
	root := authz.NewRoot(account)
	return authz.NewKeyring(authz.KeyringConfig{Root: root, Store: p.Store, Sealer: p.Sealer}), root
}

func TestNewRoot(t *testing.T) {
	a, b := authz.NewRoot(account), authz.NewRoot(account)
	if a.Account != account || !strings.HasPrefix(a.AccessKeyID, "AKIA") || len(a.AccessKeyID) != 20 || len(a.SecretAccessKey) != 40 {
		t.Errorf("got %q and %d characters", a.AccessKeyID, len(a.SecretAccessKey))
	}
	if a.AccessKeyID == b.AccessKeyID || a.SecretAccessKey == b.SecretAccessKey {
		t.Error("two roots have the same key")
	}
}

func TestRootKey(t *testing.T) {
	ring, root := newKeyring(t)
	secret, who, err := ring.Secret(t.Context(), root.AccessKeyID, "", time.Now())
	if err != nil || secret != root.SecretAccessKey {
		t.Fatalf("got %v", err)
	}
	want := iam.Principal{Type: iam.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root", ID: account, AccessKeyID: root.AccessKeyID}
	if diff := cmp.Diff(want, who); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSession(t *testing.T) {
	ring, _ := newKeyring(t)
	before := time.Now().Truncate(time.Second)
	c, err := ring.Issue(&role, "nightly", time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(c.AccessKeyID, "ASIA") || len(c.AccessKeyID) != 20 || len(c.SecretAccessKey) != 40 || c.SessionToken == "" {
		t.Errorf("the credentials do not look like AWS's: %q", c.AccessKeyID)
	}
	secret, who, err := ring.Secret(t.Context(), c.AccessKeyID, c.SessionToken, time.Now())
	if err != nil || secret != c.SecretAccessKey {
		t.Fatalf("got %v", err)
	}
	if who.IssuedAt.Before(before) || !c.Expires.Equal(who.IssuedAt.Add(time.Hour)) {
		t.Errorf("issued at %v, expires at %v", who.IssuedAt, c.Expires)
	}
	want := iam.Principal{
		Type: iam.AssumedRole, Account: account, ARN: "arn:aws:sts::" + account + ":assumed-role/rotator/nightly", ID: "AROAEXAMPLE:nightly",
		Name: "rotator", Session: "nightly", RoleARN: "arn:aws:iam::" + account + ":role/ops/rotator", AccessKeyID: c.AccessKeyID, IssuedAt: who.IssuedAt,
	}
	if diff := cmp.Diff(want, who, cmpopts.IgnoreFields(iam.Principal{}, "Identity")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n := len(c.SessionToken); n > 450 {
		t.Errorf("the token of a plain session has %d characters", n)
	}
}

// A token carries its session, so it says nothing to who has another sealer,
// and cannot be had for another key.
func TestForeignTokens(t *testing.T) {
	ring, root := newKeyring(t)
	other, _ := newKeyring(t)
	issue := func(k *authz.Keyring) authz.Credentials {
		c, err := k.Issue(&role, "s", time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	one, two, foreign := issue(ring), issue(ring), issue(other)
	if one.AccessKeyID == two.AccessKeyID || one.SecretAccessKey == two.SecretAccessKey || one.SessionToken == two.SessionToken {
		t.Error("two sessions share something")
	}
	if strings.Contains(one.SessionToken, one.SecretAccessKey) {
		t.Error("the token shows the secret key")
	}
	half := len(one.SessionToken) / 2
	for name, tc := range map[string][2]string{
		"no token":              {one.AccessKeyID, ""},
		"another's token":       {one.AccessKeyID, two.SessionToken},
		"cut token":             {one.AccessKeyID, one.SessionToken[:half]},
		"changed token":         {one.AccessKeyID, one.SessionToken[:half] + "AAAA" + one.SessionToken[half+4:]},
		"no base64":             {one.AccessKeyID, "?" + one.SessionToken},
		"another keyring's":     {foreign.AccessKeyID, foreign.SessionToken},
		"root key with a token": {root.AccessKeyID, one.SessionToken},
		"nobody's key":          {"AKIANOBODY", ""},
		"no key":                {"", ""},
		"part of the root key":  {root.AccessKeyID[:19], ""},
	} {
		secret, who, err := ring.Secret(t.Context(), tc[0], tc[1], time.Now())
		if !errors.Is(err, sigv4.ErrUnknownKey) || secret != "" || !who.IsZero() {
			t.Errorf("%s: got %v, %v", name, who, err)
		}
	}
}

// A session is good until its last second, and known as expired after it,
// whether it was known before or not.
func TestSessionExpires(t *testing.T) {
	ring, _ := newKeyring(t)
	c, err := ring.Issue(&role, "s", 15*time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := func(what string) {
		t.Helper()
		for _, now := range []time.Time{c.Expires, c.Expires.Add(24 * time.Hour)} {
			secret, who, err := ring.Secret(t.Context(), c.AccessKeyID, c.SessionToken, now)
			if !errors.Is(err, sigv4.ErrExpiredSession) || secret != "" || !who.IsZero() {
				t.Errorf("%s: got %v, %v", what, who, err)
			}
		}
	}
	ended("never seen")
	if _, _, err := ring.Secret(t.Context(), c.AccessKeyID, c.SessionToken, c.Expires.Add(-time.Nanosecond)); err != nil {
		t.Errorf("before the end: %v", err)
	}
	ended("seen before")
	if _, _, err := ring.Secret(t.Context(), "ASIAOTHER", c.SessionToken, c.Expires); !errors.Is(err, sigv4.ErrUnknownKey) {
		t.Errorf("for another key: got %v, want that nothing is told", err)
	}
}
