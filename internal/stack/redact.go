package stack

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// minSecret is the length from which Redact masks a value, in bytes: a
// shorter one stands in too many words to hide anything.
const minSecret = 4

// Redact returns a text with Mask in place of every secret in it, also where
// it is quoted.
func Redact(text string, secrets []string) string {
	var forms []string
	for _, s := range secrets {
		encoded, _ := json.Marshal(s) // which a string always can
		forms = append(forms, s, strings.TrimSpace(s), strings.Trim(string(encoded), `"`), strings.Trim(strconv.Quote(s), `"`))
	}
	forms = slices.DeleteFunc(forms, func(s string) bool { return len(s) < minSecret || s == Mask })
	slices.SortFunc(forms, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // one may hold another
	for _, s := range forms {
		text = strings.ReplaceAll(text, s, Mask)
	}
	return text
}
