package keeper

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keyturn/keyturn/internal/key"
)

var _ key.Keeper = (*Remote)(nil)
var _ key.Keeper = (*Set)(nil)

// unsetCloud clears what the machine's own environment may say.
func unsetCloud(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "VAULT_CACERT", "BAO_ADDR", "BAO_TOKEN", "BAO_NAMESPACE", "BAO_CACERT",
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_PROFILE",
	} {
		t.Setenv(name, "")
	}
}

func parsed(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// checkRemote does with a keeper all that the server does.
func checkRemote(t *testing.T, k key.Keeper) {
	t.Helper()
	ctx := t.Context()
	if len(k.ID()) != 2*key.RootIDSize {
		t.Errorf("got ID %q, want 16 digits", k.ID())
	}
	plain := bytes.Repeat([]byte("p"), 190)
	wrapped, err := k.Wrap(ctx, plain)
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := key.WrappedBy(wrapped); !ok || id != k.ID() {
		t.Errorf("wrapped by %q, want %s", id, k.ID())
	}
	if bytes.Contains(wrapped, plain[:8]) {
		t.Error("the wrapped bytes show the plain ones")
	}
	got, err := k.Unwrap(ctx, wrapped)
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	other := bytes.Clone(wrapped)
	other[3] ^= 1
	if _, err := k.Unwrap(ctx, other); !errors.Is(err, key.ErrWrongRootKey) {
		t.Errorf("another ID: got %v, want the wrong root key", err)
	}
	damaged := bytes.Clone(wrapped)
	damaged[len(damaged)-3] ^= 1
	if _, err := k.Unwrap(ctx, damaged); err == nil || errors.Is(err, key.ErrWrongRootKey) {
		t.Errorf("damaged: got %v", err)
	}
	if _, err := k.Unwrap(ctx, wrapped[:5]); err == nil {
		t.Error("a part was opened")
	}
	rec, err := key.NewRecord(ctx, k, key.NewKey{Account: "123456789012", Region: "us-east-1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ring := key.NewRing(k, 0)
	blob, err := ring.Encrypt(ctx, rec, nil, []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := key.NewRing(k, 0).Decrypt(ctx, rec, nil, blob); err != nil || string(got) != "value" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := Check(ctx, k); err != nil {
		t.Error(err)
	}
}

func TestVaultDouble(t *testing.T) {
	unsetCloud(t)
	vault, address := newVaultDouble(t, "token-1", "keyturn")
	t.Setenv("VAULT_ADDR", address)
	t.Setenv("VAULT_TOKEN", "token-1")
	k, err := Open(t.Context(), "hashivault://keyturn", false)
	if err != nil {
		t.Fatal(err)
	}
	checkRemote(t, k)
	wrapped, err := k.Wrap(t.Context(), []byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	vault.rotate()
	checkRemote(t, k)
	// OpenBao's variables do as well, and the key is the same.
	t.Setenv("VAULT_ADDR", "")
	t.Setenv("VAULT_TOKEN", "")
	t.Setenv("BAO_ADDR", address)
	t.Setenv("BAO_TOKEN", "token-1")
	again, err := Open(t.Context(), "hashivault://keyturn", false)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Unwrap(t.Context(), wrapped); err != nil || string(got) != "before" || again.ID() != k.ID() {
		t.Errorf("after a rotation in Vault: got %q, %v", got, err)
	}
	if other, err := Open(t.Context(), "hashivault://keyturn?engine=other", false); err != nil || other.ID() == k.ID() {
		t.Errorf("another mount has the same ID, %v", err)
	}
}

func TestVaultDoubleToken(t *testing.T) {
	unsetCloud(t)
	vault, address := newVaultDouble(t, "token-1", "keyturn")
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("token-1")
	k, err := Open(t.Context(), "hashivault://keyturn?"+url.Values{"address": {address}, "token_file": {file}}.Encode(), false)
	if err != nil {
		t.Fatal(err)
	}
	checkRemote(t, k)
	vault.setToken("token-2")
	err = Check(t.Context(), k)
	wantText(t, err, "the root key hashivault://keyturn: wrapping a key failed:", "permission denied", "check the token", "transit/encrypt/keyturn")
	if strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "token-") {
		t.Errorf("the error has several lines or shows the token: %v", err)
	}
	write("token-2")
	checkRemote(t, k)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	wantText(t, Check(t.Context(), k), "reading Vault's token")
}

func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want one with %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %q in it", err, part)
		}
	}
}

func TestVaultDoubleFaults(t *testing.T) {
	unsetCloud(t)
	_, address := newVaultDouble(t, "token-1", "keyturn")
	t.Setenv("VAULT_ADDR", address)
	t.Setenv("VAULT_TOKEN", "token-1")
	missing, err := Open(t.Context(), "hashivault://missing", false)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, Check(t.Context(), missing), "hashivault://missing", "encryption key not found", "check the key's name")

	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer empty.Close()
	t.Setenv("VAULT_ADDR", empty.URL)
	k, err := Open(t.Context(), "hashivault://keyturn", false)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, Check(t.Context(), k), "the service's answer lacks what was asked for")

	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("VAULT_ADDR", "http://"+l.Addr().String())
	client, err := vaultClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	client.SetClientTimeout(50 * time.Millisecond)
	client.SetMaxRetries(0)
	wantText(t, Check(t.Context(), vaultRemote(parsed(t, "hashivault://keyturn"), client)), "check that the service can be reached")
}

func TestGCPDouble(t *testing.T) {
	const name = "projects/p/locations/global/keyRings/r/cryptoKeys/k"
	address := newGCPDouble(t, name)
	open := func(name string) *Remote {
		k, err := dialGCP(t.Context(), parsed(t, "gcpkms://"+name), option.WithEndpoint(address), option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	checkRemote(t, open(name))
	wantText(t, Check(t.Context(), open(name+"2")), "gcpkms://"+name+"2", "wrapping a key failed", "check the key's name")
}

// azureToken is a credential that has the token already.
type azureToken struct{}

func (azureToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "azure-token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func TestAzureDouble(t *testing.T) {
	double := newAzureDouble(t, "/keys/keyturn/0123")
	dial := func(vault string) (*azkeys.Client, error) {
		transport := double.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.ServerName = "example.com" // the double's certificate
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, double.Listener.Addr().String())
		}
		return azkeys.NewClient(vault, azureToken{}, &azkeys.ClientOptions{ClientOptions: policy.ClientOptions{
			Transport: &http.Client{Transport: transport}, Retry: policy.RetryOptions{MaxRetries: -1},
		}})
	}
	open := func(text string) *Remote {
		k, err := dialAzure(t.Context(), parsed(t, text), dial)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	checkRemote(t, open("azurekeyvault://test.vault.azure.net/keys/keyturn/0123"))
	wantText(t, Check(t.Context(), open("azurekeyvault://test.vault.azure.net/keys/other/1")), "azurekeyvault://test.vault.azure.net/keys/other/1", "KeyNotFound", "check the key's name")
}

func TestOpen(t *testing.T) {
	unsetCloud(t)
	ctx := t.Context()
	text := base64.StdEncoding.EncodeToString(rawKey)
	want := environment(t, rawKey).ID()
	t.Setenv("MY_KEY", text)
	for _, from := range []string{text, "env:MY_KEY", "env://MY_KEY"} {
		if k, err := Open(ctx, from, false); err != nil || k.ID() != want {
			t.Errorf("%s: %v", from[:4], err)
		}
	}
	path := filepath.Join(t.TempDir(), "root.key")
	made, err := Open(ctx, "file://"+path, true)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := OpenFile(path, false); err != nil || k.ID() != made.ID() {
		t.Errorf("the file of the URL: %v", err)
	}
	t.Setenv("BAD_KEY", "c2VjcmV0")
	for text, want := range map[string]string{
		"file://host/path":           "absolute path",
		"file:relative":              "absolute path",
		"file:///no/such/root.key":   "put the file back from a backup",
		"env:NOT_SET":                "no variable NOT_SET",
		"env:BAD_KEY":                "BAD_KEY: the root key has 6 bytes, want 32",
		"ftp://x":                    "the root key must be file:",
		"hashivault://user:word@key": "credentials do not belong in it",
		"hashivault://":              "the name of the transit key is missing",
		"hashivault://k":             "set VAULT_ADDR",
		"hashivault://k?address=http://127.0.0.1:1":      "set VAULT_TOKEN",
		"hashivault://k?adress=x":                        `no parameter "adress"`,
		"awskms://":                                      "awskms:///alias/keyturn",
		"awskms:///alias/k?no=1":                         `unknown query parameter "no"`,
		"gcpkms://projects/p":                            "want gcpkms://projects/P",
		"azurekeyvault://v.vault.azure.net/keys/keyturn": "the version too",
	} {
		_, err := Open(ctx, text, false)
		wantText(t, err, want)
		if err != nil && (strings.Contains(err.Error(), "word") || strings.Contains(err.Error(), "c2Vj")) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

// An AWS key given by alias is another one in each region; one given by ARN
// is the same from everywhere.
func TestAWSIdentity(t *testing.T) {
	unsetCloud(t)
	id := func(text string) string {
		k, err := Open(t.Context(), text, false)
		if err != nil {
			t.Fatal(err)
		}
		return k.ID()
	}
	const arn = "awskms:///arn:aws:kms:us-east-1:123456789012:key/5a3c0b52-6d7f-4b6a-9d3e-0f5b8f3a2c11"
	if id("awskms:///alias/k?region=us-east-1") == id("awskms:///alias/k?region=eu-west-1") {
		t.Error("an alias is one key in two regions")
	}
	t.Setenv("AWS_REGION", "us-east-1")
	if id("awskms:///alias/k?region=us-east-1") != id("awskms:///alias/k") {
		t.Error("the region of the environment does not count")
	}
	if id(arn) != id(arn+"?region=eu-west-1") {
		t.Error("one ARN is two keys")
	}
	k, err := Open(t.Context(), "awskms:///alias/k?endpoint=http://127.0.0.1:1&anonymous=true", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	wantText(t, Check(ctx, k), "awskms:///alias/k: wrapping a key failed", "check that the service can be reached")
}

func TestSet(t *testing.T) {
	ctx := t.Context()
	first, second, third := environment(t, rawKey), environment(t, []byte("fedcba9876543210fedcba9876543210")), environment(t, bytes.Repeat([]byte("3"), 32))
	set := NewSet(second, first, second)
	old, err := first.Wrap(ctx, []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := set.Unwrap(ctx, old); err != nil || string(got) != "old" {
		t.Errorf("got %q, %v", got, err)
	}
	wrapped, err := set.Wrap(ctx, []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := second.Unwrap(ctx, wrapped); err != nil || string(got) != "new" || set.ID() != second.ID() {
		t.Errorf("the first keeper did not wrap: %q, %v", got, err)
	}
	if got, err := set.Unwrap(ctx, wrapped); err != nil || string(got) != "new" {
		t.Errorf("got %q, %v", got, err)
	}
	foreign, err := third.Wrap(ctx, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = set.Unwrap(ctx, foreign)
	if !errors.Is(err, key.ErrWrongRootKey) {
		t.Errorf("got %v, want the wrong root key", err)
	}
	wantText(t, err, first.ID(), second.ID(), third.ID())
	if !set.Has(first.ID()) || !set.Has(second.ID()) || set.Has(third.ID()) {
		t.Error("the set does not know what it has")
	}
}
