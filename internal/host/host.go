// Package host examines the machine on which a server runs, or is to run:
// what it does not give, what that means, and how to get it. It changes
// nothing, and needs no running server.
package host

import (
	"context"
	"slices"
	"time"
)

// State is the outcome of a check.
type State string

// The states. Only a Finding is something to mend.
const (
	OK      State = "ok"
	Note    State = "note"    // as it is meant to be, and worth knowing
	Finding State = "finding" // insecure, fragile, or about to fail
	Unknown State = "unknown" // it could not be found out
)

// Check is one thing that was looked at.
type Check struct {
	// Code is the check's stable name: H01 and up.
	Code string `json:"code"`
	// Title is what was looked at; Text what was seen.
	Title string `json:"title"`
	State State  `json:"state"`
	Text  string `json:"text"`
	// Means says what follows; "" when nothing does.
	Means string `json:"means,omitempty"`
	// Remedies are ways to get what is missing, the best first.
	Remedies []string `json:"remedies,omitempty"`
}

// Config says how the server is started: see the flags of keyturn serve.
type Config struct {
	// Dir is the data folder.
	Dir string
	// Listen is the address for clients.
	Listen string
	// StoreURL is "" for SQLite in Dir.
	StoreURL        string
	TLSCert, TLSKey string
	InsecureHTTP    bool
	// RootKey and OldRootKeys are as keeper.Open takes them; "" for a file
	// in Dir.
	RootKey     string
	OldRootKeys []string
	// Interpreters and StrictRuntimes are those of functions.
	Interpreters   map[string]string
	StrictRuntimes bool
	EnforceVPC     bool
	// CacheSize is in bytes.
	CacheSize int64
}

// Report is what Examine found.
type Report struct {
	// Time is when the examination began.
	Time   time.Time `json:"time"`
	Checks []Check   `json:"checks"`
}

// Count returns how many checks are in a state.
func (r *Report) Count(s State) (n int) {
	for _, c := range r.Checks {
		if c.State == s {
			n++
		}
	}
	return n
}

// patience bounds each question to something that may not answer.
const patience = 10 * time.Second

// examiner holds what several checks need.
type examiner struct {
	Config
	now time.Time
	// running is the process that has the data folder: 0 for none, -1 for
	// one of unknown number.
	running int
}

// Examine looks at everything. It takes a second or two, most of it for
// starting each interpreter once; main must have called
// environment.LaunchIfAsked. Of services it asks only the root key's and the
// store's, and waits 10 seconds for each at most.
func Examine(ctx context.Context, cfg Config) Report {
	x := &examiner{Config: cfg, now: time.Now()}
	r := Report{Time: x.now}
	for _, look := range []func(context.Context) []Check{
		x.server, x.confinement, x.coreDumps, x.files, x.memory, x.clock, x.folder, x.disk, x.rootKey, x.store, x.tls, x.address,
	} {
		r.Checks = append(r.Checks, look(ctx)...)
	}
	slices.SortStableFunc(r.Checks, func(a, b Check) int { return rank(a.State) - rank(b.State) })
	return r
}

// rank puts first what is to be mended.
func rank(s State) int { return slices.Index([]State{Finding, Unknown, Note, OK}, s) }

// one is a list of a single check.
func one(code, title string, state State, text, means string, remedies ...string) []Check {
	return []Check{{Code: code, Title: title, State: state, Text: text, Means: means, Remedies: remedies}}
}
