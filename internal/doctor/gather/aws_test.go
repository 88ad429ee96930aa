package gather_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go/encoding/cbor"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/gather"
)

// shelf answers in place of AWS with the files of testdata/aws.
type shelf struct {
	t    *testing.T
	code []byte
	mu   sync.Mutex
	seen map[string]int
}

// special names the files of operations that are called with different
// arguments: the first text that the request holds decides.
var special = map[string][]struct{ holds, file string }{
	"secretsmanager.DescribeSecret": {{"rds!db-0123", ".superuser"}},
	"cloudformation.DescribeStacks": {{"stack%2Fapp%2Fbbbb", ".root"}},
	"ec2.DescribeVpcAttribute":      {{"enableDnsSupport", ".enableDnsSupport"}, {"enableDnsHostnames", ".enableDnsHostnames"}},
}

// Do answers a request.
func (s *shelf) Do(r *http.Request) (*http.Response, error) {
	if r.URL.Host == "code.example.net" {
		s.mu.Lock()
		s.seen["code"]++
		s.mu.Unlock()
		return response(http.StatusOK, s.code), nil
	}
	body := []byte{}
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	name := operation(r, body)
	s.mu.Lock()
	s.seen[name]++
	s.mu.Unlock()
	if name == "cloudtrail.LookupEvents" {
		return response(http.StatusOK, s.lookup(body)), nil
	}
	if name == "cloudwatch.GetMetricStatistics" {
		return throttled(), nil
	}
	file := name
	for _, x := range special[name] {
		if bytes.Contains(body, []byte(x.holds)) {
			file += x.file
		}
	}
	found, err := filepath.Glob(filepath.Join("testdata", "aws", file+".[jx]*"))
	if err != nil || len(found) == 0 {
		return nil, errors.New("no answer for " + file + ": " + string(body))
	}
	answer, err := os.ReadFile(found[0])
	if err != nil {
		return nil, err
	}
	if bytes.Contains(answer, []byte("<ErrorResponse")) {
		return response(http.StatusForbidden, answer), nil
	}
	return response(http.StatusOK, answer), nil
}

func response(status int, body []byte) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(bytes.NewReader(body)),
	}
}

// throttled answers for CloudWatch, which speaks CBOR: five throttles in one
// hour and two in another.
func throttled() *http.Response {
	point := func(sum float64) cbor.Value { return cbor.Map{"Sum": cbor.Float64(sum), "Unit": cbor.String("Count")} }
	r := response(http.StatusOK, cbor.Encode(cbor.Map{"Label": cbor.String("Throttles"), "Datapoints": cbor.List{point(5), point(2)}}))
	r.Header = http.Header{"Content-Type": {"application/cbor"}, "Smithy-Protocol": {"rpc-v2-cbor"}}
	return r
}

// operation names what a request asks for.
func operation(r *http.Request, body []byte) string {
	service, _, _ := strings.Cut(r.URL.Host, ".")
	if service == "monitoring" {
		return "cloudwatch.GetMetricStatistics"
	}
	if _, name, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		return service + "." + name
	}
	if service != "lambda" {
		form, _ := url.ParseQuery(string(body))
		return service + "." + form.Get("Action")
	}
	for suffix, name := range map[string]string{
		"/policy": "GetPolicy", "/provisioned-concurrency": "GetProvisionedConcurrencyConfig", "/account-settings": "GetAccountSettings",
	} {
		if strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), suffix) {
			return "lambda." + name
		}
	}
	return "lambda.GetFunction"
}

// lookup answers LookupEvents by name, resource or user.
func (s *shelf) lookup(body []byte) []byte {
	var in struct {
		LookupAttributes []struct{ AttributeKey, AttributeValue string }
	}
	text, err := os.ReadFile(filepath.Join("testdata", "aws", "events.json"))
	var records []json.RawMessage
	if err := errors.Join(err, json.Unmarshal(body, &in), json.Unmarshal(text, &records)); err != nil || len(in.LookupAttributes) != 1 {
		s.t.Errorf("looking up %s: %v", body, err)
		return nil
	}
	type event struct{ CloudTrailEvent string }
	out := struct{ Events []event }{Events: []event{}}
	want := in.LookupAttributes[0]
	for _, r := range slices.Backward(records) {
		var v struct {
			EventName    string `json:"eventName"`
			UserIdentity struct {
				ARN string `json:"arn"`
			} `json:"userIdentity"`
			Resources []struct{ ARN string } `json:"resources"`
		}
		if err := json.Unmarshal(r, &v); err != nil {
			s.t.Error(err)
		}
		if want.AttributeKey == "EventName" && v.EventName == want.AttributeValue ||
			want.AttributeKey == "Username" && strings.HasSuffix(v.UserIdentity.ARN, "/"+want.AttributeValue) ||
			want.AttributeKey == "ResourceName" && len(v.Resources) > 0 && v.Resources[0].ARN == want.AttributeValue {
			out.Events = append(out.Events, event{string(r)})
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		s.t.Error(err)
	}
	return b
}

// onAWS is a configuration that the shelf answers, without an endpoint of its
// own.
func onAWS(t *testing.T) (*shelf, aws.Config) {
	s := &shelf{t: t, seen: map[string]int{}, code: apitest.Zip(t, map[string][]byte{"lambda_function.py": []byte(
		"def lambda_handler(event, context):\n    raise NotImplementedError\n")})}
	return s, aws.Config{
		Region: "eu-west-1", HTTPClient: s, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIATESTTESTTESTTEST", "test", ""),
	}
}

// What AWS's APIs answer becomes evidence, no faster than AWS admits.
func TestOnAWS(t *testing.T) {
	synctest.Test(t, testOnAWS)
}

func testOnAWS(t *testing.T) {
	s, cfg := onAWS(t)
	started := time.Now()
	var told []string
	e, err := gather.New(cfg, gather.Options{Progress: func(what string) { told = append(told, what) }}).Secret(t.Context(), "app/db")
	if err != nil {
		t.Fatal(err)
	}
	if took, want := time.Since(started), time.Duration(s.seen["cloudtrail.LookupEvents"]-1)*time.Second/2; took < want {
		t.Errorf("%d lookups took %s, want %s at least", s.seen["cloudtrail.LookupEvents"], took, want)
	}
	b, err := json.MarshalIndent(e, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"not-for-reports", "signature-of-the-link"} {
		if bytes.Contains(b, []byte(never)) {
			t.Errorf("the evidence holds %q", never)
		}
	}
	if len(e.Gaps) != 1 || e.Gaps[0].Action != "rds:DescribeDBSubnetGroups" || !e.Gaps[0].Denied {
		t.Errorf("got the gaps %+v, want the one that was denied", e.Gaps)
	}
	if e.Keyturn || e.Endpoint != "" || e.Account != "111122223333" || e.Caller != "arn:aws:sts::111122223333:assumed-role/admin/jo" || len(told) == 0 {
		t.Errorf("got %v at %q as %s, told %v", e.Keyturn, e.Endpoint, e.Caller, told)
	}
	if s.seen["secretsmanager.DescribeSecret"] != 2 || s.seen["sts.GetCallerIdentity"] != 1 {
		t.Errorf("got the calls %v", s.seen)
	}
	wantSecretOnAWS(t, e)
	wantFunctionOnAWS(t, e)
	wantEventsOnAWS(t, e)
	wantNetworkOnAWS(t, e)
	if r := e.Role; r == nil || !r.Found || !strings.Contains(r.Trust, `"lambda.amazonaws.com"`) || len(r.Statements) != 2 ||
		!strings.Contains(r.Statements["SecretsManagerRDSPostgreSQLRotationMultiUserRolePolicy1"], `"a+b"`) {
		t.Errorf("got the role %+v", r)
	} else if d := r.Decisions[0]; d.Decision != "explicitDeny" || !d.Boundary || !slices.Equal(d.MatchedBy, []string{"deny-all"}) {
		t.Errorf("got the decision %+v", d)
	}
	if k := e.Key; k == nil || k.State != "Disabled" || k.ID != "arn:aws:kms:eu-west-1:111122223333:key/4444" {
		t.Errorf("got the key %+v", k)
	}
	want := &doctor.Stack{
		Name: "app-Hosted-1", ID: "arn:aws:cloudformation:eu-west-1:111122223333:stack/app-Hosted-1/aaaa", RootName: "app", Status: "CREATE_COMPLETE",
		CreatedAt: time.Date(2021, 11, 30, 10, 0, 0, 0, time.UTC), Transforms: []string{"AWS::SecretsManager-2020-07-23"}, CDK: true, Version: "1.1.367",
		Application: "arn:aws:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRDSPostgreSQLRotationMultiUser",
	}
	if diff := cmp.Diff(want, e.Stack); diff != "" {
		t.Errorf("stack (-want +got):\n%s", diff)
	}
	wantLoad := &doctor.Load{AccountLimit: 10, Unreserved: 9, Secrets: 2, Due: 1, Peak: 1, MeanTook: 30030100 * time.Microsecond, Throttles: new(int64(7))}
	if diff := cmp.Diff(wantLoad, e.Load); diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
}

func wantSecretOnAWS(t *testing.T, e *doctor.Evidence) {
	t.Helper()
	s := e.Secret
	if s.Rules != (doctor.Rules{AfterDays: 30, Duration: "3h", Expression: "rate(30 days)"}) || s.KeyID != "alias/app" || s.Tags["team"] != "app" ||
		s.Labels["AWSPENDING"] != "22222222-2222-4222-8222-222222222222" || s.NextRotationAt.Unix() != 1773187199 {
		t.Errorf("got the secret %+v", s)
	}
	if v := e.Versions; len(v) != 3 || v[0].HasValue || v[0].Labels[0] != "AWSPENDING" || !v[1].HasValue || v[1].Labels[0] != "AWSCURRENT" || v[2].Labels[0] != "AWSPREVIOUS" {
		t.Errorf("got the versions %+v", v)
	}
	if u := e.Superuser; u == nil || !u.Found || u.Service != "rds" || u.KeyID != "arn:aws:kms:eu-west-1:111122223333:key/5555" || !strings.HasPrefix(u.From, "GetSecretValue of the function") {
		t.Errorf("got the superuser %+v", u)
	}
}

func wantFunctionOnAWS(t *testing.T, e *doctor.Evidence) {
	t.Helper()
	f := e.Function
	if f == nil || f.Name != "rotate-pg" || f.Qualifier != "live" || f.Runtime != "python3.9" || f.Timeout != 30*time.Second || aws.ToInt32(f.Reserved) != 1 || aws.ToInt32(f.Provisioned) != 2 ||
		f.ModifiedAt != time.Date(2022, 3, 1, 10, 11, 12, 345e6, time.UTC) || !f.PolicyKnown || f.Policy == "" || f.VPCID != "vpc-01" {
		t.Fatalf("got the function %+v", f)
	}
	if f.Variables["SECRETS_MANAGER_ENDPOINT"] == "" || f.Variables["API_KEY"] != "" {
		t.Errorf("got the variables %v", f.Variables)
	}
	if f.Code == nil || !f.Code.HandlerFound || f.Code.Files != 1 {
		t.Errorf("got the code %+v", f.Code)
	}
}

func wantEventsOnAWS(t *testing.T, e *doctor.Evidence) {
	t.Helper()
	var ids []string
	for _, v := range e.Events {
		ids = append(ids, v.ID)
	}
	if want := []string{"e1", "e2", "e3", "e5"}; !slices.Equal(ids, want) {
		t.Errorf("got the events %v, want %v", ids, want)
	}
	if len(e.Invocations) != 1 {
		t.Fatalf("got the invocations %+v, want that for the secret alone", e.Invocations)
	}
	if inv := e.Invocations[0]; !inv.TimedOut || inv.Took != 30030100*time.Microsecond || inv.Init != 312200*time.Microsecond || len(inv.Lines) != 2 {
		t.Errorf("got the invocation %+v", inv)
	}
}

func wantNetworkOnAWS(t *testing.T, e *doctor.Evidence) {
	t.Helper()
	if e.Network == nil || !e.Network.Enforced || e.Network.VPCID != "vpc-01" {
		t.Fatalf("got the network %+v", e.Network)
	}
	got := map[string]string{}
	for _, p := range e.Network.Paths {
		verdict := p.Report.Verdict.String()
		if h := p.Report.Refusal(); h != nil {
			verdict += " at " + string(h.Stage) + " " + h.Resource
		}
		got[p.To+" "+p.Host] = verdict
	}
	want := map[string]string{ // the network ACL admits ports from 1024 on
		"secretsmanager secretsmanager.eu-west-1.amazonaws.com": "dropped at target-acl-ingress acl-01",
		"rds rds.eu-west-1.amazonaws.com":                       "no route at route subnet-0a",
		"database app.abc.eu-west-1.rds.amazonaws.com":          "allowed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ways (-want +got):\n%s", diff)
	}
}

// With NoCode the function's code is not fetched.
func TestNoCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cfg := onAWS(t)
		e, err := gather.New(cfg, gather.Options{NoCode: true}).Secret(t.Context(), "app/db")
		if err != nil || e.Function == nil || e.Function.Code != nil || s.seen["code"] != 0 {
			t.Errorf("got %v, %+v after %v", err, e.Function, s.seen)
		}
	})
}

// A survey lists every secret that rotates or did, and looks at each function
// once.
func TestSurveyOnAWS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cfg := onAWS(t)
		got, err := gather.New(cfg, gather.Options{Since: 400 * 24 * time.Hour}).Survey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Gaps) > 0 || got.Account != "111122223333" || got.Partition != "aws" || len(got.Secrets) != 4 {
			t.Fatalf("got %+v", got)
		}
		a, b, old, managed := got.Secrets[0], got.Secrets[1], got.Secrets[2], got.Secrets[3]
		if a.Name != "app/db" || a.Pending != "22222222-2222-4222-8222-222222222222" || a.Current != "11111111-1111-4111-8111-111111111111" || a.Failures != 1 ||
			a.LastFailure == nil || a.LastFailure.ID != "e5" || a.StartedAt.IsZero() || !a.SucceededAt.IsZero() {
			t.Errorf("got %+v", a)
		}
		if a.Function == nil || a.Function.Runtime != "python3.9" || a.Function.Code != nil || a.Stack == nil || a.Stack.RootName != "app" {
			t.Errorf("got the function %+v of %+v", a.Function, a.Stack)
		}
		if b.Failures != 1 || b.LastFailure.ID != "e6" || old.RotationEnabled || managed.OwningService != "rds" || managed.Function != nil {
			t.Errorf("got %+v, %+v, %+v", b, old, managed)
		}
		if n := s.seen["lambda.GetFunction"]; n != 2 {
			t.Errorf("got %d looks at functions, want one for each ARN", n)
		}
	})
}
