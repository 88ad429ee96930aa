package secretsmanager

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

const (
	account  = "123456789012"
	stranger = "999999999999"
	home     = "us-east-1"
	away     = "eu-west-1"
	third    = "ap-southeast-2"
	function = "arn:aws:lambda:us-east-1:123456789012:function:rotate"
)

// bench is the service on a real store, served over HTTP without signature
// checks: the access key names the caller, who is root unless user or
// roleSession made it.
type bench struct {
	*Service
	t      testing.TB
	dir    string
	keeper key.Keeper
	url    string
	log    *bytes.Buffer

	mu        sync.Mutex
	callers   map[string]iam.Principal
	recorded  []trail.Event // reads and failures
	cannot    error         // why functions cannot be invoked
	wakes     int
	invokable []string // what CanInvoke was asked
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), log: new(bytes.Buffer), callers: map[string]iam.Principal{}}
	db, err := sqlite.Open(t.Context(), sqlite.Config{Dir: b.dir})
	b.must(err)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	root := make([]byte, 32)
	_, _ = rand.Read(root)
	k, err := keeper.NewEnvironment(base64.StdEncoding.EncodeToString(root))
	b.must(err)
	b.keeper = k
	wrapped, err := key.NewSealerKey(t.Context(), k)
	b.must(err)
	sealer, err := key.NewSealer(t.Context(), k, wrapped)
	b.must(err)
	b.Service = New(Config{
		Store: db, Guard: authz.NewGuard(db, k), Keys: key.NewRing(k, 0), Sealer: sealer, Regions: []string{home, away, third},
		CanInvoke: b.canInvoke, Logger: slog.New(slog.NewTextHandler(b.log, nil)),
		Wake: func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.wakes++
		},
	})
	server := httptest.NewServer(wire.NewHandler(wire.Config{
		Services: []*wire.Service{b.Wire()}, Authenticate: b.authenticate, Record: b.record, Log: b.Logger,
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) canInvoke(_ *store.Tx, functionARN, secretARN, account string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.invokable = append(b.invokable, functionARN+" "+secretARN+" "+account)
	return b.cannot
}

func (b *bench) record(events ...*trail.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		b.recorded = append(b.recorded, *e)
	}
	return nil
}

// caller is from where and as whom a request is made.
type caller struct{ region, accessKey string }

var (
	root     = caller{home, "AKIAROOT"}
	rootAway = caller{away, "AKIAROOT"}
	foreign  = caller{home, "AKIASTRANGER"}
)

// object is an answer.
type object = map[string]any

// refusal is an error answer.
type refusal struct {
	status        int
	code, message string
}

// send sends one request and returns the whole answer.
func (b *bench) send(c caller, operation, body string) (int, http.Header, []byte) {
	b.t.Helper()
	q, err := http.NewRequestWithContext(context.Background(), http.MethodPost, b.url+"/", strings.NewReader(body))
	b.must(err)
	q.Header.Set("X-Amz-Target", "secretsmanager."+operation)
	q.Header.Set("Content-Type", "application/x-amz-json-1.1")
	q.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
	q.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+c.accessKey+time.Now().UTC().Format("/20060102/")+c.region+
		"/secretsmanager/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64))
	r, err := http.DefaultClient.Do(q)
	b.must(err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	b.must(err)
	return r.StatusCode, r.Header, text
}

// post sends one request. Exactly one of the results is set.
func (b *bench) post(c caller, operation, body string) (object, *refusal) {
	b.t.Helper()
	status, _, text := b.send(c, operation, body)
	var got object
	if len(text) > 0 {
		if err := json.Unmarshal(text, &got); err != nil {
			b.t.Fatalf("%s: %v: %s", operation, err, text)
		}
	}
	if status == http.StatusOK {
		return got, nil
	}
	code, _ := got["__type"].(string)
	message, ok := got["Message"].(string)
	if !ok {
		message, _ = got["message"].(string)
	}
	return nil, &refusal{status, code, message}
}

// ok sends a request that must succeed.
func (b *bench) ok(operation, body string) object { b.t.Helper(); return b.okAs(root, operation, body) }

func (b *bench) okAs(c caller, operation, body string) object {
	b.t.Helper()
	got, refused := b.post(c, operation, body)
	if refused != nil {
		b.t.Fatalf("%s %s: %d %s: %s", operation, body, refused.status, refused.code, refused.message)
	}
	return got
}

// refused sends a request that must fail with the code and the text. A text
// that ends in "…" is a beginning.
func (b *bench) refused(operation, body, code, text string) {
	b.t.Helper()
	b.refusedAs(root, operation, body, code, text)
}

func (b *bench) refusedAs(c caller, operation, body, code, text string) {
	b.t.Helper()
	got, refused := b.post(c, operation, body)
	if refused == nil {
		b.t.Errorf("%s %s: got %v, want %s", operation, body, got, code)
		return
	}
	begins, cut := strings.CutSuffix(text, "…")
	if refused.status != 400 || refused.code != code || refused.message != text && (!cut || !strings.HasPrefix(refused.message, begins)) {
		b.t.Errorf("%s %s:\n got %d %s: %s\nwant 400 %s: %s", operation, body, refused.status, refused.code, refused.message, code, text)
	}
}

// tok pads a short name to the length of a token.
func tok(name string) string { return name + strings.Repeat("-", 32-len(name)) }

// create makes a secret with version v1 and returns its ARN.
func (b *bench) create(name, value string) string {
	b.t.Helper()
	return b.ok("CreateSecret", `{"Name":"`+name+`","ClientRequestToken":"`+tok("v1")+`","SecretString":"`+value+`"}`)["ARN"].(string)
}

// put adds a version; labels is a JSON list or "".
func (b *bench) put(name, version, value, labels string) object {
	b.t.Helper()
	if labels != "" {
		labels = `,"VersionStages":` + labels
	}
	return b.ok("PutSecretValue", `{"SecretId":"`+name+`","ClientRequestToken":"`+tok(version)+`","SecretString":"`+value+`"`+labels+`}`)
}

// value reads the current value.
func (b *bench) value(c caller, name string) string {
	b.t.Helper()
	return b.okAs(c, "GetSecretValue", `{"SecretId":"`+name+`"}`)["SecretString"].(string)
}

// stored reads a secret's record.
func (b *bench) stored(region, name string) *secret.Secret {
	b.t.Helper()
	var s *secret.Secret
	b.must(b.Store.View(b.t.Context(), func(tx *store.Tx) (err error) {
		s, err = tx.FindSecret(account, region, arn.SecretRef{Name: name})
		return err
	}))
	return s
}

// edit changes a secret's record behind the service's back.
func (b *bench) edit(region, name string, fn func(*secret.Secret)) {
	b.t.Helper()
	b.must(b.Store.Update(b.t.Context(), func(tx *store.Tx) error {
		before, err := tx.FindSecret(account, region, arn.SecretRef{Name: name})
		if err != nil {
			return err
		}
		after := before.Clone()
		fn(after)
		return tx.SaveSecret(before, after)
	}))
}

// run reads the secret's rotation.
func (b *bench) run(name string) *secret.RotationRun {
	b.t.Helper()
	id := b.stored(home, name).ID
	var r *secret.RotationRun
	b.must(b.Store.View(b.t.Context(), func(tx *store.Tx) (err error) {
		r, err = tx.Run(id)
		return err
	}))
	return r
}

// editRun changes the secret's rotation behind the service's back.
func (b *bench) editRun(name string, fn func(*secret.RotationRun)) {
	b.t.Helper()
	r := b.run(name)
	fence := r.Fence
	fn(r)
	b.must(b.Store.Update(b.t.Context(), func(tx *store.Tx) error { return tx.SaveRun(r, fence) }))
}

// events lists the names of the stored events of a region, oldest first, as
// "CreateSecret" or, for service events, "*RotationAbandoned".
func (b *bench) events(region string) []string {
	b.t.Helper()
	var names []string
	for _, r := range b.trail(region) {
		name := r.Name
		if strings.Contains(string(r.JSON), `"AwsServiceEvent"`) {
			name = "*" + name
		}
		names = append(names, name)
	}
	return names
}

func (b *bench) trail(region string) []trail.Record {
	b.t.Helper()
	return b.trailOf(account, region)
}

func (b *bench) trailOf(account, region string) []trail.Record {
	b.t.Helper()
	var list []trail.Record
	b.must(b.Store.View(b.t.Context(), func(tx *store.Tx) (err error) {
		list, _, err = tx.Events(store.EventQuery{Account: account, Region: region, Limit: 1000})
		return err
	}))
	slices.Reverse(list)
	return list
}

// labels prints the labelled versions as the reference's vectors do, by
// creation.
func (b *bench) labels(name string) string {
	b.t.Helper()
	var out []string
	for _, v := range b.ok("ListSecretVersionIds", `{"SecretId":"`+name+`"}`)["Versions"].([]any) {
		v := v.(object)
		out = append(out, strings.TrimRight(v["VersionId"].(string), "-")+"["+strings.Join(texts(v["VersionStages"]), ",")+"]")
	}
	return strings.Join(out, " ")
}

// texts turns a decoded list of strings into one.
func texts(v any) []string {
	list, _ := v.([]any)
	out := make([]string, len(list))
	for i := range list {
		out[i] = list[i].(string)
	}
	return out
}

// members lists the members of an answer in order of their names.
func members(o object) string { return strings.Join(slices.Sorted(maps.Keys(o)), " ") }

// addKey makes a customer key with an alias and returns its ID.
func (b *bench) addKey(region, alias string) string {
	b.t.Helper()
	rec, err := key.NewRecord(b.t.Context(), b.keeper, key.NewKey{Account: account, Region: region, Manager: key.Customer}, time.Now())
	b.must(err)
	b.must(b.Store.Update(b.t.Context(), func(tx *store.Tx) error {
		if err := tx.SaveKey(rec); err != nil {
			return err
		}
		return tx.SaveAlias(&key.Alias{Name: "alias/" + alias, Account: account, Region: region, KeyID: rec.ID, CreatedAt: rec.CreatedAt, UpdatedAt: rec.CreatedAt})
	}))
	return rec.ID
}

// setKeyState changes the state of a key.
func (b *bench) setKeyState(region, id string, state key.State) {
	b.t.Helper()
	b.must(b.Store.Update(b.t.Context(), func(tx *store.Tx) error {
		rec, err := tx.Key(account, region, id)
		if err != nil {
			return err
		}
		rec.State = state
		return tx.SaveKey(rec)
	}))
}
