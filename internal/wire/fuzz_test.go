package wire_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/api/cloudformation"
	"github.com/keyturn/keyturn/internal/api/cloudtrail"
	"github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/api/keyturn"
	"github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/api/rds"
	"github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/api/serverlessrepo"
	"github.com/keyturn/keyturn/internal/api/sts"
	principal "github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// whole is a Handler with every operation of every service, and what the last
// request came to.
type whole struct {
	*wire.Handler
	calls []wholeCall
	in    wire.Input
	event []byte
}

type wholeCall struct {
	model *wire.Model
	op    *wire.Operation
}

func newWhole() *whole {
	w := new(whole)
	var services []*wire.Service
	for _, m := range []*wire.Model{
		secretsmanager.Model(), kms.Model(), logs.Model(), cloudtrail.Model(), keyturn.Model(), lambda.Model(), serverlessrepo.Model(),
		iam.Model(), sts.Model(), cloudformation.Model(), rds.Model(), ec2.Model(),
	} {
		services = append(services, &wire.Service{Model: m, Ops: wire.Echo(m, func(_ *wire.Operation, in wire.Input) { w.in = in })})
		for i := range m.Operations {
			w.calls = append(w.calls, wholeCall{m, &m.Operations[i]})
		}
	}
	root := principal.Principal{Type: principal.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root", ID: account, AccessKeyID: keyID}
	w.Handler = wire.NewHandler(wire.Config{
		Services: services, Region: region, Log: slog.New(slog.DiscardHandler),
		Authenticate: func(context.Context, *sigv4.Request, []byte, string) (principal.Principal, error) { return root, nil },
		Record: func(events ...*trail.Event) error {
			for _, e := range events {
				r, err := e.Record()
				if err != nil {
					return err
				}
				w.event = r.JSON
			}
			return nil
		},
	})
	return w
}

var label = regexp.MustCompile(`\{[^}]*\}`)

// request is a call of an operation: text is what of it is in the path or the
// query, body the rest.
func (c wholeCall) request(text string, body []byte) *http.Request {
	r := &http.Request{Method: c.op.Method, Host: "h", URL: &url.URL{Path: "/"}, Header: http.Header{}, RemoteAddr: "127.0.0.1:1"}
	switch c.model.Protocol {
	case wire.JSON:
		r.Header.Set("X-Amz-Target", c.model.TargetPrefix+"."+c.op.Name)
	case wire.RestJSON:
		path, query, _ := strings.Cut(c.op.URI, "?")
		part, rest, _ := strings.Cut(text, "?")
		if part == "" {
			part = "x"
		}
		r.URL.Path = label.ReplaceAllLiteralString(path, part)
		r.URL.RawPath = label.ReplaceAllLiteralString(path, url.PathEscape(part))
		r.URL.RawQuery = strings.Trim(query+"&"+rest, "&")
	default:
		body = []byte("Action=" + c.op.Name + "&Version=" + c.model.APIVersion + "&" + string(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+keyID+"/20260101/"+region+"/"+c.model.SigningName+
		"/aws4_request, SignedHeaders=host;x-amz-date, Signature=ab")
	r.Header.Set("X-Amz-Date", "20260101T000000Z")
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return r
}

// FuzzRequest sends anything to any operation: it is decoded or refused, never
// by an internal error; twice the same gives the same; what is decoded is in
// the trail as JSON; and a JSON request survives a round trip.
func FuzzRequest(f *testing.F) {
	w := newWhole()
	bodies := []string{
		`{"Name":"a","SecretId":"b","Tags":[{"Key":"k","Value":"v"}],"VersionStages":["A"],"RotationRules":{"ScheduleExpression":"rate(1 day)"}}`,
		`{"KeyId":"a","Plaintext":"AAA=","EncryptionContext":{"a":"b"},"GrantTokens":["x"]}`, `{"StartTime":1.5,"MaxResults":10}`,
		`{"ZipFile":"AAAA","Environment":{"Variables":{"a":"b"}},"Layers":["x"],"Runtime":"python3.12","Code":{"ZipFile":"AA=="}}`,
		"RoleName=a&Path=%2F&Tags.member.1.Key=k&Tags.member.2.Value=v&MaxItems=10&Marker=x", "Filter.1.Name=vpc-id&Filter.1.Value.2=x&VpcId.1=y&DryRun=true",
		"StackName=a&TemplateBody=%7B%7D&Parameters.member.1.ParameterKey=k&Capabilities.member.1=CAPABILITY_IAM", "", "&&=&", "{", "[]", "null",
	}
	for i := range w.calls {
		for j := range 2 {
			f.Add(uint16(i), "name?Qualifier=1&tagKeys=a&tagKeys=b&MaxItems=5", []byte(bodies[(i+j*5)%len(bodies)]))
		}
	}
	f.Fuzz(func(t *testing.T, pick uint16, text string, body []byte) {
		c := w.calls[int(pick)%len(w.calls)]
		send := func() (status int, code string, in wire.Input) {
			w.in, w.event = nil, nil
			answer := httptest.NewRecorder()
			w.ServeHTTP(answer, c.request(text, body))
			return answer.Code, answer.Header().Get("x-amzn-ErrorType"), w.in
		}
		status, code, in := send()
		if status >= 500 || status == http.StatusOK && code != "" {
			t.Fatalf("%s: got %d %s", c.op.Name, status, code)
		}
		if w.event != nil && !json.Valid(w.event) {
			t.Fatalf("%s: the event is no JSON: %s", c.op.Name, w.event)
		}
		again, codeAgain, inAgain := send()
		if again != status || codeAgain != code {
			t.Fatalf("%s: got %d %s, and then %d %s", c.op.Name, status, code, again, codeAgain)
		}
		if diff := cmp.Diff(in, inAgain, sameTime); diff != "" {
			t.Fatalf("%s: the same request was read in two ways:\n%s", c.op.Name, diff)
		}
		if in != nil && c.model.Protocol == wire.JSON {
			checkRoundTrip(t, c, in)
		}
	})
}

var sameTime = cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })

// checkRoundTrip writes a request and reads it back.
func checkRoundTrip(t *testing.T, c wholeCall, in wire.Input) {
	e := wire.NewEncoder(nil)
	in.EncodeJSON(e)
	back := c.op.In()
	if err := wire.Unmarshal(e.Bytes(), back.(decoded)); err != nil {
		t.Fatalf("%s: %s: %v", c.op.Name, e.Bytes(), err)
	}
	if diff := cmp.Diff(in, back, sameTime); diff != "" {
		t.Fatalf("%s: %s (-read +written and read):\n%s", c.op.Name, reflect.TypeOf(in), diff)
	}
}
