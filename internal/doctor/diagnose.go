package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// rule is a row of the knowledge base.
type rule struct {
	code, title string
	// phase is where it shows; the reports and docs/doctor.md group by it.
	phase string
	// causes and cures are for keyturn doctor --explain.
	causes, cures []string
	// check returns a finding without code and title, or nil.
	check func(*Case) *Finding
}

// The phases.
const (
	phaseRequest = "before or at RotateSecret"
	phaseCreate  = "createSecret"
	phaseSet     = "setSecret"
	phaseTest    = "testSecret, finishSecret and across steps"
	phaseRuntime = "runtime and packaging"
	phaseKeyturn = "not in AWS's guide"
)

// rules is the whole table, in the order in which rules are asked: of two
// findings of one rank and confidence, that of the earlier rule comes first.
func rules() []rule {
	return slices.Concat(requestRules(), createRules(), setRules(), testRules(), runtimeRules(), keyturnRules())
}

// The ranks of findings.
const (
	rankCause       = iota // why the rotation failed
	rankBroken             // what keeps the next one from succeeding
	rankConsequence        // what the failure left behind
	rankRisk               // what will go wrong one day
)

// Diagnose applies every rule to evidence and returns what it finds, the
// cause first. It makes something of any evidence, however little there is.
func Diagnose(e *Evidence) Diagnosis {
	if e == nil {
		e = &Evidence{}
	}
	c := newCase(e)
	d := Diagnosis{State: plain(c.state.text), Live: c.live.names(), Findings: []Finding{}, Gaps: cleanGaps(e.Gaps)}
	all := rules()
	for _, r := range all {
		if f := r.check(c); f != nil {
			f.Code, f.Title = r.code, r.title
			d.Findings = append(d.Findings, *f)
		}
	}
	d.Findings = c.withDenials(d.Findings)
	order(d.Findings)
	c.fallback(&d)
	name(d.Findings, all)
	for i := range d.Findings {
		c.complete(&d.Findings[i])
		d.Findings[i].clean()
	}
	return d
}

// order sorts the cause to the front. Consequences name it.
func order(all []Finding) {
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(surety(a.Confidence), surety(b.Confidence)), cmp.Compare(b.weight, a.weight))
	})
	for i := range all {
		all[i].Consequence = all[i].rank == rankConsequence
	}
	if len(all) == 0 || all[0].rank == rankRisk || all[0].rank == rankConsequence {
		return
	}
	for i := range all {
		if all[i].rank == rankConsequence {
			all[i].Cause += fmt.Sprintf(" This follows from %s: mend that first.", all[0].Code)
		}
	}
}

func surety(c Confidence) int { return slices.Index([]Confidence{Certain, Likely, Possible}, c) }

// name fills in the titles of what was ruled out, and takes out of it what
// was found after all.
func name(all []Finding, table []rule) {
	titles := map[string]string{}
	for _, r := range table {
		titles[r.code] = r.title
	}
	found := map[string]bool{}
	for _, f := range all {
		found[f.Code] = true
	}
	for i := range all {
		f := &all[i]
		f.RuledOut = slices.DeleteFunc(f.RuledOut, func(x Excluded) bool { return found[x.Code] })
		for j := range f.RuledOut {
			f.RuledOut[j].Title = titles[f.RuledOut[j].Code]
		}
	}
}

// withDenials leaves what looks the same as a surer cause to that: several
// causes of one failure are only told where none is certain.
func (c *Case) withDenials(all []Finding) []Finding {
	certain := slices.IndexFunc(all, func(f Finding) bool { return f.rank == rankCause && f.Confidence == Certain && !f.fallback })
	return slices.DeleteFunc(all, func(f Finding) bool {
		return certain >= 0 && f.rank == rankCause && f.Confidence != Certain && f.Code != all[certain].Code
	})
}

// fallback keeps a failed rotation from getting no finding at all.
func (c *Case) fallback(d *Diagnosis) {
	for _, f := range d.Findings {
		if f.rank == rankCause || f.rank == rankBroken {
			return
		}
	}
	if f := c.unexplained(); f != nil {
		d.Findings = append([]Finding{*f}, d.Findings...)
		order(d.Findings)
	}
}

// finding begins a finding about the failed step.
func (c *Case) finding(confidence Confidence, cause string, facts ...Fact) *Finding {
	f := &Finding{Confidence: confidence, Cause: cause, Step: c.step, Facts: []Fact{}, Remedies: []Remedy{}}
	for _, fact := range facts {
		f.fact(fact)
	}
	return f
}

// bySymptom begins a finding where the symptom is this one, with the text
// that shows it.
func (c *Case) bySymptom(s symptom, confidence Confidence, cause string) *Finding {
	if c.symptom != s {
		return nil
	}
	return c.finding(confidence, cause, c.told.Fact).weigh(10)
}

// fact adds a fact once.
func (f *Finding) fact(x Fact) *Finding {
	if x.Text != "" && !slices.ContainsFunc(f.Facts, func(y Fact) bool { return y.Text == x.Text }) {
		f.Facts = append(f.Facts, x)
	}
	return f
}

// saw adds a fact of the API.
func (f *Finding) saw(where, format string, args ...any) *Finding {
	return f.fact(Fact{Source: "api", Where: where, Text: fmt.Sprintf(format, args...)})
}

func (f *Finding) not(code, because string) *Finding {
	f.RuledOut = append(f.RuledOut, Excluded{Code: code, Because: because})
	return f
}

func (f *Finding) look(format string, args ...any) *Finding {
	f.Next = append(f.Next, fmt.Sprintf(format, args...))
	return f
}

func (f *Finding) cure(text, risk string, commands ...string) *Finding {
	f.Remedies = append(f.Remedies, Remedy{Text: text, Commands: commands, Risk: risk})
	return f
}

// act makes the last remedy one that --fix applies.
func (f *Finding) act(a Action) *Finding {
	f.Remedies[len(f.Remedies)-1].Action = &a
	return f
}

func (f *Finding) as(rank int) *Finding {
	f.rank = rank
	return f
}

func (f *Finding) weigh(n int) *Finding {
	f.weight = n
	return f
}

// retryAt tells when Keyturn's engine tries again; zero for never.
func (c *Case) retryLine() string {
	if len(c.Reports) == 0 {
		return ""
	}
	last := c.Reports[len(c.Reports)-1]
	if last.Status != "retrying" || last.RetryAt.IsZero() || last.RetryAt.Before(c.At) {
		return ""
	}
	return " The server itself tries again at " + last.RetryAt.UTC().Format("15:04:05 UTC") + "."
}

// again adds the remedy that ends every mending: rotate once more. fixes
// tells that the remedy before it is one that --fix applies, or that nothing
// has to be mended.
func (c *Case) again(f *Finding, fixes bool) *Finding {
	id := c.secretID()
	if line := c.retryLine(); line != "" {
		f.cure("Then wait."+line+" That goes on with the same version, so that no label has to be moved.", "")
		fixes = false
	}
	fixes = fixes && (!c.stuck() || c.proven())
	const unproven = "That is not proven: keyturn doctor --probe logs in and tells."
	switch {
	case c.mayRemove():
		risk := ""
		if !c.proven() {
			risk = unproven
		}
		f.cure("Then take AWSPENDING off version "+c.pending+" and rotate again: "+c.live.why+".", risk, c.removePendingCommand(), c.rotateCommand())
		if fixes {
			f.act(Action{Kind: RemovePending, Secret: id, Version: c.pending, Rotates: true})
		}
	case c.mayPromote():
		risk := "If the database did not take the pending password after all, AWSCURRENT does not log in until the label is moved back."
		if !c.proven() {
			risk += " " + unproven
		}
		f.cure("Then finish forward: make the pending version the current one, because "+c.live.why+". Rotate again afterwards to see that it works.",
			risk, c.promoteCommand(), c.rotateCommand())
		if fixes && c.live.by.Source == "probe" {
			f.act(Action{Kind: PromotePending, Secret: id, Version: c.pending, Rotates: true})
		}
	case c.stuck():
		f.cure("Then take AWSPENDING off version "+c.pending+" and rotate again, once it is known that the database does not have its password.",
			"If the database does have it, the version that logs in loses its label: its id still reads it for at least a day. "+
				"keyturn doctor --probe tells which password is live.",
			c.removePendingCommand(), c.rotateCommand())
	default:
		f.cure("Then rotate again.", "", c.rotateCommand())
		if fixes {
			f.act(Action{Kind: Rotate, Secret: id, Rotates: true})
		}
	}
	return f
}

// complete adds to the commands of a remedy what they need: a version or alias
// sees a change of the function only once it is published, and files with a
// value are to go.
func (c *Case) complete(f *Finding) {
	for i := range f.Remedies {
		r := &f.Remedies[i]
		joined := strings.Join(r.Commands, " ")
		if strings.Contains(joined, "lambda update-function-") && c.qualifier() != "" {
			r.Commands = append(r.Commands, c.publishCommands()...)
		}
		for _, file := range []string{"value.json", "superuser.json"} {
			if strings.Contains(joined, "file://"+file) {
				r.Text += " Write " + file + " where only you can read it (umask 077)."
				r.Commands = append(r.Commands, "rm -f "+file)
			}
		}
		if strings.Contains(joined, "put-role-policy") && r.Risk == "" {
			r.Risk = "It replaces an inline policy of the same name, should there be one."
		}
	}
}

// list joins names for a sentence.
func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
