package trail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// maxSegment is the size past which a new segment is begun, in bytes.
const maxSegment = 16 << 20

// maxSegmentAge is the age past which a new segment is begun, so that what is
// old can be removed.
const maxSegmentAge = 24 * time.Hour

// longestCall bounds how much earlier than its record an event may have
// begun: the longest function runs 15 minutes.
const longestCall = time.Hour

// segmentLayout names a segment by the UTC time of its first write, so that
// names sort by age.
const segmentLayout = "20060102T150405.000000000"

// Recorder appends events to segment files in one folder: one CloudTrail
// record a line. Events that are recorded at the same time share one write;
// each caller waits for the write that holds its own. A recorded event
// survives the process, not a loss of power: changes, which must, are stored
// with their change instead.
type Recorder struct {
	dir string

	mu      sync.Mutex
	pending *batch
	writing bool
	spare   []byte // of a batch that is written
	scratch sync.Pool

	// Owned by the caller that is writing.
	file  *os.File
	size  int64
	begun time.Time
	chain *chain // nil when segments are not sealed
	head  atomic.Pointer[Head]
}

// batch is what goes into one write. The channels are made for the first
// caller who has to wait.
type batch struct {
	lines []byte
	// lead hands the writing over to one caller of this batch.
	lead chan struct{}
	done chan struct{}
	err  error
}

// maxSpare is the size in bytes past which a buffer is not used again.
const maxSpare = 256 << 10

// NewRecorder returns a Recorder for the folder, which it makes with mode
// 0700 if it is missing.
func NewRecorder(dir string) (*Recorder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the trail folder: %w", err)
	}
	r := &Recorder{dir: dir, pending: &batch{}}
	r.scratch.New = func() any { return new([]byte) }
	return r, nil
}

// Record writes the events, all or none, and returns once they are in the
// segment file. An error means that they are not recorded, and the call that
// they describe must not be answered.
func (r *Recorder) Record(events ...*Event) error {
	b := r.scratch.Get().(*[]byte)
	defer r.scratch.Put(b)
	lines := (*b)[:0]
	for _, e := range events {
		var err error
		if lines, err = e.appendJSON(lines); err != nil {
			return fault.Wrap(err, "recording an event")
		}
		lines = append(lines, '\n')
	}
	if cap(lines) <= maxSpare {
		*b = lines
	}
	return r.record(lines)
}

// record joins the pending batch, and writes it unless another caller does.
func (r *Recorder) record(lines []byte) error {
	r.mu.Lock()
	b := r.pending
	b.lines = append(b.lines, lines...)
	alone := !r.writing
	if !alone {
		if b.done == nil {
			b.lead, b.done = make(chan struct{}, 1), make(chan struct{})
		}
		r.mu.Unlock()
		select {
		case <-b.done:
			return b.err
		case <-b.lead:
			r.mu.Lock()
		}
	}
	r.writing = true
	if alone {
		// Calls that are ready to run get here first, and share the write.
		r.mu.Unlock()
		runtime.Gosched()
		r.mu.Lock()
	}
	r.pending = &batch{lines: r.spare[:0]}
	r.spare = nil
	r.mu.Unlock()

	b.err = r.write(b.lines)

	r.mu.Lock()
	defer r.mu.Unlock()
	if b.done != nil {
		close(b.done)
	}
	if cap(b.lines) <= maxSpare {
		r.spare = b.lines
	}
	if len(r.pending.lines) > 0 {
		r.pending.lead <- struct{}{}
	} else {
		r.writing = false
	}
	return b.err
}

// write appends the lines, and their seal, to the current segment, whole or
// not at all. The slice's room may be used.
func (r *Recorder) write(lines []byte) error {
	if r.file == nil || r.size >= maxSegment || time.Since(r.begun) >= maxSegmentAge {
		if err := r.begin(); err != nil {
			return fault.Wrap(err, "beginning a trail segment")
		}
	}
	var sum link
	if r.chain != nil {
		sum = r.chain.next(lines)
		lines = appendSeal(lines, sum)
	}
	n, err := r.file.Write(lines)
	if err != nil {
		// Half a line must not spoil the next: cut it off, or leave the
		// segment if even that fails.
		if n > 0 && r.file.Truncate(r.size) != nil {
			r.close()
		}
		return fault.Wrap(err, "writing the trail")
	}
	r.size += int64(n)
	if r.chain != nil {
		r.chain.wrote(sum, r.size)
		r.head.Store(r.chain.head())
	}
	return nil
}

func (r *Recorder) begin() error {
	r.close()
	now := time.Now()
	name := now.UTC().Format(segmentLayout) + ".jsonl"
	f, err := os.OpenFile(filepath.Join(r.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	var size int64
	if r.chain != nil {
		if size, err = r.chain.begin(r.dir, name, f); err != nil {
			return errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}
	r.file, r.size, r.begun = f, size, now
	return nil
}

func (r *Recorder) close() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}

// Close closes the current segment. No Record may be under way or follow.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close()
	return nil
}
