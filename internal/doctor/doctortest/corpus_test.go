package doctortest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/gather"
	"github.com/keyturn/keyturn/internal/doctor/probe"
	"github.com/keyturn/keyturn/internal/doctor/remedy"
)

// update makes all faults, in place of one for each cause, and writes the
// confusion table into docs/doctor.md: make doctor-corpus.
var update = flag.Bool("update", false, "make all faults and write the confusion table into docs/doctor.md")

// fault is one way for a rotation to fail, made for real.
type fault struct {
	name string
	// code is that of the finding which the doctor must name first.
	code string
	plan plan
	// ill makes the patient ill before it rotates; nil for a plan that is ill.
	ill func(*patient)
	// act is what happens instead of one rotation to its first end.
	act func(*patient)
	// probe lets the doctor try the logins. Without it, the server's own
	// finding must be the same.
	probe bool
	// cure does by hand what the remedy says; nil if the doctor applies it
	// itself.
	cure func(*patient)
	// lasting marks faults whose cure ends the rotation: none follows.
	lasting bool
}

// outcome is what the doctor made of a fault.
type outcome struct {
	fault
	found []string
	// byDoctor tells that the doctor applied the remedy itself.
	byDoctor bool
	cured    bool
}

var (
	outcomes   []outcome
	outcomesMu sync.Mutex
)

// Every fault is named by the doctor, first and with its evidence; what it
// proposes cures; then it finds nothing. No secret is in anything it prints.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("some fifty rotations fail and are cured")
	}
	servers := newServers(t)
	t.Run("faults", func(t *testing.T) {
		limit := make(chan struct{}, 4)
		seen := map[string]bool{}
		for i, f := range allFaults() {
			if seen[f.code] && !*update {
				continue
			}
			seen[f.code] = true
			t.Run(f.code+" "+f.name, func(t *testing.T) {
				t.Parallel()
				limit <- struct{}{}
				defer func() { <-limit }()
				f.run(t, servers, fmt.Sprintf("fault-%02d", i))
			})
		}
	})
	if *update && !t.Failed() {
		writeTable(t)
	}
}

func allFaults() []fault {
	return slices.Concat(permissionFaults(), secretFaults(), loginFaults(), functionFaults(), labelFaults(), agingFaults())
}

func (f fault) run(t *testing.T, s *apitest.Server, name string) {
	t.Helper()
	p := newPatient(t, s, name, f.plan)
	o := outcome{fault: f}
	defer func() {
		outcomesMu.Lock()
		defer outcomesMu.Unlock()
		outcomes = append(outcomes, o)
	}()
	if f.ill != nil {
		f.ill(p)
	}
	if f.act != nil {
		f.act(p)
	} else {
		p.rotate(f.plan.rules)
	}
	d, e := p.diagnose(f.probe)
	o.found = codesOf(d)
	report := p.outputs(d, e)
	if len(o.found) == 0 || o.found[0] != f.code {
		evidence, _ := json.MarshalIndent(e, "", "  ")
		t.Fatalf("found %v, want %s first\n%s\n%s", o.found, f.code, report, cutEvidence(evidence))
	}
	if len(d.Findings[0].Facts) == 0 || len(d.Findings[0].Remedies) == 0 {
		t.Errorf("%s rests on nothing, or has no remedy:\n%s", f.code, report)
	}
	if p.told != nil && !f.probe && p.told.Code != f.code {
		t.Errorf("the server itself found %s (%s), want %s", p.told.Code, p.told.Cause, f.code)
	}
	p.refused = nil
	if f.cure != nil {
		f.cure(p)
	} else {
		p.mend(d, e)
		o.byDoctor = true
	}
	if !f.lasting {
		p.rotates()
		if again, e := p.diagnose(f.probe); len(again.Findings) > 0 {
			t.Errorf("cured, the doctor still finds %v:\n%s", codesOf(again), p.outputs(again, e))
		}
	}
	o.cured = !t.Failed()
}

// cutEvidence bounds what a failing test prints.
func cutEvidence(b []byte) string {
	const limit = 12 << 10
	if len(b) > limit {
		return string(b[:limit]) + "…"
	}
	return string(b)
}

func codesOf(d doctor.Diagnosis) (codes []string) {
	for _, f := range d.Findings {
		codes = append(codes, f.Code)
	}
	return codes
}

// diagnose does what keyturn doctor does.
func (p *patient) diagnose(tryLogins bool) (doctor.Diagnosis, *doctor.Evidence) {
	p.t.Helper()
	began := time.Now()
	e, err := gather.New(p.Config, gather.Options{Since: time.Hour}).Secret(p.t.Context(), p.secret)
	p.must(err)
	if tryLogins {
		probe.Run(p.t.Context(), p.Config, e, probe.Options{Here: true, CABundle: p.db.CAFile})
	}
	if said, ok := errors.AsType[smithy.APIError](p.refused); ok {
		e.Request = &doctor.Request{Action: "RotateSecret", At: p.asked, Code: said.ErrorCode(), Text: said.ErrorMessage()}
	}
	d := doctor.Diagnose(e)
	p.t.Logf("diagnosed in %v: %v", time.Since(began).Round(time.Millisecond), codesOf(d))
	return d, e
}

// outputs returns the report for a terminal, after searching all reports for
// the secret's values.
func (p *patient) outputs(d doctor.Diagnosis, e *doctor.Evidence) string {
	p.t.Helper()
	var text, markdown bytes.Buffer
	p.must(doctor.WriteText(&text, d, e, doctor.TextOptions{Width: 120}))
	p.must(doctor.WriteMarkdown(&markdown, d, e))
	asJSON, err := json.Marshal(map[string]any{"diagnosis": d, "evidence": e, "told": p.told})
	p.must(err)
	for _, canary := range p.canaries() {
		for kind, out := range map[string][]byte{"text": text.Bytes(), "Markdown": markdown.Bytes(), "JSON": asJSON} {
			if bytes.Contains(out, []byte(canary)) {
				p.t.Errorf("the report as %s has a secret", kind)
			}
		}
	}
	return text.String()
}

// canaries are the passwords of all versions of the secret, and whatever was
// put into this and other secrets.
func (p *patient) canaries() []string {
	p.t.Helper()
	out, err := p.Secrets.ListSecretVersionIds(p.t.Context(), &secretsmanager.ListSecretVersionIdsInput{SecretId: &p.secret, IncludeDeprecated: aws.Bool(true)})
	if err != nil {
		return p.kept // a secret that is being deleted, or denied to everybody
	}
	for _, v := range out.Versions {
		got, err := p.Secrets.GetSecretValue(p.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &p.secret, VersionId: v.VersionId})
		if err != nil {
			continue // without a value
		}
		p.keep(aws.ToString(got.SecretString) + string(got.SecretBinary))
	}
	return p.kept
}

// mend applies what the doctor offers.
func (p *patient) mend(d doctor.Diagnosis, e *doctor.Evidence) {
	p.t.Helper()
	plan := remedy.Plan(d, e)
	if len(plan) == 0 || plan[0].Code != d.Findings[0].Code && !slices.ContainsFunc(plan, func(s remedy.Step) bool { return s.Code == d.Findings[0].Code }) {
		p.t.Fatalf("there is no remedy to apply for %s in %+v", d.Findings[0].Code, plan)
	}
	before := p.logins()
	surgeon := remedy.New(p.Config)
	for _, s := range plan {
		done, err := surgeon.Apply(p.t.Context(), s)
		p.must(err)
		p.t.Logf("%s: %s", s.Code, done)
	}
	p.keepsOut(before, p.logins())
}

// The markers between which docs/doctor.md has the table.
const (
	tableBegin = "<!-- corpus: made by make doctor-corpus -->"
	tableEnd   = "<!-- /corpus -->"
)

var docPath = filepath.Join("..", "..", "..", "docs", "doctor.md")

func writeTable(t *testing.T) {
	t.Helper()
	doc, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	old := regexp.MustCompile("(?s)" + regexp.QuoteMeta(tableBegin) + ".*" + regexp.QuoteMeta(tableEnd))
	if !old.Match(doc) {
		t.Fatalf("%s has no place for the table: %s", docPath, tableBegin)
	}
	made := tableBegin + "\n" + table() + tableEnd
	if err := os.WriteFile(docPath, old.ReplaceAllLiteral(doc, []byte(made)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// row is how an outcome's row begins, after which they are sorted.
func (o *outcome) row() string {
	name := o.name
	if o.probe {
		name += " (`--probe`)"
	}
	return o.code + " | " + name
}

// table is the confusion table: each fault, and which finding came first.
func table() string {
	slices.SortFunc(outcomes, func(a, b outcome) int { return strings.Compare(a.row(), b.row()) })
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d faults, each made for real on a server; which finding came first, which others, and who applied the remedy. After it every rotation passed, "+
		"unless the cure is to have none, and nothing was found any more.\n\n", len(outcomes))
	b.WriteString("| Cause | Fault | Found first | Also found | Cured by |\n|---|---|---|---|---|\n")
	counts := map[string]map[string]int{}
	for _, o := range outcomes {
		by := "hand, as the remedy says"
		if o.byDoctor {
			by = "`--fix`"
		}
		first, also := "none", ""
		if len(o.found) > 0 {
			first, also = o.found[0], strings.Join(o.found[1:], ", ")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", o.row(), first, also, by)
		if counts[o.code] == nil {
			counts[o.code] = map[string]int{}
		}
		counts[o.code][first]++
	}
	b.WriteString("\nCauses by findings, the diagonal is right:\n\n")
	codes := slices.Sorted(maps.Keys(counts))
	b.WriteString("| |" + strings.Join(codes, "|") + "|\n|---|" + strings.Repeat("---|", len(codes)) + "\n")
	for _, cause := range codes {
		b.WriteString("| **" + cause + "** |")
		for _, found := range codes {
			cell := ""
			if n := counts[cause][found]; n > 0 {
				cell = fmt.Sprint(n)
			}
			b.WriteString(cell + "|")
		}
		b.WriteString("\n")
	}
	return b.String() + "\n"
}
