package store

import (
	"cmp"
	"database/sql"
	"slices"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/trail"
)

// Record stores an event with the other changes of the transaction, for every
// account that it concerns.
func (tx *Tx) Record(e trail.Event) error {
	return e.Deliver(func(e *trail.Event) error {
		r, err := e.Record()
		if err != nil {
			return fault.Wrap(err, "recording an event")
		}
		return tx.AddRecord(r)
	})
}

// AddRecord is Record for an event that is in CloudTrail's shape already,
// which saves that work inside the transaction.
func (tx *Tx) AddRecord(r trail.Record) error {
	var first trail.Resource
	if len(r.Resources) > 0 {
		first = r.Resources[0]
	}
	_, err := tx.exec(`INSERT INTO trail_event (id, account, region, at, source, name, read_only, username, access_key_id, resource_type, resource_name, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		r.EventID, r.Account, r.Region, micros(r.Time), r.Source, r.Name, bit(r.ReadOnly), r.Username, r.AccessKeyID,
		first.Type, first.Name, string(r.JSON))
	if err != nil || len(r.Resources) < 2 {
		return err
	}
	var seq int64
	if err := tx.one([]any{&seq}, `SELECT max(seq) FROM trail_event WHERE id = $1`, r.EventID); err != nil {
		return err
	}
	for _, more := range r.Resources[1:] {
		if _, err := tx.exec(`INSERT INTO trail_resource (account, region, type, name, at, seq) VALUES ($1, $2, $3, $4, $5, $6)`,
			r.Account, r.Region, more.Type, more.Name, micros(r.Time), seq); err != nil {
			return err
		}
	}
	return nil
}

// EventQuery selects events, newest first.
type EventQuery struct {
	Account, Region string
	// Attribute and Value select events by one attribute; "" selects all.
	Attribute EventAttribute
	Value     string
	// From and To bound the time: From <= time < To. A zero bound is open.
	From, To time.Time
	// Limit is the most events to return.
	Limit int
	// After continues behind an earlier page.
	After EventCursor
}

// EventAttribute is an attribute to look events up by, spelt as CloudTrail
// spells it (AWS service model).
type EventAttribute string

// The attributes. ReadOnly has the values "true" and "false".
const (
	EventID      EventAttribute = "EventId"
	EventName    EventAttribute = "EventName"
	EventSource  EventAttribute = "EventSource"
	ReadOnly     EventAttribute = "ReadOnly"
	Username     EventAttribute = "Username"
	AccessKeyID  EventAttribute = "AccessKeyId"
	ResourceType EventAttribute = "ResourceType"
	ResourceName EventAttribute = "ResourceName"
)

// EventCursor is a place in the trail; the zero EventCursor is its newest
// end.
type EventCursor struct {
	// At is a time in microseconds since 1970, Seq an event's number.
	At, Seq int64
}

// IsZero reports whether the cursor is the beginning or the end.
func (c EventCursor) IsZero() bool { return c == EventCursor{} }

// eventConditions say how an attribute selects: over the columns of the
// event itself, and where Resources may hold more than one, over those of
// trail_resource.
var eventConditions = map[EventAttribute]struct{ event, resource string }{
	"":           {},
	EventID:      {event: `e.id = `},
	EventName:    {event: `e.name = `},
	EventSource:  {event: `e.source = `},
	ReadOnly:     {event: `e.read_only = `},
	Username:     {event: `e.username <> '' AND e.username = `},
	AccessKeyID:  {event: `e.access_key_id <> '' AND e.access_key_id = `},
	ResourceType: {event: `e.resource_type = `, resource: `r.type = `},
	ResourceName: {event: `e.resource_name <> '' AND e.resource_name = `, resource: `r.name = `},
}

// Events returns a page of events and where it ended; a zero cursor tells
// that there are no more. An unknown attribute finds nothing.
func (tx *Tx) Events(q EventQuery) ([]trail.Record, EventCursor, error) {
	page, err := tx.EventPage(q)
	if err != nil {
		return nil, EventCursor{}, err
	}
	return page.Records, page.Behind(len(page.Records)), nil
}

// EventPage is a page of Events that knows the place of each.
type EventPage struct {
	Records []trail.Record
	places  []EventCursor
	more    bool
}

// Behind returns the cursor behind the first n records of the page, of which n
// is at least one; zero when nothing follows.
func (p *EventPage) Behind(n int) EventCursor {
	if n == 0 || n == len(p.places) && !p.more {
		return EventCursor{}
	}
	return p.places[n-1]
}

// EventPage is Events for callers that may use fewer records than they got.
func (tx *Tx) EventPage(q EventQuery) (*EventPage, error) {
	condition, known := eventConditions[q.Attribute]
	if !known {
		return &EventPage{}, nil
	}
	query, args := eventQuery(q, `FROM trail_event e`, `e`, condition.event)
	found, err := tx.events(query, args)
	if err == nil && condition.resource != "" {
		var more []foundEvent
		query, args := eventQuery(q, `FROM trail_resource r JOIN trail_event e ON e.seq = r.seq`, `r`, condition.resource)
		more, err = tx.events(query, args)
		found = mergeEvents(found, more)
	}
	if err != nil {
		return nil, err
	}
	page := &EventPage{more: len(found) > q.Limit}
	for _, f := range found[:min(q.Limit, len(found))] {
		r, err := trail.ParseRecord([]byte(f.body))
		if err != nil {
			return nil, fault.Wrap(err, "reading an event")
		}
		page.Records, page.places = append(page.Records, r), append(page.places, f.place)
	}
	return page, nil
}

// eventQuery builds a query for one more event than the page holds; t is
// the table whose columns order and bound it.
func eventQuery(q EventQuery, from, t, condition string) (string, []any) {
	args := []any{q.Account, q.Region}
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	where := ` WHERE ` + t + `.account = $1 AND ` + t + `.region = $2`
	if condition != "" {
		value := any(q.Value)
		if q.Attribute == ReadOnly {
			value = bit(q.Value == "true")
		}
		where += ` AND ` + condition + arg(value)
	}
	if !q.From.IsZero() {
		where += ` AND ` + t + `.at >= ` + arg(micros(q.From))
	}
	if !q.To.IsZero() {
		where += ` AND ` + t + `.at < ` + arg(micros(q.To))
	}
	if !q.After.IsZero() {
		where += ` AND (` + t + `.at, ` + t + `.seq) < (` + arg(q.After.At) + `, ` + arg(q.After.Seq) + `)`
	}
	return `SELECT ` + t + `.at, ` + t + `.seq, e.body ` + from + where + ` ORDER BY ` + t + `.at DESC, ` + t + `.seq DESC LIMIT ` + arg(q.Limit+1), args
}

type foundEvent struct {
	place EventCursor
	body  string
}

func (tx *Tx) events(query string, args []any) ([]foundEvent, error) {
	var list []foundEvent
	err := tx.each(func(rows *sql.Rows) error {
		var f foundEvent
		err := rows.Scan(&f.place.At, &f.place.Seq, &f.body)
		list = append(list, f)
		return err
	}, query, args...)
	return list, err
}

// mergeEvents joins two lists, newest first and each event once.
func mergeEvents(a, b []foundEvent) []foundEvent {
	if len(b) == 0 {
		return a
	}
	all := append(a, b...)
	slices.SortFunc(all, func(x, y foundEvent) int {
		return cmp.Or(cmp.Compare(y.place.At, x.place.At), cmp.Compare(y.place.Seq, x.place.Seq))
	})
	return slices.Compact(all)
}

// DropEvents removes the oldest of the stored events, in the order in which
// they were recorded: up to limit of them, and none behind the last one whose
// time is before the given one. The newest event of all stays, so that no
// number is used again. It returns how many it removed, and the number of the
// last; call it until it removes none.
func (tx *Tx) DropEvents(before time.Time, limit int) (dropped, through int64, err error) {
	err = tx.one([]any{&through}, `SELECT coalesce(max(seq), 0) FROM (SELECT seq, at FROM trail_event ORDER BY seq LIMIT $2) AS oldest
		WHERE at < $1 AND seq < (SELECT max(seq) FROM trail_event)`, micros(before), limit)
	if err != nil || through == 0 {
		return 0, 0, err
	}
	dropped, err = tx.exec(`DELETE FROM trail_event WHERE seq <= $1`, through)
	return dropped, through, err
}
