// Package environment runs Lambda functions as local processes.
//
// A Pool holds execution environments. Each one belongs to one version of one
// function, serves one invocation at a time over its own Lambda Runtime API
// on a loopback port, and is reused while it is idle. One goroutine owns one
// environment: it starts the process, answers the Runtime API, keeps the
// deadlines, measures memory and writes the platform's log lines.
//
// # Confinement
//
// On Linux the server's own executable, started again under another name,
// prepares each environment and stays as its first process (see LaunchIfAsked,
// which main must call first). It gives the function its own view of the file
// system, in which Lambda's paths hold (/var/task, /opt, /tmp, /var/runtime,
// /etc/pki/tls/cert.pem) and nothing of the server does; its own process
// numbers; another user when the server is root; resource limits,
// no_new_privs and a Landlock ruleset. What the host does not permit is left
// out, named by HostCapability and said once in the function's log. When the
// server dies, however suddenly, its environments die with it.
//
// # The Runtime API's port
//
// Lambda's clients need a host and a port, so the API listens on TCP. A
// connection is accepted only from a process of the environment it belongs
// to: by the user that owns the peer's socket where every environment has a
// user of its own, otherwise by finding the socket among the environment's
// processes. So neither another user of the host nor another function can
// take a function's events or forge its answers. Not defended: root, and
// processes of the server's own user outside every environment when the
// kernel cannot name the peer of a connection.
package environment

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/function"
)

// Spec is one deployable version of a function: what an environment is made
// from. Two specs of the same FunctionARN, Version and RevisionID must be equal.
type Spec struct {
	FunctionName string
	FunctionARN  string // without a qualifier
	Version      string // "$LATEST" or a number
	Account      string
	Region       string
	Runtime      string // an identifier such as "python3.12"
	Handler      string
	Timeout      time.Duration // of one invocation; zero means 3 s
	MemoryMB     int           // zero means 128
	EphemeralMB  int           // of /tmp; zero means 512
	Env          map[string]string
	TracingMode  string // "Active" or "PassThrough"
	LogGroup     string // "" means /aws/lambda/ and the name
	LogFormat    string // "Text" (or "") or "JSON"
	LogLevel     string // the application's level in JSON format, or ""
	RoleARN      string
	// VPC is where the function's connections leave; Config.Egress holds it
	// to that.
	VPC function.VPC
	// RevisionID tells apart the states of the same version: a new one makes
	// new environments, while invocations in flight finish in the old.
	RevisionID string
	Code       Package
	Layers     []Package // in the order in which they unzip over one another
}

// Package is a zip: a function's code or a layer.
type Package struct {
	// SHA256 names the content, in hexadecimal or base64.
	SHA256 string
	// Open gives the zip and its size in bytes. The reader is closed after
	// use when it is an io.Closer.
	Open func(ctx context.Context) (io.ReaderAt, int64, error)
}

// Limit bounds the concurrency of one invocation's function.
type Limit struct {
	// Reserved is the function's reserved concurrency: -1 for none, 0 to
	// throttle every invocation.
	Reserved int
	// Unreserved is what the account and region leave to the functions
	// without a reservation; -1 for no bound.
	Unreserved int
}

// Event is one invocation.
type Event struct {
	RequestID string
	// Payload is the JSON event; empty means {}.
	Payload []byte
	// InvokedARN is the ARN by which the caller named the function, with its
	// qualifier; "" means FunctionARN.
	InvokedARN string
	// TraceHeader is the X-Ray header; "" makes one that is not sampled.
	TraceHeader string
	// ClientContext is the decoded JSON of the caller's client context.
	ClientContext string
}

// Result is how an invocation ended. A function that failed has a Result with
// FunctionError set, not an error.
type Result struct {
	// Payload is the function's answer, or the error object.
	Payload []byte
	// FunctionError is "" or "Unhandled".
	FunctionError string
	// ExecutedVersion is "$LATEST" or a number.
	ExecutedVersion string
	// LogTail is the last 4 KB of the invocation's log.
	LogTail []byte
	// LogGroup and LogStream say where the whole log is.
	LogGroup, LogStream string
	// Duration is the handler's time; Init that of the cold start before it,
	// or zero.
	Duration, Init time.Duration
	// MaxMemoryMB is the most memory that the environment has used.
	MaxMemoryMB int
}

// Credentials are the execution role's session as the function sees it.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	// Expires is when they end; environments are replaced before. Zero means
	// never.
	Expires time.Time
}

// LogValue redacts the credentials.
func (Credentials) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// String redacts the credentials.
func (Credentials) String() string { return "[redacted]" }

// GoString redacts the credentials.
func (Credentials) GoString() string { return "[redacted]" }

// Entry is one line of a function's log.
type Entry struct {
	Time    time.Time
	Message string // with the newline that Lambda leaves at its end
}

// Config is what a Pool works with.
type Config struct {
	// Dir holds unpacked code, scratch folders and the runtimes' bootstraps.
	// It is made if missing and belongs to the pool alone.
	Dir string
	// Private lists further folders and files of the server: an interpreter
	// beside them is refused, and so is a pool when they lie in folders that
	// every function sees, such as /usr.
	Private []string
	// Interpreters maps runtime identifiers to executables.
	Interpreters map[string]string
	// StrictRuntimes refuses to run a function with an interpreter of another
	// version than its runtime names.
	StrictRuntimes bool
	// AllowUnconfined runs functions even on a host that cannot keep them from
	// the server's own files. Otherwise they fail there, with the reason.
	AllowUnconfined bool
	// EndpointURL is AWS_ENDPOINT_URL inside; "" leaves it unset.
	EndpointURL string
	// CABundle lists PEM files whose certificates functions trust beside the
	// host's own.
	CABundle []string
	// Credentials returns a session of the function's role.
	Credentials func(context.Context, Spec) (Credentials, error)
	// Logs takes what functions and the platform write into a stream of the
	// spec's log group, in order per stream. Each stream is one environment's,
	// with the session of its own. It must not block for long. Nil drops logs.
	Logs func(spec Spec, session Credentials, stream string, entries []Entry)
	// IdleTimeout is how long an unused environment lives; zero means 5 min.
	IdleTimeout time.Duration
	// Grace is how long running invocations may take to finish once Run is
	// told to stop; zero means 30 s.
	Grace time.Duration
	// MaxEnvironments bounds the processes on this host; zero means 128.
	MaxEnvironments int
	// FirstUserID is the first of 4096 user ids that environments use when
	// the server runs as root; zero means 61184, which systemd keeps for such
	// dynamic users.
	FirstUserID int
	// ServiceURLs are where functions that Egress holds find single services,
	// other than at EndpointURL.
	ServiceURLs []ServiceURL
	// Egress, if not nil, says where functions in a VPC may connect to. Such
	// functions do not run on a host that cannot hold them to it.
	Egress *Egress
	// Logger takes the pool's own messages; nil drops them.
	Logger *slog.Logger

	// confinement overrides what the host permits, in tests.
	confinement confinement
	// heldBy overrides how the host holds functions, in tests.
	heldBy HeldBy
}

// The defaults of Config and Spec, and Lambda's fixed times.
const (
	defaultIdleTimeout     = 5 * time.Minute
	defaultGrace           = 30 * time.Second
	defaultMaxEnvironments = 128
	defaultFirstUserID     = 61184
	userIDCount            = 4096

	defaultTimeout     = 3 * time.Second
	defaultMemoryMB    = 128
	defaultEphemeralMB = 512

	initLimit = 10 * time.Second // the init phase before the first invocation (AWS docs)
)

func (c Config) withDefaults() Config {
	c.IdleTimeout = orDefault(c.IdleTimeout, defaultIdleTimeout)
	c.Grace = orDefault(c.Grace, defaultGrace)
	c.MaxEnvironments = orDefault(c.MaxEnvironments, defaultMaxEnvironments)
	c.FirstUserID = orDefault(c.FirstUserID, defaultFirstUserID)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Logs == nil {
		c.Logs = func(Spec, Credentials, string, []Entry) {}
	}
	return c
}

func (s Spec) withDefaults() Spec {
	s.Timeout = orDefault(s.Timeout, defaultTimeout)
	s.MemoryMB = orDefault(s.MemoryMB, defaultMemoryMB)
	s.EphemeralMB = orDefault(s.EphemeralMB, defaultEphemeralMB)
	if s.LogGroup == "" {
		s.LogGroup = "/aws/lambda/" + s.FunctionName
	}
	return s
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// streamName is the name of an environment's log stream (AWS docs): the day
// it began, the function's name when the group is not the function's own, the
// version and 32 hexadecimal digits.
func (s Spec) streamName(began time.Time, id string) string {
	name := ""
	if s.LogGroup != "/aws/lambda/"+s.FunctionName {
		name = s.FunctionName
	}
	return began.UTC().Format("2006/01/02/") + name + "[" + s.Version + "]" + id
}

// deployment is the identity of a Spec: environments serve only their own.
type deployment struct{ arn, version, revision string }

func (s Spec) deployment() deployment {
	return deployment{s.FunctionARN, s.Version, s.RevisionID}
}

// scope is the account and region whose unreserved concurrency the function
// draws on.
func (s Spec) scope() string { return s.Account + "/" + s.Region }

func (s Spec) json() bool { return strings.EqualFold(s.LogFormat, "JSON") }
