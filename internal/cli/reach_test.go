package cli

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/server"
)

// certificate writes a certificate for 127.0.0.1, and its key, to files.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	c := s.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", c.Certificate[0]), write("key.pem", "PRIVATE KEY", private)
}

// The operators' commands reach a server that speaks TLS by its data folder,
// and trust its own certificate alone.
func TestOperatorOverTLS(t *testing.T) {
	cfg := server.Config{Dir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0", Region: apitest.Region, Account: apitest.Account}
	cfg.TLSCert, cfg.TLSKey = certificate(t)
	s, err := server.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(ready) }) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	<-ready
	var stdout, stderr bytes.Buffer
	if code := Main([]string{"account", "list", "--data", cfg.Dir}, &stdout, &stderr); code != 0 || !strings.HasPrefix(stdout.String(), apitest.Account) {
		t.Errorf("got code %d, %s%s", code, stdout.String(), stderr.String())
	}
}
