package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/directoryservice"
	"github.com/aws/aws-sdk-go-v2/service/directoryservice/types"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// Service rotates the password of a user of AWS Directory Service as AWS's
// template does: the service resets it, Kerberos proves it. AWS_ENDPOINT_URL_
// DIRECTORY_SERVICE in the environment leads to another service.
type Service struct {
	// keytabs says that keytab secrets follow.
	keytabs bool
}

// NewService makes the rotator of single secrets.
func NewService() rotator.Rotator { return &Service{} }

// NewServiceKeytab makes the rotator of secrets that keytab secrets follow.
func NewServiceKeytab() rotator.Rotator { return &ServiceKeytab{Service{keytabs: true}} }

// credential is what a secret says of a user.
type credential struct {
	directory, username string
	password            plaintext.Value
	document            *rotator.Document
}

func (m members) credential(d *rotator.Document) (credential, error) {
	for _, key := range []string{m.directory, m.username, m.password} {
		if !d.Has(key) {
			return credential{}, rotator.MissingKey(key)
		}
	}
	c := credential{d.Text(m.directory), d.Text(m.username), d.Secret(m.password), d}
	// They would make another principal of the name.
	if strings.ContainsAny(c.username, passwordExclude) {
		return credential{}, rotator.Invalid("check_inputs: Invalid character in username")
	}
	return c, nil
}

// directoryOf is a directory of the service.
type directoryOf struct {
	client *directoryservice.Client
	names  []string
	realm  realm
}

// describe asks the service about a directory.
func describe(ctx context.Context, r *rotator.Rotation, id string) (directoryOf, error) {
	d := directoryOf{client: directoryservice.NewFromConfig(r.Config)}
	out, err := d.client.DescribeDirectories(ctx, &directoryservice.DescribeDirectoriesInput{DirectoryIds: []string{id}})
	if err != nil {
		return d, fmt.Errorf("describing directory %s: %w", id, err)
	}
	var addresses []string
	for _, found := range out.DirectoryDescriptions {
		if found.Name != nil {
			d.names = append(d.names, *found.Name)
			addresses = append(addresses, found.DnsIpAddrs...)
		}
	}
	if len(d.names) != 1 {
		return d, rotator.Invalid("Directory %s does not exist, or has no name", id)
	}
	d.realm, err = newRealm(ctx, r.Settings, d.names[0], addresses...)
	return d, err
}

// list writes names as the template's language does.
func (d directoryOf) list() string { return "['" + strings.Join(d.names, "', '") + "']" }

// kinit proves the credential.
func (d directoryOf) kinit(ctx context.Context, c credential) error {
	_, err := d.realm.login(ctx, c.username, fromPassword(c.password), strong)
	return err
}

// kinitFailed is the template's error.
func kinitFailed(err error) error {
	return rotator.Invalid("execute_kinit_command: kinit failed").Because(rotator.Classify(err))
}

func (s *Service) current(ctx context.Context, r *rotator.Rotation) (members, credential, directoryOf, error) {
	m := newMembers(r.Settings)
	document, err := r.Current(ctx)
	if err != nil {
		return m, credential{}, directoryOf{}, err
	}
	c, err := m.credential(document)
	if err != nil {
		return m, c, directoryOf{}, err
	}
	d, err := describe(ctx, r, c.directory)
	return m, c, d, err
}

// Create implements rotator.Rotator. The current password has to be right:
// whoever may only write the secret must not be able to take over any user of
// the directory by this function's hand.
func (s *Service) Create(ctx context.Context, r *rotator.Rotation) (plaintext.Value, error) {
	m, c, d, err := s.current(ctx, r)
	if err != nil {
		return plaintext.Value{}, err
	}
	if err := d.kinit(ctx, c); err != nil {
		return plaintext.Value{}, kinitFailed(err)
	}
	p, err := r.NewPassword(ctx, rotator.PasswordRules{Length: 32, Exclude: passwordExclude})
	if err != nil {
		return plaintext.Value{}, err
	}
	next := c.document.With(m.password, p)
	if s.keytabs {
		next = m.touched(next, m.secretVersion)
	}
	return next.Value(), nil
}

// pending reads the pending version and checks that it is of the same user as
// the current one.
func (s *Service) pending(ctx context.Context, r *rotator.Rotation, m members, c credential, d directoryOf) (credential, error) {
	document, err := r.Pending(ctx)
	if err != nil {
		return credential{}, err
	}
	next, err := m.credential(document)
	if err != nil {
		return next, err
	}
	if strings.ContainsAny(next.password.RevealText(), r.Settings.Text("EXCLUDE_CHARACTERS", passwordExclude)) {
		return next, rotator.Invalid("check_inputs: Invalid character in password")
	}
	if c.username != next.username {
		return next, rotator.Invalid("Username %s in current dict does not match username %s in pending dict", c.username, next.username)
	}
	if c.directory == next.directory {
		return next, nil
	}
	other, err := describe(ctx, r, next.directory)
	if err != nil {
		return next, err
	}
	return next, rotator.Invalid("Current directory name list %s does not match pending directory name list %s", d.list(), other.list())
}

// Set implements rotator.Rotator.
func (s *Service) Set(ctx context.Context, r *rotator.Rotation) error {
	m, c, d, err := s.current(ctx, r)
	if err != nil {
		return err
	}
	next, err := s.pending(ctx, r, m, c, d)
	if err != nil {
		return err
	}
	if err := s.reset(ctx, r, c, next, d); err != nil || !s.keytabs {
		return err
	}
	return m.setKeytabs(ctx, r, next.document, account{d.realm, next.username}, next.password)
}

// reset makes the directory take the pending password, unless it has it.
func (s *Service) reset(ctx context.Context, r *rotator.Rotation, c, next credential, d directoryOf) error {
	err := d.kinit(ctx, next)
	if err == nil {
		r.Logf("AWSPENDING secret is already set as password in Active Directory for secret arn %s.", r.SecretID)
		return nil
	}
	r.Logf("Login with the pending secret failed (user '%s', realm '%s'): %v", next.username, d.realm.name, err)
	if err := d.kinit(ctx, c); err != nil {
		return kinitFailed(err)
	}
	_, err = d.client.ResetUserPassword(ctx, &directoryservice.ResetUserPasswordInput{
		DirectoryId: &next.directory, UserName: &next.username, NewPassword: new(next.password.RevealText()),
	})
	if err != nil {
		return rotator.Invalid("Unable to reset the users password in Directory Services").Because(resetRefused(err))
	}
	r.Logf("Successfully set password for user %s in Active Directory for secret arn %s.", next.username, r.SecretID)
	return nil
}

// resetRefused classifies what the service said, which does not echo.
func resetRefused(err error) *rotator.Failure {
	cause := rotator.CauseOther
	switch {
	case is[*types.InvalidPasswordException](err):
		cause = rotator.CausePolicy
	case is[*types.UserDoesNotExistException](err):
		cause = rotator.CauseMissingUser
	case is[*types.EntityDoesNotExistException](err):
		cause = rotator.CauseDatabase
	case is[*types.DirectoryUnavailableException](err), is[*types.ServiceException](err):
		cause = rotator.CauseUnavailable
	case is[*types.AccessDeniedException](err):
		cause = rotator.CausePermission
	}
	api, ok := errors.AsType[interface {
		error
		ErrorCode() string
		ErrorMessage() string
	}](err)
	if !ok {
		return rotator.Classify(err)
	}
	return rotator.NewFailure(cause, api.ErrorCode(), api.ErrorMessage(), err)
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// Test implements rotator.Rotator.
func (s *Service) Test(ctx context.Context, r *rotator.Rotation) error {
	m, c, d, err := s.current(ctx, r)
	if err != nil {
		return err
	}
	next, err := s.pending(ctx, r, m, c, d)
	if err != nil {
		return err
	}
	if err := d.kinit(ctx, next); err != nil {
		return kinitFailed(err)
	}
	r.Logf("Successfully signed into Active Directory with AWSPENDING secret in %s.", r.SecretID)
	if !s.keytabs {
		return nil
	}
	return m.testKeytabs(ctx, r, next.document, account{d.realm, next.username})
}

// ServiceKeytab is a Service whose keytab secrets follow the password.
type ServiceKeytab struct{ Service }

// Finish implements rotator.Finisher.
func (s *ServiceKeytab) Finish(ctx context.Context, r *rotator.Rotation) error {
	d, err := r.Current(ctx)
	if err != nil {
		return err
	}
	return newMembers(r.Settings).finishKeytabs(ctx, r, d)
}
