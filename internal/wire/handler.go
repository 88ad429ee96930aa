package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/trail"
)

// MaxBody is the size of a request body in bytes past which it is refused,
// unless its operation has another limit (ours).
const MaxBody = 10 << 20

// Config is what a Handler works with. Every function must be safe for
// concurrent use.
type Config struct {
	Services []*Service
	// Authenticate verifies that a request was made by the holder of its
	// access key for the service, named by its signing name, and says who
	// that is. Errors have the kinds of package sigv4.
	Authenticate func(ctx context.Context, q *sigv4.Request, body []byte, service string) (iam.Principal, error)
	// Region is that of requests without a signature, which name none.
	Region string
	// Record writes the events of a call to the trails of their accounts and
	// returns once they are safe; when it fails, the client gets an internal
	// error and no answer.
	Record func(...*trail.Event) error
	// Endpoint is the VPC endpoint that all requests of the Handler come
	// through, or nil.
	Endpoint *Endpoint
	// EndpointOf, if set, finds the VPC endpoint through which a caller's
	// request comes to a service, named by its signing name, at a host; nil
	// for none. It is asked instead of Endpoint.
	EndpointOf func(ctx context.Context, p iam.Principal, service, region, host string) (*Endpoint, error)
	// Observe, if set, is told of every request once it has been answered.
	// Service and operation are "" when unknown, code is "" for success.
	Observe func(service, operation, code string, took time.Duration)
	// Trace, if set, is told of every request, with its context, once it has
	// been answered.
	Trace func(context.Context, Outcome)
	// Log gets internal errors; nil means slog.Default().
	Log *slog.Logger
}

// Handler serves the AWS protocols of all its services on one endpoint.
type Handler struct {
	Config
	router    router
	bodies    bodies
	buffers   sync.Pool
	exchanges sync.Pool
}

// NewHandler returns a Handler. It panics if a service's operations are not
// exactly those of its model.
func NewHandler(c Config) *Handler {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	h := &Handler{Config: c, router: newRouter(c.Services)}
	h.exchanges.New = func() any { return new(exchange) }
	h.buffers.New = func() any { return &buffer{make([]byte, 0, newBuffer)} }
	return h
}

// Call performs an operation in process, as the principal of c: validation,
// the operation's own authorisation and the trail are those of any client.
// c.Service and c.Operation name the operation; a request ID and a time are
// added if c has none. The error is the operation's own, so its text is not
// for clients unless it is a *fault.Error's Message.
func (h *Handler) Call(ctx context.Context, c *Call, in Input) (Output, error) {
	b := h.router.find(c.Service, c.Operation)
	if b == nil {
		return nil, fault.New(UnknownOperation, "%s has no operation %s", c.Service, c.Operation)
	}
	c.op, c.in = b, in
	if c.RequestID == "" {
		c.RequestID = uuid.NewString()
	}
	if c.Time.IsZero() {
		c.Time = time.Now()
	}
	out, err := b.perform(ctx, c)
	p := public{}
	if err != nil {
		p = publish(err, b.service, adapterOf(b.service.Model.Protocol).usual)
	}
	if err := h.record(c, out, err, p); err != nil {
		return nil, err
	}
	return out, err
}

// Publish tells what clients of a service, named by its signing name, get for
// an operation's error: the code, the HTTP status and the text.
func (h *Handler) Publish(service, operation string, err error) (code string, status int, message string) {
	b := h.router.find(service, operation)
	if b == nil {
		p := publish(err, nil, codesJSON)
		return p.Name, p.Status, p.message
	}
	p := publish(err, b.service, adapterOf(b.service.Model.Protocol).usual)
	return p.Name, p.Status, p.message
}

// perform validates the request and runs the operation. A panic becomes an
// internal error.
func (b *binding) perform(ctx context.Context, c *Call) (out Output, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, panicked(p)
		}
	}()
	var v Violations
	c.in.Validate(&v)
	if err := v.Err(); err != nil {
		return nil, err
	}
	return b.op.invoke(ctx, c, c.in)
}

// panicked makes an internal error of a panic. The value is left out unless
// it is the run time's, for it may quote the request.
func panicked(p any) error {
	text := fmt.Sprintf("%T", p)
	if e, ok := p.(runtime.Error); ok {
		text = e.Error()
	}
	return fault.New(fault.Internal, "").Because(fmt.Errorf("panic: %s\n%s", text, debug.Stack()))
}

// record writes what the trail lacks of the call: its failure, or its
// success unless the operation has stored that.
func (h *Handler) record(c *Call, out Output, err error, p public) error {
	if err != nil {
		e := c.failure(p.Name, p.message)
		return h.write(&e)
	}
	if c.also == nil {
		if c.stored {
			return nil
		}
		e := c.event(out)
		return h.write(&e)
	}
	list := make([]*trail.Event, 0, 1+len(c.also))
	if !c.stored {
		list = append(list, new(c.event(out)))
	}
	return h.write(append(list, c.also...)...)
}

func (h *Handler) write(events ...*trail.Event) error {
	list := make([]*trail.Event, 0, len(events))
	for _, e := range events {
		_ = e.Deliver(func(to *trail.Event) error { // which fails only with its argument
			list = append(list, to)
			return nil
		})
	}
	return fault.Wrap(h.Record(list...), "recording the call")
}

// exchange is one request on its way to its answer.
type exchange struct {
	*Handler
	r       *http.Request
	id      string
	start   time.Time
	adapter adapter
	// sig is nil if sigErr says why.
	sig     *sigv4.Request
	sigErr  error
	service *Service
	op      *binding
	labels  []pair
	form    Form
	body    *buffer
	// reserved is what of the Handler's memory for bodies this one has.
	reserved int64
	out      *buffer
	call     *Call
	answer   answer
}

// answer is what goes back.
type answer struct {
	status      int
	contentType string
	body        []byte
	code        string
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := h.exchanges.Get().(*exchange)
	*x = exchange{Handler: h, r: r, id: uuid.NewString(), start: time.Now(), adapter: guess(r)}
	defer x.release()
	header := w.Header()
	header["x-amzn-RequestId"] = []string{x.id}
	if err := x.serve(header); err != nil {
		x.refuse(err, header)
	}
	if x.answer.contentType != "" {
		header["Content-Type"] = []string{x.answer.contentType}
	}
	if x.answer.status != http.StatusNoContent {
		header["Content-Length"] = []string{strconv.Itoa(len(x.answer.body))}
	}
	w.WriteHeader(x.answer.status)
	_, _ = w.Write(x.answer.body) // a client that went away gets no answer
	if h.Trace != nil {
		h.Trace(r.Context(), x.outcome())
	}
	if h.Observe != nil {
		service, operation := "", ""
		if x.service != nil {
			service = x.service.Model.SigningName
		}
		if x.op != nil {
			operation = x.op.op.name
		}
		h.Observe(service, operation, x.answer.code, time.Since(x.start))
	}
}

// serve does everything up to an answer that may be written. The order of
// checks is AWS's: the operation is known, the signature holds, the body
// parses, the constraints hold, the operation decides.
func (x *exchange) serve(header http.Header) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	if err := x.router.route(x); err != nil {
		return err
	}
	if err := x.identify(); err != nil {
		return err
	}
	in := x.op.op.newIn()
	if err := x.adapter.decode(x, in); err != nil {
		return err
	}
	x.call.in = in
	out, err := x.op.perform(x.r.Context(), x.call)
	if err != nil {
		return err
	}
	x.out = x.buffers.Get().(*buffer)
	x.answer.status = x.op.model.Status
	x.adapter.encode(x, out, header)
	if err := x.record(x.call, out, nil, public{}); err != nil {
		x.call = nil // the failure cannot be recorded either
		return err
	}
	return nil
}

// identify makes the call of the request's principal. An operation that is
// called without a signature finds out by itself who calls; the router lets
// unsigned requests for no other operation pass.
func (x *exchange) identify() error {
	if x.sig == nil && x.op.model.Anonymous {
		x.call = x.newCall(iam.Principal{}, x.Region)
		return nil
	}
	principal, err := x.Authenticate(x.r.Context(), x.sig, x.body.b, x.service.Model.SigningName)
	if err != nil {
		return err
	}
	x.call = x.newCall(principal, x.sig.Scope.Region)
	x.call.Token = x.sig.Token
	if x.EndpointOf != nil {
		x.call.Endpoint, err = x.EndpointOf(x.r.Context(), principal, x.call.Service, x.call.Region, x.r.Host)
	}
	return err
}

func (x *exchange) newCall(p iam.Principal, region string) *Call {
	ip, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err != nil {
		ip = x.r.RemoteAddr
	}
	return &Call{
		RequestID: x.id, Service: x.service.Model.SigningName, Operation: x.op.op.name, Region: region,
		Account: p.Account, Time: x.start, Principal: p, SourceIP: ip, UserAgent: x.r.UserAgent(),
		Referer: x.r.Referer(), Endpoint: x.Endpoint, Secure: x.r.TLS != nil, op: x.op,
	}
}

// refuse answers with an error, after recording it if the caller is known:
// strangers cannot fill the trail.
func (x *exchange) refuse(err error, header http.Header) {
	p := publish(err, x.service, x.adapter.usual)
	if x.call != nil && !x.call.Principal.IsZero() {
		if failed := x.record(x.call, nil, err, p); failed != nil {
			x.log(err, p)
			err, p = failed, publish(failed, x.service, x.adapter.usual)
		}
	}
	if p.hidden {
		x.log(err, p)
	}
	x.answer = answer{status: p.Status, code: p.Name}
	header["x-amzn-ErrorType"] = []string{p.Name}
	x.adapter.refuse(x, p, header)
}

// log tells the operator what the client is not told.
func (x *exchange) log(err error, p public) {
	attrs := []any{"request_id", x.id, "code", p.Name, "error", err.Error()}
	if x.service != nil {
		attrs = append(attrs, "service", x.service.Model.SigningName)
	}
	if x.op != nil {
		attrs = append(attrs, "operation", x.op.op.name)
	}
	x.Log.ErrorContext(x.r.Context(), "request failed", attrs...)
}

// read takes the body in, up to limit bytes.
func (x *exchange) read(limit int64) error {
	if x.r.ContentLength > limit {
		return x.tooLarge(limit)
	}
	x.body = x.buffers.Get().(*buffer)
	body := io.LimitReader(x.r.Body, limit+1)
	for {
		if len(x.body.b) == cap(x.body.b) {
			if err := x.growBody(limit); err != nil {
				return err
			}
		}
		n, err := body.Read(x.body.b[len(x.body.b):cap(x.body.b)])
		x.body.b = x.body.b[:len(x.body.b)+n]
		switch {
		case int64(len(x.body.b)) > limit:
			return x.tooLarge(limit)
		case err == io.EOF:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fault.New(TooSlow, "The request's body did not arrive in time.").Because(err)
		case err != nil:
			return fault.New(Serialization, "").Because(err)
		}
	}
}

func (x *exchange) tooLarge(limit int64) error {
	name := "requested"
	if x.op != nil {
		name = x.op.op.name
	}
	return fault.New(fault.TooLarge, "Request must be smaller than %d bytes for the %s operation", limit, name)
}

// buffer is memory that requests use one after another.
type buffer struct{ b []byte }

// Sizes of buffers in bytes: new ones, and those past which one is not used
// again.
const (
	newBuffer = 1 << 10
	maxKept   = 64 << 10
)

// release wipes the buffers, which held secrets, and gives them back, with
// the exchange itself: nothing that outlives the request refers to it.
func (x *exchange) release() {
	for _, b := range []*buffer{x.body, x.out} {
		if b == nil {
			continue
		}
		clear(b.b)
		b.b = b.b[:0]
		if cap(b.b) <= maxKept {
			x.buffers.Put(b)
		}
	}
	h := x.Handler
	h.bodies.giveBack(x.reserved)
	*x = exchange{}
	h.exchanges.Put(x)
}
