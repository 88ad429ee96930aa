// Package logs implements the operations of CloudWatch Logs that functions
// and those who read their output need: log groups, streams, entries,
// retention and tags.
//
// Texts of errors are AWS's wherever they are on record.
package logs

import (
	api "github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with; all members are needed.
type Config struct {
	Store *store.Store
	Guard *authz.Guard
}

// Service is CloudWatch Logs. Use New.
type Service struct{ Config }

// New returns a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{
		Model: api.Model(), Ops: s.ops(), Errors: codes,
		// The user's data stays out of the trail.
		Opaque:     []string{"PutLogEvents"},
		Conditions: conditions,
	}
}

func (s *Service) ops() []wire.Op {
	return []wire.Op{
		wire.Handle("AssociateKmsKey", s.AssociateKmsKey),
		wire.Handle("CreateLogGroup", s.CreateLogGroup),
		wire.Handle("CreateLogStream", s.CreateLogStream),
		wire.Handle("DeleteLogGroup", s.DeleteLogGroup),
		wire.Handle("DeleteLogStream", s.DeleteLogStream),
		wire.Handle("DeleteRetentionPolicy", s.DeleteRetentionPolicy),
		wire.Handle("DescribeLogGroups", s.DescribeLogGroups),
		wire.Handle("DescribeLogStreams", s.DescribeLogStreams),
		wire.Handle("DisassociateKmsKey", s.DisassociateKmsKey),
		wire.Handle("FilterLogEvents", s.FilterLogEvents),
		wire.Handle("GetLogEvents", s.GetLogEvents),
		wire.Handle("ListTagsForResource", s.ListTagsForResource),
		wire.Handle("ListTagsLogGroup", s.ListTagsLogGroup),
		wire.Handle("PutLogEvents", s.PutLogEvents),
		wire.Handle("PutMetricFilter", s.PutMetricFilter),
		wire.Handle("PutRetentionPolicy", s.PutRetentionPolicy),
		wire.Handle("PutSubscriptionFilter", s.PutSubscriptionFilter),
		wire.Handle("TagLogGroup", s.TagLogGroup),
		wire.Handle("TagResource", s.TagResource),
		wire.Handle("UntagLogGroup", s.UntagLogGroup),
		wire.Handle("UntagResource", s.UntagResource),
	}
}

// Kinds of this service alone.
const (
	exclusive   fault.Kind = "exclusive parameters"
	tooManyTags fault.Kind = "too many tags"
	unsupported fault.Kind = "unsupported operation"
	refused     fault.Kind = "the server's own log group"
)

// codes are the service's error codes: all 400 (AWS: recorded).
var codes = map[fault.Kind]wire.Code{
	fault.NotFound:   {Name: "ResourceNotFoundException"},
	fault.Exists:     {Name: "ResourceAlreadyExistsException"},
	fault.Parameter:  {Name: "InvalidParameterException"},
	fault.Validation: {Name: "InvalidParameterException"},
	fault.PageToken:  {Name: "InvalidParameterException"},
	exclusive:        {Name: "ValidationException", Status: 400},
	tooManyTags:      {Name: "TooManyTagsException"},
	unsupported:      {Name: "InvalidOperationException"},
	refused:          {Name: "AccessDeniedException", Status: 400},
}

// Texts of errors (AWS: recorded).
var (
	errGroupExists  = fault.New(fault.Exists, "The specified log group already exists")
	errStreamExists = fault.New(fault.Exists, "The specified log stream already exists")
	errNoGroup      = fault.New(fault.NotFound, "The specified log group does not exist.")
	errNoStream     = fault.New(fault.NotFound, "The specified log stream does not exist.")
	errToken        = fault.New(fault.PageToken, "The specified nextToken is invalid.")
)

func (s *Service) stream(tx *store.Tx, g *loggroup.Group, name string) (*loggroup.Stream, error) {
	stream, err := tx.LogStream(g.ID, name)
	if fault.Is(err, fault.NotFound) {
		return nil, errNoStream.For(name)
	}
	return stream, err
}

// deref returns what p points to, or the zero value.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
