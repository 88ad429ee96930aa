package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// house is a door with a small crowd whose handler reads the body, then waits
// for leave.
type house struct {
	crowd   *crowd
	address string
	// inside gets what reading each body gave; leave ends its answer.
	inside chan error
	leave  chan struct{}
}

func openHouse(t *testing.T, limit int, p pace) *house {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{newCrowd(limit), l.Addr().String(), make(chan error, 100), make(chan struct{})}
	d := door{listener: h.crowd.at(l)}
	d.answer(nil, slog.New(slog.DiscardHandler))
	d.http.Handler = welcome(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		h.inside <- err
		if r.URL.Path == "/stay" {
			<-h.leave
		}
		if given := r.Context().Err(); given != nil && err == nil {
			t.Errorf("the request was given up: %v", given)
		}
		_, _ = io.WriteString(w, "done")
	}), p)
	done := make(chan error, 1)
	go func() { done <- d.serve(t.Context()) }()
	t.Cleanup(func() {
		if err := d.shut(10*time.Second, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := len(h.crowd.guests); n != 0 {
			t.Errorf("%d guests are left", n)
		}
	})
	return h
}

// visit connects and writes.
func (h *house) visit(t *testing.T, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", h.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// answer reads the status of an answer, or "closed".
func answer(t *testing.T, conn net.Conn) string {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute)) // the read tells
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Fatal("neither an answer nor an end within a minute")
	}
	if err != nil {
		return "closed"
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Error(err)
	}
	return res.Status
}

const hello = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// In a full house a newcomer takes the place of who has waited longest.
func TestCrowdClosesTheLongestIdle(t *testing.T) {
	h := openHouse(t, 4, pace{time.Minute, 1 << 20})
	var idle []net.Conn
	for range 4 {
		conn := h.visit(t, hello)
		if got := answer(t, conn); got != "200 OK" {
			t.Fatalf("got %s", got)
		}
		idle = append(idle, conn)
	}
	// The first speaks again, so the second has waited longest.
	if _, err := io.WriteString(idle[0], hello); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, idle[0]); got != "200 OK" {
		t.Fatalf("got %s", got)
	}
	if got := answer(t, h.visit(t, hello)); got != "200 OK" {
		t.Errorf("a newcomer got %s", got)
	}
	if got := answer(t, idle[1]); got != "closed" {
		t.Errorf("who waited longest got %s", got)
	}
	for _, i := range []int{0, 2, 3} {
		if _, err := io.WriteString(idle[i], hello); err != nil {
			t.Fatal(err)
		}
		if got := answer(t, idle[i]); got != "200 OK" {
			t.Errorf("guest %d got %s", i, got)
		}
	}
}

// Nobody who is being answered is sent away: the newcomer is.
func TestCrowdKeepsWhoIsAnswered(t *testing.T) {
	h := openHouse(t, 3, pace{time.Minute, 1 << 20})
	var busy []net.Conn
	for range 3 {
		busy = append(busy, h.visit(t, strings.Replace(hello, "/ ", "/stay ", 1)))
		if err := <-h.inside; err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if got := answer(t, h.visit(t, "")); got != "closed" {
			t.Errorf("a newcomer got %s", got)
		}
	}
	close(h.leave)
	for _, conn := range busy {
		if got := answer(t, conn); got != "200 OK" {
			t.Errorf("got %s", got)
		}
	}
	if got := answer(t, h.visit(t, hello)); got != "200 OK" {
		t.Errorf("a newcomer after that got %s", got)
	}
}

// A body that comes drop by drop is cut off; one that is long and comes at
// the pace is not, and neither is who waits for the answer.
func TestPace(t *testing.T) {
	h := openHouse(t, 10, pace{300 * time.Millisecond, 256 << 10})
	post := func(length int) string {
		return fmt.Sprintf("POST /stay HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", length)
	}
	conn := h.visit(t, post(1000))
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				if _, err := conn.Write([]byte("x")); err != nil {
					return
				}
			}
		}
	}()
	if err := <-h.inside; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a slow body: got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	large := h.visit(t, post(100<<10)+strings.Repeat("x", 100<<10))
	if err := <-h.inside; err != nil {
		t.Errorf("a large body: %v", err)
	}
	time.Sleep(1500 * time.Millisecond) // past the deadline of its body
	close(h.leave)
	if got := answer(t, large); got != "200 OK" {
		t.Errorf("a large body: got %s", got)
	}
}

// The limit leaves files for the server's own work.
func TestGuestLimit(t *testing.T) {
	if n := guestLimit(); n < 100 || n > maxGuests {
		t.Errorf("got %d", n)
	}
}
