//go:build linux

package environment

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestMain(m *testing.M) {
	LaunchIfAsked()
	os.Exit(m.Run())
}

const python = "python3.11"

// kit is a pool under test with everything its functions have logged.
type kit struct {
	*Pool
	t    *testing.T
	stop func()

	mu   sync.Mutex
	logs map[string][]Entry // by group and stream
}

// newKit starts a pool that ends with the test.
func newKit(t *testing.T, change func(*Config)) *kit {
	t.Helper()
	k := &kit{t: t, logs: map[string][]Entry{}}
	cfg := Config{
		Dir: t.TempDir() + "/functions", EndpointURL: "http://127.0.0.1:4566", Grace: 5 * time.Second,
		Logs:   k.log,
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
		Credentials: func(context.Context, Spec) (Credentials, error) {
			return Credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: "secret-example", SessionToken: "token-example"}, nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	k.Pool = p
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	k.stop = func() { cancel(); <-done }
	t.Cleanup(func() { k.stop(); removeTree(cfg.Dir) })
	return k
}

// testWriter passes the pool's own messages to the test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (k *kit) log(spec Spec, _ Credentials, stream string, entries []Entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := spec.LogGroup + " " + stream
	k.logs[name] = append(k.logs[name], entries...)
}

// text joins what was logged, stream by stream.
func (k *kit) text() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(k.logs)) {
		for _, e := range k.logs[name] {
			b.WriteString(e.Message)
		}
	}
	return b.String()
}

// messages returns what one function's streams hold, entry by entry.
func (k *kit) messages() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(k.logs)) {
		for _, e := range k.logs[name] {
			all = append(all, e.Message)
		}
	}
	return all
}

// files are the contents of a package by name; a name that ends in "*" is
// executable.
type files map[string]string

func (f files) zip(t testing.TB) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(f)) {
		h := &zip.FileHeader{Name: strings.TrimSuffix(name, "*"), Method: zip.Deflate}
		h.SetMode(0o644)
		if strings.HasSuffix(name, "*") {
			h.SetMode(0o755)
		}
		out, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(out, f[name])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func packageOf(data []byte) Package {
	sum := sha256.Sum256(data)
	return Package{SHA256: hex.EncodeToString(sum[:]), Open: func(context.Context) (io.ReaderAt, int64, error) {
		return bytes.NewReader(data), int64(len(data)), nil
	}}
}

// spec is a function of the given code; change may be nil.
func spec(t testing.TB, code files, change func(*Spec)) Spec {
	t.Helper()
	s := Spec{
		FunctionName: "rotator", FunctionARN: "arn:aws:lambda:us-east-1:123456789012:function:rotator",
		Version: "$LATEST", Account: "123456789012", Region: "us-east-1",
		Runtime: python, Handler: "lambda_function.lambda_handler", Timeout: 20 * time.Second, MemoryMB: 256,
		RevisionID: uuid.NewString(), RoleARN: "arn:aws:iam::123456789012:role/r",
		Code: packageOf(code.zip(t)),
	}
	if change != nil {
		change(&s)
	}
	return s
}

// py is a Python function whose handler has this body; lines before "---"
// stand at the top of the module.
func py(body string) files {
	top, handler, found := strings.Cut(body, "---\n")
	if !found {
		top, handler = "", body
	}
	var b strings.Builder
	b.WriteString(top + "def lambda_handler(event, context):\n")
	for line := range strings.Lines(handler) {
		b.WriteString("    " + line)
	}
	return files{"lambda_function.py": b.String() + "\n"}
}

var free = Limit{Reserved: -1, Unreserved: -1}

// invoke runs one invocation that must not fail as such.
func (k *kit) invoke(s Spec, payload string) Result {
	k.t.Helper()
	r, err := k.Invoke(k.t.Context(), s, free, Event{RequestID: uuid.NewString(), Payload: []byte(payload)})
	if err != nil {
		k.t.Fatalf("Invoke: %v\n%s", err, k.text())
	}
	return r
}

// value is invoke for a function that must succeed.
func (k *kit) value(s Spec, payload string) string {
	k.t.Helper()
	r := k.invoke(s, payload)
	if r.FunctionError != "" {
		k.t.Fatalf("the function failed: %s\n%s", r.Payload, r.LogTail)
	}
	return string(r.Payload)
}

func decode[T any](t *testing.T, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("decoding %s: %v", data, err)
	}
	return v
}

// notShort leaves a test to the runs that are not short: it is about what
// happens in the functions' processes, of which the race detector, for which
// the short runs are, sees nothing.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("about what happens in other processes")
	}
}

// patience is how long tests wait for what comes at once where nothing else
// runs.
const patience = time.Minute

func eventually(t *testing.T, what string, within time.Duration, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func mustWrite(t *testing.T, name, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
