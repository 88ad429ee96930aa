package probe

import (
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/plaintext"
	core "github.com/keyturn/keyturn/internal/rotator/probe"
)

const (
	// minHidden is how long a text is that is looked for, in bytes: shorter
	// ones are in everything.
	minHidden = 4
	// mask stands for a secret.
	mask = "****"
)

// secrets are the texts of the values that evidence may not hold: what logs
// in, and what its name calls a secret; of a value that is no JSON object the
// whole.
func secrets(versions []core.Version) []string {
	var all []string
	add := func(text string) {
		if len(text) >= minHidden && !strings.HasPrefix(text, "arn:") {
			all = append(all, text)
		}
	}
	for i := range versions {
		v := &versions[i]
		d, err := v.Document()
		if err != nil {
			add(v.Value.RevealText())
			continue
		}
		for _, key := range d.Keys() {
			if text := d.Text(key); plaintext.IsSecretName(key) && !strings.HasPrefix(text, "{") {
				add(text)
			}
		}
		add(password(d).RevealText())
	}
	return all
}

// hide replaces the secrets in everything of the evidence that others wrote:
// a function may have logged them bare.
func hide(e *doctor.Evidence, secrets []string) {
	if len(secrets) == 0 {
		return
	}
	var all []string
	for _, s := range secrets {
		all = append(all, plaintext.Forms(s)...)
	}
	// Where one holds another the longer goes first, or its rest would stay.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, text := range slices.Compact(all) {
		pairs = append(pairs, text, mask)
	}
	r := strings.NewReplacer(pairs...)
	clean := func(texts ...*string) {
		for _, t := range texts {
			*t = r.Replace(*t)
		}
	}
	for i := range e.Invocations {
		for j := range e.Invocations[i].Lines {
			clean(&e.Invocations[i].Lines[j].Text)
		}
	}
	for i := range e.Events {
		clean(&e.Events[i].ErrorMessage, &e.Events[i].UserAgent)
	}
	for i := range e.Reports {
		clean(&e.Reports[i].Error)
	}
	for i := range e.Gaps {
		clean(&e.Gaps[i].Error, &e.Gaps[i].Missing)
	}
	for i := range e.Probes {
		p := &e.Probes[i]
		clean(&p.Method, &p.Names, &p.Server)
		for j := range p.Stages {
			clean(&p.Stages[j].Text)
		}
	}
}
