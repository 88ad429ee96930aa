package lambda

import (
	"context"
	"time"

	"github.com/google/uuid"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// publish makes a version of the live configuration, or returns the last one
// if nothing changed since. The caller saves the function.
func publish(tx *store.Tx, f *function.Function, p function.Publication) (*function.Config, error) {
	last, err := tx.LastFunctionVersion(f.ID)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	p.NewRevisionID, p.Now = uuid.NewString(), time.Now().UTC()
	v, made, err := f.Publish(p, last)
	if err != nil || !made {
		return v, err
	}
	return v, tx.SaveFunctionVersion(f, v)
}

func isNotFound(err error) bool { return fault.Is(err, fault.NotFound) }

// asNotFound puts the text about a missing function in the place of another
// about something missing.
func asNotFound(err error, ref function.Ref) error {
	if isNotFound(err) {
		return ref.NotFound()
	}
	return err
}

// PublishVersion makes a version of the live code and configuration.
func (s *Service) PublishVersion(ctx context.Context, call *wire.Call, in *api.PublishVersionRequest) (*api.FunctionConfiguration, error) {
	ref, err := s.whole(ctx, call, in.FunctionName)
	if err != nil {
		return nil, err
	}
	out, err := change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.FunctionConfiguration, error) {
		if err := f.Config.CheckChangeable(f.ARN()); err != nil {
			return nil, err
		}
		v, err := publish(tx, f, function.Publication{CodeSHA256: value(in.CodeSha256), RevisionID: value(in.RevisionId), Description: in.Description})
		if err != nil {
			return nil, err
		}
		if err := tx.SaveFunction(f); err != nil {
			return nil, err
		}
		return s.describeFully(reader{ctx, tx, call}, f, v, v.Version)
	})
	if err == nil {
		s.cfg.Invoker.Changed()
	}
	return out, err
}

// ListVersionsByFunction lists $LATEST and the published versions in order.
func (s *Service) ListVersionsByFunction(ctx context.Context, call *wire.Call, in *api.ListVersionsByFunctionRequest) (*api.ListVersionsByFunctionResponse, error) {
	ref, err := s.whole(ctx, call, in.FunctionName)
	if err != nil {
		return nil, err
	}
	after, err := parseMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	p := page{size: pageSize(in.MaxItems), all: true}
	out := new(api.ListVersionsByFunctionResponse)
	err = s.read(ctx, ref, func(tx *store.Tx, f *function.Function) error {
		p.found = nil
		if after.Name == "" {
			p.found = append(p.found, version{f, &f.Config})
		}
		err := p.versions(tx, f, after.Version)
		if err == nil {
			out.Versions, out.NextMarker, err = s.describePage(reader{ctx, tx, call}, &p)
		}
		return err
	})
	return out, err
}

func describeAlias(f *function.Function, a *function.Alias) *api.AliasConfiguration {
	out := &api.AliasConfiguration{
		AliasArn: new(f.Qualified(a.Name)), Name: &a.Name, FunctionVersion: &a.Version, Description: &a.Description, RevisionId: &a.RevisionID,
	}
	if len(a.Weights) > 0 {
		out.RoutingConfig = &api.AliasRoutingConfiguration{AdditionalVersionWeights: a.Weights}
	}
	return out
}

// checkAlias checks the versions and the routing of an alias.
func checkAlias(tx *store.Tx, f *function.Function, a *function.Alias) error {
	for _, v := range a.Versions() {
		ref := function.Ref{Region: f.Region, Account: f.Account, Name: f.Name, Qualifier: v}
		if _, err := findTarget(tx, f, ref); err != nil {
			return err
		}
	}
	return a.Check()
}

// CreateAlias makes an alias of a version.
func (s *Service) CreateAlias(ctx context.Context, call *wire.Call, in *api.CreateAliasRequest) (*api.AliasConfiguration, error) {
	ref, err := s.whole(ctx, call, in.FunctionName)
	if err != nil {
		return nil, err
	}
	return change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.AliasConfiguration, error) {
		a := &function.Alias{FunctionID: f.ID, Name: *in.Name, Version: *in.FunctionVersion, Description: value(in.Description), RevisionID: uuid.NewString()}
		if in.RoutingConfig != nil {
			a.Weights = in.RoutingConfig.AdditionalVersionWeights
		}
		if err := checkAlias(tx, f, a); err != nil {
			return nil, err
		}
		err := tx.CreateFunctionAlias(a)
		if fault.Is(err, fault.Exists) {
			return nil, fault.New(fault.Conflict, "Alias already exists: %s", f.Qualified(a.Name))
		}
		return describeAlias(f, a), err
	})
}

// alias resolves the alias that a call names.
func (s *Service) alias(ctx context.Context, call *wire.Call, functionName, name *string) (function.Ref, error) {
	ref, err := s.whole(ctx, call, functionName)
	ref.Qualifier = value(name)
	return ref, err
}

func loadAlias(tx *store.Tx, f *function.Function, ref function.Ref) (*function.Alias, error) {
	a, err := tx.FunctionAlias(f.ID, ref.Qualifier)
	if isNotFound(err) {
		return nil, ref.NoAlias()
	}
	return a, err
}

// GetAlias returns an alias.
func (s *Service) GetAlias(ctx context.Context, call *wire.Call, in *api.GetAliasRequest) (out *api.AliasConfiguration, err error) {
	ref, err := s.alias(ctx, call, in.FunctionName, in.Name)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, ref, func(tx *store.Tx, f *function.Function) error {
		a, err := loadAlias(tx, f, ref)
		if err == nil {
			out = describeAlias(f, a)
		}
		return err
	})
	return out, err
}

// UpdateAlias changes an alias.
func (s *Service) UpdateAlias(ctx context.Context, call *wire.Call, in *api.UpdateAliasRequest) (*api.AliasConfiguration, error) {
	ref, err := s.alias(ctx, call, in.FunctionName, in.Name)
	if err != nil {
		return nil, err
	}
	out, err := change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.AliasConfiguration, error) {
		a, err := loadAlias(tx, f, ref)
		if err != nil {
			return nil, err
		}
		if in.RevisionId != nil && *in.RevisionId != a.RevisionID {
			return nil, function.StaleRevision()
		}
		set(&a.Version, in.FunctionVersion)
		set(&a.Description, in.Description)
		if in.RoutingConfig != nil {
			a.Weights = in.RoutingConfig.AdditionalVersionWeights
		}
		if err := checkAlias(tx, f, a); err != nil {
			return nil, err
		}
		a.RevisionID = uuid.NewString()
		return describeAlias(f, a), tx.SaveFunctionAlias(a)
	})
	if err == nil {
		s.cfg.Invoker.Changed()
	}
	return out, err
}

// DeleteAlias deletes an alias with its policy and settings. One that does
// not exist is no error (AWS: recorded).
func (s *Service) DeleteAlias(ctx context.Context, call *wire.Call, in *api.DeleteAliasRequest) (*api.DeleteAliasResponse, error) {
	ref, err := s.alias(ctx, call, in.FunctionName, in.Name)
	if err != nil {
		return nil, err
	}
	out, err := change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.DeleteAliasResponse, error) {
		out := new(api.DeleteAliasResponse)
		err := tx.DeleteFunctionAlias(f.ID, ref.Qualifier)
		if isNotFound(err) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		forget(f, ref.Qualifier)
		return out, tx.SaveFunction(f)
	})
	if err == nil {
		s.cfg.Invoker.Changed()
	}
	return out, err
}

// ListAliases lists the aliases of a function by name, or those that point to
// one version.
func (s *Service) ListAliases(ctx context.Context, call *wire.Call, in *api.ListAliasesRequest) (*api.ListAliasesResponse, error) {
	ref, err := s.whole(ctx, call, in.FunctionName)
	if err != nil {
		return nil, err
	}
	after, err := parseMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	size := pageSize(in.MaxItems)
	out := &api.ListAliasesResponse{}
	err = s.read(ctx, ref, func(tx *store.Tx, f *function.Function) error {
		*out = api.ListAliasesResponse{Aliases: []api.AliasConfiguration{}}
		for name := after.Name; ; {
			aliases, err := tx.FunctionAliases(f.ID, name, size+1)
			if err != nil || len(aliases) == 0 {
				return err
			}
			for _, a := range aliases {
				if in.FunctionVersion != nil && a.Version != *in.FunctionVersion {
					continue
				}
				if len(out.Aliases) == size {
					out.NextMarker = marker{Name: name}.text()
					return nil
				}
				out.Aliases = append(out.Aliases, *describeAlias(f, a))
				name = a.Name
			}
			name = aliases[len(aliases)-1].Name
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
