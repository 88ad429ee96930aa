package serverlessrepo_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/serverlessapplicationrepository"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/application"
	"github.com/keyturn/keyturn/internal/service/serverlessrepo"
	"github.com/keyturn/keyturn/internal/servicetest"
)

const (
	generic  = "arn:aws:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRotationTemplate"
	multi    = "arn:aws:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRDSMySQLRotationMultiUser"
	unknown  = "arn:aws:serverlessrepo:us-east-1:297356227824:applications/Nope"
	myServer = "https://keyturn.example"
)

// kit is the service alone, for operations that call no other.
func kit(t *testing.T) (*servicetest.Parts, *serverlessapplicationrepository.Client) {
	t.Helper()
	p := servicetest.NewParts(t)
	s := serverlessrepo.New(serverlessrepo.Config{Store: p.Store, Guard: p.Guard, URL: func() string { return myServer }})
	_, cfg := p.Serve(t, s.Wire())
	return p, serverlessapplicationrepository.NewFromConfig(cfg)
}

func TestGetApplication(t *testing.T) {
	_, c := kit(t)
	out, err := c.GetApplication(t.Context(), &serverlessapplicationrepository.GetApplicationInput{ApplicationId: aws.String(multi)})
	if err != nil {
		t.Fatal(err)
	}
	if *out.ApplicationId != multi || *out.Name != "SecretsManagerRDSMySQLRotationMultiUser" || *out.Version.SemanticVersion != "1.1.671" {
		t.Errorf("got %s %s %s", *out.ApplicationId, *out.Name, *out.Version.SemanticVersion)
	}
	var names []string
	for _, p := range out.Version.ParameterDefinitions {
		names = append(names, *p.Name)
	}
	want := []string{
		"endpoint", "excludeCharacters", "functionName", "invokingServicePrincipal", "kmsKeyArn", "masterSecretArn", "masterSecretKmsKeyArn",
		"runtime", "superuserSecretArn", "superuserSecretKmsKeyArn", "vpcSecurityGroupIds", "vpcSubnetIds",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if got := out.Version.RequiredCapabilities; len(got) != 2 || got[0] != "CAPABILITY_IAM" || got[1] != "CAPABILITY_RESOURCE_POLICY" {
		t.Errorf("got the capabilities %v", got)
	}
	if body, ok := application.Template(*out.Version.TemplateUrl); !ok || !strings.HasPrefix(*out.Version.TemplateUrl, myServer) || !json.Valid([]byte(body)) {
		t.Errorf("%s leads to %q", *out.Version.TemplateUrl, body)
	}
}

func TestRefusals(t *testing.T) {
	_, c := kit(t)
	get := func(id, version string) error {
		_, err := c.GetApplication(t.Context(), &serverlessapplicationrepository.GetApplicationInput{ApplicationId: &id, SemanticVersion: &version})
		return err
	}
	servicetest.WantError(t, "unknown", get(unknown, ""), "NotFoundException", 404, "Application not found: "+unknown)
	servicetest.WantError(t, "no ARN", get("x", ""), "NotFoundException", 404, "Application not found: x")
	servicetest.WantError(t, "version", get(multi, "7.0.0"), "NotFoundException", 404, "Application version not found: 7.0.0 of SecretsManagerRDSMySQLRotationMultiUser")
	_, err := c.ListApplications(t.Context(), &serverlessapplicationrepository.ListApplicationsInput{NextToken: aws.String("x")})
	servicetest.WantError(t, "token", err, "BadRequestException", 400, "Invalid next token")
	_, err = c.GetCloudFormationTemplate(t.Context(), &serverlessapplicationrepository.GetCloudFormationTemplateInput{
		ApplicationId: aws.String(multi), TemplateId: aws.String("a8e3b5d0-0000-4000-8000-000000000000"),
	})
	servicetest.WantError(t, "template", err, "NotFoundException", 404, "Template not found: a8e3b5d0-0000-4000-8000-000000000000")
}

// The body of an error has its code too, for clients that look there.
func TestErrorBody(t *testing.T) {
	p := servicetest.NewParts(t)
	s := serverlessrepo.New(serverlessrepo.Config{Store: p.Store, Guard: p.Guard, URL: func() string { return myServer }})
	_, cfg := p.Serve(t, s.Wire())
	var body string
	cfg.HTTPClient = client(func(r *http.Request) (*http.Response, error) {
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(res.Body)
		body, res.Body = string(b), io.NopCloser(strings.NewReader(string(b)))
		return res, err
	})
	_, err := serverlessapplicationrepository.NewFromConfig(cfg).GetApplication(t.Context(), &serverlessapplicationrepository.GetApplicationInput{ApplicationId: aws.String(unknown)})
	if want := `{"errorCode":"NotFoundException","message":"Application not found: ` + unknown + `"}`; err == nil || body != want {
		t.Errorf("got %s, want %s", body, want)
	}
}

type client func(*http.Request) (*http.Response, error)

func (c client) Do(r *http.Request) (*http.Response, error) { return c(r) }

func TestLists(t *testing.T) {
	_, c := kit(t)
	var names []string
	pages := serverlessapplicationrepository.NewListApplicationsPaginator(c, &serverlessapplicationrepository.ListApplicationsInput{MaxItems: aws.Int32(5)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Applications) > 5 {
			t.Errorf("got %d on a page, want at most 5", len(page.Applications))
		}
		for _, a := range page.Applications {
			names = append(names, *a.Name)
		}
	}
	var want []string
	for _, a := range application.All() {
		want = append(want, a.Name)
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	versions, err := c.ListApplicationVersions(t.Context(), &serverlessapplicationrepository.ListApplicationVersionsInput{ApplicationId: aws.String(generic), MaxItems: aws.Int32(1)})
	if err != nil || len(versions.Versions) != 1 || *versions.Versions[0].SemanticVersion != "1.1.671" || versions.NextToken == nil {
		t.Errorf("got %+v, %v", versions, err)
	}
	dependencies, err := c.ListApplicationDependencies(t.Context(), &serverlessapplicationrepository.ListApplicationDependenciesInput{ApplicationId: aws.String(generic)})
	if err != nil || len(dependencies.Dependencies) != 0 {
		t.Errorf("got %+v, %v", dependencies, err)
	}
}

func TestTemplate(t *testing.T) {
	_, c := kit(t)
	made, err := c.CreateCloudFormationTemplate(t.Context(), &serverlessapplicationrepository.CreateCloudFormationTemplateInput{
		ApplicationId: aws.String(multi), SemanticVersion: aws.String("1.1.367"),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.GetCloudFormationTemplate(t.Context(), &serverlessapplicationrepository.GetCloudFormationTemplateInput{ApplicationId: aws.String(multi), TemplateId: made.TemplateId})
	if err != nil {
		t.Fatal(err)
	}
	if made.Status != "PREPARING" || got.Status != "ACTIVE" || *got.SemanticVersion != "1.1.367" || *got.TemplateUrl != *made.TemplateUrl || *got.ExpirationTime != *made.ExpirationTime {
		t.Errorf("got %+v, want what was made: %+v", got, made)
	}
	_, err = c.GetCloudFormationTemplate(t.Context(), &serverlessapplicationrepository.GetCloudFormationTemplateInput{ApplicationId: aws.String(generic), TemplateId: made.TemplateId})
	servicetest.WantError(t, "another application's", err, "NotFoundException", 404, "Template not found: "+*made.TemplateId)
}

// Applications are shared with everybody; still the caller's own policies
// decide, before anything else is said.
func TestAuthorisation(t *testing.T) {
	p, _ := kit(t)
	call := func(name, statements, id string) error {
		c := serverlessapplicationrepository.NewFromConfig(p.As(servicetest.User(t, servicetest.Account, name, statements)))
		_, err := c.GetApplication(t.Context(), &serverlessapplicationrepository.GetApplicationInput{ApplicationId: &id})
		return err
	}
	const mine = `{"Effect":"Allow","Action":"serverlessrepo:GetApplication","Resource":"arn:aws:serverlessrepo:*:*:applications/SecretsManager*"}`
	if err := call("ann", mine, generic); err != nil {
		t.Error(err)
	}
	denied := func(user, id string) string {
		return "User: arn:aws:iam::" + servicetest.Account + ":user/" + user + " is not authorized to perform: serverlessrepo:GetApplication on resource: " + id +
			" because no identity-based policy allows the serverlessrepo:GetApplication action"
	}
	servicetest.WantError(t, "no policy", call("bob", "", generic), "AccessDeniedException", 403, denied("bob", generic))
	servicetest.WantError(t, "another one", call("ann", mine, unknown), "AccessDeniedException", 403, denied("ann", unknown))
}

func TestCapabilities(t *testing.T) {
	_, c := kit(t)
	create := func(change func(*serverlessapplicationrepository.CreateCloudFormationChangeSetInput)) error {
		in := &serverlessapplicationrepository.CreateCloudFormationChangeSetInput{ApplicationId: aws.String(generic), StackName: aws.String("s")}
		change(in)
		_, err := c.CreateCloudFormationChangeSet(t.Context(), in)
		return err
	}
	for name, c := range map[string]struct {
		change func(*serverlessapplicationrepository.CreateCloudFormationChangeSetInput)
		want   string
	}{
		"none": {func(*serverlessapplicationrepository.CreateCloudFormationChangeSetInput) {}, "Unacknowledged capabilities: [CAPABILITY_IAM, CAPABILITY_RESOURCE_POLICY]"},
		"one": {func(in *serverlessapplicationrepository.CreateCloudFormationChangeSetInput) {
			in.Capabilities = []string{"CAPABILITY_NAMED_IAM"}
		}, "Unacknowledged capabilities: [CAPABILITY_RESOURCE_POLICY]"},
		"unknown": {func(in *serverlessapplicationrepository.CreateCloudFormationChangeSetInput) {
			in.Capabilities = []string{"CAPABILITY_X"}
		}, "Invalid capability: CAPABILITY_X. Valid capabilities are: CAPABILITY_IAM, CAPABILITY_NAMED_IAM, CAPABILITY_AUTO_EXPAND, CAPABILITY_RESOURCE_POLICY"},
	} {
		servicetest.WantError(t, name, create(c.change), "BadRequestException", 400, c.want)
	}
}
