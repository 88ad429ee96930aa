package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/rotate"
	"github.com/keyturn/keyturn/internal/schedule"
)

type rotateCmd struct {
	Secret  string         `arg:"" help:"Name or ARN of the secret."`
	Wait    bool           `help:"Follow the rotation to its end; exit with 1 if it does not succeed."`
	Timeout *time.Duration `help:"Give up following after this time; 15m after the start or the end of a hold if not given." placeholder:"DURATION"`
}

// rotatePatience is how long a rotation is followed by default.
const rotatePatience = 15 * time.Minute

// Run rotates through the AWS API that the environment names, as every AWS
// client does.
func (c *rotateCmd) Run(p *program) error {
	cfg, err := awsConfig(p.ctx)
	if err != nil {
		return err
	}
	if err := needCredentials(p.ctx, &cfg); err != nil {
		return err
	}
	r, err := rotate.Start(p.ctx, rotate.NewClients(cfg), c.Secret)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.stdout, "Rotation of %s started; its version is %s.\n", r.SecretARN, r.Token)
	if !c.Wait {
		return nil
	}
	err = c.follow(p, r)
	if errors.Is(err, rotate.ErrNotSucceeded) {
		_, _ = fmt.Fprintln(p.stderr, "keyturn:", problem(err))
		return exitError(exitFailed)
	}
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.stdout, "Rotated in %s.\n", time.Since(r.StartedAt).Round(time.Millisecond))
	return nil
}

// follow shows the rotation until its end. A hold is waited for: it has an end
// of its own.
func (c *rotateCmd) follow(p *program, r *rotate.Rotation) error {
	ctx, cancel := context.WithCancelCause(p.ctx)
	defer cancel(nil)
	limit := rotatePatience
	if c.Timeout != nil {
		limit = *c.Timeout
	}
	timer := time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
	defer timer.Stop()
	return r.Watch(ctx, func(l rotate.Line) {
		_, _ = fmt.Fprintln(p.stdout, l.Text())
		if l.Report == nil || c.Timeout != nil {
			return
		}
		if end := l.Report.HoldEnd(); !end.IsZero() {
			timer.Reset(time.Until(end) + rotatePatience)
		}
	})
}

type scheduleCmd struct {
	Expression string `arg:"" help:"A rate() or cron() expression, or a number of days."`
	Duration   string `help:"Length of the window, such as 3h." placeholder:"HOURS"`
	Count      int    `help:"Windows to show." default:"5"`
	After      string `help:"Moment from which to count, in RFC 3339; now when empty." placeholder:"TIME"`
}

// Run prints the next windows of a schedule.
func (c *scheduleCmd) Run(p *program) error {
	after := time.Now()
	if c.After != "" {
		var err error
		if after, err = time.Parse(time.RFC3339, c.After); err != nil {
			return fmt.Errorf("--after: %w", err)
		}
	}
	rules := schedule.Rules{Expression: c.Expression, Duration: c.Duration}
	var days int64
	if n, err := fmt.Sscanf(c.Expression, "%d", &days); err == nil && n == 1 && fmt.Sprint(days) == c.Expression {
		rules = schedule.Rules{AutomaticallyAfterDays: days, Duration: c.Duration}
	}
	s, err := schedule.Parse(rules)
	if err != nil {
		return err
	}
	for _, w := range s.Preview(c.Count, after) {
		_, _ = fmt.Fprintf(p.stdout, "%s to %s\n", w.Start.UTC().Format("Mon 2006-01-02 15:04"), w.End.UTC().Format("Mon 2006-01-02 15:04 UTC"))
	}
	return nil
}
