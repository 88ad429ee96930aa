package admin_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdksts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	client "github.com/keyturn/keyturn/internal/admin"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/rekey"
	"github.com/keyturn/keyturn/internal/service/admin"
	"github.com/keyturn/keyturn/internal/service/sts"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

type bench struct {
	*servicetest.Parts
	t       testing.TB
	cfg     aws.Config
	c       *client.Client
	rekeyer *rekey.Rekeyer
}

func newBench(t testing.TB, given bool) *bench {
	t.Helper()
	p := servicetest.NewParts(t)
	b := &bench{Parts: p, t: t, rekeyer: rekey.New(rekey.Config{
		Store: p.Store, Keepers: keeper.NewSet(p.Keeper), Node: "node", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})}
	_, b.cfg = p.Serve(t,
		admin.New(admin.Config{Store: p.Store, Guard: p.Guard, Sealer: p.Sealer, Rekeyer: b.rekeyer, Account: servicetest.Account, Given: given}).Wire(),
		sts.New(sts.Config{Store: p.Store, Guard: p.Guard, Keyring: p.Keyring}).Wire())
	b.c = b.client(b.cfg)
	b.update(func(tx *store.Tx) error {
		return tx.SaveAccount(&iam.Account{ID: servicetest.Account, Name: "first", CreatedAt: time.Now().Truncate(time.Millisecond)})
	})
	return b
}

func (b *bench) update(fn func(*store.Tx) error) {
	b.t.Helper()
	if err := b.Store.Update(b.t.Context(), fn); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) client(cfg aws.Config) *client.Client {
	b.t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// as returns the configuration of another caller.
func (b *bench) as(id, secret string) aws.Config {
	cfg := b.cfg
	cfg.Credentials = credentials.NewStaticCredentialsProvider(id, secret, "")
	return cfg
}

func (b *bench) account(name, id string) *client.AccountWithKey {
	b.t.Helper()
	made, err := b.c.CreateAccount(b.t.Context(), name, id)
	if err != nil {
		b.t.Fatal(err)
	}
	return made
}

// identity asks STS who calls.
func (b *bench) identity(id, secret string) (string, error) {
	out, err := sdksts.NewFromConfig(b.as(id, secret)).GetCallerIdentity(b.t.Context(), &sdksts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return *out.Arn, nil
}

func wantRefusal(t testing.TB, what string, err error, code, message string) {
	t.Helper()
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Code != code || e.Message != message || e.Status != 400 {
		t.Errorf("%s: got %v, want %s: %s", what, err, code, message)
	}
}

func TestAccounts(t *testing.T) {
	b := newBench(t, true)
	ctx := t.Context()
	made := b.account("payments", "210987654321")
	if made.Account.AccountID != "210987654321" || made.Account.Name != "payments" || time.Since(made.Account.CreatedDate.Time) > time.Minute {
		t.Errorf("got %+v", made.Account)
	}
	if k := made.AccessKey; k.AccountID != "210987654321" || len(k.AccessKeyID) != 20 || len(k.SecretAccessKey) != 40 {
		t.Errorf("got an access key %s with a secret of %d characters", k.AccessKeyID, len(k.SecretAccessKey))
	}
	if who, err := b.identity(made.AccessKey.AccessKeyID, made.AccessKey.SecretAccessKey); err != nil || who != "arn:aws:iam::210987654321:root" {
		t.Errorf("the account's root is %s, %v", who, err)
	}
	_, err := b.c.CreateAccount(ctx, "again", "210987654321")
	wantRefusal(t, "an ID twice", err, "AccountAlreadyExistsException", "The account 210987654321 exists already.")
	chosen := b.account("a name with spaces", "").Account.AccountID
	if len(chosen) != 12 || chosen[0] == '0' {
		t.Errorf("the server chose %s", chosen)
	}
	list, err := b.c.ListAccounts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, a := range list {
		ids = append(ids, a.AccountID)
	}
	want := []string{servicetest.Account, "210987654321", chosen}
	if slices.Sort(want); !slices.Equal(ids, want) {
		t.Errorf("got %v, want %v", ids, want)
	}
	detail, err := b.c.DescribeAccount(ctx, "210987654321")
	if err != nil || len(detail.AccessKeys) != 1 || detail.AccessKeys[0].AccessKeyID != made.AccessKey.AccessKeyID {
		t.Errorf("got %+v, %v", detail, err)
	}
	if diff := cmp.Diff(made.Account, detail.Account); diff != "" {
		t.Errorf("account (-made +described):\n%s", diff)
	}
	_, err = b.c.DescribeAccount(ctx, "000000000000")
	wantRefusal(t, "no account", err, "ResourceNotFoundException", "There is no account 000000000000.")
	_, err = b.c.CreateAccount(ctx, strings.Repeat("n", 51), "12")
	wantRefusal(t, "bad words", err, "ValidationException", "2 validation errors detected: "+
		"Value '"+strings.Repeat("n", 51)+"' at 'name' failed to satisfy constraint: Member must have length less than or equal to 50; "+
		"Value '12' at 'accountId' failed to satisfy constraint: Member must satisfy regular expression pattern: [0-9]{12}")
}

// The list of many accounts comes in pages.
func TestManyAccounts(t *testing.T) {
	b := newBench(t, true)
	b.update(func(tx *store.Tx) error {
		for i := range 250 {
			id := base64.StdEncoding.EncodeToString([]byte{byte(i)}) // any text will do
			if err := tx.SaveAccount(&iam.Account{ID: id, Name: "n"}); err != nil {
				return err
			}
		}
		return nil
	})
	list, err := b.c.ListAccounts(t.Context())
	if err != nil || len(list) != 251 {
		t.Errorf("got %d accounts, %v; want 251", len(list), err)
	}
}

func TestRootAccessKeys(t *testing.T) {
	b := newBench(t, true)
	ctx := t.Context()
	const account = "210987654321"
	first := b.account("payments", account).AccessKey
	second, err := b.c.CreateRootAccessKey(ctx, account)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.c.CreateRootAccessKey(ctx, account)
	wantRefusal(t, "a third key", err, "LimitExceededException", "The root of account 210987654321 has 2 access keys already: delete one first.")
	for _, k := range []*client.AccessKey{&first, second} {
		if who, err := b.identity(k.AccessKeyID, k.SecretAccessKey); err != nil || who != "arn:aws:iam::210987654321:root" {
			t.Errorf("%s is %s, %v", k.AccessKeyID, who, err)
		}
	}
	wantRefusal(t, "another account's key", b.c.DeleteRootAccessKey(ctx, servicetest.Account, first.AccessKeyID),
		"ResourceNotFoundException", "The root of account 123456789012 has no access key "+first.AccessKeyID+".")
	if err := b.c.DeleteRootAccessKey(ctx, account, first.AccessKeyID); err != nil {
		t.Fatal(err)
	}
	_, err = b.identity(first.AccessKeyID, first.SecretAccessKey)
	servicetest.WantError(t, "the deleted key", err, "InvalidClientTokenId", 403, "The security token included in the request is invalid.")
	if _, err := b.identity(second.AccessKeyID, second.SecretAccessKey); err != nil {
		t.Errorf("the other key: %v", err)
	}
	wantRefusal(t, "deleted already", b.c.DeleteRootAccessKey(ctx, account, first.AccessKeyID),
		"ResourceNotFoundException", "The root of account 210987654321 has no access key "+first.AccessKeyID+".")
	_, err = b.c.CreateRootAccessKey(ctx, "000000000000")
	wantRefusal(t, "no account", err, "ResourceNotFoundException", "There is no account 000000000000.")
	if err := b.c.DeleteRootAccessKey(ctx, account, second.AccessKeyID); err != nil {
		t.Errorf("the last key of another account: %v", err)
	}
}

// The first account keeps a root access key, unless it has one outside the
// store.
func TestLastRootAccessKey(t *testing.T) {
	for _, given := range []bool{true, false} {
		b := newBench(t, given)
		k, err := b.c.CreateRootAccessKey(t.Context(), servicetest.Account)
		if err != nil {
			t.Fatal(err)
		}
		err = b.c.DeleteRootAccessKey(t.Context(), servicetest.Account, k.AccessKeyID)
		if given && err != nil {
			t.Error(err)
		}
		if !given {
			wantRefusal(t, "the last key", err, "LastAccessKeyException",
				"The access key "+k.AccessKeyID+" is the last one of the first account's root: make another first.")
		}
	}
}

// user makes a user of the first account with a policy, and returns its
// client.
func (b *bench) user(name, policy string) *client.Client {
	b.t.Helper()
	id, secret := authz.NewAccessKey()
	b.update(func(tx *store.Tx) error {
		u := &iam.User{Account: servicetest.Account, Name: name, Path: "/", ID: "AIDA" + strings.ToUpper(name), CreatedAt: time.Now()}
		u.Inline = map[string]string{"p": policy}
		if err := tx.SaveUser(nil, u); err != nil {
			return err
		}
		return tx.SaveAccessKey(&iam.AccessKey{ID: id, Account: servicetest.Account, UserName: name, Secret: authz.SealAccessKey(b.Sealer, id, secret)})
	})
	return b.client(b.as(id, secret))
}

// Operators are whom the first account's policies admit; the roots of other
// accounts are none.
func TestAuthorisation(t *testing.T) {
	b := newBench(t, true)
	ctx := t.Context()
	made := b.account("payments", "210987654321")
	stranger := b.client(b.as(made.AccessKey.AccessKeyID, made.AccessKey.SecretAccessKey))
	reader := b.user("reader", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["keyturn:ListAccounts","keyturn:DescribeRekey"],"Resource":"*"}]}`)
	if _, err := reader.ListAccounts(ctx); err != nil {
		t.Errorf("an allowed call: %v", err)
	}
	if _, err := reader.DescribeRekey(ctx); err != nil {
		t.Errorf("an allowed call: %v", err)
	}
	calls := map[string]func(c *client.Client) error{
		"CreateAccount":       func(c *client.Client) error { _, err := c.CreateAccount(ctx, "n", "111111111111"); return err },
		"ListAccounts":        func(c *client.Client) error { _, err := c.ListAccounts(ctx); return err },
		"DescribeAccount":     func(c *client.Client) error { _, err := c.DescribeAccount(ctx, "210987654321"); return err },
		"CreateRootAccessKey": func(c *client.Client) error { _, err := c.CreateRootAccessKey(ctx, servicetest.Account); return err },
		"DeleteRootAccessKey": func(c *client.Client) error {
			return c.DeleteRootAccessKey(ctx, "210987654321", made.AccessKey.AccessKeyID)
		},
		"StartRekey":    func(c *client.Client) error { _, err := c.StartRekey(ctx); return err },
		"DescribeRekey": func(c *client.Client) error { _, err := c.DescribeRekey(ctx); return err },
	}
	for name, call := range calls {
		wantRefusal(t, "a stranger's "+name, call(stranger), "AccessDeniedException",
			"User: arn:aws:iam::210987654321:root is not authorized to perform: keyturn:"+name+" because only principals of the deployment's first account may")
		if name == "ListAccounts" || name == "DescribeRekey" {
			continue
		}
		wantRefusal(t, "the reader's "+name, call(reader), "AccessDeniedException",
			"User: arn:aws:iam::123456789012:user/reader is not authorized to perform: keyturn:"+name+" on resource: * because no identity-based policy allows the keyturn:"+name+" action")
	}
}

// Policies from AWS that leave out IAM, in whichever way, do not know of these
// actions. They must not make anybody a root: an access key of a root takes
// IAM's permission as well.
func TestRootKeysTakeIAM(t *testing.T) {
	b := newBench(t, true)
	ctx := t.Context()
	made := b.account("payments", "210987654321")
	second, err := b.c.CreateRootAccessKey(ctx, "210987654321")
	if err != nil {
		t.Fatal(err)
	}
	const broad = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":["iam:*","organizations:*"],"Resource":"*"}%s]}`
	power := b.user("power", fmt.Sprintf(broad, ""))
	const denied = "User: arn:aws:iam::123456789012:user/power is not authorized to perform: iam:%sAccessKey on resource: arn:aws:iam::%s:root " +
		"because no identity-based policy allows the iam:%[1]sAccessKey action"
	_, err = power.CreateRootAccessKey(ctx, servicetest.Account)
	wantRefusal(t, "the first account's root", err, "AccessDeniedException", fmt.Sprintf(denied, "Create", servicetest.Account))
	_, err = power.CreateRootAccessKey(ctx, "210987654321")
	wantRefusal(t, "another account's root", err, "AccessDeniedException", fmt.Sprintf(denied, "Create", "210987654321"))
	_, err = power.CreateAccount(ctx, "mine", "333333333333")
	wantRefusal(t, "a new account's root", err, "AccessDeniedException", fmt.Sprintf(denied, "Create", "333333333333"))
	err = power.DeleteRootAccessKey(ctx, "210987654321", made.AccessKey.AccessKeyID)
	wantRefusal(t, "a root's key", err, "AccessDeniedException", fmt.Sprintf(denied, "Delete", "210987654321"))
	operator := b.user("operator", fmt.Sprintf(broad, `,{"Effect":"Allow","Action":"iam:*AccessKey","Resource":"arn:aws:iam::210987654321:root"}`))
	if err := operator.DeleteRootAccessKey(ctx, "210987654321", second.AccessKeyID); err != nil {
		t.Errorf("with both permissions: %v", err)
	}
	if _, err := operator.CreateRootAccessKey(ctx, "210987654321"); err != nil {
		t.Errorf("with both permissions: %v", err)
	}
	_, err = operator.CreateRootAccessKey(ctx, servicetest.Account)
	wantRefusal(t, "with both permissions on another root", err, "AccessDeniedException",
		strings.Replace(fmt.Sprintf(denied, "Create", servicetest.Account), "power", "operator", 1))
}

// Changes are in the trail with who made them, and without the secrets.
func TestTrail(t *testing.T) {
	b := newBench(t, true)
	made := b.account("payments", "210987654321")
	k, err := b.c.CreateRootAccessKey(t.Context(), "210987654321")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.c.StartRekey(t.Context()); err != nil {
		t.Fatal(err)
	}
	var events []trail.Record
	err = b.Store.View(t.Context(), func(tx *store.Tx) (err error) {
		events, _, err = tx.Events(store.EventQuery{Account: servicetest.Account, Region: servicetest.Region, Limit: 10})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range events {
		names = append(names, e.Name)
		text := string(e.JSON)
		if strings.Contains(text, made.AccessKey.SecretAccessKey) || strings.Contains(text, k.SecretAccessKey) {
			t.Errorf("the event of %s shows a secret access key", e.Name)
		}
		if e.Source != "keyturn.amazonaws.com" || !strings.Contains(text, "arn:aws:iam::123456789012:root") {
			t.Errorf("got event %s of %s", text, e.Source)
		}
	}
	slices.Sort(names)
	if want := []string{"CreateAccount", "CreateRootAccessKey", "StartRekey"}; !slices.Equal(names, want) {
		t.Errorf("got events %v, want %v", names, want)
	}
}

func TestRekeyWithNothingToDo(t *testing.T) {
	b := newBench(t, true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	before, err := b.c.DescribeRekey(ctx)
	if err != nil || before.Rekey != nil || before.RootKeyID != b.Keeper.ID() || len(before.Remaining) != 0 {
		t.Errorf("before: got %+v, %v", before, err)
	}
	wrapped, err := key.NewSealerKey(ctx, b.Keeper)
	if err != nil {
		t.Fatal(err)
	}
	b.update(func(tx *store.Tx) error { return tx.SetSealerKey(wrapped) })
	r, err := b.c.StartRekey(ctx)
	if err != nil || !r.Done() || r.RewrappedCount != 0 || r.RootKeyID != b.Keeper.ID() || r.CompletedDate == nil {
		t.Errorf("got %+v, %v", r, err)
	}
}
