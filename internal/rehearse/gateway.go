package rehearse

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// gateway stands between a function and the private server. It passes every
// request on as it is, with its Host header, so that signatures stay valid,
// and shows the calls of Secrets Manager to the trial that is under way.
type gateway struct {
	url      string
	upstream *url.URL
	http     *http.Server
	out      *http.Transport
	trial    atomic.Pointer[trial]
}

// maxBody bounds a call, in bytes; a secret's value has 64 KiB at most.
const maxBody = 6 << 20

func newGateway(upstream string) (*gateway, error) {
	u, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gateway{
		url: "http://" + l.Addr().String(), upstream: u,
		out: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute},
	}
	g.http = &http.Server{Handler: g, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = g.http.Serve(l) }() // ends by close
	return g, nil
}

func (g *gateway) close() {
	_ = g.http.Close()
	g.out.CloseIdleConnections()
}

// call is a call of Secrets Manager.
type call struct {
	op    string
	agent string
	in    callInput
	step  string
	// attempt counts the engine's from 1.
	attempt int
	// repeat tells that it is of a step that the rehearsal invoked.
	repeat bool
}

// callInput has the members of calls that matter here.
type callInput struct {
	SecretID            string   `json:"SecretId"`
	Token               string   `json:"ClientRequestToken"`
	SecretString        string   `json:"SecretString"`
	VersionStages       []string `json:"VersionStages"`
	RotationToken       string   `json:"RotationToken"`
	VersionStage        string   `json:"VersionStage"`
	MoveToVersionID     string   `json:"MoveToVersionId"`
	ExcludeCharacters   string   `json:"ExcludeCharacters"`
	ExcludePunctuation  bool     `json:"ExcludePunctuation"`
	PasswordLength      int      `json:"PasswordLength"`
	RequireEachIncluded *bool    `json:"RequireEachIncludedType"`
}

// answer is a response, whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ServeHTTP implements http.Handler.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	forward := func() *answer { return g.forward(r, body) }
	service, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	t := g.trial.Load()
	var a *answer
	if t == nil || !strings.EqualFold(service, "secretsmanager") {
		a = forward()
	} else {
		c := &call{op: op, agent: r.Header.Get("X-Amz-User-Agent") + " " + r.UserAgent()}
		_ = json.Unmarshal(body, &c.in) // what is no JSON the server refuses
		a = t.serve(r.Context(), c, forward)
	}
	if a == nil {
		panic(http.ErrAbortHandler) // breaks the connection off, as a crash would
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the function may be gone
}

// forward passes a request on; nil when the server did not answer.
func (g *gateway) forward(r *http.Request, body []byte) *answer {
	u := *r.URL
	u.Scheme, u.Host = g.upstream.Scheme, g.upstream.Host
	// The function may be killed meanwhile: what arrived is still carried out.
	req, err := http.NewRequest(r.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil
	}
	req.Header, req.Host = r.Header.Clone(), r.Host
	req.Header.Del("Connection")
	if req.Header.Get("User-Agent") == "" {
		req.Header["User-Agent"] = nil // or one would be added
	}
	resp, err := g.out.RoundTrip(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil
	}
	header := resp.Header.Clone()
	header.Del("Content-Length")
	header.Del("Connection")
	return &answer{status: resp.StatusCode, header: header, body: content}
}

// fail is the answer of a service that fails, or that throttles.
func fail(status int, code, message string) *answer {
	body, _ := json.Marshal(map[string]string{"__type": code, "message": message, "Message": message}) // texts always marshal
	return &answer{status: status, header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amzn-Errortype": {code}}, body: body}
}

// wire stands between a function and the database.
type wire struct {
	host  string
	port  int
	to    string
	trial atomic.Pointer[trial]

	listener net.Listener
	conns    connections
}

// wireHost is where wires listen.
const wireHost = "127.0.0.1"

func newWire(to string) (*wire, error) {
	l, err := net.Listen("tcp", wireHost+":0")
	if err != nil {
		return nil, err
	}
	at := l.Addr().(*net.TCPAddr)
	w := &wire{host: wireHost, port: at.Port, to: to, listener: l}
	go w.accept()
	return w, nil
}

func (w *wire) close() {
	_ = w.listener.Close()
	w.conns.breakAll()
}

func (w *wire) accept() {
	for {
		conn, err := w.listener.Accept()
		if err != nil {
			return
		}
		go w.serve(conn)
	}
}

// slowness delays each piece of a slow database's answers.
const slowness = 100 * time.Millisecond

func (w *wire) serve(conn net.Conn) {
	defer conn.Close()
	w.conns.add(conn)
	defer w.conns.remove(conn)
	t := w.trial.Load()
	act := actNothing
	if t != nil {
		act = t.connected()
	}
	switch act {
	case actRefuse:
		reset(conn)
		return
	case actKill: // the function that connected is gone
		return
	case actHang:
		<-t.ended()
		return
	}
	server, err := net.DialTimeout("tcp", w.to, 5*time.Second)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(heard{server, t}, conn) // either side may end it
		server.Close()
	}()
	piece := make([]byte, 32<<10)
	for {
		n, err := server.Read(piece)
		if n > 0 {
			if act == actSlow {
				time.Sleep(slowness)
			}
			if t != nil && t.takesEffect() {
				reset(conn)
				return
			}
			if _, err := conn.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// heard is the database as the function writes to it.
type heard struct {
	io.Writer
	trial *trial
}

// Write implements io.Writer.
func (h heard) Write(p []byte) (int, error) {
	if h.trial != nil {
		h.trial.speaks()
	}
	return h.Writer.Write(p)
}

// reset breaks a connection off without a farewell.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}
