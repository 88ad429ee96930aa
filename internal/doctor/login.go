package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/rotator"
	rotatorprobe "github.com/keyturn/keyturn/internal/rotator/probe"
)

// loginView is what is known of a login that failed: many causes have the one
// text "Unable to log into database".
type loginView struct {
	// said are the causes that the function's log names, which only Keyturn's
	// rotators write, with their lines.
	said []spoken
	// slow tells that the invocation took at least as long as one login that
	// gets no answer; timed that its duration is known.
	slow, timed bool
	took        time.Duration
	// probes from inside the function count for its network, all for
	// passwords.
	inside, outside []Probe
}

// spoken is a cause with the line that names it.
type spoken struct {
	label string // pending, current, previous, superuser's; "" if not said
	cause rotator.Cause
	text  string
	fact  Fact
}

// login looks at the evidence on logins once.
func (c *Case) login() *loginView {
	if c.logins != nil {
		return c.logins
	}
	v := &loginView{took: c.took()}
	v.slow, v.timed = c.duration()
	for _, t := range c.texts {
		v.said = append(v.said, spokenIn(t.Fact)...)
	}
	for _, p := range c.Probes {
		if p.From == "function" {
			v.inside = append(v.inside, p)
		} else {
			v.outside = append(v.outside, p)
		}
	}
	c.logins = v
	return v
}

var (
	attemptPattern = compiled(`Login with the (\S+) secret failed \([^)]*\): (.*)`)
	refusalPattern = compiled(`(?:^|[:;] )(?:(pending|current|previous|superuser's): )?(DNS|TCP|timeout|TLS|TLS required|access rules|authentication|database missing|too many connections|account locked|password policy|read-only|permission|user missing|server not ready|host key|other): ([^;]*)`)
)

// spokenIn reads the causes out of a line, as Keyturn's rotators write them.
func spokenIn(f Fact) []spoken {
	if m := attemptPattern.FindStringSubmatch(f.Text); m != nil {
		failure := rotator.ParseFailure(m[2])
		return []spoken{{label: m[1], cause: failure.Cause, text: failure.Text, fact: f}}
	}
	if f.Source != "log" || toleratedPattern.MatchString(f.Text) {
		return nil
	}
	var all []spoken
	for _, m := range refusalPattern.FindAllStringSubmatch(f.Text, -1) {
		all = append(all, spoken{label: m[1], cause: rotator.Cause(m[2]), text: m[3], fact: f})
	}
	if s, ok := driverSaid(f); ok && len(all) == 0 {
		all = append(all, s)
	}
	return all
}

// spoke returns the last line that names one of the causes.
func (v *loginView) spoke(causes ...rotator.Cause) (spoken, bool) {
	for _, s := range slices.Backward(v.said) {
		if slices.Contains(causes, s.cause) {
			return s, true
		}
	}
	return spoken{}, false
}

// unreachable and refusing are the two families of causes.
func unreachable() []rotator.Cause {
	return []rotator.Cause{rotator.CauseDNS, rotator.CauseTCP, rotator.CauseTimeout}
}

func refusing() []rotator.Cause {
	return []rotator.Cause{rotator.CauseAuthentication, rotator.CauseMissingUser, rotator.CauseLocked, rotator.CauseAccess}
}

// failsAt returns a probe that failed at one of the stages: one from inside
// the function's network first.
func (v *loginView) failsAt(stages ...string) (p Probe, inside, ok bool) {
	for _, all := range [][]Probe{v.inside, v.outside} {
		for _, p := range all {
			if s := failedStage(p); s != nil && slices.Contains(stages, s.Name) {
				return p, p.From == "function", true
			}
		}
	}
	return Probe{}, false, false
}

// refused tells that every probe of a password was refused by the server.
func (v *loginView) refused() (Probe, bool) {
	var found Probe
	seen := false
	for _, p := range slices.Concat(v.inside, v.outside) {
		if p.Label == "superuser" {
			continue
		}
		if p.LogsIn {
			return p, false
		}
		if refusedLogin(p) && p.Label == labelCurrent {
			found, seen = p, true
		}
	}
	return found, seen
}

// loginFailed tells that a login, or what looks like one, is what failed.
func (c *Case) loginFailed() bool {
	switch c.symptom {
	case anyLogin, currentLogin, pendingLogin:
		return true
	case timedOut:
		return c.whereStopped() == atLogin
	}
	return false
}

// unreached says what speaks for a database that is not reached.
func (c *Case) unreached() (confidence Confidence, facts []Fact, ok bool) {
	v := c.login()
	p := c.path("database")
	if p.hop() != nil {
		return Certain, []Fact{p.fact()}, true
	}
	if s, said := v.spoke(unreachable()...); said {
		return Certain, []Fact{s.fact}, true
	}
	if probe, inside, found := v.failsAt("dns", "tcp"); found && (inside || !v.timed || v.slow) {
		if inside {
			return Certain, []Fact{probeFact(probe)}, true
		}
		return Likely, []Fact{probeFact(probe)}, true
	}
	if len(v.said) > 0 {
		return "", nil, false
	}
	if c.whereStopped() == atLogin || v.timed && v.slow {
		return Likely, []Fact{c.durationFact()}, true
	}
	if !v.timed && c.symptom == anyLogin && len(c.Probes) == 0 {
		return Possible, nil, true
	}
	return "", nil, false
}

// oldLibrary says what speaks for a libpq that knows no SCRAM.
func (c *Case) oldLibrary() (confidence Confidence, facts []Fact, ok bool) {
	if e := c.engine(); e != "" && !strings.Contains(e, "postgres") && e != "redshift" || c.Function != nil && c.Function.Rotator != "" {
		return "", nil, false
	}
	if t, found := c.find(scramText); found {
		return Certain, []Fact{t.Fact}, true
	}
	old, known := c.libpq()
	scram := slices.ContainsFunc(c.Probes, func(p Probe) bool {
		return strings.Contains(strings.ToUpper(p.Method+p.Verifier), "SCRAM")
	})
	md5 := slices.ContainsFunc(c.Probes, func(p Probe) bool { return p.Method == "md5" || p.Verifier == "md5" })
	v := c.login()
	worked := slices.ContainsFunc(c.Probes, func(p Probe) bool { return p.LogsIn && p.Label != "superuser" })
	switch {
	case v.timed && v.slow, md5 && !scram, known && old == nil:
		return "", nil, false
	case old != nil && scram:
		return Certain, []Fact{libraryFact(old), c.methodFact()}, true
	case old != nil && worked:
		return Certain, []Fact{libraryFact(old)}, true
	case old != nil:
		return Likely, []Fact{libraryFact(old)}, true
	case c.before(cutSCRAM) && strings.Contains(c.engine(), "postgres"):
		return Possible, []Fact{c.ageFact()}, true
	}
	return "", nil, false
}

var scramText = compiled(`SCRAM authentication requires libpq|authentication method 10 not supported`)

// libpq returns a libpq of the package that knows no SCRAM; known tells that
// the package was looked at and holds one.
func (c *Case) libpq() (old *Native, known bool) {
	if c.Function == nil || c.Function.Code == nil {
		return nil, false
	}
	for i := range c.Function.Code.Natives {
		n := &c.Function.Code.Natives[i]
		if n.LibPQ == "" && !strings.Contains(n.RunPath, "PostgreSQL-") && !strings.Contains(n.Path, "libpq") {
			continue
		}
		known = true
		if !n.SCRAM && (strings.HasPrefix(n.LibPQ, "9.") || strings.HasPrefix(n.LibPQ, "8.") || strings.Contains(n.RunPath, "PostgreSQL-9.")) {
			return n, true
		}
		if !n.SCRAM && n.LibPQ == "" {
			known = false
		}
	}
	return nil, known
}

func libraryFact(n *Native) Fact {
	said := n.Path + " is of PostgreSQL " + n.LibPQ
	if n.LibPQ == "" {
		said = n.Path + " has the RUNPATH " + n.RunPath
	}
	return Fact{Source: "package", Where: n.Path, Text: said + ", which knows no SCRAM-SHA-256"}
}

func (c *Case) methodFact() Fact {
	for _, p := range c.Probes {
		if p.Method != "" {
			return Fact{Source: "probe", Where: p.Host, Text: "the server authenticates by " + p.Method}
		}
	}
	return Fact{}
}

// wantsTLS says what speaks for a server that takes no plain connection.
func (c *Case) wantsTLS() (confidence Confidence, facts []Fact, ok bool) {
	v := c.login()
	if t, found := c.find(enforcedText); found {
		return Certain, []Fact{t.Fact}, true
	}
	if s, said := v.spoke(rotator.CauseTLSRequired); said {
		return Certain, []Fact{s.fact}, true
	}
	if len(v.said) > 0 || v.timed && v.slow {
		return "", nil, false
	}
	for _, p := range c.Probes {
		if !p.PlainRefused || !p.TLSOffered {
			continue
		}
		fact := Fact{Source: "probe", Where: p.Host, Text: "the server refuses plain connections and takes TLS"}
		if why, never := c.neverTLS(); never {
			return Certain, []Fact{fact, why}, true
		}
	}
	if why, never := c.neverTLS(); never && len(c.Probes) == 0 {
		return Possible, []Fact{why}, true
	}
	return "", nil, false
}

var enforcedText = compiled(`SSL/TLS is enforced on the host|(?:SSL off|no encryption)\b|require_secure_transport|insecure transport are prohibited`)

// neverTLS tells that the function does not try an encrypted connection.
func (c *Case) neverTLS() (Fact, bool) {
	for _, v := range c.Values {
		if strings.EqualFold(v.SSL, "false") && v.Label != "superuser" {
			return Fact{Source: "probe", Where: v.Label, Text: "the secret's ssl member is false"}, true
		}
	}
	if c.Function != nil && c.Function.Code != nil && c.Function.Code.TriesTLS != nil {
		if !*c.Function.Code.TriesTLS {
			return Fact{Source: "package", Where: c.Function.Code.HandlerFile, Text: "the code never connects by TLS"}, true
		}
		return Fact{}, false
	}
	if c.template() != "" && c.before(cutTLS) {
		return c.ageFact(), true
	}
	return Fact{}, false
}

var wrongTLSText = compiled(`SSL/TLS is not enabled on the host|Hostname verification failed|check that SSL/TLS is enabled|CERTIFICATE_VERIFY_FAILED|certificate verify failed|x509: `)

// brokenTLS says what speaks for a server without TLS, or with a certificate
// that is not right.
func (c *Case) brokenTLS() (confidence Confidence, facts []Fact, ok bool) {
	if t, found := c.find(wrongTLSText); found {
		return Certain, []Fact{t.Fact}, true
	}
	v := c.login()
	if s, said := v.spoke(rotator.CauseTLS); said {
		return Certain, []Fact{s.fact}, true
	}
	if len(v.said) > 0 {
		return "", nil, false
	}
	if p, inside, found := v.failsAt("tls"); found && failedStage(p).Cause != string(rotator.CauseTLSRequired) {
		switch {
		case inside:
			return Certain, []Fact{probeFact(p)}, true
		case failedStage(p).Code == rotatorprobe.UnknownAuthority:
			return Possible, []Fact{probeFact(p)}, true // this machine does not trust it; the function may
		}
		return Likely, []Fact{probeFact(p)}, true
	}
	return "", nil, false
}

// refusedCredentials says what speaks for passwords that are wrong.
func (c *Case) refusedCredentials() (confidence Confidence, facts []Fact, ok bool) {
	v := c.login()
	if s, said := v.spoke(refusing()...); said {
		if _, net := v.spoke(unreachable()...); !net {
			return Certain, []Fact{s.fact}, true
		}
	}
	if len(v.said) > 0 {
		return "", nil, false
	}
	if p, all := v.refused(); all {
		if p.From == "function" || c.worksFrom(p.From, true) {
			return Certain, []Fact{probeFact(p)}, true
		}
		return Likely, []Fact{probeFact(p)}, true
	}
	for _, p := range c.Probes {
		if p.LogsIn && p.Label != "superuser" {
			return "", nil, false
		}
	}
	if !v.timed {
		return Possible, nil, true
	}
	if v.slow {
		return "", nil, false
	}
	// What is left after the others were ruled out is likely.
	_, _, scram := c.oldLibrary()
	_, _, tls := c.wantsTLS()
	_, known := c.libpq()
	if !scram && !tls && (known || !strings.Contains(c.engine(), "postgres")) {
		return Likely, []Fact{c.durationFact()}, true
	}
	return Possible, []Fact{c.durationFact()}, true
}

// excludeLogins says of each other cause of the same text why it is not it.
func (c *Case) excludeLogins(f *Finding, except string) *Finding {
	v := c.login()
	took := fmt.Sprintf("the invocation took %s", millis(v.took))
	for _, x := range []struct {
		code    string
		is      func() (Confidence, []Fact, bool)
		because func() string
	}{
		{"D10", c.unreached, func() string {
			if p := c.path("database"); p.passes() {
				return "the network analysis finds the way to the database open"
			}
			if len(v.said) > 0 || len(v.inside) > 0 {
				return "the server answered"
			}
			return took + ": a server that does not answer takes " + seconds(loginLimit) + " for each attempt"
		}},
		{"D11", c.refusedCredentials, func() string {
			if v.timed && v.slow {
				return took + ": a server refuses a password at once"
			}
			return "the server did not refuse a password"
		}},
		{"D12", c.oldLibrary, func() string {
			switch _, known := c.libpq(); {
			case c.Function != nil && c.Function.Rotator != "":
				return "built-in rotators know SCRAM"
			case known:
				return "the libpq in the package knows SCRAM"
			case v.timed && v.slow:
				return took + ": a server that is reached answers at once"
			}
			return "the database is not PostgreSQL, or nothing says that the function is old"
		}},
		{"D13", c.wantsTLS, func() string { return "nothing says that the server demands TLS and the function does not try it" }},
		{"D14", c.brokenTLS, func() string { return "nothing in the log speaks of TLS or a certificate" }},
	} {
		if x.code == except {
			continue
		}
		if _, _, is := x.is(); !is {
			f.not(x.code, x.because())
		}
	}
	return f
}
