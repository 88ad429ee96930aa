package store

import (
	"database/sql"
	"math"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/loggroup"
)

// TrimLogs removes up to limit log entries that no one can read or that have
// outlived their group's retention: those of deleted groups and streams,
// then those that are older than the retention policy or, without one, older
// than keep, unless keep is 0; at last streams that are as old and empty. It
// returns how much it removed; 0 means that nothing is left to remove. Each
// call is short, so that other updates get their turn.
func (tx *Tx) TrimLogs(now time.Time, keep time.Duration, limit int) (removed int, err error) {
	for _, step := range []func(*Tx, logAge, int) (int, error){
		(*Tx).trimDeletedGroup, (*Tx).trimDeletedStream, (*Tx).trimExpired, (*Tx).trimEmptyStreams,
	} {
		if n, err := step(tx, newLogAge(now, keep), limit); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, nil
}

// logAge says what is old: what came before now less the retention, or
// before oldest where there is none.
type logAge struct{ now, oldest int64 }

func newLogAge(now time.Time, keep time.Duration) logAge {
	if keep <= 0 {
		return logAge{micros(now), 0}
	}
	return logAge{micros(now), micros(now.Add(-keep))}
}

// cutoff is the SQL for the time before which a group's entries are old,
// with a logAge as $1 and $2.
const cutoff = `(CASE WHEN g.retention_days > 0 THEN $1 - g.retention_days * 86400000000 ELSE $2 END)`

// found turns the error NotFound of a search into false.
func found(err error) (bool, error) {
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

func (tx *Tx) trimDeletedGroup(_ logAge, limit int) (int, error) {
	var id int64
	if ok, err := found(tx.one([]any{&id}, `SELECT id FROM log_group WHERE deleted = 1 ORDER BY id LIMIT 1`)); !ok {
		return 0, err
	}
	n, err := tx.exec(`DELETE FROM log_entry WHERE id IN (SELECT id FROM log_entry WHERE group_id = $1 ORDER BY at, id LIMIT $2)`, id, limit)
	if err == nil && n < int64(limit) {
		n++
		err = tx.change(`DELETE FROM log_group WHERE id = $1`, id)
	}
	return int(n), err
}

func (tx *Tx) trimDeletedStream(_ logAge, limit int) (int, error) {
	var id int64
	if ok, err := found(tx.one([]any{&id}, `SELECT id FROM log_stream WHERE deleted = 1 ORDER BY id LIMIT 1`)); !ok {
		return 0, err
	}
	n, err := tx.exec(`DELETE FROM log_entry WHERE id IN (SELECT id FROM log_entry WHERE stream_id = $1 ORDER BY at, id LIMIT $2)`, id, limit)
	if err == nil && n < int64(limit) {
		n++
		err = tx.change(`DELETE FROM log_stream WHERE id = $1`, id)
	}
	return int(n), err
}

func (tx *Tx) trimExpired(age logAge, limit int) (int, error) {
	var groupID, before int64
	ok, err := found(tx.one([]any{&groupID, &before}, `SELECT g.id, `+cutoff+` FROM log_group g
		WHERE g.deleted = 0 AND EXISTS (SELECT 1 FROM log_entry e WHERE e.group_id = g.id AND e.at < `+cutoff+`) LIMIT 1`, age.now, age.oldest))
	if !ok {
		return 0, err
	}
	return tx.trimOldest(groupID, before, math.MaxInt64, limit)
}

// LargeLogGroup returns the first group behind the ID after that no retention
// policy bounds and that stores more than the given bytes, and how many it has
// too many; an ID of 0 when there is none.
func (tx *Tx) LargeLogGroup(after, most int64) (id, excess int64, err error) {
	var stored int64
	ok, err := found(tx.one([]any{&id, &stored}, `SELECT g.id, (SELECT sum(s.bytes) FROM log_stream s WHERE s.group_id = g.id AND s.deleted = 0)
		FROM log_group g WHERE g.id > $1 AND g.deleted = 0 AND g.retention_days = 0
		AND (SELECT coalesce(sum(s.bytes), 0) FROM log_stream s WHERE s.group_id = g.id AND s.deleted = 0) > $2 ORDER BY g.id LIMIT 1`, after, most))
	if !ok {
		return 0, 0, err
	}
	return id, stored - most, nil
}

// TrimLogGroup removes the oldest entries of a group: up to limit, and no more
// than it takes to free the bytes. It returns how many it removed.
func (tx *Tx) TrimLogGroup(id, bytes int64, limit int) (removed int, err error) {
	return tx.trimOldest(id, math.MaxInt64, bytes, limit)
}

// trimOldest removes the oldest entries of a group from its streams: those
// before a time, up to limit, until the bytes are free.
func (tx *Tx) trimOldest(groupID, before, enough int64, limit int) (removed int, err error) {
	var lastAt, lastID, freed int64
	bytes := map[int64]int64{}
	err = tx.each(func(rows *sql.Rows) error {
		if freed >= enough {
			return errEnough
		}
		var streamID, size int64
		err := rows.Scan(&lastID, &lastAt, &streamID, &size)
		bytes[streamID] += size + loggroup.EntryOverhead
		freed += size + loggroup.EntryOverhead
		return err
	}, `SELECT id, at, stream_id, octet_length(message) FROM log_entry WHERE group_id = $1 AND at < $2 ORDER BY at, id LIMIT $3`, groupID, before, limit)
	if err != nil || freed == 0 {
		return 0, err
	}
	for streamID, n := range bytes {
		if _, err := tx.exec(`UPDATE log_stream SET bytes = bytes - $2 WHERE id = $1`, streamID, n); err != nil {
			return 0, err
		}
	}
	n, err := tx.exec(`DELETE FROM log_entry WHERE group_id = $1 AND (at, id) <= ($2, $3)`, groupID, lastAt, lastID)
	return int(n), err
}

func (tx *Tx) trimEmptyStreams(age logAge, limit int) (int, error) {
	n, err := tx.exec(`DELETE FROM log_stream WHERE id IN (
		SELECT s.id FROM log_group g CROSS JOIN log_stream s
		WHERE s.group_id = g.id AND g.deleted = 0 AND s.deleted = 0 AND s.last_at < `+cutoff+` AND s.ingested_at < `+cutoff+` AND s.created_at < `+cutoff+` LIMIT $3)`,
		age.now, age.oldest, limit)
	return int(n), err
}
