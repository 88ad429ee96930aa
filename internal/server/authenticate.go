package server

import (
	"context"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/sigv4"
)

// signingKeys bounds the derived signing keys kept: one per access key, day,
// region and service.
const signingKeys = 4096

// authenticator finds out who signed a request.
type authenticator struct {
	ring  *authz.Keyring
	cache *sigv4.KeyCache
}

func newAuthenticator(ring *authz.Keyring) *authenticator {
	return &authenticator{ring, sigv4.NewKeyCache(signingKeys)}
}

// authenticate checks what needs no secret first, as AWS does, then the
// access key and its token, then the signature.
func (a *authenticator) authenticate(ctx context.Context, q *sigv4.Request, body []byte, service string) (iam.Principal, error) {
	now := time.Now()
	want := sigv4.Expected{Service: service, Region: isRegion}
	if err := q.Check(now, want); err != nil {
		return iam.Principal{}, err
	}
	secretKey, principal, err := a.ring.Secret(ctx, q.Scope.AccessKeyID, q.Token, now)
	if err != nil {
		return iam.Principal{}, err
	}
	if err := a.cache.Match(q, body, func() (string, error) { return secretKey, nil }); err != nil {
		return iam.Principal{}, err
	}
	a.ring.Used(q.Scope.AccessKeyID, service, q.Scope.Region, now)
	return principal, nil
}
