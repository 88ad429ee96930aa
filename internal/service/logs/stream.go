package logs

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	api "github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// CreateLogStream makes a stream.
func (s *Service) CreateLogStream(ctx context.Context, call *wire.Call, in *api.CreateLogStreamRequest) (*api.CreateLogStreamResponse, error) {
	out := new(api.CreateLogStreamResponse)
	return out, s.change(ctx, call, target{name: in.LogGroupName, stream: *in.LogStreamName}, out, func(tx *store.Tx, g *loggroup.Group) error {
		if loggroup.Reserved(g.Name) {
			return errReserved
		}
		err := tx.CreateLogStream(g.ID, *in.LogStreamName, call.Time)
		if fault.Is(err, fault.Exists) {
			return errStreamExists.For(*in.LogStreamName)
		}
		return err
	})
}

// DeleteLogStream deletes a stream with its entries.
func (s *Service) DeleteLogStream(ctx context.Context, call *wire.Call, in *api.DeleteLogStreamRequest) (*api.DeleteLogStreamResponse, error) {
	out := new(api.DeleteLogStreamResponse)
	return out, s.change(ctx, call, target{name: in.LogGroupName, stream: *in.LogStreamName}, out, func(tx *store.Tx, g *loggroup.Group) error {
		if loggroup.Reserved(g.Name) {
			return errReserved
		}
		stream, err := s.stream(tx, g, *in.LogStreamName)
		if err != nil {
			return err
		}
		return tx.DeleteLogStream(stream.ID)
	})
}

// DescribeLogStreams lists the streams of a group by name or by the time of
// their latest entries.
func (s *Service) DescribeLogStreams(ctx context.Context, call *wire.Call, in *api.DescribeLogStreamsRequest) (*api.DescribeLogStreamsResponse, error) {
	q := store.LogStreamQuery{
		Prefix: deref(in.LogStreamNamePrefix), ByLastEvent: deref(in.OrderBy) == api.OrderByLastEventTime, Descending: deref(in.Descending),
	}
	if q.ByLastEvent && in.LogStreamNamePrefix != nil {
		return nil, fault.New(fault.Parameter, "Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	var err error
	if q.After, err = decodeStream(in.NextToken); err != nil {
		return nil, err
	}
	limit := pageSize(in.Limit)
	q.Limit = limit + 1
	var g *loggroup.Group
	var streams []*loggroup.Stream
	err = s.Store.View(ctx, func(tx *store.Tx) (err error) {
		if g, err = s.group(tx, call, target{name: in.LogGroupName, identifier: in.LogGroupIdentifier}); err != nil {
			return err
		}
		streams, err = tx.LogStreams(g.ID, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.DescribeLogStreamsResponse{LogStreams: []api.LogStream{}}
	for i, stream := range streams {
		if i == limit {
			out.NextToken = new(encodeStream(streams[i-1]))
			break
		}
		out.LogStreams = append(out.LogStreams, describeStream(g, stream))
	}
	return out, nil
}

// describeStream leaves out the times of a stream without entries. AWS
// counts no bytes of streams (AWS docs).
func describeStream(g *loggroup.Group, s *loggroup.Stream) api.LogStream {
	out := api.LogStream{
		LogStreamName: new(s.Name), CreationTime: new(s.CreatedAt.UnixMilli()), UploadSequenceToken: new(sequenceToken(s)),
		Arn: new(g.StreamARN(s.Name)), StoredBytes: new(int64(0)),
	}
	if !s.LastEventAt.IsZero() {
		out.FirstEventTimestamp, out.LastEventTimestamp = new(s.FirstEventAt.UnixMilli()), new(s.LastEventAt.UnixMilli())
		out.LastIngestionTime = new(s.LastIngestion.UnixMilli())
	}
	return out
}

// sequenceToken is any token: AWS reads them no more (AWS docs).
func sequenceToken(s *loggroup.Stream) string { return fmt.Sprintf("%056d", s.ID) }

// streamToken is a page token: the last stream of a page.
type streamToken struct {
	Name string
	At   time.Time
}

func encodeStream(s *loggroup.Stream) string {
	b, _ := json.Marshal(streamToken{s.Name, s.LastEventAt}) // text and times of this era always encode
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeStream(token *string) (*loggroup.Stream, error) {
	if token == nil {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*token)
	if err != nil {
		return nil, errToken
	}
	var t streamToken
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, errToken
	}
	return &loggroup.Stream{Name: t.Name, LastEventAt: t.At}, nil
}
