package keeper

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The doubles speak a service's protocol as far as the keepers use it, with
// real ciphers inside.

// vaultDouble stands for the transit engine of Vault and OpenBao: two
// operations, key versions, tokens.
type vaultDouble struct {
	mu       sync.Mutex
	token    string
	name     string
	versions []cipher.AEAD
	requests int
}

func newVaultDouble(t *testing.T, token, name string) (*vaultDouble, string) {
	t.Helper()
	v := &vaultDouble{token: token, name: name}
	v.rotate()
	s := httptest.NewServer(v)
	t.Cleanup(s.Close)
	return v, s.URL
}

func newGCM() cipher.AEAD {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	block, _ := aes.NewCipher(raw) // 32 bytes are a key
	aead, _ := cipher.NewGCMWithRandomNonce(block)
	return aead
}

func (v *vaultDouble) rotate() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.versions = append(v.versions, newGCM())
}

func (v *vaultDouble) setToken(token string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.token = token
}

func (v *vaultDouble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.requests++
	var in struct{ Plaintext, Ciphertext string }
	_ = json.NewDecoder(r.Body).Decode(&in)
	operation, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/transit/"), "/")
	out, code, fail := map[string]string{}, 0, ""
	switch {
	case r.Header.Get("X-Vault-Token") != v.token:
		code, fail = http.StatusForbidden, "permission denied"
	case name != v.name:
		code, fail = http.StatusBadRequest, "encryption key not found"
	case operation == "encrypt":
		plain, _ := base64.StdEncoding.DecodeString(in.Plaintext)
		n := len(v.versions)
		out["ciphertext"] = fmt.Sprintf("vault:v%d:%s", n, base64.StdEncoding.EncodeToString(v.versions[n-1].Seal(nil, nil, plain, nil)))
	case operation == "decrypt":
		var n int
		var text string
		_, _ = fmt.Sscanf(in.Ciphertext, "vault:v%d:%s", &n, &text)
		sealed, _ := base64.StdEncoding.DecodeString(text)
		if n < 1 || n > len(v.versions) {
			code, fail = http.StatusBadRequest, "invalid ciphertext: version is too new"
			break
		}
		plain, err := v.versions[n-1].Open(nil, nil, sealed, nil)
		if err != nil {
			code, fail = http.StatusBadRequest, err.Error()
			break
		}
		out["plaintext"] = base64.StdEncoding.EncodeToString(plain)
	}
	if fail != "" {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string][]string{"errors": {fail}})
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": out})
}

// gcpDouble stands for Google's Cloud KMS with one key.
type gcpDouble struct {
	kmspb.UnimplementedKeyManagementServiceServer
	name string
	aead cipher.AEAD
}

func newGCPDouble(t *testing.T, name string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	kmspb.RegisterKeyManagementServiceServer(s, &gcpDouble{name: name, aead: newGCM()})
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String()
}

func (g *gcpDouble) Encrypt(_ context.Context, in *kmspb.EncryptRequest) (*kmspb.EncryptResponse, error) {
	if in.Name != g.name {
		return nil, status.Errorf(codes.NotFound, "CryptoKey %s not found.", in.Name)
	}
	return &kmspb.EncryptResponse{Name: in.Name, Ciphertext: g.aead.Seal(nil, nil, in.Plaintext, nil)}, nil
}

func (g *gcpDouble) Decrypt(_ context.Context, in *kmspb.DecryptRequest) (*kmspb.DecryptResponse, error) {
	plain, err := g.aead.Open(nil, nil, in.Ciphertext, nil)
	if in.Name != g.name || err != nil {
		return nil, status.Error(codes.InvalidArgument, "Decryption failed: verify that 'name' refers to the correct CryptoKey.")
	}
	return &kmspb.DecryptResponse{Plaintext: plain}, nil
}

// azureDouble stands for a Key Vault with one RSA key.
type azureDouble struct {
	path string
	key  *rsa.PrivateKey
}

func newAzureDouble(t *testing.T, path string) *httptest.Server {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(&azureDouble{path, k})
	t.Cleanup(s.Close)
	return s
}

func (a *azureDouble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("Authorization") != "Bearer azure-token" {
		w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	operation, found := strings.CutPrefix(r.URL.Path, a.path+"/")
	var in struct{ Alg, Value string }
	_ = json.NewDecoder(r.Body).Decode(&in)
	value, _ := base64.RawURLEncoding.DecodeString(in.Value)
	var out []byte
	var err error
	switch {
	case !found || in.Alg != "RSA-OAEP-256":
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"error":{"code":"KeyNotFound","message":"A key with that name was not found in this key vault."}}`)
		return
	case operation == "encrypt":
		out, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, &a.key.PublicKey, value, nil)
	default:
		out, err = rsa.DecryptOAEP(sha256.New(), nil, a.key, value, nil)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"error":{"code":"BadParameter","message":"The parameter is incorrect."}}`)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"kid": "https://" + r.Host + a.path, "value": base64.RawURLEncoding.EncodeToString(out)})
}
