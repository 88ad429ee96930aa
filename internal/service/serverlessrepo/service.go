// Package serverlessrepo implements the operations of the Serverless
// Application Repository for the rotation applications: what they are, their
// templates, and change sets of stacks that deploy them.
//
// The applications are those of package application. They are public, as
// AWS's are, and nobody can publish others.
package serverlessrepo

import (
	"context"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/serverlessrepo"
	"github.com/keyturn/keyturn/internal/application"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with; all members are needed.
type Config struct {
	Store *store.Store
	Guard *authz.Guard
	// URL is where clients reach the server.
	URL func() string
}

// Service is the Serverless Application Repository. Use New, and then Use.
type Service struct {
	Config
	handler *wire.Handler
}

// New returns a Service that cannot make change sets before Use.
func New(cfg Config) *Service { return &Service{Config: cfg} }

// Use gives the service the operations of CloudFormation, which it calls as
// its own callers.
func (s *Service) Use(h *wire.Handler) { s.handler = h }

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{Model: api.Model(), Errors: codes, Ops: []wire.Op{
		wire.Handle("CreateCloudFormationChangeSet", s.CreateCloudFormationChangeSet),
		wire.Handle("CreateCloudFormationTemplate", s.CreateCloudFormationTemplate),
		wire.Handle("GetApplication", s.GetApplication),
		wire.Handle("GetCloudFormationTemplate", s.GetCloudFormationTemplate),
		wire.Handle("ListApplicationDependencies", s.ListApplicationDependencies),
		wire.Handle("ListApplications", s.ListApplications),
		wire.Handle("ListApplicationVersions", s.ListApplicationVersions),
	}}
}

// codes are the service's error codes (AWS: the model).
var codes = map[fault.Kind]wire.Code{
	fault.NotFound:   {Name: "NotFoundException"},
	fault.Parameter:  {Name: "BadRequestException"},
	fault.Validation: {Name: "BadRequestException"},
	fault.PageToken:  {Name: "BadRequestException"},
	fault.Internal:   {Name: "InternalServerErrorException"},
}

// published is the policy of every application: it is shared with everybody,
// as AWS's are.
const published = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"serverlessrepo:*","Resource":"*"}}`

// find returns the application that an ID names, authorised for the call.
// What does not exist is refused as what does.
func (s *Service) find(call *wire.Call, id string) (*application.Application, error) {
	resource := authz.Resource{ARN: id, Policy: published}
	if a, ok := arn.Parse(id); !ok || a.Account == "" {
		resource.ARN, resource.Account = "*", call.Principal.Account
	}
	if err := s.Guard.On(call, "", &resource); err != nil {
		return nil, err
	}
	app, ok := application.Find(id)
	if !ok { // assumed
		return nil, fault.New(fault.NotFound, "Application not found: %s", id).For(id)
	}
	call.Resources = []trail.Resource{{Type: "AWS::ServerlessRepo::Application", Name: id}}
	return app, nil
}

// findVersion is find with the semantic version that is asked for, or the
// latest.
func (s *Service) findVersion(call *wire.Call, id string, asked *string) (*application.Application, string, error) {
	app, err := s.find(call, id)
	if err != nil {
		return nil, "", err
	}
	v, err := version(app, asked)
	return app, v, err
}

// version returns the semantic version that is asked for, or the latest.
func version(app *application.Application, asked *string) (string, error) {
	switch {
	case asked == nil || *asked == "":
		return app.Latest(), nil
	case !app.Has(*asked): // assumed
		return "", fault.New(fault.NotFound, "Application version not found: %s of %s", *asked, app.Name)
	}
	return *asked, nil
}

// created is when the applications were first published here.
const created = "2026-11-22T00:00:00.000Z"

// GetApplication describes an application and one version of it.
func (s *Service) GetApplication(_ context.Context, call *wire.Call, in *api.GetApplicationRequest) (*api.GetApplicationResponse, error) {
	app, v, err := s.findVersion(call, *in.ApplicationId, in.SemanticVersion)
	if err != nil {
		return nil, err
	}
	return &api.GetApplicationResponse{
		ApplicationId: in.ApplicationId, Author: new(application.Author), CreationTime: new(created), Description: &app.Description,
		IsVerifiedAuthor: new(false), Labels: app.Labels, Name: &app.Name,
		Version: &api.Version{
			ApplicationId: in.ApplicationId, CreationTime: new(created), ParameterDefinitions: definitions(app),
			RequiredCapabilities: application.Capabilities(), ResourcesSupported: new(true), SemanticVersion: &v,
			TemplateUrl: new(s.templateURL(app, v)),
		},
	}, nil
}

// templateURL is where clients can read the template.
func (s *Service) templateURL(app *application.Application, version string) string {
	return strings.TrimSuffix(s.URL(), "/") + application.TemplatePath(app.Name, version)
}

func definitions(app *application.Application) []api.ParameterDefinition {
	list := []api.ParameterDefinition{}
	for _, p := range app.Parameters() {
		by := p.ReferencedBy
		if by == nil {
			by = []string{}
		}
		list = append(list, api.ParameterDefinition{
			Name: &p.Name, Type: &p.Type, Description: &p.Description, DefaultValue: p.Default, ReferencedByResources: by,
		})
	}
	return list
}

// maxItems is the size of a page that asks for none.
const maxItems = 100

// page cuts a page out of a list whose items are named in order. next names
// the first item of the next page; "" for none.
func page[T any](list []T, name func(T) string, size *int64, token *string) (items []T, next *string, err error) {
	from := 0
	if token != nil {
		if from = slices.IndexFunc(list, func(v T) bool { return name(v) == *token }); from < 0 {
			return nil, nil, fault.New(fault.PageToken, "Invalid next token") // assumed
		}
	}
	n := maxItems
	if size != nil {
		n = int(*size)
	}
	to := min(from+n, len(list))
	if to < len(list) {
		next = new(name(list[to]))
	}
	return list[from:to], next, nil
}

// ListApplications lists the rotation applications. AWS lists those that the
// caller has published, and here nobody publishes any.
func (s *Service) ListApplications(_ context.Context, call *wire.Call, in *api.ListApplicationsRequest) (*api.ListApplicationsResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	apps, next, err := page(application.All(), func(a *application.Application) string { return a.Name }, in.MaxItems, in.NextToken)
	if err != nil {
		return nil, err
	}
	list := []api.ApplicationSummary{}
	for _, app := range apps {
		list = append(list, api.ApplicationSummary{
			ApplicationId: new(app.ARN(call.Region)), Author: new(application.Author), CreationTime: new(created),
			Description: &app.Description, Labels: app.Labels, Name: &app.Name,
		})
	}
	return &api.ListApplicationsResponse{Applications: list, NextToken: next}, nil
}

// ListApplicationVersions lists the versions that AWS's tools name, the latest
// first. Others can be asked for too.
func (s *Service) ListApplicationVersions(_ context.Context, call *wire.Call, in *api.ListApplicationVersionsRequest) (*api.ListApplicationVersionsResponse, error) {
	app, err := s.find(call, *in.ApplicationId)
	if err != nil {
		return nil, err
	}
	versions, next, err := page(app.Versions(), func(v string) string { return v }, in.MaxItems, in.NextToken)
	if err != nil {
		return nil, err
	}
	list := []api.VersionSummary{}
	for _, v := range versions {
		list = append(list, api.VersionSummary{ApplicationId: in.ApplicationId, CreationTime: new(created), SemanticVersion: &v})
	}
	return &api.ListApplicationVersionsResponse{Versions: list, NextToken: next}, nil
}

// ListApplicationDependencies lists the applications nested in one: there are
// none.
func (s *Service) ListApplicationDependencies(_ context.Context, call *wire.Call, in *api.ListApplicationDependenciesRequest) (*api.ListApplicationDependenciesResponse, error) {
	if _, _, err := s.findVersion(call, *in.ApplicationId, in.SemanticVersion); err != nil {
		return nil, err
	}
	return &api.ListApplicationDependenciesResponse{Dependencies: []api.ApplicationDependencySummary{}}, nil
}
