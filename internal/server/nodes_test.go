package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/apitest"
)

// twoNodes starts two processes with folders of their own on one PostgreSQL
// and under one root key.
func twoNodes(t *testing.T, o apitest.Options) (a, b *apitest.Process) {
	t.Helper()
	if o.StoreURL == "" {
		o.StoreURL = apitest.StoreURL(t)
	}
	a = apitest.StartProcess(t, o)
	return a, secondNode(t, a, o)
}

// secondNode starts a node beside another.
func secondNode(t *testing.T, first *apitest.Process, o apitest.Options) *apitest.Process {
	t.Helper()
	o.Dir = t.TempDir()
	rootKey, err := os.ReadFile(filepath.Join(first.Dir, "root.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(o.Dir, "root.key"), rootKey, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return apitest.StartProcess(t, o)
}

// Whatever was made on one node is there on the other with the next call; a
// value that the other has in memory is replaced within the bound.
func TestAnyNodeServesAnyRequest(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	ctx, name := t.Context(), aws.String("app")
	if _, err := a.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: name, SecretString: aws.String("0")}); err != nil {
		t.Fatal(err)
	}
	nodes, value := []*apitest.Process{a, b}, ""
	for i := 1; i <= 6; i++ {
		writer, reader := nodes[i%2], nodes[(i+1)%2]
		put, err := writer.Secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: name, SecretString: aws.String(fmt.Sprint(i))})
		if err != nil {
			t.Fatal(err)
		}
		// By its version's ID it is not in memory: there is nothing to wait for.
		got, err := reader.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: name, VersionId: put.VersionId})
		if err != nil || *got.SecretString != fmt.Sprint(i) {
			t.Errorf("the version that the other node stored just now: got %v", err)
		}
		for stored := time.Now(); ; {
			late := time.Since(stored) > changesHeard
			got, err := reader.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: name})
			if err != nil {
				t.Fatal(err)
			}
			if value = *got.SecretString; late || value == fmt.Sprint(i) {
				break
			}
		}
		if value != fmt.Sprint(i) {
			t.Errorf("got value %s %v after another node stored %d", value, changesHeard, i)
		}
	}
	function := a.NewFunction(t, apitest.PythonCode(t, "where", "def lambda_handler(event, context):\n    return event['n'] + 1\n"))
	out, err := b.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: []byte(`{"n":41}`)})
	if err != nil || string(out.Payload) != "42" {
		t.Errorf("a function made on the other node: got %v, %v", out, err)
	}
	user := a.NewUser(t, "ann")
	user.BaseEndpoint = &b.URL
	if _, err := iam.NewFromConfig(user).GetUser(ctx, &iam.GetUserInput{}); err == nil || !strings.Contains(err.Error(), "is not authorized to perform: iam:GetUser") {
		t.Errorf("a user made on the other node: got %v, want a refusal by its policies", err)
	}
	events, err := b.Trail.LookupEvents(ctx, &cloudtrail.LookupEventsInput{LookupAttributes: []trailtypes.LookupAttribute{
		{AttributeKey: trailtypes.LookupAttributeKeyEventName, AttributeValue: aws.String("CreateSecret")}}})
	if err != nil || len(events.Events) != 1 {
		t.Errorf("the other node's events: got %v, %v", events, err)
	}
}

// A newer program that adds to the schema leaves older ones at work: beside it
// they go on serving, also what the newer one stores, and one that starts
// anew says what is the matter.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	o := apitest.Options{StoreURL: apitest.StoreURL(t)}
	a, b := twoNodes(t, o)
	ctx, name := t.Context(), aws.String("app")
	if _, err := a.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: name, SecretString: aws.String("before")}); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, o.StoreURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	// What a migration may do: new tables, columns with a default, indexes.
	_, err = conn.Exec(ctx, `BEGIN;
		ALTER TABLE secret ADD COLUMN novelty text NOT NULL DEFAULT '';
		ALTER TABLE version ADD COLUMN novelty bigint NOT NULL DEFAULT 0;
		ALTER TABLE rotation ADD COLUMN novelty bigint NOT NULL DEFAULT 0;
		ALTER TABLE trail_event ADD COLUMN novelty bigint;
		CREATE TABLE novelty (id bigint PRIMARY KEY);
		CREATE INDEX secret_novelty ON secret (novelty);
		INSERT INTO schema_version (version, applied_at) SELECT max(version) + 1, 0 FROM schema_version;
		COMMIT`)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range []*apitest.Process{a, b} {
		value := fmt.Sprintf("on-node-%d", i)
		if _, err := n.Secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: name, SecretString: &value}); err != nil {
			t.Fatalf("an older node beside the newer schema: %v", err)
		}
		got, err := n.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: name})
		if err != nil || *got.SecretString != value {
			t.Errorf("got %v, want what was stored", err)
		}
		if _, err := n.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &value, SecretString: &value}); err != nil {
			t.Error(err)
		}
	}
	b.Stop()
	said := b.Refuse()
	for _, want := range []string{"the database was made by a newer keyturn", "use that version"} {
		if !strings.Contains(said, want) {
			t.Errorf("an older program that starts: got %s, want %q in it", said, want)
		}
	}
	if _, err := a.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: name}); err != nil {
		t.Errorf("the node that was not restarted: %v", err)
	}
}
