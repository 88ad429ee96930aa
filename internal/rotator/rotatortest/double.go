package rotatortest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/keyturn/keyturn/internal/rotator"
)

// SecretsDouble stands in for Secrets Manager in tests of single steps: no
// network, so that it works where time is not real, and no rules beyond those
// that steps rely on. Tests of whole rotations use a server.
type SecretsDouble struct {
	// Disabled says that rotation is turned off for every secret.
	Disabled bool

	mu      sync.Mutex
	secrets map[string]map[string]*doubleVersion // by ARN and version
	calls   []string
}

type doubleVersion struct {
	value  string
	has    bool
	labels []string
}

// NewSecretsDouble makes one without secrets.
func NewSecretsDouble() *SecretsDouble {
	return &SecretsDouble{secrets: map[string]map[string]*doubleVersion{}}
}

// Put stores a version with its labels, which other versions lose. A nil
// value makes a version without one, as a rotation begins with.
func (d *SecretsDouble) Put(arn, version string, value map[string]any, labels ...string) {
	text := ""
	if value != nil {
		b, err := json.Marshal(value)
		if err != nil {
			panic(err) // tests store what JSON can hold
		}
		text = string(b)
	}
	d.PutText(arn, version, text, labels...)
}

// PutText is Put for a text that need not be JSON; "" is no value.
func (d *SecretsDouble) PutText(arn, version, text string, labels ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put(arn, version, text, labels)
}

func (d *SecretsDouble) put(arn, version, text string, labels []string) {
	versions := d.secrets[arn]
	if versions == nil {
		versions = map[string]*doubleVersion{}
		d.secrets[arn] = versions
	}
	for _, v := range versions {
		v.labels = slices.DeleteFunc(v.labels, func(l string) bool { return slices.Contains(labels, l) })
	}
	v := versions[version]
	if v == nil {
		v = &doubleVersion{}
		versions[version] = v
	}
	v.value, v.has = text, text != ""
	v.labels = append(v.labels, labels...)
}

// Text returns the value of the version with a label, "" for none.
func (d *SecretsDouble) Text(arn, label string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v := d.find(arn, "", label); v != nil {
		return v.value
	}
	return ""
}

// Value is Text as a JSON object; nil for none.
func (d *SecretsDouble) Value(arn, label string) map[string]any {
	var value map[string]any
	_ = json.Unmarshal([]byte(d.Text(arn, label)), &value) // what is no object is nil
	return value
}

// Calls are the operations that were called, in order.
func (d *SecretsDouble) Calls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

func (d *SecretsDouble) find(arn, version, label string) *doubleVersion {
	for id, v := range d.secrets[arn] {
		if (version == "" || id == version) && (label == "" || slices.Contains(v.labels, label)) {
			return v
		}
	}
	return nil
}

// Config reaches the double through the SDK.
func (d *SecretsDouble) Config() aws.Config {
	return aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String("http://secrets.double"), HTTPClient: d, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIADOUBLE", "double", ""),
	}
}

// doubleInput has the members of all operations.
type doubleInput struct {
	SecretID            string   `json:"SecretId"`
	VersionID           string   `json:"VersionId"`
	VersionStage        string   `json:"VersionStage"`
	Token               string   `json:"ClientRequestToken"`
	SecretString        string   `json:"SecretString"`
	VersionStages       []string `json:"VersionStages"`
	MoveToVersionID     string   `json:"MoveToVersionId"`
	RemoveFromVersionID string   `json:"RemoveFromVersionId"`
	PasswordLength      int      `json:"PasswordLength"`
	ExcludeCharacters   string   `json:"ExcludeCharacters"`
	ExcludePunctuation  bool     `json:"ExcludePunctuation"`
}

// Do implements aws.HTTPClient.
func (d *SecretsDouble) Do(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	var in doubleInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	_, operation, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, operation)
	out, kind := d.answer(operation, &in)
	status := http.StatusOK
	if kind != "" {
		status, out = http.StatusBadRequest, map[string]any{"__type": kind, "message": kind}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Request: req,
		Body: io.NopCloser(bytes.NewReader(text)), ContentLength: int64(len(text)),
	}, nil
}

// answer runs an operation; kind is the error's type, "" for none.
func (d *SecretsDouble) answer(operation string, in *doubleInput) (out map[string]any, kind string) {
	const notFound = "ResourceNotFoundException"
	if operation == "GetRandomPassword" {
		return map[string]any{"RandomPassword": randomPassword(in)}, ""
	}
	versions := d.secrets[in.SecretID]
	if versions == nil {
		return nil, notFound
	}
	switch operation {
	case "DescribeSecret":
		stages := map[string][]string{}
		for id, v := range versions {
			stages[id] = v.labels
		}
		return map[string]any{"ARN": in.SecretID, "RotationEnabled": !d.Disabled, "VersionIdsToStages": stages}, ""
	case "GetSecretValue":
		v := d.find(in.SecretID, in.VersionID, in.VersionStage)
		if v == nil || !v.has {
			return nil, notFound
		}
		return map[string]any{"ARN": in.SecretID, "SecretString": v.value}, ""
	case "PutSecretValue":
		if v := versions[in.Token]; v != nil && v.has && v.value != in.SecretString {
			return nil, "ResourceExistsException"
		}
		d.put(in.SecretID, in.Token, in.SecretString, in.VersionStages)
		return map[string]any{"ARN": in.SecretID}, ""
	case "UpdateSecretVersionStage":
		from, to := versions[in.RemoveFromVersionID], versions[in.MoveToVersionID]
		if from == nil || to == nil {
			return nil, notFound
		}
		d.put(in.SecretID, in.RemoveFromVersionID, from.value, []string{"AWSPREVIOUS"})
		d.put(in.SecretID, in.MoveToVersionID, to.value, []string{in.VersionStage})
		return map[string]any{"ARN": in.SecretID}, ""
	}
	return nil, "InvalidRequestException"
}

// randomPassword draws characters that the request does not exclude.
func randomPassword(in *doubleInput) string {
	const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	alphabet := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	if !in.ExcludePunctuation {
		alphabet += punctuation
	}
	alphabet = strings.Map(func(c rune) rune {
		if strings.ContainsRune(in.ExcludeCharacters, c) {
			return -1
		}
		return c
	}, alphabet)
	password := []byte("aA1") // each type that every password needs
	for len(password) < in.PasswordLength {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			panic(err) // the system's randomness does not fail
		}
		password = append(password, alphabet[n.Int64()])
	}
	return string(password)
}

// Steps runs a rotator's steps in the test's own process, on a double of
// Secrets Manager.
type Steps struct {
	*SecretsDouble
	Handler *rotator.Handler
	// ARN is the secret's, Token the pending version.
	ARN, Token string
	// Log is what the steps wrote.
	Log bytes.Buffer

	rotations int
}

// NewSteps stores a secret, and that of its superuser unless it is nil, with
// a rotation begun.
func NewSteps(r rotator.Rotator, secret, superuser map[string]any, settings rotator.Settings) *Steps {
	s := &Steps{SecretsDouble: NewSecretsDouble(), ARN: "arn:aws:secretsmanager:us-east-1:123456789012:secret:app-AbCdEf"}
	if superuser != nil {
		const arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:superuser-AbCdEf"
		s.Put(arn, "only", superuser, "AWSCURRENT")
		secret = maps.Clone(secret)
		secret["masterarn"] = arn
	}
	s.Put(s.ARN, "first", secret, "AWSCURRENT")
	s.Handler = &rotator.Handler{Rotator: r, Config: s.Config(), Settings: settings, Log: &s.Log}
	s.Begin()
	return s
}

// Begin begins another rotation.
func (s *Steps) Begin() {
	s.rotations++
	s.Token = fmt.Sprintf("rotation-%d", s.rotations)
	s.Put(s.ARN, s.Token, nil, "AWSPENDING")
}

// Step runs one step.
func (s *Steps) Step(ctx context.Context, step string) error {
	return s.Handler.Handle(ctx, rotator.Event{Step: step, SecretID: s.ARN, Token: s.Token})
}

// Rotate runs all steps, up to one that fails, and begins another rotation.
func (s *Steps) Rotate(ctx context.Context) error {
	for _, step := range steps {
		if err := s.Step(ctx, step); err != nil {
			return err
		}
	}
	s.Begin()
	return nil
}
