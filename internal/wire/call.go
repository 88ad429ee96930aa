package wire

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/trail"
)

// Call is one call of one operation by one principal. It becomes one event
// of the trail: either the operation stores Event in the transaction of its
// change, or the Handler records the event before it answers. A Call belongs
// to one goroutine. The zero value works, for tests.
type Call struct {
	// RequestID is a UUID.
	RequestID string
	// Service is the signing name, such as secretsmanager.
	Service   string
	Operation string
	Region    string
	// Account receives the event; "" stands for the principal's. Owners of
	// Resources in other accounts get one of their own.
	Account   string
	Time      time.Time
	Principal iam.Principal
	// Token is the session token that came with the request, "" for long-term
	// keys: with Principal.AccessKeyID it tells later again who called. It is
	// in no event.
	Token string
	// SourceIP is the address of the peer, without a port.
	SourceIP  string
	UserAgent string
	Referer   string
	// By is the service principal, such as cloudformation.amazonaws.com, that
	// makes the call in process on behalf of the principal; "" for calls of
	// clients. Such calls may set tags whose keys start with aws:.
	By string
	// Endpoint is the VPC endpoint that the call came through, or nil.
	Endpoint *Endpoint
	// Secure says that the call came over TLS.
	Secure bool

	// Resolved, set by the operation, gives the condition keys that follow from
	// the request only together with what is stored, such as the ARN behind an
	// alias; nil for none.
	Resolved iam.Context

	// Resources, set by the operation once it is authorised, are what the
	// event concerns.
	Resources []trail.Resource
	// Additional, set by the operation, is a JSON object that becomes the
	// event's additionalEventData.
	Additional json.RawMessage

	op      *binding
	action  string
	in      Input
	eventID string
	stored  bool
	also    []*trail.Event
}

// Endpoint is a VPC endpoint: a way to the server with a policy of its own.
type Endpoint struct {
	// ID starts with vpce-, VPC with vpc-.
	ID, VPC string
	Policy  *iam.Policy
}

// Condition returns what the call's request gives for a condition key in
// lower case.
func (c *Call) Condition(key string) iam.Value {
	if c.Resolved != nil {
		if v := c.Resolved(key); !v.IsZero() {
			return v
		}
	}
	if c.op == nil || c.op.service.Conditions == nil || c.in == nil {
		return iam.Value{}
	}
	return c.op.service.Conditions(c.in, key)
}

// Action is the action that guards the call, such as
// secretsmanager:GetSecretValue.
func (c *Call) Action() string {
	switch {
	case c.action != "":
		return c.action
	case c.op != nil:
		return c.op.action
	}
	return c.Service + ":" + c.Operation
}

// As returns the call as one that another action guards.
func (c *Call) As(action string) *Call {
	other := *c
	other.action = action
	return &other
}

// maxElements bounds requestParameters and responseElements in bytes; larger
// ones become null (AWS docs: 100 KB).
const maxElements = 100 << 10

// fewElements is room for those of most calls, in bytes.
const fewElements = 256

// maxText bounds the error message and the user agent in an event, in bytes
// (AWS docs: 1 KB).
const maxText = 1 << 10

// Event returns the event of the call's success, for the transaction that
// stores its change. The Handler then records none, unless the operation
// fails after all. Repeated calls return the same event, as a transaction
// may run twice. out is the answer, or nil.
func (c *Call) Event(out Output) trail.Event {
	c.stored = true
	return c.event(out)
}

func (c *Call) event(out Output) trail.Event {
	if c.eventID == "" {
		c.eventID = trail.NewEventID()
	}
	e := c.outline()
	e.ID = c.eventID
	if c.op == nil || !c.op.opaque {
		e.Request = elements(c.in)
	}
	if out != nil && (c.op == nil && !e.ReadOnly || c.op != nil && c.op.answered && !c.op.opaque) {
		e.Response = elements(out)
	}
	return e
}

// outline is the event without its ID, request and answer.
func (c *Call) outline() trail.Event {
	e := trail.Event{
		Time: c.Time, Type: trail.APICall, Account: c.Account, Region: c.Region,
		Name: c.Operation, ReadOnly: readOnly(c.Operation),
		Principal: c.Principal, SourceIP: c.SourceIP, UserAgent: shorten(c.UserAgent), RequestID: c.RequestID,
		Additional: c.Additional, Resources: c.Resources, TLS: c.Secure,
	}
	if c.By != "" { // AWS docs: the service stands for the address and the agent
		e.Principal.InvokedBy, e.SourceIP, e.UserAgent = c.By, c.By, c.By
	}
	if e.Account == "" {
		e.Account = c.Principal.Account
	}
	if c.op != nil {
		e.Name, e.Source = c.op.event, c.op.source
	} else {
		e.Source = sourceOf(c.Service)
	}
	return e
}

// failure is the event of the call's failure.
func (c *Call) failure(code, message string) trail.Event {
	if code == "AccessDeniedException" {
		code = "AccessDenied" // AWS docs: so in events, whatever the client gets
	}
	if c.stored {
		c.eventID = "" // the operation may have stored the success after all
	}
	e := c.event(nil)
	e.ErrorCode, e.ErrorMessage = code, shorten(message)
	return e
}

// Also adds an event that the Handler records beside the call's own if the
// call succeeds, such as the GetSecretValue of each secret in a batch (AWS
// docs). additional is as in Call.
func (c *Call) Also(operation string, in Input, additional json.RawMessage, resources ...trail.Resource) {
	e := c.outline()
	e.ID, e.Name, e.ReadOnly = trail.NewEventID(), operation, readOnly(operation)
	e.Request, e.Additional, e.Resources = elements(in), additional, resources
	c.also = append(c.also, &e)
}

// elements renders a request or an answer for an event, without its
// sensitive members.
func elements(x interface{ EncodeJSON(*Encoder) }) json.RawMessage {
	if x == nil {
		return nil
	}
	e := NewTrailEncoder(make([]byte, 0, fewElements))
	x.EncodeJSON(e)
	if len(e.Bytes()) > maxElements {
		return nil
	}
	return e.Bytes()
}

// shorten cuts s to maxText bytes without splitting a character.
func shorten(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
