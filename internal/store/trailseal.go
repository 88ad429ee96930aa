package store

import (
	"database/sql"
	"encoding/binary"
	"time"
)

// TrailSeal covers some of the stored events.
type TrailSeal struct {
	// Number counts the seals from 1. High is the highest number of an event
	// that this seal and those before it cover.
	Number, High int64
	// Events is how many events this seal covers.
	Events   int
	SealedAt time.Time
	// Node sealed.
	Node string
	// Proofs and Seal are what the sealer made of the events.
	Proofs, Seal []byte
}

// StoredEvent is a stored event as its seal sees it: Text holds every column.
type StoredEvent struct {
	Seq  int64
	At   time.Time
	Text []byte
}

const sealColumns = `number, high, events, sealed_at, node, proofs, seal`

func (tx *Tx) trailSeals(query string, args ...any) ([]*TrailSeal, error) {
	var list []*TrailSeal
	err := tx.each(func(rows *sql.Rows) error {
		var s TrailSeal
		var at int64
		err := rows.Scan(&s.Number, &s.High, &s.Events, &at, &s.Node, &s.Proofs, &s.Seal)
		s.SealedAt = fromMicros(at)
		list = append(list, &s)
		return err
	}, query, args...)
	return list, err
}

// LastTrailSeal returns the newest seal, or nil.
func (tx *Tx) LastTrailSeal() (*TrailSeal, error) {
	list, err := tx.trailSeals(`SELECT ` + sealColumns + ` FROM trail_seal WHERE number > 0 ORDER BY number DESC LIMIT 1`)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// TrailSeals returns up to limit seals behind a number, in their order.
func (tx *Tx) TrailSeals(after int64, limit int) ([]*TrailSeal, error) {
	return tx.trailSeals(`SELECT `+sealColumns+` FROM trail_seal WHERE number > $1 ORDER BY number LIMIT $2`, after, limit)
}

// AddTrailSeal stores a seal. The error is of kind Exists, without message,
// when another node was quicker.
func (tx *Tx) AddTrailSeal(s *TrailSeal) error {
	return tx.insert(`INSERT INTO trail_seal (`+sealColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		s.Number, s.High, s.Events, micros(s.SealedAt), s.Node, s.Proofs, s.Seal)
}

// DropTrailSeals removes the seals that cover nothing behind an event's
// number, but for the newest of all, and returns the last that it removed; nil
// when it removed none.
func (tx *Tx) DropTrailSeals(through int64) (*TrailSeal, error) {
	const gone = ` FROM trail_seal WHERE high <= $1 AND number < (SELECT max(number) FROM trail_seal)`
	list, err := tx.trailSeals(`SELECT `+sealColumns+gone+` ORDER BY number DESC LIMIT 1`, through)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	_, err = tx.exec(`DELETE`+gone, through)
	return list[0], err
}

// NewestEvent returns the highest number of a stored event; 0 when there is
// none.
func (tx *Tx) NewestEvent() (seq int64, err error) {
	err = tx.one([]any{&seq}, `SELECT coalesce(max(seq), 0) FROM trail_event`)
	return seq, err
}

// EventNumbers returns the numbers of the stored events behind after up to
// last, in order.
func (tx *Tx) EventNumbers(after, last int64) ([]int64, error) {
	var list []int64
	err := tx.each(func(rows *sql.Rows) error {
		var seq int64
		err := rows.Scan(&seq)
		list = append(list, seq)
		return err
	}, `SELECT seq FROM trail_event WHERE seq > $1 AND seq <= $2 ORDER BY seq`, after, last)
	return list, err
}

// StoredEvents returns up to limit stored events behind after up to last, in
// the order of their numbers.
func (tx *Tx) StoredEvents(after, last int64, limit int) ([]StoredEvent, error) {
	var list []StoredEvent
	err := tx.each(func(rows *sql.Rows) error {
		var seq, at, readOnly int64
		var text [9]string
		err := rows.Scan(&seq, &text[0], &text[1], &text[2], &at, &text[3], &text[4], &readOnly, &text[5], &text[6], &text[7], &text[8])
		if err != nil {
			return err
		}
		b := binary.BigEndian.AppendUint64(nil, uint64(seq))
		b = binary.BigEndian.AppendUint64(b, uint64(at))
		b = binary.BigEndian.AppendUint64(b, uint64(readOnly))
		for _, t := range text {
			b = binary.BigEndian.AppendUint32(b, uint32(len(t)))
			b = append(b, t...)
		}
		list = append(list, StoredEvent{seq, fromMicros(at), b})
		return nil
	}, `SELECT seq, id, account, region, at, source, name, read_only, username, access_key_id, resource_type || ' ' || resource_name, body
		FROM trail_event WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3`, after, last, limit)
	return list, err
}

// metaAnchor is where the record of what retention removed is.
const metaAnchor = "trail anchor"

// TrailAnchor returns the record of what retention removed from the stored
// events, as SetTrailAnchor got it; "" when there is none.
func (tx *Tx) TrailAnchor() (string, error) { return tx.Meta(metaAnchor) }

// SetTrailAnchor replaces that record.
func (tx *Tx) SetTrailAnchor(text string) error { return tx.SetMeta(metaAnchor, text) }

// TrailHead tells how far the segments of a node reached.
type TrailHead struct {
	Chain   string
	NotedAt time.Time
	Body    string
	Seal    []byte
}

// SetTrailHead replaces what is noted of a node.
func (tx *Tx) SetTrailHead(h *TrailHead) error {
	_, err := tx.exec(`INSERT INTO trail_head (chain, noted_at, body, seal) VALUES ($1, $2, $3, $4)
		ON CONFLICT (chain) DO UPDATE SET noted_at = excluded.noted_at, body = excluded.body, seal = excluded.seal`, h.Chain, micros(h.NotedAt), h.Body, h.Seal)
	return err
}

// TrailHeads returns what is noted of all nodes, in the order of their names.
func (tx *Tx) TrailHeads() ([]*TrailHead, error) {
	var list []*TrailHead
	err := tx.each(func(rows *sql.Rows) error {
		var h TrailHead
		var at int64
		err := rows.Scan(&h.Chain, &at, &h.Body, &h.Seal)
		h.NotedAt = fromMicros(at)
		list = append(list, &h)
		return err
	}, `SELECT chain, noted_at, body, seal FROM trail_head WHERE chain > '' ORDER BY chain`)
	return list, err
}

// DropTrailHeads removes what was noted before a time of other nodes than the
// given one: they are gone, and their segments too.
func (tx *Tx) DropTrailHeads(before time.Time, but string) error {
	_, err := tx.exec(`DELETE FROM trail_head WHERE noted_at < $1 AND chain <> $2`, micros(before), but)
	return err
}
