package lambda

import (
	"context"
	"errors"
	"time"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// timestamp is how Lambda prints times (AWS: recorded).
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000+0000") }

// reader is who gets descriptions, in one transaction.
type reader struct {
	ctx  context.Context
	tx   *store.Tx
	call *wire.Call
}

// describe returns the configuration of a version as lists show it. qualifier
// ends its ARN.
func (s *Service) describe(r reader, f *function.Function, c *function.Config, qualifier string) (*api.FunctionConfiguration, error) {
	environment, err := s.describeEnvironment(r, f, c)
	if err != nil {
		return nil, err
	}
	out := &api.FunctionConfiguration{
		FunctionName: &f.Name, FunctionArn: new(f.Qualified(qualifier)), Version: &c.Version,
		Runtime: &c.Runtime, Role: &c.Role, Handler: &c.Handler, Description: &c.Description,
		CodeSize: &c.CodeSize, CodeSha256: &c.CodeSHA256, Timeout: &c.TimeoutSeconds, MemorySize: &c.MemoryMB,
		LastModified: new(timestamp(c.LastModified)), RevisionId: &c.RevisionID, PackageType: &c.PackageType,
		TracingConfig: &api.TracingConfigResponse{Mode: &c.TracingMode}, Architectures: c.Architectures,
		EphemeralStorage: &api.EphemeralStorage{Size: &c.EphemeralMB}, KMSKeyArn: present(c.KMSKeyARN),
		SnapStart:     &api.SnapStartResponse{ApplyOn: &c.SnapStart, OptimizationStatus: new(api.SnapStartOptimizationStatusOff)},
		LoggingConfig: describeLogging(f, c),
	}
	out.Environment = environment
	if v := c.VPC; v != nil {
		out.VpcConfig = &api.VpcConfigResponse{SubnetIds: v.SubnetIDs, SecurityGroupIds: v.SecurityGroupIDs, VpcId: &v.VPCID, Ipv6AllowedForDualStack: &v.IPv6}
	}
	if c.DeadLetterARN != "" {
		out.DeadLetterConfig = &api.DeadLetterConfig{TargetArn: &c.DeadLetterARN}
	}
	for i := range c.Layers {
		l := &c.Layers[i]
		out.Layers = append(out.Layers, api.Layer{Arn: &l.ARN, CodeSize: &l.CodeSize})
	}
	return out, nil
}

// describeEnvironment returns the environment variables; under a KMS key only
// to those who may decrypt with it, and to others why not (AWS docs).
func (s *Service) describeEnvironment(r reader, f *function.Function, c *function.Config) (*api.EnvironmentResponse, error) {
	box, err := s.cfg.Invoker.BoxVariables(r.tx, f, c)
	if err != nil {
		return nil, err
	}
	_, cause := box.Key()
	if denied := s.mayOpen(r, f, &box); denied != nil {
		cause = denied
	}
	if cause == nil {
		variables, err := s.cfg.Invoker.OpenVariables(r.ctx, box)
		if err != nil || variables == nil {
			return nil, err
		}
		return &api.EnvironmentResponse{Variables: variables}, nil
	}
	e, ok := errors.AsType[*fault.Error](cause)
	if !ok {
		return nil, cause
	}
	code, text := errorCodes()[e.Kind].Name, e.Message
	if e.Kind == fault.Denied {
		code = "AccessDeniedException"
		text = "Lambda was unable to decrypt your environment variables because the KMS access was denied. Please check your KMS permissions. " +
			"KMS Exception: AccessDeniedException KMS Message: " + text
	}
	return &api.EnvironmentResponse{Error: &api.EnvironmentError{ErrorCode: &code, Message: &text}}, nil
}

func describeLogging(f *function.Function, c *function.Config) *api.LoggingConfig {
	return &api.LoggingConfig{
		LogFormat: &c.Logging.Format, LogGroup: new(c.LogGroup(f.Name)),
		ApplicationLogLevel: present(c.Logging.ApplicationLogLevel), SystemLogLevel: present(c.Logging.SystemLogLevel),
	}
}

// describeFully is describe with what lists leave out (AWS: recorded): the
// state, the last update and the runtime's version.
func (s *Service) describeFully(r reader, f *function.Function, c *function.Config, qualifier string) (*api.FunctionConfiguration, error) {
	out, err := s.describe(r, f, c, qualifier)
	if err != nil {
		return nil, err
	}
	out.State, out.StateReason, out.StateReasonCode = present(c.State), present(c.StateReason), present(c.StateReasonCode)
	out.LastUpdateStatus, out.LastUpdateStatusReason = present(c.LastUpdate), present(c.LastUpdateReason)
	out.LastUpdateStatusReasonCode = present(c.LastUpdateReasonCode)
	if rt, ok := function.LookupRuntime(c.Runtime); ok {
		out.RuntimeVersionConfig = &api.RuntimeVersionConfig{RuntimeVersionArn: new(rt.VersionARN(arn.Partition(f.Region), f.Region))}
	}
	return out, nil
}

// GetFunctionConfiguration returns one version of a function.
func (s *Service) GetFunctionConfiguration(ctx context.Context, call *wire.Call, in *api.GetFunctionConfigurationRequest) (*api.FunctionConfiguration, error) {
	ref, err := s.ref(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	_, out, err := s.get(ctx, call, ref)
	return out, err
}

// get returns what ref names and its description.
func (s *Service) get(ctx context.Context, call *wire.Call, ref function.Ref) (t target, out *api.FunctionConfiguration, err error) {
	err = s.read(ctx, ref, func(tx *store.Tx, f *function.Function) error {
		if t, err = findVersion(tx, f, ref); err != nil {
			return err
		}
		out, err = s.describeFully(reader{ctx, tx, call}, t.f, t.config, ref.Qualifier)
		return err
	})
	return t, out, err
}

// findVersion is findTarget for operations that speak of functions whatever
// the qualifier is.
func findVersion(tx *store.Tx, f *function.Function, ref function.Ref) (target, error) {
	t, err := findTarget(tx, f, ref)
	if err != nil && function.IsAlias(ref.Qualifier) && t.alias == nil {
		return t, asNotFound(err, ref)
	}
	return t, err
}

// GetFunction returns one version of a function with a link to its code, and
// with the tags if the caller may list them (AWS: recorded) or with why not
// (AWS service model).
func (s *Service) GetFunction(ctx context.Context, call *wire.Call, in *api.GetFunctionRequest) (*api.GetFunctionResponse, error) {
	ref, err := s.ref(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	t, described, err := s.get(ctx, call, ref)
	if err != nil {
		return nil, err
	}
	out := &api.GetFunctionResponse{
		Configuration: described,
		Code:          &api.FunctionCodeLocation{RepositoryType: new("S3"), Location: new(s.cfg.CodeURL(t.config.CodeSHA256))},
	}
	err = s.cfg.Guard.On(call, "lambda:ListTags", invocation.ResourceOf(ref.Unqualified(), t.f))
	if e, ok := errors.AsType[*fault.Error](err); ok {
		out.TagsError = &api.TagsError{ErrorCode: new("AccessDeniedException"), Message: &e.Message}
	} else if len(t.f.Tags) > 0 {
		out.Tags = t.f.Tags
	}
	if t.f.Reserved != nil {
		out.Concurrency = &api.Concurrency{ReservedConcurrentExecutions: t.f.Reserved}
	}
	return out, nil
}

// ListFunctions lists the functions of the account in the region by name;
// with FunctionVersion=ALL, their versions too.
func (s *Service) ListFunctions(ctx context.Context, call *wire.Call, in *api.ListFunctionsRequest) (*api.ListFunctionsResponse, error) {
	if err := s.cfg.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	after, err := parseMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	p := page{size: pageSize(in.MaxItems), all: in.FunctionVersion != nil}
	out := new(api.ListFunctionsResponse)
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		p.found = nil
		err := p.fill(tx, call.Principal.Account, call.Region, after)
		if err == nil {
			out.Functions, out.NextMarker, err = s.describePage(reader{ctx, tx, call}, &p)
		}
		return err
	})
	return out, err
}

// describePage describes what a page has found, and tells where the next one
// begins if there is one. Versions are named by their numbers where all are
// listed.
func (s *Service) describePage(r reader, p *page) (list []api.FunctionConfiguration, next *string, err error) {
	if p.full() {
		p.found = p.found[:p.size]
		next = p.found[p.size-1].marker().text()
	}
	list = []api.FunctionConfiguration{}
	for _, v := range p.found {
		qualifier := ""
		if p.all {
			qualifier = v.c.Version
		}
		described, err := s.describe(r, v.f, v.c, qualifier)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, *described)
	}
	return list, next, nil
}

// version is a version of a function in a list.
type version struct {
	f *function.Function
	c *function.Config
}

func (v version) marker() marker {
	n, _ := function.VersionNumber(v.c.Version) // 0 for $LATEST
	return marker{v.f.Name, n}
}

// page collects functions, or all their versions, up to one more than fit.
type page struct {
	size  int
	all   bool
	found []version
}

func (p *page) full() bool { return len(p.found) > p.size }

func (p *page) fill(tx *store.Tx, account, region string, after marker) error {
	if p.all && after.Name != "" {
		// The page before may have ended amid this function's versions.
		f, err := tx.Function(account, region, after.Name)
		if err == nil {
			err = p.versions(tx, f, after.Version)
		}
		if err != nil && !isNotFound(err) {
			return err
		}
	}
	for name := after.Name; !p.full(); {
		functions, err := tx.Functions(account, region, name, p.size+1)
		if err != nil || len(functions) == 0 {
			return err
		}
		for _, f := range functions {
			name = f.Name
			p.found = append(p.found, version{f, &f.Config})
			if p.all && !p.full() {
				if err := p.versions(tx, f, 0); err != nil {
					return err
				}
			}
			if p.full() {
				return nil
			}
		}
	}
	return nil
}

// versions adds the published versions of a function after a number.
func (p *page) versions(tx *store.Tx, f *function.Function, after int64) error {
	list, err := tx.FunctionVersions(f.ID, after, p.size+1-len(p.found))
	for _, c := range list {
		p.found = append(p.found, version{f, c})
	}
	return err
}
