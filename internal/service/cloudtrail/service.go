// Package cloudtrail implements LookupEvents over the two places where events
// are: the store, which has changes and what services did by themselves, and
// the recorder's segment files, which have reads and failures.
package cloudtrail

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	api "github.com/keyturn/keyturn/internal/api/cloudtrail"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with; all members are needed.
type Config struct {
	Store *store.Store
	Guard *authz.Guard
	// Recorder has this node's reads and failures; those of other nodes are
	// not found.
	Recorder *trail.Recorder
	// Sealer seals page tokens.
	Sealer *key.Sealer
}

// Service is CloudTrail. Use New.
type Service struct{ Config }

// New returns a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{Model: api.Model(), Ops: []wire.Op{wire.Handle("LookupEvents", s.LookupEvents)}, Errors: codes}
}

// Kinds of this service alone.
const (
	badAttribute fault.Kind = "invalid lookup attributes"
	badTimeRange fault.Kind = "invalid time range"
)

// codes are the service's error codes (AWS service model).
var codes = map[fault.Kind]wire.Code{
	badAttribute:    {Name: "InvalidLookupAttributesException"},
	badTimeRange:    {Name: "InvalidTimeRangeException"},
	fault.PageToken: {Name: "InvalidNextTokenException"},
}

var errToken = fault.New(fault.PageToken, "Invalid token.") // assumed

// keep is how far back events are looked up (AWS docs).
const keep = 90 * 24 * time.Hour

// maxPage is how many events one page has, and has unless a smaller number is
// asked for (AWS docs).
const maxPage = 50

// LookupEvents returns events of the caller's account and region, newest
// first, by one attribute or all.
func (s *Service) LookupEvents(ctx context.Context, call *wire.Call, in *api.LookupEventsRequest) (*api.LookupEventsResponse, error) {
	if err := s.Guard.Action(call, ""); err != nil { // AWS: recorded, the refusal names no resource
		return nil, err
	}
	l, err := s.lookup(call, in)
	if err != nil {
		return nil, err
	}
	out := &api.LookupEventsResponse{Events: []api.Event{}}
	if in.EventCategory != nil {
		return out, nil // insights are not made here
	}
	records, err := s.page(ctx, l)
	if err != nil {
		return nil, err
	}
	for i := range records {
		out.Events = append(out.Events, describe(&records[i]))
	}
	if !l.Stored.Done || !l.Recorded.Done {
		token, err := s.token(&l.progress)
		if err != nil {
			return nil, err
		}
		out.NextToken = &token
	}
	return out, nil
}

func describe(r *trail.Record) api.Event {
	e := api.Event{
		EventId: new(r.EventID), EventName: new(r.Name), ReadOnly: new(strconv.FormatBool(r.ReadOnly)), EventTime: new(r.Time),
		EventSource: new(r.Source), CloudTrailEvent: new(string(r.JSON)), Resources: []api.Resource{},
	}
	if r.AccessKeyID != "" {
		e.AccessKeyId = new(r.AccessKeyID)
	}
	if r.Username != "" {
		e.Username = new(r.Username)
	}
	for _, res := range r.Resources {
		e.Resources = append(e.Resources, api.Resource{ResourceType: new(res.Type), ResourceName: new(res.Name)})
	}
	return e
}

// lookup is one call of LookupEvents.
type lookup struct {
	account, region string
	limit           int
	progress
}

// progress is what a page token carries: the question, and how much of the
// answer has been given.
type progress struct {
	Account, Region string
	Attribute       string `json:",omitempty"`
	Value           string `json:",omitempty"`
	// Start and End are as they were asked for, in microseconds since 1970,
	// or 0.
	Start, End int64
	// From and To bound the events' times: From <= time < To.
	From, To time.Time
	Stored   struct {
		After store.EventCursor
		Done  bool
	}
	Recorded struct {
		Before trail.Place
		Done   bool
	}
}

// lookup reads the request, and from its token where to go on.
func (s *Service) lookup(call *wire.Call, in *api.LookupEventsRequest) (*lookup, error) {
	l := &lookup{account: call.Principal.Account, region: call.Region, limit: maxPage}
	if in.MaxResults != nil {
		l.limit = int(*in.MaxResults)
	}
	q, err := question(call, in)
	if err != nil {
		return nil, err
	}
	if in.NextToken == nil {
		l.progress = q
		l.Recorded.Before, err = s.Recorder.End()
		return l, err
	}
	if l.progress, err = s.parseToken(*in.NextToken); err != nil {
		return nil, err
	}
	if l.Account != q.Account || l.Region != q.Region || l.Attribute != q.Attribute || l.Value != q.Value || l.Start != q.Start || l.End != q.End {
		return nil, errToken // AWS docs: a token goes with the parameters of its request
	}
	return l, nil
}

// question reads what is asked for.
func question(call *wire.Call, in *api.LookupEventsRequest) (progress, error) {
	p := progress{Account: call.Principal.Account, Region: call.Region}
	switch len(in.LookupAttributes) {
	case 0:
	case 1:
		p.Attribute, p.Value = *in.LookupAttributes[0].AttributeKey, *in.LookupAttributes[0].AttributeValue
	default:
		return p, fault.New(badAttribute, "Only one lookup attribute can be specified.") // assumed
	}
	if p.Attribute == api.LookupAttributeKeyReadOnly && p.Value != "true" && p.Value != "false" {
		return p, fault.New(badAttribute, "The value of the lookup attribute ReadOnly must be true or false.") // assumed
	}
	// Events have whole seconds, and both ends are in (AWS docs).
	p.From, p.To = call.Time.Add(-keep), call.Time.Truncate(time.Second).Add(time.Second)
	if in.StartTime != nil {
		p.Start = in.StartTime.UnixMicro()
		if in.StartTime.After(p.From) {
			p.From = *in.StartTime
		}
	}
	if in.EndTime != nil {
		p.End = in.EndTime.UnixMicro()
		if end := in.EndTime.Truncate(time.Second).Add(time.Second); end.Before(p.To) {
			p.To = end
		}
	}
	if in.StartTime != nil && in.EndTime != nil && in.StartTime.After(*in.EndTime) {
		return p, fault.New(badTimeRange, "Invalid time range: start time is after end time")
	}
	return p, nil
}

// tokenPurpose separates page tokens from whatever else the Sealer seals.
const tokenPurpose = "cloudtrail-page"

func (s *Service) token(p *progress) (string, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return "", fault.Wrap(err, "encoding a page token")
	}
	return base64.StdEncoding.EncodeToString(s.Sealer.Seal(tokenPurpose, b)), nil
}

func (s *Service) parseToken(token string) (p progress, err error) {
	sealed, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return p, errToken
	}
	b, err := s.Sealer.Open(tokenPurpose, sealed)
	if err != nil {
		return p, errToken.Because(err)
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return p, errToken.Because(err)
	}
	return p, nil
}
