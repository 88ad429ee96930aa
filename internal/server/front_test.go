package server_test

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/sigv4"
)

// asked is a call of an operation that every caller may make.
type asked struct {
	service, protocol          string
	method, path, target, body string
}

var everyService = []asked{
	{"secretsmanager", "json", "POST", "/", "secretsmanager.ListSecrets", "{}"},
	{"kms", "json", "POST", "/", "TrentService.ListKeys", "{}"},
	{"logs", "json", "POST", "/", "Logs_20140328.DescribeLogGroups", "{}"},
	{"cloudtrail", "json", "POST", "/", "CloudTrail_20131101.LookupEvents", "{}"},
	{"lambda", "rest", "GET", "/2015-03-31/functions", "", ""},
	{"serverlessrepo", "rest", "GET", "/applications", "", ""},
	{"iam", "query", "POST", "/", "", "Action=ListRoles&Version=2010-05-08"},
	{"sts", "query", "POST", "/", "", "Action=GetCallerIdentity&Version=2011-06-15"},
}

// request is the call, unsigned.
func (a asked) request(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), a.method, url+a.path, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case a.target != "":
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", a.target)
	case a.protocol == "query" && a.method == "POST":
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	return r
}

// refusal is an error answer, whatever its protocol.
type refusal struct {
	status     int
	code, text string
	// form is how the protocol has it: an error that claims to be one of
	// another protocol cannot be read by clients.
	form string
}

func send(t *testing.T, r *http.Request) refusal {
	t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.Header.Get("X-Amzn-Requestid") == "" || res.Header.Get("Date") == "" {
		t.Errorf("an answer without request ID or date: %v", res.Header)
	}
	a := refusal{status: res.StatusCode}
	if a.status == http.StatusOK {
		return a
	}
	if a.code = res.Header.Get("X-Amzn-Errortype"); strings.HasPrefix(string(body), "<") {
		var e struct {
			Error struct{ Type, Code, Message string }
		}
		if err := xml.Unmarshal(body, &e); err != nil || e.Error.Code != a.code || e.Error.Type != "Sender" {
			t.Errorf("%s: %v", body, err)
		}
		a.text, a.form = e.Error.Message, "query"
		return a
	}
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		t.Errorf("%s: %v", body, err)
	}
	if a.text, a.form = e.Message, "rest"; e.Type != "" {
		a.form = "json"
		if e.Type != a.code {
			t.Errorf("the code is %s in the header and %s in the body", a.code, e.Type)
		}
	}
	return a
}

// answers are the codes and statuses of one kind of refusal (AWS: recorded;
// section by section the same in every service of a protocol).
type answers struct{ json, rest, query string }

var (
	missing    = answers{"MissingAuthenticationTokenException 400", "MissingAuthenticationTokenException 403", "MissingAuthenticationToken 403"}
	incomplete = answers{"IncompleteSignatureException 400", "IncompleteSignatureException 403", "IncompleteSignature 400"}
	mismatch   = answers{"InvalidSignatureException 400", "InvalidSignatureException 403", "SignatureDoesNotMatch 403"}
	unknown    = answers{"UnrecognizedClientException 400", "UnrecognizedClientException 403", "InvalidClientTokenId 403"}
	expired    = answers{"ExpiredTokenException 400", "ExpiredTokenException 403", "ExpiredToken 403"}
)

func (a answers) of(protocol string) string {
	return map[string]string{"json": a.json, "rest": a.rest, "query": a.query}[protocol]
}

// forgery is one way in which a request is not what it must be.
type forgery struct {
	name  string
	creds sigv4.Credentials
	// late is how long ago the request was signed.
	late time.Duration
	// region and service are those of the scope, if not the right ones.
	region, service string
	// after changes the signed request.
	after func(*http.Request)
	want  answers
	// text is a regular expression for the whole message.
	text string
}

const (
	mismatchText = `The request signature we calculated does not match the signature you provided\. ` +
		`Check your AWS Secret Access Key and signing method\. Consult the service documentation for details\.`
	unknownText = `The security token included in the request is invalid\.`
)

// forgeries lists what the front door refuses, given a session that is good
// and one that is over.
func forgeries(good, other, over sigv4.Credentials) []forgery {
	root := sigv4.Credentials{AccessKeyID: apitest.AccessKey, SecretAccessKey: apitest.SecretKey}
	with := func(c sigv4.Credentials, change func(*sigv4.Credentials)) sigv4.Credentials {
		change(&c)
		return c
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	return []forgery{
		{name: "unsigned", creds: root, after: func(r *http.Request) { r.Header.Del("Authorization") }, want: missing, text: `(Request is missing|Missing) Authentication Token`},
		{name: "wrong secret", creds: with(root, func(c *sigv4.Credentials) { c.SecretAccessKey = "wrong" }), want: mismatch, text: mismatchText},
		{name: "tampered header", creds: root, after: header("X-Amz-Date", time.Now().UTC().Add(-time.Second).Format("20060102T150405Z")), want: mismatch, text: mismatchText},
		{name: "tampered query", creds: root, after: func(r *http.Request) { r.URL.RawQuery = "MaxItems=1" }, want: mismatch, text: mismatchText},
		{name: "replayed late", creds: root, late: 5*time.Minute + 5*time.Second, want: mismatch,
			text: `Signature expired: \d{8}T\d{6}Z is now earlier than \d{8}T\d{6}Z \(\d{8}T\d{6}Z - 5 min\.\)`},
		{name: "from the future", creds: root, late: -5*time.Minute - 10*time.Second, want: mismatch,
			text: `Signature not yet current: \d{8}T\d{6}Z is still later than \d{8}T\d{6}Z \(\d{8}T\d{6}Z \+ 5 min\.\)`},
		{name: "unknown key", creds: with(root, func(c *sigv4.Credentials) { c.AccessKeyID = "AKIANOBODYNOBODYNOBO" }), want: unknown, text: unknownText},
		{name: "unknown key, late", creds: sigv4.Credentials{AccessKeyID: "AKIANOBODY"}, late: time.Hour, want: mismatch, text: `Signature expired: .*`},
		{name: "session without its token", creds: with(good, func(c *sigv4.Credentials) { c.SessionToken = "" }), want: unknown, text: unknownText},
		{name: "another session's token", creds: with(good, func(c *sigv4.Credentials) { c.SessionToken = other.SessionToken }), want: unknown, text: unknownText},
		{name: "tampered token", creds: with(good, func(c *sigv4.Credentials) { c.SessionToken = flip(c.SessionToken) }), want: unknown, text: unknownText},
		{name: "no token of ours", creds: with(good, func(c *sigv4.Credentials) { c.SessionToken = "IQoJb3JpZ2luX2VjEJ" }), want: unknown, text: unknownText},
		{name: "root with a session's token", creds: with(root, func(c *sigv4.Credentials) { c.SessionToken = good.SessionToken }), want: unknown, text: unknownText},
		{name: "session, wrong secret", creds: with(good, func(c *sigv4.Credentials) { c.SecretAccessKey = "wrong" }), want: mismatch, text: mismatchText},
		{name: "token not signed", creds: root, after: header("X-Amz-Security-Token", good.SessionToken), want: mismatch,
			text: `'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization\.`},
		{name: "session over", creds: over, want: expired, text: `The security token included in the request is expired`},
		{name: "another region", creds: root, region: "Nowhere", want: mismatch, text: `Credential should be scoped to a valid region\. `},
		{name: "another scheme", creds: root, after: header("Authorization", "Basic dGVzdDp0ZXN0"), want: missing, text: `(Request is missing|Missing) Authentication Token`},
		{name: "another algorithm", creds: root, after: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "SHA256", "SHA512", 1))
		}, want: incomplete, text: `Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512'.*`},
		{name: "no parameters", creds: root, after: header("Authorization", "AWS4-HMAC-SHA256 x"), want: incomplete, text: `Invalid key=value pair \(missing equal-sign\) in Authorization header .*`},
		{name: "no signature", creds: root, after: func(r *http.Request) {
			a, _, _ := strings.Cut(r.Header.Get("Authorization"), ", Signature=")
			r.Header.Set("Authorization", a)
		}, want: incomplete, text: `Authorization header requires 'Signature' parameter\. .*`},
	}
}

// visitor makes a role that may do everything.
func visitor(t *testing.T, url string) *iam.Role {
	t.Helper()
	c := apitest.Connect(url, "", nil).IAM
	out, err := c.CreateRole(t.Context(), &sdkiam.CreateRoleInput{RoleName: aws.String("visitor"), AssumeRolePolicyDocument: aws.String(apitest.TrustPolicy)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.AttachRolePolicy(t.Context(), &sdkiam.AttachRolePolicyInput{
		RoleName: aws.String("visitor"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &iam.Role{Account: apitest.Account, Name: "visitor", Path: "/", ID: *out.Role.RoleId}
}

// Every service refuses what is not signed by the holder of a key, at this
// moment, for this request, with the codes, statuses and texts of its
// protocol.
func TestFrontDoor(t *testing.T) {
	cfg := config(t)
	cfg.RootAccessKeyID, cfg.RootSecretAccessKey = apitest.AccessKey, apitest.SecretKey
	s, _ := run(t, cfg)
	role := visitor(t, s.URL())
	issue := func(d time.Duration) sigv4.Credentials {
		t.Helper()
		c, err := s.Keyring().Issue(role, "session", d, nil)
		if err != nil {
			t.Fatal(err)
		}
		return sessionKeys(c)
	}
	good := issue(time.Hour)
	bad := forgeries(good, issue(time.Hour), issue(0))
	for _, a := range everyService {
		t.Run(a.service, func(t *testing.T) {
			for _, creds := range []sigv4.Credentials{good, {AccessKeyID: apitest.AccessKey, SecretAccessKey: apitest.SecretKey}} {
				r := a.request(t, s.URL())
				sign(t, r, a, forgery{creds: creds})
				if got := send(t, r); got.status != http.StatusOK {
					t.Fatalf("properly signed: got %+v", got)
				}
			}
			for _, f := range bad {
				r := a.request(t, s.URL())
				sign(t, r, a, f)
				if f.after != nil {
					f.after(r)
				}
				f.check(t, a.protocol, send(t, r))
			}
			if a.body != "" {
				r := a.request(t, s.URL())
				sign(t, r, a, forgery{creds: good})
				other := map[string]string{"json": a.body + " ", "query": a.body + "&X=y"}[a.protocol]
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(other)), int64(len(other))
				tampered := forgery{name: "tampered body", want: mismatch, text: mismatchText}
				tampered.check(t, a.protocol, send(t, r))
			}
		})
	}
}

// flip changes one character in the middle.
func flip(token string) string {
	b := []byte(token)
	if i := len(b) / 2; b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

func sessionKeys(c authz.Credentials) sigv4.Credentials {
	return sigv4.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
}

func sign(t *testing.T, r *http.Request, a asked, f forgery) {
	t.Helper()
	region, service := apitest.Region, a.service
	if f.region != "" {
		region = f.region
	}
	if f.service != "" {
		service = f.service
	}
	if err := sigv4.Sign(r, []byte(a.body), f.creds, region, service, time.Now().Add(-f.late)); err != nil {
		t.Fatal(err)
	}
}

func (f forgery) check(t *testing.T, protocol string, got refusal) {
	t.Helper()
	code, status, _ := strings.Cut(f.want.of(protocol), " ")
	if got.code != code || status != strconv.Itoa(got.status) || got.form != protocol {
		t.Errorf("%s: got %s %d as %s, want %s as %s", f.name, got.code, got.status, got.form, f.want.of(protocol), protocol)
	}
	if !regexp.MustCompile(`^(?:` + f.text + `)$`).MatchString(got.text) {
		t.Errorf("%s: got %q, want %q", f.name, got.text, f.text)
	}
}

// Presigned calls work where AWS clients presign, and not for longer than
// they say.
func TestPresigned(t *testing.T) {
	cfg := config(t)
	cfg.RootAccessKeyID, cfg.RootSecretAccessKey = apitest.AccessKey, apitest.SecretKey
	s, _ := run(t, cfg)
	root := sigv4.Credentials{AccessKeyID: apitest.AccessKey, SecretAccessKey: apitest.SecretKey}
	c, err := s.Keyring().Issue(visitor(t, s.URL()), "session", time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	const late = `Signature expired: .* - 1 min\.\)`
	for _, a := range []asked{
		{"sts", "query", "GET", "/?Action=GetCallerIdentity&Version=2011-06-15", "", ""},
		{"lambda", "rest", "GET", "/2015-03-31/functions?MaxItems=5", "", ""},
	} {
		for _, tc := range []struct {
			name  string
			creds sigv4.Credentials
			ago   time.Duration
			add   string
			want  answers
			text  string
		}{
			{name: "root", creds: root},
			{name: "session", creds: sessionKeys(c)},
			{name: "near its end", creds: root, ago: 50 * time.Second},
			{name: "past its end", creds: root, ago: 65 * time.Second, want: mismatch, text: late},
			{name: "unknown key", creds: sigv4.Credentials{AccessKeyID: "AKIANOBODY"}, want: unknown, text: unknownText},
			{name: "tampered", creds: root, add: "&X=y", want: mismatch, text: mismatchText},
		} {
			url, err := sigv4.Presign(a.request(t, s.URL()), tc.creds, apitest.Region, a.service, time.Now().Add(-tc.ago), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.NewRequestWithContext(t.Context(), a.method, url+tc.add, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := send(t, r)
			if tc.text == "" {
				if got.status != http.StatusOK {
					t.Errorf("%s, %s: got %+v", a.service, tc.name, got)
				}
				continue
			}
			refused := forgery{name: a.service + ", " + tc.name, want: tc.want, text: tc.text}
			refused.check(t, a.protocol, got)
		}
	}
}

// Whatever else is asked for is refused in the words of an AWS service.
func TestNothingThere(t *testing.T) {
	cfg := config(t)
	cfg.RootAccessKeyID, cfg.RootSecretAccessKey = apitest.AccessKey, apitest.SecretKey
	url, _ := start(t, cfg)
	root := forgery{creds: sigv4.Credentials{AccessKeyID: apitest.AccessKey, SecretAccessKey: apitest.SecretKey}}
	for _, tc := range []struct {
		name   string
		a      asked
		signed bool
		want   refusal
	}{
		{"a browser", asked{"", "", "GET", "/", "", ""}, false, refusal{403, "MissingAuthenticationToken", "Request is missing Authentication Token", "query"}},
		{"a browser's icon", asked{"", "", "GET", "/favicon.ico", "", ""}, false, refusal{403, "MissingAuthenticationToken", "Request is missing Authentication Token", "query"}},
		{"a service not served", asked{"s3", "", "GET", "/bucket/key", "", ""}, true, refusal{400, "InvalidAction", "The service 's3' is not served here.", "query"}},
		{"an unknown target", asked{"secretsmanager", "json", "POST", "/", "secretsmanager.Nothing", "{}"}, true, refusal{400, "UnknownOperationException", "", "json"}},
		{"a target with GET", asked{"secretsmanager", "json", "GET", "/", "secretsmanager.ListSecrets", ""}, true, refusal{400, "UnknownOperationException", "", "json"}},
		{"another service's target", asked{"kms", "json", "POST", "/", "secretsmanager.ListSecrets", "{}"}, true,
			refusal{400, "InvalidSignatureException", "Credential should be scoped to correct service: 'secretsmanager'. ", "json"}},
		{"no target", asked{"secretsmanager", "json", "POST", "/", "", "{}"}, true, refusal{400, "UnknownOperationException", "", "json"}},
		{"an unknown path", asked{"lambda", "rest", "GET", "/2015-03-31/nothing", "", ""}, true, refusal{404, "UnknownOperationException", "", "rest"}},
		{"an unknown path, unsigned", asked{"lambda", "rest", "GET", "/2015-03-31/nothing", "", ""}, false, refusal{403, "MissingAuthenticationTokenException", "Missing Authentication Token", "rest"}},
		{"an unknown action", asked{"iam", "query", "POST", "/", "", "Action=Nothing&Version=2010-05-08"}, true,
			refusal{400, "InvalidAction", "The action Nothing is not valid for this web service.", "query"}},
		{"another version", asked{"iam", "query", "POST", "/", "", "Action=ListRoles&Version=2009-01-01"}, true,
			refusal{400, "InvalidAction", "Could not find operation ListRoles for version 2009-01-01", "query"}},
		{"no action", asked{"sts", "query", "POST", "/", "", ""}, true, refusal{400, "InvalidAction", "The action  is not valid for this web service.", "query"}},
		{"not JSON", asked{"secretsmanager", "json", "POST", "/", "secretsmanager.ListSecrets", "{"}, true, refusal{400, "SerializationException", "", "json"}},
	} {
		r := tc.a.request(t, url)
		if tc.signed {
			sign(t, r, tc.a, root)
		}
		if got := send(t, r); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", tc.name, got, tc.want)
		}
	}
}
