package lambda

import (
	"context"
	"time"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// timestamp is how Lambda prints times (AWS: recorded).
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000+0000") }

// describe returns the configuration of a version as lists show it. qualifier
// ends its ARN.
func (s *Service) describe(f *function.Function, c *function.Config, qualifier string) (*api.FunctionConfiguration, error) {
	variables, err := s.cfg.Invoker.Variables(f.ID, c)
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
	if variables != nil {
		out.Environment = &api.EnvironmentResponse{Variables: variables}
	}
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

func describeLogging(f *function.Function, c *function.Config) *api.LoggingConfig {
	return &api.LoggingConfig{
		LogFormat: &c.Logging.Format, LogGroup: new(c.LogGroup(f.Name)),
		ApplicationLogLevel: present(c.Logging.ApplicationLogLevel), SystemLogLevel: present(c.Logging.SystemLogLevel),
	}
}

// describeFully is describe with what lists leave out (AWS: recorded): the
// state, the last update and the runtime's version.
func (s *Service) describeFully(f *function.Function, c *function.Config, qualifier string) (*api.FunctionConfiguration, error) {
	out, err := s.describe(f, c, qualifier)
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
	_, out, err := s.get(ctx, ref)
	return out, err
}

// get returns what ref names and its description.
func (s *Service) get(ctx context.Context, ref function.Ref) (t target, out *api.FunctionConfiguration, err error) {
	err = s.read(ctx, ref, func(tx *store.Tx, f *function.Function) error {
		t, err = findVersion(tx, f, ref)
		return err
	})
	if err != nil {
		return t, nil, err
	}
	out, err = s.describeFully(t.f, t.config, ref.Qualifier)
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
// with the tags if the caller may list them (AWS: recorded).
func (s *Service) GetFunction(ctx context.Context, call *wire.Call, in *api.GetFunctionRequest) (*api.GetFunctionResponse, error) {
	ref, err := s.ref(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	t, described, err := s.get(ctx, ref)
	if err != nil {
		return nil, err
	}
	out := &api.GetFunctionResponse{
		Configuration: described,
		Code:          &api.FunctionCodeLocation{RepositoryType: new("S3"), Location: new(s.cfg.CodeURL(t.config.CodeSHA256))},
	}
	if len(t.f.Tags) > 0 && s.cfg.Guard.On(call, "lambda:ListTags", invocation.ResourceOf(ref.Unqualified(), t.f)) == nil {
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
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		p.found = nil
		return p.fill(tx, call.Principal.Account, call.Region, after)
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListFunctionsResponse{Functions: []api.FunctionConfiguration{}}
	if len(p.found) > p.size {
		p.found = p.found[:p.size]
		out.NextMarker = p.found[p.size-1].marker().text()
	}
	for _, v := range p.found {
		qualifier := ""
		if p.all {
			qualifier = v.c.Version
		}
		described, err := s.describe(v.f, v.c, qualifier)
		if err != nil {
			return nil, err
		}
		out.Functions = append(out.Functions, *described)
	}
	return out, nil
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
