package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A server with TLS is asked only if it shows the certificate of the file,
// whatever names that is for.
func TestHealthPinsTheCertificate(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte("well"))
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "cert.pem")
	ask := func(der []byte) (string, error) {
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		client, err := pinned(file)
		if err != nil {
			t.Fatal(err)
		}
		return askHealth(t.Context(), client, strings.Replace(s.URL, "127.0.0.1", "localhost", 1))
	}
	if text, err := ask(s.Certificate().Raw); err != nil || text != "well" {
		t.Errorf("got %q, %v", text, err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, other, other, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(der); err == nil || !strings.Contains(err.Error(), "another certificate") {
		t.Errorf("another certificate: got %v", err)
	}
	status = http.StatusServiceUnavailable
	if _, err := ask(s.Certificate().Raw); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("not ready: got %v", err)
	}
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pinned(file); err == nil {
		t.Error("a file without a certificate: no error")
	}
}
