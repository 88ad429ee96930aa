package secretsmanager

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// DescribeSecret shows everything of a secret but its values, also while it
// is scheduled for deletion. It does not count as an access.
func (s *Service) DescribeSecret(ctx context.Context, call *wire.Call, in *api.DescribeSecretRequest) (*api.DescribeSecretResponse, error) {
	var out *api.DescribeSecretResponse
	err := s.view(ctx, call, target{id: *in.SecretId, use: secret.Inspect}, func(_ *store.Tx, sec *secret.Secret) error {
		out = describe(sec)
		return nil
	})
	return out, err
}

// describe makes the answer. DeletedDate is the end of the recovery window,
// as AWS's documentation has it.
func describe(sec *secret.Secret) *api.DescribeSecretResponse {
	r := rotationOf(sec)
	return &api.DescribeSecretResponse{
		ARN: new(sec.ARN()), Name: &sec.Name,
		Type: orNil(sec.Type), Description: orNil(sec.Description), KmsKeyId: orNil(sec.KMSKeyID),
		RotationEnabled: r.enabled, RotationLambdaARN: r.function, RotationRules: r.rules,
		LastRotatedDate: r.lastRotated, LastChangedDate: &sec.ChangedAt, LastAccessedDate: date(sec.AccessedOn),
		DeletedDate: date(sec.DeleteAt), NextRotationDate: r.next, Tags: tagsOut(sec.Tags),
		VersionIdsToStages: stages(sec), OwningService: orNil(sec.OwningService), CreatedDate: &sec.CreatedAt,
		PrimaryRegion: orNil(sec.PrimaryRegion), ReplicationStatus: replicationStatus(sec),
	}
}

// listed is the secret as an entry of ListSecrets.
func listed(sec *secret.Secret) api.SecretListEntry {
	r := rotationOf(sec)
	return api.SecretListEntry{
		ARN: new(sec.ARN()), Name: &sec.Name,
		Type: orNil(sec.Type), Description: orNil(sec.Description), KmsKeyId: orNil(sec.KMSKeyID),
		RotationEnabled: r.enabled, RotationLambdaARN: r.function, RotationRules: r.rules,
		LastRotatedDate: r.lastRotated, LastChangedDate: &sec.ChangedAt, LastAccessedDate: date(sec.AccessedOn),
		DeletedDate: date(sec.DeleteAt), NextRotationDate: r.next, Tags: tagsOut(sec.Tags),
		SecretVersionsToStages: stages(sec), OwningService: orNil(sec.OwningService), CreatedDate: &sec.CreatedAt,
		PrimaryRegion: orNil(sec.PrimaryRegion),
	}
}
