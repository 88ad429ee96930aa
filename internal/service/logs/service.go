// Package logs implements the operations of CloudWatch Logs that functions
// and those who read their output need: log groups, streams, entries,
// retention and tags.
//
// Texts of errors are AWS's wherever they are on record.
package logs

import (
	"strings"

	api "github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
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
		Opaque: []string{"PutLogEvents"},
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
}

// Texts of errors (AWS: recorded).
var (
	errGroupExists  = fault.New(fault.Exists, "The specified log group already exists")
	errStreamExists = fault.New(fault.Exists, "The specified log stream already exists")
	errNoGroup      = fault.New(fault.NotFound, "The specified log group does not exist.")
	errNoStream     = fault.New(fault.NotFound, "The specified log stream does not exist.")
	errToken        = fault.New(fault.PageToken, "The specified nextToken is invalid.")
)

// resource is the ARN on which calls are authorised: it covers a group, or
// every group if that is "", with a stream or without (AWS: reported).
func resource(call *wire.Call, group, stream string) string {
	return arn.New("logs", call.Region, call.Principal.Account, "log-group:"+group+":log-stream:"+stream).String()
}

// touch authorises a call on a group that may not exist.
func (s *Service) touch(call *wire.Call, group, stream string) error {
	if err := s.Guard.Action(call, resource(call, group, stream)); err != nil {
		return err
	}
	g := loggroup.Group{Account: call.Principal.Account, Region: call.Region, Name: group}
	call.Resources = []trail.Resource{{Type: "AWS::Logs::LogGroup", Name: g.ARN()}}
	return nil
}

// group returns the log group that a name or an identifier names, authorised
// for the call. Exactly one of them has to be given; an identifier is a name
// or an ARN.
func (s *Service) group(tx *store.Tx, call *wire.Call, name, identifier *string) (*loggroup.Group, error) {
	if name != nil && identifier != nil {
		return nil, fault.New(exclusive, "LogGroup name and LogGroup ARN are mutually exclusive parameters.")
	}
	if name == nil && identifier == nil {
		return nil, fault.New(exclusive, "Either LogGroup name or LogGroup ARN must be specified.") // assumed
	}
	if identifier == nil {
		identifier = name
	}
	group, err := s.resolve(call, *identifier)
	if err != nil {
		return nil, err
	}
	if err := s.touch(call, group, ""); err != nil {
		return nil, err
	}
	g, err := tx.LogGroup(call.Principal.Account, call.Region, group)
	if fault.Is(err, fault.NotFound) {
		return nil, errNoGroup.For(group)
	}
	return g, err
}

// resolve returns the name in an identifier. An ARN of another account is
// refused, one of another region or service names nothing here.
func (s *Service) resolve(call *wire.Call, identifier string) (name string, err error) {
	if !arn.IsARN(identifier) {
		return identifier, nil
	}
	a, ok := arn.Parse(identifier)
	if !ok {
		return "", errNoGroup.For(identifier)
	}
	if err := s.Guard.Action(call, identifier); err != nil {
		return "", err
	}
	name, ok = strings.CutPrefix(a.Resource, "log-group:")
	if !ok || a.Service != "logs" || a.Region != call.Region {
		return "", errNoGroup.For(identifier)
	}
	return strings.TrimSuffix(name, ":*"), nil
}

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
