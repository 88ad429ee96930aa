package doctor

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

const canary = "c4n4ry-S3cr3t"

// leaks are log lines that hold a password in the ways in which functions
// write one by mistake.
func leaks() []string {
	return []string{
		`[ERROR] could not connect with {"username":"app","password":"` + canary + `","host":"db"}`,
		`[ERROR] secret {'username': 'app', 'password': '` + canary + `'}`,
		`[ERROR] response {"SecretString":"{\"username\":\"app\",\"password\":\"` + canary + `\"}"}`,
		`[ERROR] {"message":"{\"password\":\"` + canary + `\"}"}`,
		`[ERROR] ALTER USER app WITH PASSWORD '` + canary + `' failed: permission denied`,
		`[ERROR] ALTER USER app IDENTIFIED BY "` + canary + `" failed`,
		`[ERROR] SET PASSWORD = PASSWORD('` + canary + `') failed`,
		`[ERROR] ALTER LOGIN app WITH PASSWORD = '` + canary + `' OLD_PASSWORD = '` + canary + `old'`,
		`[ERROR] connecting to postgres://app:` + canary + `@db.example.com/app`,
		`[ERROR] DSN host=db user=app password=` + canary + ` sslmode=verify-full`,
		`[ERROR] UID=app;PWD=` + canary + `;DATABASE=x`,
		`[ERROR] new password: ` + canary,
		`[ERROR] RotationToken=` + canary,
		`[ERROR] aws_secret_access_key = ` + canary,
		`[ERROR] SecretString: ` + canary,
		`[ERROR] Authorization: Bearer ` + canary + canary,
		"[ERROR] -----BEGIN RSA PRIVATE KEY-----\n" + canary + "\n-----END RSA PRIVATE KEY-----",
	}
}

// all writes everything that can be said of evidence.
func all(t *testing.T, e *Evidence) string {
	t.Helper()
	d := Diagnose(e)
	var b bytes.Buffer
	if err := WriteText(&b, d, e, TextOptions{Color: true, Width: 80}); err != nil {
		t.Fatal(err)
	}
	if err := WriteMarkdown(&b, d, e); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(&b).Encode(struct {
		Diagnosis Diagnosis
		Evidence  *Evidence
	}{d, e}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestNothingPrintsSecrets(t *testing.T) {
	for _, line := range leaks() {
		for _, step := range []string{stepCreate, stepSet, stepTest, stepFinish} {
			e := well(failedIn(step, 300*ms, line, unableLogin, line))
			e.Events[len(e.Events)-1].ErrorMessage += " " + line
			e.Gaps = append(e.Gaps, Gap{Action: "x", Error: line, Missing: line})
			e.Request = &Request{Action: "RotateSecret", Code: "X", Text: line}
			if got := all(t, e); strings.Contains(got, canary) {
				i := strings.Index(got, canary)
				t.Errorf("%s: leaked near %q", line, got[max(0, i-60):i])
			}
		}
	}
}

// TestScrubKeepsWhatMatters has the texts that the rules rest on: nothing of
// them is a secret.
func TestScrubKeepsWhatMatters(t *testing.T) {
	for _, tc := range cases {
		for _, inv := range tc.e.Invocations {
			for _, l := range inv.Lines {
				if got := scrub(l.Text); got != plain(l.Text) {
					t.Errorf("got %q, want %q", got, plain(l.Text))
				}
			}
		}
	}
}

func TestTextReport(t *testing.T) {
	e := well(failedIn(stepSet, 300*ms, unableLogin), probe("here", labelCurrent, "auth", "authentication"))
	d := Diagnose(e)
	var narrow, piped, colored bytes.Buffer
	for _, o := range []struct {
		b *bytes.Buffer
		TextOptions
	}{{&narrow, TextOptions{Width: 60}}, {&piped, TextOptions{}}, {&colored, TextOptions{Color: true, Width: 100}}} {
		if err := WriteText(o.b, d, e, o.TextOptions); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(narrow.String()) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > 60 && strings.Contains(strings.TrimSpace(line), " ") && !strings.HasPrefix(strings.TrimSpace(line), "aws ") {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	for _, want := range []string{"D11 ", "Evidence", "Ruled out", "What to do", "aws secretsmanager put-secret-value --secret-id " + secretARN, "Risk: "} {
		if !strings.Contains(piped.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, piped.String())
		}
	}
	if strings.Contains(piped.String(), "\x1b") || !strings.Contains(colored.String(), "\x1b[") {
		t.Error("colour where none was asked for, or none where it was")
	}
	if got := regexp.MustCompile(`\x1b\[\d+m`).ReplaceAllString(colored.String(), ""); strings.Contains(got, "\x1b") {
		t.Error("an escape that is no colour")
	}
}

func TestReportOfAHealthySecret(t *testing.T) {
	e := well()
	var b bytes.Buffer
	if err := WriteText(&b, Diagnose(e), e, TextOptions{}); err != nil || !strings.Contains(b.String(), "Nothing is wrong.") {
		t.Errorf("got %v: %s", err, b.String())
	}
	b.Reset()
	if err := WriteMarkdown(&b, Diagnose(e), e); err != nil || !strings.Contains(b.String(), "Nothing is wrong.") {
		t.Errorf("got %v: %s", err, b.String())
	}
}

// TestReportsAreInert gives a hostile name and log line to a terminal and to
// Markdown.
func TestReportsAreInert(t *testing.T) {
	e := well(failedIn(stepSet, 300*ms, "[ERROR] \x1b]0;owned\a\x1b[31m `x` <script>alert(1)</script> | [a](http://x) ZeroDivisionError\u202e"))
	e.Secret.Name = "a\x1b[2J`b`<b>"
	e.Secret.ARN = secretARN
	d := Diagnose(e)
	var text, markdown bytes.Buffer
	if err := WriteText(&text, d, e, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := WriteMarkdown(&markdown, d, e); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"\x1b", "\a", "\u202e"} {
		if strings.Contains(text.String(), bad) || strings.Contains(markdown.String(), bad) {
			t.Errorf("%q got through", bad)
		}
	}
	if strings.Contains(markdown.String(), "<script>") || strings.Contains(markdown.String(), "[a](http") {
		t.Errorf("markup got through:\n%s", markdown.String())
	}
}

func TestGapsAreTold(t *testing.T) {
	e := well(func(e *Evidence) {
		e.Gaps = []Gap{{Action: "logs:FilterLogEvents", Error: "AccessDeniedException: no", Missing: "what the function logged", Denied: true}}
	})
	if got := all(t, e); strings.Count(got, "what the function logged") < 3 {
		t.Errorf("a gap is not told:\n%s", got)
	}
}

// TestLongLogsAreCut bounds what is read of a log, which the function's owner
// writes: the end of it counts.
func TestLongLogsAreCut(t *testing.T) {
	lines := slices.Repeat([]string{strings.Repeat("noise ", 5000)}, 300)
	e := well(failedIn(stepSet, 300*ms, append(lines, unableLogin)...))
	c := newCase(e)
	total := 0
	for _, x := range c.texts {
		total += len(x.Text)
	}
	if len(c.texts) > maxLines+3 || total > (maxLines+3)*2*maxText {
		t.Errorf("got %d texts of %d bytes", len(c.texts), total)
	}
	if got := Diagnose(e).Findings[0].Code; got != "D11" {
		t.Errorf("got %s, want D11", got)
	}
}

func TestRank(t *testing.T) {
	at := began
	fn := &Function{Name: "rot", Found: true, Runtime: "python3.12"}
	row := func(name string, change func(*Surveyed)) Surveyed {
		s := Surveyed{ARN: secretARN + name, Name: name, RotationEnabled: true, NextRotationAt: at.AddDate(0, 0, 5), LastRotatedAt: at.AddDate(0, 0, -5), Current: versionC, Function: fn}
		change(&s)
		return s
	}
	s := &Survey{At: at, Account: "111122223333", Region: "eu-west-1", Secrets: []Surveyed{
		row("well", func(*Surveyed) {}),
		row("aging", func(s *Surveyed) { s.Function = &Function{Found: true, Runtime: "python3.9"} }),
		row("ancient", func(s *Surveyed) { s.Function = &Function{Found: true, Runtime: "python3.7"} }),
		row("overdue", func(s *Surveyed) { s.NextRotationAt = at.AddDate(0, 0, -3) }),
		row("stuck", func(s *Surveyed) { s.Pending = versionT }),
		row("rotating", func(s *Surveyed) { s.Pending, s.StartedAt = versionT, at.Add(-time.Minute) }),
		row("failing", func(s *Surveyed) {
			s.Pending, s.Failures = versionT, 3
			s.LastFailure = &Event{At: at.Add(-time.Hour), ErrorMessage: "Error when executing lambda x during setSecret step"}
		}),
		row("mended", func(s *Surveyed) {
			s.Failures, s.LastFailure, s.SucceededAt, s.LastRotatedAt = 1, &Event{At: at.Add(-2 * time.Hour)}, at.Add(-time.Hour), at.Add(-time.Hour)
		}),
		row("abandoned", func(s *Surveyed) { s.AbandonedAt = at.Add(-time.Hour) }),
		row("gone", func(s *Surveyed) { s.Function = &Function{} }),
		row("off", func(s *Surveyed) { s.RotationEnabled = false }),
	}}
	rows := Rank(s)
	var got []string
	for _, r := range rows {
		got = append(got, r.Secret+"="+r.Standing)
	}
	want := []string{"failing=failing", "stuck=stuck", "overdue=overdue", "gone=broken", "abandoned=abandoned", "ancient=aging", "aging=aging", "mended=well", "off=off", "rotating=rotating", "well=well"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var b bytes.Buffer
	if err := WriteSurvey(&b, s, rows, TextOptions{Width: 100}); err != nil || !strings.Contains(b.String(), "7 of 11 rotating secrets") || !strings.Contains(b.String(), "3 rotations failed in setSecret") {
		t.Errorf("got %v:\n%s", err, b.String())
	}
	b.Reset()
	if err := WriteSurveyMarkdown(&b, s, rows); err != nil || strings.Count(b.String(), "\n| ") != 12 {
		t.Errorf("got %v:\n%s", err, b.String())
	}
}

func TestExplain(t *testing.T) {
	for _, code := range Codes() {
		text, ok := Explain(strings.ToLower(code))
		if !ok || !strings.Contains(text, "Causes\n  - ") || !strings.Contains(text, "Cures\n  - ") {
			t.Errorf("%s: got %q", code, text)
		}
	}
	if _, ok := Explain("D99"); ok {
		t.Error("D99 is explained")
	}
}

// TestDocumentedCodes holds docs/doctor.md to the table.
func TestDocumentedCodes(t *testing.T) {
	page, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## The rules\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([DK]\d\d) \|`).FindAllStringSubmatch(section, -1) {
		documented = append(documented, m[1])
	}
	table := Codes()
	slices.Sort(table)
	if !slices.IsSorted(documented) || !slices.Equal(slices.Compact(slices.Sorted(slices.Values(documented))), table) {
		t.Errorf("documented are %v, want %v", documented, table)
	}
	for i := 1; i <= 53; i++ {
		if code := "D" + string(rune('0'+i/10)) + string(rune('0'+i%10)); !slices.Contains(table, code) {
			t.Errorf("no rule %s", code)
		}
	}
}

func FuzzDiagnose(f *testing.F) {
	for i, tc := range cases {
		if i%7 == 0 {
			b, err := json.Marshal(tc.e)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"network":{"enforced":true,"paths":[{"to":"database","report":{"Verdict":99}}]},"function":{"found":true,"policyKnown":true,"policy":"{"},"reports":[{"status":"failed","token":"t"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Evidence
		if json.Unmarshal(b, &e) != nil {
			t.Skip()
		}
		d := Diagnose(&e)
		for _, f := range d.Findings {
			if f.Code == "" || f.Title == "" || f.Cause == "" {
				t.Fatalf("an empty finding: %+v", f)
			}
		}
		var out bytes.Buffer
		if WriteText(&out, d, &e, TextOptions{Width: 40}) != nil || WriteMarkdown(&out, d, &e) != nil || json.NewEncoder(&out).Encode(d) != nil {
			t.Fatal("not written")
		}
		if strings.ContainsRune(out.String(), '\x1b') {
			t.Fatal("an escape got through")
		}
	})
}
