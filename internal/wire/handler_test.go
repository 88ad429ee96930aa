package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/api/sts"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/wire"
)

var requestID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

// TestRefusals checks the exact body of each kind of error in each protocol.
func TestRefusals(t *testing.T) {
	signed := func(r request, key string) request { r.key = key; return r }
	with := func(r request, f func(*request)) request { f(&r); return r }
	get := jsonRequest("GetSecretValue", `{"SecretId":"db"}`)
	invoke := request{method: "POST", path: "/2015-03-31/functions/f/invocations", service: "lambda", key: secret, body: "{}"}
	listRoles := formRequest("iam", "Action=ListRoles&Version=2010-05-08")
	const iamError = `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type>`
	tests := []struct {
		name    string
		request request
		fail    error
		status  int
		code    string
		body    string
	}{
		{
			"modelled errors of Secrets Manager have Message", get, fault.New(fault.NotFound, "Secrets Manager can't find the specified secret."), 400,
			"ResourceNotFoundException", `{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}`,
		},
		{
			"denials are not modelled", get, fault.New(fault.Denied, "User: x is not authorized"), 400,
			"AccessDeniedException", `{"__type":"AccessDeniedException","message":"User: x is not authorized"}`,
		},
		{
			"a foreign error is internal", get, errors.New("disk on fire"), 500,
			"InternalServiceError", `{"__type":"InternalServiceError","Message":"The request processing has failed because of an unknown error, exception or failure."}`,
		},
		{
			"an internal error's message stays inside", get, fault.New(fault.Internal, "disk on fire"), 500,
			"InternalServiceError", `{"__type":"InternalServiceError","Message":"The request processing has failed because of an unknown error, exception or failure."}`,
		},
		{
			"a kind that no table has is internal", get, fault.New("odd", "disk on fire"), 500,
			"InternalServiceError", `{"__type":"InternalServiceError","Message":"The request processing has failed because of an unknown error, exception or failure."}`,
		},
		{
			"throttled without a text", get, &fault.Error{Kind: fault.Throttled}, 400,
			"ThrottlingException", `{"__type":"ThrottlingException","message":"Rate exceeded"}`,
		},
		{
			"no credentials, JSON", signed(get, ""), nil, 400,
			"MissingAuthenticationTokenException", `{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}`,
		},
		{
			"wrong signature, JSON", signed(get, "wrong"), nil, 400, "InvalidSignatureException",
			`{"__type":"InvalidSignatureException","message":"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}`,
		},
		{
			"scope of another service", with(get, func(r *request) { r.service = "kms" }), nil, 400, "InvalidSignatureException",
			`{"__type":"InvalidSignatureException","message":"Credential should be scoped to correct service: 'secretsmanager'. "}`,
		},
		{
			"unknown operation comes before the signature", signed(jsonRequest("Nothing", "{}"), "wrong"), nil, 400,
			"UnknownOperationException", `{"__type":"UnknownOperationException"}`,
		},
		{
			"unknown target", with(get, func(r *request) { r.header = map[string]string{"X-Amz-Target": "Foo.Bar"} }), nil, 400,
			"UnknownOperationException", `{"__type":"UnknownOperationException"}`,
		},
		{
			"target of a service that is not served", with(get, func(r *request) {
				r.service, r.header = "ssm", map[string]string{"X-Amz-Target": "AmazonSSM.GetParameter"}
			}), nil, 400,
			"UnknownOperationException", `{"__type":"UnknownOperationException","message":"The service 'ssm' is not served here."}`,
		},
		{
			"target missing", with(get, func(r *request) { r.header = map[string]string{"Content-Type": "application/x-amz-json-1.1"} }), nil, 400,
			"UnknownOperationException", `{"__type":"UnknownOperationException"}`,
		},
		{
			"target with GET", with(get, func(r *request) { r.method = "GET"; r.body = "" }), nil, 400,
			"UnknownOperationException", `{"__type":"UnknownOperationException"}`,
		},
		{"broken JSON", jsonRequest("GetSecretValue", `{"SecretId"`), nil, 400, "SerializationException", `{"__type":"SerializationException"}`},
		{
			"wrong type", jsonRequest("GetSecretValue", `{"SecretId":true}`), nil, 400,
			"SerializationException", `{"__type":"SerializationException","message":"class java.lang.Boolean can not be converted to an String"}`,
		},
		{
			"constraint", jsonRequest("GetSecretValue", `{}`), nil, 400, "ValidationException",
			`{"__type":"ValidationException","message":"1 validation error detected: Value null at 'secretId' failed to satisfy constraint: Member must not be null"}`,
		},
		{
			"modelled error of Lambda with Message", invoke, fault.New(fault.NotFound, "Function not found: f"), 404,
			"ResourceNotFoundException", `{"Type":"User","Message":"Function not found: f"}`,
		},
		{
			"modelled error of Lambda with message", invoke, fault.New(fault.Conflict, "Function already exist: f"), 409,
			"ResourceConflictException", `{"Type":"User","message":"Function already exist: f"}`,
		},
		{
			"throttle of Lambda", invoke, &fault.Error{Kind: fault.Throttled, Message: "Rate Exceeded.", Reason: "ReservedFunctionConcurrentInvocationLimitExceeded"}, 429,
			"TooManyRequestsException", `{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}`,
		},
		{
			"internal error of Lambda", invoke, errors.New("disk on fire"), 500, "ServiceException",
			`{"Type":"Service","Message":"The request processing has failed because of an unknown error, exception or failure."}`,
		},
		{"denied by Lambda", invoke, fault.New(fault.Denied, "no"), 403, "AccessDeniedException", `{"message":"no"}`},
		{
			"no credentials, rest-json", signed(invoke, ""), nil, 403,
			"MissingAuthenticationTokenException", `{"message":"Missing Authentication Token"}`,
		},
		{
			"constraint, rest-json", with(invoke, func(r *request) { r.path = "/2015-03-31/functions/f%20g/invocations" }), nil, 400, "ValidationException",
			`{"message":"1 validation error detected: Value 'f g' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: ` +
				`(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"}`,
		},
		{
			"unknown path, rest-json", with(invoke, func(r *request) { r.path = "/2015-03-31/nothing" }), nil, 404,
			"UnknownOperationException", `{}`,
		},
		{
			"body over the limit", with(invoke, func(r *request) { r.body = strings.Repeat(" ", 101) }), nil, 413, "RequestEntityTooLargeException",
			`{"message":"Request must be smaller than 100 bytes for the Invoke operation"}`,
		},
		{
			"modelled error of IAM", listRoles, fault.New(fault.NotFound, "The role with name <x> cannot be found."), 404, "NoSuchEntity",
			iamError + `<Code>NoSuchEntity</Code><Message>The role with name &lt;x&gt; cannot be found.</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		},
		{
			"internal error of IAM", listRoles, errors.New("disk on fire"), 500, "ServiceFailure",
			strings.Replace(iamError, "Sender", "Receiver", 1) + `<Code>ServiceFailure</Code><Message>The request processing has failed because of an unknown error, exception or failure.</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		},
		{
			"denied by IAM", listRoles, fault.New(fault.Denied, "no"), 403, "AccessDenied",
			iamError + `<Code>AccessDenied</Code><Message>no</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		},
		{
			"wrong signature, query", signed(listRoles, "wrong"), nil, 403, "SignatureDoesNotMatch",
			iamError + `<Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		},
		{
			"unknown action comes before the signature", signed(formRequest("iam", "Action=Nothing&Version=2010-05-08"), "wrong"), nil, 400, "InvalidAction",
			iamError + `<Code>InvalidAction</Code><Message>The action Nothing is not valid for this web service.</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		},
		{
			"unknown version", formRequest("iam", "Action=ListRoles&Version=2000-01-01"), nil, 400, "InvalidAction",
			iamError + `<Code>InvalidAction</Code><Message>Could not find operation ListRoles for version 2000-01-01</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		},
		{
			"wrong type, query", formRequest("iam", "Action=ListRoles&Version=2010-05-08&MaxItems=many"), nil, 400, "MalformedInput",
			iamError + `<Code>MalformedInput</Code><Message>&quot;many&quot; is not a valid value for MaxItems</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		},
		{
			"constraint, query", formRequest("iam", "Action=ListRoles&Version=2010-05-08&MaxItems=0"), nil, 400, "ValidationError",
			iamError + `<Code>ValidationError</Code><Message>1 validation error detected: Value '0' at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		},
		{
			"no credentials, no service", request{method: "GET", path: "/"}, nil, 403, "MissingAuthenticationToken",
			`<ErrorResponse xmlns="http://webservices.amazon.com/AWSFault/2005-15-09"><Error><Type>Sender</Type><Code>MissingAuthenticationToken</Code><Message>Request is missing Authentication Token</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		},
		{"no credentials, HEAD", request{method: "HEAD", path: "/"}, nil, 403, "MissingAuthenticationToken", ``},
		{
			"a service that is not served", request{method: "GET", path: "/bucket", service: "s3", key: secret}, nil, 400, "InvalidAction",
			`<ErrorResponse xmlns="http://webservices.amazon.com/AWSFault/2005-15-09"><Error><Type>Sender</Type><Code>InvalidAction</Code><Message>The service &apos;s3&apos; is not served here.</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.fail = tt.fail
			res, body := b.send(t, tt.request)
			id := res.Header.Get("x-amzn-RequestId")
			if !requestID.MatchString(id) {
				t.Errorf("got request id %q, want a UUID", id)
			}
			body = strings.ReplaceAll(body, id, "ID")
			body = strings.ReplaceAll(body, "&#39;", "'")
			want := strings.ReplaceAll(tt.body, "&apos;", "'")
			if body != want {
				t.Errorf("got body %s\nwant      %s", body, want)
			}
			if res.StatusCode != tt.status || res.Header.Get("x-amzn-ErrorType") != tt.code {
				t.Errorf("got %d %s, want %d %s", res.StatusCode, res.Header.Get("x-amzn-ErrorType"), tt.status, tt.code)
			}
			if res.Header.Get("Date") == "" {
				t.Error("got no Date header; clients correct their clocks by it")
			}
			if strings.Contains(body, "fire") {
				t.Error("got the internal text in the answer")
			}
			if strings.HasPrefix(tt.name, "internal") || strings.HasPrefix(tt.name, "a foreign") {
				if !strings.Contains(b.log.String(), "disk on fire") || !strings.Contains(b.log.String(), id) {
					t.Errorf("got log %q, want the cause and the request id", b.log.String())
				}
			}
		})
	}
}

// TestEvents checks what each outcome leaves in the trail.
func TestEvents(t *testing.T) {
	t.Run("read", func(t *testing.T) {
		b := newBench(t)
		b.send(t, jsonRequest("GetSecretValue", `{"SecretId":"db"}`))
		e, n := b.lastEvent(t)
		if n != 1 || e.Name != "GetSecretValue" || !e.ReadOnly || e.Source != "secretsmanager.amazonaws.com" ||
			e.Region != region || e.Account != account || e.SourceIP != "127.0.0.1" || e.ErrorCode != "" {
			t.Errorf("got %d events, the last %+v", n, e)
		}
		if string(e.Request) != `{"secretId":"db"}` || e.Response != nil {
			t.Errorf("got request %s and response %s, want the parameters and null", e.Request, e.Response)
		}
	})
	t.Run("sensitive members stay out", func(t *testing.T) {
		b := newBench(t)
		b.send(t, jsonRequest("CreateSecret", `{"Name":"db","SecretString":"hunter2","SecretBinary":"aHVudGVyMg=="}`))
		e, _ := b.lastEvent(t)
		if string(e.Request) != `{"name":"db"}` || string(e.Response) != `{"arn":"`+arnDB+`","name":"db"}` {
			t.Errorf("got request %s, response %s", e.Request, e.Response)
		}
	})
	t.Run("environment variables stay out, event names are the service's", func(t *testing.T) {
		b := newBench(t)
		_, body := b.send(t, request{
			method: "POST", path: "/2015-03-31/functions/", service: "lambda", key: secret,
			body: `{"FunctionName":"f","Role":"arn:aws:iam::123456789012:role/r","Code":{"ZipFile":"aGk="},"Environment":{"Variables":{"PASSWORD":"hunter2"}}}`,
		})
		if want := `{"FunctionName":"f","Environment":{"Variables":{"PASSWORD":"hunter2"}}}`; body != want {
			t.Errorf("got %s, want %s", body, want)
		}
		e, _ := b.lastEvent(t)
		if e.Name != "CreateFunction20150331" || string(e.Request) != `{"functionName":"f","role":"arn:aws:iam::123456789012:role/r","code":{},"environment":{}}` {
			t.Errorf("got %s %s", e.Name, e.Request)
		}
	})
	t.Run("path members are parameters", func(t *testing.T) {
		b := newBench(t)
		b.send(t, request{method: "DELETE", path: "/2015-03-31/functions/f/policy/sid?RevisionId=r", service: "lambda", key: secret})
		if e, _ := b.lastEvent(t); string(e.Request) != `{"functionName":"f","statementId":"sid","revisionId":"r"}` {
			t.Errorf("got %s", e.Request)
		}
	})
	t.Run("headers of an answer stay out", func(t *testing.T) {
		b := newBench(t)
		b.send(t, request{method: "POST", path: "/2015-03-31/functions/f/invocations", service: "lambda", key: secret, body: `{"a":"hunter2"}`})
		if e, _ := b.lastEvent(t); string(e.Request) != `{"functionName":"f"}` || string(e.Response) != `{}` {
			t.Errorf("got %s, %s", e.Request, e.Response)
		}
	})
	t.Run("opaque operations leave everything out", func(t *testing.T) {
		b := newBench(t)
		b.send(t, request{method: "PUT", path: "/2017-10-31/functions/f/concurrency", service: "lambda", key: secret, body: `{"ReservedConcurrentExecutions":5}`})
		if e, _ := b.lastEvent(t); e.Name != "PutFunctionConcurrency" || e.Request != nil || e.Response != nil {
			t.Errorf("got %s with %s, %s", e.Name, e.Request, e.Response)
		}
	})
	t.Run("an event stored by the operation is not recorded again", func(t *testing.T) {
		b := newBench(t)
		b.send(t, jsonRequest("PutSecretValue", `{"SecretId":"db"}`))
		if e, n := b.lastEvent(t); n != 1 || len(e.Resources) != 1 || string(e.Response) != `{"arn":"`+arnDB+`"}` {
			t.Errorf("got %d events, the last %+v", n, e)
		}
	})
	t.Run("an operation that fails after storing its event has two", func(t *testing.T) {
		b := newBench(t)
		b.fail = fault.New(fault.NotFound, "gone")
		b.send(t, jsonRequest("PutSecretValue", `{"SecretId":"db"}`))
		if e, n := b.lastEvent(t); n != 2 || e.ErrorCode != "ResourceNotFoundException" || e.ErrorMessage != "gone" || e.ID == b.events[0].ID {
			t.Errorf("got %d events, the last %+v", n, e)
		}
	})
	t.Run("denials are AccessDenied in events", func(t *testing.T) {
		b := newBench(t)
		b.fail = fault.New(fault.Denied, "no")
		b.send(t, jsonRequest("GetSecretValue", `{"SecretId":"db"}`))
		if e, _ := b.lastEvent(t); e.ErrorCode != "AccessDenied" || e.ErrorMessage != "no" {
			t.Errorf("got %q %q", e.ErrorCode, e.ErrorMessage)
		}
	})
	t.Run("a request that breaks a constraint is recorded", func(t *testing.T) {
		b := newBench(t)
		b.send(t, jsonRequest("GetSecretValue", `{}`))
		if e, n := b.lastEvent(t); n != 1 || e.ErrorCode != "ValidationException" || string(e.Request) != "{}" {
			t.Errorf("got %d events, the last %+v", n, e)
		}
	})
	t.Run("a stranger's request is not", func(t *testing.T) {
		b := newBench(t)
		q := jsonRequest("GetSecretValue", `{}`)
		q.key = "wrong"
		b.send(t, q)
		if len(b.events) != 0 {
			t.Errorf("got %+v, want none", b.events)
		}
	})
	t.Run("large parameters become null", func(t *testing.T) {
		b := newBench(t)
		b.send(t, jsonRequest("CreateSecret", `{"Name":"db","Description":"`+strings.Repeat("x", 200<<10)+`"}`))
		if e, _ := b.lastEvent(t); e.ErrorCode != "ValidationException" || e.Request != nil || len(e.ErrorMessage) != 1024 {
			t.Errorf("got %s with %d and %d bytes", e.ErrorCode, len(e.Request), len(e.ErrorMessage))
		}
	})
}

// TestNoRecordNoAnswer checks that neither a success nor a failure is
// answered when the trail cannot be written.
func TestNoRecordNoAnswer(t *testing.T) {
	for _, fail := range []error{nil, fault.New(fault.NotFound, "gone")} {
		b := newBench(t)
		b.fail, b.recordErr = fail, errors.New("trail is full")
		res, body := b.send(t, jsonRequest("GetSecretValue", `{"SecretId":"db"}`))
		if res.StatusCode != 500 || res.Header.Get("x-amzn-ErrorType") != "InternalServiceError" {
			t.Errorf("got %d %s", res.StatusCode, res.Header.Get("x-amzn-ErrorType"))
		}
		if strings.Contains(body, "password") || strings.Contains(body, "gone") || strings.Contains(body, "full") {
			t.Errorf("got %s, want nothing of the answer or the cause", body)
		}
		if !strings.Contains(b.log.String(), "trail is full") {
			t.Errorf("got log %q, want the cause", b.log.String())
		}
	}
}

// TestPanic checks that a panic becomes an internal error that shows nothing
// of the request, neither to the client nor in the log.
func TestPanic(t *testing.T) {
	b := newBench(t)
	b.panicWith = "request was hunter2"
	res, body := b.send(t, jsonRequest("GetSecretValue", `{"SecretId":"db"}`))
	if res.StatusCode != 500 || strings.Contains(body, "hunter2") {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
	if log := b.log.String(); strings.Contains(log, "hunter2") || !strings.Contains(log, "panic: string") || !strings.Contains(log, "fixture_test.go") {
		t.Errorf("got log %q, want the type of the panic and the stack", log)
	}
	if e, _ := b.lastEvent(t); e.ErrorCode != "InternalServiceError" {
		t.Errorf("got event %+v", e)
	}
}

func TestVoidAndEmptyAnswers(t *testing.T) {
	b := newBench(t)
	res, body := b.send(t, jsonRequest("TagResource", `{"SecretId":"db","Tags":[]}`))
	if res.StatusCode != 200 || body != "" || res.ContentLength != 0 {
		t.Errorf("TagResource: got %d %q with length %d", res.StatusCode, body, res.ContentLength)
	}
	res, body = b.send(t, request{method: "DELETE", path: "/2015-03-31/functions/f", service: "lambda", key: secret})
	if res.StatusCode != 204 || body != "" {
		t.Errorf("DeleteFunction: got %d %q", res.StatusCode, body)
	}
	res, body = b.send(t, formRequest("iam", "Action=PutRolePolicy&Version=2010-05-08&RoleName=r&PolicyName=p&PolicyDocument=%7B%7D"))
	want := `<PutRolePolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ResponseMetadata><RequestId>` +
		res.Header.Get("x-amzn-RequestId") + `</RequestId></ResponseMetadata></PutRolePolicyResponse>`
	if body != want {
		t.Errorf("PutRolePolicy: got %s, want %s", body, want)
	}
	_, body = b.send(t, formRequest("sts", "Action=AssumeRole&Version=2011-06-15&RoleSessionName=abc&RoleArn="+strings.Repeat("a", 20)))
	if !strings.Contains(body, "<AssumeRoleResult></AssumeRoleResult>") {
		t.Errorf("AssumeRole: got %s, want an empty result element", body)
	}
}

// TestObserve checks what metrics see.
func TestObserve(t *testing.T) {
	b := newBench(t)
	b.send(t, jsonRequest("GetSecretValue", `{"SecretId":"db"}`))
	b.send(t, jsonRequest("GetSecretValue", `{}`))
	b.send(t, jsonRequest("Nothing", `{}`))
	b.send(t, request{method: "GET", path: "/"})
	want := []string{
		"secretsmanager GetSecretValue ", "secretsmanager GetSecretValue ValidationException",
		"secretsmanager  UnknownOperationException", "  MissingAuthenticationToken",
	}
	b.Close() // waits for the handlers
	if diff := cmp.Diff(want, b.observed); diff != "" {
		t.Error(diff)
	}
}

// TestCallInProcess checks that a call without HTTP is validated and
// recorded like any other.
func TestCallInProcess(t *testing.T) {
	b := newBench(t)
	call := func() *wire.Call {
		return &wire.Call{Service: "secretsmanager", Operation: "CreateSecret", Region: region}
	}
	out, err := b.handler.Call(context.Background(), call(), &secretsmanager.CreateSecretRequest{Name: new("n")})
	if err != nil || *out.(*secretsmanager.CreateSecretResponse).Name != "n" {
		t.Fatalf("got %v, %v", out, err)
	}
	if e, n := b.lastEvent(t); n != 1 || e.Name != "CreateSecret" || string(e.Request) != `{"name":"n"}` {
		t.Errorf("got %d events, the last %+v", n, e)
	}
	_, err = b.handler.Call(context.Background(), call(), &secretsmanager.CreateSecretRequest{})
	if !fault.Is(err, fault.Validation) {
		t.Errorf("got %v, want a violation", err)
	}
	if e, n := b.lastEvent(t); n != 2 || e.ErrorCode != "ValidationException" {
		t.Errorf("got %d events, the last %+v", n, e)
	}
	if _, err = b.handler.Call(context.Background(), &wire.Call{Service: "sts", Operation: "No"}, nil); !fault.Is(err, wire.UnknownOperation) {
		t.Errorf("got %v, want an unknown operation", err)
	}
}

// TestAlso checks the further events of one call.
func TestAlso(t *testing.T) {
	b := newBench(t)
	b.send(t, jsonRequest("BatchGetSecretValue", `{"SecretIdList":["a","b"]}`))
	var got []string
	ids := map[string]bool{}
	for _, e := range b.events {
		got = append(got, e.Name+" "+string(e.Request)+" "+e.Resources[0].Name)
		ids[e.ID] = true
	}
	want := []string{
		`BatchGetSecretValue {"secretIdList":["a","b"]} all`, `GetSecretValue {"secretId":"a"} a`, `GetSecretValue {"secretId":"b"} b`,
	}
	if diff := cmp.Diff(want, got); diff != "" || len(ids) != 3 {
		t.Errorf("%s, %d ids", diff, len(ids))
	}
}

func TestEventIsStable(t *testing.T) {
	c := &wire.Call{Service: "secretsmanager", Operation: "PutSecretValue"}
	if a, b := c.Event(nil), c.Event(nil); a.ID == "" || a.ID != b.ID {
		t.Errorf("got ids %q and %q, want one: a transaction may run twice", a.ID, b.ID)
	}
}

func TestBindingPanics(t *testing.T) {
	tags := func(_ context.Context, _ *wire.Call, _ *secretsmanager.TagResourceRequest) (*secretsmanager.TagResourceResponse, error) {
		return nil, nil
	}
	good := wire.Handle("TagResource", tags)
	model := only(secretsmanager.Model(), "TagResource")
	tests := map[string]*wire.Service{
		"not bound":       {Model: model},
		"bound twice":     {Model: model, Ops: []wire.Op{good, good}},
		"no operation":    {Model: model, Ops: []wire.Op{good, wire.Handle("Nothing", tags)}},
		"other types":     {Model: only(secretsmanager.Model(), "UntagResource"), Ops: []wire.Op{wire.Handle("UntagResource", tags)}},
		"no adapter":      {Model: &wire.Model{Protocol: "smoke"}},
		"lacks its codec": {Model: wrongProtocol(), Ops: []wire.Op{good}},
	}
	for want, s := range tests {
		func() {
			defer func() {
				if p, ok := recover().(string); !ok || !strings.Contains(p, want) {
					t.Errorf("got panic %v, want %q", p, want)
				}
			}()
			wire.NewHandler(wire.Config{Services: []*wire.Service{s}})
		}()
	}
	wire.NewHandler(wire.Config{Services: []*wire.Service{{Model: model, Ops: []wire.Op{good}}}})
}

func wrongProtocol() *wire.Model {
	m := only(secretsmanager.Model(), "TagResource")
	m.Protocol = wire.Query
	return m
}

// TestRedaction checks that no way of printing shows sensitive members.
func TestRedaction(t *testing.T) {
	b := newBench(t)
	b.send(t, jsonRequest("CreateSecret", `{"Name":"db","SecretString":"hunter2"}`))
	in := b.got.(*secretsmanager.CreateSecretRequest)
	if *in.SecretString != "hunter2" {
		t.Fatalf("got %q", *in.SecretString)
	}
	checkRedacted(t, in, *in)
	checkRedacted(t, &lambda.CreateFunctionRequest{Code: &lambda.FunctionCode{ZipFile: []byte("hunter2")}},
		lambda.FunctionConfiguration{Environment: &lambda.EnvironmentResponse{Variables: map[string]string{"a": "hunter2"}}},
		&sts.AssumeRoleResponse{Credentials: &sts.Credentials{SecretAccessKey: new("hunter2")}})
}

func TestEventsAreJSON(t *testing.T) {
	b := newBench(t)
	b.send(t, jsonRequest("CreateSecret", `{"Name":"a","Tags":[{"Key":"k\u0001\"\\","Value":"\ud83d\ude00"}]}`))
	e, _ := b.lastEvent(t)
	var got any
	if err := json.Unmarshal(e.Request, &got); err != nil {
		t.Fatalf("%s: %v", e.Request, err)
	}
	want := map[string]any{"name": "a", "tags": []any{map[string]any{"key": "k\x01\"\\", "value": "😀"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
