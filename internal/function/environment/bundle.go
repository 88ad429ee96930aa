package environment

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// hostBundles are the places where systems keep the certificates they trust,
// in the order in which Go looks for them.
var hostBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// readBundle joins the host's trusted certificates and those of the files. A
// host without any is no error; a file without a certificate is one.
func readBundle(files []string) ([]byte, error) {
	var all []byte
	for _, name := range hostBundles {
		if text, err := os.ReadFile(name); err == nil {
			all = append(all, text...)
			break
		}
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading the CA bundle: %w", err)
		}
		if err := checkCertificates(text); err != nil {
			return nil, fmt.Errorf("reading the CA bundle %s: %w", name, err)
		}
		all = append(append(all, '\n'), text...)
	}
	return append(all, '\n'), nil
}

func checkCertificates(text []byte) error {
	found := false
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return errors.New("holds a " + block.Type + ", which functions must not see")
		}
		// One damaged certificate would cost programs all the others.
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return err
		}
		found = true
	}
	if !found {
		return errors.New("no certificate in PEM form")
	}
	return nil
}
