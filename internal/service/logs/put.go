package logs

import (
	"context"
	"time"

	api "github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Bounds of a batch (AWS docs).
const (
	maxSpan   = 24 * time.Hour
	maxAge    = 14 * 24 * time.Hour
	maxFuture = 2 * time.Hour
)

// errReserved refuses to write where the server reports.
var errReserved = fault.New(fault.Parameter, "Log groups whose names start with /keyturn/ are written by the server alone.")

// PutLogEvents stores entries in a stream that exists. Entries that are too
// old, expired or too new are left out, and the answer says which.
func (s *Service) PutLogEvents(ctx context.Context, call *wire.Call, in *api.PutLogEventsRequest) (*api.PutLogEventsResponse, error) {
	if err := checkBatch(in.LogEvents); err != nil {
		return nil, err
	}
	var out *api.PutLogEventsResponse
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		g, err := s.group(tx, call, target{name: in.LogGroupName, stream: *in.LogStreamName})
		if err != nil {
			return err
		}
		if loggroup.Reserved(g.Name) {
			return errReserved
		}
		stream, err := s.stream(tx, g, *in.LogStreamName)
		if err != nil {
			return err
		}
		accepted, rejected := admit(in.LogEvents, g, call.Time)
		out = &api.PutLogEventsResponse{NextSequenceToken: new(sequenceToken(stream)), RejectedLogEventsInfo: rejected}
		if err := tx.AppendLogEntries(g.Account, g.Region, g.Name, stream.Name, accepted); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
	return out, err
}

// checkBatch applies the rules of batches (texts: AWS: reported).
func checkBatch(events []api.InputLogEvent) error {
	size := 0
	for i := range events {
		n := len(*events[i].Message) + loggroup.EntryOverhead
		if n > loggroup.MaxEntryBytes {
			return fault.New(fault.Parameter, "Log event too large: %d bytes exceeds limit of %d", n, loggroup.MaxEntryBytes)
		}
		size += n
		if i > 0 && *events[i].Timestamp < *events[i-1].Timestamp {
			return fault.New(fault.Parameter, "Log events in a single PutLogEvents request must be in chronological order.")
		}
	}
	if size > loggroup.MaxBatchBytes {
		return fault.New(fault.Parameter, "Upload too large: %d bytes exceeds limit of %d", size, loggroup.MaxBatchBytes)
	}
	if last := *events[len(events)-1].Timestamp; last-*events[0].Timestamp > maxSpan.Milliseconds() {
		return fault.New(fault.Parameter, "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
	}
	return nil
}

// admit returns the entries whose times a group takes now, and, if that is
// not all, where the others are: the too new from an index on, the too old
// and the expired up to one.
func admit(events []api.InputLogEvent, g *loggroup.Group, now time.Time) ([]loggroup.Entry, *api.RejectedLogEventsInfo) {
	expired := time.Time{}
	if g.RetentionDays > 0 {
		expired = now.AddDate(0, 0, -g.RetentionDays)
	}
	var entries []loggroup.Entry
	var info api.RejectedLogEventsInfo
	for i, e := range events {
		switch at := time.UnixMilli(*e.Timestamp); {
		case at.After(now.Add(maxFuture)):
			if info.TooNewLogEventStartIndex == nil {
				info.TooNewLogEventStartIndex = new(int64(i))
			}
		case at.Before(now.Add(-maxAge)):
			info.TooOldLogEventEndIndex = new(int64(i + 1))
		case at.Before(expired):
			info.ExpiredLogEventEndIndex = new(int64(i + 1))
		default:
			entries = append(entries, loggroup.Entry{Time: at, IngestedAt: now, Message: *e.Message})
		}
	}
	if len(entries) == len(events) {
		return entries, nil
	}
	return entries, &info
}
