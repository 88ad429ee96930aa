package doctortest

import (
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/server"
)

// newServers starts the server of most faults: two VPC endpoints lead to it
// beside its own address, of which one lets only reading pass.
func newServers(t *testing.T) *apitest.Server {
	t.Helper()
	return apitest.Start(t, apitest.Options{
		Interpreters: apitest.Interpreters(t), CABundle: []string{apitest.Database(t).CAFile},
		Endpoints: []server.Endpoint{
			{ID: "vpce-all", VPC: "vpc-1", Listen: "127.0.0.1:0"},
			{ID: "vpce-reading", VPC: "vpc-1", Listen: "127.0.0.1:0", Policy: []byte(*document(
				statement{Principal: "*", Action: []string{"secretsmanager:Get*", "secretsmanager:Describe*"}, Resource: "*"}))},
		},
	})
}
