// Package server wires everything together: storage, keys, functions, the
// services and their listener, and the parts that work by themselves. It
// starts them in one group and stops them in an order that leaves nothing
// half done.
package server

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/tracing"
)

// Config says how to serve. Dir, Listen, Region and Account are needed.
type Config struct {
	// Dir is the data folder: the database unless StoreURL is set, the root
	// key, the root credentials, the read trail and the functions' files.
	Dir string
	// Dev marks a throw-away server: loopback only, a known root key, and
	// never on a folder that a production server made.
	Dev bool
	// Listen is the address for clients. Functions get a loopback port of
	// their own.
	Listen string
	// Endpoints are VPC endpoints, each with an address of its own.
	Endpoints []Endpoint
	// StoreURL is a postgres:// URL, or "" for SQLite in Dir.
	StoreURL string
	// TLSCert and TLSKey are PEM files; both or neither.
	TLSCert, TLSKey string
	// InsecureHTTP admits plain HTTP on an address that is not loopback.
	InsecureHTTP bool
	// Region is the home region; Account has 12 digits.
	Region, Account string
	// RootAccessKeyID and RootSecretAccessKey are the root user's; both or
	// neither, and then they are generated into Dir once.
	RootAccessKeyID, RootSecretAccessKey string
	// RootKey is the root key as keeper.Open takes it, or "" for a key file
	// in Dir. OldRootKeys, in the same form, open what they wrapped.
	RootKey     string
	OldRootKeys []string
	// Interpreters maps runtimes to executables; StrictRuntimes refuses
	// interpreters of another version.
	Interpreters   map[string]string
	StrictRuntimes bool
	// EnforceVPC holds functions in a VPC to what that allows. A host that
	// cannot do so is refused.
	EnforceVPC bool
	// CABundle lists PEM files that functions, and the server when it asks
	// identity providers for their keys, trust beside the host's.
	CABundle []string
	// Concurrency is the account's limit of functions that run at once;
	// 1000 if zero.
	Concurrency int
	// CacheSize bounds the memory for cached records in bytes: 64 MiB if
	// zero, none if less.
	CacheSize int64
	// Retention bounds what is kept.
	Retention Retention
	// Grace is how long requests and running steps may take to finish after
	// Run was told to stop; 30 seconds if zero.
	Grace  time.Duration
	Logger *slog.Logger
	// Tracer makes spans of requests and rotations; nil for none. The server
	// closes it.
	Tracer *tracing.Tracer
}

// Retention says how long things are kept and how much of them; a zero member
// stands for its default, a negative one for no bound.
type Retention struct {
	// TrailAge is that of events, in the store and in segments: 90 days, which
	// LookupEvents shows (AWS docs). TrailBytes bounds the segments of this
	// node: 8 GiB.
	TrailAge   time.Duration
	TrailBytes int64
	// LogAge is that of entries in log groups without a retention policy: 400
	// days. LogBytes bounds what each of these groups stores: 1 GiB. On AWS
	// such groups keep everything.
	LogAge   time.Duration
	LogBytes int64
	// StackAge is how long a deleted stack is shown: 90 days (AWS docs).
	StackAge time.Duration
	// Interval is the time between two removals: an hour.
	Interval time.Duration
}

// DefaultRetention is what zero members stand for.
func DefaultRetention() Retention {
	const day = 24 * time.Hour
	return Retention{TrailAge: 90 * day, TrailBytes: 8 << 30, LogAge: loggroup.DefaultKeep, LogBytes: 1 << 30, StackAge: 90 * day, Interval: time.Hour}
}

// fill puts the defaults in place.
func (r *Retention) fill() {
	d := DefaultRetention()
	r.TrailAge, r.TrailBytes = cmp.Or(r.TrailAge, d.TrailAge), cmp.Or(r.TrailBytes, d.TrailBytes)
	r.LogAge, r.LogBytes = cmp.Or(r.LogAge, d.LogAge), cmp.Or(r.LogBytes, d.LogBytes)
	r.StackAge, r.Interval = cmp.Or(r.StackAge, d.StackAge), cmp.Or(r.Interval, d.Interval)
}

var accountPattern = regexp.MustCompile(`^\d{12}$`)

// isRegion reports whether s is a name such as us-gov-east-1: two words of
// letters or more, then a number, with hyphens between. Every request asks.
func isRegion(s string) bool {
	words, letters := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z':
			letters++
		case c == '-' && letters > 0:
			words, letters = words+1, 0
		default:
			return words >= 2 && letters == 0 && isNumber(s[i:])
		}
	}
	return false
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// defaultConcurrency is AWS's limit of a new account (AWS docs).
const defaultConcurrency = 1000

// check fills in the defaults and makes the paths absolute, then refuses
// what cannot work, before anything is touched.
func (c *Config) check() error {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Concurrency == 0 {
		c.Concurrency = defaultConcurrency
	}
	c.Retention.fill()
	if c.Grace == 0 {
		c.Grace = 30 * time.Second
	}
	for _, path := range []*string{&c.Dir, &c.TLSCert, &c.TLSKey} {
		if *path == "" {
			continue
		}
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return fmt.Errorf("finding %s: %w", *path, err)
		}
	}
	switch {
	case c.Dir == "":
		return errors.New("a server needs a data folder")
	case !isRegion(c.Region):
		return fmt.Errorf("region %q is not a region name such as us-east-1", c.Region)
	case !accountPattern.MatchString(c.Account):
		return fmt.Errorf("account %q does not have 12 digits", c.Account)
	case c.Concurrency < 0:
		return fmt.Errorf("a concurrency of %d is less than none", c.Concurrency)
	case c.Grace < 0:
		return fmt.Errorf("a grace of %v is less than none", c.Grace)
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("TLS needs both a certificate and its key")
	case (c.RootAccessKeyID == "") != (c.RootSecretAccessKey == ""):
		return errors.New("the root credentials need both an access key ID and a secret access key")
	}
	for i := range c.Endpoints {
		if err := c.checkListen(c.Endpoints[i].Listen); err != nil {
			return fmt.Errorf("VPC endpoint %s: %w", c.Endpoints[i].ID, err)
		}
	}
	return c.checkListen(c.Listen)
}

// checkListen refuses to send secrets over the network in the clear.
func (c *Config) checkListen(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("listen address: %w", err)
	}
	ip := net.ParseIP(host)
	loopback := host == "localhost" || ip != nil && ip.IsLoopback()
	switch {
	case c.Dev && !loopback:
		return fmt.Errorf("a throw-away server listens on loopback only, not on %s", address)
	case !loopback && c.TLSCert == "" && !c.InsecureHTTP:
		return fmt.Errorf("%s is not a loopback address: give --tls-cert and --tls-key, or --insecure-http if others may read the secrets on the network", address)
	}
	return nil
}

// authorities are whom the server trusts to vouch for identity providers; nil
// stands for the host's alone.
func (c *Config) authorities() (*x509.CertPool, error) {
	if len(c.CABundle) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the host's certificate authorities: %w", err)
	}
	for _, name := range c.CABundle {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading the CA bundle: %w", err)
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("reading the CA bundle %s: no certificate in PEM form", name)
		}
	}
	return pool, nil
}

// private are the files that functions must not find beside an interpreter.
func (c *Config) private() []string {
	if c.TLSKey == "" {
		return []string{c.Dir}
	}
	return []string{c.Dir, c.TLSKey}
}

// regions are the regions to which secrets may be replicated: AWS's (AWS
// docs), and the home region whatever its name.
func (c *Config) regions() []string {
	return append([]string{c.Region},
		"af-south-1", "ap-east-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
		"ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ca-central-1", "ca-west-1",
		"eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3",
		"il-central-1", "me-central-1", "me-south-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
		"us-gov-east-1", "us-gov-west-1", "cn-north-1", "cn-northwest-1")
}
