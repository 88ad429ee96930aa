package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/server"
)

type healthCmd struct {
	Data    string        `help:"Data folder of the running server." default:"keyturn-data" env:"KEYTURN_DATA" placeholder:"FOLDER" type:"path"`
	URL     string        `name:"url" help:"Where the server listens, instead of what the data folder says." placeholder:"URL"`
	Live    bool          `help:"Ask only whether the server answers, not whether it can read its store."`
	Timeout time.Duration `help:"How long to wait for the answer." default:"5s"`
}

// Help says what the exit codes mean.
func (healthCmd) Help() string {
	return `For health checks of containers and scripts: exits with 0 if the server is ready, with 1 if it is not, and says why. Needs no credentials.`
}

// Run asks the server how it is.
func (c *healthCmd) Run(p *program) error {
	address, client := c.URL, &http.Client{}
	if address == "" {
		reach, err := server.ReadAddress(c.Data)
		if err != nil {
			return err
		}
		if client, err = pinned(reach.TLSCert); err != nil {
			return err
		}
		address = reach.URL
	}
	ctx, cancel := context.WithTimeout(p.ctx, c.Timeout)
	defer cancel()
	path := server.ReadyPath
	if c.Live {
		path = server.LivePath
	}
	text, err := askHealth(ctx, client, strings.TrimSuffix(address, "/")+path)
	if err != nil {
		return fmt.Errorf("the server is not healthy: %w", err)
	}
	_, err = fmt.Fprintln(p.stdout, text)
	return err
}

// askHealth returns what the server says if it is well.
func askHealth(ctx context.Context, client *http.Client, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	text := strings.TrimSpace(string(b))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %d: %s", address, res.StatusCode, cmp.Or(text, "nothing more"))
	}
	return text, err
}

// pinned is a client for a server on this machine: whatever names its
// certificate has, it must be the one in the file, "" for none.
func pinned(file string) (*http.Client, error) {
	if file == "" {
		return &http.Client{}, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the server's certificate: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	want, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the server's certificate %s: %w", file, err)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // #nosec G402 -- VerifyConnection below is stricter
		VerifyConnection: func(s tls.ConnectionState) error {
			if !s.PeerCertificates[0].Equal(want) {
				return errors.New("the server shows another certificate than the file of its --tls-cert has now: it was replaced and the server not restarted, or this is another server")
			}
			return nil
		},
	}}}, nil
}
