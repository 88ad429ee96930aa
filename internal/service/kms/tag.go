package kms

import (
	"context"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxTags is how many tags a key may have (AWS docs).
const maxTags = 50

// tagsOf reads the tags of a request (AWS: recorded).
func tagsOf(call *wire.Call, in []api.Tag) ([]key.Tag, error) {
	var tags []key.Tag
	seen := map[string]bool{}
	for _, t := range in {
		if seen[*t.TagKey] {
			return nil, fault.New(badTags, "Duplicate tag keys")
		}
		if err := checkTagKey(call, *t.TagKey); err != nil {
			return nil, err
		}
		seen[*t.TagKey] = true
		tags = append(tags, key.Tag{Key: *t.TagKey, Value: *t.TagValue})
	}
	return tags, checkTagCount(tags)
}

// checkTagKey refuses keys that are reserved, but for AWS's services.
func checkTagKey(call *wire.Call, name string) error {
	if call.By == "" && reserved(name) {
		return fault.New(badTags, "Tags beginning with aws: are reserved")
	}
	return nil
}

func reserved(name string) bool { return strings.HasPrefix(strings.ToLower(name), "aws:") }

// checkTagCount counts the tags without those of AWS's services.
func checkTagCount(tags []key.Tag) error {
	users := 0
	for _, t := range tags {
		if !reserved(t.Key) {
			users++
		}
	}
	if users > maxTags {
		return fault.New(badTags, "Too many tags")
	}
	return nil
}

// TagResource adds tags to a key, in place of those with the same names.
func (s *Service) TagResource(ctx context.Context, call *wire.Call, in *api.TagResourceRequest) (*api.TagResourceResponse, error) {
	tags, err := tagsOf(call, in.Tags)
	if err != nil {
		return nil, err
	}
	out := &api.TagResourceResponse{}
	return out, s.change(ctx, call, *in.KeyId, out, func(_ *store.Tx, rec *key.Record) error {
		for _, t := range tags {
			i := slices.IndexFunc(rec.Tags, func(old key.Tag) bool { return old.Key == t.Key })
			if i < 0 {
				rec.Tags = append(rec.Tags, t)
			} else {
				rec.Tags[i] = t
			}
		}
		if err := checkTagCount(rec.Tags); err != nil {
			return err
		}
		return rec.CheckKept()
	})
}

// UntagResource takes tags from a key; missing ones do not matter (AWS docs).
func (s *Service) UntagResource(ctx context.Context, call *wire.Call, in *api.UntagResourceRequest) (*api.UntagResourceResponse, error) {
	for _, name := range in.TagKeys {
		if err := checkTagKey(call, name); err != nil {
			return nil, err
		}
	}
	out := &api.UntagResourceResponse{}
	return out, s.change(ctx, call, *in.KeyId, out, func(_ *store.Tx, rec *key.Record) error {
		rec.Tags = slices.DeleteFunc(rec.Tags, func(t key.Tag) bool { return slices.Contains(in.TagKeys, t.Key) })
		return rec.CheckKept()
	})
}

// ListResourceTags lists a key's tags.
func (s *Service) ListResourceTags(ctx context.Context, call *wire.Call, in *api.ListResourceTagsRequest) (*api.ListResourceTagsResponse, error) {
	out := &api.ListResourceTagsResponse{}
	return out, s.view(ctx, call, *in.KeyId, func(rec *key.Record) error {
		tags := rec.Tags
		if in.Marker != nil {
			i := slices.IndexFunc(tags, func(t key.Tag) bool { return t.Key == *in.Marker })
			if i < 0 {
				return errMarker()
			}
			tags = tags[i+1:]
		}
		tags, next := cut(tags, pageSize(in.Limit, maxTags), func(t key.Tag) string { return t.Key })
		*out = api.ListResourceTagsResponse{Tags: []api.Tag{}, Truncated: new(next != nil), NextMarker: next}
		for i := range tags {
			out.Tags = append(out.Tags, api.Tag{TagKey: &tags[i].Key, TagValue: &tags[i].Value})
		}
		return nil
	})
}
