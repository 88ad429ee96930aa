package doctor

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/network"
)

// path is the way to a service or to the database; nil if it was not looked
// at, or if nothing holds the function to it.
func (c *Case) path(to string) *Path {
	if c.Network == nil || !c.Network.Enforced {
		return nil
	}
	for i := range c.Network.Paths {
		if c.Network.Paths[i].To == to {
			return &c.Network.Paths[i]
		}
	}
	return nil
}

// hop is where a way ends; nil when it leads through or is not known.
func (p *Path) hop() *network.Hop {
	if p == nil || p.Report.Verdict == network.Allowed || len(p.Report.Hops) == 0 {
		return nil
	}
	return &p.Report.Hops[len(p.Report.Hops)-1]
}

// passes tells that a way was looked at and leads through.
func (p *Path) passes() bool { return p != nil && p.Report.Verdict == network.Allowed }

func (p *Path) where() string {
	if p.Port == 0 {
		return cmp.Or(p.Host, p.To)
	}
	return fmt.Sprintf("%s:%d", cmp.Or(p.Host, p.To), p.Port)
}

// pathFact says where a way ends.
func (p *Path) fact() Fact {
	h := p.hop()
	if h == nil {
		return Fact{Source: "network", Where: p.where(), Text: "the function's way to " + p.where() + " is open"}
	}
	said := h.Text
	if len(h.Evidence) > 0 {
		said += " (" + strings.Join(h.Evidence, "; ") + ")"
	}
	return Fact{Source: "network", Where: strings.TrimSpace(string(h.Stage) + " " + h.Resource), Text: said}
}

// mend adds the command that the analysis gives for a closed way.
func (p *Path) mend(f *Finding) *Finding {
	h := p.hop()
	if h == nil {
		return f
	}
	f.fact(p.fact())
	if h.Fix == "" {
		return f.cure("Open the way: "+h.Text, "")
	}
	return f.cure("Open the way: "+h.Text, "It changes the network for everything that the same "+strings.ReplaceAll(string(h.Stage), "-", " ")+" is for.", h.Fix)
}

// inVPC tells whether the function is attached to a VPC.
func (c *Case) inVPC() bool { return c.Function != nil && len(c.Function.SubnetIDs) > 0 }

// reached tells that an earlier step of the same rotation went well, and so
// that Secrets Manager is within reach, or that this invocation got so far.
func (c *Case) reached() bool {
	for _, inv := range c.runs {
		if inv != c.run && inv.Complete && !isFailed(inv) && stepOf(inv) != "" && stepOf(inv) != c.step {
			return true
		}
	}
	for _, r := range c.Reports {
		if r.Token == c.token && r.Status == "done" {
			return true
		}
	}
	_, ok := c.find(progressPattern)
	return ok
}

// progressPattern are lines that are written after Secrets Manager has
// answered.
var progressPattern = compiled(`(?:createSecret|setSecret|testSecret|finishSecret|create_secret|set_secret|finish_secret): |Successfully established`)

var (
	credentialsPattern = compiled(`Found credentials in environment variables`)
	createdPattern     = compiled(`createSecret`)
	loggedInPattern    = compiled(`Successfully established`)
	waitingPattern     = compiled(`not active, waiting`)
	fetchedPattern     = compiled(`not a service-linked secret|Successfully fetched connection params`)
)

// stopped says where an invocation that used all its time stopped.
type stopped int

const (
	notStopped stopped = iota
	beforeAnything
	afterCreate
	atLogin
	afterLogin
	atCache
	atRDS
)

// whereStopped reads the last line and the step.
func (c *Case) whereStopped() stopped {
	if c.symptom != timedOut {
		return notStopped
	}
	last := c.lastWord().Text
	switch {
	case waitingPattern.MatchString(last):
		return atCache
	case (c.step == stepSet || c.step == stepTest) && c.serviceSuperuser() && c.closed("rds"):
		return atRDS
	case loggedInPattern.MatchString(last) || c.step != stepCreate && setPattern.MatchString(last):
		return afterLogin
	case createdPattern.MatchString(last) && c.step != stepSet && c.step != stepTest:
		return afterCreate
	case (c.step == stepSet || c.step == stepTest) && (c.reached() || !credentialsPattern.MatchString(last) && last != ""):
		return atLogin
	case last == "" || credentialsPattern.MatchString(last):
		return beforeAnything
	}
	return afterCreate
}

// serviceSuperuser tells that the superuser's secret is one that RDS keeps,
// so that the function has to ask RDS where its server is.
func (c *Case) serviceSuperuser() bool { return c.Superuser != nil && c.Superuser.Service != "" }

// closed tells that the way to a service is known to end on the way.
func (c *Case) closed(to string) bool { return c.path(to).hop() != nil }

// loginLimit is what one login of AWS's templates, and of Keyturn's rotators
// at most, waits for a server that does not answer.
const loginLimit = 5 * time.Second

// duration reads the time of the failing invocation: row by row the table of
// durations.
func (c *Case) duration() (slow, known bool) {
	took := c.took()
	return took >= loginLimit, took > 0
}

func (c *Case) durationFact() Fact {
	f := Fact{Source: "log", Text: fmt.Sprintf("%s took %s", cmp.Or(c.step, "the invocation"), millis(c.took()))}
	if c.run != nil {
		f.At, f.Where = c.run.StartedAt, c.run.RequestID
	}
	if c.Function != nil && c.Function.Timeout > 0 {
		f.Text += fmt.Sprintf(" of the %s that the function has", seconds(c.Function.Timeout))
	}
	return f
}

// raiseTimeout adds the remedy of a longer timeout.
func (c *Case) raiseTimeout(f *Finding, to time.Duration) *Finding {
	to = min(to, 15*time.Minute)
	n := int32(to / time.Second)
	f.cure(fmt.Sprintf("Give the function %s.", seconds(to)), "An invocation that hangs costs so much more time.",
		c.onFunction("update-function-configuration", "--timeout", fmt.Sprint(n)))
	return f.act(Action{Kind: RaiseTimeout, Secret: c.secretID(), Function: c.functionARN(), Seconds: n, Rotates: true})
}
