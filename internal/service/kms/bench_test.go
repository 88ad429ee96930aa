package kms_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/service/kms"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

const (
	account = servicetest.Account
	foreign = "999999999999"
	prefix  = "arn:aws:kms:us-east-1:123456789012:"
	absent  = "01234567-89ab-cdef-0123-456789abcdef"
)

// bench serves KMS to callers of whom it knows who they are.
type bench struct {
	*servicetest.Parts
	t    testing.TB
	svc  *kms.Service
	ring *key.Ring
	cfg  aws.Config
	// c is the client of the account's root.
	c *sdk.Client

	mu      sync.Mutex
	callers []iam.Principal
	reads   []trail.Event
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{Parts: servicetest.NewParts(t), t: t}
	b.ring = key.NewRing(b.Keeper, 0)
	b.svc = kms.New(kms.Config{Store: b.Store, Guard: b.Guard, Keeper: b.Keeper, Keys: b.ring, Logger: slog.New(slog.DiscardHandler)})
	s := httptest.NewServer(wire.NewHandler(wire.Config{
		Services: []*wire.Service{b.svc.Wire()}, Authenticate: b.authenticate, Record: b.record,
	}))
	t.Cleanup(s.Close)
	b.cfg = aws.Config{Region: servicetest.Region, BaseEndpoint: &s.URL, RetryMaxAttempts: 1, HTTPClient: servicetest.HTTPClient()}
	b.c = b.as(authz.RootPrincipal(account, ""))
	b.must(b.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveAccount(&iam.Account{ID: account}) }))
	return b
}

func (b *bench) authenticate(_ context.Context, q *sigv4.Request, _ []byte, _ string) (iam.Principal, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var i int
	if _, err := fmt.Sscanf(q.Scope.AccessKeyID, "AKIA%d", &i); err != nil {
		return iam.Principal{}, err
	}
	return b.callers[i], nil
}

func (b *bench) record(events ...*trail.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		b.reads = append(b.reads, *e)
	}
	return nil
}

// as returns the client of a caller with identity policies.
func (b *bench) as(p iam.Principal, policies ...string) *sdk.Client {
	b.t.Helper()
	if p.Type != iam.Root {
		p.Identity = &iam.Identity{}
	}
	for _, text := range policies {
		policy, err := iam.CompileText(text, "test")
		b.must(err)
		p.Identity.Policies = append(p.Identity.Policies, policy)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.callers = append(b.callers, p)
	cfg := b.cfg
	cfg.Credentials = credentials.NewStaticCredentialsProvider(fmt.Sprintf("AKIA%d", len(b.callers)-1), "secret", "")
	return sdk.NewFromConfig(cfg)
}

// user returns a user of an account.
func user(account, name string) iam.Principal {
	return iam.Principal{Type: iam.IAMUser, Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, ID: "AIDA" + name, Name: name}
}

// session returns a session of a role.
func session(account, role, name string) iam.Principal {
	return iam.Principal{
		Type: iam.AssumedRole, Account: account, ARN: "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + name, ID: "AROA" + role + ":" + name,
		Name: role, Session: name, RoleARN: "arn:aws:iam::" + account + ":role/" + role, IssuedAt: time.Now(),
	}
}

// known stores users and roles, as grants and key policies may name only what
// exists.
func (b *bench) known(users, roles []string) {
	b.t.Helper()
	b.must(b.Store.Update(b.t.Context(), func(tx *store.Tx) error {
		for _, name := range users {
			if err := tx.SaveUser(nil, &iam.User{Account: account, Name: name, Path: "/", ID: "AIDA" + name}); err != nil {
				return err
			}
		}
		for _, name := range roles {
			if err := tx.SaveRole(nil, &iam.Role{Account: account, Name: name, Path: "/", ID: "AROA" + name}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// allowing is an identity policy.
func allowing(resource string, actions ...string) string {
	list, _ := json.Marshal(actions)
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + string(list) + `,"Resource":"` + resource + `"}]}`
}

// refusal is AWS's text.
func refusal(p iam.Principal, action, resource, why string) string {
	return "User: " + p.ARN + " is not authorized to perform: " + action + " on resource: " + resource + " because no " + why + " allows the " + action + " action"
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// wantCode demands a refusal by its code alone.
func (b *bench) wantCode(what string, err error, code string) {
	b.t.Helper()
	api, _ := errors.AsType[smithy.APIError](err)
	if api == nil && code != "" || api != nil && api.ErrorCode() != code {
		b.t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

// key makes a key and returns its ID.
func (b *bench) key() string {
	b.t.Helper()
	out, err := b.c.CreateKey(b.t.Context(), &sdk.CreateKeyInput{})
	b.must(err)
	return *out.KeyMetadata.KeyId
}

func (b *bench) alias(name, target string) error {
	_, err := b.c.CreateAlias(b.t.Context(), &sdk.CreateAliasInput{AliasName: &name, TargetKeyId: &target})
	return err
}

func (b *bench) describe(id string) (*types.KeyMetadata, error) {
	out, err := b.c.DescribeKey(b.t.Context(), &sdk.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return nil, err
	}
	return out.KeyMetadata, nil
}

// encrypt encrypts text as the root.
func (b *bench) encrypt(id, text string, ec map[string]string) []byte {
	b.t.Helper()
	out, err := b.c.Encrypt(b.t.Context(), &sdk.EncryptInput{KeyId: &id, Plaintext: []byte(text), EncryptionContext: ec})
	b.must(err)
	return out.CiphertextBlob
}

// put gives a key a policy, whatever it says.
func (b *bench) put(id, policy string) {
	b.t.Helper()
	_, err := b.c.PutKeyPolicy(b.t.Context(), &sdk.PutKeyPolicyInput{KeyId: &id, Policy: &policy, BypassPolicyLockoutSafetyCheck: true})
	b.must(err)
}

// setState changes a key's state behind the service's back.
func (b *bench) setState(id string, state key.State, deleteAt time.Time) {
	b.t.Helper()
	b.must(b.Store.Update(b.t.Context(), func(tx *store.Tx) error {
		rec, err := tx.Key(account, servicetest.Region, id)
		if err != nil {
			return err
		}
		rec.State, rec.DeleteAt = state, deleteAt
		return tx.SaveKey(rec)
	}))
}

// events returns the stored events with a name, newest first.
func (b *bench) events(name string) (list []map[string]any) {
	b.t.Helper()
	b.must(b.Store.View(b.t.Context(), func(tx *store.Tx) error {
		found, _, err := tx.Events(store.EventQuery{Account: account, Region: servicetest.Region, Attribute: store.EventName, Value: name, Limit: 50})
		for _, r := range found {
			list = append(list, b.parse(r.JSON))
		}
		return err
	}))
	return list
}

func (b *bench) parse(text []byte) (event map[string]any) {
	b.t.Helper()
	b.must(json.Unmarshal(text, &event))
	return event
}

// read returns the newest event of a call that changed nothing, with its
// text.
func (b *bench) read(name string) (event map[string]any, text string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.reads) - 1; i >= 0; i-- {
		if b.reads[i].Name == name {
			r, err := b.reads[i].Record()
			b.must(err)
			return b.parse(r.JSON), string(r.JSON)
		}
	}
	b.t.Fatalf("there is no event %s", name)
	return nil, ""
}

// at looks into an event.
func at(event map[string]any, path string) any {
	var v any = event
	for _, name := range strings.Split(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}
