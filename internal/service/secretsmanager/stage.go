package secretsmanager

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/wire"
)

// UpdateSecretVersionStage moves, attaches or removes one staging label. A
// deprecated version may get a label again while it exists.
func (s *Service) UpdateSecretVersionStage(ctx context.Context, call *wire.Call, in *api.UpdateSecretVersionStageRequest) (*api.UpdateSecretVersionStageResponse, error) {
	from, to := given(in.RemoveFromVersionId), given(in.MoveToVersionId)
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Write, whole: true}, func(c changing) (*api.UpdateSecretVersionStageResponse, error) {
		if err := c.after.UpdateVersionStage(*in.VersionStage, from, to, call.Time); err != nil {
			return nil, err
		}
		return &api.UpdateSecretVersionStageResponse{ARN: new(c.after.ARN()), Name: &c.after.Name}, nil
	})
}
