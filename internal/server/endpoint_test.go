package server_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/server"
	"github.com/keyturn/keyturn/internal/servicetest"
)

// What goes through a VPC endpoint needs the leave of its policy, also for
// root; what does not go through it does not.
func TestEndpoint(t *testing.T) {
	cfg := config(t)
	cfg.RootAccessKeyID, cfg.RootSecretAccessKey = apitest.AccessKey, apitest.SecretKey
	cfg.Endpoints = []server.Endpoint{
		{ID: "vpce-1", VPC: "vpc-1", Listen: "127.0.0.1:0", Policy: json.RawMessage(`{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Principal":"*","Action":"secretsmanager:ListSecrets","Resource":"*"}]}`)},
		{ID: "vpce-2", VPC: "vpc-1", Listen: "127.0.0.1:0"},
	}
	s, _ := run(t, cfg)
	for _, tc := range []struct{ url, name, want string }{
		{s.URL(), "a", ""},
		{s.EndpointURL("vpce-2"), "b", ""},
		{s.EndpointURL("vpce-1"), "c", "User: arn:aws:iam::123456789012:root is not authorized to perform: secretsmanager:CreateSecret on resource: c" +
			" because no VPC endpoint policy allows the secretsmanager:CreateSecret action"},
	} {
		client := secretsmanager.NewFromConfig(apitest.ConfigFor(tc.url, apitest.Region))
		if _, err := client.ListSecrets(t.Context(), &secretsmanager.ListSecretsInput{}); err != nil {
			t.Errorf("%s: %v", tc.url, err)
		}
		_, err := client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &tc.name, ClientRequestToken: new("01234567890123456789012345678901")})
		if tc.want != "" {
			servicetest.WantError(t, tc.url, err, "AccessDeniedException", http.StatusBadRequest, tc.want)
		} else if err != nil {
			t.Errorf("%s: %v", tc.url, err)
		}
	}
}

// A wrong endpoint is refused before anything listens, with what is wrong.
func TestBadEndpoints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "endpoint.json")
	for text, want := range map[string]string{
		`{"VpcEndpointId":"x"}`:                                                   `does not have an ID such as vpce-`,
		`{"VpcEndpointId":"vpce-1","VpcId":"x"}`:                                  `does not have an ID such as vpc-`,
		`{"VpcEndpointId":"vpce-1","VpcId":"vpc-1","PolicyDocument":{}}`:          `reading the policy of vpce-1`,
		`{"VpcEndpointId":"vpce-1","VpcId":"vpc-1","PolicyDocument":"{"}`:         `reading the policy of vpce-1`,
		`{"VpcEndpointId":"vpce-1","VpcId":"vpc-1","Listen":"192.0.2.1:4566"}`:    `VPC endpoint vpce-1: 192.0.2.1:4566 is not a loopback address`,
		`{"VpcEndpointId":"vpce-1","VpcId":"vpc-1","Listen":"127.0.0.1:1000000"}`: `opening the VPC endpoint vpce-1`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := server.ReadEndpoint(path)
		if err != nil {
			t.Fatal(err)
		}
		if e.Listen == "" {
			e.Listen = "127.0.0.1:0"
		}
		cfg := config(t)
		cfg.Endpoints = []server.Endpoint{e}
		wantRefusal(t, cfg, want)
	}
}

// A file that says something else than it seems to is not taken: with a
// misspelt PolicyDocument everything could go through.
func TestMisspeltEndpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "endpoint.json")
	for text, want := range map[string]string{
		`{"VpcEndpointId":"vpce-1","VpcId":"vpc-1","PolicyDocumnet":{}}`: `unknown field "PolicyDocumnet"`,
		`{"VpcEndpointId":"vpce-1"} {}`:                                  `more than one JSON object`,
		`{"VpcEndpointId":`:                                              `unexpected EOF`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := server.ReadEndpoint(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
