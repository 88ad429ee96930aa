package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// The labels of what is probed, and the word that stands for the superuser's
// secret.
const (
	Current   = "AWSCURRENT"
	Pending   = "AWSPENDING"
	Previous  = "AWSPREVIOUS"
	Superuser = "superuser"
)

// Secret is what a probe needs to know of one.
type Secret struct {
	ARN, FunctionARN string
	Tags             map[string]string
	labels           map[string][]string // by version
}

// Describe asks for a secret.
func Describe(ctx context.Context, client *secretsmanager.Client, secretID string) (*Secret, error) {
	d, err := client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &secretID})
	if err != nil {
		return nil, fmt.Errorf("describing secret %s: %w", secretID, err)
	}
	s := &Secret{ARN: aws.ToString(d.ARN), FunctionARN: aws.ToString(d.RotationLambdaARN), Tags: map[string]string{}, labels: d.VersionIdsToStages}
	for _, t := range d.Tags {
		s.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return s, nil
}

// Version is a version with its value, which is to stay in memory.
type Version struct {
	Label, ID string
	// Tags are the secret's.
	Tags  map[string]string
	Value plaintext.Value
	// Missing tells that the version has no value, Binary that the value is
	// no text; Err is why it could not be read.
	Missing, Binary bool
	Err             error
}

// Document is the value as a JSON object; the error holds nothing of it.
func (v *Version) Document() (*rotator.Document, error) {
	switch {
	case v.Missing:
		return nil, errors.New("there is no value")
	case v.Err != nil:
		return nil, errors.New("the value could not be read")
	case v.Binary:
		return nil, errors.New("binary data")
	}
	return rotator.ParseDocument(v.Value)
}

// Read reads the labelled versions: the current, the pending and the previous
// one, as far as there are such. A version that has two labels is read once,
// by the first of them.
func (s *Secret) Read(ctx context.Context, client *secretsmanager.Client) []Version {
	var all []Version
	for _, label := range []string{Current, Pending, Previous} {
		for id, labels := range s.labels {
			taken := slices.ContainsFunc(all, func(v Version) bool { return v.ID == id })
			if taken || !slices.Contains(labels, label) {
				continue
			}
			v := Version{Label: label, ID: id, Tags: s.Tags}
			v.read(ctx, client, s.ARN, label)
			all = append(all, v)
		}
	}
	return all
}

func (v *Version) read(ctx context.Context, client *secretsmanager.Client, arn, label string) {
	in := &secretsmanager.GetSecretValueInput{SecretId: &arn, VersionStage: &label}
	if v.ID != "" {
		in.VersionId = &v.ID
	}
	out, err := client.GetSecretValue(ctx, in)
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		v.Missing = true
		return
	}
	if v.Err = err; err != nil {
		return
	}
	v.ID = aws.ToString(out.VersionId)
	if out.SecretString == nil {
		v.Binary = true
		return
	}
	v.Value = plaintext.Of(*out.SecretString)
}

// superuserMembers are the members that name the superuser's secret.
var superuserMembers = []string{"masterarn", "superuserSecretArn", "adminSecretArn"}

// SuperuserARN is the superuser's secret that a version names; "" for none.
func SuperuserARN(versions []Version) string {
	for i := range versions {
		d, err := versions[i].Document()
		if err != nil {
			continue
		}
		for _, member := range superuserMembers {
			if arn := d.Text(member); arn != "" {
				return arn
			}
		}
	}
	return ""
}

// ReadSuperuser reads the current version of the superuser's secret.
func ReadSuperuser(ctx context.Context, client *secretsmanager.Client, arn string) Version {
	v := Version{Label: Superuser}
	v.read(ctx, client, arn, Current)
	if d, err := v.Document(); err != nil || d.Has("host") {
		return v
	}
	// Where its server is may stand in its tags, or is not to be known.
	if s, err := Describe(ctx, client, arn); err == nil {
		v.Tags = s.Tags
	}
	return v
}
