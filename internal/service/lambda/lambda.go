// Package lambda serves the Lambda API: functions, versions, aliases, layers,
// resource policies, concurrency and invocations.
package lambda

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"

	"github.com/google/uuid"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with. All but Logger are needed.
type Config struct {
	Store   *store.Store
	Guard   *authz.Guard
	Invoker *invocation.Invoker
	// CodeURL returns a link, valid for ten minutes, from which a package can
	// be downloaded without a signature. It names the package by its base64
	// SHA-256.
	CodeURL func(sha256 string) string
	// Concurrency is the limit of an account in a region.
	Concurrency int
	Logger      *slog.Logger
}

// Service holds the operations. Use New.
type Service struct{ cfg Config }

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg}
}

// maxUpload is the longest body of a request that carries a package (AWS:
// recorded in the message about it).
const maxUpload = 70167211

// Wire returns the service as it is served.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{
		Model: api.Model(), Ops: s.operations(), Errors: errorCodes(), EventNames: eventNames(),
		BodyLimit: map[string]int64{"CreateFunction": maxUpload, "UpdateFunctionCode": maxUpload, "PublishLayerVersion": maxUpload},
		Opaque:    []string{"Invoke"},
		Actions:   map[string]string{"Invoke": "InvokeFunction", "GetLayerVersionByArn": "GetLayerVersion"}, Conditions: conditions,
	}
}

func (s *Service) operations() []wire.Op {
	return []wire.Op{
		wire.Handle("CreateFunction", s.CreateFunction),
		wire.Handle("GetFunction", s.GetFunction),
		wire.Handle("GetFunctionConfiguration", s.GetFunctionConfiguration),
		wire.Handle("ListFunctions", s.ListFunctions),
		wire.Handle("UpdateFunctionCode", s.UpdateFunctionCode),
		wire.Handle("UpdateFunctionConfiguration", s.UpdateFunctionConfiguration),
		wire.Handle("DeleteFunction", s.DeleteFunction),
		wire.Handle("Invoke", s.Invoke),
		wire.Handle("AddPermission", s.AddPermission),
		wire.Handle("RemovePermission", s.RemovePermission),
		wire.Handle("GetPolicy", s.GetPolicy),
		wire.Handle("PutFunctionConcurrency", s.PutFunctionConcurrency),
		wire.Handle("GetFunctionConcurrency", s.GetFunctionConcurrency),
		wire.Handle("DeleteFunctionConcurrency", s.DeleteFunctionConcurrency),
		wire.Handle("PutProvisionedConcurrencyConfig", s.PutProvisionedConcurrencyConfig),
		wire.Handle("GetProvisionedConcurrencyConfig", s.GetProvisionedConcurrencyConfig),
		wire.Handle("DeleteProvisionedConcurrencyConfig", s.DeleteProvisionedConcurrencyConfig),
		wire.Handle("ListProvisionedConcurrencyConfigs", s.ListProvisionedConcurrencyConfigs),
		wire.Handle("PublishVersion", s.PublishVersion),
		wire.Handle("ListVersionsByFunction", s.ListVersionsByFunction),
		wire.Handle("CreateAlias", s.CreateAlias),
		wire.Handle("GetAlias", s.GetAlias),
		wire.Handle("UpdateAlias", s.UpdateAlias),
		wire.Handle("DeleteAlias", s.DeleteAlias),
		wire.Handle("ListAliases", s.ListAliases),
		wire.Handle("PublishLayerVersion", s.PublishLayerVersion),
		wire.Handle("GetLayerVersion", s.GetLayerVersion),
		wire.Handle("GetLayerVersionByArn", s.GetLayerVersionByArn),
		wire.Handle("ListLayers", s.ListLayers),
		wire.Handle("ListLayerVersions", s.ListLayerVersions),
		wire.Handle("DeleteLayerVersion", s.DeleteLayerVersion),
		wire.Handle("ListTags", s.ListTags),
		wire.Handle("TagResource", s.TagResource),
		wire.Handle("UntagResource", s.UntagResource),
		wire.Handle("GetAccountSettings", s.GetAccountSettings),
		wire.Handle("PutFunctionEventInvokeConfig", s.PutFunctionEventInvokeConfig),
		wire.Handle("UpdateFunctionEventInvokeConfig", s.UpdateFunctionEventInvokeConfig),
		wire.Handle("GetFunctionEventInvokeConfig", s.GetFunctionEventInvokeConfig),
		wire.Handle("DeleteFunctionEventInvokeConfig", s.DeleteFunctionEventInvokeConfig),
		wire.Handle("GetRuntimeManagementConfig", s.GetRuntimeManagementConfig),
		wire.Handle("PutRuntimeManagementConfig", s.PutRuntimeManagementConfig),
		wire.Handle("GetFunctionCodeSigningConfig", s.GetFunctionCodeSigningConfig),
		wire.Handle("GetFunctionRecursionConfig", s.GetFunctionRecursionConfig),
	}
}

// errorCodes are Lambda's names of errors (AWS: recorded); those of the model
// bring their status.
func errorCodes() map[fault.Kind]wire.Code {
	return map[fault.Kind]wire.Code{
		fault.NotFound:           {Name: "ResourceNotFoundException"},
		fault.Exists:             {Name: "ResourceConflictException"},
		fault.Conflict:           {Name: "ResourceConflictException"},
		fault.State:              {Name: "ResourceConflictException"},
		fault.Parameter:          {Name: "InvalidParameterValueException"},
		fault.PageToken:          {Name: "InvalidParameterValueException"},
		fault.Precondition:       {Name: "PreconditionFailedException"},
		fault.Throttled:          {Name: "TooManyRequestsException"},
		fault.TooLarge:           {Name: "RequestEntityTooLargeException", Status: 413},
		function.PayloadTooLarge: {Name: "RequestTooLargeException"},
		function.InvalidPayload:  {Name: "InvalidRequestContentException"},
		function.PolicyTooLong:   {Name: "PolicyLengthExceededException"},
		function.NoProvisioned:   {Name: "ProvisionedConcurrencyConfigNotFoundException"},
		function.CodeStorage:     {Name: "CodeStorageExceededException"},
		function.KeyDisabled:     {Name: "KMSDisabledException"},
		function.KeyState:        {Name: "KMSInvalidStateException"},
		function.KeyNotFound:     {Name: "KMSNotFoundException"},
		fault.Unavailable:        {Name: "ServiceException", Status: 503},
		fault.Internal:           {Name: "ServiceException"},
	}
}

// eventNames are the names of CloudTrail's events, which carry the version of
// the API that the operation came with (AWS docs).
func eventNames() map[string]string {
	names := map[string]string{
		"CreateFunction": "20150331", "UpdateFunctionCode": "20150331v2", "UpdateFunctionConfiguration": "20150331v2",
		"DeleteFunction": "20150331", "GetFunction": "20150331v2", "GetFunctionConfiguration": "20150331v2",
		"ListFunctions": "20150331", "AddPermission": "20150331v2", "RemovePermission": "20150331v2", "GetPolicy": "20150331v2",
		"PublishVersion": "20150331", "ListVersionsByFunction": "20150331", "CreateAlias": "20150331", "GetAlias": "20150331",
		"UpdateAlias": "20150331", "DeleteAlias": "20150331", "ListAliases": "20150331", "PutFunctionConcurrency": "20171031",
		"DeleteFunctionConcurrency": "20171031", "PublishLayerVersion": "20181031", "GetLayerVersion": "20181031",
		"ListLayers": "20181031", "ListLayerVersions": "20181031", "DeleteLayerVersion": "20181031",
		"ListTags": "20170331", "TagResource": "20170331v2", "UntagResource": "20170331v2", "GetAccountSettings": "20160819",
	}
	for operation, version := range names {
		names[operation] = operation + version
	}
	return names
}

// value returns what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// present returns a pointer to a text, or nil for none.
func present(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// functionType is what the trail calls a function.
const functionType = "AWS::Lambda::Function"

// load returns the function that ref names.
func load(tx *store.Tx, ref function.Ref) (*function.Function, error) {
	f, err := tx.Function(ref.Account, ref.Region, ref.Name)
	if fault.Is(err, fault.NotFound) {
		return nil, ref.NotFound()
	}
	return f, err
}

// read runs fn on the function that ref names, in one snapshot.
func (s *Service) read(ctx context.Context, ref function.Ref, fn func(tx *store.Tx, f *function.Function) error) error {
	return s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		f, err := load(tx, ref)
		if err != nil {
			return err
		}
		return fn(tx, f)
	})
}

// change runs fn on the function that ref names and stores the event of the
// call in the same transaction. fn saves what it changes and returns the
// answer.
func change[T any, P interface {
	*T
	wire.Output
}](ctx context.Context, s *Service, call *wire.Call, ref function.Ref, fn func(tx *store.Tx, f *function.Function) (P, error)) (*T, error) {
	var out P
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		f, err := load(tx, ref)
		if err != nil {
			return err
		}
		if out, err = fn(tx, f); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// target is what a qualifier of a function names: the function itself, a
// version or an alias. Policies, revisions and the like belong to it.
type target struct {
	f *function.Function
	// config is the version, or the main version of the alias.
	config *function.Config
	alias  *function.Alias
}

// target returns what a qualifier names; "" is $LATEST. The error is of kind
// NotFound with AWS's text.
func findTarget(tx *store.Tx, f *function.Function, ref function.Ref) (t target, err error) {
	t.f = f
	version := ref.Qualifier
	if function.IsAlias(version) {
		if t.alias, err = tx.FunctionAlias(f.ID, version); err == nil {
			version = t.alias.Version
		} else if fault.Is(err, fault.NotFound) {
			return t, ref.NoAlias()
		}
	}
	if err == nil {
		t.config, err = invocation.Version(tx, f, version)
	}
	if fault.Is(err, fault.NotFound) {
		return t, ref.NotFound()
	}
	return t, err
}

// revision returns the RevisionId of the target.
func (t target) revision() string {
	if t.alias != nil {
		return t.alias.RevisionID
	}
	return t.config.RevisionID
}

// checkRevision refuses a RevisionId that is not the target's (AWS:
// recorded).
func (t target) checkRevision(given *string) error {
	if given == nil || *given == t.revision() {
		return nil
	}
	return function.StaleRevision()
}

// touch gives the target a new RevisionId and saves it.
func (t target) touch(tx *store.Tx) error {
	id := uuid.NewString()
	switch {
	case t.alias != nil:
		t.alias.RevisionID = id
		return tx.SaveFunctionAlias(t.alias)
	case t.config != &t.f.Config:
		t.config.RevisionID = id
		return tx.SaveFunctionVersion(t.f, t.config)
	}
	t.config.RevisionID = id
	return nil // saved with the function
}

// marker is a place in a list.
type marker struct {
	Name    string `json:"n"`
	Version int64  `json:"v,omitempty"`
}

func (m marker) text() *string {
	b, _ := json.Marshal(m) // strings and numbers always marshal
	return new(base64.RawURLEncoding.EncodeToString(b))
}

// parseMarker reads a Marker; none is the beginning.
func parseMarker(given *string) (m marker, err error) {
	if value(given) == "" {
		return m, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*given)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return m, fault.New(fault.PageToken, "The provided marker is invalid.").Because(err)
	}
	return m, nil
}

// maxPage is the longest page of any list (AWS docs).
const maxPage = 50

func pageSize(asked *int64) int {
	if asked == nil || *asked > maxPage {
		return maxPage
	}
	return int(*asked)
}
