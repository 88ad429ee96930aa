package doctor

import (
	"fmt"
	"strings"
)

// Codes lists the codes of all findings, in the table's order.
func Codes() []string {
	var codes []string
	for _, r := range rules() {
		codes = append(codes, r.code)
	}
	return codes
}

// Explain says what a finding's code stands for: where it shows, what causes
// it and what cures it. ok is false for a code that there is not.
func Explain(code string) (text string, ok bool) {
	for _, r := range rules() {
		if !strings.EqualFold(r.code, strings.TrimSpace(code)) {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s  %s\n      %s\n", r.code, r.title, r.phase)
		b.WriteString("Causes\n")
		for _, cause := range r.causes {
			fmt.Fprintf(&b, "  - %s\n", cause)
		}
		b.WriteString("Cures\n")
		for _, cure := range r.cures {
			fmt.Fprintf(&b, "  - %s\n", cure)
		}
		return b.String(), true
	}
	return "", false
}
