package demo

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/keyturn/keyturn/examples"
)

// names are what the policies are about.
var names = examples.Names{Region: region, Account: account, Function: functionName, Role: roleName, Secret: secretName}

// createIdentities makes, as root, those who do the rest: the function's role,
// an operator who may rotate the secret but not read it, and an application
// that may read it and nothing else.
func (d *demo) createIdentities(ctx context.Context, root aws.Config) error {
	client := iam.NewFromConfig(root)
	role, err := client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: new(roleName), AssumeRolePolicyDocument: new(trustPolicy)})
	if err != nil {
		return fmt.Errorf("creating the execution role: %w", err)
	}
	d.role = *role.Role.Arn
	document, err := examples.Policy("rotation-function", names)
	if err != nil {
		return err
	}
	if _, err := client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: new(roleName), PolicyName: new("rotation"), PolicyDocument: &document}); err != nil {
		return fmt.Errorf("giving the execution role its policy: %w", err)
	}
	if d.operator, err = createUser(ctx, client, root, "operator"); err != nil {
		return err
	}
	if d.application, err = createUser(ctx, client, root, "application"); err != nil {
		return err
	}
	d.say("Created the role %s and the users operator and application; root does nothing more.", roleName)
	return nil
}

// createUser makes a user with the policy of its name and returns how it
// reaches the server.
func createUser(ctx context.Context, client *iam.Client, root aws.Config, name string) (aws.Config, error) {
	document, err := examples.Policy(name, names)
	if err != nil {
		return aws.Config{}, err
	}
	if _, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}); err != nil {
		return aws.Config{}, fmt.Errorf("creating the user %s: %w", name, err)
	}
	if _, err := client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: &name, PolicyDocument: &document}); err != nil {
		return aws.Config{}, fmt.Errorf("giving the user %s its policy: %w", name, err)
	}
	made, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		return aws.Config{}, fmt.Errorf("making an access key for %s: %w", name, err)
	}
	cfg := root.Copy()
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*made.AccessKey.AccessKeyId, *made.AccessKey.SecretAccessKey, "")
	return cfg, nil
}
