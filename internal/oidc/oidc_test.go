package oidc_test

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/oidc"
	"github.com/keyturn/keyturn/internal/oidc/oidctest"
)

const (
	pod      = "system:serviceaccount:shop:orders"
	audience = "sts.amazonaws.com"
	noKey    = "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements"
	notValid = "The web identity token that was passed could not be validated by AWS. " +
		"Get a new identity token from the identity provider and then retry the request."
	unreachable = "The request could not be fulfilled because the identity provider (IDP) that was asked to verify " +
		"the incoming identity token could not be reached."
)

func newVerifier(i *oidctest.Issuer) *oidc.Verifier {
	return oidc.New(i.Authorities(), slog.New(slog.DiscardHandler))
}

func verify(t testing.TB, v *oidc.Verifier, raw string) (*oidc.Claims, error) {
	t.Helper()
	token, err := oidc.Parse(raw)
	if err != nil {
		return nil, err
	}
	return v.Verify(t.Context(), token, time.Now())
}

func wantFault(t testing.TB, what string, err error, kind fault.Kind, text string) {
	t.Helper()
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Kind != kind || e.Message != text {
		t.Errorf("%s: got %v, want %s: %s", what, err, kind, text)
	}
}

func TestVerify(t *testing.T) {
	rsa, ec := oidctest.RSA(t, "one"), oidctest.EC(t, "two")
	i := oidctest.New(t, rsa, ec)
	v := newVerifier(i)
	for _, k := range []oidctest.Key{rsa, ec} {
		claims := i.Claims(pod, audience)
		maps.Copy(claims, map[string]any{
			"azp": "client", "amr": []string{"pwd", "otp"}, "email": "a@example.com",
			"https://aws.amazon.com/tags":            map[string]any{"principal_tags": map[string]any{"team": []string{"shop"}}, "transitive_tag_keys": []string{"team"}},
			"https://aws.amazon.com/source_identity": "alice",
		})
		got, err := verify(t, v, k.Sign(t, claims))
		if err != nil {
			t.Errorf("%s: %v", k.Algorithm, err)
			continue
		}
		want := &oidc.Claims{
			Issuer: i.URL(), Subject: pod, Audience: []string{audience}, AuthorizedParty: "client", AMR: []string{"pwd", "otp"}, Email: "a@example.com",
			Tags: map[string]string{"team": "shop"}, Transitive: []string{"team"}, SourceIdentity: "alice",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	if n := i.Asked(); n != 1 {
		t.Errorf("the keys were asked for %d times, want once", n)
	}
	// A key needs no ID if there is no doubt.
	nameless := oidctest.Key{Algorithm: rsa.Algorithm, Private: rsa.Private}
	if _, err := verify(t, v, nameless.Sign(t, i.Claims(pod, audience))); err != nil {
		t.Errorf("a token without a key ID: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	good := oidctest.RSA(t, "one")
	i := oidctest.New(t, good)
	v := newVerifier(i)
	claims := func(name string, value any) map[string]any {
		c := i.Claims(pod, audience)
		if value == nil {
			delete(c, name)
		} else {
			c[name] = value
		}
		return c
	}
	token := good.Sign(t, i.Claims(pod, audience))
	head, rest, _ := strings.Cut(token, ".")
	body, signature, _ := strings.Cut(rest, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	hmac := func() string { // with the published key as the secret
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("k", 32))}, nil)
		if err != nil {
			t.Fatal(err)
		}
		o, err := s.Sign([]byte(`{"iss":"` + i.URL() + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		text, err := o.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}()
	const noJWT = "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
	for _, tc := range []struct {
		what, token string
		kind        fault.Kind
		text        string
	}{
		{"no token", "ya29.access", oidc.Invalid, noJWT},
		{"no signature", head + "." + body + ".", oidc.Invalid, notValid},
		{"algorithm none", b64([]byte(`{"alg":"none"}`)) + "." + body + ".", oidc.Invalid, noJWT},
		{"a shared secret", hmac, oidc.Invalid, noJWT},
		{"other claims", head + "." + b64([]byte(`{"iss":"`+i.URL()+`","sub":"other"}`)) + "." + signature, oidc.Invalid, notValid},
		{"another's key by the same name", oidctest.RSA(t, "one").Sign(t, i.Claims(pod, audience)), oidc.Invalid, notValid},
		{"an unknown key", oidctest.RSA(t, "two").Sign(t, i.Claims(pod, audience)), oidc.Invalid, noKey},
		{"another algorithm", oidctest.EC(t, "one").Sign(t, i.Claims(pod, audience)), oidc.Invalid, noKey},
		{"no issuer", good.Sign(t, claims("iss", nil)), oidc.Invalid, "Missing a required claim: iss"},
		{"no subject", good.Sign(t, claims("sub", nil)), oidc.Invalid, "Missing a required claim: sub"},
		{"no audience", good.Sign(t, claims("aud", nil)), oidc.Invalid, "Missing a required claim: aud"},
		{"no end", good.Sign(t, claims("exp", nil)), oidc.Invalid, "Missing a required claim: exp"},
		{"no beginning", good.Sign(t, claims("iat", nil)), oidc.Invalid, "Missing a required claim: iat"},
		{"not yet", good.Sign(t, claims("nbf", time.Now().Add(5*time.Minute).Unix())), oidc.Rejected, "The ID Token is not valid yet."},
		{"issued later", good.Sign(t, claims("iat", time.Now().Add(5*time.Minute).Unix())), oidc.Rejected, "The ID Token is not valid yet."},
		{"two values of a tag", good.Sign(t, claims("https://aws.amazon.com/tags", map[string]any{"principal_tags": map[string]any{"k": []string{"a", "b"}}})),
			oidc.Invalid, "The session tag k of the ID Token must have one value."},
		{"an issuer without HTTPS", good.Sign(t, claims("iss", "http://"+strings.TrimPrefix(i.URL(), "https://"))), oidc.Invalid, noKey},
	} {
		got, err := verify(t, v, tc.token)
		wantFault(t, tc.what, err, tc.kind, tc.text)
		if got != nil {
			t.Errorf("%s: got claims beside the error", tc.what)
		}
	}
	end := time.Now().Add(-time.Second).Truncate(time.Second)
	_, err := verify(t, v, good.Sign(t, claims("exp", end.Unix())))
	if !fault.Is(err, oidc.Expired) || !strings.Contains(err.Error(), "Token expired: current date/time ") {
		t.Errorf("expired: got %v", err)
	}
}

// A token is good until its last second.
func TestExpiry(t *testing.T) {
	k := oidctest.EC(t, "k")
	i := oidctest.New(t, k)
	v := newVerifier(i)
	claims := i.Claims(pod, audience)
	claims["exp"] = 2_000_000_000
	token, err := oidc.Parse(k.Sign(t, claims))
	if err != nil {
		t.Fatal(err)
	}
	end := time.Unix(2_000_000_000, 0)
	if _, err := v.Verify(t.Context(), token, end.Add(-time.Nanosecond)); err != nil {
		t.Error(err)
	}
	_, err = v.Verify(t.Context(), token, end)
	wantFault(t, "at the end", err, oidc.Expired, "Token expired: current date/time 2000000000 must be before the expiration date/time2000000000")
}

// New keys are found when a token needs them, and old ones are forgotten.
func TestKeysChange(t *testing.T) {
	one, two := oidctest.RSA(t, "one"), oidctest.RSA(t, "two")
	i := oidctest.New(t, one)
	v := newVerifier(i)
	first, second := one.Sign(t, i.Claims(pod, audience)), two.Sign(t, i.Claims(pod, audience))
	if _, err := verify(t, v, first); err != nil {
		t.Fatal(err)
	}
	i.Publish(two)
	_, err := verify(t, v, second)
	wantFault(t, "too soon", err, oidc.Invalid, noKey)
	if n := i.Asked(); n != 1 {
		t.Errorf("asked %d times within the pause, want once", n)
	}
	v.SetTimes(time.Hour, 0)
	if _, err := verify(t, v, second); err != nil {
		t.Errorf("the new key: %v", err)
	}
	_, err = verify(t, v, first)
	wantFault(t, "the old key", err, oidc.Invalid, noKey)
	v.SetTimes(0, 0)
	i.Publish(one)
	if _, err := verify(t, v, first); err != nil {
		t.Errorf("after the keys' life: %v", err)
	}
	// While the keys are fresh the issuer may be away.
	v.SetTimes(time.Hour, 0)
	i.Fail(503)
	if _, err := verify(t, v, first); err != nil {
		t.Errorf("without the issuer: %v", err)
	}
	_, err = verify(t, v, second)
	wantFault(t, "an unknown key without the issuer", err, oidc.Invalid, noKey)
	v.SetTimes(0, time.Hour)
	_, err = verify(t, v, first)
	wantFault(t, "old keys without the issuer", err, oidc.Unreachable, unreachable)
	i.Fail(0)
	_, err = verify(t, v, first)
	wantFault(t, "within the pause", err, oidc.Unreachable, unreachable)
}

func TestIssuers(t *testing.T) {
	k := oidctest.RSA(t, "k")
	for _, tc := range []struct {
		what string
		set  func(*oidctest.Issuer)
		kind fault.Kind
		text string
	}{
		{"away", func(i *oidctest.Issuer) { i.Close() }, oidc.Unreachable, unreachable},
		{"broken", func(i *oidctest.Issuer) { i.Fail(500) }, oidc.Unreachable, unreachable},
		{"busy", func(i *oidctest.Issuer) { i.Fail(429) }, oidc.Unreachable, unreachable},
		{"not open", func(i *oidctest.Issuer) { i.Fail(403) }, oidc.Invalid, noKey},
		{"another's description", func(i *oidctest.Issuer) { i.Describe("issuer", "https://other.example") }, oidc.Invalid, noKey},
		{"keys without HTTPS", func(i *oidctest.Issuer) { i.Describe("jwks_uri", "http://127.0.0.1/keys") }, oidc.Invalid, noKey},
		{"no keys", func(i *oidctest.Issuer) { i.Publish() }, oidc.Invalid, noKey},
		{"a description that is none", func(i *oidctest.Issuer) { i.Describe("issuer", 1) }, oidc.Invalid, noKey},
	} {
		i := oidctest.New(t, k)
		tc.set(i)
		_, err := verify(t, newVerifier(i), k.Sign(t, i.Claims(pod, audience)))
		wantFault(t, tc.what, err, tc.kind, tc.text)
	}
	i := oidctest.New(t, k)
	_, err := verify(t, oidc.New(nil, slog.New(slog.DiscardHandler)), k.Sign(t, i.Claims(pod, audience)))
	wantFault(t, "a certificate of nobody", err, oidc.Invalid, noKey)
}

// However many ask at once, the issuer is asked once.
func TestTogether(t *testing.T) {
	k := oidctest.EC(t, "k")
	i := oidctest.New(t, k)
	v := newVerifier(i)
	token := k.Sign(t, i.Claims(pod, audience))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := verify(t, v, token); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := i.Asked(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func FuzzParse(f *testing.F) {
	k := oidctest.EC(f, "k")
	f.Add(k.Sign(f, map[string]any{"iss": "https://issuer.example", "sub": pod, "aud": []string{audience}}))
	f.Add("e30.e30.e30")
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := oidc.Parse(raw)
		if (err == nil) != (token != nil && token.Issuer() != "") {
			t.Errorf("got %v, %v", token, err)
		}
	})
}
