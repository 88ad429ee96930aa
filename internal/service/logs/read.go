package logs

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxEvents is how many entries one answer holds, and holds unless a smaller
// limit is given (AWS docs).
const maxEvents = 10000

// GetLogEvents returns entries of one stream: the latest, the earliest, or
// those after or before a place.
func (s *Service) GetLogEvents(ctx context.Context, call *wire.Call, in *api.GetLogEventsRequest) (*api.GetLogEventsResponse, error) {
	at, err := parsePlace(in.NextToken)
	if err != nil {
		return nil, err
	}
	if in.NextToken == nil {
		at.backward = !deref(in.StartFromHead)
	}
	q := store.LogQuery{Cursor: at.Cursor, Backward: at.backward, Limit: maxEvents, Bytes: loggroup.MaxBatchBytes}
	if in.Limit != nil {
		q.Limit = int(*in.Limit)
	}
	q.From, q.To = milli(in.StartTime), milli(in.EndTime)
	var entries []loggroup.Entry
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		g, err := s.group(tx, call, target{name: in.LogGroupName, identifier: in.LogGroupIdentifier, stream: *in.LogStreamName})
		if err != nil {
			return err
		}
		stream, err := s.stream(tx, g, *in.LogStreamName)
		if err != nil || at.isHead(in.NextToken) {
			return err
		}
		q.Streams = []*loggroup.Stream{stream}
		entries, err = tx.LogEntries(g.ID, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.GetLogEventsResponse{Events: make([]api.OutputLogEvent, len(entries))}
	for i := range entries {
		e := &entries[i]
		out.Events[i] = api.OutputLogEvent{
			Timestamp: new(e.Time.UnixMilli()), Message: new(e.Message), IngestionTime: new(e.IngestedAt.UnixMilli()),
		}
	}
	forward, backward := at.around(entries)
	out.NextForwardToken, out.NextBackwardToken = new(forward.String()), new(backward.String())
	return out, nil
}

// milli returns the time of milliseconds since 1970, or the zero time for
// nil.
func milli(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return time.UnixMilli(*ms)
}

// place is what a token of GetLogEvents says: read on after, or before, the
// place of an entry. The zero Cursor is the head of the stream.
type place struct {
	loggroup.Cursor
	backward bool
}

// isHead reports whether nothing can come before the place.
func (p place) isHead(token *string) bool { return token != nil && p.backward && p.IsZero() }

// around returns the places of the pages after and before a page. When there
// was nothing to read in the direction of the place, that direction's token
// stays the same, by which clients know the end (AWS docs), and the other
// one leads back to what was read before.
func (p place) around(page []loggroup.Entry) (forward, backward place) {
	if len(page) > 0 {
		return place{page[len(page)-1].Cursor(), false}, place{page[0].Cursor(), true}
	}
	forward, backward = place{p.Cursor, false}, place{p.Cursor, true}
	switch {
	case p.IsZero():
	case p.backward:
		forward.ID = max(p.ID-1, 0)
	default:
		backward.ID++
	}
	return forward, backward
}

// Tokens look like AWS's: a direction, 56 digits and an s (AWS: recorded).
// The digits are a time in microseconds and an entry's ID.
const (
	timeDigits = 20
	idDigits   = 36
)

// String returns the token of the place.
func (p place) String() string {
	direction := "f"
	if p.backward {
		direction = "b"
	}
	var at int64
	if !p.Time.IsZero() {
		at = p.Time.UnixMicro()
	}
	return fmt.Sprintf("%s/%0*d%0*d/s", direction, timeDigits, at, idDigits, p.ID)
}

// parsePlace reads a token; nil is the head of the stream, forward.
func parsePlace(token *string) (place, error) {
	if token == nil {
		return place{}, nil
	}
	parts := strings.Split(*token, "/")
	if len(parts) != 3 || parts[0] != "f" && parts[0] != "b" || parts[2] != "s" || len(parts[1]) != timeDigits+idDigits {
		return place{}, errToken
	}
	cursor, err := parseDigits(parts[1])
	return place{cursor, parts[0] == "b"}, err
}

func formatDigits(c loggroup.Cursor) string {
	return place{Cursor: c}.String()[2 : 2+timeDigits+idDigits]
}

func parseDigits(s string) (c loggroup.Cursor, err error) {
	if len(s) != timeDigits+idDigits || strings.Trim(s, "0123456789") != "" {
		return c, errToken
	}
	at, err := strconv.ParseInt(s[:timeDigits], 10, 64)
	if err == nil {
		c.ID, err = strconv.ParseInt(s[timeDigits:], 10, 64)
	}
	if err != nil {
		return c, errToken
	}
	if at != 0 || c.ID != 0 {
		c.Time = time.UnixMicro(at)
	}
	return c, nil
}

// Bounds of what one FilterLogEvents looks at before it answers with what it
// has and a token.
const (
	filterBatch = 1000
	maxSearched = 20_000
)

// FilterLogEvents returns the entries of a group, of all streams or of some,
// that match a pattern.
func (s *Service) FilterLogEvents(ctx context.Context, call *wire.Call, in *api.FilterLogEventsRequest) (*api.FilterLogEventsResponse, error) {
	if in.LogStreamNames != nil && in.LogStreamNamePrefix != nil {
		return nil, fault.New(fault.Parameter, "LogStream names and LogStream name prefix are mutually exclusive parameters.") // assumed
	}
	pattern, err := loggroup.ParsePattern(deref(in.FilterPattern))
	if err != nil {
		return nil, err
	}
	f := filter{
		pattern: pattern, limit: maxEvents,
		q: store.LogQuery{From: milli(in.StartTime), Prefix: deref(in.LogStreamNamePrefix), Limit: filterBatch, Bytes: loggroup.MaxBatchBytes},
	}
	if in.Limit != nil {
		f.limit = int(*in.Limit)
		f.q.Limit = min(f.limit, filterBatch)
	}
	if in.EndTime != nil {
		f.q.To = time.UnixMilli(*in.EndTime).Add(time.Millisecond) // this end is in (AWS docs)
	}
	if in.NextToken != nil {
		if f.q.Cursor, err = parseDigits(*in.NextToken); err != nil {
			return nil, err
		}
	}
	groupID, err := s.searched(ctx, call, in, &f.q)
	if err != nil {
		return nil, err
	}
	if err := s.search(ctx, groupID, &f); err != nil {
		return nil, err
	}
	return f.answer(), nil
}

// searched finds the group and the streams to search.
func (s *Service) searched(ctx context.Context, call *wire.Call, in *api.FilterLogEventsRequest, q *store.LogQuery) (groupID int64, err error) {
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		q.Streams = nil
		g, err := s.group(tx, call, target{name: in.LogGroupName, identifier: in.LogGroupIdentifier})
		if err != nil {
			return err
		}
		groupID = g.ID
		for _, name := range in.LogStreamNames {
			stream, err := s.stream(tx, g, name)
			if err != nil {
				return err
			}
			q.Streams = append(q.Streams, stream)
		}
		return nil
	})
	return groupID, err
}

// filter is one search and what it has found.
type filter struct {
	pattern  *loggroup.Pattern
	q        store.LogQuery
	limit    int
	found    []loggroup.Entry
	bytes    int
	searched int
	// done says that there is nothing left to search.
	done bool
}

// search reads on, batch by batch, until the answer is full, enough has been
// looked at, or nothing is left.
func (s *Service) search(ctx context.Context, groupID int64, f *filter) error {
	for {
		var batch []loggroup.Entry
		err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
			batch, err = tx.LogEntries(groupID, f.q)
			return err
		})
		if err != nil {
			return err
		}
		if f.done = len(batch) == 0; f.done || !f.take(ctx, batch) {
			return nil
		}
	}
}

// take adds what matches to the answer; more is false when the answer has to
// go.
func (f *filter) take(ctx context.Context, batch []loggroup.Entry) (more bool) {
	for i := range batch {
		e := &batch[i]
		f.searched++
		if f.pattern.Match(e.Message) {
			size := len(e.Message) + loggroup.EntryOverhead
			if len(f.found) > 0 && f.bytes+size > loggroup.MaxBatchBytes {
				return false
			}
			f.bytes += size
			f.found = append(f.found, *e)
		}
		f.q.Cursor = e.Cursor()
		if len(f.found) == f.limit || f.searched == maxSearched || ctx.Err() != nil {
			return false
		}
	}
	return true
}

func (f *filter) answer() *api.FilterLogEventsResponse {
	out := &api.FilterLogEventsResponse{
		Events: make([]api.FilteredLogEvent, len(f.found)), SearchedLogStreams: []api.SearchedLogStream{},
	}
	for i := range f.found {
		e := &f.found[i]
		out.Events[i] = api.FilteredLogEvent{
			LogStreamName: new(e.Stream), Timestamp: new(e.Time.UnixMilli()), Message: new(e.Message),
			IngestionTime: new(e.IngestedAt.UnixMilli()), EventId: new(formatDigits(e.Cursor())),
		}
	}
	if !f.done {
		out.NextToken = new(formatDigits(f.q.Cursor))
	}
	return out
}
