package secretsmanager

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/wire"
)

// TagResource merges tags into those of a secret.
func (s *Service) TagResource(ctx context.Context, call *wire.Call, in *api.TagResourceRequest) (*api.TagResourceResponse, error) {
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Write}, func(c changing) (*api.TagResourceResponse, error) {
		return &api.TagResourceResponse{}, c.after.AddTags(tagsIn(in.Tags), call.Time)
	})
}

// UntagResource removes tags from a secret; keys that it does not have are
// ignored.
func (s *Service) UntagResource(ctx context.Context, call *wire.Call, in *api.UntagResourceRequest) (*api.UntagResourceResponse, error) {
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Write}, func(c changing) (*api.UntagResourceResponse, error) {
		return &api.UntagResourceResponse{}, c.after.RemoveTags(in.TagKeys, call.Time)
	})
}
