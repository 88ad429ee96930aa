package server

import (
	"regexp"
	"strings"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/rotate"
)

// brief is what is kept of a finding, where whoever may read the engine's
// reports reads it. The facts quote the function's log, policies and events,
// and stay where those are; so do a cause and remedies that take words from
// there, or name anything but the secret and its function.
func brief(f *doctor.Finding, e *doctor.Evidence) *rotate.Finding {
	b := &rotate.Finding{Code: f.Code, Title: f.Title, Confidence: string(f.Confidence)}
	candidates := []string{f.Cause}
	for _, r := range f.Remedies {
		candidates = append(candidates, strings.Join(append([]string{r.Text, r.Risk}, r.Commands...), "\n"))
	}
	telling := tellers(candidates, e)
	if !telling[0] {
		b.Cause = f.Cause
	}
	for i, r := range f.Remedies {
		if !telling[i+1] {
			b.Remedies = append(b.Remedies, rotate.Remedy{Text: r.Text, Commands: r.Commands, Risk: r.Risk})
		}
	}
	return b
}

// quoteLength is how many bytes in a row make a quotation.
const quoteLength = 12

var anyARN = regexp.MustCompile(`arn:[a-z-]+:[^\s"'\[\]{},]+`)

// tellers finds the texts that quote what others wrote, or name other things.
func tellers(texts []string, e *doctor.Evidence) []bool {
	own := []string{e.Secret.ARN, e.Secret.FunctionARN, e.Secret.Name}
	if e.Function != nil {
		own = append(own, e.Function.ARN, e.Function.Name)
	}
	telling := make([]bool, len(texts))
	pieces := map[string][]int{}
	for i, text := range texts {
		for _, name := range own {
			if name != "" {
				text = strings.ReplaceAll(text, name, "\x00")
			}
		}
		telling[i] = anyARN.MatchString(text)
		for at := 0; at+quoteLength <= len(text); at++ {
			if piece := text[at : at+quoteLength]; strings.IndexByte(piece, 0) < 0 {
				pieces[piece] = append(pieces[piece], i)
			}
		}
	}
	mark := func(written string) {
		for at := 0; at+quoteLength <= len(written); at++ {
			for _, i := range pieces[written[at:at+quoteLength]] {
				telling[i] = true
			}
		}
	}
	for _, inv := range e.Invocations {
		for _, line := range inv.Lines {
			mark(line.Text)
		}
	}
	if e.Function != nil {
		mark(e.Function.StateReason)
	}
	return telling
}
