package rotatortest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificate is a server's certificate and the authority that signed it, all
// in PEM form, and files that hold them.
type Certificate struct {
	Authority         string
	CertFile, KeyFile string
	TLS               tls.Certificate
}

// NewCertificate makes an authority of its own and a server's certificate for
// the names, which may be addresses.
func NewCertificate(t testing.TB, names ...string) *Certificate {
	t.Helper()
	authority, authorityKey := template("Test authority"), newKey(t)
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, key := template("Test server"), newKey(t)
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, &key.PublicKey, authorityKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return newCertificate(t, authorityDER, leafDER, keyDER)
}

func newCertificate(t testing.TB, authority, leaf, key []byte) *Certificate {
	dir := t.TempDir()
	c := &Certificate{
		Authority: string(encode("CERTIFICATE", authority)),
		CertFile:  filepath.Join(dir, "server.crt"), KeyFile: filepath.Join(dir, "server.key"),
	}
	cert, private := encode("CERTIFICATE", leaf), encode("PRIVATE KEY", key)
	for name, text := range map[string][]byte{c.CertFile: cert, c.KeyFile: private} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if c.TLS, err = tls.X509KeyPair(cert, private); err != nil {
		t.Fatal(err)
	}
	return c
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
