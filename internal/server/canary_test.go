package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/examples"
	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotate"
	"github.com/keyturn/keyturn/internal/sigv4"
)

// flock is the secrets that must not be found, by what they are.
type flock struct {
	t       *testing.T
	secrets map[string]string
	// decoy is no secret: it must be found, which shows that the search
	// works.
	decoy string
}

// new makes a secret.
func (f *flock) new(what string) string {
	f.secrets[what] = "canary" + rand.Text()
	return f.secrets[what]
}

func (f *flock) add(what, secret string) {
	f.t.Helper()
	if len(secret) < 16 {
		f.t.Fatalf("%s is too short to be searched for", what)
	}
	f.secrets[what] = secret
}

// disguises are the forms in which a secret may be written.
func disguises(secret string) map[string][]byte {
	escaped, _ := json.Marshal(secret)
	forms := map[string][]byte{
		"plain": []byte(secret), "JSON": escaped[1 : len(escaped)-1], "hex": []byte(hex.EncodeToString([]byte(secret))),
		"HEX": []byte(strings.ToUpper(hex.EncodeToString([]byte(secret)))),
	}
	twice, _ := json.Marshal(string(forms["JSON"]))
	forms["JSON in JSON"] = twice[1 : len(twice)-1]
	for shift := range 3 { // the secret inside a longer text
		text := append(bytes.Repeat([]byte{'x'}, shift), secret...)
		whole := len(text) / 3 * 3
		first := 0
		if shift > 0 {
			first = 4
		}
		forms[fmt.Sprint("base64, ", shift)] = []byte(base64.StdEncoding.EncodeToString(text[:whole])[first:])
		forms[fmt.Sprint("base64 for URLs, ", shift)] = []byte(base64.URLEncoding.EncodeToString(text[:whole])[first:])
	}
	return forms
}

// absent demands that no secret is in the bytes.
func (f *flock) absent(where string, b []byte) {
	f.t.Helper()
	for what, secret := range f.secrets {
		for form, text := range disguises(secret) {
			if i := bytes.Index(b, text); i >= 0 {
				f.t.Errorf("%s holds %s (%s): …%q", where, what, form, b[max(0, i-80):min(len(b), i+len(text)+20)])
			}
		}
	}
}

// absentBelow demands that no secret is in any file of a folder.
func (f *flock) absentBelow(dir string) {
	f.t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil // gone meanwhile
		}
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		found = found || bytes.Contains(b, []byte(f.decoy))
		f.absent(path, b)
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if !found {
		f.t.Error("the decoy is in no file: the search shows nothing")
	}
}

// TestDisguises makes sure that the search finds what it is to find.
func TestDisguises(t *testing.T) {
	const secret = `can"ary<&>é\7890`
	for _, text := range []string{
		secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte("a" + secret + "b")), base64.RawURLEncoding.EncodeToString([]byte("ab" + secret)),
		string(must(json.Marshal(secret))), string(must(json.Marshal(string(must(json.Marshal(secret)))))),
	} {
		found := false
		for _, form := range disguises(secret) {
			found = found || strings.Contains(text, string(form))
		}
		if !found {
			t.Errorf("%s is not found", text)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// victim is a server whose every trace is searched.
type victim struct {
	*flock
	*apitest.Process
	db   string // of the function's, for RotationTokens
	conn *pgx.Conn
	user apitest.User
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	server := apitest.Database(t)
	v := &victim{
		flock: &flock{t: t, secrets: map[string]string{}, decoy: "decoy" + rand.Text()}, db: fmt.Sprintf("seen_%d", time.Now().UnixNano()),
		Process: apitest.StartProcess(t, apitest.Options{Interpreters: apitest.Interpreters(t), CABundle: []string{server.CAFile}}),
	}
	v.user = apitest.NewUser(t, server)
	apitest.Exec(t, server, "CREATE DATABASE "+v.db)
	conn, err := pgx.Connect(t.Context(), server.URL("postgres", server.Password, v.db))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	v.conn = conn
	if _, err := conn.Exec(t.Context(), "CREATE TABLE seen (token text)"); err != nil {
		t.Fatal(err)
	}
	v.add("the root's secret key", apitest.SecretKey)
	return v
}

// function makes the function of testdata/canary.py.
func (v *victim) function(name string, variables map[string]string) string {
	v.t.Helper()
	wrapper := must(os.ReadFile("testdata/canary.py"))
	example := must(examples.Files.ReadFile("postgres-python/lambda_function.py"))
	runtime, _ := apitest.Python(v.t)
	server := apitest.Database(v.t)
	v.secrets["the password in a function's environment"] = server.Password
	f := apitest.Function{
		Name: name, Runtime: runtime, Handler: "canary.lambda_handler",
		Code: apitest.Zip(v.t, map[string][]byte{"canary.py": wrapper, "lambda_function.py": example}),
		Environment: map[string]string{
			"RECORD": fmt.Sprintf("host=%s port=%d user=postgres password=%s dbname=%s sslmode=require", server.Host, server.Port, server.Password, v.db),
		},
	}
	for key, value := range variables {
		f.Environment[key] = value
	}
	return v.NewFunction(v.t, f)
}

// ok demands that a call succeeded.
func ok[Out any](t *testing.T) func(out *Out, err error) *Out {
	return func(out *Out, err error) *Out {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// send sends a request as it is, signed unless asked otherwise, and returns
// the status.
func (v *victim) send(service, target, contentType, path, body string, signed bool) int {
	v.t.Helper()
	r := must(http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.URL+path, strings.NewReader(body)))
	r.Header.Set("Content-Type", contentType)
	if target != "" {
		r.Header.Set("X-Amz-Target", target)
	}
	if signed {
		c := sigv4.Credentials{AccessKeyID: apitest.AccessKey, SecretAccessKey: apitest.SecretKey}
		if err := sigv4.Sign(r, []byte(body), c, apitest.Region, service, time.Now()); err != nil {
			v.t.Fatal(err)
		}
	}
	res := must(http.DefaultClient.Do(r))
	defer res.Body.Close()
	must(io.Copy(io.Discard, res.Body))
	return res.StatusCode
}

// create makes the database user's secret, whose name ends with the decoy.
func (v *victim) create(name string) string {
	v.t.Helper()
	return *ok[secretsmanager.CreateSecretOutput](v.t)(v.Secrets.CreateSecret(v.t.Context(), &secretsmanager.CreateSecretInput{
		Name: aws.String(name + v.decoy), SecretString: aws.String(v.user.Value(v.user.Password)),
	})).ARN
}

// rotateAndWatch rotates and returns what the watch shows and its error.
func (v *victim) rotateAndWatch(secret string) (string, error) {
	v.t.Helper()
	r, err := rotate.Start(v.t.Context(), rotate.NewClients(v.Config), secret)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	var shown strings.Builder
	err = r.Watch(ctx, func(l rotate.Line) {
		if l.Report != nil { // what the function printed is its own
			fmt.Fprintln(&shown, l.Text())
		}
	})
	return shown.String(), err
}

// learn adds the values of all versions of a secret, and the RotationTokens,
// to the flock.
func (v *victim) learn(arn string) {
	v.t.Helper()
	list := ok[secretsmanager.ListSecretVersionIdsOutput](v.t)(v.Secrets.ListSecretVersionIds(v.t.Context(), &secretsmanager.ListSecretVersionIdsInput{
		SecretId: &arn, IncludeDeprecated: aws.Bool(true),
	}))
	for _, version := range list.Versions {
		out, err := v.Secrets.GetSecretValue(v.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &arn, VersionId: version.VersionId})
		if err == nil {
			v.add("the password in version "+*version.VersionId, apitest.PasswordIn(v.t, *out.SecretString))
		}
	}
	rows := must(v.conn.Query(v.t.Context(), "SELECT DISTINCT token FROM seen"))
	for i, token := range must(pgx.CollectRows(rows, pgx.RowTo[string])) {
		v.add(fmt.Sprint("rotation token ", i), token)
	}
}

// answers collects what the server tells about itself.
func (v *victim) answers() []byte {
	v.t.Helper()
	var all bytes.Buffer
	add := func(x any, err error) {
		v.t.Helper()
		if err != nil {
			v.t.Fatal(err)
		}
		all.Write(must(json.Marshal(x)))
	}
	events := cloudtrail.NewLookupEventsPaginator(v.Trail, &cloudtrail.LookupEventsInput{})
	n := 0
	for events.HasMorePages() {
		page, err := events.NextPage(v.t.Context())
		if err != nil {
			v.t.Fatal(err)
		}
		for _, e := range page.Events {
			n++
			fmt.Fprintln(&all, *e.EventName, aws.ToString(e.CloudTrailEvent))
		}
	}
	if n < 3 {
		v.t.Errorf("the trail has %d events only", n)
	}
	list, err := v.Secrets.ListSecrets(v.t.Context(), &secretsmanager.ListSecretsInput{IncludePlannedDeletion: aws.Bool(true)})
	add(list, err)
	for _, s := range list.SecretList {
		add(v.Secrets.DescribeSecret(v.t.Context(), &secretsmanager.DescribeSecretInput{SecretId: s.ARN}))
		add(v.Secrets.ListSecretVersionIds(v.t.Context(), &secretsmanager.ListSecretVersionIdsInput{SecretId: s.ARN, IncludeDeprecated: aws.Bool(true)}))
	}
	reports, err := v.Logs.FilterLogEvents(v.t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String(rotate.EngineGroup)})
	if _, none := errors.AsType[*logtypes.ResourceNotFoundException](err); !none { // none before the first report
		add(reports, err)
	}
	for _, path := range []string{"/health", "/metrics"} {
		res := must(http.Get(v.URL + path))
		must(all.ReadFrom(res.Body))
		res.Body.Close()
	}
	return all.Bytes()
}
