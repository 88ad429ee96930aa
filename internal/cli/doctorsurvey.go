package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/gather"
	"github.com/keyturn/keyturn/internal/doctor/probe"
)

// survey shows every secret that rotates, the worst first.
func (c *doctorCmd) survey(p *program, cfg aws.Config) error {
	tell := newTicker(p.stderr)
	s, err := gather.New(cfg, gather.Options{Since: c.Since, Progress: tell.show}).Survey(p.ctx)
	tell.clear()
	if err != nil {
		return err
	}
	rows := doctor.Rank(s)
	switch {
	case c.JSON:
		err = printJSON(p.stdout, struct {
			Secrets []doctor.Row   `json:"secrets"`
			Survey  *doctor.Survey `json:"survey"`
		}{rows, s})
	case c.Markdown:
		err = doctor.WriteSurveyMarkdown(p.stdout, s, rows)
	default:
		err = doctor.WriteSurvey(p.stdout, s, rows, textOptions(p.stdout))
	}
	if err != nil {
		return err
	}
	bad := 0
	for _, r := range rows {
		if !r.Well() {
			bad++
		}
	}
	return verdict(bad)
}

// explain prints what is known of a code, or of all.
func (c *doctorCmd) explain(p *program) error {
	codes := []string{c.Explain}
	if strings.EqualFold(c.Explain, "all") {
		codes = doctor.Codes()
	}
	for i, code := range codes {
		text, ok := doctor.Explain(code)
		if !ok {
			return usage(p, fmt.Errorf("there is no finding %s: they are %s", code, strings.Join(doctor.Codes(), ", ")))
		}
		if i > 0 {
			text = "\n" + text
		}
		if _, err := fmt.Fprint(p.stdout, text); err != nil {
			return err
		}
	}
	return nil
}

// probe tries the logins from where that is wanted.
func (c *doctorCmd) probe(ctx context.Context, cfg aws.Config, e *doctor.Evidence) {
	probe.Run(ctx, cfg, e, probe.Options{Here: c.Probe, InFunction: c.ProbeInFunction})
}
