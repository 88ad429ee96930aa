package corpus

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

// tableVariable names the file into which TestCorpus writes its table.
const tableVariable = "KEYTURN_DOCTOR_CORPUS"

// outcome is what came of a fault.
type outcome struct {
	fault
	found      []string
	confidence doctor.Confidence
	mended     bool
}

// TestCorpus makes each fault for real.
func TestCorpus(t *testing.T) {
	server := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	db := apitest.Database(t)
	var mu sync.Mutex
	var all []outcome
	t.Run("faults", func(t *testing.T) {
		for i, f := range faults() {
			if testing.Short() && !f.short {
				continue
			}
			t.Run(strings.ReplaceAll(f.code+" "+f.name, " ", "_"), func(t *testing.T) {
				t.Parallel()
				o := outcome{fault: *f}
				o.user = fmt.Sprint(i) // keeps the table in the order of the faults
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					all = append(all, o)
				}()
				run(newPatient(t, server, db, f), &o)
			})
		}
	})
	if file := os.Getenv(tableVariable); file != "" {
		write(t, file, all)
	}
}

// run makes the fault, asks, mends and rotates.
func run(p *patient, o *outcome) {
	p.t.Helper()
	p.f.make(p)
	var asked *doctor.Request
	switch {
	case p.f.act != nil:
		asked = p.f.act(p)
	case !p.f.quiet:
		if _, err := p.rotate(); err == nil {
			p.t.Fatal("the rotation succeeded in spite of the fault")
		}
	}
	d, e := p.diagnose(asked)
	shown := p.silent(d, e)
	for _, f := range d.Findings {
		o.found = append(o.found, f.Code)
	}
	if len(d.Findings) == 0 || d.Findings[0].Code != p.f.code {
		p.t.Fatalf("got %v, want %s first\n%s", o.found, p.f.code, shown)
	}
	o.confidence = d.Findings[0].Confidence
	p.mend(d)
	o.mended = true
	p.f.probe = false
	if d, e := p.again(); len(d.Findings) != 0 {
		p.t.Errorf("after the remedy:\n%s", p.silent(d, e))
	}
}

// again asks once more, when nothing should be wrong.
func (p *patient) again() (d doctor.Diagnosis, e *doctor.Evidence) {
	p.t.Helper()
	code := p.f.code
	p.f.code = ""
	defer func() { p.f.code = code }()
	p.eventually("the rotation has ended for everybody", func() bool { return p.version("AWSPENDING") == "" })
	return p.look()
}

// write puts the table between its marks in docs/doctor.md.
func write(t *testing.T, file string, all []outcome) {
	t.Helper()
	slices.SortFunc(all, func(a, b outcome) int { return strings.Compare(a.code+a.name, b.code+b.name) })
	var b strings.Builder
	b.WriteString("| Made | Fault | Found, the first first | Confidence | Rotates after the remedy |\n|---|---|---|---|---|\n")
	right, mended := 0, 0
	for _, o := range all {
		if len(o.found) > 0 && o.found[0] == o.code {
			right++
		}
		if o.mended {
			mended++
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", o.code, o.name, strings.Join(o.found, ", "), o.confidence, map[bool]string{true: "yes", false: "no"}[o.mended])
	}
	fmt.Fprintf(&b, "\n%d faults, %d named first, %d mended.\n", len(all), right, mended)
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- corpus -->\n", "<!-- end of corpus -->"
	head, rest, ok := strings.Cut(string(page), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no marks for the table", file)
	}
	if err := os.WriteFile(file, []byte(head+begin+b.String()+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
