package server

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// endpointOf is wire.Config.EndpointOf.
type endpointOf func(ctx context.Context, p iam.Principal, service, region, host string) (*wire.Endpoint, error)

// recorded finds the VPC endpoints that were made with CreateVpcEndpoint.
// They have no door of their own: the calls of a function in their VPC come
// through them, because there the service's name stands for them. Calls of
// others never do; --vpc-endpoint opens doors for these.
type recorded struct {
	store *store.Store
	cache *store.Cache[vpcPlace, []way]
}

// vpcPlace says where a VPC is.
type vpcPlace struct{ account, region, id string }

// way is an endpoint that is available.
type way struct {
	*wire.Endpoint
	// service is the short name of its service; regional tells that the
	// service's regional name stands for the endpoint.
	service  string
	regional bool
}

// Bounds on the memory for endpoints, in bytes: in all, and about what one
// takes.
const (
	recordedCache = 4 << 20
	wayBase       = 4 << 10
)

func newRecorded(s *store.Store) *recorded {
	size := func(_ vpcPlace, list []way) int64 { return wayBase * int64(1+len(list)) }
	return &recorded{s, store.NewCache(s, recordedCache, size)}
}

// endpoint finds the endpoint through which the call of a function comes: the
// one that the host names, or else the one that the service's regional name
// stands for. It is nil for the calls of others.
func (r *recorded) endpoint(ctx context.Context, p iam.Principal, service, region, host string) (*wire.Endpoint, error) {
	if p.Given == nil || p.Given.SourceVPC == "" {
		return nil, nil
	}
	// Roles that the function has assumed may be of other accounts.
	a, _ := arn.Parse(cmp.Or(p.Given.SourceFunction, p.Given.VPCFunction))
	if a.Region != region {
		return nil, nil // an endpoint leads to its own region (AWS docs)
	}
	ways, err := r.ways(ctx, vpcPlace{a.Account, region, p.Given.SourceVPC})
	if err != nil {
		return nil, err
	}
	for _, w := range ways {
		if w.service == service && strings.HasPrefix(host, w.ID+"-") {
			return w.Endpoint, nil
		}
	}
	for _, w := range ways {
		if w.service == service && w.regional {
			return w.Endpoint, nil
		}
	}
	return nil, nil
}

// ways returns the available endpoints of a VPC.
func (r *recorded) ways(ctx context.Context, at vpcPlace) ([]way, error) {
	if list, ok := r.cache.Get(at); ok {
		return list, nil
	}
	mark := r.store.Mark()
	var list []way
	err := r.store.View(ctx, func(tx *store.Tx) error {
		s, err := tx.VPCNetwork(at.account, at.region, at.id)
		if err == nil {
			list, err = waysOf(s, at.id)
		}
		return err
	})
	if err == nil {
		r.cache.Put(mark, at, list, store.NetworkTopic(at.account, at.region))
	}
	return list, err
}

func waysOf(s *network.Snapshot, vpcID string) ([]way, error) {
	vpc := s.VPC(vpcID)
	var list []way
	for _, e := range s.Endpoints {
		if vpc == nil || e.Type != network.Interfaced || e.State != network.StateAvailable {
			continue
		}
		d, err := iam.ParseDocument(e.Policy)
		if err != nil {
			return nil, fmt.Errorf("reading the policy of %s: %w", e.ID, err)
		}
		policy, err := iam.Compile(d, e.ID)
		if err != nil {
			return nil, fmt.Errorf("reading the policy of %s: %w", e.ID, err)
		}
		list = append(list, way{
			Endpoint: &wire.Endpoint{ID: e.ID, VPC: vpcID, Policy: policy}, service: e.Service[strings.LastIndexByte(e.Service, '.')+1:],
			regional: e.PrivateDNS && vpc.DNSSupport && vpc.DNSHostnames,
		})
	}
	return list, nil
}
