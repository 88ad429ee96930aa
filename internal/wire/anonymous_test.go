package wire_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/api/cloudtrail"
	"github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/api/sts"
	"github.com/keyturn/keyturn/internal/fault"
	principal "github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/wire"
)

const bearerForm = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::123456789012:role/r&RoleSessionName=session&WebIdentityToken="

// unsigned is a form without a signature.
func unsigned(body string) request {
	r := formRequest("sts", body)
	r.key = ""
	return r
}

// The one operation that needs no signature is reached without one, by POST
// and GET, and in the region of the server.
func TestAnonymous(t *testing.T) {
	b := newBench(t)
	for _, r := range []request{unsigned(bearerForm + "good"), {method: "GET", path: "/?" + bearerForm + "good"}} {
		res, text := b.send(t, r)
		if res.StatusCode != 200 || !strings.Contains(text, "<Audience>eu-west-1</Audience>") {
			t.Errorf("%s: got %d %s", r.method, res.StatusCode, text)
		}
	}
	e, n := b.lastEvent(t)
	if n != 2 || e.Principal.Type != principal.WebIdentity || e.Account != account || e.Region != "eu-west-1" {
		t.Errorf("got %d events, the last %+v", n, e)
	}
	if strings.Contains(string(e.Request), "good") {
		t.Errorf("the event shows the token: %s", e.Request)
	}
	// Signed requests pass as any do.
	if res, text := b.send(t, formRequest("sts", bearerForm+"good")); res.StatusCode != 200 || !strings.Contains(text, region) {
		t.Errorf("signed: got %d %s", res.StatusCode, text)
	}
	bad := formRequest("sts", bearerForm+"good")
	bad.key = "another secret"
	if res, text := b.send(t, bad); res.StatusCode != 403 || !strings.Contains(text, "SignatureDoesNotMatch") {
		t.Errorf("signed by another: got %d %s", res.StatusCode, text)
	}
}

// Who has not proved who it is leaves no event; who has does.
func TestAnonymousFailures(t *testing.T) {
	b := newBench(t)
	b.fail = fault.New(fault.Denied, "no")
	b.send(t, unsigned(bearerForm+"bad-token"))
	if len(b.events) != 0 {
		t.Errorf("got %+v", b.events)
	}
	b.send(t, unsigned(bearerForm+"good"))
	if e, n := b.lastEvent(t); n != 1 || e.ErrorCode != "AccessDenied" {
		t.Errorf("got %d events, the last %+v", n, e)
	}
	res, text := b.send(t, unsigned("Action=AssumeRoleWithWebIdentity&Version=2011-06-15"))
	if res.StatusCode != 400 || !strings.Contains(text, "ValidationError") {
		t.Errorf("without members: got %d %s", res.StatusCode, text)
	}
}

// Nothing else is reached without a signature, in whatever form it is asked
// for, whatever the service.
func TestNothingElseIsAnonymous(t *testing.T) {
	b := newBench(t)
	const missing = "<Code>MissingAuthenticationToken</Code>"
	models := []*wire.Model{sts.Model(), iam.Model(), secretsmanager.Model(), kms.Model(), lambda.Model(), logs.Model(), cloudtrail.Model()}
	var anonymous []string
	for _, m := range models {
		for _, o := range m.Operations {
			if o.Anonymous {
				anonymous = append(anonymous, o.Name)
				continue
			}
			form := url.Values{"Action": {o.Name}, "Version": {m.APIVersion}}.Encode()
			both := form + "&" + bearerForm + "good" // of two values the first counts
			for _, r := range []request{unsigned(form), unsigned(both), {method: "GET", path: "/?" + form}} {
				if res, text := b.send(t, r); res.StatusCode != 403 || !strings.Contains(text, missing) {
					t.Errorf("%s %s: got %d %s", o.Name, r.method, res.StatusCode, text)
				}
			}
		}
	}
	if want := []string{"AssumeRoleWithWebIdentity"}; !slices.Equal(anonymous, want) {
		t.Errorf("without a signature: %v, want %v", anonymous, want)
	}
	for what, r := range map[string]request{
		"another version":    unsigned(strings.Replace(bearerForm, "2011-06-15", "2010-05-08", 1) + "good"),
		"a body too large":   unsigned(bearerForm + strings.Repeat("a", 200<<10)),
		"no form":            {method: "POST", path: "/", body: bearerForm + "good", header: map[string]string{"Content-Type": "text/plain"}},
		"a malformed form":   unsigned(bearerForm + "%zz"),
		"another method":     {method: "PUT", path: "/?" + bearerForm + "good"},
		"an incomplete sign": with(unsigned(bearerForm+"good"), "Authorization", "AWS4-HMAC-SHA256 Credential=x"),
	} {
		res, text := b.send(t, r)
		if res.StatusCode < 400 || b.got != nil {
			t.Errorf("%s: got %d %s", what, res.StatusCode, text)
		}
	}
	if len(b.events) != 0 || b.got != nil {
		t.Errorf("got %v, %v", b.got, b.events)
	}
}

func with(r request, name, value string) request {
	r.header = maps.Clone(r.header)
	r.header[name] = value
	return r
}
