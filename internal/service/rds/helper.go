package rds

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	api "github.com/keyturn/keyturn/internal/api/rds"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// helper is what rotates the managed secrets of one account, region and
// family of engines: a function of RDS's own on a built-in rotator. It works
// as a client under its role, as every rotation function does; only the
// rotation engine invokes it.
type helper struct{ account, region, family string }

const (
	// roleName and rolePath are those of AWS's service-linked role.
	roleName = "AWSServiceRoleForRDS"
	rolePath = "/aws-service-role/rds.amazonaws.com/"
	// logGroup gets the output of the functions.
	logGroup = "/aws/rds/managed-rotation"
	// helperTimeout is how long a step may take, in seconds.
	helperTimeout = 60
	helperRuntime = "provided.al2023"
)

func (h helper) functionName() string { return function.OwnedName(database.Service, h.family) }

func (h helper) functionARN() string {
	return function.ARN(h.region, h.account, h.functionName(), "")
}

func (h helper) roleARN() string {
	return (&iam.Role{Account: h.account, Path: rolePath, Name: roleName}).ARN()
}

// admitHelper authorises the making of the service-linked role if there is
// none (AWS docs), and returns the calls that make it.
func (s *Service) admitHelper(ctx context.Context, call *wire.Call, h helper) ([]*wire.Call, error) {
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		_, err := h.role(tx)
		return err
	})
	if !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	err = s.Guard.On(call, "iam:CreateServiceLinkedRole", &authz.Resource{ARN: h.roleARN(), Context: func(key string) iam.Value {
		if key == "iam:awsservicename" {
			return iam.Text(servicePrincipal)
		}
		return iam.Value{}
	}})
	return []*wire.Call{serviceCall(call, "iam", "CreateServiceLinkedRole", "AWS::IAM::Role", h.roleARN())}, err
}

// role returns the service-linked role. The error is of kind NotFound when
// there is none.
func (h helper) role(tx *store.Tx) (*iam.Role, error) {
	r, err := tx.Role(h.account, roleName)
	if err == nil && r.Path != rolePath {
		return nil, fault.New(fault.State, "The role %s stands in the way of the service-linked role %s: delete it.", r.ARN(), h.roleARN())
	}
	return r, err
}

// ensure makes the role and the function where they are missing.
func (h helper) ensure(tx *store.Tx) error {
	if _, err := h.role(tx); fault.Is(err, fault.NotFound) {
		err = tx.SaveRole(nil, h.newRole(time.Now()))
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	_, err := tx.Function(h.account, h.region, h.functionName())
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	code, hash, err := noCode()
	if err != nil {
		return err
	}
	if err := tx.SaveCode(hash, code); err != nil {
		return err
	}
	return tx.CreateFunction(h.newFunction(hash, time.Now()))
}

// newRole makes the role: Lambda may assume it for functions of RDS alone,
// whose names nobody else's can have.
func (h helper) newRole(now time.Time) *iam.Role {
	r := &iam.Role{
		Account: h.account, Name: roleName, Path: rolePath, ID: "AROA" + rand.Text()[:17],
		Description: "Allows Amazon RDS to manage AWS resources on your behalf", MaxSession: 12 * time.Hour, CreatedAt: now.UTC().Truncate(time.Second),
		TrustPolicy: document(statement{
			Effect: "Allow", Principal: map[string]string{"Service": "lambda.amazonaws.com"}, Action: []string{"sts:AssumeRole"},
			Condition: map[string]map[string]string{"ArnLike": {"aws:SourceArn": "arn:*:lambda:*:" + h.account + ":function:" + function.OwnedName(database.Service, "*")}},
		}),
	}
	r.Inline = map[string]string{"ManagedMasterUserPasswords": h.policy()}
	return r
}

// statement is one of a policy.
type statement struct {
	Effect    string
	Principal any `json:",omitempty"`
	Action    []string
	Resource  any                          `json:",omitempty"`
	Condition map[string]map[string]string `json:",omitempty"`
}

func document(statements ...statement) string {
	b, _ := json.Marshal(struct { // texts always marshal
		Version   string
		Statement []statement
	}{"2012-10-17", statements})
	return string(b)
}

// policy is all that the functions may do: rotate what RDS owns, ask where
// its servers are, and write logs.
func (h helper) policy() string {
	secrets := "arn:*:secretsmanager:*:" + h.account + ":secret:" + database.Service + "!*"
	return document(
		statement{
			Effect: "Allow", Resource: secrets,
			Action: []string{
				"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage",
			},
			Condition: map[string]map[string]string{"StringEquals": {"aws:ResourceTag/aws:secretsmanager:owningService": database.Service}},
		},
		statement{Effect: "Allow", Resource: "*", Action: []string{
			"secretsmanager:GetRandomPassword", "rds:DescribeDBInstances", "rds:DescribeDBClusters",
		}},
		statement{
			Effect: "Allow", Resource: "arn:*:kms:*:" + h.account + ":key/*", Action: []string{"kms:Decrypt", "kms:GenerateDataKey"},
			Condition: map[string]map[string]string{"StringLike": {
				"kms:ViaService": "secretsmanager.*.amazonaws.com", "kms:EncryptionContext:SecretARN": secrets,
			}},
		},
		statement{
			Effect: "Allow", Resource: "arn:*:logs:*:" + h.account + ":log-group:" + logGroup + "*",
			Action: []string{"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"},
		},
	)
}

// newFunction makes the function, ready to be invoked: its program is the
// server's own.
func (h helper) newFunction(codeSHA256 string, now time.Time) *function.Function {
	return &function.Function{
		ID: uuid.NewString(), Account: h.account, Region: h.region, Name: h.functionName(), Owner: database.Service, NextVersion: 1,
		Config: function.Config{
			Version: function.Latest, Runtime: helperRuntime, Handler: function.RotatorHandler + h.family + ".managed", Role: h.roleARN(),
			TimeoutSeconds: helperTimeout, MemoryMB: function.DefaultMemory, EphemeralMB: function.DefaultStorage, PackageType: "Zip",
			TracingMode: "PassThrough", SnapStart: "None", Architectures: []string{"x86_64"}, CodeSHA256: codeSHA256,
			Logging: function.Logging{Format: "Text", Group: logGroup}, Change: 1, RevisionID: uuid.NewString(), LastModified: now.UTC(),
			State: function.StateActive, LastUpdate: function.UpdateSuccessful,
		},
	}
}

// noCode is an empty package and its base64 SHA-256.
func noCode() (code []byte, hash string, err error) {
	var b bytes.Buffer
	if err := zip.NewWriter(&b).Close(); err != nil {
		return nil, "", fault.Wrap(err, "making an empty package")
	}
	sum := sha256.Sum256(b.Bytes())
	return b.Bytes(), base64.StdEncoding.EncodeToString(sum[:]), nil
}

// shownSecret is a managed secret as answers have it; nil for none.
func shownSecret(tx *store.Tx, id string) (*api.MasterUserSecret, error) {
	if id == "" {
		return nil, nil
	}
	sec, run, err := load(tx, id)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &api.MasterUserSecret{SecretArn: new(sec.ARN()), SecretStatus: new(statusOf(sec, run)), KmsKeyId: orNil(keyOf(sec))}, nil
}
