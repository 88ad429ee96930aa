package rehearse

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotate"
)

// add records a finding; one code is enough for a trial.
func (t *trial) add(f Finding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(t.found, func(g Finding) bool { return g.Code == f.Code && g.Warning == f.Warning }) {
		return
	}
	t.found = append(t.found, f)
}

// stored are the values that an operator could find, without repetition.
func (t *trial) stored() []string {
	all := []string{t.labelValue("AWSCURRENT"), t.labelValue("AWSPENDING"), t.versionValue(t.version()), t.labelValue("AWSPREVIOUS")}
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
	unique := all[:0]
	for _, s := range all {
		if !slices.Contains(unique, s) {
			unique = append(unique, s)
		}
	}
	return unique
}

// look is one look at the database while nothing changes in it: each value is
// tried once.
type look struct {
	*trial
	known map[string]bool
}

func (t *trial) look() *look { return &look{t, map[string]bool{}} }

// accepted tells whether a value logs in; what cannot be seen counts as yes,
// and keeps the trial from being passed.
func (l *look) accepted(text string) bool {
	if in, known := l.known[text]; known {
		return in
	}
	in, err := l.target.login(l.ctx, parse(text))
	l.known[text] = in || err != nil
	if err != nil {
		l.saw(err)
	}
	if in {
		l.mu.Lock()
		l.lately = text
		l.mu.Unlock()
	}
	return l.known[text]
}

// someLogsIn demands that some stored version logs in.
func (l *look) someLogsIn(when string) {
	l.mu.Lock()
	spoiled, lately := l.spoiled != "", l.lately
	l.mu.Unlock()
	if spoiled {
		return
	}
	stored := l.stored()
	if slices.Contains(stored, lately) && l.accepted(lately) || slices.ContainsFunc(stored, l.accepted) {
		return
	}
	l.add(Finding{Code: Lockout, At: when, Expected: "some stored version logs in", Happened: "none does: current, pending and previous are refused"})
}

func (t *trial) isSpoiled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spoiled != ""
}

// enter looks, at a step's first call, at what the steps before it have left.
// It tells whether the call is the step's first.
func (t *trial) enter(c *call) bool {
	t.entering.Lock()
	defer t.entering.Unlock()
	number := slices.Index(steps(), c.step)
	if number < 0 {
		return false
	}
	t.mu.Lock()
	if t.attempt != c.attempt {
		t.attempt, t.checked, t.entered, t.talked = c.attempt, 0, map[string]bool{}, map[string]bool{}
	}
	first := !t.entered[c.step]
	from, foreign, moved := t.checked, t.foreign != "", t.ever[finishSecret]
	t.entered[c.step] = true
	t.checked = max(t.checked, number)
	t.mu.Unlock()
	if !first {
		return false
	}
	l := t.look()
	if !foreign && !moved && t.has(t.version(), "AWSCURRENT") {
		t.add(Finding{Code: PromotesUntested, Step: c.step, At: "when " + c.step + " began",
			Expected: "AWSCURRENT moves in finishSecret, after testSecret", Happened: "the new version has it already"})
	}
	if !foreign {
		for _, step := range steps()[min(from, number):number] {
			l.afterStep(step)
		}
		l.someLogsIn("when " + c.step + " began")
	}
	sound := c.step == createSecret && l.accepted(t.labelValue("AWSCURRENT"))
	t.mu.Lock()
	t.sound = t.sound || sound
	t.ever[c.step] = true
	cut := t.fault.at == connect && !t.disarmed && t.fault.step == c.step && t.struck == 0
	t.mu.Unlock()
	if cut && t.wire != nil {
		t.wire.conns.breakAll() // connections that the function kept are no way around the fault
	}
	return true
}

// afterStep demands a step's contract, once the next one has begun.
func (l *look) afterStep(step string) {
	l.mu.Lock()
	before, untouched, talked, struck := l.pending, l.sound && !l.ever[setSecret], l.talked[testSecret] || l.ever[finishSecret], l.struck > 0 && l.fault.step == step && !l.disarmed
	l.mu.Unlock()
	stored := l.versionValue(l.version())
	if before != "" && stored != before {
		l.add(Finding{Code: ChangesPending, Step: step, At: "after " + step,
			Expected: "the pending value stays as createSecret stored it", Happened: "it is another value now"})
	}
	switch step {
	case createSecret:
		l.mu.Lock()
		l.pending = stored
		l.mu.Unlock()
		if untouched && !l.accepted(l.labelValue("AWSCURRENT")) {
			l.add(Finding{Code: SetInCreate, Step: step, At: "after createSecret",
				Expected: "the database is as before: the current version logs in", Happened: "the current version is refused"})
		}
	case setSecret:
		if stored == "" || l.accepted(stored) {
			return
		}
		f := Finding{Code: SetsNothing, Step: step, At: "after setSecret",
			Expected: "the pending version logs in", Happened: "setSecret returned without an error, and the pending version is refused"}
		if struck {
			f.Code = SwallowsErrors
			f.Expected = "a step that cannot have its effect raises (" + l.fault.Title + ")"
		}
		l.add(f)
	case testSecret:
		l.afterTest(stored, talked, struck)
	}
}

func (l *look) afterTest(stored string, talked, struck bool) {
	f := Finding{Code: PromotesUntested, Step: testSecret, At: "after testSecret", Expected: "testSecret logs in with the pending version"}
	switch {
	case l.wire != nil && !talked:
		f.Happened = "it returned without having spoken to the database"
	case struck && (l.fault.act == actSpoil || l.fault.act == actRefuse):
		f.Happened = "it returned without an error, and yet " + l.fault.Title
	case stored != "" && !l.isSpoiled() && !l.accepted(stored):
		f.Happened = "it returned without an error, and the pending version is refused"
	default:
		return
	}
	l.add(f)
}

// checkEnd demands what holds after a rotation that succeeded.
func (t *trial) checkEnd() {
	t.mu.Lock()
	from, pending, foreign := t.checked, t.pending, t.foreign != "" && t.foreign == t.token
	t.checked = len(steps())
	t.mu.Unlock()
	l := t.look()
	if !foreign {
		for _, step := range steps()[min(from, 3):3] {
			l.afterStep(step)
		}
	}
	current := t.labelValue("AWSCURRENT")
	if pending != "" && current != pending {
		t.add(Finding{Code: ChangesPending, Step: finishSecret, At: "after finishSecret",
			Expected: "the current value is the one that createSecret stored", Happened: "it is another value"})
	}
	t.watchValue(parse(current), "the new value")
	if !l.accepted(current) {
		t.add(Finding{Code: Lockout, At: "after the rotation", Expected: "the current version logs in", Happened: "it is refused"})
	}
}

// checkForeign demands that a value that somebody else put stays. It tells
// whether it did.
func (t *trial) checkForeign(id string, end rotate.Status) bool {
	f := Finding{Code: IgnoresLabels, Step: t.fault.step, At: "after " + t.fault.Title,
		Expected: "the step fails, because its version is no longer pending; the value that was put stays current and logs in"}
	promoted := !t.has(id, "AWSCURRENT")
	if t.isBlind() {
		return true // nothing is known, and nothing counts as passed
	}
	switch {
	case promoted:
		f.Happened = "the function made its own version current"
	case !t.look().accepted(t.versionValue(id)):
		f.Happened = "the function changed the password all the same: the value that was put is refused"
	default:
		t.note("the rotation ended: %s", end)
		return true
	}
	t.add(f)
	return false
}

// functionFailed is what the engine says of a step whose function returned an
// error.
const functionFailed = "the function returned an error"

// checkSwallowed demands that a step whose call failed did not return as if
// nothing had happened: the engine then found its effect missing.
func (t *trial) checkSwallowed(rep *rotate.Report) {
	if t.fault.act != actFail || t.fault.at != before || rep.Step != t.fault.step || !t.hasStruck() {
		return
	}
	if rep.Error == "" || strings.Contains(rep.Error, functionFailed) || strings.Contains(rep.Error, "timed out") {
		return
	}
	t.add(Finding{Code: SwallowsErrors, Step: rep.Step, At: t.fault.call,
		Expected: "a step whose call of Secrets Manager failed raises", Happened: "it returned without an error: " + rep.Error})
}

// explainFailure records a rotation that does not succeed, by what the step
// that failed shows.
func (t *trial) explainFailure(code Code, expected string) {
	t.mu.Lock()
	rep := t.failed
	t.mu.Unlock()
	f := Finding{Code: code, Step: rep.Step, At: rep.Step, Expected: expected, Happened: rep.Step + " failed: " + rep.Error}
	if code == FailsPlain && !strings.Contains(rep.Error, functionFailed) {
		switch {
		case strings.Contains(rep.Error, "was not created by Lambda"):
			f.Code = NoRotationToken
		case rep.Step == createSecret && strings.Contains(rep.Error, "value"):
			f.Code = StoresNothing
		case rep.Step == finishSecret:
			f.Code = DoesNotPromote
		}
	}
	if lines, err := t.logLines(t.ctx); err == nil {
		lines = slices.DeleteFunc(lines, platform.MatchString)
		f.Evidence = lines[max(0, len(lines)-6):]
	}
	t.add(f)
}

// platform matches the lines that Lambda writes about every invocation.
var platform = regexp.MustCompile(`^(INIT_START|START|END|REPORT) `)

// inspect looks at a call before it is passed on.
func (t *trial) inspect(c *call) {
	switch c.op {
	case opPut:
		t.inspectPut(c)
	case opMove:
		if c.in.VersionStage == "AWSCURRENT" && c.step != finishSecret && c.in.MoveToVersionID == t.version() {
			t.add(Finding{Code: PromotesUntested, Step: c.step, At: opMove, Expected: "AWSCURRENT moves in finishSecret, after testSecret",
				Happened: c.step + " moves it"})
		}
	}
}

func (t *trial) inspectPut(c *call) {
	at := Finding{Step: c.step, At: opPut}
	report := func(code Code, expected, happened string) {
		f := at
		f.Code, f.Expected, f.Happened = code, expected, happened
		t.add(f)
	}
	t.watchValue(parse(c.in.SecretString), "the new value")
	token, old := t.version(), ""
	if c.in.Token != token && c.step == createSecret {
		report(WrongVersion, "ClientRequestToken is that of the event", "it is another")
	} else if old = t.versionValue(token); c.in.Token == token && old != "" && old != c.in.SecretString && c.step == createSecret {
		report(NotIdempotent, "createSecret leaves a version alone that has a value", "it puts another value into it")
	}
	if len(c.in.VersionStages) == 0 || slices.Contains(c.in.VersionStages, "AWSCURRENT") {
		report(PromotesUntested, `VersionStages is ["AWSPENDING"]`, "the new value becomes current at once")
	}
	if c.step != createSecret {
		report(ChangesPending, "only createSecret stores a value", c.step+" does")
	}
	t.inspectToken(c)
	t.mu.Lock()
	untouched := t.sound && !t.ever[setSecret]
	t.mu.Unlock()
	if c.step == createSecret && untouched && old == "" && !slices.ContainsFunc(t.stored(), t.look().accepted) {
		report(SetBeforeStore, "while the new value is not stored, the current version logs in",
			"the current version is refused: a crash now would leave a password that nobody knows")
	}
}

// inspectToken demands the RotationToken.
func (t *trial) inspectToken(c *call) {
	if c.in.RotationToken != "" {
		t.mu.Lock()
		t.proof = c.in.RotationToken
		t.mu.Unlock()
		t.watch(c.in.RotationToken, "the RotationToken")
		return
	}
	if c.repeat {
		return
	}
	f := Finding{Code: NoRotationToken, Step: c.step, At: opPut, Expected: "RotationToken is that of the event", Happened: "it is missing"}
	if sdk := oldSDK(c.agent); sdk != "" {
		f.Warning = true
		f.Happened = "it is missing; the function's SDK (" + sdk + ") is too old to know it"
	}
	t.add(f)
}

// botocore is how Python's SDK calls itself.
var botocore = regexp.MustCompile(`Botocore/1\.([0-9]+)\.`)

// tokenSince is the minor version 1.x of botocore from which on PutSecretValue
// surely has the parameter RotationToken.
const tokenSince = 35

// oldSDK names an SDK from before the parameter RotationToken.
func oldSDK(agent string) string {
	m := botocore.FindStringSubmatch(agent)
	if m == nil {
		return ""
	}
	if minor, err := strconv.Atoi(m[1]); err != nil || minor >= tokenSince {
		return ""
	}
	return strings.TrimSuffix(m[0], ".")
}

// observe looks at an answer.
func (t *trial) observe(c *call, a *answer) {
	if c.op != opRandom || a.status != http.StatusOK {
		return
	}
	var out struct{ RandomPassword string }
	if json.Unmarshal(a.body, &out) == nil {
		t.watch(out.RandomPassword, "a new password")
	}
}

// shortest is the length below which a text is no secret to look for: it
// would be found by chance.
const shortest = 8

// watchValue looks out for a value's secrets.
func (t *trial) watchValue(v value, what string) {
	for member, content := range v {
		if text, ok := content.(string); ok && plaintext.IsSecretName(member) && !strings.HasPrefix(text, "arn:") {
			t.watch(text, "the "+member+" of "+what)
		}
	}
}

// watch looks out for a text.
func (t *trial) watch(text, what string) {
	if len(text) < shortest {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.canaries[text]; !known {
		t.canaries[text] = what
	}
}

// hideVariables keeps the secrets of the function's variables out of reports.
// They are the function's own to log.
func (t *trial) hideVariables() {
	for name, content := range t.Function.Environment {
		if plaintext.IsSecretName(name) && !strings.HasPrefix(content, "arn:") || withUser.MatchString(content) {
			t.hide(content, "the variable "+name)
		}
	}
}

// hideLive keeps the live secrets out of reports, also those members that are
// not copied.
func (t *trial) hideLive() {
	if t.Shadow == nil {
		return
	}
	for what, secret := range map[string]value{"the user's secret": t.Shadow.Secret, "the superuser's secret": t.Shadow.Superuser} {
		for member, content := range secret {
			if text, ok := content.(string); ok && member != "username" && !slices.Contains(copied, member) && !strings.HasPrefix(text, "arn:") {
				t.hide(text, "the "+member+" of "+what)
			}
		}
	}
}

// hide takes a text out of reports.
func (t *trial) hide(text, what string) {
	if len(text) < shortest {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hidden[text] = what
}

// shownToken matches a RotationToken as a printed event has it, which only the
// function knows unless it passes it on.
var shownToken = regexp.MustCompile(`(RotationToken['"\\]*\s*[:=]\s*['"\\]*)[0-9A-Za-z-]{30,}`)

// searchText looks for secrets in a text.
func (t *trial) searchText(text, where string) {
	t.mu.Lock()
	what := ""
	for secret, name := range t.canaries {
		if slices.ContainsFunc(plaintext.Forms(secret), func(form string) bool { return strings.Contains(text, form) }) {
			what = name
		}
	}
	t.mu.Unlock()
	if what == "" && shownToken.MatchString(text) {
		what = "the RotationToken"
	}
	if what != "" {
		t.add(Finding{Code: LogsSecret, At: where, Expected: "no secret is shown", Happened: fmt.Sprintf("%s holds %s", where, what),
			Evidence: []string{t.redact(text)}})
	}
}

// searchLog looks for secrets in the function's log.
func (t *trial) searchLog(lines []string) {
	for _, line := range lines {
		t.searchText(line, "the function's log")
	}
}

// redact takes the secrets out of a text.
func (t *trial) redact(text string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, secrets := range []map[string]string{t.canaries, t.hidden} {
		for secret, name := range secrets {
			for _, form := range plaintext.Forms(secret) {
				text = strings.ReplaceAll(text, form, "<"+name+">")
			}
		}
	}
	return shownToken.ReplaceAllString(text, "${1}<the RotationToken>")
}
