package server_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/server"
	"github.com/keyturn/keyturn/internal/sigv4"
)

// sink is an http.ResponseWriter that keeps the status and the size.
type sink struct {
	header http.Header
	status int
	size   int
}

func (s *sink) Header() http.Header    { return s.header }
func (s *sink) WriteHeader(status int) { s.status = status }
func (s *sink) Write(b []byte) (int, error) {
	s.size += len(b)
	return len(b), nil
}

// BenchmarkRead asks for a secret and for twenty, without a network: the
// handler's own time and garbage, beside that of verifying a signature and
// opening one value, which no server can avoid.
func BenchmarkRead(b *testing.B) {
	s, err := server.New(b.Context(), server.Config{
		Dir: filepath.Join(b.TempDir(), "data"), Listen: "127.0.0.1:0", Region: apitest.Region, Account: apitest.Account,
		RootAccessKeyID: apitest.AccessKey, RootSecretAccessKey: apitest.SecretKey,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprint("bench/secret-", i))
		ask(b, s.Handler(), "CreateSecret", map[string]any{
			"Name": ids[i], "SecretString": `{"username":"app","password":"correct-horse-battery-staple-01"}`, "ClientRequestToken": uuid.NewString(),
		})()
	}
	for _, bm := range []struct {
		name string
		ask  func()
	}{
		{"Floor", ask(b, leastWork(b), "GetSecretValue", map[string]any{"SecretId": ids[0]})},
		{"GetSecretValue", ask(b, s.Handler(), "GetSecretValue", map[string]any{"SecretId": ids[0]})},
		{"BatchGetSecretValue", ask(b, s.Handler(), "BatchGetSecretValue", map[string]any{"SecretIdList": ids})},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bm.ask()
			}
		})
	}
}

// ask returns a function that sends one signed request.
func ask(b *testing.B, h http.Handler, operation string, in any) func() {
	body, err := json.Marshal(in)
	if err != nil {
		b.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1/", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "secretsmanager."+operation)
	creds := sigv4.Credentials{AccessKeyID: apitest.AccessKey, SecretAccessKey: apitest.SecretKey}
	if err := sigv4.Sign(r, body, creds, apitest.Region, "secretsmanager", time.Now()); err != nil {
		b.Fatal(err)
	}
	r.RemoteAddr, r.ContentLength = "127.0.0.1:1234", int64(len(body))
	text := bytes.NewReader(body)
	r.Body = io.NopCloser(text)
	w := &sink{header: http.Header{}}
	return func() {
		text.Reset(body)
		w.status = 0
		h.ServeHTTP(w, r)
		if w.status != http.StatusOK {
			b.Fatalf("%s: status %d", operation, w.status)
		}
	}
}

// leastWork verifies the signature and opens a value.
func leastWork(b *testing.B) http.Handler {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		b.Fatal(err)
	}
	sealed := gcm.Seal(nil, nil, make([]byte, 150), nil)
	cache := sigv4.NewKeyCache(16)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			b.Fatal(err)
		}
		signed, err := sigv4.Parse(r)
		if err == nil {
			err = cache.Verify(signed, body, time.Now(), sigv4.Expected{Service: "secretsmanager"}, func() (string, error) { return apitest.SecretKey, nil })
		}
		if err != nil {
			b.Fatal(err)
		}
		if _, err := gcm.Open(nil, nil, sealed, nil); err != nil {
			b.Fatal(err)
		}
		w.WriteHeader(http.StatusOK)
	})
}
