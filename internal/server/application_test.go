package server_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/serverlessapplicationrepository"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/application"
)

// The link to an application's template works without a signature, and leads
// to nothing else.
func TestTemplateLink(t *testing.T) {
	s := apitest.Start(t, apitest.Options{})
	made, err := s.Apps.CreateCloudFormationTemplate(t.Context(), &serverlessapplicationrepository.CreateCloudFormationTemplateInput{
		ApplicationId: aws.String("arn:aws:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRedshiftRotationSingleUser"),
	})
	if err != nil {
		t.Fatal(err)
	}
	app, _ := application.Lookup("SecretsManagerRedshiftRotationSingleUser")
	for _, c := range []struct {
		method, url string
		status      int
		body        string
	}{
		{"GET", *made.TemplateUrl, 200, app.Body()},
		{"HEAD", *made.TemplateUrl, 200, ""},
		{"POST", *made.TemplateUrl, 405, "This link is for downloading.\n"},
		{"GET", s.URL + application.Folder + "Nope/template.json", 404, "There is no such application.\n"},
		{"GET", s.URL + application.Folder + "%2e%2e/%2e%2e/health", 404, "There is no such application.\n"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != c.status || string(body) != c.body {
			t.Errorf("%s %s: got %d %q, %v", c.method, c.url, res.StatusCode, body, err)
		}
	}
}
