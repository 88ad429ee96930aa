package secretsmanager

import (
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/wire"
)

// callAt is a call for what is called without a request.
func callAt(*bench) *wire.Call {
	return &wire.Call{
		RequestID: "r", Service: "secretsmanager", Operation: "GetSecretValue", Region: home, Account: account,
		Time: time.Now(), Principal: authz.RootPrincipal(account, "AKIAROOT"),
	}
}
