package server_test

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/apitest"
)

// revoker is a secret under a KMS key, and two who may read it: the user ann
// and a session of the role r. They read on the server where changes are made,
// or on another node.
type revoker struct {
	*apitest.Server
	t *testing.T
	// bound is for how long after a change a read may begin that does not
	// show it.
	bound       time.Duration
	ann, role   *secretsmanager.Client
	annKey, key *string
}

const (
	allowAll  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	allButGet = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"secretsmanager:GetSecretValue","Resource":"*"}]}`
	allButKMS = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*"}]}`
	allButOut = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
		{"Effect":"Deny","Action":"secretsmanager:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/out":"yes"}}}]}`
	// For the account's root alone.
	rootSecret = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*",
		"Condition":{"StringNotEquals":{"aws:PrincipalType":"Account"}}}}`
	rootKey = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + apitest.Account + `:root"},"Action":"kms:*","Resource":"*",
		"Condition":{"StringEquals":{"aws:PrincipalType":"Account"}}}}`
	trustsAnn = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + apitest.Account + `:user/ann"},"Action":"sts:AssumeRole"}}`
)

// changesHeard is after how long a change holds on every node
// (docs/architecture.md).
const changesHeard = 5 * time.Second

// revokers runs a test where changes are made on the server that answers, and
// on another node of the same store.
func revokers(t *testing.T, test func(r *revoker)) {
	t.Run("same server", func(t *testing.T) {
		s := apitest.Start(t, apitest.Options{})
		test(newRevoker(t, s, s, 0))
	})
	t.Run("another node", func(t *testing.T) {
		t.Parallel()
		a, b := twoNodes(t, apitest.Options{})
		test(newRevoker(t, a.Server, b.Server, changesHeard))
	})
}

func newRevoker(t *testing.T, changing, reading *apitest.Server, bound time.Duration) *revoker {
	r := &revoker{Server: changing, t: t, bound: bound}
	ctx := t.Context()
	made, err := r.KMS.CreateKey(ctx, &kms.CreateKeyInput{})
	r.must(err)
	r.key = made.KeyMetadata.KeyId
	_, err = r.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String("v"), KmsKeyId: r.key})
	r.must(err)
	cfg := r.NewUser(t, "ann")
	own, err := cfg.Credentials.Retrieve(ctx)
	r.must(err)
	there := cfg.Copy()
	there.BaseEndpoint = &reading.URL
	r.annKey, r.ann = &own.AccessKeyID, secretsmanager.NewFromConfig(there)
	r.must(r.allowAnn(allowAll))
	_, err = r.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trustsAnn)})
	r.must(err)
	r.must(r.allowRole(allowAll))
	out, err := sts.NewFromConfig(cfg).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + apitest.Account + ":role/r"), RoleSessionName: aws.String("session")})
	r.must(err)
	c := out.Credentials
	there.Credentials = credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
	r.role = secretsmanager.NewFromConfig(there)
	return r
}

func (r *revoker) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *revoker) allowAnn(policy string) error {
	_, err := r.IAM.PutUserPolicy(r.t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: aws.String("p"), PolicyDocument: &policy})
	return err
}

func (r *revoker) allowRole(policy string) error {
	_, err := r.IAM.PutRolePolicy(r.t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("r"), PolicyName: aws.String("p"), PolicyDocument: &policy})
	return err
}

func (r *revoker) lock(policy string) error {
	_, err := r.KMS.PutKeyPolicy(r.t.Context(), &kms.PutKeyPolicyInput{KeyId: r.key, Policy: &policy})
	return err
}

func (r *revoker) activate(status types.StatusType) error {
	_, err := r.IAM.UpdateAccessKey(r.t.Context(), &iam.UpdateAccessKeyInput{UserName: aws.String("ann"), AccessKeyId: r.annKey, Status: status})
	return err
}

// check demands that end stops a client's reads, which come from memory, with
// the next call, or, on another node, with every call that begins after the
// bound; and that again, unless it is nil, lets them go on.
func (r *revoker) check(what string, c *secretsmanager.Client, code string, end, again func() error) {
	r.t.Helper()
	read := func() error {
		_, err := c.GetSecretValue(r.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("s")})
		return err
	}
	for range 3 {
		r.must(read())
	}
	r.must(end())
	err := r.once(read, func(err error) bool {
		e, ok := errors.AsType[smithy.APIError](err)
		return ok && e.ErrorCode() == code
	})
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != code {
		r.t.Errorf("%s: got %v, want %s", what, err, code)
	}
	if again != nil {
		r.must(again())
		r.must(r.once(read, func(err error) bool { return err == nil }))
	}
}

// once reads after a change until the read shows it, or began when it had to.
func (r *revoker) once(read func() error, shows func(error) bool) error {
	for changed := time.Now(); ; time.Sleep(time.Millisecond) {
		late := time.Since(changed) > r.bound
		if err := read(); late || shows(err) {
			return err
		}
	}
}

// What is done to the secret and its key ends everybody's reads.
func TestRevocationByResource(t *testing.T) { revokers(t, (*revoker).byResource) }

func (r *revoker) byResource() {
	ctx, s := r.t.Context(), aws.String("s")
	before, err := r.KMS.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: r.key})
	r.must(err)
	for _, c := range []*secretsmanager.Client{r.ann, r.role} {
		r.check("the secret's policy", c, "AccessDeniedException", func() error {
			_, err := r.Secrets.PutResourcePolicy(ctx, &secretsmanager.PutResourcePolicyInput{SecretId: s, ResourcePolicy: aws.String(rootSecret)})
			return err
		}, func() error {
			_, err := r.Secrets.DeleteResourcePolicy(ctx, &secretsmanager.DeleteResourcePolicyInput{SecretId: s})
			return err
		})
		r.check("the key's policy", c, "AccessDeniedException", func() error { return r.lock(rootKey) }, func() error { return r.lock(*before.Policy) })
		r.check("a disabled key", c, "DecryptionFailure", func() error {
			_, err := r.KMS.DisableKey(ctx, &kms.DisableKeyInput{KeyId: r.key})
			return err
		}, func() error {
			_, err := r.KMS.EnableKey(ctx, &kms.EnableKeyInput{KeyId: r.key})
			return err
		})
		r.check("a deleted secret", c, "InvalidRequestException", func() error {
			_, err := r.Secrets.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: s})
			return err
		}, func() error {
			_, err := r.Secrets.RestoreSecret(ctx, &secretsmanager.RestoreSecretInput{SecretId: s})
			return err
		})
	}
}

// What is done to a user ends the user's reads.
func TestRevocationByUser(t *testing.T) { revokers(t, (*revoker).byUser) }

func (r *revoker) byUser() {
	ctx, name := r.t.Context(), aws.String("ann")
	all := func() error { return r.allowAnn(allowAll) }
	r.check("the policy", r.ann, "AccessDeniedException", func() error { return r.allowAnn(allButGet) }, all)
	bound, err := r.IAM.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("bound"), PolicyDocument: aws.String(allButKMS)})
	r.must(err)
	r.check("the boundary", r.ann, "AccessDeniedException", func() error {
		_, err := r.IAM.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: bound.Policy.Arn})
		return err
	}, func() error {
		_, err := r.IAM.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: name})
		return err
	})
	r.must(r.allowAnn(allButOut))
	r.check("a tag", r.ann, "AccessDeniedException", func() error {
		_, err := r.IAM.TagUser(ctx, &iam.TagUserInput{UserName: name, Tags: []types.Tag{{Key: aws.String("out"), Value: aws.String("yes")}}})
		return err
	}, all)
	r.check("an inactive access key", r.ann, "UnrecognizedClientException",
		func() error { return r.activate(types.StatusTypeInactive) }, func() error { return r.activate(types.StatusTypeActive) })
	r.check("a deleted access key", r.ann, "UnrecognizedClientException", func() error {
		_, err := r.IAM.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: name, AccessKeyId: r.annKey})
		return err
	}, nil)
}

// What is done to a role ends the reads of its sessions.
func TestRevocationByRole(t *testing.T) { revokers(t, (*revoker).byRole) }

func (r *revoker) byRole() {
	ctx, name := r.t.Context(), aws.String("r")
	r.check("the policy", r.role, "AccessDeniedException", func() error { return r.allowRole(allButGet) }, func() error { return r.allowRole(allowAll) })
	r.check("a deleted role", r.role, "UnrecognizedClientException", func() error {
		_, err := r.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String("p")})
		r.must(err)
		_, err = r.IAM.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
		return err
	}, nil)
}
