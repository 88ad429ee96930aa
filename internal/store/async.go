package store

import (
	"database/sql"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

const eventColumns = `e.request_id, e.function_id, e.qualifier, f.account, f.region, f.name, e.payload, e.trace_header,
	e.accepted_at, e.due_at, e.owner, e.fence, e.errors, e.throttles`

// AddFunctionEvent stores an accepted asynchronous invocation, due at its DueAt. The
// error is of kind Exists, without message, when its request ID is taken.
func (tx *Tx) AddFunctionEvent(e *function.Event) error {
	return tx.insert(`INSERT INTO function_event (request_id, function_id, qualifier, payload, trace_header,
			accepted_at, due_at, owner, fence, errors, throttles)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING`,
		e.RequestID, e.FunctionID, e.Qualifier, e.Payload, e.TraceHeader,
		micros(e.AcceptedAt), micros(e.DueAt), e.Owner, e.Fence, e.Errors, e.Throttles)
}

// ClaimFunctionEvents makes a node the owner of up to limit events that are
// due at now, the longest overdue first: until the given time nobody else
// gets them.
func (tx *Tx) ClaimFunctionEvents(node string, now, until time.Time, limit int) ([]*function.Event, error) {
	list, err := tx.functionEvents(`SELECT `+eventColumns+` FROM function_event e JOIN function f ON f.id = e.function_id
		WHERE e.due_at <= $1 ORDER BY e.due_at LIMIT $2`, micros(now), limit)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		e.Owner, e.Fence, e.DueAt = node, e.Fence+1, until
		_, err := tx.exec(`UPDATE function_event SET due_at = $1, owner = $2, fence = $3 WHERE request_id = $4`,
			micros(until), node, e.Fence, e.RequestID)
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (tx *Tx) functionEvents(query string, args ...any) ([]*function.Event, error) {
	var list []*function.Event
	err := tx.each(func(rows *sql.Rows) error {
		var e function.Event
		var accepted, due int64
		err := rows.Scan(&e.RequestID, &e.FunctionID, &e.Qualifier, &e.Account, &e.Region, &e.Name, &e.Payload, &e.TraceHeader,
			&accepted, &due, &e.Owner, &e.Fence, &e.Errors, &e.Throttles)
		e.AcceptedAt, e.DueAt = fromMicros(accepted), fromMicros(due)
		list = append(list, &e)
		return err
	}, query, args...)
	return list, err
}

// FreeFunctionEvents makes the events that a node owns due at now: those that
// it ran when it was stopped.
func (tx *Tx) FreeFunctionEvents(node string, now time.Time) error {
	_, err := tx.exec(`UPDATE function_event SET due_at = $1, owner = '' WHERE owner = $2 AND owner <> ''`, micros(now), node)
	return err
}

// SaveFunctionEvent stores a claimed event's counts, owner and new DueAt. The
// error is of kind Conflict, without message, when the claim was lost.
func (tx *Tx) SaveFunctionEvent(e *function.Event) error {
	return lost(tx.change(`UPDATE function_event SET due_at = $1, owner = $2, errors = $3, throttles = $4 WHERE request_id = $5 AND fence = $6`,
		micros(e.DueAt), e.Owner, e.Errors, e.Throttles, e.RequestID, e.Fence))
}

// RemoveFunctionEvent removes a claimed event that is done or given up. The error is
// as SaveFunctionEvent's.
func (tx *Tx) RemoveFunctionEvent(e *function.Event) error {
	return lost(tx.change(`DELETE FROM function_event WHERE request_id = $1 AND fence = $2`, e.RequestID, e.Fence))
}

// lost turns a row that is not there any more into a lost claim.
func lost(err error) error {
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.Conflict, "")
	}
	return err
}

// NextFunctionEvent returns when the next event is due, or a claim ends; zero when
// there is no event.
func (tx *Tx) NextFunctionEvent() (time.Time, error) {
	var at int64
	err := tx.one([]any{&at}, `SELECT due_at FROM function_event ORDER BY due_at LIMIT 1`)
	if fault.Is(err, fault.NotFound) {
		return time.Time{}, nil
	}
	return fromMicros(at), err
}
