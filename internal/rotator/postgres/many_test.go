package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// Many secrets are due at once, and their function may have few execution
// environments: every secret is rotated, once, without a failed attempt, and
// the database sees no more connections than that. make bench does the same
// with 1,000.
func TestManySecretsFewConnections(t *testing.T) {
	const secrets, connections = 60, 4
	s, db := apitest.Start(t, apitest.Options{}), start(t, pgserver.Config{TLS: true})
	function := s.NewFunction(t, apitest.Function{
		Name: "many", Runtime: "provided.al2023", Handler: builtin.Handler("postgres.single"), Code: apitest.Zip(t, nil),
		Environment: map[string]string{"KEYTURN_CA_BUNDLE": rotatortest.PEM(t, db.CAFile)},
	})
	_, err := s.Lambda.PutFunctionConcurrency(t.Context(), &lambda.PutFunctionConcurrencyInput{
		FunctionName: &function, ReservedConcurrentExecutions: aws.Int32(connections),
	})
	if err != nil {
		t.Fatal(err)
	}
	users := map[string]apitest.User{}
	for i := range secrets {
		user := apitest.NewUser(t, db)
		name := fmt.Sprintf("app/%d", i)
		users[name] = user
		_, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String(user.Value(user.Password))})
		if err != nil {
			t.Fatal(err)
		}
	}
	most := watchConnections(t, db)
	for name := range users {
		_, err := s.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{
			SecretId: &name, RotationLambdaARN: &function, RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, user := range users {
		rotatedOnce(t, s, name, user)
	}
	if n := most(); n == 0 || n > connections {
		t.Errorf("the database saw %d connections at a time, want 1 to %d", n, connections)
	}
	for event, want := range map[string]int{"RotationStarted": secrets, "RotationSucceeded": secrets, "RotationFailed": 0} {
		if got := events(t, s, event); got != want {
			t.Errorf("got %d events %s, want %d", got, event, want)
		}
	}
}

// rotatedOnce waits for a secret's rotation and demands two versions, the
// new one of which logs in.
func rotatedOnce(t *testing.T, s *apitest.Server, name string, user apitest.User) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		out, err := s.Secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &name})
		if err != nil {
			t.Fatal(err)
		}
		labels, err := json.Marshal(out.VersionIdsToStages)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(labels), "AWSPENDING") && out.LastRotatedDate != nil {
			if len(out.VersionIdsToStages) != 2 {
				t.Errorf("%s has the versions %s, want a new one and the one before", name, labels)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the rotation of %s does not end: %s", name, labels)
		}
	}
	out, err := s.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &name})
	if err != nil {
		t.Fatal(err)
	}
	fresh := apitest.PasswordIn(t, *out.SecretString)
	if fresh == user.Password || user.Login(t.Context(), fresh) != nil {
		t.Errorf("the new password of %s does not log in, or is the old one", name)
	}
}

// watchConnections counts the rotators' connections over and over until its
// result is called, which returns the most at a time.
func watchConnections(t *testing.T, db *pgserver.Server) (most func() int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	n := 0
	var watching sync.WaitGroup
	watching.Go(func() {
		defer conn.Close(context.WithoutCancel(ctx))
		for ctx.Err() == nil {
			var now int
			const count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'keyturn-rotator'"
			if err := conn.QueryRow(ctx, count).Scan(&now); err != nil && ctx.Err() == nil {
				t.Errorf("looking at the connections: %v", err)
				return
			}
			n = max(n, now)
			time.Sleep(2 * time.Millisecond)
		}
	})
	return func() int {
		stop()
		watching.Wait()
		return n
	}
}

// events counts the trail's events of a name.
func events(t *testing.T, s *apitest.Server, name string) (n int) {
	t.Helper()
	pages := cloudtrail.NewLookupEventsPaginator(s.Trail, &cloudtrail.LookupEventsInput{
		LookupAttributes: []trailtypes.LookupAttribute{{AttributeKey: trailtypes.LookupAttributeKeyEventName, AttributeValue: &name}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Events)
	}
	return n
}
