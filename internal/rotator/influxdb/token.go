package influxdb

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// Token replaces a token by a new one with the same permissions. The server
// chooses tokens, so the new one is made in createSecret, and the old one
// deleted once the label has moved. An admin, whose secret adminSecretArn (or
// masterarn) names, does all the work.
type Token struct{}

// NewToken makes the rotator.
func NewToken() rotator.Rotator { return Token{} }

// tokenKind and adminKind are what the secrets need to say.
var (
	tokenKind = rotator.Kind{Title: "InfluxDB", Accepts: []string{timestream, "influxdb"}, Required: []string{"org", "type"}, Port: 8086}
	adminKind = rotator.Kind{Title: "InfluxDB", Accepts: []string{timestream, "influxdb"}, Required: []string{}, Port: 8086}
)

// types are the values of the member type.
const (
	operator  = "operator"
	allAccess = "allAccess"
	custom    = "custom"
)

// tokenLogin reads a version of the secret.
func tokenLogin(d *rotator.Document) (rotator.Login, error) {
	l, err := tokenKind.Login(d.Without("username"))
	if err != nil {
		return l, err
	}
	switch t := d.Text("type"); t {
	case operator, allAccess, custom:
	default:
		return l, rotator.Invalid("%s is not a valid token type.", t)
	}
	l.Username = "token of " + d.Text("org")
	return l, nil
}

// admin logs in with the admin's secret, to the server of the token's.
func admin(ctx context.Context, r *rotator.Rotation, cur rotator.Login) (*session, error) {
	arn := cur.Document.Text("adminSecretArn")
	if arn == "" {
		arn = cur.Document.Text("masterarn")
	}
	if arn == "" {
		return nil, rotator.MissingKey("adminSecretArn")
	}
	d, err := r.DocumentOf(ctx, arn)
	if err != nil {
		return nil, err
	}
	if d.Text("username") == "" && d.Text("token") == "" {
		return nil, rotator.MissingKey("username")
	}
	for _, member := range []string{"dbIdentifier", "host"} {
		if there := d.Text(member); there != "" && there != cur.Document.Text(member) {
			return nil, rotator.Invalid("Current DB %s is not the same DB as that of admin secret %s", cur.Document.Text(member), there)
		}
	}
	// Where it is, is as the token's secret says.
	at := cur.Document.Without("token").Without("username").Without("password")
	for _, member := range []string{"username", "password", "token"} {
		if d.Has(member) && (member != "token" || d.Text("username") == "") {
			at = at.With(member, d.Secret(member))
		}
	}
	l, err := adminKind.Login(at)
	if err != nil {
		return nil, err
	}
	if l.Username == "" {
		l.Username = "token of the admin"
	}
	s, err := connect(ctx, r, l, "admin's")
	if f, ok := errors.AsType[*rotator.Failure](err); ok {
		return nil, rotator.Invalid("Unable to log into database using credentials in admin secret %s", arn).Because(f)
	}
	return s, err
}

func connect(ctx context.Context, r *rotator.Rotation, l rotator.Login, label string) (*session, error) {
	s, err := r.Connect(ctx, Engine{}, l, label)
	if err != nil {
		return nil, err
	}
	return s.(*session), nil
}

// Create implements rotator.Rotator.
func (Token) Create(ctx context.Context, r *rotator.Rotation) (plaintext.Value, error) {
	d, err := r.Current(ctx)
	if err != nil {
		return plaintext.Value{}, err
	}
	cur, err := tokenLogin(d)
	if err != nil {
		return plaintext.Value{}, err
	}
	if err := mayCreate(r, d); err != nil {
		return plaintext.Value{}, err
	}
	r.Plan(1)
	s, err := admin(ctx, r, cur)
	if err != nil {
		return plaintext.Value{}, err
	}
	defer s.end(ctx)
	fresh, err := s.replacement(ctx, r, d)
	if err != nil {
		return plaintext.Value{}, failed(err, "Failed to copy or create a new token.")
	}
	r.Hide(fresh.Token.Value)
	r.Undo(func(ctx context.Context) error {
		again, err := admin(ctx, r, cur)
		if err != nil {
			return err
		}
		defer again.end(ctx)
		return again.deleteAuthorization(ctx, fresh.ID)
	})
	return d.With("token", fresh.Token.Value).Value(), nil
}

// mayCreate tells whether a token may be made from nothing.
func mayCreate(r *rotator.Rotation, d *rotator.Document) error {
	switch {
	case d.Text("token") != "":
		return nil
	case d.Text("type") == operator:
		return rotator.Invalid("The token value must be set when rotating an operator token.")
	case !strings.EqualFold(r.Settings.Text("AUTHENTICATION_CREATION_ENABLED", ""), "true"):
		return rotator.Invalid("Authentication creation has not been enabled to allow the Lambda function to create tokens.")
	}
	return nil
}

// failed puts a text before a failure of the server; other errors stay.
func failed(err error, text string) error {
	if f, ok := errors.AsType[*rotator.Failure](err); ok {
		return rotator.Invalid("%s", text).Because(f)
	}
	return err
}

// replacement makes the new token, and deletes those that earlier attempts of
// this rotation made and could not store.
func (s *session) replacement(ctx context.Context, r *rotator.Rotation, d *rotator.Document) (authorization, error) {
	all, err := s.authorizations(ctx)
	if err != nil {
		return authorization{}, err
	}
	next, err := s.model(ctx, d, all)
	if err != nil {
		return authorization{}, err
	}
	mark := " [keyturn " + r.Token + "]"
	for _, a := range all {
		if strings.HasSuffix(a.Description, mark) {
			if err := s.deleteAuthorization(ctx, a.ID); err != nil {
				return authorization{}, err
			}
			r.Logf("Deleted a token of an earlier attempt.")
		}
	}
	next.Description = unmarked(next.Description) + mark
	return s.createAuthorization(ctx, next)
}

// unmarked takes the mark of a rotation off a description.
func unmarked(description string) string {
	if i := strings.LastIndex(description, " [keyturn "); i >= 0 && strings.HasSuffix(description, "]") {
		return description[:i]
	}
	return description
}

// model is what the new token has to be: as the current one, or as the secret
// says.
func (s *session) model(ctx context.Context, d *rotator.Document, all []authorization) (authorization, error) {
	if token := d.Secret("token"); token.Len() > 0 {
		if old := find(all, token); old != nil {
			return authorization{OrgID: old.OrgID, UserID: old.UserID, Description: old.Description, Permissions: old.Permissions, Status: "active"}, nil
		}
		return authorization{}, rotator.NewFailure(rotator.CauseMissingUser, "",
			"the current token does not exist, or the admin may not see it, or the server does not show its tokens", nil)
	}
	orgID, err := s.orgID(ctx, d.Text("org"))
	if err != nil {
		return authorization{}, err
	}
	permissions, err := wanted(d, orgID)
	if err != nil {
		return authorization{}, err
	}
	return authorization{OrgID: orgID, Description: "token of " + d.Text("org"), Permissions: permissions, Status: "active"}, nil
}

// Set implements rotator.Rotator. The token works already: it is checked that
// the pending version does not name one of somebody else's.
func (Token) Set(ctx context.Context, r *rotator.Rotation) error {
	d, err := r.Current(ctx)
	if err != nil {
		return err
	}
	next, err := r.Pending(ctx)
	if err != nil {
		return err
	}
	cur, err := tokenLogin(d)
	if err != nil {
		return err
	}
	if err := sameDB(d, next, "token"); err != nil {
		return err
	}
	for _, member := range []string{"org", "type"} {
		if d.Text(member) != next.Text(member) {
			return rotator.Invalid("Attempting to modify token of %s %s other than current %s %s.", member, next.Text(member), member, d.Text(member))
		}
	}
	r.Plan(1)
	s, err := admin(ctx, r, cur)
	if err != nil {
		return err
	}
	defer s.end(ctx)
	all, err := s.authorizations(ctx)
	if err != nil {
		return failed(err, "Unable to list the tokens.")
	}
	return checkPair(find(all, d.Secret("token")), find(all, next.Secret("token")), d.Text("token") != "")
}

// checkPair demands that the pending token may what the current one may, for
// the same user.
func checkPair(old, next *authorization, had bool) error {
	switch {
	case next == nil:
		return rotator.Invalid("The pending token cannot be used").Because(
			rotator.NewFailure(rotator.CauseMissingUser, "", "it does not exist, or the admin may not see it", nil))
	case !had:
		return nil
	case old == nil:
		return rotator.Invalid("The current token cannot be compared").Because(
			rotator.NewFailure(rotator.CauseMissingUser, "", "it does not exist, or the admin may not see it", nil))
	case old.UserID != next.UserID || old.OrgID != next.OrgID:
		return rotator.Invalid("The pending token is not of the user and the organization of the current one.")
	case !samePermissions(old.Permissions, next.Permissions):
		return rotator.Invalid("The pending token has other permissions than the current one.")
	}
	return nil
}

// Test implements rotator.Rotator.
func (Token) Test(ctx context.Context, r *rotator.Rotation) error {
	d, err := r.Pending(ctx)
	if err != nil {
		return err
	}
	next, err := tokenLogin(d)
	if err != nil {
		return err
	}
	if d.Text("token") == "" {
		return rotator.MissingKey("token")
	}
	r.Plan(1)
	s, err := connect(ctx, r, next, "pending")
	if err != nil {
		return failed(err, fmt.Sprintf("Failed to set new authorization with secret ARN %s", r.SecretID))
	}
	defer s.end(ctx)
	r.Logf("Successfully signed into InfluxDB with AWSPENDING secret in %s.", r.SecretID)
	return nil
}

// Finish implements rotator.Finisher: it deletes the token before, if that is
// still there.
func (Token) Finish(ctx context.Context, r *rotator.Rotation) error {
	d, err := r.Current(ctx)
	if err != nil {
		return err
	}
	old, err := r.Previous(ctx)
	if err != nil || old == nil {
		return err
	}
	token := old.Secret("token")
	if token.Len() == 0 || token.Equal(d.Secret("token")) || sameDB(d, old, "token") != nil {
		return nil
	}
	cur, err := tokenLogin(d)
	if err != nil {
		return err
	}
	r.Plan(1)
	s, err := admin(ctx, r, cur)
	if err != nil {
		return err
	}
	defer s.end(ctx)
	all, err := s.authorizations(ctx)
	if err != nil {
		return failed(err, "Unable to list the tokens.")
	}
	found := find(all, token)
	if found == nil {
		r.Logf("The token of the previous version is not there any more.")
		return nil
	}
	if err := s.deleteAuthorization(ctx, found.ID); err != nil {
		return failed(err, "Unable to delete the token of the previous version.")
	}
	r.Logf("Deleted the token of the previous version.")
	return nil
}

// end closes a session whose work is done or has failed by itself.
func (s *session) end(ctx context.Context) { _ = s.Close(context.WithoutCancel(ctx)) }

// authorization is a token as the API has it.
type authorization struct {
	ID          string       `json:"id,omitempty"`
	OrgID       string       `json:"orgID"`
	UserID      string       `json:"userID,omitempty"`
	Token       tokenText    `json:"token,omitzero"`
	Status      string       `json:"status"`
	Description string       `json:"description"`
	Permissions []permission `json:"permissions"`
}

// tokenText is read from JSON, and never written.
type tokenText struct{ plaintext.Value }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *tokenText) UnmarshalText(b []byte) error {
	t.Value = plaintext.Of(string(b))
	return nil
}

// IsZero keeps an unknown token out of JSON.
func (t tokenText) IsZero() bool { return t.Len() == 0 }

func find(all []authorization, token plaintext.Value) *authorization {
	for i := range all {
		if token.Len() > 0 && all[i].Token.Equal(token) {
			return &all[i]
		}
	}
	return nil
}

func (s *session) authorizations(ctx context.Context) ([]authorization, error) {
	var all struct{ Authorizations []authorization }
	err := s.call(ctx, "GET", "/api/v2/authorizations", nil, &all)
	return all.Authorizations, err
}

func (s *session) createAuthorization(ctx context.Context, a authorization) (authorization, error) {
	var made authorization
	err := s.call(ctx, "POST", "/api/v2/authorizations", a, &made)
	if err == nil && made.Token.Len() == 0 {
		err = rotator.NewFailure(rotator.CauseOther, "", "the server made a token and does not show it", nil)
	}
	return made, err
}

// deleteAuthorization deletes a token; one that is gone is deleted.
func (s *session) deleteAuthorization(ctx context.Context, id string) error {
	err := s.call(ctx, "DELETE", "/api/v2/authorizations/"+url.PathEscape(id), nil, nil)
	if gone(err) {
		return nil
	}
	return err
}
