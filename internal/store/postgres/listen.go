package postgres

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/store"
)

// Times of the change feed. A transaction writes the topics that it touched
// into the table change; each node reads there what others touched, at least
// every pollEvery, and as soon as a notification says that there is news. A
// read proves that all that was committed before it began has been heard;
// the proof is good for provedFor. So a node that is cut off, or stopped and
// continued, gives no cached answer that is older than provedFor.
//
// Transactions do not notify by themselves, as PostgreSQL lets those that do
// commit one at a time only.
const (
	pollEvery   = time.Second
	pollPause   = 5 * time.Millisecond // at least between two reads
	provedFor   = 5 * time.Second
	pollWithin  = 3 * time.Second // a read that takes longer breaks the connection
	listenAgain = 100 * time.Millisecond
	listenMost  = 5 * time.Second // the longest pause between attempts to listen
)

// Rows of the table change are removed when all nodes have read them: those
// that do not come for half as long as rows are kept begin anew.
const (
	keptFor = 2 * time.Minute
	maxGap  = keptFor / 2
)

// maxTopics is how many topics a transaction announces one by one; beyond, it
// announces everything.
const maxTopics = 1000

// everything stands for all topics.
const everything = "*"

// changeTable is made beside the records. It belongs to the transport, so
// SQLite has none and no migration changes it.
const changeTable = `CREATE TABLE IF NOT EXISTS change (xid bigint PRIMARY KEY, topics text NOT NULL)`

// listener announces and hears changes.
type listener struct {
	db      *sql.DB
	config  *pgx.ConnConfig
	channel string
	logger  *slog.Logger
	news    chan struct{} // holds one when a commit is not yet notified of
	clock   *clock
}

// channelOf names the channel of a schema: databases keep channels apart,
// schemas do not.
func channelOf(schema string) string {
	sum := sha256.Sum256([]byte(schema))
	return "keyturn_" + hex.EncodeToString(sum[:8])
}

// announce writes down the topics within the transaction.
func (l *listener) announce(ctx context.Context, c store.Conn, topics []string) error {
	text := everything
	if len(topics) <= maxTopics {
		text = strings.Join(topics, "\n")
	}
	_, err := c.Exec(ctx, `INSERT INTO change (xid, topics) VALUES (pg_current_xact_id()::text::bigint, $1)`, []any{text})
	return err
}

// committed makes notify tell the others soon.
func (l *listener) committed() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// notify tells other nodes of commits, many at a time, until ctx ends. A
// notification that gets lost makes them hear a little later.
func (l *listener) notify(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.news:
		}
		bounded, cancel := context.WithTimeout(ctx, pollWithin)
		if _, err := l.db.ExecContext(bounded, `SELECT pg_notify($1, '')`, l.channel); err != nil {
			l.logger.DebugContext(ctx, "notifying other nodes", "error", err)
		}
		cancel()
	}
}

// follow hears of changes until ctx ends, and begins anew after a pause when
// the connection is lost.
func (l *listener) follow(ctx context.Context, feed *store.Feed) error {
	notifying, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { l.notify(notifying); close(done) }()
	defer func() { stop(); <-done }()
	pause := listenAgain
	for {
		heard, err := l.listen(ctx, feed)
		feed.Lose()
		if ctx.Err() != nil {
			return nil
		}
		if heard {
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

// listen hears changes over one connection until that fails. heard tells
// whether any read succeeded.
func (l *listener) listen(ctx context.Context, feed *store.Feed) (heard bool, err error) {
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
	e := &ear{conn: c, feed: feed, clock: l.clock, told: map[int64]bool{}}
	if err := e.begin(bounded); err != nil {
		return false, err
	}
	for {
		if err := e.poll(ctx); err != nil {
			return heard, err
		}
		heard = true
		if err := e.wait(ctx); err != nil {
			return heard, err
		}
	}
}

func closeListening(c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// ear reads the table change over one connection.
type ear struct {
	conn  *pgx.Conn
	feed  *store.Feed
	clock *clock
	// horizon is the oldest transaction that was not over at the last read;
	// what came before it has been heard. told are those from it on that have
	// been heard already.
	horizon int64
	told    map[int64]bool
	// readAt is when the last read began, by the clock of the database, which
	// goes on when this machine is stopped.
	readAt time.Time
	// removable is a former horizon, that of removableAt.
	removable   int64
	removableAt time.Time
}

// begin takes everything for changed, and the horizon from which to read.
func (e *ear) begin(ctx context.Context) error {
	err := e.conn.QueryRow(ctx, `SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, clock_timestamp()`).Scan(&e.horizon, &e.readAt)
	if err != nil {
		return err
	}
	e.removable, e.removableAt = e.horizon, e.readAt
	e.feed.Changed(nil)
	return nil
}

var errGap = errors.New("this node did not read for too long")

// poll hears what was committed since the last time. The snapshot and the
// rows are of one statement, so a row that it does not show yet belongs to a
// transaction from the new horizon on.
func (e *ear) poll(ctx context.Context) error {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, pollWithin)
	defer cancel()
	rows, err := e.conn.Query(bounded, `SELECT pg_snapshot_xmin(s.now)::text::bigint, clock_timestamp(), c.xid, c.topics
		FROM (SELECT pg_current_snapshot() AS now) s LEFT JOIN change c ON c.xid >= $1`, e.horizon)
	if err != nil {
		return err
	}
	defer rows.Close()
	horizon, at := e.horizon, e.readAt
	var news []string
	for rows.Next() {
		var xid sql.NullInt64
		var topics sql.NullString
		if err := rows.Scan(&horizon, &at, &xid, &topics); err != nil {
			return err
		}
		if xid.Valid && !e.told[xid.Int64] {
			e.told[xid.Int64] = true
			news = append(news, topics.String)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if at.Sub(e.readAt) > maxGap {
		return errGap
	}
	e.horizon, e.readAt = horizon, at
	e.clock.set(began, at)
	for xid := range e.told {
		if xid < horizon {
			delete(e.told, xid)
		}
	}
	for _, text := range news {
		if text == everything {
			e.feed.Changed(nil)
		} else {
			e.feed.Changed(strings.Split(text, "\n"))
		}
	}
	e.feed.Prove(began.Add(provedFor))
	return e.remove(bounded)
}

// remove deletes the rows that all nodes must have read.
func (e *ear) remove(ctx context.Context) error {
	if e.readAt.Sub(e.removableAt) < keptFor {
		return nil
	}
	_, err := e.conn.Exec(ctx, `DELETE FROM change WHERE xid < $1`, e.removable)
	e.removable, e.removableAt = e.horizon, e.readAt
	return err
}

// wait returns when it is time to read again: after a notification, or after
// pollEvery.
func (e *ear) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pollPause):
	}
	bounded, cancel := context.WithTimeout(ctx, pollEvery)
	defer cancel()
	_, err := e.conn.WaitForNotification(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil && !e.conn.IsClosed() {
		return nil
	}
	return err
}
