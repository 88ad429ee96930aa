//lint:file-ignore SA1019 clients still read PackedPolicySize

package sts_test

import (
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/oidc"
	"github.com/keyturn/keyturn/internal/oidc/oidctest"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

const (
	pod      = "system:serviceaccount:shop:orders"
	audience = "sts.amazonaws.com"
)

// cluster is a bench whose account trusts an issuer, as that of a Kubernetes
// cluster.
type cluster struct {
	*bench
	issuer   *oidctest.Issuer
	key      oidctest.Key
	provider *iam.Provider
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	k := oidctest.RSA(t, "k1")
	i := oidctest.New(t, k)
	c := &cluster{newBenchWith(t, oidc.New(i.Authorities(), slog.New(slog.DiscardHandler))), i, k, nil}
	c.provider = &iam.Provider{Account: account, URL: strings.TrimPrefix(i.URL(), "https://"), ClientIDs: []string{"other", audience}, CreatedAt: time.Now()}
	c.update(func(tx *store.Tx) error { return tx.SaveProvider(c.provider) })
	return c
}

// trusting makes a role that trusts the cluster under a condition, in which
// ISSUER stands for the issuer.
func (c *cluster) trusting(name, condition string) *iam.Role {
	c.t.Helper()
	condition = strings.ReplaceAll(condition, "ISSUER", c.provider.URL)
	return c.role(name, "/", document(trust(`{"Federated":"`+c.provider.ARN()+`"}`, `"sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"`, `,"Condition":{`+condition+`}`)))
}

// token is one of the pod's, with other claims.
func (c *cluster) token(claims map[string]any) string {
	c.t.Helper()
	all := c.issuer.Claims(pod, audience)
	maps.Copy(all, claims)
	return c.key.Sign(c.t, all)
}

// present shows a token without any credentials.
func (c *cluster) present(role, token string, set func(*sdk.AssumeRoleWithWebIdentityInput)) (*sdk.AssumeRoleWithWebIdentityOutput, error) {
	cfg := c.cfg
	cfg.Credentials = aws.AnonymousCredentials{}
	in := &sdk.AssumeRoleWithWebIdentityInput{RoleArn: aws.String(roleARN(role)), RoleSessionName: aws.String("pod"), WebIdentityToken: &token}
	if set != nil {
		set(in)
	}
	return sdk.NewFromConfig(cfg).AssumeRoleWithWebIdentity(c.t.Context(), in)
}

const podCondition = `"StringEquals":{"ISSUER:sub":"` + pod + `","ISSUER:aud":"` + audience + `"}`

func TestWebIdentity(t *testing.T) {
	c := newCluster(t)
	r := c.trusting("orders", podCondition)
	out, err := c.present("orders", c.token(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{*out.SubjectFromWebIdentityToken, *out.Provider, *out.Audience, *out.AssumedRoleUser.Arn, *out.AssumedRoleUser.AssumedRoleId}
	want := []string{pod, c.provider.ARN(), audience, r.SessionARN("pod"), "AROAORDERS:pod"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if left := time.Until(*out.Credentials.Expiration); left < 59*time.Minute || left > time.Hour {
		t.Errorf("ends in %v, want an hour", left)
	}
	wantIdentity(t, as(c.cfg, out.Credentials), r.SessionARN("pod"), "AROAORDERS:pod")
	_, who, err := c.Keyring.Secret(t.Context(), *out.Credentials.AccessKeyId, *out.Credentials.SessionToken, time.Now())
	if err != nil || who.Given == nil || who.Given.Provider != c.provider.ARN() {
		t.Errorf("got %+v, %v", who.Given, err)
	}
	// The token may have more audiences, and the call longer lives and
	// session policies.
	out, err = c.present("orders", c.token(map[string]any{"aud": []string{"https://kubernetes.default.svc", audience}}), func(in *sdk.AssumeRoleWithWebIdentityInput) {
		in.DurationSeconds, in.Policy = aws.Int32(7200), aws.String(document(anything))
	})
	if err != nil || time.Until(*out.Credentials.Expiration) < 119*time.Minute || *out.PackedPolicySize < 1 {
		t.Errorf("got %v", err)
	}
}

// Trust policies see the claims.
func TestClaims(t *testing.T) {
	c := newCluster(t)
	everything := map[string]any{
		"azp": "client", "amr": []string{"pwd", "otp"}, "email": "a@example.com", "https://aws.amazon.com/source_identity": "alice",
		"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"Team": []string{"blue"}}, "transitive_tag_keys": []string{"Team"}},
	}
	for i, tc := range []struct {
		condition   string
		plain, full bool
	}{
		{`"StringEquals":{"ISSUER:sub":"` + pod + `"}`, true, true},
		{`"StringLike":{"ISSUER:sub":"system:serviceaccount:shop:*"}`, true, true},
		{`"StringLike":{"ISSUER:sub":"system:serviceaccount:other:*"}`, false, false},
		{`"StringEquals":{"ISSUER:aud":"` + audience + `"}`, true, false},
		{`"StringEquals":{"ISSUER:aud":"client","ISSUER:oaud":"` + audience + `"}`, false, true},
		{`"StringEquals":{"other.example:sub":"` + pod + `"}`, false, false},
		{`"ForAnyValue:StringEquals":{"ISSUER:amr":"otp"}`, false, true},
		{`"StringEquals":{"ISSUER:email":"a@example.com"}`, false, true},
		{`"StringEquals":{"sts:RoleSessionName":"pod"}`, true, true},
		{`"StringEquals":{"sts:SourceIdentity":"alice","aws:RequestTag/team":"blue"}`, false, true},
		{`"ForAllValues:StringEquals":{"aws:TagKeys":"Team","sts:TransitiveTagKeys":"Team"}`, true, true},
		{`"Null":{"aws:TagKeys":"true"}`, true, false},
		{`"StringEquals":{"aws:FederatedProvider":"` + c.provider.ARN() + `"}`, true, true},
		{`"IpAddress":{"aws:SourceIp":"127.0.0.1"}`, true, true},
		{`"Null":{"aws:PrincipalAccount":"true","aws:PrincipalTag/Team":"true"}`, true, true},
	} {
		name := "role" + strings.Repeat("x", i)
		c.trusting(name, tc.condition)
		for _, call := range []struct {
			claims map[string]any
			want   bool
		}{{nil, tc.plain}, {everything, tc.full}} {
			_, err := c.present(name, c.token(call.claims), nil)
			if call.want && err != nil {
				t.Errorf("%s, full %t: %v", tc.condition, call.claims != nil, err)
			}
			if !call.want {
				servicetest.WantError(t, tc.condition, err, "AccessDenied", 403, "Not authorized to perform sts:AssumeRoleWithWebIdentity")
			}
		}
	}
	out, err := c.present("role", c.token(everything), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, who, err := c.Keyring.Secret(t.Context(), *out.Credentials.AccessKeyId, *out.Credentials.SessionToken, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := &iam.Session{Tags: []iam.Tag{{Key: "Team", Value: "blue"}}, Transitive: []string{"Team"}, SourceIdentity: "alice", Provider: c.provider.ARN()}
	if diff := cmp.Diff(want, who.Given); diff != "" || *out.Audience != "client" || *out.SourceIdentity != "alice" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// Tags and source identities need actions of their own.
	c.role("bare", "/", document(trust(`{"Federated":"`+c.provider.ARN()+`"}`, `"sts:AssumeRoleWithWebIdentity"`, "")))
	_, err = c.present("bare", c.token(everything), nil)
	servicetest.WantError(t, "tags", err, "AccessDenied", 403, "Not authorized to perform sts:TagSession")
	_, err = c.present("bare", c.token(map[string]any{"https://aws.amazon.com/source_identity": "alice"}), nil)
	servicetest.WantError(t, "source identity", err, "AccessDenied", 403, "Not authorized to perform sts:SetSourceIdentity")
}

func TestWebIdentityRefusals(t *testing.T) {
	c := newCluster(t)
	c.trusting("orders", podCondition)
	c.role("closed", "/", trustsAccount)
	c.role("foreign", "/", document(trust(`{"Federated":"arn:aws:iam::999999999999:oidc-provider/`+c.provider.URL+`"}`, `"sts:AssumeRoleWithWebIdentity"`, "")))
	c.role("everybody", "/", document(trust(`"*"`, `"sts:AssumeRole"`, "")))
	stranger := oidctest.RSA(t, "k1")
	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	const (
		denied  = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
		invalid = "InvalidIdentityToken"
	)
	for _, tc := range []struct {
		what, role, token string
		code              string
		status            int
		text              string
		set               func(*sdk.AssumeRoleWithWebIdentityInput)
	}{
		{"no JWT", "orders", "token", invalid, 400, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)", nil},
		{"another's signature", "orders", stranger.Sign(t, c.issuer.Claims(pod, audience)), invalid, 400,
			"The web identity token that was passed could not be validated by AWS. Get a new identity token from the identity provider and then retry the request.", nil},
		{"another issuer", "orders", c.token(map[string]any{"iss": "https://other.example"}), invalid, 400, "No OpenIDConnect provider found in your account for https://other.example", nil},
		{"an issuer without HTTPS", "orders", c.token(map[string]any{"iss": "http://" + c.provider.URL}), invalid, 400, "No OpenIDConnect provider found in your account for http://" + c.provider.URL, nil},
		{"an issuer without scheme", "orders", c.token(map[string]any{"iss": c.provider.URL}), invalid, 400, "No OpenIDConnect provider found in your account for " + c.provider.URL, nil},
		{"another audience", "orders", c.token(map[string]any{"aud": "https://kubernetes.default.svc"}), invalid, 400, "Incorrect token audience", nil},
		{"an authorized party only", "orders", c.token(map[string]any{"aud": "x", "azp": audience}), invalid, 400, "Incorrect token audience", nil},
		{"another pod", "orders", c.token(map[string]any{"sub": "system:serviceaccount:shop:others"}), "AccessDenied", 403, denied, nil},
		{"another client's token", "orders", c.token(map[string]any{"aud": "other"}), "AccessDenied", 403, denied, nil},
		{"no role", "none", c.token(nil), "AccessDenied", 403, denied, nil},
		{"a role for others", "closed", c.token(nil), "AccessDenied", 403, denied, nil},
		{"a role for another account's provider", "foreign", c.token(nil), "AccessDenied", 403, denied, nil},
		{"a role for everybody who signs", "everybody", c.token(nil), "AccessDenied", 403, denied, nil},
		{"not yet", "orders", c.token(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), "IDPRejectedClaim", 403, "The ID Token is not valid yet.", nil},
		{"another account", "orders", c.token(nil), invalid, 400, "No OpenIDConnect provider found in your account for " + c.issuer.URL(),
			func(in *sdk.AssumeRoleWithWebIdentityInput) {
				in.RoleArn = aws.String("arn:aws:iam::999999999999:role/orders")
			}},
		{"no role's ARN", "orders", c.token(nil), "ValidationError", 400, "arn:aws:iam::123456789012:user/u is invalid",
			func(in *sdk.AssumeRoleWithWebIdentityInput) {
				in.RoleArn = aws.String("arn:aws:iam::123456789012:user/u")
			}},
		{"a longer session", "orders", c.token(nil), "ValidationError", 400, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
			func(in *sdk.AssumeRoleWithWebIdentityInput) { in.DurationSeconds = aws.Int32(7201) }},
		{"a session policy", "orders", c.token(nil), "MalformedPolicyDocument", 400, "This policy contains invalid Json",
			func(in *sdk.AssumeRoleWithWebIdentityInput) { in.Policy = aws.String("{") }},
		{"a provider of access tokens", "orders", c.token(nil), "ValidationError", 400, "ProviderId is for OAuth 2.0 access tokens, which are not supported.",
			func(in *sdk.AssumeRoleWithWebIdentityInput) { in.ProviderId = aws.String("www.amazon.com") }},
	} {
		_, err := c.present(tc.role, tc.token, tc.set)
		servicetest.WantError(t, tc.what, err, tc.code, tc.status, tc.text)
	}
	_, err := c.present("orders", c.token(map[string]any{"exp": past.Unix()}), nil)
	if err == nil || !strings.Contains(err.Error(), "ExpiredTokenException: Token expired: current date/time ") {
		t.Errorf("an expired token: got %v", err)
	}
	c.update(func(tx *store.Tx) error { return tx.DeleteProvider(account, c.provider.URL) })
	_, err = c.present("orders", c.token(nil), nil)
	servicetest.WantError(t, "without the provider", err, invalid, 400, "No OpenIDConnect provider found in your account for "+c.issuer.URL())
}

func TestIssuerAway(t *testing.T) {
	c := newCluster(t)
	c.trusting("orders", podCondition)
	token := c.token(nil)
	c.issuer.Close()
	_, err := c.present("orders", token, nil)
	servicetest.WantError(t, "away", err, "IDPCommunicationError", 400,
		"The request could not be fulfilled because the identity provider (IDP) that was asked to verify the incoming identity token could not be reached.")
}

// A pod of a cluster whose authority the server is told of reads its secret
// and nothing else.
func TestPod(t *testing.T) {
	k := oidctest.EC(t, "k1")
	i := oidctest.New(t, k)
	s := apitest.Start(t, apitest.Options{CABundle: []string{i.Bundle()}})
	ctx := t.Context()
	provider, err := s.IAM.CreateOpenIDConnectProvider(ctx, &sdkiam.CreateOpenIDConnectProviderInput{Url: aws.String(i.URL()), ClientIDList: []string{audience}})
	if err != nil {
		t.Fatal(err)
	}
	role, err := s.IAM.CreateRole(ctx, &sdkiam.CreateRoleInput{RoleName: aws.String("orders"), AssumeRolePolicyDocument: aws.String(document(
		trust(`{"Federated":"`+*provider.OpenIDConnectProviderArn+`"}`, `"sts:AssumeRoleWithWebIdentity"`,
			`,"Condition":{"StringEquals":{"`+strings.TrimPrefix(i.URL(), "https://")+`:sub":"`+pod+`"}}`)))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.IAM.PutRolePolicy(ctx, &sdkiam.PutRolePolicyInput{RoleName: aws.String("orders"), PolicyName: aws.String("own"), PolicyDocument: aws.String(document(
		`{"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"arn:aws:secretsmanager:*:*:secret:orders/*"}`))}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"orders/db", "payments/db"} {
		if _, err := s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("v")}); err != nil {
			t.Fatal(err)
		}
	}
	form := url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {*role.Role.Arn}, "RoleSessionName": {"pod"},
		"WebIdentityToken": {k.Sign(t, i.Claims(pod, audience))}}
	answer, err := http.PostForm(s.URL, form) // as any HTTP client can
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 200 {
		t.Errorf("a plain form: got %s", answer.Status)
	}
	cfg := s.Config
	cfg.Credentials = aws.AnonymousCredentials{}
	out, err := sdk.NewFromConfig(cfg).AssumeRoleWithWebIdentity(ctx, &sdk.AssumeRoleWithWebIdentityInput{
		RoleArn: role.Role.Arn, RoleSessionName: aws.String("pod"), WebIdentityToken: new(form.Get("WebIdentityToken")),
	})
	if err != nil {
		t.Fatal(err)
	}
	mine := secretsmanager.NewFromConfig(as(s.Config, (*types.Credentials)(out.Credentials)))
	if got, err := mine.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("orders/db")}); err != nil || *got.SecretString != "v" {
		t.Errorf("its own secret: %v", err)
	}
	_, err = mine.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("payments/db")})
	servicetest.WantError(t, "another's secret", err, "AccessDeniedException", 400, "User: arn:aws:sts::123456789012:assumed-role/orders/pod is not authorized to perform: "+
		"secretsmanager:GetSecretValue on resource: payments/db because no identity-based policy allows the secretsmanager:GetSecretValue action")
}
