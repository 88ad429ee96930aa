package rotate_test

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/keyturn/keyturn/internal/rotate"
)

// TestTextIsPlain lets nothing of a function or a report steer the terminal.
func TestTextIsPlain(t *testing.T) {
	t.Parallel()
	const bad = "a\x1b]52;c;eA==\x07b\u009b2Jc\u0085d\x00e\rf\x7fg\n\th"
	const good = "a]52;c;eA==b2Jcdefg"
	for name, l := range map[string]rotate.Line{
		"function": {Log: bad},
		"report": {Report: &rotate.Report{Status: rotate.Failed, Step: bad, Error: bad, RetryAt: bad, Finding: &rotate.Finding{
			Code: bad, Title: bad, Confidence: bad, Cause: bad, Remedies: []rotate.Remedy{{Text: bad, Commands: []string{bad}, Risk: bad}},
		}}},
	} {
		l.Time = time.Unix(0, 0)
		got := l.Text()
		if !strings.Contains(got, good) {
			t.Errorf("%s: got %q, want %q in it", name, got, good)
		}
		for _, r := range got {
			if unicode.IsControl(r) && r != '\n' && r != '\t' {
				t.Errorf("%s: got the control character %U in %q", name, r, got)
			}
		}
	}
}
