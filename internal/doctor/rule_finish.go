package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/rotator"
)

func testRules() []rule {
	return []rule{
		{"D38", "The new password does not log in after it was set", phaseTest,
			[]string{"the change is not effective yet (Db2, replicas, pooling proxies)", "it was made on another host", "the clone lacks CONNECT or a default database"},
			[]string{"wait and try again", "change on the primary", "grant"}, checkPendingLogin},
		{"D39", "finishSecret may not move AWSCURRENT", phaseTest,
			[]string{"the role lacks UpdateSecretVersionStage", "AWSCURRENT moved meanwhile"}, []string{"grant it", "rotate again"}, checkFinish},
		{"D40", "AWSPENDING was moved or removed during the rotation", phaseTest,
			[]string{"somebody moved or removed the label", "another rotation took its place", "an event with a made-up token"},
			[]string{"rotate anew", "test functions with --no-rotate-immediately"}, checkLabelsMoved},
		{"D41", "Rotation was switched off while it ran", phaseTest,
			[]string{"CancelRotateSecret during the rotation", "the function was invoked by hand for a secret that does not rotate"},
			[]string{"decide which version is to be current, take AWSPENDING off, switch rotation on again"}, checkSwitchedOff},
		{"D42", "The rotation changed nothing: its version was current already", phaseTest,
			[]string{"the function was invoked with the current version's id", "AWSCURRENT was moved early"}, []string{"rotate anew"}, checkAlreadyCurrent},
		{"D43", "Somebody wrote the secret while it rotated", phaseTest,
			[]string{"PutSecretValue or UpdateSecret by a person, a pipeline or a program during the rotation"}, []string{"one owner of the value", "rotate again"}, checkAbandoned},
		{"D44", "The function was throttled", phaseTest,
			[]string{"reserved concurrency too low", "provisioned concurrency below 10", "the account's limit is used up"},
			[]string{"at least 10, or none reserved", "concurrency = requests a second x seconds of one"}, checkThrottled},
		{"D45", "Calls of the function's role were refused", phaseTest,
			[]string{"network or permissions, as the trail's calls of the role show"}, []string{"as D01 to D04"}, checkRoleCalls},
		{"D46", "AWSCURRENT does not log in although no rotation failed", phaseTest,
			[]string{"the secret was edited and the database was not, or the other way round", "programs cache", "the moment between setSecret and finishSecret of single-user rotation"},
			[]string{"restore the pair", "retry with backoff", "alternating users"}, checkCurrentDead},
		{"D47", "Every second rotation fails", phaseTest,
			[]string{"the clone of alternating users lacks rights that were granted later, or owns nothing", "rules for hosts or TLS differ between the two"},
			[]string{"grant through a role that both have", "KEYTURN_SYNC_PRIVILEGES"}, checkEverySecond},
		{"D48", "AWSPENDING is stuck", phaseTest,
			[]string{"a rotation failed or was cut off, and its cause persists", "a configuration test left it"},
			[]string{"mend the cause first, then take the label off"}, checkStuck},
	}
}

func checkPendingLogin(c *Case) *Finding {
	if c.symptom != pendingLogin {
		return nil
	}
	if s, ok := c.login().spoke(unreachable()...); ok && s.cause != "" || c.closed("database") {
		return nil
	}
	if _, _, tls := c.brokenTLS(); tls {
		return nil
	}
	confidence := Likely
	f := c.bySymptom(pendingLogin, confidence, fmt.Sprintf("setSecret set the pending password of %s, and testSecret does not log in with it.", c.secretName()))
	for _, s := range c.login().said {
		f.fact(s.fact)
	}
	if x, ok := c.findRun(setPattern); ok {
		f.fact(x)
	}
	f.not("D11", "setSecret logged in and changed the password")
	if s, ok := c.login().spoke(rotator.CauseDatabase, rotator.CausePermission, rotator.CauseAccess); ok {
		f.Confidence = Certain
		f.Cause += fmt.Sprintf(" The login is let in but refused further (%s): the user lacks CONNECT, or the database is missing for it.", s.cause)
		f.cure("Grant the user what the test needs.", "")
		return c.again(f, false)
	}
	if c.live.pending == yes && len(c.Probes) > 0 {
		f.Confidence = Certain
		f.Cause += " By now it does: the change took effect late (a replica, a proxy that caches, Db2's ten seconds)."
		return c.again(f, true)
	}
	f.look("a login with AWSPENDING now: keyturn doctor --probe %s", quote(c.secretID()))
	f.look("whether the host is a replica or a pooling proxy")
	f.cure("Let the function change the password on the primary and test after the change has arrived.", "")
	return c.again(f, false)
}

func checkFinish(c *Case) *Finding {
	f := c.bySymptom(finishDenied, Certain, "")
	if f == nil {
		return nil
	}
	if strings.Contains(c.told.Text, "RemoveFromVersionId") {
		f.Cause = fmt.Sprintf("AWSCURRENT of %s was moved by somebody else just before finishSecret.", c.secretName())
		for i := range c.Events {
			if ev := &c.Events[i]; ev.Label == labelCurrent && !c.byFunction(ev) && c.during(ev.At) {
				f.fact(eventFact(ev))
			}
		}
		if len(f.Facts) == 1 {
			f.Confidence = Likely
		}
		f.look("which of the two passwords the database takes: keyturn doctor --probe %s", quote(c.secretID()))
		return f.cure("Find out which version is right: that of the function, or the one that was made current meanwhile. Then move AWSCURRENT to it, or take AWSPENDING off, and rotate again.",
			"The other one does not log in any more.", c.aws("secretsmanager", "list-secret-version-ids", "--secret-id", c.secretID()))
	}
	if !strings.Contains(c.told.Text, "AccessDenied") && !strings.Contains(c.told.Text, "not authorized") {
		f.Confidence = Likely
	}
	f.Cause = fmt.Sprintf("The role of %s may not move AWSCURRENT (secretsmanager:UpdateSecretVersionStage). The database has the new password already.", c.functionName())
	if d := c.refused("secretsmanager:UpdateSecretVersionStage", ""); d != nil {
		f.fact(decisionFact(d))
	}
	f.cure("Grant it on the secret's full ARN.", "", c.putRolePolicy("D39", allow(c.secretID(), allSecretActions...)))
	return c.again(f, false)
}

// during tells that something happened while the rotation ran.
func (c *Case) during(at time.Time) bool {
	return !at.Before(c.started.Add(-slack)) && (c.ended.IsZero() || !at.After(c.ended.Add(slack)))
}

// foreign lists what others than the function and the service changed of the
// secret during the rotation.
func (c *Case) foreign() []*Event {
	var all []*Event
	for i := range c.Events {
		ev := &c.Events[i]
		if ev.Service || ev.ErrorCode != "" || c.byFunction(ev) || !c.concerns(ev) || !c.during(ev.At) {
			continue
		}
		switch ev.Name {
		case "PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage", "DeleteSecret", "CancelRotateSecret", "RestoreSecret":
			if ev.Name != "PutSecretValue" || ev.Token != c.token || !ev.HadRotationToken {
				all = append(all, ev)
			}
		}
	}
	return all
}

func checkLabelsMoved(c *Case) *Finding {
	if c.outcome == abandoned {
		return nil // the label went with the rotation: D43
	}
	f := c.bySymptom(labelsMoved, Likely, fmt.Sprintf("While %s rotated, AWSPENDING was no longer on version %s.", c.secretName(), c.token))
	if f == nil {
		return nil
	}
	for _, ev := range c.foreign() {
		if ev.Label == labelPending || ev.Name == "PutSecretValue" || ev.Label == labelCurrent {
			f.Confidence = Certain
			f.Cause = fmt.Sprintf("While %s rotated, %s by %s took AWSPENDING off version %s.", c.secretName(), ev.Name, ev.Principal, c.token)
			f.fact(eventFact(ev))
		}
	}
	if f.Confidence != Certain {
		f.look("UpdateSecretVersionStage, PutSecretValue and RotateSecret events around %s", day(c.told.At))
		f.look("whether the function was invoked by hand with a token of its own")
	}
	return c.again(f, true)
}

func checkSwitchedOff(c *Case) *Finding {
	off := c.Secret.RotationEnabled != nil && !*c.Secret.RotationEnabled
	if c.symptom != notEnabled && (c.state.kind != cancelledMidway || c.symptom != noSymptom && c.symptom != stepFailed) {
		return nil
	}
	f := c.finding(Certain, fmt.Sprintf("Rotation of %s was switched off while it ran.", c.secretName()), c.told.Fact).weigh(10)
	if !off && c.symptom == notEnabled {
		f.Confidence = Likely
		f.Cause = fmt.Sprintf("%s was invoked for %s while its rotation was off; it is on again now.", c.functionName(), c.secretName())
	}
	if off {
		f.saw("DescribeSecret", "RotationEnabled is false")
	}
	if i := c.lastEvent(func(ev *Event) bool { return ev.Name == "CancelRotateSecret" && ev.ErrorCode == "" }); i >= 0 {
		f.fact(eventFact(&c.Events[i]))
	}
	if c.Secret.RotationEnabled == nil {
		f.Cause = fmt.Sprintf("%s was invoked for %s, which has no rotation: by hand, or for another secret.", c.functionName(), c.secretName())
		return f.cure("Turn rotation on for the secret, or leave the function alone.", "", c.testCommand("FUNCTION_ARN"))
	}
	if c.stuck() {
		return c.release(f)
	}
	return f.cure("Switch rotation on again, if it is wanted.", "", c.rotateCommand())
}

var alreadyCurrent = compiled(`already set as AWSCURRENT for secret`)

func checkAlreadyCurrent(c *Case) *Finding {
	if c.outcome == running || c.outcome == held {
		return nil
	}
	var shown Fact
	steps := map[string]bool{}
	for _, inv := range c.runs {
		for _, l := range lastLines(inv) {
			if alreadyCurrent.MatchString(l.Text) {
				shown = logFact(inv, l)
				steps[stepOf(inv)] = true
			}
		}
	}
	// A retry after finishSecret has done its work says so too, and rightly.
	if len(steps) == 0 || !steps[stepCreate] && !steps[stepSet] || len(c.runs) > 0 && slices.ContainsFunc(c.runs, func(inv *Invocation) bool {
		return slices.ContainsFunc(lastLines(inv), func(l Line) bool { return setPattern.MatchString(l.Text) })
	}) {
		return nil
	}
	f := c.finding(Likely, fmt.Sprintf("The steps for %s found version %s current already and did nothing: the password is what it was.", c.secretName(), c.token), shown)
	if !c.failing() {
		f.as(rankBroken)
	}
	for _, ev := range c.foreign() {
		if ev.Label == labelCurrent {
			f.Confidence = Certain
			f.fact(eventFact(ev))
		}
	}
	return c.again(f, true)
}

func checkAbandoned(c *Case) *Finding {
	if c.outcome != abandoned {
		return nil
	}
	f := c.finding(Likely, fmt.Sprintf("The rotation of %s was given up, because a new version was made while it ran. The value is the one that was written then; the database was perhaps not told.", c.secretName()), c.source)
	f.Step = ""
	for _, ev := range c.foreign() {
		if ev.Name == "PutSecretValue" || ev.Name == "UpdateSecret" || ev.Label == labelCurrent {
			f.Confidence = Certain
			f.Cause = fmt.Sprintf("%s by %s made a new version of %s while it rotated, so the rotation was given up.", ev.Name, ev.Principal, c.secretName())
			f.fact(eventFact(ev))
		}
	}
	if f.Confidence != Certain {
		f.look("PutSecretValue and UpdateSecret events between %s and %s", day(c.started), day(c.ended))
	}
	if c.live.current == no {
		f.cure("AWSCURRENT does not log in now: give the database the password of AWSCURRENT, or store the one that it has.", "", c.putCommand())
	}
	f.cure("Leave the value to rotation alone: take it out of the pipeline (in Terraform, ignore_changes on secret_string).", "")
	return c.again(f, true)
}

// lowReserve is the concurrency below which AWS sees rotations throttled.
const lowReserve = 10

func checkThrottled(c *Case) *Finding {
	fn := c.Function
	zero := fn != nil && fn.Reserved != nil && *fn.Reserved == 0
	throttles := c.Load != nil && c.Load.Throttles != nil && *c.Load.Throttles > 0
	low := fn != nil && (fn.Reserved != nil && *fn.Reserved < lowReserve || fn.Provisioned != nil && *fn.Provisioned < lowReserve && *fn.Provisioned > 0)
	silent := c.silent() && (c.symptom == stepFailed || c.symptom == noSymptom)
	if c.symptom != throttledFunction && !zero && (!silent || !throttles && !low) {
		return nil
	}
	f := c.finding(Likely, fmt.Sprintf("%s was not run: as many of it as may run at once were running already.", c.functionName())).weigh(10)
	switch {
	case c.symptom == throttledFunction:
		f.Confidence = Certain
		f.fact(c.told.Fact)
	case zero:
		f.Confidence = Certain
		if !silent {
			f.as(rankBroken)
		}
	default:
		f.fact(Fact{Source: "event", At: c.ended, Where: c.source.Where, Text: c.message})
	}
	if zero {
		f.Cause = fmt.Sprintf("The reserved concurrency of %s is 0, which switches it off.", c.functionName())
	}
	c.arithmetic(f)
	if silent {
		f.not("D11", "the function left no log: it did not run")
	}
	if fn != nil && fn.Reserved != nil {
		f.cure("Take the reserved concurrency away, or reserve at least 10 (concurrency = invocations a second x seconds of one).",
			"Somebody may have set it to switch the function off, or to spare the database: ask first.", c.onFunction("delete-function-concurrency"))
		return c.again(f, false)
	}
	f.cure("Spread the windows of the secrets that rotate by the function, or ask for a higher limit of the account.", "",
		c.aws("lambda", "get-account-settings"))
	return c.again(f, false)
}

// arithmetic adds what is known of concurrency.
func (c *Case) arithmetic(f *Finding) {
	if c.Function != nil {
		if r := c.Function.Reserved; r != nil {
			f.saw("GetFunctionConcurrency", "reserved concurrency %d", *r)
		}
		if p := c.Function.Provisioned; p != nil {
			f.saw("GetProvisionedConcurrencyConfig", "provisioned concurrency %d", *p)
		}
	}
	l := c.Load
	if l == nil {
		return
	}
	if l.Throttles != nil && *l.Throttles > 0 {
		f.saw("GetMetricStatistics", "%d throttles in the last day", *l.Throttles)
	}
	if l.AccountLimit > 0 {
		f.saw("GetAccountSettings", "the account's limit is %d, %d of it unreserved", l.AccountLimit, l.Unreserved)
	}
	if l.Due > 1 && l.MeanTook > 0 {
		f.saw("ListSecrets", "%d secrets rotate by the function, %d of them within the same hour, four steps of %s each", l.Secrets, l.Due, millis(l.MeanTook))
	}
}

func checkRoleCalls(c *Case) *Finding {
	if c.outcome != failed || c.symptom != stepFailed && c.symptom != noSymptom {
		return nil
	}
	i := c.lastEvent(func(ev *Event) bool {
		return ev.ErrorCode != "" && c.byFunction(ev) && c.during(ev.At) && !expectedError(ev)
	})
	if i < 0 {
		return nil
	}
	ev := &c.Events[i]
	f := c.finding(Likely, fmt.Sprintf("%s of the function's role failed during the rotation: %s.", ev.Name, ev.ErrorCode), eventFact(ev), c.source)
	if g := c.gap("logs:"); g != nil {
		f.look("the function's log, which could not be read: %s", g.Error)
	}
	if strings.Contains(ev.ErrorCode, "AccessDenied") {
		action := strings.TrimSuffix(ev.Source, ".amazonaws.com") + ":" + ev.Name
		switch {
		case slices.Contains(allSecretActions, action):
			f.cure("Grant the role the four actions of a rotation on the secret's full ARN.", "", c.putRolePolicy("D45", allow(c.secretID(), allSecretActions...)))
		case slices.Contains(grantable, action):
			f.cure("Grant the role "+action+".", "", c.putRolePolicy("D45", allow("*", action)))
		default:
			f.cure("Rotation functions do not need "+action+": find out why this one calls it, before anybody grants it.", "", c.logsCommand())
		}
	} else {
		f.cure("Look at the call and what it was refused for.", "", c.logsCommand())
	}
	return c.again(f, false)
}

// expectedError tells the refusals that every good rotation has: createSecret
// looks for a pending value that is not there yet.
func expectedError(ev *Event) bool {
	return ev.Name == "GetSecretValue" && ev.ErrorCode == "ResourceNotFoundException"
}

func checkCurrentDead(c *Case) *Finding {
	if c.failing() || c.stuck() || c.outcome == running || c.outcome == held {
		return nil
	}
	p, refused := c.login().refused()
	if c.live.current != no {
		if !refused {
			return nil
		}
		return c.maybeDead(p)
	}
	f := c.finding(Certain, fmt.Sprintf("AWSCURRENT of %s does not log in, although no rotation failed.", c.secretName())).as(rankBroken)
	f.Step = ""
	for _, p := range c.Probes {
		if p.Label != "superuser" {
			f.fact(probeFact(p))
		}
	}
	if c.live.previous == yes {
		f.Cause += " AWSPREVIOUS does: the value was changed in the secret and not in the database."
		f.cure("Move AWSCURRENT back to the version that logs in, or set the password of AWSCURRENT in the database.", "", c.aws("secretsmanager", "update-secret-version-stage",
			"--secret-id", c.secretID(), "--version-stage", labelCurrent, "--move-to-version-id", c.previous, "--remove-from-version-id", c.current))
		if c.strategy() != "alternating" {
			f.cure("Single-user rotation logs in with AWSPREVIOUS by itself: rotating mends it too.", "", c.rotateCommand()).
				act(Action{Kind: Rotate, Secret: c.secretID(), Rotates: true})
		}
		return f
	}
	f.Cause += " Another login of the secret works from the same place."
	return f.cure("Set the user's password as a superuser of the database and store it.", "Programs that hold the password that the database has now lose it.", c.putCommand(), c.rotateCommand())
}

// maybeDead is a password that was refused where nothing else worked either:
// the place may be what is refused.
func (c *Case) maybeDead(p Probe) *Finding {
	if p.From == "function" {
		f := c.finding(Certain, fmt.Sprintf("AWSCURRENT of %s does not log in from the function, although no rotation failed: the password was changed in the database, or the user is gone.", c.secretName()), probeFact(p)).as(rankBroken)
		f.Step = ""
		return f.cure("Set the user's password as a superuser of the database and store it.", "Programs that hold the password that the database has now lose it.", c.putCommand(), c.rotateCommand())
	}
	f := c.finding(Possible, fmt.Sprintf("AWSCURRENT of %s is refused from here. Servers refuse a right password from a place that they do not know with the same answer.", c.secretName()), probeFact(p)).as(rankRisk)
	f.Step = ""
	f.look("the same login from inside the function's network: keyturn doctor --probe-in-function %s", quote(c.secretID()))
	return f.cure("Change nothing before a login from where the programs run has failed too.", "A password that is reset although it works ends those programs' logins.")
}

func checkEverySecond(c *Case) *Finding {
	if c.strategy() != "alternating" {
		return nil
	}
	var ends []outcome
	last := ""
	for i := range c.Events {
		ev := &c.Events[i]
		what := eventEnds[ev.Name]
		if what != succeeded && what != failed || strings.HasPrefix(ev.Name, "Test") || !c.concerns(ev) {
			continue
		}
		if ev.Token != "" && ev.Token == last && len(ends) > 0 {
			ends[len(ends)-1] = what
			continue
		}
		ends, last = append(ends, what), ev.Token
	}
	if len(ends) < 4 {
		return nil
	}
	ends = ends[len(ends)-4:]
	if ends[0] == ends[1] || ends[1] == ends[2] || ends[2] == ends[3] {
		return nil
	}
	f := c.finding(Likely, fmt.Sprintf("The rotations of %s fail and succeed by turns: one of its two users lacks what the other has.", c.secretName()), c.source)
	f.Step = ""
	if !c.failing() {
		f.as(rankRisk)
	}
	f.look("the rights of the user and of its clone, and who owns the objects")
	return f.cure("Grant rights to a role that both users have, and let it own the objects; Keyturn's rotators copy rights in every rotation with KEYTURN_SYNC_PRIVILEGES=true.", "",
		c.setVariable("KEYTURN_SYNC_PRIVILEGES", "true")...)
}

func checkStuck(c *Case) *Finding {
	if !c.stuck() || c.outcome == running || c.outcome == held || c.refusal.Text != "" || c.state.kind == cancelledMidway || !c.Secret.DeletedAt.IsZero() {
		return nil
	}
	if c.outcome == unknown && c.young() {
		return nil
	}
	f := c.finding(Certain, fmt.Sprintf("AWSPENDING of %s is stuck on version %s, which is not the current one, so RotateSecret is refused.", c.secretName(), c.pending)).as(rankConsequence)
	if c.retryLine() != "" {
		f.Cause = fmt.Sprintf("AWSPENDING of %s is on version %s until the rotation succeeds or is given up; RotateSecret is refused as long.", c.secretName(), c.pending)
	}
	if g := c.gap("cloudtrail:"); g != nil && c.outcome == unknown && !c.live.byProbe() {
		f.Confidence = Possible
		f.Cause = fmt.Sprintf("AWSPENDING of %s is on version %s, which is not the current one. Whether a rotation is under way is not known, because its events could not be read.", c.secretName(), c.pending)
		f.look("the labels a while later, and the events: %s", g.Error)
		f.saw("DescribeSecret", "AWSPENDING is on %s, AWSCURRENT on %s", c.pending, c.current)
		return f.cure("Wait until it has ended.", "", c.aws("secretsmanager", "describe-secret", "--secret-id", c.secretID()))
	}
	f.saw("DescribeSecret", "AWSPENDING is on %s, AWSCURRENT on %s", c.pending, c.current)
	failures := 0
	for i := range c.Events {
		if ev := &c.Events[i]; ev.Name == "RotationFailed" && c.concerns(ev) {
			failures++
		}
	}
	if failures > 1 {
		f.Cause += fmt.Sprintf(" It failed %d times: something persists.", failures)
	}
	if c.state.kind == leftoverTest {
		f.Cause += " Its password is that of AWSCURRENT: a configuration test left it, or the function copies the value."
	}
	return c.release(f)
}

// young tells that the stuck version may still be worked on, for all that is
// known: its rotation began a short while ago.
func (c *Case) young() bool {
	at := c.Secret.LastChangedAt
	for _, v := range c.Versions {
		if v.ID == c.pending && v.CreatedAt.After(at) {
			at = v.CreatedAt
		}
	}
	if c.started.After(at) {
		at = c.started
	}
	return !at.IsZero() && !c.At.IsZero() && c.At.Sub(at) < c.patience()
}
