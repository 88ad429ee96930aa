package environment

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// callKind is one call of the Runtime API.
type callKind int

const (
	callNext callKind = iota
	callResponse
	callError
	callInitError
)

// apiCall is a call on its way to the environment's goroutine, which alone
// knows whether it is due and what to answer.
type apiCall struct {
	kind      callKind
	from      *process
	requestID string
	body      []byte
	// large says that the body was over maxResponse and is not kept.
	large bool
	// errorType is what the runtime calls an error; "" for none.
	errorType string
	// gone ends when the caller has hung up.
	gone <-chan struct{}
	// reply takes one answer; its buffer lets the goroutine go on at once.
	reply chan apiReply
}

// apiReply is the answer to an apiCall: an event for the runtime, or a status
// with a body.
type apiReply struct {
	event  *invocation
	status int
	body   []byte
}

// accepted is the answer to a call that was due (AWS: recorded).
func accepted() apiReply {
	return apiReply{status: http.StatusAccepted, body: []byte(`{"status":"OK"}` + "\n")}
}

func refused(status int, kind, message string) apiReply {
	return apiReply{status: status, body: encode(struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}{message, kind})}
}

// runtimeAPI is the server of one environment's Runtime API.
type runtimeAPI struct {
	listener net.Listener
	server   *http.Server
	done     chan struct{}
	calls    chan<- *apiCall
}

// newRuntimeAPI listens on a loopback port of its own and passes calls on to
// the channel. admit names the process that a connection comes from, or nil
// for a stranger.
func newRuntimeAPI(calls chan<- *apiCall, admit func(net.Conn) *process) (*runtimeAPI, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	api := &runtimeAPI{listener: guarded{l, admit}, done: make(chan struct{}), calls: calls}
	mux := http.NewServeMux()
	const base = "/2018-06-01/runtime/"
	mux.HandleFunc("GET "+base+"invocation/next", api.handle(callNext))
	mux.HandleFunc("POST "+base+"invocation/{id}/response", api.handle(callResponse))
	mux.HandleFunc("POST "+base+"invocation/{id}/error", api.handle(callError))
	mux.HandleFunc("POST "+base+"init/error", api.handle(callInitError))
	mux.HandleFunc("GET /2018-06-01/ping", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "pong") })
	api.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, processKey{}, c.(ownedConn).from)
		},
	}
	go func() {
		defer close(api.done)
		api.server.Serve(api.listener)
	}()
	return api, nil
}

// address is host:port, as clients of the Runtime API want it.
func (api *runtimeAPI) address() string { return api.listener.Addr().String() }

// close ends the server and all its connections. Nobody receives from calls
// any more; handlers leave by their connections' end.
func (api *runtimeAPI) close() {
	api.server.Close()
	<-api.done
}

// guarded is a listener that hangs up on strangers.
type guarded struct {
	net.Listener
	admit func(net.Conn) *process
}

// ownedConn is a connection from a process of the environment.
type ownedConn struct {
	net.Conn
	from *process
}

// processKey is the context key of a connection's process.
type processKey struct{}

// Accept returns the next connection that is admitted, as an ownedConn.
func (g guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if p := g.admit(conn); p != nil {
			return ownedConn{conn, p}, nil
		}
		conn.Close()
	}
}

func (api *runtimeAPI) handle(kind callKind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		call := &apiCall{
			kind: kind, requestID: r.PathValue("id"), gone: r.Context().Done(), reply: make(chan apiReply, 1),
		}
		call.from, _ = r.Context().Value(processKey{}).(*process)
		if kind != callNext {
			if err := call.read(r); err != nil {
				return
			}
		}
		select {
		case api.calls <- call:
		case <-call.gone:
			return
		case <-api.done:
			return
		}
		select {
		case reply := <-call.reply:
			reply.write(w)
		case <-call.gone:
		case <-api.done:
		}
	}
}

// read takes the body, and the error type from the header or, for streamed
// answers that fail on the way, from the trailer.
func (c *apiCall) read(r *http.Request) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxResponse+1))
	if err != nil {
		return err
	}
	if len(body) > maxResponse {
		body, c.large = nil, true
		// The client sends all of it before it reads the refusal.
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return err
		}
	}
	const errorType = "Lambda-Runtime-Function-Error-Type"
	c.body, c.errorType = body, r.Header.Get(errorType)
	if t := r.Trailer.Get(errorType); t != "" && c.kind == callResponse {
		c.kind, c.errorType = callError, t
	}
	return nil
}

func (reply apiReply) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if reply.event == nil {
		h.Set("Content-Length", strconv.Itoa(len(reply.body)))
		w.WriteHeader(reply.status)
		w.Write(reply.body)
		return
	}
	inv := reply.event
	h.Set("Lambda-Runtime-Aws-Request-Id", inv.event.RequestID)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", inv.event.InvokedARN)
	h.Set("Lambda-Runtime-Trace-Id", inv.event.TraceHeader)
	if inv.event.ClientContext != "" {
		h.Set("Lambda-Runtime-Client-Context", strings.NewReplacer("\r", "", "\n", "").Replace(inv.event.ClientContext))
	}
	h.Set("Content-Length", strconv.Itoa(len(inv.event.Payload)))
	w.WriteHeader(http.StatusOK)
	w.Write(inv.event.Payload)
}

// The states of a runtime, by the names that Lambda's own Runtime API uses in
// its refusals.
type runtimeState string

const (
	stateStarted   runtimeState = "Started"
	stateInitError runtimeState = "InitError"
	stateReady     runtimeState = "Ready"
	stateRunning   runtimeState = "Running"
	stateResponse  runtimeState = "InvocationResponse"
	stateError     runtimeState = "InvocationErrorResponse"
)

// illegal refuses a call that the runtime's state does not admit.
func illegal(from, to runtimeState) apiReply {
	return refused(http.StatusForbidden, "InvalidStateTransition", fmt.Sprintf(
		"State transition from %s to %s failed for runtime. Error: State transition is not allowed", from, to))
}

// handle does what the runtime asks if its state admits it; what it does not
// admit is refused and changes nothing.
func (e *environment) handle(c *apiCall) {
	if c.from != e.process.Load() || hungUp(c) {
		return // an earlier process of this environment, already dead
	}
	switch c.kind {
	case callNext:
		e.handleNext(c)
	case callInitError:
		if e.state != stateStarted {
			c.reply <- illegal(e.state, stateInitError)
			return
		}
		e.state, e.answer = stateInitError, answer{payload: c.body, failed: true, errorType: c.errorType}
		c.reply <- accepted()
	default:
		e.handleAnswer(c)
	}
}

// handleNext marks the runtime ready, which also ends its invocation.
func (e *environment) handleNext(c *apiCall) {
	switch {
	case e.state == stateStarted, e.state == stateResponse, e.state == stateError:
	case e.state == stateReady && hungUp(e.waiting):
	default:
		c.reply <- illegal(e.state, stateReady)
		return
	}
	e.state, e.waiting = stateReady, c
}

func hungUp(c *apiCall) bool {
	if c == nil {
		return true
	}
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// handleAnswer takes the result or the error of the invocation in flight.
func (e *environment) handleAnswer(c *apiCall) {
	to := stateResponse
	if c.kind == callError {
		to = stateError
	}
	switch {
	case e.current == nil || c.requestID != e.current.event.RequestID:
		c.reply <- refused(http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
	case e.state != stateRunning:
		c.reply <- illegal(e.state, to)
	case c.large:
		e.state, e.answer = stateError, answer{payload: tooLarge(), failed: true}
		c.reply <- refused(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge",
			fmt.Sprintf("Exceeded maximum allowed payload size (%d bytes).", maxResponse))
	default:
		e.state, e.answer = to, answer{payload: c.body, failed: to == stateError, errorType: c.errorType}
		c.reply <- accepted()
	}
}

// answer is what the runtime said about its invocation or its init.
type answer struct {
	payload   []byte
	failed    bool
	errorType string
}
