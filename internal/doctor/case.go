package doctor

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
)

// The staging labels that rotation moves.
const (
	labelCurrent  = "AWSCURRENT"
	labelPending  = "AWSPENDING"
	labelPrevious = "AWSPREVIOUS"
)

// The steps.
const (
	stepCreate = "createSecret"
	stepSet    = "setSecret"
	stepTest   = "testSecret"
	stepFinish = "finishSecret"
)

// Case is Evidence with what follows from it: which rotation is in question,
// which step failed, what the function said, which password is live. Rules
// read it and never change it.
type Case struct {
	*Evidence
	// pending, current and previous are the versions with the labels.
	pending, current, previous string
	// outcome is how the last rotation that ended did, and token which it was.
	outcome outcome
	token   string
	test    bool // it was a configuration test
	// started and ended bound it; zero where that is not known.
	started, ended time.Time
	// step is the one that failed, message what the service said of it, and
	// report the engine's own word.
	step, message, report string
	source                Fact // where message is from
	// runs are the invocations of the rotation, run the failing one, nil if
	// there is none.
	runs []*Invocation
	run  *Invocation
	// texts are the lines of the failing invocation and what service and
	// engine said, the ones that tell most last.
	texts   []text
	symptom symptom
	told    text // the line that shows it
	refusal text // a RotateSecret that was refused because one is not complete
	live    liveness
	state   state
	logins  *loginView // made when first asked for
}

// text is a piece of text to find a symptom in, with where it is from.
type text struct {
	Fact
	line bool // of the function's log
}

// outcome is how a rotation ended.
type outcome int

const (
	unknown outcome = iota
	running
	held
	succeeded
	failed
	abandoned
	cancelled
)

// newCase derives everything once.
func newCase(e *Evidence) *Case {
	c := &Case{Evidence: e}
	c.pending, c.current, c.previous = c.version(labelPending), c.version(labelCurrent), c.version(labelPrevious)
	c.findRotation()
	c.findRequest()
	c.findRuns()
	c.collectTexts()
	c.findSymptom()
	c.findLive()
	c.findState()
	return c
}

// version returns which version has a label.
func (c *Case) version(label string) string {
	if id := c.Secret.Labels[label]; id != "" {
		return id
	}
	for _, v := range c.Versions {
		if slices.Contains(v.Labels, label) {
			return v.ID
		}
	}
	return ""
}

// hasValue tells whether a version has one: the list of versions is the only
// witness, and where it was not read nothing is known.
func (c *Case) hasValue(id string) (has, known bool) {
	if id == "" {
		return false, true
	}
	for _, v := range c.Values {
		if v.VersionID == id && v.Error == "" {
			return !v.Missing, true
		}
	}
	for _, v := range c.Versions {
		if v.ID == id {
			return v.HasValue, true
		}
	}
	return false, len(c.Versions) > 0
}

// stuck tells that AWSPENDING is on a version other than the current one.
func (c *Case) stuck() bool { return c.pending != "" && c.pending != c.current }

func (c *Case) secretID() string { return cmp.Or(c.Secret.ARN, c.Secret.Name) }

func (c *Case) secretName() string { return cmp.Or(c.Secret.Name, c.Secret.ARN, "the secret") }

func (c *Case) functionARN() string {
	if c.Secret.FunctionARN != "" || c.Function == nil {
		return c.Secret.FunctionARN
	}
	return c.Function.ARN
}

// functionName is the bare name, for texts and default log groups.
func (c *Case) functionName() string {
	if c.Function != nil && c.Function.Name != "" {
		return c.Function.Name
	}
	if a, ok := arn.Parse(c.functionARN()); ok {
		name, _, _ := strings.Cut(strings.TrimPrefix(a.Resource, "function:"), ":")
		return name
	}
	return cmp.Or(c.functionARN(), "FUNCTION")
}

// failing tells whether there is a failure that nothing has put right since.
func (c *Case) failing() bool { return c.outcome == failed || c.outcome == abandoned }

// eventEnds says what the events that end a rotation mean.
var eventEnds = map[string]outcome{
	"RotationStarted": running, "RotationSucceeded": succeeded, "RotationFailed": failed, "RotationAbandoned": abandoned,
	"TestRotationStarted": running, "TestRotationSucceeded": succeeded, "TestRotationFailed": failed,
}

// reportEnds says what the engine's reports mean.
var reportEnds = map[string]outcome{
	"started": running, "done": running, "held": held, "succeeded": succeeded, "failed": failed, "retrying": failed,
	"abandoned": abandoned, "cancelled": cancelled,
}

// patience is how long a rotation that began and did not end is taken to be
// under way where its function's timeout is not known.
const patience = 10 * time.Minute

// findRotation picks the last rotation from what tells of it: the trail's
// events, the engine's reports, the labels.
func (c *Case) findRotation() {
	c.fromEvents()
	c.fromReports()
	if c.outcome == failed && c.Secret.LastRotatedAt.After(c.ended) && !c.stuck() && !c.ended.IsZero() && !c.test {
		c.outcome = succeeded
	}
	if c.outcome == succeeded && c.stuck() && c.token != c.pending {
		c.outcome = unknown // something later began; see below
		c.token, c.test = c.pending, false
	}
	if c.outcome == unknown && c.stuck() {
		c.token = c.pending
	}
	if c.outcome == running && c.overdueRun() {
		c.outcome = unknown
	}
	if c.message != "" {
		c.step = cmp.Or(stepIn(c.message), c.step)
	}
}

// overdueRun tells that what began can no longer be under way.
func (c *Case) overdueRun() bool {
	return !c.started.IsZero() && !c.At.IsZero() && c.At.Sub(c.started) > c.patience()
}

// patience is how long the four steps may take.
func (c *Case) patience() time.Duration {
	if c.Function == nil || c.Function.Timeout <= 0 {
		return patience
	}
	return min(max(4*c.Function.Timeout+5*time.Minute, patience), 70*time.Minute)
}

func (c *Case) fromEvents() {
	for i := range c.Events {
		ev := &c.Events[i]
		what, ok := eventEnds[ev.Name]
		if !ok || !c.concerns(ev) {
			continue
		}
		switch {
		case what == running && c.outcome == failed && ev.Token != "" && ev.Token == c.token:
			// A further attempt of the one that failed: its failure is what is
			// known until it ends.
			continue
		case what == running:
			c.outcome, c.token, c.started = running, ev.Token, ev.At
			c.message, c.step, c.ended = "", "", time.Time{}
		default:
			c.outcome, c.ended = what, ev.At
			c.token = cmp.Or(ev.Token, c.token)
			c.message, c.step = ev.ErrorMessage, ""
			c.source = eventFact(ev)
		}
		c.test = strings.HasPrefix(ev.Name, "Test")
	}
	if c.outcome == failed && c.token == "" && c.stuck() {
		c.token = c.pending
	}
}

// findRequest takes the last RotateSecret for what is asked about where it was
// refused and rotation was not set up since. What was refused on a secret that
// rotates is somebody's mistake, not the secret's.
func (c *Case) findRequest() {
	on := c.Secret.RotationEnabled
	if c.Request != nil || c.outcome != unknown || on != nil && *on {
		return
	}
	for i := len(c.Events) - 1; i >= 0; i-- {
		ev := &c.Events[i]
		if ev.Name != "RotateSecret" || !c.concerns(ev) {
			continue
		}
		if ev.ErrorCode != "" {
			e := *c.Evidence
			e.Request = &Request{Action: ev.Name, At: ev.At, Code: ev.ErrorCode, Text: ev.ErrorMessage}
			e.Secret.FunctionARN = cmp.Or(e.Secret.FunctionARN, ev.FunctionARN)
			c.Evidence = &e
		}
		return
	}
}

// concerns tells whether an event is about this secret: events that do not
// say are.
func (c *Case) concerns(ev *Event) bool {
	return ev.SecretID == "" || ev.SecretID == c.Secret.ARN || ev.SecretID == c.Secret.Name || c.Secret.ARN == ""
}

func eventFact(ev *Event) Fact {
	said := ev.Name
	if ev.Principal != "" {
		said += " by " + ev.Principal
	} else if ev.Invoker != "" {
		said += " by " + ev.Invoker
	}
	if ev.ErrorCode != "" {
		said += ": " + ev.ErrorCode
	}
	if ev.ErrorMessage != "" {
		said += ": " + ev.ErrorMessage
	}
	return Fact{Source: "event", At: ev.At, Where: cmp.Or(ev.ID, ev.Name), Text: said}
}

// fromReports takes what Keyturn's engine says over what the events say: it
// is nearer, and events may be late.
func (c *Case) fromReports() {
	if len(c.Reports) == 0 {
		return
	}
	last := c.Reports[len(c.Reports)-1]
	if !c.ended.IsZero() && last.At.Before(c.ended.Add(-time.Minute)) && last.Token != c.token {
		return
	}
	if c.token != last.Token {
		c.message = ""
	}
	c.token, c.outcome = last.Token, reportEnds[last.Status]
	c.started, c.report, c.step = time.Time{}, "", ""
	for _, r := range c.Reports {
		if r.Token != last.Token {
			continue
		}
		if c.started.IsZero() {
			c.started = r.At
		}
		c.ended = r.At
		if r.Status == "failed" && r.Step != "" {
			c.report, c.step = r.Error, r.Step
			c.source = Fact{Source: "engine", At: r.At, Where: "/keyturn/rotation " + r.Token, Text: r.Step + " failed: " + r.Error}
		}
		if r.Status == "failed" || r.Status == "retrying" {
			c.message = cmp.Or(c.message, r.Error)
		}
	}
	// A further attempt of one that failed.
	if c.outcome == running && c.report != "" {
		c.outcome = failed
	}
}

var stepPattern = compiled(`during (createSecret|setSecret|testSecret|finishSecret) step`)

// stepIn finds the step in the text of a RotationFailed.
func stepIn(message string) string {
	if m := stepPattern.FindStringSubmatch(message); m != nil {
		return m[1]
	}
	if strings.Contains(message, "was not created by Lambda") || strings.Contains(message, "createSecret step returned") {
		return stepCreate
	}
	if strings.Contains(message, "finishSecret step returned") {
		return stepFinish
	}
	return ""
}

// slack is by how much clocks and the trail's seconds may be off.
const slack = 3 * time.Second

// findRuns picks the invocations of the rotation, and of them the failing
// one.
func (c *Case) findRuns() {
	for i := range c.Invocations {
		inv := &c.Invocations[i]
		if c.token != "" && inv.Token != "" && inv.Token != c.token {
			continue
		}
		if inv.Token == "" && (!c.started.IsZero() && inv.StartedAt.Before(c.started.Add(-slack)) ||
			!c.ended.IsZero() && inv.StartedAt.After(c.ended.Add(slack))) {
			continue
		}
		if inv.Token == "" && c.ofOther(inv) {
			continue
		}
		c.runs = append(c.runs, inv)
	}
	c.runs = c.runs[max(0, len(c.runs)-maxRuns):]
	if !c.failing() && (c.outcome != unknown || !c.stuck()) {
		return
	}
	for _, inv := range slices.Backward(c.runs) {
		s := stepOf(inv)
		if c.step == "" && (isFailed(inv) || c.outcome == failed) || s == c.step || s == "" && c.step != "" && isFailed(inv) {
			c.run = inv
			break
		}
	}
	if c.run == nil && c.step != "" {
		c.run = c.mistaken()
	}
	if c.outcome == unknown && c.stuck() && c.run == nil && len(c.runs) > 0 && c.step == "" {
		c.run = c.runs[len(c.runs)-1]
	}
	if c.run != nil && c.step == "" {
		c.step = stepOf(c.run)
	}
	// AWSPENDING stuck and an invocation that failed: a failure, whatever the
	// trail does not tell.
	if c.outcome == unknown && c.stuck() && c.run != nil && isFailed(c.run) {
		c.outcome = failed
	}
}

// mistaken returns the last invocation if it failed: that it is taken for
// another step is then a mistake, as when a traceback names all steps. After a
// step that failed there is no other.
func (c *Case) mistaken() *Invocation {
	if len(c.runs) == 0 || !isFailed(c.runs[len(c.runs)-1]) {
		return nil
	}
	return c.runs[len(c.runs)-1]
}

// ofOther tells that an invocation was for another secret by the same
// function: its lines name others, and not this one.
func (c *Case) ofOther(inv *Invocation) bool {
	named := false
	for _, l := range inv.Lines {
		if c.Secret.ARN == "" || strings.Contains(l.Text, c.Secret.ARN) || strings.Contains(l.Text, "not authorized") {
			return false
		}
		for _, found := range namesSecret.FindAllString(l.Text, -1) {
			if c.Superuser != nil && strings.HasPrefix(found, c.Superuser.ARN) {
				return false
			}
			named = true
		}
	}
	return named
}

var linePattern = compiled(`\b(createSecret|setSecret|testSecret|finishSecret|create_secret|set_secret|test_secret|finish_secret)\b ?:`)

// stepOf is the step of an invocation: what the gatherer knew, else what its
// lines begin with.
func stepOf(inv *Invocation) string {
	if inv.Step != "" {
		return inv.Step
	}
	for _, l := range inv.Lines {
		if m := linePattern.FindStringSubmatch(l.Text); m != nil {
			head, _, under := strings.Cut(m[1], "_")
			if under {
				return head + "Secret"
			}
			return m[1]
		}
	}
	return ""
}

var failurePattern = compiled(`\[ERROR\]|"level":\s*"ERROR"|Traceback|Task timed out|Runtime\.[A-Z]|errorMessage|Exception\b`)

func isFailed(inv *Invocation) bool {
	return inv.TimedOut || slices.ContainsFunc(lastLines(inv), func(l Line) bool { return failurePattern.MatchString(l.Text) })
}

// collectTexts gathers what can show a symptom.
func (c *Case) collectTexts() {
	if c.Request != nil && (c.Request.Code != "" || c.Request.Text != "") {
		c.texts = append(c.texts, text{Fact: Fact{Source: "api", At: c.Request.At, Where: cmp.Or(c.Request.Action, "RotateSecret"),
			Text: strings.TrimPrefix(c.Request.Code+": "+c.Request.Text, ": ")}})
	}
	if !c.failing() && c.outcome != unknown {
		return
	}
	for _, said := range []string{c.message, c.report} {
		if said != "" {
			f := c.source
			f.Text = said
			c.texts = append(c.texts, text{Fact: f})
		}
	}
	if c.run == nil {
		return
	}
	for _, l := range lastLines(c.run) {
		c.texts = append(c.texts, text{Fact: logFact(c.run, l), line: true})
	}
}

func logFact(inv *Invocation, l Line) Fact {
	return Fact{Source: "log", At: l.At, Where: strings.TrimSpace(inv.Stream + " " + inv.RequestID), Text: l.Text[:min(len(l.Text), 2*maxText)]}
}

// A function writes what it likes: no more than this of it is read. Why a step
// failed stands at its end.
const (
	maxRuns  = 24
	maxLines = 50
)

func lastLines(inv *Invocation) []Line { return inv.Lines[max(0, len(inv.Lines)-maxLines):] }

// find returns the last text that matches.
func (c *Case) find(pattern *pattern) (text, bool) {
	for _, t := range slices.Backward(c.texts) {
		if pattern.MatchString(t.Text) {
			return t, true
		}
	}
	return text{}, false
}

// findRun returns the last line of any of the rotation's invocations that
// matches.
func (c *Case) findRun(pattern *pattern) (Fact, bool) {
	for _, inv := range slices.Backward(c.runs) {
		for _, l := range slices.Backward(lastLines(inv)) {
			if pattern.MatchString(l.Text) {
				return logFact(inv, l), true
			}
		}
	}
	return Fact{}, false
}

// gap tells whether a call with the prefix could not be made.
func (c *Case) gap(prefix string) *Gap {
	for i := range c.Gaps {
		if strings.HasPrefix(c.Gaps[i].Action, prefix) {
			return &c.Gaps[i]
		}
	}
	return nil
}

// strategy is single or alternating; "" if not known.
func (c *Case) strategy() string {
	if f := c.Function; f != nil {
		switch {
		case f.Code != nil && f.Code.Strategy != "":
			return f.Code.Strategy
		case strings.HasSuffix(f.Rotator, ".alternating"), strings.Contains(c.template(), "MultiUser"):
			return "alternating"
		case f.Rotator != "", strings.Contains(c.template(), "SingleUser"):
			return "single"
		}
	}
	return ""
}

// template is the name of AWS's template that the function is of, as its code
// or its stack tells.
func (c *Case) template() string {
	if c.Function != nil && c.Function.Code != nil && c.Function.Code.Template != "" {
		return c.Function.Code.Template
	}
	if c.Stack != nil {
		return c.Stack.Application
	}
	return ""
}

// engine is the database's, from a value, a probe, the template or the
// rotator: the word that secrets have.
func (c *Case) engine() string {
	for _, v := range c.Values {
		if v.Engine != "" && v.Label != "superuser" {
			return v.Engine
		}
	}
	for _, p := range c.Probes {
		if p.Engine != "" {
			return p.Engine
		}
	}
	names := strings.ToLower(c.template())
	if c.Function != nil {
		names += " " + c.Function.Rotator
	}
	for _, e := range []struct{ part, engine string }{
		{"postgres", "postgres"}, {"mariadb", "mariadb"}, {"mysql", "mysql"}, {"oracle", "oracle"}, {"sqlserver", "sqlserver"},
		{"db2", "db2"}, {"mongo", "mongo"}, {"redshift", "redshift"},
	} {
		if strings.Contains(names, e.part) {
			return e.engine
		}
	}
	return ""
}

// value is the shape of the version with a label; nil without --probe.
func (c *Case) value(label string) *Value {
	for i := range c.Values {
		if c.Values[i].Label == label {
			return &c.Values[i]
		}
	}
	return nil
}
