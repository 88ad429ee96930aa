//lint:file-ignore SA1019 clients still read PackedPolicySize

package sts_test

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/oidc"
	"github.com/keyturn/keyturn/internal/service/sts"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

func TestMain(m *testing.M) { apitest.Main(m) }

const (
	account = servicetest.Account
	// trustsAccount lets everybody of the account assume a role.
	trustsAccount = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole"}]}`
	rootARN       = "arn:aws:iam::123456789012:root"
)

// bench is STS alone, with roles put straight into the store.
type bench struct {
	*servicetest.Parts
	t   testing.TB
	cfg aws.Config
	c   *sdk.Client
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return newBenchWith(t, oidc.New(nil, slog.New(slog.DiscardHandler)))
}

func newBenchWith(t testing.TB, v *oidc.Verifier) *bench {
	t.Helper()
	p := servicetest.NewParts(t)
	_, cfg := p.Serve(t, sts.New(sts.Config{Store: p.Store, Guard: p.Guard, Keyring: p.Keyring, Verifier: v}).Wire())
	return &bench{p, t, cfg, sdk.NewFromConfig(cfg)}
}

func (b *bench) update(fn func(tx *store.Tx) error) {
	b.t.Helper()
	if err := b.Store.Update(b.t.Context(), fn); err != nil {
		b.t.Fatal(err)
	}
}

// user makes a user, whose ID is AIDA, a digit of the account and its name, with one policy of the given statements, and a client's
// configuration with a key of its.
func (b *bench) user(account, name, statements string) aws.Config {
	b.t.Helper()
	u := &iam.User{Account: account, Name: name, Path: "/", ID: "AIDA" + account[:1] + strings.ToUpper(name), CreatedAt: time.Now(), Holdings: iam.Holdings{
		Tags: []iam.Tag{{Key: "Team", Value: "blue"}},
	}}
	if statements != "" {
		u.Inline = map[string]string{"policy": document(statements)}
	}
	b.update(func(tx *store.Tx) error { return tx.SaveUser(nil, u) })
	cfg, _ := b.key(account, name)
	return cfg
}

// key makes an access key of a user, or of an account's root.
func (b *bench) key(account, user string) (cfg aws.Config, id string) {
	b.t.Helper()
	id, secret := authz.NewAccessKey()
	b.update(func(tx *store.Tx) error {
		return tx.SaveAccessKey(&iam.AccessKey{ID: id, Account: account, UserName: user, Secret: authz.SealAccessKey(b.Sealer, id, secret)})
	})
	cfg = b.cfg
	cfg.Credentials = credentials.NewStaticCredentialsProvider(id, secret, "")
	return cfg, id
}

func document(statements string) string {
	return `{"Version":"2012-10-17","Statement":[` + statements + `]}`
}

// trust is a statement of a trust policy.
func trust(principal, actions, rest string) string {
	return `{"Effect":"Allow","Principal":` + principal + `,"Action":[` + actions + `]` + rest + `}`
}

// role makes a role whose sessions last for two hours at most.
func (b *bench) role(name, path, trust string) *iam.Role {
	b.t.Helper()
	return b.roleOf(account, name, path, trust, iam.Holdings{})
}

func (b *bench) roleOf(account, name, path, trust string, held iam.Holdings) *iam.Role {
	b.t.Helper()
	r := &iam.Role{Holdings: held, Account: account, Name: name, Path: path, ID: "AROA" + strings.ToUpper(name), TrustPolicy: trust, MaxSession: 2 * time.Hour, CreatedAt: time.Now()}
	b.update(func(tx *store.Tx) error { return tx.SaveRole(nil, r) })
	return r
}

func (b *bench) assume(set func(*sdk.AssumeRoleInput)) (*sdk.AssumeRoleOutput, error) {
	in := &sdk.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::123456789012:role/ops/rotator"), RoleSessionName: aws.String("nightly")}
	if set != nil {
		set(in)
	}
	return b.c.AssumeRole(b.t.Context(), in)
}

// as is a client that signs with a session.
func as(cfg aws.Config, c *types.Credentials) aws.Config {
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
	return cfg
}

func wantIdentity(t testing.TB, cfg aws.Config, arn, id string) {
	t.Helper()
	out, err := sdk.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Error(err)
	} else if *out.Arn != arn || *out.UserId != id || *out.Account != account {
		t.Errorf("got %s, %s of %s, want %s, %s", *out.Arn, *out.UserId, *out.Account, arn, id)
	}
}

func TestCallerIdentity(t *testing.T) {
	b := newBench(t)
	wantIdentity(t, b.cfg, rootARN, account)
	b.role("rotator", "/ops/", trustsAccount)
	before := time.Now()
	out, err := b.assume(nil)
	if err != nil {
		t.Fatal(err)
	}
	const arn = "arn:aws:sts::123456789012:assumed-role/rotator/nightly" // without the path
	if *out.AssumedRoleUser.Arn != arn || *out.AssumedRoleUser.AssumedRoleId != "AROAROTATOR:nightly" || out.SourceIdentity != nil {
		t.Errorf("got %+v", out)
	}
	if c := out.Credentials; !strings.HasPrefix(*c.AccessKeyId, "ASIA") || c.Expiration.Before(before.Add(59*time.Minute)) || c.Expiration.After(time.Now().Add(time.Hour)) {
		t.Errorf("got key %s until %v", *c.AccessKeyId, c.Expiration)
	}
	wantIdentity(t, as(b.cfg, out.Credentials), arn, "AROAROTATOR:nightly")
}

// A session ends when it said.
func TestSessionEnds(t *testing.T) {
	b := newBench(t)
	r := b.role("rotator", "/", trustsAccount)
	c, err := b.Keyring.Issue(r, "short", 2*time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := as(b.cfg, sessionOf(c))
	wantIdentity(t, cfg, "arn:aws:sts::123456789012:assumed-role/rotator/short", "AROAROTATOR:short")
	time.Sleep(time.Until(c.Expires))
	_, err = sdk.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
	servicetest.WantError(t, "after the end", err, "ExpiredToken", 403, "The security token included in the request is expired")
}

func sessionOf(c authz.Credentials) *types.Credentials {
	return &types.Credentials{AccessKeyId: &c.AccessKeyID, SecretAccessKey: &c.SecretAccessKey, SessionToken: &c.SessionToken}
}

func TestAssumeRoleRefusals(t *testing.T) {
	b := newBench(t)
	b.role("rotator", "/ops/", strings.Replace(trustsAccount, `"sts:AssumeRole"`, `["sts:AssumeRole","sts:TagSession"]`, 1))
	b.role("closed", "/", apitest.TrustPolicy)
	denied := func(role string) string {
		return "User: " + rootARN + " is not authorized to perform: sts:AssumeRole on resource: " + role
	}
	duration := func(seconds int32) func(*sdk.AssumeRoleInput) {
		return func(in *sdk.AssumeRoleInput) { in.DurationSeconds = &seconds }
	}
	role := func(arn string) func(*sdk.AssumeRoleInput) {
		return func(in *sdk.AssumeRoleInput) { in.RoleArn = &arn }
	}
	policyARNs := func(arns ...string) func(*sdk.AssumeRoleInput) {
		return func(in *sdk.AssumeRoleInput) {
			for _, a := range arns {
				in.PolicyArns = append(in.PolicyArns, types.PolicyDescriptorType{Arn: &a})
			}
		}
	}
	long := document(`{"Sid":"` + strings.Repeat("x", 2048) + `","Effect":"Allow","Action":"*","Resource":"*"}`)
	tag := func(key string) types.Tag { return types.Tag{Key: &key, Value: aws.String("v")} }
	const closed, none, pathless, foreign = "arn:aws:iam::123456789012:role/closed", "arn:aws:iam::123456789012:role/none",
		"arn:aws:iam::123456789012:role/rotator", "arn:aws:iam::999999999999:role/ops/rotator"
	for _, tc := range []struct {
		what, code string
		status     int
		set        func(*sdk.AssumeRoleInput)
		text       string
	}{
		{"a role that trusts another", "AccessDenied", 403, role(closed), denied(closed)},
		{"no role", "AccessDenied", 403, role(none), denied(none)},
		{"a role without its path", "AccessDenied", 403, role(pathless), denied(pathless)},
		{"another account's role", "AccessDenied", 403, role(foreign), denied(foreign)},
		{"a name", "ValidationError", 400, role("rotator-of-passwords"), "rotator-of-passwords is invalid"},
		{"a user's ARN", "ValidationError", 400, role("arn:aws:iam::123456789012:user/u"), "arn:aws:iam::123456789012:user/u is invalid"},
		{"a longer session", "ValidationError", 400, duration(7201), "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		{"a shorter session", "ValidationError", 400, duration(899),
			"1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		{"a session name", "ValidationError", 400, func(in *sdk.AssumeRoleInput) { in.RoleSessionName = aws.String("a b") },
			`1 validation error detected: Value 'a b' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`},
		{"a session policy that is none", "MalformedPolicyDocument", 400, func(in *sdk.AssumeRoleInput) { in.Policy = aws.String("{") },
			"This policy contains invalid Json"},
		{"a session policy with a principal", "MalformedPolicyDocument", 400, func(in *sdk.AssumeRoleInput) { in.Policy = aws.String(trustsAccount) },
			"Policy document should not specify a principal."},
		{"a long session policy", "ValidationError", 400, func(in *sdk.AssumeRoleInput) { in.Policy = aws.String(long) },
			"1 validation error detected: Value '" + long + "' at 'policy' failed to satisfy constraint: Member must have length less than or equal to 2048"},
		{"a session policy that is missing", "ValidationError", 400, policyARNs("arn:aws:iam::123456789012:policy/none"),
			"The session policy arn:aws:iam::123456789012:policy/none does not exist in the account of the role."},
		{"another account's session policy", "ValidationError", 400, policyARNs("arn:aws:iam::999999999999:policy/p"),
			"The session policy arn:aws:iam::999999999999:policy/p does not exist in the account of the role."},
		{"eleven session policies", "ValidationError", 400, policyARNs(strings.Fields(strings.Repeat("arn:aws:iam::aws:policy/ReadOnlyAccess ", 11))...),
			"1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to 10"},
		{"too many tags", "PackedPolicyTooLarge", 400, func(in *sdk.AssumeRoleInput) {
			for range 50 {
				in.Tags = append(in.Tags, types.Tag{Key: new(rand.Text()), Value: new(rand.Text() + rand.Text() + rand.Text())})
			}
		}, "Packed size of session tags consumes "},
		{"a reserved tag", "InvalidParameterValue", 400, func(in *sdk.AssumeRoleInput) { in.Tags = []types.Tag{tag("AWS:x")} },
			"The tag key AWS:x is reserved: it begins with aws:."},
		{"an MFA device", "AccessDenied", 403, func(in *sdk.AssumeRoleInput) {
			in.SerialNumber, in.TokenCode = aws.String("arn:aws:iam::123456789012:mfa/root"), aws.String("123456")
		}, noMFA},
		{"a provided context", "ValidationError", 400, func(in *sdk.AssumeRoleInput) {
			in.ProvidedContexts = []types.ProvidedContext{{ProviderArn: aws.String("arn:aws:iam::aws:contextProvider/x"), ContextAssertion: aws.String("text")}}
		}, "Provided contexts are not supported."},
		{"a tag twice", "InvalidParameterValue", 400, func(in *sdk.AssumeRoleInput) { in.Tags = []types.Tag{tag("k"), tag("K")} },
			"Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		{"a transitive key without its tag", "InvalidParameterValue", 400, func(in *sdk.AssumeRoleInput) {
			in.Tags, in.TransitiveTagKeys = []types.Tag{tag("k")}, []string{"k", "l"}
		}, "The specified transitive tag key must be included in the requested tags."},
	} {
		_, err := b.assume(tc.set)
		if text, open := strings.CutSuffix(tc.text, " consumes "); open {
			if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != tc.code || !strings.HasPrefix(api.ErrorMessage(), text) {
				t.Errorf("%s: got %v", tc.what, err)
			}
			continue
		}
		servicetest.WantError(t, tc.what, err, tc.code, tc.status, tc.text)
	}
	out, err := b.assume(duration(7200))
	if err != nil || out.Credentials.Expiration.Before(time.Now().Add(119*time.Minute)) || out.PackedPolicySize != nil {
		t.Errorf("the longest session: got %v", err)
	}
}

const noMFA = "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user."

// A session's credentials are good for every service of a server, and after
// its restart.
func TestSessionAtWork(t *testing.T) {
	dir := t.TempDir()
	var cfg aws.Config
	t.Run("first server", func(t *testing.T) {
		s := apitest.Start(t, apitest.Options{Dir: dir})
		ctx := t.Context()
		role, err := s.IAM.CreateRole(ctx, &sdkiam.CreateRoleInput{RoleName: aws.String("worker"), AssumeRolePolicyDocument: aws.String(trustsAccount)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.IAM.AttachRolePolicy(ctx, &sdkiam.AttachRolePolicyInput{
			RoleName: aws.String("worker"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess"),
		}); err != nil {
			t.Fatal(err)
		}
		out, err := s.STS.AssumeRole(ctx, &sdk.AssumeRoleInput{RoleArn: role.Role.Arn, RoleSessionName: aws.String("at-work")})
		if err != nil {
			t.Fatal(err)
		}
		cfg = as(s.Config, out.Credentials)
		work(t, cfg, "first")
	})
	t.Run("second server", func(t *testing.T) {
		s := apitest.Start(t, apitest.Options{Dir: dir})
		cfg.BaseEndpoint = &s.URL
		work(t, cfg, "second")
	})
}

// work uses Secrets Manager, Lambda and STS.
func work(t *testing.T, cfg aws.Config, name string) {
	t.Helper()
	ctx := t.Context()
	secrets := secretsmanager.NewFromConfig(cfg)
	if _, err := secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("v")}); err != nil {
		t.Error(err)
	}
	if got, err := secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name}); err != nil || *got.SecretString != "v" {
		t.Errorf("reading: %v", err)
	}
	if _, err := lambda.NewFromConfig(cfg).ListFunctions(ctx, nil); err != nil {
		t.Error(err)
	}
	out, err := sdk.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil || *out.Arn != "arn:aws:sts::123456789012:assumed-role/worker/at-work" {
		t.Errorf("got %v", err)
	}
}
