// Package sweep repeats the work that the server does by itself from time to
// time, such as removing what is too old.
package sweep

import (
	"context"
	"log/slog"
	"time"
)

// Every does the work at once, and then once an interval until ctx ends; it
// tells the work when its turn began. A turn that takes longer than the
// interval is followed by the next at once. A failure is logged, doing says of
// what; the next turn tries again. The error is always nil.
func Every(ctx context.Context, interval time.Duration, logger *slog.Logger, doing string, work func(context.Context, time.Time) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := work(ctx, time.Now()); err != nil && ctx.Err() == nil {
			logger.ErrorContext(ctx, doing, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
