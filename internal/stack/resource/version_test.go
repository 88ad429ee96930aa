package resource_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/stack/resource"
)

// A rollback leaves the value alone that a rotation has just made current,
// and makes the one from before the update current otherwise.
func TestRestoreLabels(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	ctx, h := t.Context(), resource.Lookup("AWS::SecretsManager::Secret")
	const one, two = `{"Name":"s","SecretString":"one"}`, `{"Name":"s","SecretString":"two"}`
	res, err := h.Create(ctx, k.request(one))
	k.must(err)
	memory := ""
	r := k.request(two)
	r.PhysicalID, r.Previous = res.PhysicalID, k.tree(one)
	r.Remember = func(text string) error { memory = text; return nil }
	_, err = h.Update(ctx, r)
	k.must(err)
	value := func() string {
		v, err := k.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &res.PhysicalID})
		k.must(err)
		return *v.SecretString
	}
	back := func(memory, want string) {
		t.Helper()
		r := k.request(one)
		r.PhysicalID, r.Previous, r.Rollback, r.Remembered = res.PhysicalID, k.tree(two), true, memory
		for _, r.Resumed = range []bool{false, true} {
			_, err := h.Update(ctx, r)
			k.must(err)
			if got := value(); got != want {
				t.Errorf("resumed %v: got %q, want %q", r.Resumed, got, want)
			}
		}
	}
	back("", "two") // which the update that failed has not put

	token := "5f0a4a4e-0000-4000-8000-00000000000a"
	_, err = k.secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &res.PhysicalID, ClientRequestToken: &token, SecretString: new("rotated"), VersionStages: []string{"AWSCURRENT", "AWSPENDING"},
	})
	k.must(err)
	back(memory, "rotated")
	_, err = k.secrets.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &res.PhysicalID, VersionStage: new("AWSPENDING"), RemoveFromVersionId: &token,
	})
	k.must(err)
	back(memory, "one")
}
