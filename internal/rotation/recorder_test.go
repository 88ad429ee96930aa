package rotation_test

import (
	"fmt"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/apitest"
)

// recorder is a database in which the function of testdata/recorder.py
// records the steps that it runs.
type recorder struct {
	t    testing.TB
	name string
	conn *pgx.Conn
}

// row is one run of a step.
type row struct {
	Secret, Token, Name string
	// Node is the URL by which the function reached its server.
	Node  string
	Began time.Time
	// Ended is nil for a step that was cut off.
	Ended *time.Time
}

func newRecorder(t testing.TB) *recorder {
	t.Helper()
	db := apitest.Database(t)
	r := &recorder{t: t, name: fmt.Sprintf("steps_%d", time.Now().UnixNano())}
	apitest.Exec(t, db, "CREATE DATABASE "+r.name)
	conn, err := pgx.Connect(t.Context(), db.URL("postgres", db.Password, r.name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(t.Context()) })
	r.conn = conn
	_, err = conn.Exec(t.Context(), `CREATE TABLE step (id serial PRIMARY KEY, secret text, token text, name text, node text,
		began timestamptz DEFAULT clock_timestamp(), ended timestamptz)`)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// function is the recording function; variables are added to its own.
func (r *recorder) function(name string, variables map[string]string) apitest.Function {
	r.t.Helper()
	source, err := os.ReadFile("testdata/recorder.py")
	if err != nil {
		r.t.Fatal(err)
	}
	db := apitest.Database(r.t)
	f := apitest.PythonCode(r.t, name, string(source))
	f.Environment = map[string]string{
		"RECORD": fmt.Sprintf("host=%s port=%d user=postgres password=%s dbname=%s sslmode=require", db.Host, db.Port, db.Password, r.name),
	}
	maps.Copy(f.Environment, variables)
	return f
}

// rows returns the steps that ran so far, in order.
func (r *recorder) rows() []row {
	r.t.Helper()
	found, err := r.conn.Query(r.t.Context(), "SELECT secret, token, name, node, began, ended FROM step ORDER BY id")
	if err != nil {
		r.t.Fatal(err)
	}
	list, err := pgx.CollectRows(found, pgx.RowToStructByPos[row])
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

// steps returns the names of the steps that ran for a token, each marked if
// it was cut off.
func (r *recorder) steps(token string) (names []string) {
	r.t.Helper()
	for _, row := range r.rows() {
		if row.Token == token {
			if row.Ended == nil {
				row.Name += " (cut off)"
			}
			names = append(names, row.Name)
		}
	}
	return names
}

// plain makes a secret that no database knows of.
func plain(t testing.TB, s *apitest.Server, name string) *world {
	t.Helper()
	out, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("first")})
	if err != nil {
		t.Fatal(err)
	}
	return &world{Server: s, t: t, arn: *out.ARN}
}

// begin starts a rotation and returns its token.
func (w *world) begin(function string) string {
	w.t.Helper()
	out, err := w.Secrets.RotateSecret(w.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &w.arn, RotationLambdaARN: &function})
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.VersionId
}

// rotatedTo tells whether a rotation is complete.
func (w *world) rotatedTo(token string) bool {
	w.t.Helper()
	holders := w.holders()
	return len(holders["AWSCURRENT"]) == 1 && holders["AWSCURRENT"][0] == token && len(holders["AWSPENDING"]) == 0
}
