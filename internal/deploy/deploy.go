// Package deploy makes Lambda functions of the built-in rotators: on a
// Keyturn server, whose program then is the function's, and as packages with
// a program of their own for AWS.
//
// It is a client: all it does is possible with the AWS CLI too.
package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/arn"
)

// handlerPrefix is what the handlers of built-in rotators begin with.
const handlerPrefix = "rotator."

// Runtime is the Lambda runtime of every built-in rotator.
const Runtime = "provided.al2023"

// Spec says what function to make of a built-in rotator.
type Spec struct {
	// Name is the function's name.
	Name string
	// Rotator is the rotator's name, such as postgres.single.
	Rotator string
	// Timeout is in seconds, Memory in MiB.
	Timeout, Memory int32
	// Concurrency is how many execution environments it may have at most; nil
	// for no limit of its own.
	Concurrency *int32
	// Environment are further variables.
	Environment map[string]string
	// Hold is how long alternating users keep the old password for readers
	// that have not moved, such as "2d"; "" for not at all.
	Hold string
	// CABundle holds certificates of authorities in PEM form that the
	// function trusts beside the system's.
	CABundle []byte
	// Role is the ARN of an existing execution role; "" makes one.
	Role string
	// Superusers are the secrets that masterarn members name: ARNs, or names.
	Superusers []string
	// Keytabs are the secrets whose keytabs follow a password: ARNs, or names.
	Keytabs []string
	// Keys are the ARNs of the KMS keys that secrets are sealed under, other
	// than aws/secretsmanager.
	Keys []string
	// ManagedSuperuser says that a superuser's secret is managed by RDS or
	// Redshift, which has to be asked where its server is.
	ManagedSuperuser bool
	// Secrets are to be rotated by the function: ARNs, or names.
	Secrets []string
	// Every is 30d, a rate() or a cron() expression; "" leaves a secret's
	// schedule as it is, or is 30 days where it has none.
	Every string
	// Window is the length of the rotation window, such as 3h; "" for AWS's.
	Window string
}

// bundleFile is the name of the authorities' certificates in a package.
const bundleFile = "ca-bundle.pem"

// variables are the function's whole environment.
func (s *Spec) variables() map[string]string {
	vars := map[string]string{}
	if s.Hold != "" {
		vars["KEYTURN_HOLD"] = s.Hold
	}
	if len(s.CABundle) > 0 {
		vars["KEYTURN_CA_BUNDLE"] = bundleFile // functions start in the folder of their code
	}
	for name, value := range s.Environment {
		vars[name] = value
	}
	return vars
}

// NeedsSuperuser tells whether a rotator works by the hand of the superuser
// whose secret masterarn names.
func NeedsSuperuser(rotator string) bool {
	return strings.HasSuffix(rotator, ".superuser") || strings.HasSuffix(rotator, ".alternating")
}

// Actions of a Change.
const (
	Created   = "created"
	Updated   = "updated"
	Unchanged = "unchanged"
)

// Change is what was done to one thing.
type Change struct {
	// Thing is what it is: role, role policy, function, and so on; Name which.
	Thing, Name string
	// Action is Created, Updated or Unchanged, Detail says what of it.
	Action string
	Detail string `json:",omitempty"`
}

// String is a line for people.
func (c Change) String() string {
	line := strings.ToUpper(c.Thing[:1]) + c.Thing[1:] + " " + c.Name + ": " + c.Action
	if c.Detail != "" {
		line += " (" + c.Detail + ")"
	}
	return line
}

// deployment is one run of Apply.
type deployment struct {
	*Spec
	iam     *iam.Client
	lambda  *lambda.Client
	secrets *secretsmanager.Client
	names   names
	did     func(Change)
}

// Apply makes the function, its role and the permission of Secrets Manager,
// and turns on rotation of the secrets; where they exist it changes what
// differs. did gets each change when it has been made, so that a failure
// leaves nothing unsaid: a repetition goes on from there. It returns the
// function's ARN.
func Apply(ctx context.Context, cfg aws.Config, s Spec, did func(Change)) (string, error) {
	if err := onKeyturn(ctx, cfg, s.Rotator); err != nil {
		return "", err
	}
	caller, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("asking which account this is: %w", err)
	}
	d := &deployment{
		Spec: &s, iam: iam.NewFromConfig(cfg), lambda: lambda.NewFromConfig(cfg), secrets: secretsmanager.NewFromConfig(cfg), did: did,
		names: names{Region: cfg.Region, Account: aws.ToString(caller.Account), Function: s.Name},
	}
	return d.apply(ctx)
}

func (d *deployment) apply(ctx context.Context) (string, error) {
	rotated, err := d.look(ctx)
	if err != nil {
		return "", err
	}
	existing, err := d.existing(ctx)
	if err != nil {
		return "", err
	}
	role, err := d.role(ctx)
	if err != nil {
		return "", err
	}
	function, err := d.function(ctx, existing, role)
	if err != nil {
		return "", err
	}
	if err := d.concurrency(ctx); err != nil {
		return "", err
	}
	if err := d.permission(ctx, function); err != nil {
		return "", err
	}
	for _, secret := range rotated {
		if err := d.rotation(ctx, secret, function); err != nil {
			return "", err
		}
	}
	return function, nil
}

// look finds the secrets before anything is made, so that a wrong name costs
// nothing.
func (d *deployment) look(ctx context.Context) ([]*secretsmanager.DescribeSecretOutput, error) {
	if NeedsSuperuser(d.Rotator) && d.Role == "" && len(d.Superusers) == 0 && !d.ManagedSuperuser {
		return nil, fmt.Errorf("%s works as the superuser whose secret the member masterarn names: "+
			"give that secret with --superuser-secret, so that the function's role may read it, or a role of your own with --role", d.Rotator)
	}
	for _, list := range [][]string{d.Superusers, d.Keytabs} {
		if err := d.lookUp(ctx, list); err != nil {
			return nil, err
		}
	}
	var rotated []*secretsmanager.DescribeSecretOutput
	for _, id := range d.Secrets {
		out, err := d.describe(ctx, id)
		if err != nil {
			return nil, err
		}
		d.addKey(aws.ToString(out.KmsKeyId))
		rotated = append(rotated, out)
	}
	return rotated, nil
}

// lookUp puts ARNs in place of the names of secrets.
func (d *deployment) lookUp(ctx context.Context, ids []string) error {
	for i, id := range ids {
		if arn.IsARN(id) {
			continue
		}
		out, err := d.describe(ctx, id)
		if err != nil {
			return err
		}
		ids[i] = *out.ARN
		d.addKey(aws.ToString(out.KmsKeyId))
	}
	return nil
}

// addKey adds the key of a secret to those that the role may use.
func (d *deployment) addKey(key string) {
	if !strings.Contains(key, ":key/") {
		return // none, or an alias, which no policy can name
	}
	for _, k := range d.Keys {
		if k == key {
			return
		}
	}
	d.Keys = append(d.Keys, key)
}

func (d *deployment) describe(ctx context.Context, id string) (*secretsmanager.DescribeSecretOutput, error) {
	out, err := d.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &id})
	if err != nil {
		return nil, fmt.Errorf("looking at the secret %s: %w", id, err)
	}
	return out, nil
}

// onKeyturn refuses endpoints whose functions need a program of their own.
func onKeyturn(ctx context.Context, cfg aws.Config, rotator string) error {
	advice := fmt.Sprintf("functions there need a program of their own: make a package with `keyturn function package --rotator %s -o rotator.zip` "+
		"and deploy that with the template beside it", rotator)
	endpoint := aws.ToString(cfg.BaseEndpoint)
	u, err := url.Parse(endpoint)
	if err != nil {
		return fmt.Errorf("the endpoint %s is no URL: %w", endpoint, err)
	}
	host := u.Hostname()
	for _, suffix := range []string{"amazonaws.com", "amazonaws.com.cn", "api.aws"} {
		if endpoint == "" || host == suffix || strings.HasSuffix(host, "."+suffix) {
			return errors.New("this is AWS, and " + advice)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(endpoint, "/")+"/health", nil)
	if err != nil {
		return err
	}
	var client aws.HTTPClient = http.DefaultClient
	if cfg.HTTPClient != nil {
		client = cfg.HTTPClient
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("asking for the server's health: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	var health struct{ Status string }
	if json.NewDecoder(res.Body).Decode(&health) != nil || health.Status == "" {
		return fmt.Errorf("%s is no Keyturn server, and %s", endpoint, advice)
	}
	return nil
}

// denied tells whether a call was refused.
func denied(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && strings.HasPrefix(api.ErrorCode(), "AccessDenied")
}
