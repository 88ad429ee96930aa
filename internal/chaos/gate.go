package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// trap kills a server when a rotation gets to one of its boundaries: before
// or after a call of its function to the API or a statement in the database.
type trap struct {
	// arn and user are the rotating secret's.
	arn, user string
	// at is the boundary, counted from 1 over all of the rotation's.
	at int
	// spring kills. It is called once, with a name of the boundary.
	spring func(where string)

	mu     sync.Mutex
	passed int
	sprung bool
}

// pass counts a boundary and reports whether the trap has sprung: nothing of
// the rotation goes any further then.
func (t *trap) pass(where string) (sprung bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sprung {
		return true
	}
	if t.passed++; t.passed != t.at {
		return false
	}
	t.sprung = true
	t.spring(where)
	return true
}

// gates stand between functions and what they use: the API, of which any
// node that is up serves any call, and the database.
type gates struct {
	nodes []*node
	next  atomic.Int64
	trap  atomic.Pointer[trap]

	url  string
	http *http.Server
	out  *http.Transport

	target   string
	database net.Listener
}

// maxCall bounds a call, in bytes.
const maxCall = 1 << 20

func newGates(nodes []*node, target string) (*gates, error) {
	api, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	database, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, api.Close())
	}
	g := &gates{
		nodes: nodes, url: "http://" + api.Addr().String(), target: target, database: database,
		out: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16},
	}
	g.http = &http.Server{Handler: g, ReadHeaderTimeout: callTime}
	go func() { _ = g.http.Serve(api) }() // ends by close
	go g.accept()
	return g, nil
}

func (g *gates) close() {
	_ = g.http.Close()
	g.out.CloseIdleConnections()
	_ = g.database.Close()
}

func (g *gates) databasePort() int { return g.database.Addr().(*net.TCPAddr).Port }

// ServeHTTP implements http.Handler.
func (g *gates) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCall))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var in struct{ SecretId string } //nolint:revive,staticcheck // AWS's spelling
	_ = json.Unmarshal(body, &in)    // a call of another kind has none
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	t := g.trap.Load()
	if t != nil && in.SecretId != t.arn {
		t = nil
	}
	if t != nil && t.pass("before "+op) {
		panic(http.ErrAbortHandler) // breaks the connection off
	}
	resp := g.forward(r, body)
	if resp == nil || t != nil && t.pass("after "+op) {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body) // the function may be gone
}

// forward passes a request on, with its Host header, to a node that is up; nil
// when that did not answer.
func (g *gates) forward(r *http.Request, body []byte) *http.Response {
	for range g.nodes {
		n := g.nodes[int(g.next.Add(1))%len(g.nodes)]
		if !n.up.Load() {
			continue
		}
		u := *r.URL
		u.Scheme, u.Host = "http", n.listen
		// The function may be killed meanwhile: what arrived is still carried out.
		req, err := http.NewRequest(r.Method, u.String(), bytes.NewReader(body))
		if err != nil {
			return nil
		}
		req.Header, req.Host = r.Header.Clone(), r.Host
		resp, err := g.out.RoundTrip(req)
		if err == nil {
			return resp
		}
		var refused *net.OpError
		if !errors.As(err, &refused) || refused.Op != "dial" {
			return nil // it may have been carried out
		}
	}
	return nil
}

func (g *gates) accept() {
	for {
		conn, err := g.database.Accept()
		if err != nil {
			return
		}
		go g.talk(conn)
	}
}

// statement is what changes a user, or ends that.
var statement = regexp.MustCompile(`(?i)(ALTER|CREATE) (ROLE|USER)|COMMIT`)

// talk passes a connection on and lets the trap see its statements. It is not
// encrypted: the secrets say so.
func (g *gates) talk(client net.Conn) {
	defer client.Close()
	server, err := net.DialTimeout("tcp", g.target, 5*time.Second)
	if err != nil {
		return
	}
	defer server.Close()
	// said names the statement that has no answer yet.
	var said atomic.Pointer[string]
	go func() {
		defer server.Close()
		ours := false
		relay(client, server, func(piece []byte) bool {
			t := g.trap.Load()
			what := statement.Find(piece)
			if t == nil || what == nil {
				return true
			}
			ours = ours || bytes.Contains(piece, []byte(t.user))
			if !ours {
				return true
			}
			name := strings.ToUpper(string(what))
			said.Store(&name)
			return !t.pass("before " + name)
		})
	}()
	relay(server, client, func([]byte) bool {
		t, what := g.trap.Load(), said.Swap(nil)
		return t == nil || what == nil || !t.pass("after "+*what)
	})
}

// relay copies until either side ends or see says so.
func relay(from, to net.Conn, see func([]byte) bool) {
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			if !see(piece[:n]) {
				return
			}
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// String names the trap for reports.
func (t *trap) String() string { return fmt.Sprintf("boundary %d of %s", t.at, t.user) }
