package iam

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Limits of OpenID Connect providers (AWS docs).
const (
	maxProviders   = 100
	maxClients     = 100
	maxThumbprints = 5
)

// providerFamily has OpenID Connect providers. Requests name them by ARN.
func providerFamily(cfg Config) family[iam.Provider] {
	return family[iam.Provider]{
		Config:   cfg,
		resource: "AWS::IAM::OIDCProvider",
		tagging:  "iam:TagOpenIDConnectProvider",
		find: func(tx *store.Tx, account, provider string) (*iam.Provider, error) {
			if err := checkARN(provider); err != nil {
				return nil, err
			}
			named := absentProvider(account, provider)
			if named.Account != account || named.URL == "" {
				return nil, fault.New(fault.NotFound, "")
			}
			return tx.Provider(account, named.URL)
		},
		absent: absentProvider,
		save: func(tx *store.Tx, before, after *iam.Provider) error {
			if before == nil {
				if _, err := tx.Provider(after.Account, after.URL); !fault.Is(err, fault.NotFound) {
					if err == nil {
						err = fault.New(fault.Exists, "")
					}
					return err
				}
			}
			return tx.SaveProvider(after)
		},
		delete: func(tx *store.Tx, p *iam.Provider) error { return tx.DeleteProvider(p.Account, p.URL) },
		clone:  (*iam.Provider).Clone,
		about:  func(p *iam.Provider) about { return about{arn: p.ARN(), name: p.URL, tags: p.Tags} },
		missing: func(arn string) error {
			return fault.New(fault.NotFound, "OpenIDConnect Provider not found for arn %s", arn)
		},
		taken: func(url string) error {
			return fault.New(fault.Exists, "Provider with url https://%s already exists.", url)
		},
	}
}

func absentProvider(_, provider string) *iam.Provider {
	a, _ := arn.Parse(provider)
	return &iam.Provider{Account: a.Account, URL: strings.TrimPrefix(a.Resource, "oidc-provider/")}
}

func (s *Service) providerOps() []wire.Op {
	return []wire.Op{
		wire.Handle("AddClientIDToOpenIDConnectProvider", s.AddClientIDToOpenIDConnectProvider),
		wire.Handle("CreateOpenIDConnectProvider", s.CreateOpenIDConnectProvider),
		wire.Handle("DeleteOpenIDConnectProvider", s.DeleteOpenIDConnectProvider),
		wire.Handle("GetOpenIDConnectProvider", s.GetOpenIDConnectProvider),
		wire.Handle("ListOpenIDConnectProviders", s.ListOpenIDConnectProviders),
		wire.Handle("ListOpenIDConnectProviderTags", s.ListOpenIDConnectProviderTags),
		wire.Handle("RemoveClientIDFromOpenIDConnectProvider", s.RemoveClientIDFromOpenIDConnectProvider),
		wire.Handle("TagOpenIDConnectProvider", s.TagOpenIDConnectProvider),
		wire.Handle("UntagOpenIDConnectProvider", s.UntagOpenIDConnectProvider),
		wire.Handle("UpdateOpenIDConnectProviderThumbprint", s.UpdateOpenIDConnectProviderThumbprint),
	}
}

// CreateOpenIDConnectProvider makes an issuer known whose tokens the account's
// roles may trust.
func (s *Service) CreateOpenIDConnectProvider(ctx context.Context, call *wire.Call, in *api.CreateOpenIDConnectProviderRequest) (*api.CreateOpenIDConnectProviderResponse, error) {
	p := &iam.Provider{
		Account: call.Principal.Account, URL: strings.TrimPrefix(*in.Url, "https://"), ClientIDs: unique(in.ClientIDList), Thumbprints: in.ThumbprintList,
		CreatedAt: call.Time.UTC().Truncate(time.Second),
	}
	out := &api.CreateOpenIDConnectProviderResponse{OpenIDConnectProviderArn: new(p.ARN())}
	return out, s.providers.create(ctx, call, p, out, func(tx *store.Tx) (err error) {
		if err := checkIssuer(*in.Url); err != nil {
			return err
		}
		if err := checkProvider(p); err != nil {
			return err
		}
		if p.Tags, err = addTags(call, nil, in.Tags, "TagsPerOpenIdConnectProvider"); err != nil {
			return err
		}
		out.Tags = someTags(p.Tags)
		all, err := tx.Providers(p.Account)
		if err == nil && len(all) >= maxProviders {
			return fault.New(fault.Limit, "Cannot exceed quota for OpenIdConnectProvidersPerAccount: %d", maxProviders)
		}
		return err
	})
}

// checkIssuer refuses what cannot be an issuer's URL: it has https, and
// neither port, query nor fragment (AWS docs).
func checkIssuer(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fault.New(fault.Validation, "Invalid Open ID Connect Provider URL")
	}
	return nil
}

// checkProvider refuses too many client IDs or thumbprints.
func checkProvider(p *iam.Provider) error {
	if len(p.ClientIDs) > maxClients {
		return fault.New(fault.Limit, "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", maxClients)
	}
	if len(p.Thumbprints) > maxThumbprints {
		return fault.New(fault.Parameter, "Thumbprint list must contain fewer than %d entries.", maxThumbprints+1)
	}
	return nil
}

// unique leaves repetitions out.
func unique(list []string) (once []string) {
	for _, s := range list {
		if !slices.Contains(once, s) {
			once = append(once, s)
		}
	}
	return once
}

// GetOpenIDConnectProvider shows a provider.
func (s *Service) GetOpenIDConnectProvider(ctx context.Context, call *wire.Call, in *api.GetOpenIDConnectProviderRequest) (*api.GetOpenIDConnectProviderResponse, error) {
	out := &api.GetOpenIDConnectProviderResponse{}
	return out, s.providers.view(ctx, call, *in.OpenIDConnectProviderArn, func(_ *store.Tx, p *iam.Provider) error {
		out.Url, out.CreateDate, out.Tags = &p.URL, &p.CreatedAt, someTags(p.Tags)
		out.ClientIDList, out.ThumbprintList = append([]string{}, p.ClientIDs...), append([]string{}, p.Thumbprints...)
		return nil
	})
}

// ListOpenIDConnectProviders lists the account's providers by URL.
func (s *Service) ListOpenIDConnectProviders(ctx context.Context, call *wire.Call, _ *api.ListOpenIDConnectProvidersRequest) (*api.ListOpenIDConnectProvidersResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	out := &api.ListOpenIDConnectProvidersResponse{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		list, err := tx.Providers(call.Principal.Account)
		out.OpenIDConnectProviderList = []api.OpenIDConnectProviderListEntry{}
		for _, p := range list {
			out.OpenIDConnectProviderList = append(out.OpenIDConnectProviderList, api.OpenIDConnectProviderListEntry{Arn: new(p.ARN())})
		}
		return err
	})
}

// DeleteOpenIDConnectProvider removes a provider, if it exists (AWS docs).
// Roles that trust it stay as they are.
func (s *Service) DeleteOpenIDConnectProvider(ctx context.Context, call *wire.Call, in *api.DeleteOpenIDConnectProviderRequest) (*api.DeleteOpenIDConnectProviderResponse, error) {
	out := &api.DeleteOpenIDConnectProviderResponse{}
	err := s.providers.remove(ctx, call, *in.OpenIDConnectProviderArn, out, func(*store.Tx, *iam.Provider) error { return nil })
	if fault.Is(err, fault.NotFound) {
		return out, nil
	}
	return out, err
}

// AddClientIDToOpenIDConnectProvider adds an audience, if it is not there.
func (s *Service) AddClientIDToOpenIDConnectProvider(ctx context.Context, call *wire.Call, in *api.AddClientIDToOpenIDConnectProviderRequest) (*api.AddClientIDToOpenIDConnectProviderResponse, error) {
	out := &api.AddClientIDToOpenIDConnectProviderResponse{}
	return out, s.providers.change(ctx, call, *in.OpenIDConnectProviderArn, out, func(_ *store.Tx, p *iam.Provider) error {
		p.ClientIDs = unique(append(p.ClientIDs, *in.ClientID))
		return checkProvider(p)
	})
}

// RemoveClientIDFromOpenIDConnectProvider removes an audience, if it is there
// (AWS docs).
func (s *Service) RemoveClientIDFromOpenIDConnectProvider(ctx context.Context, call *wire.Call, in *api.RemoveClientIDFromOpenIDConnectProviderRequest) (*api.RemoveClientIDFromOpenIDConnectProviderResponse, error) {
	out := &api.RemoveClientIDFromOpenIDConnectProviderResponse{}
	return out, s.providers.change(ctx, call, *in.OpenIDConnectProviderArn, out, func(_ *store.Tx, p *iam.Provider) error {
		p.ClientIDs = slices.DeleteFunc(p.ClientIDs, func(id string) bool { return id == *in.ClientID })
		return nil
	})
}

// UpdateOpenIDConnectProviderThumbprint replaces the thumbprints.
func (s *Service) UpdateOpenIDConnectProviderThumbprint(ctx context.Context, call *wire.Call, in *api.UpdateOpenIDConnectProviderThumbprintRequest) (*api.UpdateOpenIDConnectProviderThumbprintResponse, error) {
	out := &api.UpdateOpenIDConnectProviderThumbprintResponse{}
	return out, s.providers.change(ctx, call, *in.OpenIDConnectProviderArn, out, func(_ *store.Tx, p *iam.Provider) error {
		p.Thumbprints = in.ThumbprintList
		return checkProvider(p)
	})
}

// TagOpenIDConnectProvider sets tags.
func (s *Service) TagOpenIDConnectProvider(ctx context.Context, call *wire.Call, in *api.TagOpenIDConnectProviderRequest) (*api.TagOpenIDConnectProviderResponse, error) {
	out := &api.TagOpenIDConnectProviderResponse{}
	return out, s.providers.change(ctx, call, *in.OpenIDConnectProviderArn, out, func(_ *store.Tx, p *iam.Provider) (err error) {
		p.Tags, err = addTags(call, p.Tags, in.Tags, "TagsPerOpenIdConnectProvider")
		return err
	})
}

// UntagOpenIDConnectProvider removes tags; keys that are not there are passed
// over.
func (s *Service) UntagOpenIDConnectProvider(ctx context.Context, call *wire.Call, in *api.UntagOpenIDConnectProviderRequest) (*api.UntagOpenIDConnectProviderResponse, error) {
	out := &api.UntagOpenIDConnectProviderResponse{}
	return out, s.providers.change(ctx, call, *in.OpenIDConnectProviderArn, out, func(_ *store.Tx, p *iam.Provider) error {
		p.Tags = removeTags(call, p.Tags, in.TagKeys)
		return nil
	})
}

// ListOpenIDConnectProviderTags lists a provider's tags by key.
func (s *Service) ListOpenIDConnectProviderTags(ctx context.Context, call *wire.Call, in *api.ListOpenIDConnectProviderTagsRequest) (*api.ListOpenIDConnectProviderTagsResponse, error) {
	out := &api.ListOpenIDConnectProviderTagsResponse{}
	return out, s.providers.view(ctx, call, *in.OpenIDConnectProviderArn, func(_ *store.Tx, p *iam.Provider) error {
		out.Tags, out.Marker, out.IsTruncated = pageOfTags(p.Tags, in.Marker, in.MaxItems)
		return nil
	})
}
