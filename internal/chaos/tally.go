package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// tally is what one configuration came to.
type tally struct {
	name string

	mu sync.Mutex
	// counts are by the name of a column.
	counts map[string]int
	// slowest are the longest times, by name.
	slowest map[string]time.Duration
	// answers counts what failed requests got, by its code.
	answers map[string]int
	// boundaries are the places in a rotation at which a server was killed.
	boundaries map[string]int
	// violations are what must not be, with the evidence.
	violations []string
}

func newTally(name string) *tally {
	return &tally{
		name: name, counts: map[string]int{}, slowest: map[string]time.Duration{}, answers: map[string]int{}, boundaries: map[string]int{},
	}
}

// The counted things, in the order of the report.
const (
	serverKills    = "server kills"
	boundaryKills  = "of them at step boundaries"
	earlyKills     = "of them while starting"
	starts         = "starts"
	functionKills  = "function kills"
	databaseKills  = "rotated database kills"
	storeKills     = "store kills"
	failOvers      = "store fail-overs"
	takeOvers      = "take-overs"
	acknowledged   = "acknowledged writes"
	unacknowledged = "given up unacknowledged"
	lost           = "lost"
	reads          = "reads checked"
	rotations      = "rotations completed"
	scheduled      = "of them by schedule"
	logins         = "logins proved"
	lockOuts       = "lock-outs"
	retries        = "requests repeated"
	failedSteps    = "failed attempts"
)

var columns = [...]string{
	serverKills, boundaryKills, earlyKills, starts, functionKills, databaseKills, storeKills, failOvers, takeOvers,
	acknowledged, unacknowledged, lost, reads, rotations, scheduled, failedSteps, logins, lockOuts, retries,
}

// The measured times, in the order of the report.
const (
	slowStart    = "slowest start"
	slowWrite    = "slowest write after a store's end"
	slowRotation = "slowest rotation"
	slowTakeOver = "slowest take-over"
)

var times = [...]string{slowStart, slowWrite, slowRotation, slowTakeOver}

func (t *tally) add(what string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what] += n
}

func (t *tally) count(what string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[what]
}

func (t *tally) took(what string, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slowest[what] = max(t.slowest[what], d)
}

func (t *tally) answer(code string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answers[code]++
}

func (t *tally) boundary(where string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.boundaries[where]++
}

// violate notes what must not be.
func (t *tally) violate(what, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if what != "" {
		t.counts[what]++
	}
	t.violations = append(t.violations, fmt.Sprintf(format, args...))
}

// kills are all that counts against the number asked for: of servers.
func (t *tally) kills() int { return t.count(serverKills) }

// report writes the table of all configurations, and then the evidence.
func report(w io.Writer, all []*tally) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(name string, cell func(*tally) string) {
		fmt.Fprintf(table, "%s\t", name)
		for _, t := range all {
			fmt.Fprintf(table, "%s\t", cell(t))
		}
		fmt.Fprintln(table)
	}
	line("", func(t *tally) string { return t.name })
	for _, c := range columns {
		line(c, func(t *tally) string { return fmt.Sprint(t.counts[c]) })
	}
	line("places of a rotation hit", func(t *tally) string { return fmt.Sprint(len(t.boundaries)) })
	for _, c := range times {
		line(c, func(t *tally) string { return t.slowest[c].Round(time.Millisecond).String() })
	}
	line("violations", func(t *tally) string { return fmt.Sprint(len(t.violations)) })
	table.Flush()
	for _, t := range all {
		var codes []string
		for _, code := range slices.Sorted(maps.Keys(t.answers)) {
			codes = append(codes, fmt.Sprintf("%s %d", code, t.answers[code]))
		}
		fmt.Fprintf(w, "%s: what failed requests got: %s\n", t.name, strings.Join(codes, ", "))
		for _, v := range t.violations {
			fmt.Fprintf(w, "VIOLATION (%s): %s\n", t.name, v)
		}
	}
}
