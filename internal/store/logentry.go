package store

import (
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/loggroup"
)

// maxInsert is how many entries one statement stores. It is a power of two:
// a number of entries is stored by one statement for each of its bits, so
// few forms of statement have to be prepared.
const maxInsert = 512

// AppendLogEntries stores entries of one stream, in their order, and makes
// the log group and the stream if they are missing. Entry IDs grow from call
// to call; those given are ignored, as are the streams. A message longer
// than loggroup.MaxEntryBytes is cut.
func (tx *Tx) AppendLogEntries(account, region, group, stream string, entries []loggroup.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	groupID, streamID, err := tx.ensureLogStream(account, region, group, stream)
	if err != nil {
		return err
	}
	if err := tx.noteLogEntries(streamID, entries); err != nil {
		return err
	}
	for size := maxInsert; len(entries) > 0; {
		if len(entries) < size {
			size /= 2
			continue
		}
		if err := tx.insertLogEntries(groupID, streamID, entries[:size]); err != nil {
			return err
		}
		entries = entries[size:]
	}
	return nil
}

// ensureLogStream returns the IDs of a log group and of its stream.
func (tx *Tx) ensureLogStream(account, region, group, stream string) (groupID, streamID int64, err error) {
	find := func() error {
		return tx.one([]any{&groupID, &streamID}, `SELECT g.id, coalesce(s.id, 0)
			FROM log_group g LEFT JOIN log_stream s ON s.group_id = g.id AND s.name = $4 AND s.deleted = 0
			WHERE g.account = $1 AND g.region = $2 AND g.name = $3 AND g.deleted = 0`, account, region, group, stream)
	}
	if err := find(); err != nil && !fault.Is(err, fault.NotFound) || streamID != 0 {
		return groupID, streamID, err
	}
	now := time.Now()
	if groupID == 0 {
		g := loggroup.Group{Account: account, Region: region, Name: group, CreatedAt: now, Class: loggroup.StandardClass}
		if err := tx.CreateLogGroup(&g); err != nil {
			return 0, 0, err
		}
		groupID = g.ID
	}
	if err := tx.CreateLogStream(groupID, stream, now); err != nil {
		return 0, 0, err
	}
	return groupID, streamID, find()
}

// noteLogEntries tells a stream of entries that it gets.
func (tx *Tx) noteLogEntries(streamID int64, entries []loggroup.Entry) error {
	first, last, ingested, bytes := int64(math.MaxInt64), int64(0), int64(0), 0
	for i := range entries {
		e := &entries[i]
		first, last = min(first, micros(e.Time)), max(last, micros(e.Time))
		ingested = max(ingested, micros(e.IngestedAt))
		bytes += len(cutMessage(e.Message)) + loggroup.EntryOverhead
	}
	return tx.change(`UPDATE log_stream SET bytes = bytes + $2,
			first_at = CASE WHEN first_at = 0 OR first_at > $3 THEN $3 ELSE first_at END,
			last_at = CASE WHEN last_at < $4 THEN $4 ELSE last_at END,
			ingested_at = CASE WHEN ingested_at < $5 THEN $5 ELSE ingested_at END
		WHERE id = $1`, streamID, bytes, first, last, ingested)
}

func (tx *Tx) insertLogEntries(groupID, streamID int64, entries []loggroup.Entry) error {
	args := append(make([]any, 0, 2+3*len(entries)), groupID, streamID)
	for i := range entries {
		args = append(args, micros(entries[i].Time), micros(entries[i].IngestedAt), cutMessage(entries[i].Message))
	}
	_, err := tx.exec(insertLogQuery(len(entries)), args...)
	return err
}

// insertLogQuery is the statement that stores n entries of one stream.
func insertLogQuery(n int) string {
	b := []byte(`INSERT INTO log_entry (group_id, stream_id, at, ingested_at, message) VALUES `)
	for i := range n {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, "($1, $2"...)
		for p := range 3 {
			b = strconv.AppendInt(append(b, ", $"...), int64(3+3*i+p), 10)
		}
		b = append(b, ')')
	}
	return string(b)
}

func cutMessage(s string) string {
	if len(s) <= loggroup.MaxEntryBytes {
		return s
	}
	n := loggroup.MaxEntryBytes
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// LogQuery selects entries of one log group.
type LogQuery struct {
	// Streams, if not nil, are the streams that the entries belong to.
	Streams []*loggroup.Stream
	// Prefix, if not "" and Streams is nil, starts the names of the streams.
	Prefix string
	// From and To bound the entries' times; To itself is left out. Zero
	// bounds nothing.
	From, To time.Time
	// Cursor, if not zero, is the place to go on from: the entries after
	// it, or before it if Backward.
	Cursor loggroup.Cursor
	// Backward selects the latest entries instead of the earliest. They
	// come in the order of their times all the same.
	Backward bool
	// Limit bounds the entries; Bytes, if not 0, bounds their messages
	// with the overhead of each, except that one entry always fits.
	Limit, Bytes int
}

// maxMerged is how many streams are read one by one and merged; for more of
// them the whole group is read.
const maxMerged = 100

// LogEntries returns entries of a log group in the order of their times, and
// of their IDs where those are the same. It reads what it returns and, with
// a prefix that more than a hundred streams have, what lies between.
func (tx *Tx) LogEntries(groupID int64, q LogQuery) ([]loggroup.Entry, error) {
	streams := q.Streams
	if streams == nil && q.Prefix != "" {
		var err error
		streams, err = tx.LogStreams(groupID, LogStreamQuery{Prefix: q.Prefix, Limit: maxMerged + 1})
		if err != nil {
			return nil, err
		}
	}
	var list []loggroup.Entry
	var err error
	switch {
	case len(streams) > maxMerged && q.Streams == nil, q.Streams == nil && q.Prefix == "":
		list, err = tx.groupEntries(groupID, q)
	case len(streams) > 0:
		list, err = tx.streamEntries(streams, q)
	}
	if q.Backward {
		slices.Reverse(list)
	}
	return list, err
}

// order returns the SQL of the query's direction.
func (q *LogQuery) order() string {
	if q.Backward {
		return `ORDER BY at DESC, id DESC LIMIT $5`
	}
	return `ORDER BY at, id LIMIT $5`
}

// bounds returns the places between which the entries lie: $1 to $4.
func (q *LogQuery) bounds() []any {
	low, lowID := micros(q.From), int64(0)
	high, highID := int64(math.MaxInt64), int64(0)
	if !q.To.IsZero() {
		high = micros(q.To)
	}
	at := micros(q.Cursor.Time)
	switch {
	case q.Cursor.IsZero():
	case q.Backward && at < high:
		high, highID = at, q.Cursor.ID
	case !q.Backward && at >= low:
		low, lowID = at, q.Cursor.ID
	}
	return []any{low, lowID, high, highID}
}

const withinBounds = `(e.at, e.id) > ($1, $2) AND (e.at, e.id) < ($3, $4)`

func (tx *Tx) groupEntries(groupID int64, q LogQuery) ([]loggroup.Entry, error) {
	return tx.entries(q.Bytes, nil, `SELECT e.id AS id, e.at AS at, e.ingested_at, e.message, s.name
		FROM log_entry e JOIN log_stream s ON s.id = e.stream_id
		WHERE e.group_id = $6 AND `+withinBounds+` AND s.deleted = 0 AND s.name >= $7 AND s.name < $8 `+q.order(),
		append(q.bounds(), q.Limit, groupID, q.Prefix, prefixEnd(q.Prefix))...)
}

// streamEntries merges the entries of streams, each read from its own place
// in the index.
func (tx *Tx) streamEntries(streams []*loggroup.Stream, q LogQuery) ([]loggroup.Entry, error) {
	names := map[int64]string{}
	var parts []string
	args := append(q.bounds(), q.Limit)
	for _, s := range streams {
		if names[s.ID] != "" {
			continue
		}
		names[s.ID] = s.Name
		args = append(args, s.ID)
		parts = append(parts, fmt.Sprintf(`SELECT e.id AS id, e.at AS at, e.ingested_at, e.message, e.stream_id
			FROM log_entry e WHERE e.stream_id = $%d AND `+withinBounds, len(args)))
	}
	return tx.entries(q.Bytes, names, strings.Join(parts, ` UNION ALL `)+" "+q.order(), args...)
}

// entries runs a query for entries. Its last column is the stream's name, or
// the stream's ID if names are given. It stops once their bytes are used up.
func (tx *Tx) entries(bytes int, names map[int64]string, query string, args ...any) ([]loggroup.Entry, error) {
	var list []loggroup.Entry
	used := 0
	err := tx.each(func(rows *sql.Rows) error {
		var e loggroup.Entry
		var at, ingested, streamID int64
		stream := any(&e.Stream)
		if names != nil {
			stream = &streamID
		}
		if err := rows.Scan(&e.ID, &at, &ingested, &e.Message, stream); err != nil {
			return err
		}
		if names != nil {
			e.Stream = names[streamID]
		}
		used += len(e.Message) + loggroup.EntryOverhead
		if bytes > 0 && used > bytes && len(list) > 0 {
			return errEnough
		}
		e.Time, e.IngestedAt = fromMicros(at), fromMicros(ingested)
		list = append(list, e)
		return nil
	}, query, args...)
	return list, err
}
