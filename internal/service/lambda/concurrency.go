package lambda

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

func (s *Service) concurrency(tx *store.Tx, account, region string) (function.Pool, error) {
	claimed, err := tx.ClaimedConcurrency(account, region)
	return function.Pool{Limit: int64(s.cfg.Concurrency), Reserved: claimed}, err
}

// PutFunctionConcurrency reserves concurrency for a function.
func (s *Service) PutFunctionConcurrency(ctx context.Context, call *wire.Call, in *api.PutFunctionConcurrencyRequest) (*api.Concurrency, error) {
	ref, err := s.whole(ctx, call, in.FunctionName)
	if err != nil {
		return nil, err
	}
	return change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.Concurrency, error) {
		pool, err := s.concurrency(tx, f.Account, f.Region)
		if err != nil {
			return nil, err
		}
		if err := f.CheckReserve(*in.ReservedConcurrentExecutions, pool); err != nil {
			return nil, err
		}
		f.Reserved = new(*in.ReservedConcurrentExecutions)
		return &api.Concurrency{ReservedConcurrentExecutions: f.Reserved}, tx.SaveFunction(f)
	})
}

// GetFunctionConcurrency returns what is reserved, if anything.
func (s *Service) GetFunctionConcurrency(ctx context.Context, call *wire.Call, in *api.GetFunctionConcurrencyRequest) (out *api.GetFunctionConcurrencyResponse, err error) {
	ref, err := s.whole(ctx, call, in.FunctionName)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, ref, func(_ *store.Tx, f *function.Function) error {
		out = &api.GetFunctionConcurrencyResponse{ReservedConcurrentExecutions: f.Reserved}
		return nil
	})
	return out, err
}

// DeleteFunctionConcurrency ends a reservation.
func (s *Service) DeleteFunctionConcurrency(ctx context.Context, call *wire.Call, in *api.DeleteFunctionConcurrencyRequest) (*api.DeleteFunctionConcurrencyResponse, error) {
	ref, err := s.whole(ctx, call, in.FunctionName)
	if err != nil {
		return nil, err
	}
	return change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.DeleteFunctionConcurrencyResponse, error) {
		f.Reserved = nil
		return new(api.DeleteFunctionConcurrencyResponse), tx.SaveFunction(f)
	})
}

// provisionable finds the version or alias that may have provisioned
// concurrency.
func provisionable(tx *store.Tx, f *function.Function, ref function.Ref) (target, error) {
	t, err := findTarget(tx, f, ref)
	if err == nil && t.config == &f.Config {
		err = fault.New(fault.Parameter, "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
	}
	return t, err
}

// checkOverlap refuses provisioned concurrency on a version and on an alias
// of it (AWS: recorded).
func checkOverlap(tx *store.Tx, t target) error {
	if t.alias != nil {
		if _, ok := t.f.Provisioned[t.alias.Version]; ok {
			return fault.New(fault.Conflict, "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version")
		}
		return nil
	}
	aliases, err := tx.AllFunctionAliases(t.f.ID)
	for _, a := range aliases {
		if _, ok := t.f.Provisioned[a.Name]; ok && a.Version == t.config.Version {
			return fault.New(fault.Conflict, "Version is pointed by a Provisioned Concurrency alias")
		}
	}
	return err
}

// PutProvisionedConcurrencyConfig keeps environments of a version or alias
// ready.
func (s *Service) PutProvisionedConcurrencyConfig(ctx context.Context, call *wire.Call, in *api.PutProvisionedConcurrencyConfigRequest) (*api.PutProvisionedConcurrencyConfigResponse, error) {
	ref, err := s.ref(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	count := *in.ProvisionedConcurrentExecutions
	out, err := change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.PutProvisionedConcurrencyConfigResponse, error) {
		t, err := provisionable(tx, f, ref)
		if err != nil {
			return nil, err
		}
		pool, err := s.concurrency(tx, f.Account, f.Region)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(f.CheckProvision(ref.Qualifier, count, pool), checkOverlap(tx, t)); err != nil {
			return nil, err
		}
		if f.Provisioned == nil {
			f.Provisioned = map[string]function.Provisioned{}
		}
		p := function.Provisioned{Requested: count, LastModified: time.Now().UTC()}
		f.Provisioned[ref.Qualifier] = p
		return &api.PutProvisionedConcurrencyConfigResponse{
			RequestedProvisionedConcurrentExecutions: &count, AvailableProvisionedConcurrentExecutions: new(int64(0)),
			AllocatedProvisionedConcurrentExecutions: new(int64(0)), Status: new(api.ProvisionedConcurrencyStatusEnumInProgress),
			LastModified: new(seconds(p.LastModified)),
		}, tx.SaveFunction(f)
	})
	if err == nil {
		s.cfg.Invoker.Changed()
	}
	return out, err
}

// seconds is how provisioned concurrency prints times (AWS: recorded).
func seconds(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05+0000") }

// provisioned describes the provisioned concurrency of a target as the list
// shows it.
func (s *Service) provisioned(t target, qualifier string) api.ProvisionedConcurrencyConfigListItem {
	p := t.f.Provisioned[qualifier]
	available, failed := s.cfg.Invoker.Provisioned(t.f.ARN(), t.config.Version)
	available = min(available, p.Requested)
	out := api.ProvisionedConcurrencyConfigListItem{
		FunctionArn: new(t.f.Qualified(qualifier)), RequestedProvisionedConcurrentExecutions: &p.Requested,
		AvailableProvisionedConcurrentExecutions: &available, AllocatedProvisionedConcurrentExecutions: &available,
		Status: new(api.ProvisionedConcurrencyStatusEnumInProgress), LastModified: new(seconds(p.LastModified)),
	}
	switch {
	case available == p.Requested:
		*out.Status = api.ProvisionedConcurrencyStatusEnumReady
	case failed != nil:
		*out.Status = api.ProvisionedConcurrencyStatusEnumFailed
		out.StatusReason = new("FUNCTION_ERROR_INIT_FAILURE")
	}
	return out
}

func noProvisioned(ref function.Ref) *fault.Error {
	return fault.New(function.NoProvisioned, "No Provisioned Concurrency Config found for this function").For(ref.ARN())
}

// GetProvisionedConcurrencyConfig returns the provisioned concurrency of a
// version or alias.
func (s *Service) GetProvisionedConcurrencyConfig(ctx context.Context, call *wire.Call, in *api.GetProvisionedConcurrencyConfigRequest) (*api.GetProvisionedConcurrencyConfigResponse, error) {
	ref, err := s.ref(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	var t target
	err = s.read(ctx, ref, func(tx *store.Tx, f *function.Function) error {
		if t, err = provisionable(tx, f, ref); err != nil {
			return err
		}
		if _, ok := f.Provisioned[ref.Qualifier]; !ok {
			return noProvisioned(ref)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p := s.provisioned(t, ref.Qualifier)
	return &api.GetProvisionedConcurrencyConfigResponse{
		RequestedProvisionedConcurrentExecutions: p.RequestedProvisionedConcurrentExecutions,
		AvailableProvisionedConcurrentExecutions: p.AvailableProvisionedConcurrentExecutions,
		AllocatedProvisionedConcurrentExecutions: p.AllocatedProvisionedConcurrentExecutions,
		Status:                                   p.Status, StatusReason: p.StatusReason, LastModified: p.LastModified,
	}, nil
}

// DeleteProvisionedConcurrencyConfig ends provisioned concurrency; where
// there is none that is no error.
func (s *Service) DeleteProvisionedConcurrencyConfig(ctx context.Context, call *wire.Call, in *api.DeleteProvisionedConcurrencyConfigRequest) (*api.DeleteProvisionedConcurrencyConfigResponse, error) {
	ref, err := s.ref(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	out, err := change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.DeleteProvisionedConcurrencyConfigResponse, error) {
		if _, err := provisionable(tx, f, ref); err != nil {
			return nil, err
		}
		delete(f.Provisioned, ref.Qualifier)
		return new(api.DeleteProvisionedConcurrencyConfigResponse), tx.SaveFunction(f)
	})
	if err == nil {
		s.cfg.Invoker.Changed()
	}
	return out, err
}

// ListProvisionedConcurrencyConfigs lists the provisioned concurrency of a
// function's versions and aliases by their names.
func (s *Service) ListProvisionedConcurrencyConfigs(ctx context.Context, call *wire.Call, in *api.ListProvisionedConcurrencyConfigsRequest) (*api.ListProvisionedConcurrencyConfigsResponse, error) {
	ref, err := s.whole(ctx, call, in.FunctionName)
	if err != nil {
		return nil, err
	}
	after, err := parseMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	targets := map[string]target{}
	err = s.read(ctx, ref, func(tx *store.Tx, f *function.Function) error {
		clear(targets)
		for qualifier := range f.Provisioned {
			qualified := ref
			qualified.Qualifier = qualifier
			t, err := findTarget(tx, f, qualified)
			if err != nil {
				return err
			}
			targets[qualifier] = t
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListProvisionedConcurrencyConfigsResponse{ProvisionedConcurrencyConfigs: []api.ProvisionedConcurrencyConfigListItem{}}
	last := after.Name
	for _, qualifier := range slices.Sorted(maps.Keys(targets)) {
		if qualifier <= after.Name {
			continue
		}
		if len(out.ProvisionedConcurrencyConfigs) == pageSize(in.MaxItems) {
			out.NextMarker = marker{Name: last}.text()
			break
		}
		last = qualifier
		out.ProvisionedConcurrencyConfigs = append(out.ProvisionedConcurrencyConfigs, s.provisioned(targets[qualifier], qualifier))
	}
	return out, nil
}
