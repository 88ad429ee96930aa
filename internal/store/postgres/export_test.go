package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/store"
)

// Ear lets tests read changes at the moments of their choice.
type Ear struct{ ear }

// NewEar returns an Ear that has begun.
func NewEar(ctx context.Context, url string, feed *store.Feed) (*Ear, error) {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	e := &Ear{ear{conn: c, feed: feed, clock: new(clock), told: map[int64]bool{}}}
	return e, e.begin(ctx)
}

// Poll reads once.
func (e *Ear) Poll(ctx context.Context) error { return e.poll(ctx) }

// Close closes the connection.
func (e *Ear) Close() { closeListening(e.conn) }

// Age makes the last removal longer ago.
func (e *Ear) Age(d time.Duration) { e.removableAt = e.removableAt.Add(-d) }

// Sleep makes the last read longer ago.
func (e *Ear) Sleep(d time.Duration) { e.readAt = e.readAt.Add(-d) }
