package rehearse

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// TestHTMLEscapes puts markup wherever a function's text can come.
func TestHTMLEscapes(t *testing.T) {
	const evil = `<script>alert("1")</script>&'`
	finding := Finding{Code: Code(evil), Title: evil, At: evil, Expected: evil, Happened: evil, Remedy: evil, Evidence: []string{evil, evil}}
	warning := finding
	warning.Warning = true
	r := &Report{Function: evil, Runtime: evil, Handler: evil, Against: evil, Strategy: evil, Results: []Result{
		{Fault: evil, Title: evil, Outcome: Failed, Note: evil, Findings: []Finding{finding, warning}, Course: []string{evil}},
		{Fault: "calm", Title: "nothing", Outcome: Passed},
	}}
	var b strings.Builder
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<script") || strings.Contains(b.String(), "%!") {
		t.Errorf("the page has raw text:\n%s", &b)
	}
	for _, want := range []string{`class="finding warning"`, `class="verdict failed"`, `<td class="passed">`, "<details>", `href="#&lt;script&gt;`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is missing", want)
		}
	}
	_, body, _ := strings.Cut(strings.TrimSuffix(b.String(), "</html>\n"), "</head>") // meta has no end
	d := xml.NewDecoder(strings.NewReader(body))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("tags are not closed: %v", err)
		}
	}
}

func TestLabelChanges(t *testing.T) {
	before := map[string][]string{"a": {"AWSCURRENT"}, "b": {"AWSPREVIOUS"}}
	if got := labelChanges(before, map[string][]string{"a": {"AWSCURRENT"}, "b": {"AWSPREVIOUS"}}); got != nil {
		t.Errorf("got %q, want nothing", got)
	}
	got := labelChanges(before, map[string][]string{"a": {"AWSPREVIOUS"}, "c": {"AWSCURRENT"}})
	want := []string{
		"version a: labels [AWSCURRENT] became [AWSPREVIOUS]", "version b: labels [AWSPREVIOUS] became []", "version c: labels [] became [AWSCURRENT]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := labelChanges(nil, before); len(got) != 2 {
		t.Errorf("without labels before: got %q", got)
	}
}
