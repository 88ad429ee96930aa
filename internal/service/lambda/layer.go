package lambda

import (
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// layerType is what the trail calls a layer version.
const layerType = "AWS::Lambda::LayerVersion"

// layer names a layer of the account and region of a call.
type layer struct{ region, account, name string }

// layer resolves a layer's name or ARN and authorises the call on it, or on
// one version of it, unless that is 0. Layers have no resource policies (ours),
// so those of other accounts are refused.
func (s *Service) layer(call *wire.Call, name string, version int64) (layer, error) {
	l := layer{call.Region, call.Principal.Account, name}
	if arn.IsARN(name) {
		region, account, rest, _, ok := function.ParseLayerARN(name)
		if !ok {
			return l, noLayer(name)
		}
		l = layer{region, account, rest}
	}
	address := function.LayerARN(l.region, l.account, l.name)
	if version != 0 {
		address += ":" + strconv.FormatInt(version, 10)
	}
	if err := s.cfg.Guard.Action(call, address); err != nil {
		return l, err
	}
	if l.region != call.Region {
		return l, noLayer(name)
	}
	call.Resources = []trail.Resource{{Type: layerType, Name: address}}
	return l, nil
}

// noLayer is the error for a layer that does not exist (AWS: recorded).
func noLayer(name string) *fault.Error {
	return fault.New(fault.NotFound, "The resource you requested does not exist.").For(name)
}

// PublishLayerVersion makes the next version of a layer.
func (s *Service) PublishLayerVersion(ctx context.Context, call *wire.Call, in *api.PublishLayerVersionRequest) (*api.PublishLayerVersionResponse, error) {
	to, err := s.layer(call, *in.LayerName, 0)
	if err != nil {
		return nil, err
	}
	zip, err := source(in.Content.ZipFile, in.Content.S3Bucket, in.Content.S3Key, nil)
	if err != nil {
		return nil, err
	}
	for _, id := range in.CompatibleRuntimes {
		if _, ok := function.LookupRuntime(id); !ok {
			return nil, function.UnknownRuntime(id)
		}
	}
	code, err := newUpload(zip)
	if err != nil {
		return nil, err
	}
	var out *api.PublishLayerVersionResponse
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := code.save(tx, to.account, to.region); err != nil {
			return err
		}
		l := &function.LayerVersion{
			Account: to.account, Region: to.region, Name: to.name, Description: value(in.Description), License: value(in.LicenseInfo),
			CodeSHA256: code.sha256, CodeSize: int64(len(code.zip)), Unzipped: code.unzipped,
			Runtimes: in.CompatibleRuntimes, Architectures: in.CompatibleArchitectures, CreatedAt: time.Now().UTC(),
		}
		if err := tx.AddLayerVersion(l); err != nil {
			return err
		}
		d := s.describeLayer(l)
		out = &api.PublishLayerVersionResponse{
			Content: d.Content, LayerArn: d.LayerArn, LayerVersionArn: d.LayerVersionArn, Description: d.Description, CreatedDate: d.CreatedDate,
			Version: d.Version, CompatibleRuntimes: d.CompatibleRuntimes, LicenseInfo: d.LicenseInfo, CompatibleArchitectures: d.CompatibleArchitectures,
		}
		return tx.Record(call.Event(withoutLink(out)))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// withoutLink is the answer as events have it: a link to code needs no
// signature, and events have other readers.
func withoutLink(out *api.PublishLayerVersionResponse) *api.PublishLayerVersionResponse {
	shown, content := *out, *out.Content
	content.Location, shown.Content = nil, &content
	return &shown
}

func (s *Service) describeLayer(l *function.LayerVersion) *api.GetLayerVersionResponse {
	return &api.GetLayerVersionResponse{
		Content:  &api.LayerVersionContentOutput{Location: new(s.cfg.CodeURL(l.CodeSHA256)), CodeSha256: &l.CodeSHA256, CodeSize: &l.CodeSize},
		LayerArn: new(l.LayerARN()), LayerVersionArn: new(l.ARN()), Description: &l.Description, CreatedDate: new(timestamp(l.CreatedAt)),
		Version: &l.Version, CompatibleRuntimes: l.Runtimes, LicenseInfo: present(l.License), CompatibleArchitectures: l.Architectures,
	}
}

// getLayer returns one version of a layer.
func (s *Service) getLayer(ctx context.Context, from layer, number int64) (*api.GetLayerVersionResponse, error) {
	var l *function.LayerVersion
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		l, err = tx.LayerVersion(from.account, from.region, from.name, number)
		return err
	})
	if isNotFound(err) {
		return nil, noLayer(from.name)
	}
	if err != nil {
		return nil, err
	}
	return s.describeLayer(l), nil
}

// GetLayerVersion returns one version of a layer with a link to its code.
func (s *Service) GetLayerVersion(ctx context.Context, call *wire.Call, in *api.GetLayerVersionRequest) (*api.GetLayerVersionResponse, error) {
	from, err := s.layer(call, *in.LayerName, *in.VersionNumber)
	if err != nil {
		return nil, err
	}
	return s.getLayer(ctx, from, *in.VersionNumber)
}

// GetLayerVersionByArn is GetLayerVersion by the address of the version.
func (s *Service) GetLayerVersionByArn(ctx context.Context, call *wire.Call, in *api.GetLayerVersionByArnRequest) (*api.GetLayerVersionResponse, error) {
	_, _, _, number, ok := function.ParseLayerARN(*in.Arn)
	from, err := s.layer(call, *in.Arn, number)
	if err == nil && (!ok || number == 0) {
		err = noLayer(*in.Arn)
	}
	if err != nil {
		return nil, err
	}
	return s.getLayer(ctx, from, number)
}

// fits tells whether a layer version suits a runtime and an architecture, as
// far as they are given.
func fits(l *function.LayerVersion, runtime, architecture *string) bool {
	return (runtime == nil || slices.Contains(l.Runtimes, *runtime)) &&
		(architecture == nil || slices.Contains(l.Architectures, *architecture))
}

func layerItem(l *function.LayerVersion) *api.LayerVersionsListItem {
	return &api.LayerVersionsListItem{
		LayerVersionArn: new(l.ARN()), Version: &l.Version, Description: &l.Description, CreatedDate: new(timestamp(l.CreatedAt)),
		CompatibleRuntimes: l.Runtimes, LicenseInfo: present(l.License), CompatibleArchitectures: l.Architectures,
	}
}

// matching returns up to limit versions of a layer below a number that suit,
// newest first.
func matching(tx *store.Tx, from layer, below int64, limit int, runtime, architecture *string) ([]*function.LayerVersion, error) {
	var found []*function.LayerVersion
	for len(found) < limit {
		list, err := tx.LayerVersions(from.account, from.region, from.name, below, maxPage)
		if err != nil || len(list) == 0 {
			return found, err
		}
		for _, l := range list {
			below = l.Version
			if fits(l, runtime, architecture) && len(found) < limit {
				found = append(found, l)
			}
		}
	}
	return found, nil
}

// ListLayerVersions lists the versions of a layer, newest first.
func (s *Service) ListLayerVersions(ctx context.Context, call *wire.Call, in *api.ListLayerVersionsRequest) (*api.ListLayerVersionsResponse, error) {
	from, err := s.layer(call, *in.LayerName, 0)
	if err != nil {
		return nil, err
	}
	after, err := parseMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	below, size := after.Version, pageSize(in.MaxItems)
	if below == 0 {
		below = math.MaxInt64
	}
	var found []*function.LayerVersion
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		found, err = matching(tx, from, below, size+1, in.CompatibleRuntime, in.CompatibleArchitecture)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListLayerVersionsResponse{LayerVersions: []api.LayerVersionsListItem{}}
	if len(found) > size {
		found = found[:size]
		out.NextMarker = marker{Version: found[size-1].Version}.text()
	}
	for _, l := range found {
		out.LayerVersions = append(out.LayerVersions, *layerItem(l))
	}
	return out, nil
}

// ListLayers lists the layers that have a version that suits, by name, with
// the newest such version.
func (s *Service) ListLayers(ctx context.Context, call *wire.Call, in *api.ListLayersRequest) (*api.ListLayersResponse, error) {
	if err := s.cfg.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	after, err := parseMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	size := pageSize(in.MaxItems)
	var found []*function.LayerVersion
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		found = nil
		for name := after.Name; len(found) <= size; {
			names, err := tx.Layers(call.Principal.Account, call.Region, name, maxPage)
			if err != nil || len(names) == 0 {
				return err
			}
			for _, name = range names {
				list, err := matching(tx, layer{call.Region, call.Principal.Account, name}, math.MaxInt64, 1, in.CompatibleRuntime, in.CompatibleArchitecture)
				if err != nil {
					return err
				}
				found = append(found, list...)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListLayersResponse{Layers: []api.LayersListItem{}}
	if len(found) > size {
		found = found[:size]
		out.NextMarker = marker{Name: found[size-1].Name}.text()
	}
	for _, l := range found {
		out.Layers = append(out.Layers, api.LayersListItem{LayerName: &l.Name, LayerArn: new(l.LayerARN()), LatestMatchingVersion: layerItem(l)})
	}
	return out, nil
}

// DeleteLayerVersion deletes a version of a layer; functions that use it keep
// it. One that does not exist is no error (AWS: recorded).
func (s *Service) DeleteLayerVersion(ctx context.Context, call *wire.Call, in *api.DeleteLayerVersionRequest) (*api.DeleteLayerVersionResponse, error) {
	from, err := s.layer(call, *in.LayerName, *in.VersionNumber)
	if err != nil {
		return nil, err
	}
	out := new(api.DeleteLayerVersionResponse)
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.DeleteLayerVersion(from.account, from.region, from.name, *in.VersionNumber); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
