// Package elasticache rotates the passwords of ElastiCache users, as AWS's
// template does: through ElastiCache's API, with the current and the pending
// password valid at the same time.
package elasticache

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// passwords are the rules for new passwords (AWS: the template).
var passwords = rotator.PasswordRules{Length: 20, Exclude: `/@"'\`}

// active is the status of a user that can be changed.
const active = "active"

// reserve is what waiting leaves of the function's time to say how it ended.
const reserve = time.Second

// overlap is the rotator.
type overlap struct{}

// New makes the rotator.
func New() rotator.Rotator { return overlap{} }

// user is what a secret says.
type user struct {
	id, arn, name string
	password      plaintext.Value
	has           bool // it has a password
	document      *rotator.Document
}

// allowed checks that the function may be used for the secret: its variable
// SECRET_ARN names the one secret, and USER_NAME the one user.
func allowed(r *rotator.Rotation) error {
	for _, name := range []string{"SECRET_ARN", "USER_NAME"} {
		if r.Settings.Text(name, "") == "" {
			return &rotator.Error{Type: "KeyError", Text: "The environment variable " + name + " is needed"}
		}
	}
	if r.Settings.Text("SECRET_ARN", "") != r.SecretID {
		return rotator.Invalid("Secret %s is not allowed to use this Lambda function for rotation", r.SecretID)
	}
	return nil
}

// read reads a version of the secret.
func read(r *rotator.Rotation, d *rotator.Document, err error) (user, error) {
	if err != nil {
		return user{}, err
	}
	for _, key := range []string{"user_arn", "username"} {
		if !d.Has(key) {
			return user{}, rotator.MissingKey(key)
		}
	}
	u := user{arn: d.Text("user_arn"), name: d.Text("username"), password: d.Secret("password"), has: d.Text("password") != "", document: d}
	if u.name != r.Settings.Text("USER_NAME", "") {
		return user{}, rotator.Invalid("User %s is not allowed to use this Lambda function for rotation", u.name)
	}
	_, id, ok := strings.Cut(u.arn, ":user:")
	if !ok || id == "" || strings.Contains(id, ":") {
		return user{}, rotator.Invalid("The member user_arn of the secret's JSON is not the ARN of an ElastiCache user: %s", u.arn)
	}
	u.id = id
	return u, nil
}

// Create implements rotator.Rotator. The secret may be without a password
// before its first rotation.
func (overlap) Create(ctx context.Context, r *rotator.Rotation) (plaintext.Value, error) {
	if err := allowed(r); err != nil {
		return plaintext.Value{}, err
	}
	d, err := r.Current(ctx)
	cur, err := read(r, d, err)
	if err != nil {
		return plaintext.Value{}, err
	}
	if _, err := status(ctx, client(r), cur); err != nil {
		return plaintext.Value{}, failed(r, cur, "find", err)
	}
	p, err := r.NewPassword(ctx, passwords)
	if err != nil {
		return plaintext.Value{}, err
	}
	return cur.document.With("password", p).Value(), nil
}

// load reads the current and the pending version, which must be of the same
// user.
func load(ctx context.Context, r *rotator.Rotation) (cur, next user, err error) {
	if err := allowed(r); err != nil {
		return cur, next, err
	}
	d, err := r.Current(ctx)
	if cur, err = read(r, d, err); err != nil {
		return cur, next, err
	}
	d, err = r.Pending(ctx)
	if next, err = read(r, d, err); err != nil {
		return cur, next, err
	}
	if cur.arn != next.arn {
		return cur, next, rotator.Invalid("Attempting to modify user %s other than current user %s", next.arn, cur.arn)
	}
	return cur, next, nil
}

// Set implements rotator.Rotator: it gives the user both passwords. Setting
// them again changes nothing.
func (overlap) Set(ctx context.Context, r *rotator.Rotation) error {
	cur, next, err := load(ctx, r)
	if err != nil {
		return err
	}
	if !next.has {
		return rotator.MissingKey("password")
	}
	c := client(r)
	if err := await(ctx, r, c, next); err != nil {
		return err
	}
	both := []string{next.password.RevealText()}
	if cur.has {
		both = append(both, cur.password.RevealText())
	}
	if _, err := c.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: &next.id, Passwords: both}); err != nil {
		return failed(r, next, "set the passwords of", err)
	}
	r.Logf("Successfully set password for user %s in ElastiCache for secret arn %s.", next.id, r.SecretID)
	return nil
}

// Test implements rotator.Rotator: ElastiCache offers no login outside a
// cache's network, so the user's status has to do.
func (overlap) Test(ctx context.Context, r *rotator.Rotation) error {
	_, next, err := load(ctx, r)
	if err != nil {
		return err
	}
	if err := await(ctx, r, client(r), next); err != nil {
		return err
	}
	r.Logf("User %s is active in ElastiCache with AWSPENDING secret in %s.", next.id, r.SecretID)
	return nil
}

// await waits until the user is active: as long as
// MAX_WAITING_TIME_FOR_ACTIVE_IN_SECONDS says, 600 seconds by default, asking
// every WAITING_RETRY_INTERVAL_IN_SECONDS, 10 by default (AWS: the template);
// but not past the function's time.
func await(ctx context.Context, r *rotator.Rotation, c *elasticache.Client, u user) error {
	limit, err := r.Settings.Number("MAX_WAITING_TIME_FOR_ACTIVE_IN_SECONDS", 600)
	if err != nil {
		return err
	}
	interval, err := r.Settings.Number("WAITING_RETRY_INTERVAL_IN_SECONDS", 10)
	if err != nil {
		return err
	}
	end := time.Now().Add(time.Duration(limit) * time.Second)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-reserve).Before(end) {
		end = deadline.Add(-reserve)
	}
	for {
		is, err := status(ctx, c, u)
		if err != nil {
			return failed(r, u, "find", err)
		}
		if is == active {
			return nil
		}
		pause := time.Duration(max(interval, 1)) * time.Second
		if time.Now().Add(pause).After(end) {
			f := rotator.NewFailure(rotator.CauseTimeout, "", "its status is still "+is, nil)
			return rotator.Invalid("user %s associated with secret %s did not reached the active status.", u.id, r.SecretID).Because(f)
		}
		r.Logf("user %s not active, waiting.", u.id)
		select {
		case <-ctx.Done():
			return failed(r, u, "wait for", ctx.Err())
		case <-time.After(pause):
		}
	}
}

// status asks for the user's status.
func status(ctx context.Context, c *elasticache.Client, u user) (string, error) {
	out, err := c.DescribeUsers(ctx, &elasticache.DescribeUsersInput{UserId: &u.id})
	if err != nil {
		return "", err
	}
	for _, found := range out.Users {
		if found.UserId != nil && *found.UserId == u.id && found.Status != nil {
			return *found.Status, nil
		}
	}
	return "", &types.UserNotFoundFault{}
}

// client reaches ElastiCache, at AWS_ENDPOINT_URL_ELASTICACHE where that is
// set.
func client(r *rotator.Rotation) *elasticache.Client { return elasticache.NewFromConfig(r.Config) }

// failed makes the error of a call.
func failed(r *rotator.Rotation, u user, verb string, err error) error {
	return rotator.Invalid("Unable to %s user %s associated with secret %s", verb, u.id, r.SecretID).Because(classify(err))
}

// causes are ElastiCache's error codes that say more than that something
// failed.
var causes = map[string]rotator.Cause{
	"UserNotFound": rotator.CauseMissingUser, "UserNotFoundFault": rotator.CauseMissingUser,
	"InvalidUserState": rotator.CauseUnavailable, "InvalidUserStateFault": rotator.CauseUnavailable,
	"InvalidParameterValue": rotator.CausePolicy, "InvalidParameterCombination": rotator.CausePolicy,
	"AccessDenied": rotator.CausePermission, "AccessDeniedException": rotator.CausePermission, "UnauthorizedOperation": rotator.CausePermission,
	"Throttling": rotator.CauseConnections, "ThrottlingException": rotator.CauseConnections, "RequestLimitExceeded": rotator.CauseConnections,
	"InvalidClientTokenId": rotator.CauseAuthentication, "SignatureDoesNotMatch": rotator.CauseAuthentication,
	"ExpiredToken": rotator.CauseAuthentication, "ServiceUnavailable": rotator.CauseUnavailable, "InternalFailure": rotator.CauseUnavailable,
}

// classify sorts a call's failure. The service's text is kept: it names
// parameters, and the journal hides what they hold.
func classify(err error) *rotator.Failure {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return rotator.Classify(err)
	}
	cause, ok := causes[api.ErrorCode()]
	if !ok {
		cause = rotator.CauseOther
	}
	text := api.ErrorMessage()
	if text == "" {
		text = "ElastiCache refuses"
		if cause == rotator.CauseMissingUser {
			text = "ElastiCache has no such user"
		}
	}
	return rotator.NewFailure(cause, api.ErrorCode(), text, err)
}
