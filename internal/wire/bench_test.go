package wire_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	principal "github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// BenchmarkHandler is GetSecretValue from request to answer, without the
// socket, the signature and the trail.
func BenchmarkHandler(b *testing.B) {
	h := wire.NewHandler(wire.Config{
		Services: []*wire.Service{new(bench).secrets()},
		Authenticate: func(context.Context, *sigv4.Request, []byte, string) (principal.Principal, error) {
			return principal.Principal{Account: account}, nil
		},
		Record: func(...*trail.Event) error { return nil },
	})
	const body = `{"SecretId":"app/db/password"}`
	r, err := http.NewRequest("POST", "http://localhost/", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
	r.RemoteAddr = "127.0.0.1:1"
	c := sigv4.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}
	if err := sigv4.Sign(r, []byte(body), c, region, "secretsmanager", time.Now()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Body = readCloser{strings.NewReader(body)}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
