package rehearse

import (
	_ "embed"
	"fmt"
	"html"
	"io"
	"strings"
)

// style is how the HTML report looks.
//
//go:embed report.css
var style string

// WriteHTML writes the report as one HTML page that needs no other file. It
// uses no template: a program with package text/template keeps every method of
// every type that it links.
func (r *Report) WriteHTML(w io.Writer) error {
	p := &htmlPage{}
	p.add("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"+
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Rehearsal of %s</title>\n", r.Function)
	p.WriteString("<style>\n" + style + "</style>\n</head>\n<body>\n")
	p.head(r)
	if groups := r.groups(); len(groups) > 0 {
		p.add("<h2>Findings</h2>\n")
		for i := range groups {
			p.group(&groups[i])
		}
	}
	p.add("<h2>Faults</h2>\n<table>\n" +
		"<thead><tr><th scope=\"col\">Outcome</th><th scope=\"col\">Fault</th><th scope=\"col\">What was done</th></tr></thead>\n<tbody>\n")
	for i := range r.Results {
		p.result(&r.Results[i])
	}
	p.add("</tbody>\n</table>\n</body>\n</html>\n")
	_, err := io.WriteString(w, p.String())
	return err
}

// htmlPage collects HTML.
type htmlPage struct{ strings.Builder }

// add adds HTML in which %s stands for text, which is escaped: between tags
// or in the quotes of an attribute.
func (p *htmlPage) add(format string, text ...string) {
	escaped := make([]any, len(text))
	for i, t := range text {
		escaped[i] = html.EscapeString(t)
	}
	fmt.Fprintf(p, format, escaped...)
}

func (p *htmlPage) head(r *Report) {
	p.add("<h1>Rehearsal of %s</h1>\n", r.Function)
	p.add("<p class=\"about\">%s, handler <code>%s</code>, against %s, strategy %s; %s</p>\n",
		r.Runtime, r.Handler, r.Against, r.Strategy, r.StartedAt.Format("2006-01-02 15:04 UTC"))
	class, verdict := "failed", "Failed"
	if r.Passed {
		class, verdict = "passed", "Passed"
	}
	p.add("<p class=\"verdict %s\">%s: %s</p>\n", class, verdict, r.Summary())
}

func (p *htmlPage) group(g *group) {
	class, remark := "finding", ""
	if g.Warning {
		class, remark = "finding warning", " (warning)"
	}
	p.add("<section class=\"%s\">\n<h3><code>%s</code> %s%s</h3>\n<dl>", class, string(g.Code), g.Title, remark)
	for _, line := range [][2]string{{"At", g.At}, {"Expected", g.Expected}, {"Happened", g.Happened}, {"Remedy", g.Remedy}} {
		p.add("<dt>%s</dt><dd>%s</dd>", line[0], line[1])
	}
	p.add("\n<dt>Faults</dt><dd>")
	for i, f := range g.Faults {
		if i > 0 {
			p.add(", ")
		}
		p.add("<a href=\"#%s\">%s</a>", f, f)
	}
	p.add("</dd></dl>\n")
	if len(g.Evidence) > 0 {
		p.add("<pre>%s</pre>\n", strings.Join(g.Evidence, "\n"))
	}
	p.add("</section>\n")
}

func (p *htmlPage) result(r *Result) {
	p.add("<tr id=\"%s\"><td class=\"%s\">%s</td><td><code>%s</code></td><td>%s", r.Fault, string(r.Outcome), string(r.Outcome), r.Fault, r.Title)
	if r.Note != "" {
		p.add(" <em>(%s)</em>", r.Note)
	}
	if len(r.Course) > 0 {
		p.add("\n<details><summary>what happened</summary><pre>%s</pre></details>", strings.Join(r.Course, "\n"))
	}
	p.add("</td></tr>\n")
}
