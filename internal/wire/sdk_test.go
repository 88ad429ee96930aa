package wire_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	sdklambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	sdksm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	sdksts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/sigv4"
)

func (b *bench) config() aws.Config {
	return aws.Config{
		Region: region, BaseEndpoint: aws.String(b.URL), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""),
	}
}

func TestClientJSON(t *testing.T) {
	b, ctx := newBench(t), context.Background()
	c := sdksm.NewFromConfig(b.config())
	got, err := c.GetSecretValue(ctx, &sdksm.GetSecretValueInput{SecretId: aws.String("db"), VersionStage: aws.String("AWSCURRENT")})
	if err != nil {
		t.Fatal(err)
	}
	if *got.SecretString != `{"password":"<&>`+"\u2028"+`"}` || string(got.SecretBinary) != "\x00\xff" ||
		!got.CreatedDate.Equal(time.UnixMilli(1523477145713)) || got.VersionStages[0] != "AWSCURRENT" {
		t.Errorf("got %+v", got)
	}

	in := &sdksm.CreateSecretInput{
		Name: aws.String("é/\"\\"), SecretBinary: []byte{1, 2, 3}, Tags: []smtypes.Tag{{Key: aws.String("k"), Value: aws.String("")}},
		AddReplicaRegions: []smtypes.ReplicaRegionType{{Region: aws.String("eu-west-1")}}, ForceOverwriteReplicaSecret: true,
	}
	created, err := c.CreateSecret(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	want := &secretsmanager.CreateSecretRequest{
		Name: in.Name, SecretBinary: in.SecretBinary, Tags: []secretsmanager.Tag{{Key: new("k"), Value: new("")}},
		AddReplicaRegions: []secretsmanager.ReplicaRegionType{{Region: new("eu-west-1")}}, ForceOverwriteReplicaSecret: new(true),
		ClientRequestToken: created.VersionId, // the SDK made one
	}
	if diff := cmp.Diff(want, b.got.(*secretsmanager.CreateSecretRequest)); diff != "" {
		t.Error(diff)
	}

	b.fail = fault.New(fault.NotFound, "Secrets Manager can't find the specified secret.")
	_, err = c.GetSecretValue(ctx, &sdksm.GetSecretValueInput{SecretId: aws.String("db")})
	missing, ok := errors.AsType[*smtypes.ResourceNotFoundException](err)
	if !ok || missing.ErrorMessage() != "Secrets Manager can't find the specified secret." {
		t.Errorf("got %v, want the modelled error with its text", err)
	}
}

func TestClientRest(t *testing.T) {
	b, ctx := newBench(t), context.Background()
	c := sdklambda.NewFromConfig(b.config())
	got, err := c.Invoke(ctx, &sdklambda.InvokeInput{
		FunctionName: aws.String("arn:aws:lambda:us-east-1:123456789012:function:f"), Qualifier: aws.String("live"),
		LogType: lambdatypes.LogTypeTail, Payload: []byte(`{"a":1}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Payload) != `{"a":1}` || *got.FunctionError != "Unhandled" || *got.ExecutedVersion != "$LATEST" || got.StatusCode != 200 {
		t.Errorf("got %+v", got)
	}
	want := &lambda.InvocationRequest{
		FunctionName: new("arn:aws:lambda:us-east-1:123456789012:function:f"), Qualifier: new("live"), LogType: new("Tail"), Payload: []byte(`{"a":1}`),
	}
	if diff := cmp.Diff(want, b.got.(*lambda.InvocationRequest)); diff != "" {
		t.Error(diff)
	}

	fn := "arn:aws:lambda:us-east-1:123456789012:function:f"
	if _, err := c.UntagResource(ctx, &sdklambda.UntagResourceInput{Resource: &fn, TagKeys: []string{"a b", "c/d"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&lambda.UntagResourceRequest{Resource: &fn, TagKeys: []string{"a b", "c/d"}}, b.got.(*lambda.UntagResourceRequest)); diff != "" {
		t.Error(diff)
	}
	byARN, err := c.GetLayerVersionByArn(ctx, &sdklambda.GetLayerVersionByArnInput{Arn: aws.String("arn:aws:lambda:us-east-1:123456789012:layer:l:7")})
	if err != nil || byARN.Version != 7 {
		t.Errorf("GetLayerVersionByArn: got %v, %v", byARN, err)
	}
	layer, err := c.GetLayerVersion(ctx, &sdklambda.GetLayerVersionInput{LayerName: aws.String("l"), VersionNumber: aws.Int64(8)})
	if err != nil || layer.Version != 8 || *b.got.(*lambda.GetLayerVersionRequest).VersionNumber != 8 {
		t.Errorf("GetLayerVersion: got %v, %v", layer, err)
	}
	if _, err := c.DeleteFunction(ctx, &sdklambda.DeleteFunctionInput{FunctionName: aws.String("f")}); err != nil {
		t.Errorf("DeleteFunction: %v", err)
	}
	if _, err := c.ListFunctions(ctx, &sdklambda.ListFunctionsInput{MaxItems: aws.Int32(5)}); err != nil || *b.got.(*lambda.ListFunctionsRequest).MaxItems != 5 {
		t.Errorf("ListFunctions: %v", err)
	}

	b.fail = &fault.Error{Kind: fault.Throttled, Message: "Rate Exceeded.", Reason: "ConcurrentInvocationLimitExceeded"}
	_, err = c.Invoke(ctx, &sdklambda.InvokeInput{FunctionName: aws.String("f")})
	throttled, ok := errors.AsType[*lambdatypes.TooManyRequestsException](err)
	if !ok || throttled.Reason != "ConcurrentInvocationLimitExceeded" || throttled.RetryAfterSeconds == nil {
		t.Errorf("got %v, want a throttle with its reason", err)
	}
}

func TestClientQuery(t *testing.T) {
	b, ctx := newBench(t), context.Background()
	c := sdkiam.NewFromConfig(b.config())
	got, err := c.CreateRole(ctx, &sdkiam.CreateRoleInput{
		RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(`{"a":"&="}`), MaxSessionDuration: aws.Int32(3600),
		Tags: []iamtypes.Tag{{Key: aws.String("k1"), Value: aws.String("v 1")}, {Key: aws.String("k2"), Value: aws.String("")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &iam.CreateRoleRequest{
		RoleName: new("r"), AssumeRolePolicyDocument: new(`{"a":"&="}`), MaxSessionDuration: new(int64(3600)),
		Tags: []iam.Tag{{Key: new("k1"), Value: new("v 1")}, {Key: new("k2"), Value: new("")}},
	}
	if diff := cmp.Diff(want, b.got.(*iam.CreateRoleRequest)); diff != "" {
		t.Error(diff)
	}
	r := got.Role
	if *r.RoleName != "r" || len(r.Tags) != 2 || *r.Tags[1].Key != "k2" || *r.Description != "a < b & \"c\"\r\uFFFD" ||
		!r.CreateDate.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("got %+v", r)
	}
	if _, err := c.PutRolePolicy(ctx, &sdkiam.PutRolePolicyInput{
		RoleName: aws.String("r"), PolicyName: aws.String("p"), PolicyDocument: aws.String("{}"),
	}); err != nil {
		t.Errorf("PutRolePolicy: %v", err)
	}
	if list, err := c.ListRoles(ctx, &sdkiam.ListRolesInput{}); err != nil || list.Roles == nil || len(list.Roles) != 0 {
		t.Errorf("ListRoles: got %+v, %v", list, err)
	}
	b.fail = fault.New(fault.NotFound, "The role with name r cannot be found.")
	_, err = c.PutRolePolicy(ctx, &sdkiam.PutRolePolicyInput{
		RoleName: aws.String("r"), PolicyName: aws.String("p"), PolicyDocument: aws.String("{}"),
	})
	if e, ok := errors.AsType[*iamtypes.NoSuchEntityException](err); !ok || e.ErrorMessage() != "The role with name r cannot be found." {
		t.Errorf("got %v, want the modelled error", err)
	}
}

// TestClientUnauthenticated checks that clients read the code of an
// authentication failure in every protocol.
func TestClientUnauthenticated(t *testing.T) {
	b, ctx := newBench(t), context.Background()
	cfg := b.config()
	cfg.Credentials = credentials.NewStaticCredentialsProvider("AKIASTRANGER00000000", secret, "")
	_, errJSON := sdksm.NewFromConfig(cfg).GetSecretValue(ctx, &sdksm.GetSecretValueInput{SecretId: aws.String("db")})
	_, errRest := sdklambda.NewFromConfig(cfg).ListFunctions(ctx, &sdklambda.ListFunctionsInput{})
	_, errQuery := sdksts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sdksts.GetCallerIdentityInput{})
	for _, tt := range []struct {
		err  error
		code string
	}{{errJSON, "UnrecognizedClientException"}, {errRest, "UnrecognizedClientException"}, {errQuery, "InvalidClientTokenId"}} {
		if e, ok := errors.AsType[smithy.APIError](tt.err); !ok || e.ErrorCode() != tt.code || e.ErrorMessage() != sigv4.ErrUnknownKey.Message {
			t.Errorf("got %v, want %s", tt.err, tt.code)
		}
	}
}

// TestPresigned checks a presigned GetCallerIdentity, whose parameters are in
// the query.
func TestPresigned(t *testing.T) {
	b := newBench(t)
	c := sdksts.NewPresignClient(sdksts.NewFromConfig(b.config()))
	p, err := c.PresignGetCallerIdentity(context.Background(), &sdksts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(p.Method, p.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = p.SignedHeader
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || b.got == nil {
		t.Errorf("%s %s: got %d", p.Method, p.URL, res.StatusCode)
	}
}
