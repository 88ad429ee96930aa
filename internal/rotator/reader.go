package rotator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// reading is one read of the secret, as the trail has it.
type reading struct {
	at                  time.Time
	principal, role     string
	address, agent      string
	secret, version, by string // by is the label that was asked for
}

// parseReading reads a GetSecretValue event in CloudTrail's form; ok is false
// for reads that failed.
func parseReading(event string) (r reading, ok bool) {
	var e struct {
		Time     time.Time `json:"eventTime"`
		Error    string    `json:"errorCode"`
		Address  string    `json:"sourceIPAddress"`
		Agent    string    `json:"userAgent"`
		Identity struct {
			ARN     string `json:"arn"`
			Service string `json:"invokedBy"`
			Session struct {
				Issuer struct {
					ARN string `json:"arn"`
				} `json:"sessionIssuer"`
			} `json:"sessionContext"`
		} `json:"userIdentity"`
		Request struct {
			Secret  string `json:"secretId"`
			Version string `json:"versionId"`
			Label   string `json:"versionStage"`
		} `json:"requestParameters"`
		// Keyturn says which version it was; AWS does not.
		More struct {
			Version string `json:"versionId"`
		} `json:"additionalEventData"`
	}
	if json.Unmarshal([]byte(event), &e) != nil || e.Error != "" {
		return reading{}, false
	}
	return reading{
		at: e.Time, principal: cmp.Or(e.Identity.ARN, e.Identity.Service), role: e.Identity.Session.Issuer.ARN, address: e.Address, agent: e.Agent,
		secret: e.Request.Secret, version: cmp.Or(e.More.Version, e.Request.Version), by: e.Request.Label,
	}, true
}

// generation is a pair of versions of which the newer has replaced the older.
type generation struct{ previous, current string }

// reader is who read a version, and from where. The version is "" where the
// trail does not say which one it was: the one that was current.
type reader struct{ principal, role, address, version string }

// span are a reader's reads.
type span struct {
	first, last time.Time
	agent       string // at the last
}

// tally are the reads of a secret by reader.
type tally map[reader]span

func (t tally) add(g generation, r reading) {
	switch {
	case r.version != "":
	case r.by == pending:
		return
	case r.by == previous:
		r.version = g.previous
	}
	key := reader{r.principal, r.role, r.address, r.version}
	s, seen := t[key]
	if !seen || r.at.Before(s.first) {
		s.first = r.at
	}
	if !seen || !r.at.Before(s.last) {
		s.last, s.agent = r.at, r.agent
	}
	t[key] = s
}

// unsure tells that the trail does not say of every read which version it was.
func (t tally) unsure() bool {
	for r := range t {
		if r.version == "" {
			return true
		}
	}
	return false
}

// straggler is a reader of the previous version that has not read the current
// one.
type straggler struct {
	principal, address, agent string
	last                      time.Time
}

// String is the straggler in log lines and errors.
func (s straggler) String() string {
	const maxAgent = 80 // characters; agents can be of any length
	agent := []rune(s.agent)
	return fmt.Sprintf("%s (last read %s, from %s, with %s)", s.principal, s.last.UTC().Format(time.RFC3339), s.address, string(agent[:min(len(agent), maxAgent)]))
}

// stragglers lists them by name, each once. currentSince is when the current
// version became it, for reads of which the trail does not say what they
// read. A session counts as moved also when another session of its role has
// moved at the same address: programs are restarted, and their sessions
// renewed under other names.
func (t tally) stragglers(g generation, currentSince time.Time) []straggler {
	type place struct{ role, address string }
	moved, movedAt := map[string]bool{}, map[place]bool{}
	old := map[string]straggler{}
	sessions := map[string]place{}
	for r, s := range t {
		switch {
		case r.version == g.current || r.version == "" && !s.last.Before(currentSince):
			moved[r.principal] = true
			movedAt[place{r.role, r.address}] = true
		case r.version == g.previous || r.version == "":
			if known, ok := old[r.principal]; !ok || known.last.Before(s.last) {
				old[r.principal] = straggler{r.principal, r.address, s.agent, s.last}
				sessions[r.principal] = place{r.role, r.address}
			}
		}
	}
	maps.DeleteFunc(old, func(principal string, _ straggler) bool {
		at := sessions[principal]
		return moved[principal] || at.role != "" && movedAt[at]
	})
	return slices.SortedFunc(maps.Values(old), func(a, b straggler) int { return cmp.Compare(a.principal, b.principal) })
}

// maxNamed is how many stragglers a text names.
const maxNamed = 20

// named lists stragglers for a text.
func named(list []straggler) string {
	var texts []string
	for _, s := range list[:min(len(list), maxNamed)] {
		texts = append(texts, s.String())
	}
	if more := len(list) - maxNamed; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, ", ")
}
