package doctor

import (
	"regexp"
	"sync"
)

// pattern is a regular expression that is compiled when it is first used:
// the program that holds these also runs as every function of a built-in
// rotator, which starts often and diagnoses nothing.
type pattern struct {
	text string
	once sync.Once
	re   *regexp.Regexp
}

// compiled makes a pattern; its text must be valid, which a test sees to.
func compiled(text string) *pattern { return &pattern{text: text} }

func (p *pattern) get() *regexp.Regexp {
	p.once.Do(func() { p.re = regexp.MustCompile(p.text) })
	return p.re
}

// MatchString and the others are those of regexp.Regexp.
func (p *pattern) MatchString(s string) bool { return p.get().MatchString(s) }

func (p *pattern) FindStringSubmatch(s string) []string { return p.get().FindStringSubmatch(s) }

func (p *pattern) FindAllString(s string, n int) []string { return p.get().FindAllString(s, n) }

func (p *pattern) FindAllStringSubmatch(s string, n int) [][]string {
	return p.get().FindAllStringSubmatch(s, n)
}
