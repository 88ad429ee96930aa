package environment

import (
	"bytes"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// maxEntry is the longest log entry in bytes; a longer line is cut into
	// several (CloudWatch Logs docs: 256 KiB with 26 bytes of its own; one
	// more is the newline).
	maxEntry = 256<<10 - 27
	// maxTail is how much of an invocation's log its answer can carry.
	maxTail = 4 << 10
)

// logbook turns what a function and the platform write into log entries, in
// order, and keeps the end of the invocation's log.
type logbook struct {
	write func([]Entry)

	mu      sync.Mutex
	partial []byte
	tail    []byte
}

// output takes a piece of the function's output. Each line is an entry. A
// carriage return inside a line stands for a newline: Lambda's bootstraps
// write messages of several lines so.
func (l *logbook) output(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var entries []Entry
	for {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		l.partial = append(l.partial, line...)
		for len(l.partial) > maxEntry {
			n := cutRune(l.partial, maxEntry)
			entries = append(entries, entry(l.partial[:n]))
			l.partial = append(l.partial[:0], l.partial[n:]...)
		}
		if !whole {
			break
		}
		entries = append(entries, entry(append(l.partial, '\n')))
		l.partial = l.partial[:0]
		p = rest
	}
	l.emit(entries)
}

// cutRune returns where to cut b, at n or a little before, so that no
// character is cut in two.
func cutRune(b []byte, n int) int {
	for i := n; i > n-utf8.UTFMax && i > 0; i-- {
		if utf8.RuneStart(b[i]) {
			return i
		}
	}
	return n
}

// entry makes an entry of one line.
func entry(line []byte) Entry {
	text := strings.ReplaceAll(string(line), "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	return Entry{Time: time.Now(), Message: strings.ToValidUTF8(text, "\uFFFD")}
}

// platform writes lines of the platform, after the function's unfinished line
// if there is one.
func (l *logbook) platform(lines ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var entries []Entry
	if len(l.partial) > 0 {
		entries = append(entries, entry(l.partial))
		l.partial = l.partial[:0]
	}
	for _, line := range lines {
		entries = append(entries, Entry{Time: time.Now(), Message: line + "\n"})
	}
	l.emit(entries)
}

// emit passes entries on. The caller holds the lock.
func (l *logbook) emit(entries []Entry) {
	if len(entries) == 0 {
		return
	}
	for _, e := range entries {
		l.tail = append(l.tail, e.Message...)
	}
	if over := len(l.tail) - maxTail; over > 0 {
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	l.write(entries)
}

// begin starts the log of another invocation.
func (l *logbook) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = l.tail[:0]
}

// end returns the last 4 KB of the invocation's log.
func (l *logbook) end() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.tail)
}
