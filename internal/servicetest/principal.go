package servicetest

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/keyturn/keyturn/internal/iam"
)

// strangerSecret is the secret key of every principal of As.
const strangerSecret = "test-only-secret-access-key"

// As returns the configuration of clients that call as the principal, which
// need not be stored anywhere. Serve has to come first.
func (p *Parts) As(principal iam.Principal) aws.Config {
	key := "AKIA" + rand.Text()[:16]
	principal.AccessKeyID = key
	p.strangers.Store(key, principal)
	return aws.Config{
		Region: Region, BaseEndpoint: &p.url, RetryMaxAttempts: 1, HTTPClient: HTTPClient(),
		Credentials: credentials.NewStaticCredentialsProvider(key, strangerSecret, ""),
	}
}

// User returns a user of an account who holds one policy of the statements, or
// none if there are none.
func User(t testing.TB, account, name, statements string) iam.Principal {
	t.Helper()
	u := iam.Principal{
		Type: iam.IAMUser, Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, ID: "AIDA" + name, Name: name, Identity: &iam.Identity{},
	}
	if statements != "" {
		u.Identity.Policies = []*iam.Policy{Policy(t, statements)}
	}
	return u
}

// Policy compiles a policy of the statements.
func Policy(t testing.TB, statements string) *iam.Policy {
	t.Helper()
	p, err := iam.CompileText(`{"Version":"2012-10-17","Statement":[`+statements+`]}`, "test")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Principal returns who calls with the credentials of a session.
func (p *Parts) Principal(ctx context.Context, accessKeyID, token string) (iam.Principal, error) {
	_, who, err := p.Keyring.Secret(ctx, accessKeyID, token, time.Now())
	return who, err
}
