package wire_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/api/sts"
	"github.com/keyturn/keyturn/internal/fault"
	principal "github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

const (
	account = "123456789012"
	region  = "us-east-1"
	keyID   = "AKIATESTTESTTESTTEST"
	secret  = "test-secret-key"
	arnDB   = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf"
)

// bench is a Handler with small services, and what it recorded and logged.
type bench struct {
	*httptest.Server
	handler *wire.Handler

	mu       sync.Mutex
	events   []trail.Event
	observed []string
	log      bytes.Buffer
	// recordErr fails the trail.
	recordErr error
	// fail is what the operations return, if set; panicWith what they panic
	// with.
	fail      error
	panicWith any
	// got is the last request that reached an operation.
	got wire.Input
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := new(bench)
	b.handler = wire.NewHandler(wire.Config{
		Services:     []*wire.Service{b.secrets(), b.functions(), b.roles(), b.sessions()},
		Authenticate: authenticate,
		Region:       "eu-west-1",
		Record:       b.record,
		Observe: func(service, operation, code string, _ time.Duration) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.observed = append(b.observed, service+" "+operation+" "+code)
		},
		Log: slog.New(slog.NewTextHandler(&b.log, nil)),
	})
	b.Server = httptest.NewServer(b.handler)
	t.Cleanup(b.Close)
	return b
}

func (b *bench) record(events ...*trail.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.recordErr != nil {
		return b.recordErr
	}
	for _, e := range events {
		b.events = append(b.events, *e)
	}
	return nil
}

// authenticate verifies one fixed key pair.
func authenticate(_ context.Context, q *sigv4.Request, body []byte, service string) (principal.Principal, error) {
	if q.Scope.AccessKeyID != keyID {
		return principal.Principal{}, sigv4.ErrUnknownKey
	}
	err := q.Verify(body, sigv4.DeriveKey(secret, q.Scope), time.Now(), sigv4.Expected{Service: service})
	return principal.Principal{
		Type: principal.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root", ID: account, AccessKeyID: keyID,
	}, err
}

// only returns a model that has the named operations alone.
func only(m *wire.Model, names ...string) *wire.Model {
	c := *m
	c.Operations = slices.DeleteFunc(slices.Clone(m.Operations), func(o wire.Operation) bool { return !slices.Contains(names, o.Name) })
	return &c
}

// op makes an operation that answers with a fixed response.
func op[In, Out any, PI interface {
	*In
	wire.Input
}, PO interface {
	*Out
	wire.Output
}](b *bench, name string, answer func(*In) *Out) wire.Op {
	return wire.Handle[In, Out, PI, PO](name, func(_ context.Context, _ *wire.Call, in *In) (*Out, error) {
		b.got = PI(in)
		if b.panicWith != nil {
			panic(b.panicWith)
		}
		if b.fail != nil {
			return nil, b.fail
		}
		return answer(in), nil
	})
}

func (b *bench) secrets() *wire.Service {
	return &wire.Service{
		Model: only(secretsmanager.Model(), "BatchGetSecretValue", "GetSecretValue", "CreateSecret", "PutSecretValue", "TagResource"),
		Ops: []wire.Op{
			op(b, "GetSecretValue", func(*secretsmanager.GetSecretValueRequest) *secretsmanager.GetSecretValueResponse {
				return &secretsmanager.GetSecretValueResponse{
					ARN: new(arnDB), Name: new("db"), SecretString: new(`{"password":"<&>` + "\u2028" + `"}`), SecretBinary: []byte{0, 255},
					VersionId: new("11111111-2222-3333-4444-555555555555"), VersionStages: []string{"AWSCURRENT"},
					CreatedDate: new(time.UnixMilli(1523477145713)),
				}
			}),
			op(b, "CreateSecret", func(in *secretsmanager.CreateSecretRequest) *secretsmanager.CreateSecretResponse {
				return &secretsmanager.CreateSecretResponse{ARN: new(arnDB), Name: in.Name, VersionId: in.ClientRequestToken}
			}),
			wire.Handle("BatchGetSecretValue", func(_ context.Context, c *wire.Call, in *secretsmanager.BatchGetSecretValueRequest) (*secretsmanager.BatchGetSecretValueResponse, error) {
				c.Resources = []trail.Resource{{Name: "all"}}
				for _, id := range in.SecretIdList {
					c.Also("GetSecretValue", &secretsmanager.GetSecretValueRequest{SecretId: new(id)}, nil, trail.Resource{Name: id})
				}
				return &secretsmanager.BatchGetSecretValueResponse{}, nil
			}),
			wire.Handle("PutSecretValue", func(_ context.Context, c *wire.Call, in *secretsmanager.PutSecretValueRequest) (*secretsmanager.PutSecretValueResponse, error) {
				out := &secretsmanager.PutSecretValueResponse{ARN: new(arnDB)}
				c.Resources = []trail.Resource{{Type: "AWS::SecretsManager::Secret", Name: arnDB}}
				e := c.Event(out)
				return out, errors.Join(b.fail, b.record(&e))
			}),
			op(b, "TagResource", func(*secretsmanager.TagResourceRequest) *secretsmanager.TagResourceResponse {
				return &secretsmanager.TagResourceResponse{}
			}),
		},
		Errors: map[fault.Kind]wire.Code{
			fault.NotFound: {Name: "ResourceNotFoundException"},
			fault.Internal: {Name: "InternalServiceError"},
		},
	}
}

func (b *bench) functions() *wire.Service {
	return &wire.Service{
		Model: only(lambda.Model(), "Invoke", "CreateFunction", "DeleteFunction", "UntagResource", "ListFunctions", "GetLayerVersionByArn",
			"GetLayerVersion", "RemovePermission", "PutFunctionConcurrency"),
		Ops: []wire.Op{
			op(b, "Invoke", func(in *lambda.InvocationRequest) *lambda.InvocationResponse {
				return &lambda.InvocationResponse{
					StatusCode: new(int64(200)), FunctionError: new("Unhandled"), ExecutedVersion: new("$LATEST"), Payload: in.Payload,
				}
			}),
			op(b, "CreateFunction", func(in *lambda.CreateFunctionRequest) *lambda.FunctionConfiguration {
				return &lambda.FunctionConfiguration{FunctionName: in.FunctionName, Environment: &lambda.EnvironmentResponse{Variables: in.Environment.Variables}}
			}),
			op(b, "DeleteFunction", func(*lambda.DeleteFunctionRequest) *lambda.DeleteFunctionResponse {
				return &lambda.DeleteFunctionResponse{StatusCode: new(int64(204))}
			}),
			op(b, "UntagResource", func(*lambda.UntagResourceRequest) *lambda.UntagResourceResponse {
				return &lambda.UntagResourceResponse{}
			}),
			op(b, "ListFunctions", func(*lambda.ListFunctionsRequest) *lambda.ListFunctionsResponse {
				return &lambda.ListFunctionsResponse{Functions: []lambda.FunctionConfiguration{}}
			}),
			op(b, "GetLayerVersionByArn", func(*lambda.GetLayerVersionByArnRequest) *lambda.GetLayerVersionResponse {
				return &lambda.GetLayerVersionResponse{Version: new(int64(7))}
			}),
			op(b, "GetLayerVersion", func(*lambda.GetLayerVersionRequest) *lambda.GetLayerVersionResponse {
				return &lambda.GetLayerVersionResponse{Version: new(int64(8))}
			}),
			op(b, "RemovePermission", func(*lambda.RemovePermissionRequest) *lambda.RemovePermissionResponse {
				return &lambda.RemovePermissionResponse{}
			}),
			op(b, "PutFunctionConcurrency", func(in *lambda.PutFunctionConcurrencyRequest) *lambda.Concurrency {
				return &lambda.Concurrency{ReservedConcurrentExecutions: in.ReservedConcurrentExecutions}
			}),
		},
		Errors: map[fault.Kind]wire.Code{
			fault.NotFound:  {Name: "ResourceNotFoundException"},
			fault.Conflict:  {Name: "ResourceConflictException"},
			fault.Throttled: {Name: "TooManyRequestsException"},
			fault.Internal:  {Name: "ServiceException"},
		},
		BodyLimit:  map[string]int64{"Invoke": 100},
		EventNames: map[string]string{"CreateFunction": "CreateFunction20150331"},
		Opaque:     []string{"PutFunctionConcurrency"},
	}
}

func (b *bench) roles() *wire.Service {
	return &wire.Service{
		Model: only(iam.Model(), "CreateRole", "PutRolePolicy", "ListRoles"),
		Ops: []wire.Op{
			op(b, "CreateRole", func(in *iam.CreateRoleRequest) *iam.CreateRoleResponse {
				return &iam.CreateRoleResponse{Role: &iam.Role{
					RoleName: in.RoleName, Path: new("/"), Arn: new("arn:aws:iam::123456789012:role/r"), RoleId: new("AROAX"), Tags: in.Tags,
					CreateDate: new(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), Description: new("a < b & \"c\"\r\x01"),
				}}
			}),
			op(b, "PutRolePolicy", func(*iam.PutRolePolicyRequest) *iam.PutRolePolicyResponse { return &iam.PutRolePolicyResponse{} }),
			op(b, "ListRoles", func(*iam.ListRolesRequest) *iam.ListRolesResponse {
				return &iam.ListRolesResponse{Roles: []iam.Role{}, IsTruncated: new(false)}
			}),
		},
		Errors: map[fault.Kind]wire.Code{fault.NotFound: {Name: "NoSuchEntity"}, fault.Internal: {Name: "ServiceFailure"}},
	}
}

func (b *bench) sessions() *wire.Service {
	return &wire.Service{
		Model: only(sts.Model(), "GetCallerIdentity", "AssumeRole", "AssumeRoleWithWebIdentity"),
		Ops: []wire.Op{
			op(b, "GetCallerIdentity", func(*sts.GetCallerIdentityRequest) *sts.GetCallerIdentityResponse {
				return &sts.GetCallerIdentityResponse{Account: new(account)}
			}),
			op(b, "AssumeRole", func(*sts.AssumeRoleRequest) *sts.AssumeRoleResponse { return &sts.AssumeRoleResponse{} }),
			wire.Handle("AssumeRoleWithWebIdentity", func(_ context.Context, c *wire.Call, in *sts.AssumeRoleWithWebIdentityRequest) (*sts.AssumeRoleWithWebIdentityResponse, error) {
				b.got = in
				if *in.WebIdentityToken == "good" {
					c.Principal, c.Account = principal.Principal{Type: principal.WebIdentity, ID: "bearer", Name: "sub"}, account
				}
				return &sts.AssumeRoleWithWebIdentityResponse{Audience: &c.Region}, b.fail
			}),
		},
	}
}

// request is one HTTP request; it is signed unless key is "".
type request struct {
	method, path, service, key, body string
	header                           map[string]string
}

// jsonRequest calls an operation of the secrets service.
func jsonRequest(operation, body string) request {
	return request{
		method: "POST", path: "/", service: "secretsmanager", key: secret, body: body,
		header: map[string]string{"X-Amz-Target": "secretsmanager." + operation, "Content-Type": "application/x-amz-json-1.1"},
	}
}

func formRequest(service, body string) request {
	return request{
		method: "POST", path: "/", service: service, key: secret, body: body,
		header: map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
	}
}

func (b *bench) send(t *testing.T, q request) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(q.method, b.URL+q.path, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range q.header {
		r.Header.Set(k, v)
	}
	if q.key != "" {
		c := sigv4.Credentials{AccessKeyID: keyID, SecretAccessKey: q.key}
		if err := sigv4.Sign(r, []byte(q.body), c, region, q.service, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// lastEvent returns the last recorded event and how many there are.
func (b *bench) lastEvent(t *testing.T) (trail.Event, int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.events) == 0 {
		t.Fatal("no event was recorded")
	}
	return b.events[len(b.events)-1], len(b.events)
}
