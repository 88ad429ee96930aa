package secretsmanager

import (
	"context"
	"time"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/wire"
)

// TagResource merges tags into those of a secret.
func (s *Service) TagResource(ctx context.Context, call *wire.Call, in *api.TagResourceRequest) (*api.TagResourceResponse, error) {
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Write}, func(c changing) (*api.TagResourceResponse, error) {
		if err := addTags(call, c.after, in.Tags, call.Time); err != nil {
			return nil, err
		}
		return &api.TagResourceResponse{}, s.checkStillAllowed(c, *in.SecretId)
	})
}

// addTags merges tags into those of a secret. Tags whose keys are reserved are
// for AWS's services.
func addTags(call *wire.Call, sec *secret.Secret, tags []api.Tag, now time.Time) error {
	if call.By != "" {
		return sec.AddSystemTags(tagsIn(tags), now)
	}
	return sec.AddTags(tagsIn(tags), now)
}

// UntagResource removes tags from a secret; keys that it does not have are
// ignored.
func (s *Service) UntagResource(ctx context.Context, call *wire.Call, in *api.UntagResourceRequest) (*api.UntagResourceResponse, error) {
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Write}, func(c changing) (*api.UntagResourceResponse, error) {
		remove := c.after.RemoveTags
		if call.By != "" {
			remove = c.after.RemoveSystemTags
		}
		if err := remove(in.TagKeys, call.Time); err != nil {
			return nil, err
		}
		return &api.UntagResourceResponse{}, s.checkStillAllowed(c, *in.SecretId)
	})
}

// checkStillAllowed refuses a change of tags by which the caller would lose
// the permission for just that (AWS docs).
func (s *Service) checkStillAllowed(c changing, id string) error {
	return s.Guard.OnSecret(c.call, c.call.Action(), c.after, c.after.ARN(), id)
}
