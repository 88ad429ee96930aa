package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// result is one measurement of one server.
type result struct {
	perSecond float64
	p50, p99  time.Duration
	// cpu is the server's processor time per request.
	cpu time.Duration
}

// load sends requests over n connections for a time, each connection one
// after another, and measures. next returns the request with a number; it is
// called by n goroutines.
func load(p *process, n int, length time.Duration, next func(i int) []byte) (result, error) {
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var counter int
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		counter++
		return counter - 1
	}
	before := p.cpuTime()
	began := time.Now()
	deadline := began.Add(length)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			took, err := loop(p.addr, deadline, func() []byte { return next(take()) })
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	elapsed := time.Since(began)
	if failed != nil {
		return result{}, failed
	}
	if len(all) == 0 {
		return result{}, errors.New("nothing was measured")
	}
	slices.Sort(all)
	return result{
		perSecond: float64(len(all)) / elapsed.Seconds(),
		p50:       all[len(all)/2], p99: all[len(all)*99/100],
		cpu: (p.cpuTime() - before) / time.Duration(len(all)),
	}, nil
}

// loop sends requests on one connection until the deadline, or until there
// are none.
func loop(addr string, deadline time.Time, next func() []byte) (took []time.Duration, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 256<<10)
	for time.Now().Before(deadline) {
		request := next()
		if request == nil {
			return took, nil
		}
		began := time.Now()
		if _, err := conn.Write(request); err != nil {
			return took, err
		}
		if err := readAnswer(in); err != nil {
			return took, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

// readAnswer reads one answer and demands success.
func readAnswer(in *bufio.Reader) error {
	status, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 200"))
	first := string(status)
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if ok {
		_, err = in.Discard(length)
		return err
	}
	body, err := io.ReadAll(io.LimitReader(in, int64(length)))
	return errors.Join(err, fmt.Errorf("answer %q: %s", strings.TrimSpace(first), body))
}

// clockTick is the unit of processor times in /proc: USER_HZ is 100 on every
// Linux.
const clockTick = 10 * time.Millisecond

// cpuTime is what the process has used so far, user and system.
func (p *process) cpuTime() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, _ := strconv.ParseInt(f, 10, 64) // the kernel writes numbers
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}

// resident is the memory that the process holds, in bytes.
func (p *process) resident() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64) // the kernel writes numbers
	return n << 10
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
