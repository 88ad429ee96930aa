package rotator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// Rotation is one step of one rotation: what a Rotator may ask and say.
type Rotation struct {
	// SecretID is the secret's ARN, Token the pending version's id, Step the
	// step's name.
	SecretID, Token, Step string
	// Settings are the function's environment variables.
	Settings Settings
	// Config is for rotators that call further AWS APIs.
	Config aws.Config

	rotationToken string
	// current is what createSecret has read, and makes the new value from.
	current  *plaintext.Value
	secrets  *secretsmanager.Client
	journal  *journal
	trust    *trust
	memory   *memory
	undo     []func(context.Context) error
	attempts int // logins that this step may still try
}

// Value returns the SecretString of the version with the label: of the
// pending one only if it is this rotation's.
func (r *Rotation) Value(ctx context.Context, label string) (plaintext.Value, error) {
	version := ""
	switch {
	case label == pending:
		version = r.Token
	case label == current && r.current != nil:
		return *r.current, nil
	}
	return r.ValueOf(ctx, r.SecretID, label, version)
}

// ValueOf returns the SecretString of another secret's version; version ""
// leaves the label to choose. Whatever it returns is hidden in the log.
func (r *Rotation) ValueOf(ctx context.Context, secretID, label, version string) (plaintext.Value, error) {
	in := &secretsmanager.GetSecretValueInput{SecretId: &secretID, VersionStage: &label}
	if version != "" {
		in.VersionId = &version
	}
	out, err := r.secrets.GetSecretValue(ctx, in)
	if err != nil {
		return plaintext.Value{}, fmt.Errorf("reading the %s version of secret %s: %w", label, secretID, err)
	}
	if out.SecretString == nil {
		return plaintext.Value{}, Invalid("Secret %s holds binary data in its %s version, which cannot be rotated", secretID, label)
	}
	v := plaintext.Of(*out.SecretString)
	r.journal.hide(v)
	return v, nil
}

// Current returns the current value as a JSON object.
func (r *Rotation) Current(ctx context.Context) (*Document, error) { return r.document(ctx, current) }

// Pending returns this rotation's value as a JSON object.
func (r *Rotation) Pending(ctx context.Context) (*Document, error) { return r.document(ctx, pending) }

// Previous returns the value before the current one as a JSON object, and nil
// when there is none that could be used.
func (r *Rotation) Previous(ctx context.Context) (*Document, error) {
	d, err := r.document(ctx, previous)
	_, invalid := errors.AsType[*Error](err)
	if missing(err) || invalid {
		return nil, nil
	}
	return d, err
}

func (r *Rotation) document(ctx context.Context, label string) (*Document, error) {
	v, err := r.Value(ctx, label)
	if err != nil {
		return nil, err
	}
	return r.parse(r.SecretID, v)
}

// DocumentOf returns the current value of another secret as a JSON object.
func (r *Rotation) DocumentOf(ctx context.Context, secretID string) (*Document, error) {
	v, err := r.ValueOf(ctx, secretID, current, "")
	if err != nil {
		return nil, err
	}
	return r.parse(secretID, v)
}

func (r *Rotation) parse(secretID string, v plaintext.Value) (*Document, error) {
	d, err := ParseDocument(v)
	if err != nil {
		return nil, Invalid("Invalid secret value JSON for secret %s: %v", secretID, err)
	}
	return d, nil
}

// PasswordRules are an engine's defaults for new passwords, before the
// function's environment variables.
type PasswordRules struct {
	// Length is in characters.
	Length int
	// Exclude lists characters that no password may hold.
	Exclude string
}

// NewPassword asks Secrets Manager for a password on the rules, as the
// environment changes them: PASSWORD_LENGTH, EXCLUDE_CHARACTERS,
// EXCLUDE_NUMBERS, EXCLUDE_PUNCTUATION, EXCLUDE_UPPERCASE, EXCLUDE_LOWERCASE
// and REQUIRE_EACH_INCLUDED_TYPE.
func (r *Rotation) NewPassword(ctx context.Context, rules PasswordRules) (plaintext.Value, error) {
	s := r.Settings
	length, err := s.Number("PASSWORD_LENGTH", rules.Length)
	if err != nil {
		return plaintext.Value{}, err
	}
	out, err := r.secrets.GetRandomPassword(ctx, &secretsmanager.GetRandomPasswordInput{
		PasswordLength:          aws.Int64(int64(length)),
		ExcludeCharacters:       aws.String(s.Text("EXCLUDE_CHARACTERS", rules.Exclude)),
		ExcludeNumbers:          aws.Bool(s.Flag("EXCLUDE_NUMBERS", false)),
		ExcludePunctuation:      aws.Bool(s.Flag("EXCLUDE_PUNCTUATION", false)),
		ExcludeUppercase:        aws.Bool(s.Flag("EXCLUDE_UPPERCASE", false)),
		ExcludeLowercase:        aws.Bool(s.Flag("EXCLUDE_LOWERCASE", false)),
		RequireEachIncludedType: aws.Bool(s.Flag("REQUIRE_EACH_INCLUDED_TYPE", true)),
	})
	if err != nil {
		return plaintext.Value{}, fmt.Errorf("making a password: %w", err)
	}
	p := plaintext.Of(aws.ToString(out.RandomPassword))
	r.journal.hide(p)
	return p, nil
}

// Logf writes an informative line, with the step's name before it.
func (r *Rotation) Logf(format string, args ...any) {
	r.journal.info(r.Step+": "+format, args...)
}

// Warnf writes a warning, with the step's name before it.
func (r *Rotation) Warnf(format string, args ...any) {
	r.journal.warn(r.Step+": "+format, args...)
}

// Hide keeps a text out of every further log line and error.
func (r *Rotation) Hide(v plaintext.Value) { r.journal.hide(v) }

// Undo registers what takes back something made outside, should the pending
// value turn out not to be storable.
func (r *Rotation) Undo(f func(context.Context) error) { r.undo = append(r.undo, f) }

func (r *Rotation) takeBack(ctx context.Context) error {
	var errs []error
	for _, f := range r.undo {
		errs = append(errs, f(ctx))
	}
	return errors.Join(errs...)
}

// put stores a pending value of a secret under this rotation's token. A value
// that a concurrent attempt of the same step stored first is as good.
func (r *Rotation) put(ctx context.Context, secretID, value string) error {
	in := &secretsmanager.PutSecretValueInput{
		SecretId: &secretID, ClientRequestToken: &r.Token, SecretString: &value, VersionStages: []string{pending},
	}
	if r.rotationToken != "" {
		in.RotationToken = &r.rotationToken
	}
	_, err := r.secrets.PutSecretValue(ctx, in)
	if _, exists := errors.AsType[*types.ResourceExistsException](err); exists {
		if _, err := r.ValueOf(ctx, secretID, pending, r.Token); err == nil {
			return r.takeBack(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("storing the pending value of secret %s: %w", secretID, err)
	}
	return nil
}

// PutPending stores a value of another secret that follows this one, labelled
// AWSPENDING, under the same version id. The other secret rotates by nobody
// else, so the RotationToken does not go with it.
func (r *Rotation) PutPending(ctx context.Context, secretID string, v plaintext.Value) error {
	r.journal.hide(v)
	_, err := r.secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &secretID, ClientRequestToken: &r.Token, SecretString: aws.String(v.RevealText()), VersionStages: []string{pending},
	})
	if err != nil {
		return fmt.Errorf("storing the pending value of secret %s: %w", secretID, err)
	}
	return nil
}

// PendingOf returns what PutPending has stored in another secret, as a JSON
// object; nil if it has stored nothing yet.
func (r *Rotation) PendingOf(ctx context.Context, secretID string) (*Document, error) {
	v, err := r.ValueOf(ctx, secretID, pending, r.Token)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return r.parse(secretID, v)
}

// MoveCurrent moves AWSCURRENT of another secret to the version that
// PutPending has stored, unless it is there already.
func (r *Rotation) MoveCurrent(ctx context.Context, secretID string) error {
	d, err := r.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &secretID})
	if err != nil {
		return fmt.Errorf("describing secret %s: %w", secretID, err)
	}
	if slices.Contains(d.VersionIdsToStages[r.Token], current) {
		return nil
	}
	return r.move(ctx, secretID, d)
}

// move moves AWSCURRENT from the version that has it to this rotation's.
func (r *Rotation) move(ctx context.Context, secretID string, d *secretsmanager.DescribeSecretOutput) error {
	in := &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &secretID, VersionStage: aws.String(current), MoveToVersionId: &r.Token,
	}
	for id, labels := range d.VersionIdsToStages {
		if slices.Contains(labels, current) {
			in.RemoveFromVersionId = &id
		}
	}
	if _, err := r.secrets.UpdateSecretVersionStage(ctx, in); err != nil {
		return fmt.Errorf("moving AWSCURRENT of secret %s: %w", secretID, err)
	}
	return nil
}
