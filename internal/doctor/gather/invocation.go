package gather

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/keyturn/keyturn/internal/doctor"
)

// invocations reads the function's log in the times of the last rotations.
func (l *look) invocations(ctx context.Context) {
	group := l.logGroup()
	if group == "" {
		return
	}
	l.tell("function log")
	times := l.rotationTimes()
	found := make([][]logtypes.FilteredLogEvent, len(times))
	var parts []part
	for i, w := range times {
		parts = append(parts, func(ctx context.Context) {
			var err error
			found[i], err = l.readLog(ctx, group, w, "")
			l.gap(err, "logs:FilterLogEvents", l.logARN(group), "what the function logged, and how long it took")
		})
	}
	l.together(ctx, parts...)
	if ctx.Err() != nil {
		return
	}
	all := l.ours(parseLog(slices.Concat(found...)))
	if len(all) > maxInvocations {
		all = all[len(all)-maxInvocations:]
	}
	l.note(func(e *doctor.Evidence) { e.Invocations = all })
}

// logGroup is the function's log group: as configured, or Lambda's own where
// the configuration could not be read.
func (l *look) logGroup() string {
	if f := l.e.Function; f != nil && f.LogGroup != "" && !l.options.OwnLog {
		return f.LogGroup
	}
	if name := functionName(l.e.Secret.FunctionARN); name != "" {
		return "/aws/lambda/" + name
	}
	return ""
}

// rotationTimes are the times of the last rotations, by the trail and the
// engine; all the time since the last success if neither tells.
func (l *look) rotationTimes() []window {
	all := windows(slices.DeleteFunc(slices.Clone(l.e.Events), func(v doctor.Event) bool { return !slices.Contains(rotationEvents, v.Name) || !l.about(v) }), l.e.At)
	byToken := map[string]window{}
	for _, r := range l.e.Reports {
		w, known := byToken[r.Token]
		if !known {
			w.from = r.At.Add(-before)
		}
		w.to = r.At.Add(after)
		byToken[r.Token] = w
	}
	for _, w := range byToken {
		all = append(all, w)
	}
	if len(all) == 0 {
		return []window{{l.since(), l.e.At}}
	}
	return newest(all)
}

// The words that tell of which step and of which secret a line is.
var (
	stepWord  = regexp.MustCompile(`\b(createSecret|setSecret|testSecret|finishSecret)\b`)
	secretARN = regexp.MustCompile(`arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:[\w/+=.@!-]+`)
)

// ours drops the invocations that name other secrets and not this one, and
// finds the steps and tokens of the rest. One that names only others counts
// all the same where the engine ran a step and nothing else is of its time: a
// function that fails at the superuser's secret may speak of nothing else.
func (l *look) ours(list []doctor.Invocation) []doctor.Invocation {
	tokens := l.tokens()
	var all, others []doctor.Invocation
	for _, inv := range list {
		if l.foreign(&inv, tokens) {
			others = append(others, inv)
			continue
		}
		all = append(all, inv)
	}
	all = l.identify(all, tokens)
	for _, inv := range l.identify(others, tokens) {
		same := func(x doctor.Invocation) bool {
			return x.Step == inv.Step && x.Token == inv.Token && x.StartedAt.Sub(inv.StartedAt).Abs() < longestStep
		}
		if inv.Token != "" && !slices.ContainsFunc(all, same) {
			all = append(all, inv)
		}
	}
	slices.SortStableFunc(all, func(a, b doctor.Invocation) int { return a.StartedAt.Compare(b.StartedAt) })
	return all
}

// identify finds the steps and tokens of invocations.
func (l *look) identify(all []doctor.Invocation, tokens []string) []doctor.Invocation {
	for i := range all {
		inv := &all[i]
		for _, line := range inv.Lines {
			if m := stepWord.FindString(line.Text); m != "" && inv.Step == "" {
				inv.Step = m
			}
			for _, t := range tokens {
				if inv.Token == "" && strings.Contains(line.Text, t) {
					inv.Token = t
				}
			}
		}
		l.byReports(inv)
	}
	return all
}

// foreign tells whether an invocation was for another secret.
func (l *look) foreign(inv *doctor.Invocation, tokens []string) bool {
	other := false
	for _, line := range inv.Lines {
		if strings.Contains(line.Text, l.e.Secret.ARN) || slices.ContainsFunc(tokens, func(t string) bool { return strings.Contains(line.Text, t) }) {
			return false
		}
		other = other || secretARN.MatchString(line.Text)
	}
	return other
}

// tokens are the versions that rotations of the secret were about.
func (l *look) tokens() []string {
	var all []string
	for _, v := range l.e.Versions {
		all = append(all, v.ID)
	}
	for _, v := range l.e.Secret.Labels {
		all = append(all, v)
	}
	for _, v := range l.e.Events {
		if v.Token != "" && l.about(v) {
			all = append(all, v.Token)
		}
	}
	for _, r := range l.e.Reports {
		all = append(all, r.Token)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// attempt is the time of one attempt of a step, by the engine's reports.
type attempt struct {
	window
	step, token string
}

// attempts reads the reports: a step starts, and ends in any other report of
// it.
func attempts(reports []doctor.Report) []attempt {
	var all []attempt
	for _, r := range reports {
		if r.Step == "" {
			continue
		}
		if r.Status == "started" {
			all = append(all, attempt{window{r.At, r.At.Add(longestStep)}, r.Step, r.Token})
			continue
		}
		for i := len(all) - 1; i >= 0; i-- {
			if all[i].step == r.Step && all[i].token == r.Token {
				all[i].to = r.At
				break
			}
		}
	}
	return all
}

// byReports completes an invocation by the attempt in whose time it began.
func (l *look) byReports(inv *doctor.Invocation) {
	const slack = time.Second // the log has milliseconds, the engine stores before and after
	best, distance := attempt{}, time.Duration(-1)
	for _, a := range attempts(l.e.Reports) {
		if inv.StartedAt.Before(a.from.Add(-slack)) || inv.StartedAt.After(a.to.Add(slack)) {
			continue
		}
		if inv.Step != "" && inv.Step != a.step || inv.Token != "" && inv.Token != a.token {
			continue
		}
		if d := inv.StartedAt.Sub(a.from).Abs(); distance < 0 || d < distance {
			best, distance = a, d
		}
	}
	if distance >= 0 {
		inv.Step, inv.Token = best.step, best.token
	}
}
