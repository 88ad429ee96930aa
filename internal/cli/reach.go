package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/keyturn/keyturn/internal/admin"
	"github.com/keyturn/keyturn/internal/server"
)

// operatorFlags say which server an operator means, and how to print.
type operatorFlags struct {
	Data string `help:"Data folder of a server that runs on this machine; the AWS environment says which server when empty." placeholder:"FOLDER" type:"path"`
	JSON bool   `name:"json" help:"Print JSON."`
}

// client returns a client of the server that the flags, or the environment,
// name. It never guesses: the default of AWS's tools is AWS.
func (f *operatorFlags) client(ctx context.Context) (*admin.Client, error) {
	cfg, err := f.config(ctx)
	if err != nil {
		return nil, err
	}
	return admin.New(cfg)
}

func (f *operatorFlags) config(ctx context.Context) (aws.Config, error) {
	if f.Data != "" {
		reach, err := server.ReadReach(f.Data)
		if err != nil {
			return aws.Config{}, err
		}
		return reachConfig(reach)
	}
	cfg, err := awsConfig(ctx)
	if err != nil {
		return cfg, err
	}
	if aws.ToString(cfg.BaseEndpoint) == "" {
		return cfg, errWhichServer
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	return cfg, needCredentials(ctx, &cfg)
}

var errWhichServer = errors.New(`which server? Give --data with the folder of one that runs here, or set AWS_ENDPOINT_URL and credentials, as with eval "$(keyturn env)"`)

// reachConfig reaches a server on this machine as its root.
func reachConfig(r server.Reach) (aws.Config, error) {
	cfg := aws.Config{
		Region: r.Region, BaseEndpoint: &r.URL,
		Credentials: credentials.NewStaticCredentialsProvider(r.AccessKeyID, r.SecretAccessKey, ""),
	}
	if r.TLSCert == "" {
		return cfg, nil
	}
	chain, err := os.ReadFile(r.TLSCert)
	if err != nil {
		return cfg, fmt.Errorf("reading the server's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(chain)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	cfg.HTTPClient = &http.Client{Transport: transport}
	return cfg, nil
}

// show prints a result: as JSON, or as text for people.
func (f *operatorFlags) show(w io.Writer, result any, text func(io.Writer)) error {
	if !f.JSON {
		text(w)
		return nil
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	return e.Encode(result)
}
