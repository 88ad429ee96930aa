package trail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Place is a place among the recorded events: where one of them begins. It
// stays good while its segment exists, and after that stands for the end of
// the segment before. The zero Place is behind the newest event.
type Place struct {
	Segment string
	Offset  int64
}

// End returns the place behind the newest event that is recorded now. What is
// recorded later lies behind it.
func (r *Recorder) End() (Place, error) {
	names, err := r.segments()
	if err != nil || len(names) == 0 {
		return Place{}, err
	}
	newest := names[len(names)-1]
	info, err := os.Stat(filepath.Join(r.dir, newest))
	if err != nil {
		return Place{}, fmt.Errorf("reading a trail segment: %w", err)
	}
	return Place{newest, info.Size()}, nil
}

// Walk calls fn with the recorded lines before the place, newest first, and
// with the place of each, until fn returns false. It sees what was recorded
// before it began. Segments that can hold no event of [from, to) are not
// read; lines are not looked at. A line is fn's for the time of the call.
func (r *Recorder) Walk(before Place, from, to time.Time, fn func(line []byte, at Place) bool) error {
	names, err := r.segments()
	if err != nil {
		return err
	}
	for _, name := range slices.Backward(names) {
		if before.Segment != "" && name > before.Segment {
			continue
		}
		begun, err := segmentTime(name)
		if err == nil && begun.Add(-longestCall).After(to) {
			continue
		}
		end := int64(-1)
		if name == before.Segment {
			end = before.Offset
		}
		more, err := walkSegment(filepath.Join(r.dir, name), end, func(line []byte, offset int64) bool {
			return fn(line, Place{name, offset})
		})
		if err != nil || !more {
			return err
		}
		if !begun.IsZero() && begun.Before(from) {
			return nil
		}
	}
	return nil
}

// Scan calls fn with the recorded events of [from, to), newest first, until
// fn returns false. It sees what was recorded before it began.
func (r *Recorder) Scan(from, to time.Time, fn func(Record) bool) error {
	return r.Walk(Place{}, from, to, func(line []byte, _ Place) bool {
		rec, err := ParseRecord(bytes.Clone(line))
		if err != nil || rec.Time.Before(from) || !rec.Time.Before(to) {
			return true // a line cut off by a crash, or out of range
		}
		return fn(rec)
	})
}

// segments returns the names of the segment files, oldest first.
func (r *Recorder) segments() ([]string, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("reading the trail folder: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".jsonl") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func segmentTime(name string) (time.Time, error) {
	return time.Parse(segmentLayout, strings.TrimSuffix(name, ".jsonl"))
}

// blockSize is how much of a segment is read at once, in bytes: a page of
// events needs the last few kilobytes of the newest segment.
const blockSize = 256 << 10

// walkSegment walks the lines of a segment before end backwards, from its
// last one on if end is negative; more is false when fn said stop.
func walkSegment(path string, end int64, fn func(line []byte, offset int64) bool) (more bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // pruned meanwhile
	}
	if err != nil {
		return false, fmt.Errorf("reading a trail segment: %w", err)
	}
	defer f.Close()
	if end < 0 {
		if end, err = f.Seek(0, io.SeekEnd); err != nil {
			return false, fmt.Errorf("reading a trail segment: %w", err)
		}
	}
	var rest []byte // the end of a line whose beginning is not read yet
	for pos := end; pos > 0; {
		n := min(blockSize, pos)
		pos -= n
		block := make([]byte, n, n+int64(len(rest)))
		if _, err := f.ReadAt(block, pos); err != nil {
			return false, fmt.Errorf("reading a trail segment: %w", err)
		}
		block = append(block, rest...)
		if rest, more = walkBlock(block, pos, fn); !more {
			return false, nil
		}
	}
	line := bytes.TrimSuffix(rest, []byte("\n"))
	return len(line) == 0 || isSeal(line) || fn(line, 0), nil
}

// walkBlock walks the lines that begin inside a block, backwards, and
// returns what is before them.
func walkBlock(block []byte, pos int64, fn func(line []byte, offset int64) bool) (rest []byte, more bool) {
	for {
		line := bytes.TrimSuffix(block, []byte("\n"))
		i := bytes.LastIndexByte(line, '\n') + 1
		if i == 0 {
			return block, true
		}
		if !isSeal(line[i:]) && !fn(line[i:], pos+int64(i)) {
			return nil, false
		}
		block = block[:i]
	}
}
