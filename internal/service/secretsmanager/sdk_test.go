package secretsmanager

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
)

func (b *bench) client(region string) *secretsmanager.Client {
	return secretsmanager.NewFromConfig(aws.Config{
		Region: region, BaseEndpoint: &b.url, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIAROOT", "secret", ""),
	})
}

// TestClient takes the AWS SDK through a secret's life.
func TestClient(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	c := b.client(home)
	created, err := c.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: new("app/db"), SecretString: new("1"), Tags: []types.Tag{{Key: new("k"), Value: new("v")}},
	})
	b.must(err)
	put, err := c.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: created.ARN, SecretBinary: []byte{0, 1}, VersionStages: []string{"AWSCURRENT", "b", "a"}})
	b.must(err)
	if len(put.VersionStages) != 3 || put.VersionStages[0] != "AWSCURRENT" || put.VersionStages[1] != "a" {
		t.Errorf("got labels %v, want them sorted", put.VersionStages)
	}
	got, err := c.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: new("app/db"), VersionStage: new("a")})
	b.must(err)
	if string(got.SecretBinary) != "\x00\x01" || *got.VersionId != *put.VersionId || time.Since(*got.CreatedDate) > time.Minute {
		t.Errorf("got %v", got)
	}
	pages := secretsmanager.NewListSecretsPaginator(c, &secretsmanager.ListSecretsInput{SortBy: types.SortByTypeName, MaxResults: new(int32(1))})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		b.must(err)
		for _, s := range page.SecretList {
			if *s.Name != "app/db" || len(s.SecretVersionsToStages) != 2 {
				t.Errorf("got %v", s)
			}
		}
	}
	_, err = c.TagResource(ctx, &secretsmanager.TagResourceInput{SecretId: created.ARN, Tags: []types.Tag{{Key: new("l"), Value: new("")}}})
	b.must(err)
	_, err = c.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: created.ARN, ForceDeleteWithoutRecovery: new(true)})
	b.must(err)
	_, err = c.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: created.ARN})
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok {
		t.Errorf("got %v, want the modelled error", err)
	}
}
