//go:build linux

package hardship

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/apitest"
)

// Ten thousand connections that do nothing, or as many as this process may
// have: the others are answered as ever, and memory stays within 40 KiB for
// each.
func TestIdleConnections(t *testing.T) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	idle := int(min(10_000, files.Cur/4*3-200))
	p := apitest.StartProcess(t, apitest.Options{})
	l := newLedger(t, p, "idle/a")
	l.well(t)
	before := resident(t, p.PID())
	conns := make([]net.Conn, idle)
	t.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	})
	var wg sync.WaitGroup
	const hands = 16
	for h := range hands {
		wg.Go(func() {
			for i := h; i < idle; i += hands {
				var err error
				if conns[i], err = greet(p.URL); err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for range 20 {
		l.well(t)
	}
	after := resident(t, p.PID())
	t.Logf("%d idle connections: %d KiB before, %d KiB after, %d bytes each", idle, before>>10, after>>10, (after-before)/idle)
	if each := (after - before) / idle; idle > 5000 && each > 40<<10 {
		t.Errorf("a connection takes %d bytes", each)
	}
	// They are still served.
	for i := 0; i < idle; i += idle / 20 {
		if err := health(conns[i]); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	runtime.KeepAlive(conns)
}

// greet opens a connection and sends a first request.
func greet(url string) (net.Conn, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		return nil, err
	}
	return conn, health(conn)
}

func health(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // a connection has deadlines
	if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("got %s", res.Status)
	}
	return nil
}

var residentLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// resident is the memory of a process in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := residentLine.FindSubmatch(status)
	if found == nil {
		t.Fatalf("no VmRSS in %s", status)
	}
	kib, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// A server that may open few files takes as many connections as leave it what
// it needs, and the newest are served.
func TestFewFiles(t *testing.T) {
	t.Parallel()
	p := apitest.StartProcess(t, apitest.Options{Program: limited(t, 400)})
	l := newLedger(t, p, "files/a")
	var conns []net.Conn
	for i := range 600 {
		conn, err := greet(p.URL)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Cleanup(func() { conn.Close() })
		conns = append(conns, conn)
	}
	l.well(t)
	if err := health(conns[0]); err == nil {
		t.Error("the first connection is still open")
	}
	if err := health(conns[len(conns)-1]); err != nil {
		t.Errorf("the last connection: %v", err)
	}
	if strings.Contains(p.Log(), "too many open files") {
		t.Error("the server ran out of files")
	}
}

// limited is the program with a limit of open files.
func limited(t *testing.T, files int) string {
	t.Helper()
	path := t.TempDir() + "/keyturn"
	script := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec %s \"$@\"\n", files, apitest.Binary(t))
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
