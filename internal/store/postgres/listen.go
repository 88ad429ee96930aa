package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/store"
)

// Times of the change feed. Each node sends itself a beat through the
// database. One that arrives proves that what was committed before it was
// sent has arrived too, as PostgreSQL keeps the order of notifications; the
// proof is good for provedFor. So a node that is cut off, or stopped and
// continued, gives no cached answer that is older than provedFor.
const (
	beatEvery   = time.Second
	provedFor   = 5 * time.Second
	beatWithin  = 3 * time.Second // a beat that takes longer breaks the connection
	listenAgain = 100 * time.Millisecond
	listenMost  = 5 * time.Second // the longest pause between attempts to listen
)

// Sizes of notifications. PostgreSQL refuses payloads of 8000 bytes.
const (
	maxPayload  = 7900
	maxPayloads = 8 // of one transaction; beyond, it announces that all may have changed
)

// Payloads that are no lists of topics.
const (
	everything = "*"
	beatPrefix = "beat "
)

// listener announces and hears changes over one channel.
type listener struct {
	db      *sql.DB
	config  *pgx.ConnConfig
	channel string
	logger  *slog.Logger
}

// channelOf names the channel of a schema: databases keep channels apart,
// schemas do not.
func channelOf(schema string) string {
	sum := sha256.Sum256([]byte(schema))
	return "keyturn_" + hex.EncodeToString(sum[:8])
}

// payloads packs topics, each on a line, into as few payloads as it can.
func payloads(topics []string) []string {
	var list []string
	var b strings.Builder
	for _, t := range topics {
		if t == everything || len(t) > maxPayload || strings.ContainsAny(t, "\n\x00") || strings.HasPrefix(t, beatPrefix) {
			return []string{everything}
		}
		if b.Len() > 0 && b.Len()+1+len(t) > maxPayload {
			list = append(list, b.String())
			b.Reset()
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(t)
	}
	if list = append(list, b.String()); len(list) > maxPayloads {
		return []string{everything}
	}
	return list
}

// announce notifies within the transaction, so on its commit.
func (l *listener) announce(ctx context.Context, c store.Conn, topics []string) error {
	for _, p := range payloads(topics) {
		if _, err := c.Exec(ctx, `SELECT pg_notify($1, $2)`, []any{l.channel, p}); err != nil {
			return err
		}
	}
	return nil
}

// follow listens until ctx ends, and again after a pause when the connection
// is lost.
func (l *listener) follow(ctx context.Context, feed *store.Feed) error {
	pause := listenAgain
	for {
		proved, err := l.listen(ctx, feed)
		feed.Lose()
		if ctx.Err() != nil {
			return nil
		}
		if proved {
			pause = listenAgain
		}
		l.logger.WarnContext(ctx, "not hearing of other nodes' changes: caches are off until we do", "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, listenMost)
	}
}

// listen hears changes over one connection until that fails. proved tells
// whether any beat arrived.
func (l *listener) listen(ctx context.Context, feed *store.Feed) (proved bool, err error) {
	bounded, cancel := context.WithTimeout(ctx, finishAfter)
	defer cancel()
	c, err := pgx.ConnectConfig(bounded, l.config)
	if err != nil {
		return false, err
	}
	defer closeListening(c)
	if _, err := c.Exec(bounded, "LISTEN "+pgx.Identifier{l.channel}.Sanitize()); err != nil {
		return false, err
	}
	feed.Changed(nil)
	// The first beat takes another connection. Through a pooler that hands
	// connections out by transaction it does not come back.
	p := &pulse{listener: l, feed: feed, name: beatPrefix + rand.Text() + " "}
	if err := p.send(bounded, l.db.ExecContext); err != nil {
		return false, err
	}
	for {
		if p.heard == p.beat && time.Since(p.sent) >= beatEvery {
			if err := p.send(ctx, func(ctx context.Context, query string, args ...any) (sql.Result, error) {
				_, err := c.Exec(ctx, query, args...)
				return nil, err
			}); err != nil {
				return p.heard > 0, err
			}
		}
		if err := p.wait(ctx, c); err != nil {
			return p.heard > 0, err
		}
	}
}

func closeListening(c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// pulse is the run of beats over one connection.
type pulse struct {
	*listener
	feed  *store.Feed
	name  string
	beat  int // the number of the last beat that was sent
	heard int // the number of the last beat that arrived
	sent  time.Time
}

var errNoBeat = errors.New("the listening connection does not get our own notifications; does a pooler hand out connections by transaction?")

// send sends the next beat, once the one before arrived.
func (p *pulse) send(ctx context.Context, exec func(context.Context, string, ...any) (sql.Result, error)) error {
	p.beat++
	p.sent = time.Now()
	ctx, cancel := context.WithTimeout(ctx, beatWithin)
	defer cancel()
	_, err := exec(ctx, `SELECT pg_notify($1, $2)`, p.channel, fmt.Sprint(p.name, p.beat))
	return err
}

// wait hears one notification, or returns when the next beat is due.
func (p *pulse) wait(ctx context.Context, c *pgx.Conn) error {
	patience := beatEvery
	if p.heard < p.beat {
		patience = beatWithin
	}
	bounded, cancel := context.WithDeadline(ctx, p.sent.Add(patience))
	defer cancel()
	n, err := c.WaitForNotification(bounded)
	switch {
	case err == nil:
		p.hear(n.Payload)
		return nil
	case bounded.Err() == nil || ctx.Err() != nil || c.IsClosed():
		return err
	case p.heard < p.beat:
		return errNoBeat
	}
	return nil
}

func (p *pulse) hear(payload string) {
	switch {
	case payload == fmt.Sprint(p.name, p.beat):
		p.heard = p.beat
		p.feed.Prove(p.sent.Add(provedFor))
	case strings.HasPrefix(payload, beatPrefix): // another node's, or late
	case payload == everything:
		p.feed.Changed(nil)
	default:
		p.feed.Changed(strings.Split(payload, "\n"))
	}
}
