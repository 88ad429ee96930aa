package influxdb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// newUser makes a user with a password.
func newUser(t testing.TB, s *server) *rotatortest.Target {
	t.Helper()
	name := rotatortest.Unique(`App "of" Größe`)
	const password = "first-Password:1"
	var user struct{ ID string }
	s.must(t, "POST", "/api/v2/users", map[string]string{"name": name}, &user)
	s.must(t, "POST", "/api/v2/users/"+user.ID+"/password", map[string]string{"password": password}, nil)
	secret := s.at()
	secret["username"], secret["password"] = name, password
	return &rotatortest.Target{
		Secret: secret,
		Login: func(ctx context.Context, secret map[string]any) error {
			return s.signIn(ctx, secret["username"].(string), secret["password"].(string))
		},
	}
}

func TestUser(t *testing.T) {
	s, plain := newServer(t, true), newServer(t, false)
	rotatortest.Suite{
		Rotator: "influxdb.single", Environment: s.environment(),
		New:  func(t testing.TB) *rotatortest.Target { return newUser(t, s) },
		Kill: func(testing.TB) { s.kill() }, Revive: s.revive,
		Faults: []rotatortest.Fault{
			change("wrong password", rotator.CauseAuthentication, "password", "not-the-Password-1"),
			change("user missing", rotator.CauseAuthentication, "username", "nobody"),
			change("host without an address", rotator.CauseDNS, "host", "no-such-host.invalid"),
			change("nothing listens", rotator.CauseTCP, "port", freePort(t)),
			change("plain to a server with TLS", rotator.CauseTLSRequired, "ssl", false),
			{
				Name: "TLS to a server without", Step: "setSecret", Cause: rotator.CauseTLS, Lockout: true, Text: "not enabled", Alone: true,
				Change: func(secret map[string]any) { secret["ssl"], secret["port"] = true, plain.port },
			}, {
				Name: "certificate of another name", Step: "setSecret", Cause: rotator.CauseTLS, Lockout: true, Text: "match localhost", Alone: true,
				Change: func(secret map[string]any) { secret["ssl"], secret["host"] = "TRUE", "localhost" },
			}, {
				Name: "user inactive", Step: "setSecret", Cause: rotator.CauseLocked,
				Break: func(t testing.TB, target *rotatortest.Target) func() {
					set := func(status string) {
						var found struct{ Users []struct{ ID, Name string } }
						s.must(t, "GET", "/api/v2/users?limit=100", nil, &found)
						for _, u := range found.Users {
							if u.Name == target.Secret["username"] {
								s.must(t, "PATCH", "/api/v2/users/"+u.ID, map[string]any{"name": u.Name, "status": status}, nil)
							}
						}
					}
					set("inactive")
					return func() { set("active") }
				},
			},
		},
	}.Run(t)
}

func TestPasswordPolicy(t *testing.T) {
	s := newServer(t, false)
	server := apitest.Start(t, apitest.Options{})
	suite := rotatortest.Suite{Rotator: "influxdb.single", Environment: map[string]string{"PASSWORD_LENGTH": "80"}}
	w := rotatortest.NewWorld(t, server, newUser(t, s), server.NewFunction(t, suite.Function("rotate")))
	lines, err := w.Rotate()
	if log := strings.Join(lines, "\n"); err == nil || !strings.Contains(log, "password policy: passwords must be between 8 and 72 characters long") {
		t.Errorf("got %v\n%s\nwant the server's rule", err, log)
	}
	w.LogsIn("AWSCURRENT", w.Value("AWSCURRENT"))
}

func change(name string, cause rotator.Cause, member string, value any) rotatortest.Fault {
	return rotatortest.Fault{
		Name: name, Step: "setSecret", Cause: cause, Lockout: true, Alone: true,
		Change: func(secret map[string]any) { secret[member] = value },
	}
}

// authorization is a token as the API shows it.
type authorization struct {
	ID, OrgID, UserID, Token, Description string
	Permissions                           json.RawMessage
}

func (s *server) tokens(ctx context.Context, description string) ([]authorization, error) {
	var all, found struct{ Authorizations []authorization }
	if err := s.do(ctx, s.token, "GET", "/api/v2/authorizations", nil, &all); err != nil {
		return nil, err
	}
	for _, a := range all.Authorizations {
		if strings.HasPrefix(a.Description, description) {
			found.Authorizations = append(found.Authorizations, a)
		}
	}
	return found.Authorizations, nil
}

// newToken makes a token that may read one bucket and write notification
// rules.
func newToken(t testing.TB, s *server) (target *rotatortest.Target, description string) {
	t.Helper()
	description = rotatortest.Unique("a token") + "."
	var made authorization
	s.must(t, "POST", "/api/v2/authorizations", map[string]any{
		"orgID": s.orgID, "description": description,
		"permissions": []any{
			map[string]any{"action": "read", "resource": map[string]string{"type": "buckets", "id": s.bucketID, "orgID": s.orgID}},
			map[string]any{"action": "write", "resource": map[string]string{"type": "notificationRules", "orgID": s.orgID}},
		},
	}, &made)
	secret := s.at()
	maps.Copy(secret, map[string]any{"org": s.org, "type": "custom", "token": made.Token})
	return &rotatortest.Target{
		Secret: secret, Sensitive: []string{"token"},
		Superuser: map[string]any{"username": s.adminName, "password": s.adminKey},
		Login: func(ctx context.Context, secret map[string]any) error {
			token, _ := secret["token"].(string)
			return s.do(ctx, token, "GET", "/api/v2/orgs", nil, nil)
		},
		Grants: func(ctx context.Context, _ string) (string, error) {
			tokens, err := s.tokens(ctx, description)
			if err == nil && len(tokens) != 1 {
				err = fmt.Errorf("there are %d tokens", len(tokens))
			}
			if err != nil {
				return "", err
			}
			return tokens[0].UserID + tokens[0].OrgID + string(tokens[0].Permissions), nil
		},
	}, description
}

func TestToken(t *testing.T) {
	s := newServer(t, true)
	rotatortest.Suite{
		Rotator: "influxdb.token", Environment: s.environment(),
		New: func(t testing.TB) *rotatortest.Target {
			target, _ := newToken(t, s)
			return target
		},
		Kill: func(testing.TB) { s.kill() }, Revive: s.revive,
		Faults: []rotatortest.Fault{
			inCreate("wrong token", rotator.CauseMissingUser, "Failed to copy or create a new token.", "token", "no-such-token"),
			inCreate("wrong type", "createSecret", "else is not a valid token type.", "type", "else"),
			inCreate("host without an address", rotator.CauseDNS, "Unable to log into database using credentials in admin secret", "host", "no-such-host.invalid"),
			inCreate("no token", "createSecret", "Authentication creation has not been enabled to allow", "token", ""),
		},
	}.Run(t)
}

// inCreate is a fault of the secret that createSecret finds. Where it is not
// one of the server the cause is only the step.
func inCreate(name string, cause rotator.Cause, text, member string, value any) rotatortest.Fault {
	return rotatortest.Fault{
		Name: name, Step: "createSecret", Cause: cause, Text: text, Lockout: true, Alone: true,
		Change: func(secret map[string]any) { secret[member] = value },
	}
}

// TestTokenIsTakenBack demands that tokens which cannot be stored are deleted,
// by the attempt that made them or by the next one.
func TestTokenIsTakenBack(t *testing.T) {
	s := newServer(t, false)
	target, description := newToken(t, s)
	server := apitest.Start(t, apitest.Options{})
	function := rotatortest.Suite{Rotator: "influxdb.token"}.Function("rotate")
	w := rotatortest.NewWorld(t, server, target, server.NewFunction(t, function))
	deny := `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"secretsmanager:PutSecretValue","Resource":"*"}}`
	_, err := server.IAM.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
		RoleName: aws.String("rotate-role"), PolicyName: aws.String("deny"), PolicyDocument: &deny,
	})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := w.Rotate()
	if err == nil || !strings.Contains(strings.Join(lines, "\n"), "storing the pending value") {
		t.Fatalf("got %v\n%s\nwant the value not to be stored", err, strings.Join(lines, "\n"))
	}
	if tokens, err := s.tokens(t.Context(), description); err != nil || len(tokens) != 1 {
		t.Errorf("got %d tokens and %v after a value that could not be stored, want 1", len(tokens), err)
	}
	pending := versionPending(t, w)
	s.must(t, "POST", "/api/v2/authorizations", map[string]any{
		"orgID": s.orgID, "description": description + " [keyturn " + pending + "]",
		"permissions": []any{map[string]any{"action": "read", "resource": map[string]string{"type": "buckets", "orgID": s.orgID}}},
	}, nil)
	_, err = server.IAM.DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: aws.String("rotate-role"), PolicyName: aws.String("deny")})
	if err != nil {
		t.Fatal(err)
	}
	w.Converge()
	tokens, err := s.tokens(t.Context(), description)
	if err != nil || len(tokens) != 1 || tokens[0].Description != description+" [keyturn "+pending+"]" {
		t.Errorf("got %d tokens and %v, want one with the mark of the rotation", len(tokens), err)
	}
}

func versionPending(t *testing.T, w *rotatortest.World) string {
	t.Helper()
	out, err := w.Secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &w.ARN})
	if err != nil {
		t.Fatal(err)
	}
	for id, labels := range out.VersionIdsToStages {
		if slices.Contains(labels, "AWSPENDING") {
			return id
		}
	}
	t.Fatal("no version is AWSPENDING")
	return ""
}

// TestFirstToken makes tokens from nothing, of a server that a double of
// Timestream for InfluxDB tells the address of.
func TestFirstToken(t *testing.T) {
	s := newServer(t, true)
	double := newTimestreamDouble(t, s)
	for name, tc := range map[string]struct {
		secret map[string]any
		want   string // what the token may do
	}{
		"all":    {map[string]any{"type": "allAccess"}, "replications"},
		"custom": {map[string]any{"type": "custom", "readBuckets": []string{s.bucketID}, "permissions": []string{"read-notificationRules"}}, "notificationRules"},
	} {
		t.Run(name, func(t *testing.T) {
			secret := map[string]any{"engine": "timestream-influxdb", "dbIdentifier": "db-1", "org": s.org}
			maps.Copy(secret, tc.secret)
			target := &rotatortest.Target{
				Secret: secret, Sensitive: []string{"token"}, Superuser: map[string]any{"token": s.token},
				Login: func(ctx context.Context, secret map[string]any) error {
					token, _ := secret["token"].(string)
					return s.do(ctx, token, "GET", "/api/v2/orgs", nil, nil)
				},
			}
			suite := rotatortest.Suite{Rotator: "influxdb.token", Environment: s.environment()}
			suite.Environment["AUTHENTICATION_CREATION_ENABLED"] = "True"
			suite.Environment["AWS_ENDPOINT_URL_TIMESTREAM_INFLUXDB"] = double
			server := apitest.Start(t, apitest.Options{})
			w := rotatortest.NewWorld(t, server, target, server.NewFunction(t, suite.Function("rotate")))
			if lines, err := w.Rotate(); err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
			}
			w.LogsIn("the first token", w.Value("AWSCURRENT"))
			tokens, err := s.tokens(t.Context(), "token of "+s.org)
			if err == nil && !strings.Contains(string(tokens[len(tokens)-1].Permissions), tc.want) {
				err = errors.New("the permissions are not those that the secret names")
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// newTimestreamDouble answers GetDbInstance of Timestream for InfluxDB with
// the server's address.
func newTimestreamDouble(t *testing.T, s *server) string {
	double := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Identifier string }
		err := json.NewDecoder(r.Body).Decode(&in)
		if err != nil || !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetDbInstance") || in.Identifier != "db-1" {
			http.Error(w, `{"__type":"ResourceNotFoundException","message":"no such instance"}`, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		fmt.Fprintf(w, `{"id":"db-1","name":"db","arn":"arn:aws:timestream-influxdb:us-east-1:123456789012:db-instance/db-1",
			"status":"AVAILABLE","vpcSubnetIds":[],"endpoint":"127.0.0.1","port":%d}`, s.port)
	}))
	t.Cleanup(double.Close)
	return double.URL
}
