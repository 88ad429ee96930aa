package lambda

import (
	"context"
	"maps"
	"time"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// tagged resolves the ARN of a function that has tags (AWS: recorded).
func (s *Service) tagged(ctx context.Context, call *wire.Call, resource *string) (function.Ref, error) {
	ref, err := s.ref(ctx, call, resource, nil)
	if err == nil && ref.Qualifier != "" {
		err = fault.New(fault.Parameter, "Tags on function aliases and versions are not supported. Please specify a function ARN.")
	}
	return ref, err
}

// ListTags returns the tags of a function.
func (s *Service) ListTags(ctx context.Context, call *wire.Call, in *api.ListTagsRequest) (out *api.ListTagsResponse, err error) {
	ref, err := s.tagged(ctx, call, in.Resource)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, ref, func(_ *store.Tx, f *function.Function) error {
		out = &api.ListTagsResponse{Tags: f.Tags}
		if f.Tags == nil {
			out.Tags = map[string]string{}
		}
		return nil
	})
	return out, err
}

// TagResource adds tags to a function, or changes their values.
func (s *Service) TagResource(ctx context.Context, call *wire.Call, in *api.TagResourceRequest) (*api.TagResourceResponse, error) {
	ref, err := s.tagged(ctx, call, in.Resource)
	if err != nil {
		return nil, err
	}
	if err := checkTags(call, in.Tags); err != nil {
		return nil, err
	}
	return change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.TagResourceResponse, error) {
		if f.Tags == nil {
			f.Tags = map[string]string{}
		}
		maps.Copy(f.Tags, in.Tags)
		if err := function.CheckAllTags(f.Tags); err != nil {
			return nil, err
		}
		return new(api.TagResourceResponse), tx.SaveFunction(f)
	})
}

// checkTags checks tags of a request. Those whose keys are reserved are for
// AWS's services.
func checkTags(call *wire.Call, tags map[string]string) error {
	if call.By != "" {
		return function.CheckAllTags(tags)
	}
	return function.CheckTags(tags)
}

// UntagResource removes tags from a function.
func (s *Service) UntagResource(ctx context.Context, call *wire.Call, in *api.UntagResourceRequest) (*api.UntagResourceResponse, error) {
	ref, err := s.tagged(ctx, call, in.Resource)
	if err != nil {
		return nil, err
	}
	if call.By == "" {
		if err := function.CheckUntag(in.TagKeys); err != nil {
			return nil, err
		}
	}
	return change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.UntagResourceResponse, error) {
		for _, key := range in.TagKeys {
			delete(f.Tags, key)
		}
		return new(api.UntagResourceResponse), tx.SaveFunction(f)
	})
}

// GetAccountSettings returns the limits of the account in the region and what
// is used of them.
func (s *Service) GetAccountSettings(ctx context.Context, call *wire.Call, _ *api.GetAccountSettingsRequest) (*api.GetAccountSettingsResponse, error) {
	if err := s.cfg.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	var count, bytes int64
	var pool function.Pool
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if count, bytes, err = tx.FunctionUsage(call.Principal.Account, call.Region); err != nil {
			return err
		}
		pool, err = s.concurrency(tx, call.Principal.Account, call.Region)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.GetAccountSettingsResponse{
		AccountLimit: &api.AccountLimit{
			TotalCodeSize: new(int64(function.MaxCodeStorage)), CodeSizeUnzipped: new(int64(function.MaxUnzipped)), CodeSizeZipped: new(int64(function.MaxZipped)),
			ConcurrentExecutions: &pool.Limit, UnreservedConcurrentExecutions: new(pool.Unreserved()),
		},
		AccountUsage: &api.AccountUsage{TotalCodeSize: &bytes, FunctionCount: &count},
	}, nil
}

// async resolves whose EventInvokeConfig a call means: "" is $LATEST, and that
// of $LATEST the function's.
func (s *Service) async(ctx context.Context, call *wire.Call, name, qualifier *string) (function.Ref, error) {
	ref, err := resolve(call, name, qualifier)
	if err != nil {
		return ref, err
	}
	if ref.Qualifier == "" || ref.Qualifier == function.Latest {
		err = s.authorize(ctx, call, ref.Unqualified(), nil)
		ref.Qualifier = function.Latest
		return ref, err
	}
	return ref, s.authorize(ctx, call, ref, nil)
}

func describeAsync(ref function.Ref, c function.AsyncConfig) *api.FunctionEventInvokeConfig {
	return &api.FunctionEventInvokeConfig{
		LastModified: new(c.LastModified.Truncate(time.Millisecond)), FunctionArn: new(ref.ARN()),
		MaximumRetryAttempts: c.MaximumRetryAttempts, MaximumEventAgeInSeconds: c.MaximumEventAgeInSeconds,
		DestinationConfig: &api.DestinationConfig{
			OnSuccess: &api.OnSuccess{Destination: present(c.OnSuccess)}, OnFailure: &api.OnFailure{Destination: present(c.OnFailure)},
		},
	}
}

// noAsync is the error for an EventInvokeConfig that does not exist (AWS:
// recorded).
func noAsync(ref function.Ref) *fault.Error {
	return fault.New(fault.NotFound, "The function %s doesn't have an EventInvokeConfig", ref.ARN()).For(ref.ARN())
}

// asyncMembers are what a request sets of an EventInvokeConfig.
type asyncMembers struct {
	retries, age *int64
	destinations *api.DestinationConfig
}

// apply changes c by what is given. Something has to be (AWS: recorded).
func (m asyncMembers) apply(c *function.AsyncConfig) error {
	if m.retries == nil && m.age == nil && m.destinations == nil {
		return fault.New(fault.Parameter, "You must specify at least one of error handling or destination setting.")
	}
	if m.retries != nil {
		c.MaximumRetryAttempts = m.retries
	}
	if m.age != nil {
		c.MaximumEventAgeInSeconds = m.age
	}
	if d := m.destinations; d != nil {
		if d.OnSuccess != nil {
			c.OnSuccess = value(d.OnSuccess.Destination)
		}
		if d.OnFailure != nil {
			c.OnFailure = value(d.OnFailure.Destination)
		}
	}
	c.LastModified = time.Now().UTC()
	return nil
}

// setAsync stores an EventInvokeConfig: a new one, or a change of the old.
func (s *Service) setAsync(ctx context.Context, call *wire.Call, ref function.Ref, m asyncMembers, update bool) (*api.FunctionEventInvokeConfig, error) {
	return change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.FunctionEventInvokeConfig, error) {
		if _, err := findVersion(tx, f, ref); err != nil {
			return nil, err
		}
		var c function.AsyncConfig
		if update {
			var ok bool
			if c, ok = f.Async[ref.Qualifier]; !ok {
				return nil, noAsync(ref)
			}
		}
		if err := m.apply(&c); err != nil {
			return nil, err
		}
		if f.Async == nil {
			f.Async = map[string]function.AsyncConfig{}
		}
		f.Async[ref.Qualifier] = c
		return describeAsync(ref, c), tx.SaveFunction(f)
	})
}

// PutFunctionEventInvokeConfig sets how events of a function are retried.
func (s *Service) PutFunctionEventInvokeConfig(ctx context.Context, call *wire.Call, in *api.PutFunctionEventInvokeConfigRequest) (*api.FunctionEventInvokeConfig, error) {
	ref, err := s.async(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return s.setAsync(ctx, call, ref, asyncMembers{in.MaximumRetryAttempts, in.MaximumEventAgeInSeconds, in.DestinationConfig}, false)
}

// UpdateFunctionEventInvokeConfig changes how events of a function are
// retried.
func (s *Service) UpdateFunctionEventInvokeConfig(ctx context.Context, call *wire.Call, in *api.UpdateFunctionEventInvokeConfigRequest) (*api.FunctionEventInvokeConfig, error) {
	ref, err := s.async(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return s.setAsync(ctx, call, ref, asyncMembers{in.MaximumRetryAttempts, in.MaximumEventAgeInSeconds, in.DestinationConfig}, true)
}

// GetFunctionEventInvokeConfig returns how events of a function are retried,
// if that was set.
func (s *Service) GetFunctionEventInvokeConfig(ctx context.Context, call *wire.Call, in *api.GetFunctionEventInvokeConfigRequest) (out *api.FunctionEventInvokeConfig, err error) {
	ref, err := s.async(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, ref, func(_ *store.Tx, f *function.Function) error {
		c, ok := f.Async[ref.Qualifier]
		if !ok {
			return noAsync(ref)
		}
		out = describeAsync(ref, c)
		return nil
	})
	return out, err
}

// DeleteFunctionEventInvokeConfig brings the defaults back.
func (s *Service) DeleteFunctionEventInvokeConfig(ctx context.Context, call *wire.Call, in *api.DeleteFunctionEventInvokeConfigRequest) (*api.DeleteFunctionEventInvokeConfigResponse, error) {
	ref, err := s.async(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.DeleteFunctionEventInvokeConfigResponse, error) {
		if _, ok := f.Async[ref.Qualifier]; !ok {
			return nil, noAsync(ref)
		}
		delete(f.Async, ref.Qualifier)
		return new(api.DeleteFunctionEventInvokeConfigResponse), tx.SaveFunction(f)
	})
}

// GetRuntimeManagementConfig returns when the runtime is updated. Runtimes
// are those of the host, so it is only kept.
func (s *Service) GetRuntimeManagementConfig(ctx context.Context, call *wire.Call, in *api.GetRuntimeManagementConfigRequest) (out *api.GetRuntimeManagementConfigResponse, err error) {
	ref, err := s.async(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, ref, func(tx *store.Tx, f *function.Function) error {
		t, err := findVersion(tx, f, ref)
		if err != nil {
			return err
		}
		out = &api.GetRuntimeManagementConfigResponse{UpdateRuntimeOn: new(api.UpdateRuntimeOnAuto), FunctionArn: new(ref.ARN())}
		if f.RuntimeUpdate != "" {
			out.UpdateRuntimeOn = &f.RuntimeUpdate
		}
		rt, ok := function.LookupRuntime(t.config.Runtime)
		if ok && f.RuntimeUpdate == api.UpdateRuntimeOnManual {
			out.RuntimeVersionArn = new(rt.VersionARN(arn.Partition(f.Region), f.Region))
		}
		return nil
	})
	return out, err
}

// PutRuntimeManagementConfig keeps when the runtime is to be updated.
func (s *Service) PutRuntimeManagementConfig(ctx context.Context, call *wire.Call, in *api.PutRuntimeManagementConfigRequest) (*api.PutRuntimeManagementConfigResponse, error) {
	ref, err := s.async(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.PutRuntimeManagementConfigResponse, error) {
		if _, err := findVersion(tx, f, ref); err != nil {
			return nil, err
		}
		if (*in.UpdateRuntimeOn == api.UpdateRuntimeOnManual) != (in.RuntimeVersionArn != nil) {
			return nil, fault.New(fault.Parameter, "A RuntimeVersionArn goes with UpdateRuntimeOn Manual, and only with that.")
		}
		f.RuntimeUpdate = *in.UpdateRuntimeOn
		return &api.PutRuntimeManagementConfigResponse{
			UpdateRuntimeOn: in.UpdateRuntimeOn, FunctionArn: new(ref.ARN()), RuntimeVersionArn: in.RuntimeVersionArn,
		}, tx.SaveFunction(f)
	})
}

// GetFunctionCodeSigningConfig answers that code is not signed.
func (s *Service) GetFunctionCodeSigningConfig(ctx context.Context, call *wire.Call, in *api.GetFunctionCodeSigningConfigRequest) (*api.GetFunctionCodeSigningConfigResponse, error) {
	ref, err := s.whole(ctx, call, in.FunctionName)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, ref, func(*store.Tx, *function.Function) error { return nil })
	if err != nil {
		return nil, err
	}
	return &api.GetFunctionCodeSigningConfigResponse{CodeSigningConfigArn: new(""), FunctionName: &ref.Name}, nil
}

// GetFunctionRecursionConfig returns what happens to recursive invocations.
func (s *Service) GetFunctionRecursionConfig(ctx context.Context, call *wire.Call, in *api.GetFunctionRecursionConfigRequest) (out *api.GetFunctionRecursionConfigResponse, err error) {
	ref, err := s.whole(ctx, call, in.FunctionName)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, ref, func(_ *store.Tx, f *function.Function) error {
		out = &api.GetFunctionRecursionConfigResponse{RecursiveLoop: new(api.RecursiveLoopTerminate)}
		if f.RecursiveLoop != "" {
			out.RecursiveLoop = &f.RecursiveLoop
		}
		return nil
	})
	return out, err
}
