package rehearse

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Outcome is how the trial of one fault went.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Report is what a rehearsal found. It holds no secret.
type Report struct {
	Function string `json:"function"`
	Runtime  string `json:"runtime"`
	Handler  string `json:"handler"`
	// Against is the service whose passwords were rotated.
	Against   string    `json:"against"`
	Strategy  string    `json:"strategy"`
	StartedAt time.Time `json:"startedAt"`
	TookMS    int64     `json:"tookMs"`
	// Passed tells that some fault was tried and none found anything; warnings
	// do not count.
	Passed  bool     `json:"passed"`
	Results []Result `json:"results"`

	// canaries are the secrets that were looked for.
	canaries []string
}

// Result is the trial of one fault.
type Result struct {
	Fault   string  `json:"fault"`
	Title   string  `json:"title"`
	Outcome Outcome `json:"outcome"`
	// Note says why it was skipped.
	Note   string `json:"note,omitempty"`
	TookMS int64  `json:"tookMs"`
	// Findings are what is wrong, Course is what happened, in order.
	Findings []Finding `json:"findings,omitempty"`
	Course   []string  `json:"course,omitempty"`

	// stopped tells that the rotation does not even succeed without a fault.
	stopped bool
}

// Finding is one thing that is wrong with the function.
type Finding struct {
	Code  Code   `json:"code"`
	Title string `json:"title"`
	// Step is the step that is to blame, At the call or the moment.
	Step     string `json:"step,omitempty"`
	At       string `json:"at,omitempty"`
	Expected string `json:"expected"`
	Happened string `json:"happened"`
	// Evidence are lines of the function's log, or what else shows it.
	Evidence []string `json:"evidence,omitempty"`
	Remedy   string   `json:"remedy"`
	// Warning tells that it does not make the rehearsal fail.
	Warning bool `json:"warning,omitempty"`
}

// conclude makes the result of what was found. What only follows from another
// finding is left out.
func (t *trial) conclude() {
	t.mu.Lock()
	found, events, struck, unable, blind := slices.Clone(t.found), slices.Clone(t.events), t.struck, t.unable, t.blind
	t.mu.Unlock()
	cause := slices.ContainsFunc(found, func(f Finding) bool { return !f.Warning && !f.Code.follows() })
	leftOut := map[Code]bool{}
	for _, f := range found {
		for _, code := range consequences[f.Code] {
			leftOut[code] = true
		}
	}
	r := t.result
	r.Findings, r.Course, r.Outcome, r.Note = nil, nil, Passed, ""
	for _, f := range found {
		if cause && f.Code.follows() || leftOut[f.Code] {
			continue
		}
		f.Title, f.Remedy = f.Code.Title(), f.Code.Remedy()
		f.Happened, f.At = t.shown(f.Happened), t.shown(f.At)
		f.Evidence = slices.Clone(f.Evidence)
		for i, line := range f.Evidence {
			f.Evidence[i] = t.shown(line)
		}
		r.Findings = append(r.Findings, f)
		if !f.Warning {
			r.Outcome = Failed
		}
	}
	for _, line := range events {
		r.Course = append(r.Course, t.shown(line))
	}
	idle := struck == 0 && t.fault.at != never
	switch {
	case r.Outcome != Passed:
	case idle || unable != "":
		r.Outcome, r.Note = Skipped, t.shown(cmp.Or(unable, "the fault found no occasion: "+t.fault.occasion()))
	case blind != "":
		r.Outcome, r.Note = Skipped, t.shown("it could not be checked: "+blind)
	}
}

// shown is a text without secrets and without what would steer a terminal.
func (t *trial) shown(text string) string { return printable(t.redact(text)) }

// printable replaces control characters, of which a function's log may hold
// any, but for the ends of lines and tabs.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if c != '\n' && c != '\t' && (unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c)) {
			return unicode.ReplacementChar
		}
		return c
	}, text)
}

// occasion says what the fault waited for.
func (f *fault) occasion() string {
	switch {
	case f.at == atBegin:
		return f.step + " made no call of Secrets Manager"
	case f.onWire():
		return f.step + " did not connect to the database"
	case f.call != "":
		return f.step + " did not call " + f.call
	}
	return f.step + " did not call Secrets Manager"
}

// judge sums up. It is passed only if something was tried and passed: the
// rotation without a fault counts where nothing else was asked for.
func (r *Report) judge() {
	r.Passed = r.count(Failed) == 0 && !r.empty()
}

// empty tells that no fault that was asked for was tried.
func (r *Report) empty() bool {
	asked := r.Results
	if len(asked) > 1 {
		asked = asked[1:]
	}
	return !slices.ContainsFunc(asked, func(res Result) bool { return res.Outcome != Skipped })
}

// Codes are the codes of the findings that made it fail, each once.
func (r *Report) Codes() []Code {
	var codes []Code
	for _, f := range r.failures() {
		if !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	slices.Sort(codes)
	return codes
}

func (r *Report) failures() (list []Finding) {
	for _, res := range r.Results {
		for _, f := range res.Findings {
			if !f.Warning {
				list = append(list, f)
			}
		}
	}
	return list
}

// count counts the results of an outcome.
func (r *Report) count(o Outcome) (n int) {
	for _, res := range r.Results {
		if res.Outcome == o {
			n++
		}
	}
	return n
}

// Summary is one line.
func (r *Report) Summary() string {
	text := fmt.Sprintf("%d faults: %d passed, %d failed, %d skipped, in %s", len(r.Results), r.count(Passed), r.count(Failed), r.count(Skipped),
		(time.Duration(r.TookMS) * time.Millisecond).Round(100*time.Millisecond))
	if r.count(Failed) == 0 && r.empty() {
		text += ": nothing was tried, so nothing is proven"
	}
	return text
}

// Text styles.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

// WriteText writes the report for a terminal: a line for each fault, then
// each finding once with the faults that showed it.
func (r *Report) WriteText(w io.Writer, color bool) {
	paint := func(style, text string) string {
		if color {
			return style + text + plain
		}
		return text
	}
	styles := map[Outcome]string{Passed: green, Failed: red, Skipped: yellow}
	fmt.Fprintf(w, "Rehearsal of %s (%s) against %s, strategy %s\n\n", r.Function, r.Runtime, r.Against, r.Strategy)
	for _, res := range r.Results {
		fmt.Fprintf(w, "  %s  %-22s %s", paint(styles[res.Outcome], fmt.Sprintf("%-7s", res.Outcome)), res.Fault, res.Title)
		if res.Note != "" {
			fmt.Fprintf(w, " (%s)", res.Note)
		}
		fmt.Fprintln(w)
	}
	for _, g := range r.groups() {
		kind, style := "FINDING", red
		if g.Warning {
			kind, style = "WARNING", yellow
		}
		fmt.Fprintf(w, "\n%s %s: %s\n", paint(style, kind), g.Code, g.Title)
		fmt.Fprintf(w, "  at        %s\n  expected  %s\n  happened  %s\n", g.At, g.Expected, g.Happened)
		for _, line := range g.Evidence {
			fmt.Fprintf(w, "            | %s\n", strings.ReplaceAll(line, "\n", "\n            | "))
		}
		fmt.Fprintf(w, "  remedy    %s\n  faults    %s\n", g.Remedy, r.shown(g.Faults))
	}
	fmt.Fprintf(w, "\n%s\n", r.Summary())
}

// maxShown is how many faults the terminal's report lists for a finding.
const maxShown = 8

func (r *Report) shown(faults []string) string {
	if len(faults) == len(r.Results) {
		return "all"
	}
	if len(faults) > maxShown {
		return fmt.Sprintf("%s and %d more", strings.Join(faults[:maxShown], ", "), len(faults)-maxShown)
	}
	return strings.Join(faults, ", ")
}

// group is a finding with the faults that showed it.
type group struct {
	Finding
	Faults []string
}

func (r *Report) groups() (list []group) {
	for _, res := range r.Results {
		for _, f := range res.Findings {
			i := slices.IndexFunc(list, func(g group) bool { return g.Code == f.Code && g.Warning == f.Warning })
			if i < 0 {
				list = append(list, group{Finding: f})
				i = len(list) - 1
			}
			list[i].Faults = append(list[i].Faults, res.Fault)
		}
	}
	slices.SortStableFunc(list, func(a, b group) int {
		if a.Warning == b.Warning {
			return 0
		} else if a.Warning {
			return 1
		}
		return -1
	})
	return list
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	return e.Encode(r)
}

// The elements of JUnit's XML, as CI systems read it.
type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		At       string      `xml:"timestamp,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitMessage `xml:"failure"`
		Skipped *junitMessage `xml:"skipped"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit XML: a test case for each fault.
func (r *Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{
		Name: "keyturn rehearse " + r.Function, Tests: len(r.Results), Failures: r.count(Failed), Skipped: r.count(Skipped),
		Time: seconds(r.TookMS), At: r.StartedAt.Format("2006-01-02T15:04:05"),
	}
	for _, res := range r.Results {
		c := junitCase{Class: "rehearse." + r.Function, Name: res.Fault + ": " + res.Title, Time: seconds(res.TookMS), Out: strings.Join(res.Course, "\n")}
		if res.Outcome == Skipped {
			c.Skipped = &junitMessage{Message: res.Note}
		}
		if res.Outcome == Failed {
			c.Failure = junitFailure(res.Findings)
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	return e.Encode(suite)
}

func junitFailure(findings []Finding) *junitMessage {
	m := &junitMessage{}
	var text strings.Builder
	for _, f := range findings {
		if f.Warning {
			continue
		}
		if m.Type == "" {
			m.Type, m.Message = string(f.Code), f.Title+": "+f.Happened
		}
		fmt.Fprintf(&text, "%s at %s\nexpected: %s\nhappened: %s\nremedy: %s\n%s\n", f.Code, f.At, f.Expected, f.Happened, f.Remedy, strings.Join(f.Evidence, "\n"))
	}
	m.Text = text.String()
	return m
}

func seconds(ms int64) string { return fmt.Sprintf("%.3f", float64(ms)/1000) }
