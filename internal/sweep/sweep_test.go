package sweep_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/sweep"
)

// A failure is logged and tried again, a turn that took too long is followed
// by one more at once, and the end of ctx is no failure.
func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, stop := context.WithCancel(t.Context())
		start := time.Now()
		var turns []time.Duration
		err := sweep.Every(ctx, time.Minute, slog.New(slog.NewTextHandler(&log, nil)), "sweeping", func(ctx context.Context, now time.Time) error {
			turns = append(turns, now.Sub(start))
			switch len(turns) {
			case 1:
				return errors.New("no broom")
			case 2:
				time.Sleep(150 * time.Second)
			case 4:
				stop()
				return ctx.Err()
			}
			return nil
		})
		if err != nil {
			t.Errorf("got %v", err)
		}
		// Two ticks came during the long turn, which count as one.
		want := []time.Duration{0, time.Minute, 210 * time.Second, 4 * time.Minute}
		if len(turns) != len(want) {
			t.Fatalf("got turns at %v, want %v", turns, want)
		}
		for i := range want {
			if turns[i] != want[i] {
				t.Errorf("got turns at %v, want %v", turns, want)
				break
			}
		}
		if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, `msg=sweeping error="no broom"`) {
			t.Errorf("the log has %s", text)
		}
	})
}
