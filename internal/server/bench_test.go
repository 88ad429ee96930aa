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
	"strconv"
	"sync"
	"syscall"
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
	s := open(b)
	var ids []string
	for i := range 20 {
		ids = append(ids, benchName(i))
		ask(b, s.Handler(), "CreateSecret", map[string]any{"Name": ids[i], "SecretString": benchValue, "ClientRequestToken": uuid.NewString()})()
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
			before := ownTime()
			for b.Loop() {
				bm.ask()
			}
			b.ReportMetric(float64((ownTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

func open(b *testing.B) *server.Server {
	s, err := server.New(b.Context(), server.Config{
		Dir: filepath.Join(b.TempDir(), "data"), Listen: "127.0.0.1:0", Region: apitest.Region, Account: apitest.Account,
		RootAccessKeyID: apitest.AccessKey, RootSecretAccessKey: apitest.SecretKey,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// BenchmarkWrite puts values from several callers, without a network: the
// handler's own time and garbage, the store's commits among them.
func BenchmarkWrite(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			s := open(b)
			const secrets = 1000
			for i := range secrets {
				ask(b, s.Handler(), "CreateSecret", map[string]any{"Name": benchName(i), "SecretString": benchValue, "ClientRequestToken": uuid.NewString()})()
			}
			requests := make(chan func(), b.N)
			for i := range b.N {
				requests <- ask(b, s.Handler(), "PutSecretValue", map[string]any{
					"SecretId": benchName(i % secrets), "SecretString": benchValue, "ClientRequestToken": uuid.NewString(),
				})
			}
			close(requests)
			b.ReportAllocs()
			b.ResetTimer()
			before := ownTime()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for request := range requests {
						request()
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64((ownTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

func benchName(i int) string { return fmt.Sprint("bench/secret-", i) }

const benchValue = `{"username":"app","password":"correct-horse-battery-staple-01"}`

// ownTime is the processor time that this process has used.
func ownTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
