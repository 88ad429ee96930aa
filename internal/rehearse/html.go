package rehearse

import (
	_ "embed"
	"html/template"
	"io"
	"strings"
)

// page is the HTML report, with all that it needs in one file.
//
//go:embed report.html
var page string

// WriteHTML writes the report as one HTML page that needs no other file.
func (r *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{"lines": func(l []string) string { return strings.Join(l, "\n") }}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, map[string]any{
		"Report": r, "Groups": r.groups(), "Summary": r.Summary(), "At": r.StartedAt.Format("2006-01-02 15:04 UTC"),
	})
}
