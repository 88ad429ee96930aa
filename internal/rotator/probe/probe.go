// Package probe tries the logins of a secret's versions, stage by stage, and
// changes nothing: does the host's name resolve, does the port answer, is
// there TLS and whose certificate, which way does the server authenticate,
// does the password log in, is the database there.
//
// It works where the program runs that calls it: in keyturn doctor, or in a
// built-in rotator's own process, which is asked for it by an event of the
// step "probe". Results hold no secrets: values stay in the memory of the
// process that read them.
//
// A password that is wrong counts as a failed login where servers count
// them. So each distinct password is tried once, a user's are tried one after
// the other, and only the login itself sends one: the way of authentication
// is learnt by a greeting that is broken off before. AWSPREVIOUS is tried
// only if AWSCURRENT was not taken for the same user, and nothing more of a
// user whose account is locked. So a probe costs a user at most three failed
// logins, and where AWSCURRENT logs in at most one, of AWSPENDING.
package probe

import (
	"context"
	"crypto/tls"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/keyturn/keyturn/internal/rotator"
)

// Step is the event's step that asks a built-in rotator for a probe.
const Step = "probe"

// stageLimit is the most that one stage may take.
const stageLimit = 5 * time.Second

// Result is one version's login, stage by stage: the last stage failed unless
// it LogsIn. Names are those of the server's certificate.
type Result struct {
	Label     string  `json:"label"`
	VersionID string  `json:"versionId,omitempty"`
	From      string  `json:"from"`
	Host      string  `json:"host"`
	Port      int     `json:"port"`
	Username  string  `json:"username"`
	Database  string  `json:"database,omitempty"`
	Engine    string  `json:"engine"`
	Stages    []Stage `json:"stages,omitempty"`
	LogsIn    bool    `json:"logsIn"`
	// Method is how the server authenticates the user, as it says before any
	// password; Verifier how it keeps the password, where a superuser sees it.
	Method   string `json:"method,omitempty"`
	Verifier string `json:"verifier,omitempty"`
	// PlainRefused and TLSOffered are what the server says to each.
	PlainRefused bool   `json:"plainRefused,omitempty"`
	TLSOffered   bool   `json:"tlsOffered,omitempty"`
	Names        string `json:"names,omitempty"`
	Server       string `json:"server,omitempty"`
	ReadOnly     bool   `json:"readOnly,omitempty"`
}

// The stages, in their order.
const (
	stageDNS      = "dns"
	stageTCP      = "tcp"
	stageTLS      = "tls"
	stageAuth     = "auth"
	stageDatabase = "database"
)

// Stage is a part of a login.
type Stage struct {
	Name  string        `json:"name"`
	OK    bool          `json:"ok"`
	Took  time.Duration `json:"took"`
	Cause string        `json:"cause,omitempty"`
	Code  string        `json:"code,omitempty"`
	Text  string        `json:"text,omitempty"`
}

// stage makes one that ended; failed is nil for success.
func stage(name string, began time.Time, failed *rotator.Failure) Stage {
	s := Stage{Name: name, OK: failed == nil, Took: time.Since(began).Round(time.Microsecond)}
	if failed != nil {
		s.Cause, s.Code, s.Text = string(failed.Cause), failed.Code, failed.Text
	}
	return s
}

// Visit is a login that is only looked at: what rotator.Session and
// rotator.OverlapSession have in common.
type Visit interface {
	Ping(ctx context.Context) error
	Close(ctx context.Context) error
}

// Engine is a kind of server to log in to.
type Engine struct {
	Kind  rotator.Kind
	Enter func(ctx context.Context, l rotator.Login, secure *tls.Config) (Visit, error)
}

// Of makes an Engine of a rotator's.
func Of(e rotator.Engine) Engine {
	return Engine{e.Kind(), func(ctx context.Context, l rotator.Login, secure *tls.Config) (Visit, error) {
		s, err := e.Connect(ctx, l, secure)
		if err != nil {
			return nil, err
		}
		return s, nil
	}}
}

// OfOverlap makes an Engine of one whose users have several passwords.
func OfOverlap(e rotator.OverlapEngine) Engine {
	return Engine{e.Kind(), func(ctx context.Context, l rotator.Login, secure *tls.Config) (Visit, error) {
		s, err := e.Connect(ctx, l, secure)
		if err != nil {
			return nil, err
		}
		return s, nil
	}}
}

// Where probes run. From FromHere a password is sent unencrypted only for a
// secret whose ssl is false; from FromFunction as AWS's templates do, which
// try without TLS where they find none.
const (
	FromHere     = "here"
	FromFunction = "function"
)

// Prober tries logins.
type Prober struct {
	// Engines are those that there are.
	Engines []Engine
	// Engine names the one for secrets that name none of Engines.
	Engine string
	// Settings are the function's variables; of them KEYTURN_CA_BUNDLE
	// counts, and what engines read.
	Settings rotator.Settings
	// Config reaches the service that keeps a secret which does not say where
	// its server is.
	Config aws.Config
	// From is FromHere or FromFunction.
	From string
}

// engine finds the one of a secret.
func (p *Prober) engine(d *rotator.Document) (Engine, *rotator.Document, bool) {
	for _, name := range []string{d.Text("engine"), p.Engine} {
		i := slices.IndexFunc(p.Engines, func(e Engine) bool { return name != "" && e.Kind.Matches(name) })
		if i < 0 {
			continue
		}
		if d.Text("engine") != name {
			d = d.With("engine", name)
		}
		return p.Engines[i], d, true
	}
	return Engine{}, nil, false
}
