package plaintext

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// secretName is compiled when it is first asked: every process has this
// package, and few search.
var secretName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)pass|pwd|secret|token|private|credential|(^|_)key$|apikey`)
})

// IsSecretName tells whether the name of a member or variable says that its
// text is a secret, such as password or API_KEY. It errs on the side of yes.
func IsSecretName(name string) bool { return secretName().MatchString(name) }

// Forms returns the ways in which logs and errors may have a secret's text:
// itself, as JSON, Go and URLs write it, and in base64; without quotes around.
// They are for finding it and taking it out.
func Forms(text string) []string {
	quoted, _ := json.Marshal(text) // texts always marshal
	all := []string{
		text, inner(string(quoted)), inner(strconv.Quote(text)), strings.ReplaceAll(text, `\`, `\\`), url.QueryEscape(text), url.PathEscape(text),
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		all = append(all, e.EncodeToString([]byte(text)), e.WithPadding(base64.NoPadding).EncodeToString([]byte(text)))
	}
	return all
}

// inner is a quoted text without its quotes.
func inner(quoted string) string { return quoted[1 : len(quoted)-1] }
