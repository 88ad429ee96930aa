package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keyturn/keyturn/internal/admin"
)

type rekeyCmd struct {
	Wait          bool          `help:"Follow to the end; exit with 1 if it is not reached."`
	Status        bool          `help:"Start nothing; show where the root keys stand."`
	Timeout       time.Duration `help:"Give up following after this time." default:"1h"`
	operatorFlags `embed:""`
}

// rekeyInterval is the time between two looks at a rekey.
const rekeyInterval = 200 * time.Millisecond

// patience is how long a server may be away while its rekey is followed: it
// may have been restarted.
const patience = time.Minute

// Run asks for a rekey.
func (c *rekeyCmd) Run(p *program) error {
	client, err := c.client(p.ctx)
	if err != nil {
		return err
	}
	if c.Status {
		status, err := client.DescribeRekey(p.ctx)
		if err != nil {
			return err
		}
		return c.show(p.stdout, status, func(w io.Writer) { printStatus(w, status) })
	}
	r, err := client.StartRekey(p.ctx)
	if err != nil {
		return err
	}
	if c.Wait && !r.Done() {
		if r, err = c.follow(p, client, r); err != nil {
			return err
		}
	}
	return c.show(p.stdout, map[string]any{"Rekey": r}, func(w io.Writer) { printRekey(w, r) })
}

// follow looks at the rekey until it is done.
func (c *rekeyCmd) follow(p *program, client *admin.Client, r *admin.Rekey) (*admin.Rekey, error) {
	ctx, cancel := context.WithTimeout(p.ctx, c.Timeout)
	defer cancel()
	said, seen := "", time.Now()
	for !r.Done() {
		if line := r.LastError; line != said && line != "" {
			_, _ = fmt.Fprintf(p.stderr, "keyturn: %s could not be wrapped anew and will be tried again: %s\n", keys(r.FailingCount), line)
			said = line
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the rekey has not ended after %v; it goes on: look with keyturn rekey --status", c.Timeout)
		case <-time.After(rekeyInterval):
		}
		status, err := client.DescribeRekey(ctx)
		if _, refused := errors.AsType[*admin.Error](err); refused || err != nil && time.Since(seen) > patience {
			return nil, err
		}
		if err == nil && status.Rekey != nil {
			r, seen = status.Rekey, time.Now()
		}
	}
	return r, nil
}

func printRekey(w io.Writer, r *admin.Rekey) {
	switch {
	case !r.Done():
		_, _ = fmt.Fprintf(w, "All keys are being wrapped by the root key %s; keyturn rekey --status shows how far it is.\n", r.RootKeyID)
	case r.RewrappedCount == 0:
		_, _ = fmt.Fprintf(w, "The root key %s wraps everything already.\n", r.RootKeyID)
	default:
		_, _ = fmt.Fprintf(w, "The root key %s wraps everything now (%s wrapped anew).\nRestart every node without --old-root-key; the old root key is needed for backups alone.\n", r.RootKeyID, keys(r.RewrappedCount))
	}
}

func printStatus(w io.Writer, s *admin.RekeyStatus) {
	_, _ = fmt.Fprintf(w, "Root key in use: %s.\n", s.RootKeyID)
	if len(s.Remaining) == 0 {
		_, _ = fmt.Fprintln(w, "It wraps everything.")
	}
	for _, r := range s.Remaining {
		_, _ = fmt.Fprintf(w, "Root key %s still wraps %s.\n", r.RootKeyID, keys(r.Count))
	}
	if r := s.Rekey; r != nil {
		_, _ = fmt.Fprintf(w, "Last rekey: to %s, %s since %s, %s wrapped anew.\n", r.RootKeyID, word(r), r.StartedDate.Format(time.RFC3339), keys(r.RewrappedCount))
		if r.LastError != "" {
			_, _ = fmt.Fprintf(w, "%s could not be wrapped anew and will be tried again: %s\n", keys(r.FailingCount), r.LastError)
		}
	}
}

func word(r *admin.Rekey) string {
	if r.Done() {
		return "done"
	}
	return "under way"
}

func keys(n int) string {
	if n == 1 {
		return "1 key"
	}
	return fmt.Sprint(n, " keys")
}
