package server_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/keyturn/keyturn/internal/apitest"
)

// GetFunction's link gives back the very package that was uploaded, to
// whoever has the link, and nothing else.
func TestCodeLink(t *testing.T) {
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	f := apitest.PythonRotation(t, "linked")
	function := s.NewFunction(t, f)
	out, err := s.Lambda.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: &function})
	if err != nil {
		t.Fatal(err)
	}
	link := *out.Code.Location
	if *out.Code.RepositoryType != "S3" || !strings.HasPrefix(link, s.URL) {
		t.Errorf("got %s %s", *out.Code.RepositoryType, link)
	}
	if status, body := get(t, link); status != http.StatusOK || !bytes.Equal([]byte(body), f.Code) {
		t.Errorf("got %d and %d bytes, want the %d of the package", status, len(body), len(f.Code))
	}
	res, err := http.Head(link)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.ContentLength != int64(len(f.Code)) || res.Header.Get("Content-Type") != "application/zip" {
		t.Errorf("got %d bytes of %s", res.ContentLength, res.Header.Get("Content-Type"))
	}
	if res, err = http.Post(link, "", nil); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %s", res.Status)
	}
	path, token, _ := strings.Cut(link, "?token=")
	for _, bad := range []string{"", "AAAA", "!", token[:len(token)-4] + "AAAA", strings.ToLower(token)} {
		if status, body := get(t, path+"?token="+bad); status != http.StatusForbidden || body != "This link is not valid or has expired.\n" {
			t.Errorf("token %.10q: got %d %s", bad, status, body)
		}
	}
	if _, err := s.Lambda.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &function}); err != nil {
		t.Fatal(err)
	}
	if status, _ := get(t, link); status != http.StatusNotFound {
		t.Errorf("after the function was deleted: got %d", status)
	}
}
