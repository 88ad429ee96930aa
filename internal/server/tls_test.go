package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/server"
)

// certify makes a certificate for 127.0.0.1 that vouches for itself.
func certify(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pool = x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", keyDER), pool
}

// whoAmI tells how a function reaches the server, and who it is there.
const whoAmI = `
import boto3, os
def lambda_handler(event, context):
    return {"url": os.environ["AWS_ENDPOINT_URL"], "arn": boto3.client("sts", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).get_caller_identity()["Arn"]}
`

// With TLS, clients that know the authority are served, plain ones are not,
// and functions still call back.
func TestTLS(t *testing.T) {
	cfg := config(t)
	cfg.Interpreters = apitest.Interpreters(t)
	cfg.RootAccessKeyID, cfg.RootSecretAccessKey = apitest.AccessKey, apitest.SecretKey
	var pool *x509.CertPool
	cfg.TLSCert, cfg.TLSKey, pool = certify(t)
	url, _ := start(t, cfg)
	if !strings.HasPrefix(url, "https://127.0.0.1:") {
		t.Fatalf("got URL %s", url)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	s := apitest.Connect(url, cfg.Dir, client)
	ctx := t.Context()
	if _, err := s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("tls"), SecretString: aws.String("v")}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("tls")}); err != nil || *got.SecretString != "v" {
		t.Errorf("got %v", err)
	}
	function := s.NewFunction(t, apitest.PythonCode(t, "who", whoAmI))
	out, err := s.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function})
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ URL, ARN string }
	if err := json.Unmarshal(out.Payload, &answer); err != nil || out.FunctionError != nil {
		t.Fatalf("the function answered %s", out.Payload)
	}
	if !strings.HasPrefix(answer.URL, "http://127.0.0.1:") || answer.ARN != "arn:aws:sts::123456789012:assumed-role/who-role/who" {
		t.Errorf("inside the function: %+v", answer)
	}
	wantTLSOnly(t, url, client)
	t.Setenv("KEYTURN_ROOT_ACCESS_KEY_ID", apitest.AccessKey)
	t.Setenv("KEYTURN_ROOT_SECRET_ACCESS_KEY", apitest.SecretKey)
	if reach, err := server.ReadReach(cfg.Dir); err != nil || reach.TLSCert != cfg.TLSCert || reach.URL != url {
		t.Errorf("got %s with certificate %q, %v", reach.URL, reach.TLSCert, err)
	}
}

func wantTLSOnly(t *testing.T, url string, client *http.Client) {
	t.Helper()
	res, err := client.Get(url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.ProtoMajor != 2 {
		t.Errorf("got %s, want HTTP/2", res.Proto)
	}
	res, err = http.Get("http" + strings.TrimPrefix(url, "https") + "/health")
	if err == nil {
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			t.Error("plain HTTP was answered on the TLS port")
		}
	}
	if res, err := http.Get(url + "/health"); err == nil {
		res.Body.Close()
		t.Error("a client that does not know the authority was content")
	}
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}
	if conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), old); err == nil {
		conn.Close()
		t.Error("TLS 1.1 was accepted")
	}
}
