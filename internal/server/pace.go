package server

import (
	"io"
	"net/http"
	"time"
)

// pace is how fast a body must arrive: after the grace, at the rate. So a
// client that sends drop by drop is cut off soon, a large upload over a slow
// line is not, and what waits for a long answer is not bounded at all.
type pace struct {
	grace time.Duration
	rate  int64 // bytes per second
}

// paceStep is after how many bytes the deadline moves.
const paceStep = 64 << 10

// hold makes the request's body come at the pace: reading it fails with
// os.ErrDeadlineExceeded otherwise.
func (p pace) hold(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	b := &pacedBody{ReadCloser: r.Body, pace: p, control: http.NewResponseController(w), began: time.Now()}
	b.extend()
	r.Body = b
}

type pacedBody struct {
	io.ReadCloser
	pace
	control *http.ResponseController
	began   time.Time
	// read counts bytes; at next the deadline moves.
	read, next int64
}

// Read implements io.Reader.
func (b *pacedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if b.read >= b.next {
		b.extend()
	}
	return n, err
}

// extend moves the deadline, which net/http takes away once the body is read.
func (b *pacedBody) extend() {
	b.next = b.read + paceStep
	// Every connection of net/http's has deadlines.
	_ = b.control.SetReadDeadline(b.began.Add(b.grace + time.Duration(b.next)*time.Second/time.Duration(b.rate)))
}
