//go:build linux

package hardship

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
)

// badTokens are page tokens that no answer gave.
func badTokens() []string {
	list := []string{"x", "%%%", "AAAA", strings.Repeat("A", 1000), "\x00", "ünï", " "}
	for _, inner := range []string{"{}", "null", `{"n":1}`, `[`, "-1", "999999999999999999999", "9223372036854775807 x", "\xff\xfe", "' OR 1=1 --"} {
		list = append(list, base64.RawURLEncoding.EncodeToString([]byte(inner)), base64.StdEncoding.EncodeToString([]byte(inner)))
	}
	return list
}

// Page tokens that no answer gave are refused, or lead nowhere that their
// caller could not have come to; none is the server's own error.
func TestBadPageTokens(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	targets := map[string]string{ // operation: member
		"secretsmanager.ListSecrets": "NextToken", "secretsmanager.BatchGetSecretValue": "NextToken", "TrentService.ListKeys": "Marker", "TrentService.ListAliases": "Marker",
		"Logs_20140328.DescribeLogGroups": "nextToken", "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents": "NextToken",
	}
	services := map[string]string{"secretsmanager": "secretsmanager", "TrentService": "kms", "Logs_20140328": "logs", "com": "cloudtrail"}
	forms := map[string]string{ // call: service
		"Action=ListRoles&Version=2010-05-08&Marker=": "iam", "Action=ListUsers&Version=2010-05-08&Marker=": "iam",
		"Action=DescribeStacks&Version=2010-05-15&NextToken=": "cloudformation", "Action=ListStacks&Version=2010-05-15&NextToken=": "cloudformation",
		"Action=DescribeDBInstances&Version=2014-10-31&Marker=": "rds", "Action=DescribeVpcs&Version=2016-11-15&NextToken=": "ec2",
	}
	for _, token := range badTokens() {
		quoted, err := json.Marshal(token)
		if err != nil {
			t.Fatal(err)
		}
		for target, member := range targets {
			body := `{"` + member + `":` + string(quoted) + `}`
			r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Amz-Target", target)
			service, _, _ := strings.Cut(target, ".")
			checkToken(t, target, token, ask(t, signed(t, r, services[service], body)))
		}
		for form, service := range forms {
			checkToken(t, form, token, ask(t, formCall(t, s.URL, service, form+url.QueryEscape(token))))
		}
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/2015-03-31/functions?Marker="+url.QueryEscape(token), nil)
		if err != nil {
			t.Fatal(err)
		}
		checkToken(t, "ListFunctions", token, ask(t, signed(t, r, "lambda", "")))
	}
}

func checkToken(t *testing.T, call, token string, got answer) {
	t.Helper()
	if got.status >= 500 || got.status != 200 && got.code == "" {
		t.Errorf("%s with the token %q: got %+v", call, token, got)
	}
}
