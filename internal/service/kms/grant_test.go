package kms_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

// grant makes a grant as the root.
func (b *bench) grant(id, grantee string, change func(*sdk.CreateGrantInput), ops ...types.GrantOperation) *sdk.CreateGrantOutput {
	b.t.Helper()
	in := &sdk.CreateGrantInput{KeyId: &id, GranteePrincipal: &grantee, Operations: ops}
	if change != nil {
		change(in)
	}
	out, err := b.c.CreateGrant(b.t.Context(), in)
	b.must(err)
	return out
}

func (b *bench) grants(id string) []types.GrantListEntry {
	b.t.Helper()
	var list []types.GrantListEntry
	for p := sdk.NewListGrantsPaginator(b.c, &sdk.ListGrantsInput{KeyId: &id, Limit: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(b.t.Context())
		b.must(err)
		list = append(list, page.Grants...)
	}
	return list
}

// A grant lets a principal do just what it says, with nobody's policy.
func TestGrantAllows(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"app"}, []string{"app"})
	id := b.key()
	blob := b.encrypt(id, "value", map[string]string{"App": "orders"})
	app, role := user(account, "app"), session(account, "app", "s1")
	decrypt := func(c *sdk.Client) error {
		_, err := c.Decrypt(ctx, &sdk.DecryptInput{CiphertextBlob: blob, EncryptionContext: map[string]string{"App": "orders"}})
		return err
	}
	encrypt := func(c *sdk.Client) error {
		_, err := c.Encrypt(ctx, &sdk.EncryptInput{KeyId: aws.String(prefix + "key/" + id), Plaintext: []byte("x")})
		return err
	}
	arn := prefix + "key/" + id
	for _, tc := range []struct {
		what    string
		caller  iam.Principal
		grantee string
		change  func(*sdk.CreateGrantInput)
		policy  []string
		want    string // the code
	}{
		{"the user", app, app.ARN, nil, nil, ""},
		{"another user", user(account, "other"), app.ARN, nil, nil, "AccessDeniedException"},
		{"a session of the role", role, role.RoleARN, nil, nil, ""},
		{"a session by itself", role, role.ARN, nil, nil, ""},
		{"another session", session(account, "app", "s2"), role.ARN, nil, nil, "AccessDeniedException"},
		{"a stranger by name", user(foreign, "app"), "arn:aws:iam::" + foreign + ":user/app", nil, nil, ""},
		{"the other account's root", authz.RootPrincipal(foreign, ""), "arn:aws:iam::" + foreign + ":root", nil, nil, ""},
		{"an account without own policy", user(foreign, "app"), "arn:aws:iam::" + foreign + ":root", nil, nil, "AccessDeniedException"},
		{"an account with own policy", user(foreign, "app"), "arn:aws:iam::" + foreign + ":root", nil, []string{allowing(arn, "kms:Decrypt")}, ""},
		{"an account by number", user(foreign, "app"), foreign, nil, []string{allowing(arn, "kms:Decrypt")}, ""},
		{"with an explicit deny", app, app.ARN, nil,
			[]string{`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*"}]}`}, "AccessDeniedException"},
		{"with the constraint met", app, app.ARN, func(in *sdk.CreateGrantInput) {
			in.Constraints = &types.GrantConstraints{EncryptionContextEquals: map[string]string{"app": "orders"}}
		}, nil, ""},
		{"with the constraint not met", app, app.ARN, func(in *sdk.CreateGrantInput) {
			in.Constraints = &types.GrantConstraints{EncryptionContextSubset: map[string]string{"App": "bills"}}
		}, nil, "AccessDeniedException"},
	} {
		made := b.grant(id, tc.grantee, tc.change, "Decrypt")
		c := b.as(tc.caller, tc.policy...)
		b.wantCode(tc.what, decrypt(c), tc.want)
		b.wantCode(tc.what+": another operation", encrypt(c), "AccessDeniedException")
		_, err := b.c.RevokeGrant(ctx, &sdk.RevokeGrantInput{KeyId: &id, GrantId: made.GrantId})
		b.must(err)
		b.wantCode(tc.what+": revoked", decrypt(c), "AccessDeniedException")
	}
	if left := b.grants(id); len(left) != 0 {
		t.Errorf("%d grants are left", len(left))
	}
}

// Whoever is made anew by a name has none of what the old one was granted.
func TestGrantNamesake(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"app", "other"}, []string{"app"})
	id := b.key()
	app, role := user(account, "app"), session(account, "app", "s")
	b.grant(id, app.ARN, func(in *sdk.CreateGrantInput) { in.RetiringPrincipal = &role.RoleARN }, "Encrypt")
	b.put(id, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+accountRoot+`"},"Action":"kms:*","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":"`+role.ARN+`"},"Action":"kms:Encrypt","Resource":"*"}]}`)
	encrypt := func(p iam.Principal) error {
		_, err := b.as(p).Encrypt(ctx, &sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
		return err
	}
	b.wantCode("the grantee", encrypt(app), "")
	b.wantCode("the session", encrypt(role), "")
	b.must(b.Store.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(tx.DeleteUser(account, "app"), tx.DeleteRole(account, "app"))
	}))
	anew, roleAnew := app, role
	anew.ID, roleAnew.ID = "AIDAanew", "AROAanew:s"
	b.wantCode("a user by the name", encrypt(anew), "AccessDeniedException")
	b.wantCode("a role by the name", encrypt(roleAnew), "AccessDeniedException")
	g := b.grants(id)[0]
	if *g.GranteePrincipal != "AIDAapp" || *g.RetiringPrincipal != "AROAapp" {
		t.Errorf("the grant of who is gone shows %s and %s", *g.GranteePrincipal, *g.RetiringPrincipal)
	}
	if p, err := b.c.GetKeyPolicy(ctx, &sdk.GetKeyPolicyInput{KeyId: &id}); err != nil || !strings.Contains(*p.Policy, `"AROAapp:s"`) {
		t.Errorf("the policy shows %v, %v", p, err)
	}
}

// Permissions boundaries and session policies limit a role's grant.
func TestGrantLimited(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known(nil, []string{"app"})
	id := b.key()
	role := session(account, "app", "s1")
	b.grant(id, role.RoleARN, nil, "Encrypt")
	role.Identity = &iam.Identity{}
	policy, err := iam.CompileText(allowing("*", "kms:Decrypt"), "session")
	b.must(err)
	limited := func(change func(*iam.Identity)) error {
		c := b.as(role)
		b.mu.Lock()
		change(b.callers[len(b.callers)-1].Identity)
		b.mu.Unlock()
		_, err := c.Encrypt(ctx, &sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
		return err
	}
	b.wantCode("no limits", limited(func(*iam.Identity) {}), "")
	b.wantCode("session policy", limited(func(i *iam.Identity) { i.Session = []*iam.Policy{policy} }), "AccessDeniedException")
	b.wantCode("boundary", limited(func(i *iam.Identity) { i.Boundary = policy }), "AccessDeniedException")
}

func TestCreateGrant(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"app", "ops"}, nil)
	id := b.key()
	app, ops := user(account, "app").ARN, user(account, "ops").ARN
	full := func(in *sdk.CreateGrantInput) {
		in.Name, in.RetiringPrincipal = aws.String("nightly"), &ops
		in.Constraints = &types.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "b"}}
	}
	one := b.grant(id, app, full, "Decrypt", "DescribeKey")
	again := b.grant(id, app, full, "Decrypt", "DescribeKey")
	if *one.GrantId != *again.GrantId || *one.GrantToken == *again.GrantToken || !key.IsGrantID(*one.GrantId) {
		t.Errorf("repeated: got %s and %s", *one.GrantId, *again.GrantId)
	}
	other := b.grant(id, app, full, "Decrypt")
	nameless, second := b.grant(id, app, nil, "Decrypt"), b.grant(id, app, nil, "Decrypt")
	ids := []string{*one.GrantId, *other.GrantId, *nameless.GrantId, *second.GrantId}
	slices.Sort(ids)
	var got []string
	for _, g := range b.grants(id) {
		if got = append(got, *g.GrantId); *g.GrantId != *one.GrantId {
			continue
		}
		want := types.GrantListEntry{
			KeyId: aws.String(prefix + "key/" + id), GrantId: one.GrantId, Name: aws.String("nightly"), GranteePrincipal: &app, RetiringPrincipal: &ops,
			IssuingAccount: aws.String("arn:aws:iam::123456789012:root"), Operations: []types.GrantOperation{"Decrypt", "DescribeKey"},
			Constraints: &types.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "b"}}, CreationDate: g.CreationDate,
		}
		if diff := cmp.Diff(want, g, cmpopts.IgnoreUnexported(types.GrantListEntry{}, types.GrantConstraints{})); diff != "" || g.CreationDate == nil {
			t.Errorf("listed (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Errorf("grants (-want +got):\n%s", diff)
	}
	for _, tc := range []struct {
		what string
		in   sdk.ListGrantsInput
		want int
	}{
		{"one", sdk.ListGrantsInput{GrantId: other.GrantId}, 1},
		{"one of nobody", sdk.ListGrantsInput{GrantId: other.GrantId, GranteePrincipal: &ops}, 0},
		{"none", sdk.ListGrantsInput{GrantId: aws.String(key.NewGrantID())}, 0},
		{"the user's", sdk.ListGrantsInput{GranteePrincipal: &app}, 4},
		{"another's", sdk.ListGrantsInput{GranteePrincipal: &ops}, 0},
	} {
		tc.in.KeyId = &id
		out, err := b.c.ListGrants(ctx, &tc.in)
		b.must(err)
		if len(out.Grants) != tc.want {
			t.Errorf("%s: got %d grants, want %d", tc.what, len(out.Grants), tc.want)
		}
	}
	_, err := b.c.ListGrants(ctx, &sdk.ListGrantsInput{KeyId: &id, GrantId: aws.String("x")})
	servicetest.WantError(t, "no ID", err, "InvalidGrantIdException", 400, "Invalid grant ID 'x'")
	_, err = b.c.ListGrants(ctx, &sdk.ListGrantsInput{KeyId: &id, Marker: aws.String("x")})
	b.wantCode("no marker", err, "InvalidMarkerException")
	e := b.events("CreateGrant")
	if len(e) != 5 || at(e[4], "responseElements.grantId") != *one.GrantId || at(e[4], "responseElements.grantToken") != nil || at(e[4], "requestParameters.granteePrincipal") != app {
		t.Errorf("got %d events, first %v", len(e), e[len(e)-1])
	}
}

func TestCreateGrantRefusals(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"app"}, nil)
	id := b.key()
	b.must(b.alias("alias/app", id))
	app := user(account, "app").ARN
	for _, tc := range []struct {
		what   string
		change func(*sdk.CreateGrantInput)
		code   string
		text   string
	}{
		{"nobody", func(in *sdk.CreateGrantInput) { in.GranteePrincipal = aws.String("somebody") }, "InvalidArnException", "ARN does not refer to a valid principal: somebody"},
		{"no such user", func(in *sdk.CreateGrantInput) { in.GranteePrincipal = aws.String(app + "x") }, "InvalidArnException", "ARN does not refer to a valid principal: " + app + "x"},
		{"a service", func(in *sdk.CreateGrantInput) { in.GranteePrincipal = aws.String("rds.amazonaws.com") }, "InvalidArnException", "ARN does not refer to a valid principal: rds.amazonaws.com"},
		{"no such retiring role", func(in *sdk.CreateGrantInput) {
			in.RetiringPrincipal = aws.String("arn:aws:iam::123456789012:role/none")
		}, "InvalidArnException", "ARN does not refer to a valid principal: arn:aws:iam::123456789012:role/none"},
		{"signing", func(in *sdk.CreateGrantInput) { in.Operations = []types.GrantOperation{"Sign"} }, "ValidationException",
			"Grant operation Sign is not valid for a key with key usage ENCRYPT_DECRYPT."},
		{"an alias", func(in *sdk.CreateGrantInput) { in.KeyId = aws.String("alias/app") }, "NotFoundException", "Invalid keyId 'alias/app'"},
		{"an alias ARN", func(in *sdk.CreateGrantInput) { in.KeyId = aws.String(prefix + "alias/app") }, "InvalidArnException", "Invalid arn " + prefix + "alias/app"},
		{"no key", func(in *sdk.CreateGrantInput) { in.KeyId = aws.String(absent) }, "NotFoundException", "Key '" + prefix + "key/" + absent + "' does not exist"},
		{"a token", func(in *sdk.CreateGrantInput) { in.GrantTokens = []string{"x"} }, "InvalidGrantTokenException", "Invalid grant token."},
		{"dry", func(in *sdk.CreateGrantInput) { in.DryRun = aws.Bool(true) }, "DryRunOperationException", dryRunText},
	} {
		in := &sdk.CreateGrantInput{KeyId: &id, GranteePrincipal: &app, Operations: []types.GrantOperation{"Decrypt"}}
		tc.change(in)
		_, err := b.c.CreateGrant(ctx, in)
		servicetest.WantError(t, tc.what, err, tc.code, 400, tc.text)
	}
	if n := len(b.grants(id)); n != 0 {
		t.Errorf("refused calls made %d grants", n)
	}
}

// Who may create grants by a grant alone cannot give away more than that.
func TestDerivedGrant(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"app"}, nil)
	id := b.key()
	app := user(account, "app")
	c := b.as(app)
	b.grant(id, app.ARN, func(in *sdk.CreateGrantInput) {
		in.Constraints = &types.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "b"}}
	}, "Decrypt", "CreateGrant")
	for _, tc := range []struct {
		what   string
		subset map[string]string
		ops    []types.GrantOperation
		want   string
	}{
		{"less", map[string]string{"a": "b", "c": "d"}, []types.GrantOperation{"Decrypt"}, ""},
		{"more operations", map[string]string{"a": "b"}, []types.GrantOperation{"Decrypt", "Encrypt"}, "AccessDeniedException"},
		{"no constraint", nil, []types.GrantOperation{"Decrypt"}, "AccessDeniedException"},
	} {
		in := &sdk.CreateGrantInput{KeyId: &id, GranteePrincipal: &app.ARN, Operations: tc.ops}
		if tc.subset != nil {
			in.Constraints = &types.GrantConstraints{EncryptionContextSubset: tc.subset}
		}
		_, err := c.CreateGrant(ctx, in)
		b.wantCode(tc.what, err, tc.want)
	}
}

func TestRetireGrant(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"app", "ops"}, nil)
	id := b.key()
	app, ops := user(account, "app"), user(account, "ops")
	stranger := user(foreign, "ops")
	retiring := func(p string) func(*sdk.CreateGrantInput) {
		return func(in *sdk.CreateGrantInput) { in.RetiringPrincipal = &p }
	}
	arn := prefix + "key/" + id
	for _, tc := range []struct {
		what   string
		caller iam.Principal
		policy []string
		change func(*sdk.CreateGrantInput)
		ops    []types.GrantOperation
		want   string
	}{
		{"the retiring principal", ops, nil, retiring(ops.ARN), nil, ""},
		{"the retiring principal of another account", stranger, nil, retiring(stranger.ARN), nil, ""},
		{"the account's root", authz.RootPrincipal(account, ""), nil, nil, nil, ""},
		{"who may in the account", ops, []string{allowing(arn, "kms:RetireGrant")}, nil, nil, ""},
		{"who may not", ops, nil, nil, nil, "AccessDeniedException"},
		{"a stranger who may at home", stranger, []string{allowing("*", "kms:*")}, nil, nil, "AccessDeniedException"},
		{"the grantee", app, nil, nil, nil, "AccessDeniedException"},
		{"the grantee who may", app, nil, nil, []types.GrantOperation{"RetireGrant"}, ""},
		{"with an explicit deny", ops, []string{`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:RetireGrant","Resource":"*"}]}`},
			retiring(ops.ARN), nil, "AccessDeniedException"},
	} {
		c := b.as(tc.caller, tc.policy...)
		for _, byToken := range []bool{true, false} {
			made := b.grant(id, app.ARN, tc.change, append(tc.ops, "Decrypt")...)
			in := &sdk.RetireGrantInput{GrantToken: made.GrantToken}
			if !byToken {
				in = &sdk.RetireGrantInput{KeyId: &arn, GrantId: made.GrantId}
			}
			in.DryRun = aws.Bool(true)
			_, err := c.RetireGrant(ctx, in)
			if tc.want == "" {
				servicetest.WantError(t, tc.what+", dry", err, "DryRunOperationException", 400, dryRunText)
			}
			in.DryRun = nil
			_, err = c.RetireGrant(ctx, in)
			b.wantCode(fmt.Sprint(tc.what, ", by token: ", byToken), err, tc.want)
			left, err := b.c.ListGrants(ctx, &sdk.ListGrantsInput{KeyId: &id, GrantId: made.GrantId})
			b.must(err)
			if (len(left.Grants) == 0) != (tc.want == "") {
				t.Errorf("%s: %d grants are left", tc.what, len(left.Grants))
			}
			if tc.want == "" {
				if e := b.events("RetireGrant")[0]; at(e, "additionalEventData.grantId") != *made.GrantId || e["resources"].([]any)[0].(map[string]any)["ARN"] != arn {
					t.Errorf("%s: event %v", tc.what, e)
				}
			}
		}
	}
	gone := b.grant(id, app.ARN, nil, "Decrypt")
	_, err := b.c.RetireGrant(ctx, &sdk.RetireGrantInput{GrantToken: gone.GrantToken})
	b.must(err)
	for _, tc := range []struct {
		what string
		in   sdk.RetireGrantInput
		code string
		text string
	}{
		{"a retired grant by token", sdk.RetireGrantInput{GrantToken: gone.GrantToken}, "NotFoundException", "Grant ID " + *gone.GrantId + " not found"},
		{"a retired grant by ID", sdk.RetireGrantInput{KeyId: &arn, GrantId: gone.GrantId}, "NotFoundException", "Grant ID " + *gone.GrantId + " not found"},
		{"no token", sdk.RetireGrantInput{GrantToken: aws.String("x")}, "InvalidGrantTokenException", "Invalid grant token."},
		{"no ID", sdk.RetireGrantInput{KeyId: &arn, GrantId: aws.String("x")}, "InvalidGrantIdException", "Invalid grant ID 'x'"},
		{"half of it", sdk.RetireGrantInput{KeyId: &arn}, "ValidationException", "You must specify a grant token, or both a grant ID and a key ID."},
	} {
		_, err := b.c.RetireGrant(ctx, &tc.in)
		servicetest.WantError(t, tc.what, err, tc.code, 400, tc.text)
	}
	// The key's owner may revoke what another account issued, but not retire it;
	// and the key's policy can forbid it.
	b.put(id, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["`+accountRoot+`","`+foreign+`"]},"Action":"kms:*","Resource":"*"},
		{"Effect":"Deny","Principal":{"AWS":"`+ops.ARN+`"},"Action":["kms:RetireGrant","kms:Encrypt"],"Resource":"*"}]}`)
	theirs, err := b.as(authz.RootPrincipal(foreign, "")).CreateGrant(ctx, &sdk.CreateGrantInput{KeyId: &arn, GranteePrincipal: aws.String(foreign), Operations: []types.GrantOperation{"Decrypt"}})
	b.must(err)
	_, err = b.c.RetireGrant(ctx, &sdk.RetireGrantInput{GrantToken: theirs.GrantToken})
	servicetest.WantError(t, "the owner", err, "AccessDeniedException", 400, refusal(authz.RootPrincipal(account, ""), "kms:RetireGrant", arn, "resource-based policy"))
	ours := b.grant(id, ops.ARN, retiring(ops.ARN), "Encrypt")
	_, err = b.as(ops).RetireGrant(ctx, &sdk.RetireGrantInput{GrantToken: ours.GrantToken})
	b.wantCode("forbidden by the key", err, "AccessDeniedException")
	_, err = b.as(ops).Encrypt(ctx, &sdk.EncryptInput{KeyId: &arn, Plaintext: []byte("x")})
	b.wantCode("granted, but forbidden by the key", err, "AccessDeniedException")
	// Whoever may not retire learns nothing of what there is.
	_, err = b.as(stranger).RetireGrant(ctx, &sdk.RetireGrantInput{GrantToken: gone.GrantToken})
	servicetest.WantError(t, "a stranger", err, "AccessDeniedException", 400, refusal(stranger, "kms:RetireGrant", arn, "identity-based policy"))
}

func TestRevokeGrant(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id := b.key()
	made := b.grant(id, account, nil, "Decrypt")
	_, err := b.c.RevokeGrant(ctx, &sdk.RevokeGrantInput{KeyId: &id, GrantId: made.GrantId, DryRun: aws.Bool(true)})
	servicetest.WantError(t, "dry", err, "DryRunOperationException", 400, dryRunText)
	second := b.key()
	_, err = b.c.RevokeGrant(ctx, &sdk.RevokeGrantInput{KeyId: &second, GrantId: made.GrantId})
	servicetest.WantError(t, "on another key", err, "NotFoundException", 400, "Grant ID "+*made.GrantId+" not found")
	if len(b.grants(id)) != 1 {
		t.Fatal("refused calls revoked the grant")
	}
	_, err = b.c.RevokeGrant(ctx, &sdk.RevokeGrantInput{KeyId: &id, GrantId: made.GrantId})
	b.must(err)
	_, err = b.c.RevokeGrant(ctx, &sdk.RevokeGrantInput{KeyId: &id, GrantId: made.GrantId})
	servicetest.WantError(t, "again", err, "NotFoundException", 400, "Grant ID "+*made.GrantId+" not found")
	if e := b.events("RevokeGrant"); len(e) != 1 || at(e[0], "requestParameters.grantId") != *made.GrantId {
		t.Errorf("events %v", e)
	}
}

func TestListRetirableGrants(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.known([]string{"ops"}, nil)
	ops := user(account, "ops")
	var ids []string
	for range 3 {
		made := b.grant(b.key(), account, func(in *sdk.CreateGrantInput) { in.RetiringPrincipal = &ops.ARN }, "Decrypt")
		ids = append(ids, *made.GrantId)
	}
	b.grant(b.key(), account, nil, "Decrypt")
	// Another account's key, with a grant that somebody here may retire.
	there := b.as(authz.RootPrincipal(foreign, ""))
	made, err := there.CreateKey(ctx, &sdk.CreateKeyInput{})
	b.must(err)
	theirs, err := there.CreateGrant(ctx, &sdk.CreateGrantInput{KeyId: made.KeyMetadata.KeyId, GranteePrincipal: aws.String(account), RetiringPrincipal: &ops.ARN, Operations: []types.GrantOperation{"Decrypt"}})
	b.must(err)
	ids = append(ids, *theirs.GrantId)
	slices.Sort(ids)
	c := b.as(ops, allowing(ops.ARN, "kms:ListRetirableGrants"))
	var got []string
	for p := sdk.NewListRetirableGrantsPaginator(c, &sdk.ListRetirableGrantsInput{RetiringPrincipal: &ops.ARN, Limit: aws.Int32(3)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		b.must(err)
		for _, g := range page.Grants {
			got = append(got, *g.GrantId)
		}
	}
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Errorf("retirable (-want +got):\n%s", diff)
	}
	_, err = b.as(ops).ListRetirableGrants(ctx, &sdk.ListRetirableGrantsInput{RetiringPrincipal: &ops.ARN})
	servicetest.WantError(t, "without permission", err, "AccessDeniedException", 400, refusal(ops, "kms:ListRetirableGrants", ops.ARN, "identity-based policy"))
	_, err = there.ListRetirableGrants(ctx, &sdk.ListRetirableGrantsInput{RetiringPrincipal: &ops.ARN})
	b.wantCode("another account's principal", err, "AccessDeniedException")
	_, err = b.c.ListRetirableGrants(ctx, &sdk.ListRetirableGrantsInput{RetiringPrincipal: aws.String("x")})
	servicetest.WantError(t, "nobody", err, "InvalidArnException", 400, "ARN does not refer to a valid principal: x")
}

// The grants that another account may retire are that account's to list, by
// whichever of its names it is asked for.
func TestRetirableGrantsOfOthers(t *testing.T) {
	b := newBench(t)
	b.known([]string{"app"}, nil)
	foreignRoot := "arn:aws:iam::" + foreign + ":root"
	b.grant(b.key(), user(account, "app").ARN, func(in *sdk.CreateGrantInput) { in.RetiringPrincipal = &foreignRoot }, "Decrypt")
	app := b.as(user(account, "app"), allowing("*", "kms:*"))
	for _, name := range []string{foreignRoot, foreign} {
		_, err := app.ListRetirableGrants(t.Context(), &sdk.ListRetirableGrantsInput{RetiringPrincipal: &name})
		b.wantCode("grants that "+name+" may retire", err, "AccessDeniedException")
	}
}
