package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// liveness says which versions' passwords the database takes.
type liveness struct {
	current, pending, previous answer
	// by is a fact that it rests on.
	by Fact
	// why says it in words.
	why string
}

// byProbe tells that a login shows it.
func (l liveness) byProbe() bool { return l.by.Source == "probe" }

// answer is yes, no or not known.
type answer int

const (
	maybe answer = iota
	yes
	no
)

var (
	setPattern     = compiled(`Successfully set password|already set as password in|Successfully signed into`)
	pendingRefused = compiled(`Login with the pending secret failed .*: (?:authentication|user missing): |pending: (?:authentication|user missing): `)
)

// findLive finds out which password is live: a probe knows; what the steps did
// and did not do shows it in most other cases, as long as nobody has written
// since.
func (c *Case) findLive() {
	if c.probed() || !c.stuck() {
		return
	}
	if c.samePassword(labelPending, labelCurrent) {
		c.live = liveness{pending: no, why: "both versions have the same password, so nothing is lost",
			by: Fact{Source: "probe", Where: labelPending, Text: "the passwords of AWSPENDING and AWSCURRENT are the same"}}
		return
	}
	if has, known := c.hasValue(c.pending); known && !has {
		c.live = liveness{current: yes, pending: no, why: "the pending version has no value, so no step can have put its password into the database",
			by: Fact{Source: "api", Where: "ListSecretVersionIds", Text: "version " + c.pending + " has no value"}}
		return
	}
	if c.token != c.pending || c.test || c.outcome == abandoned || c.writtenSince() {
		return
	}
	if c.step == stepTest && (c.symptom == pendingLogin || c.symptom == anyLogin) {
		return // what setSecret says it did, testSecret did not find
	}
	if _, refused := c.findRun(pendingRefused); refused && c.step != stepSet {
		return
	}
	if f, ok := c.findRun(setPattern); ok {
		c.live = liveness{current: no, pending: yes, by: f, why: "the function's log says that the pending password was set"}
		if c.strategy() == "alternating" {
			c.live.current = yes
			c.live.why += " on the other user of the pair; that of AWSCURRENT is untouched"
		}
		return
	}
	c.liveByStep()
}

// writtenSince tells that somebody else than the function has written the
// secret since the rotation began: what was set then may not be live now.
func (c *Case) writtenSince() bool {
	for i := range c.Events {
		ev := &c.Events[i]
		if ev.Service || ev.ErrorCode != "" || c.byFunction(ev) || !c.concerns(ev) || c.started.IsZero() || ev.At.Before(c.started) {
			continue
		}
		if ev.Name == "PutSecretValue" && ev.Token != c.token || ev.Name == "UpdateSecret" || ev.Name == "UpdateSecretVersionStage" && ev.Label == labelCurrent {
			return true
		}
	}
	return false
}

// liveByStep reasons from the step that failed.
func (c *Case) liveByStep() {
	switch c.step {
	case stepCreate:
		if c.hasSet() || c.gap("logs:") != nil {
			return // an earlier attempt may have come further
		}
		c.live = liveness{current: yes, pending: no, by: c.source, why: "createSecret failed, and only setSecret changes the database"}
	case stepTest, stepFinish:
		c.live = liveness{pending: yes, current: no, by: c.source, why: "setSecret returned without an error before " + c.step + " failed"}
		if c.strategy() == "alternating" {
			c.live.current = yes
		} else if c.strategy() == "" {
			c.live.current = maybe
		}
	case stepSet:
		if f, ok := c.findRun(pendingRefused); ok {
			c.live = liveness{pending: no, by: f, why: "the database refused the pending password"}
			return
		}
		switch c.symptom {
		case otherUser, otherHost, noMasterARN, superuserDenied, superuserLogin, currentLogin, wrongEngine, keyMissing, notImplemented,
			cannotInvoke, noInterpreter, noConfinement, noHeldVPC, roleRefused, variablesSealed, noImport, wrongBuild, throttledFunction, labelsMoved, notEnabled:
			if !c.changedBefore() {
				c.live = liveness{current: maybe, pending: no, by: c.told.Fact, why: "setSecret ended before it changed anything in the database"}
			}
		}
	}
}

// hasSet tells that setSecret of this rotation ran in some attempt.
func (c *Case) hasSet() bool {
	for _, inv := range c.runs {
		if stepOf(inv) == stepSet && inv != c.run {
			return true
		}
	}
	for _, r := range c.Reports {
		if r.Token == c.token && (r.Step == stepSet || r.Attempt > 1) {
			return true
		}
	}
	return false
}

// changedBefore tells that some invocation of setSecret of this rotation may
// have changed the password: it ran out of time or is not in the log whole.
func (c *Case) changedBefore() bool {
	return slices.ContainsFunc(c.runs, func(inv *Invocation) bool {
		return stepOf(inv) == stepSet && (inv.TimedOut || !inv.Complete && inv != c.run)
	})
}

// probed takes the probes' word. That a password was refused says something
// only where another login of the secret worked from the same place: hosts,
// rules and proxies refuse right passwords with the same answer.
func (c *Case) probed() bool {
	found := false
	for _, p := range c.Probes {
		var to *answer
		switch p.Label {
		case labelCurrent:
			to = &c.live.current
		case labelPending:
			to = &c.live.pending
		case labelPrevious:
			to = &c.live.previous
		default:
			continue
		}
		switch {
		case p.LogsIn:
			*to = yes
		case *to != yes && refusedLogin(p) && c.worksFrom(p.From, false):
			*to = no
		default:
			continue
		}
		if !found || p.LogsIn {
			c.live.by = probeFact(p)
		}
		found = true
	}
	if found {
		c.live.why = "the probe logged in"
	}
	return found
}

// worksFrom tells that some version logged in from a place, or, where that
// counts, the superuser.
func (c *Case) worksFrom(from string, superuser bool) bool {
	return slices.ContainsFunc(c.Probes, func(p Probe) bool {
		return p.From == from && p.LogsIn && (superuser || p.Label != "superuser")
	})
}

// refusedLogin tells that the server itself refused name and password: a
// network that fails says nothing of passwords, nor does a locked account.
func refusedLogin(p Probe) bool {
	f := failedStage(p)
	return f != nil && f.Name == "auth" && (f.Cause == "authentication" || f.Cause == "user missing")
}

func failedStage(p Probe) *Stage {
	for i := range p.Stages {
		if !p.Stages[i].OK {
			return &p.Stages[i]
		}
	}
	return nil
}

func probeFact(p Probe) Fact {
	f := Fact{Source: "probe", Where: fmt.Sprintf("%s from %s", p.Label, p.From)}
	at := fmt.Sprintf("user %q at %s:%d", p.Username, p.Host, p.Port)
	s := failedStage(p)
	switch {
	case p.LogsIn:
		f.Text = "the " + p.Label + " version logs in as " + at
	case s == nil:
		f.Text = "the " + p.Label + " version does not log in as " + at
	default:
		said := strings.Trim(s.Cause+": "+s.Text, ": ")
		f.Text = fmt.Sprintf("the %s version does not log in as %s: %s failed after %s: %s", p.Label, at, s.Name, millis(s.Took), said)
	}
	return f
}

// names lists the labels whose password is live.
func (l liveness) names() string {
	var names []string
	for _, p := range []struct {
		label string
		is    answer
	}{{labelCurrent, l.current}, {labelPending, l.pending}, {labelPrevious, l.previous}} {
		if p.is == yes {
			names = append(names, p.label)
		}
	}
	return strings.Join(names, ", ")
}

// mayRemove tells that AWSPENDING may be taken away without losing the live
// password; mayPromote that the pending version may become the current one.
func (c *Case) mayRemove() bool {
	return c.stuck() && (c.live.pending == no || c.live.pending == yes && c.live.current == yes)
}

func (c *Case) mayPromote() bool {
	return c.stuck() && c.live.pending == yes && c.live.current != yes
}

// proven tells that which password is live rests on more than a line of a log,
// which anybody may have written and time may have overtaken: on a login of
// this very run, or on what the service keeps. Only then a label is moved
// without a person.
func (c *Case) proven() bool {
	switch {
	case c.retryLine() != "" || c.outcome == running || c.outcome == held:
		return false // the next attempt may change it at any moment
	case c.live.by.Source == "probe" && c.live.pending == yes && c.live.current == no:
		return true
	case c.live.by.Source == "probe":
		return c.live.current == yes || c.live.previous == yes || c.samePassword(labelPending, labelCurrent)
	case c.live.pending == no && c.live.current == yes:
		has, known := c.hasValue(c.pending)
		return known && !has || c.step == stepCreate
	}
	return false
}

// state is a row of the table of states: how labels, values and dates stand.
type state struct {
	kind stateKind
	text string
}

type stateKind int

const (
	notConfigured stateKind = iota
	healthy
	switchedOff
	inProgress
	pendingEmpty
	pendingDead
	pendingLive
	pendingUnknown
	cancelledMidway
	leftoverTest
	currentDead
	allDead
	noCurrentValue
	overdueState
	gone
)

// findState reads the table of states.
func (c *Case) findState() {
	s := &c.Secret
	name := c.secretName()
	switch {
	case !s.DeletedAt.IsZero():
		c.state = state{gone, fmt.Sprintf("%s is scheduled for deletion: it does not rotate.", name)}
	case c.outcome == held:
		c.state = state{inProgress, fmt.Sprintf("%s is rotating; the rotation waits for readers of the old password.", name)}
	case c.outcome == running:
		c.state = state{inProgress, fmt.Sprintf("%s is rotating right now.", name)}
	case c.stuck():
		c.state = c.stuckState()
	case c.live.current == no && c.live.previous == yes:
		c.state = state{currentDead, fmt.Sprintf("AWSCURRENT of %s does not log in, AWSPREVIOUS does: the value was changed in the secret and not in the database.", name)}
	case c.live.current == no && c.live.previous == no:
		c.state = state{allDead, fmt.Sprintf("No version of %s logs in: the password was changed in the database alone.", name)}
	case s.RotationEnabled == nil && s.OwningService == "":
		c.state = state{notConfigured, fmt.Sprintf("Rotation of %s was never configured.", name)}
	case s.RotationEnabled != nil && !*s.RotationEnabled:
		c.state = state{switchedOff, fmt.Sprintf("Rotation of %s is switched off.", name)}
	case c.current == "" && (len(s.Labels) > 0 || len(c.Versions) > 0):
		c.state = state{noCurrentValue, fmt.Sprintf("%s has no version with AWSCURRENT.", name)}
	case c.isOverdue():
		c.state = state{overdueState, fmt.Sprintf("%s should have been rotated by %s.", name, day(s.NextRotationAt))}
	case c.pending != "":
		c.state = state{healthy, fmt.Sprintf("%s is well: AWSPENDING is on the current version, which does not matter.", name)}
	default:
		c.state = state{healthy, c.healthyText()}
	}
	if c.failing() && c.state.kind == healthy {
		c.state.text = fmt.Sprintf("The last rotation of %s failed; no version is left half changed.", name)
	}
}

func (c *Case) healthyText() string {
	s := &c.Secret
	switch {
	case s.OwningService != "":
		return fmt.Sprintf("%s is managed by %s, which rotates it.", c.secretName(), s.OwningService)
	case s.LastRotatedAt.IsZero():
		return fmt.Sprintf("%s has not rotated yet; the next rotation is due by %s.", c.secretName(), day(s.NextRotationAt))
	}
	return fmt.Sprintf("%s was last rotated on %s; the next rotation is due by %s.", c.secretName(), day(s.LastRotatedAt), day(s.NextRotationAt))
}

func (c *Case) stuckState() state {
	name := c.secretName()
	has, known := c.hasValue(c.pending)
	switch {
	case c.Secret.RotationEnabled != nil && !*c.Secret.RotationEnabled:
		return state{cancelledMidway, fmt.Sprintf("Rotation of %s was switched off while it ran: AWSPENDING is still on version %s.", name, c.pending)}
	case known && !has:
		return state{pendingEmpty, fmt.Sprintf("AWSPENDING of %s is on version %s, which has no value: createSecret failed or never ran.", name, c.pending)}
	case c.samePassword(labelPending, labelCurrent):
		return state{leftoverTest, fmt.Sprintf("AWSPENDING of %s has the same password as AWSCURRENT: a configuration test left it, or the function copies the value.", name)}
	case c.live.pending == yes && c.live.current == yes:
		return state{pendingLive, fmt.Sprintf("AWSPENDING and AWSCURRENT of %s both log in: the rotation stopped after setSecret.", name)}
	case c.live.pending == yes && c.live.by.Source != "probe":
		return state{pendingLive, fmt.Sprintf("AWSPENDING of %s is stuck on version %s; as far as its log tells, the database has that password.", name, c.pending)}
	case c.live.pending == yes:
		return state{pendingLive, fmt.Sprintf("The database has the new password of %s, which is still only AWSPENDING: who uses AWSCURRENT cannot log in.", name)}
	case c.live.pending == no:
		return state{pendingDead, fmt.Sprintf("AWSPENDING of %s is stuck on version %s, whose password the database does not have.", name, c.pending)}
	}
	return state{pendingUnknown, fmt.Sprintf("AWSPENDING of %s is stuck on version %s; whether the database has its password is not known.", name, c.pending)}
}

func (c *Case) samePassword(a, b string) bool {
	v := c.value(a)
	return v != nil && slices.Contains(v.SamePassword, b)
}

// isOverdue tells that the window in which a rotation was to happen is over.
func (c *Case) isOverdue() bool { return overdue(&c.Secret, c.At) }

// late is how long after a window's end nothing need be wrong.
const late = time.Hour

func overdue(s *Secret, now time.Time) bool {
	return s.RotationEnabled != nil && *s.RotationEnabled && !s.NextRotationAt.IsZero() && now.After(s.NextRotationAt.Add(late))
}

// day prints a time for people.
func day(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}
