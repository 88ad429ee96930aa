package trail

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Segments are sealed: behind the lines of each write stands a line with a
// link, an HMAC-SHA-256 over the link before it and the lines. The first line
// of a segment is its heading, which says whose it is and how the segment
// before it ended, and has a link too. So nobody without the key can change,
// remove, insert or reorder lines, or segments of one chain, unnoticed; only
// what is behind the last link, after a crash, and the newest lines of all can
// be cut off, which is why a Head is kept elsewhere. Lines of seals begin with
// "#", which no event does.
//
//	#{"trail":1,"chain":"NODE","number":2,"previous":{"segment":"…","size":9,"link":"…"}}
//	#LINK
//	{"eventVersion":…}
//	#LINK

// link is a place in a chain that nobody without the key can compute.
type link [sha256.Size]byte

// MarshalText implements encoding.TextMarshaler.
func (l link) MarshalText() ([]byte, error) { return encoding.AppendEncode(nil, l[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *link) UnmarshalText(b []byte) error {
	if n, err := encoding.Decode(l[:], b); err != nil || n != len(l) || len(b) != linkText {
		return errors.New("a link is not 32 bytes in base64")
	}
	return nil
}

var encoding = base64.RawStdEncoding.Strict()

const (
	sealMark = '#'
	linkText = 43 // characters of a link
)

// isSeal reports whether a line is none of an event.
func isSeal(line []byte) bool { return len(line) > 0 && line[0] == sealMark }

func appendSeal(b []byte, l link) []byte {
	b = append(b, sealMark)
	b = encoding.AppendEncode(b, l[:])
	return append(b, '\n')
}

// heading begins a segment.
type heading struct {
	// Format is 1.
	Format int `json:"trail"`
	// Chain is the node that writes; Number counts its segments from 1.
	Chain  string `json:"chain"`
	Number int64  `json:"number"`
	// Previous is the end of the chain's segment before; nil for the first.
	Previous *ending `json:"previous,omitempty"`
}

// ending tells how a segment ended.
type ending struct {
	Segment string `json:"segment"`
	Size    int64  `json:"size"`
	// Link is the last link; Tail the SHA-256 of what a crash left behind it.
	Link link  `json:"link"`
	Tail *link `json:"tail,omitempty"`
}

// Head is the end of a chain at some moment.
type Head struct {
	Chain   string `json:"chain"`
	Number  int64  `json:"number"`
	Segment string `json:"segment"`
	Size    int64  `json:"size"`
	Link    link   `json:"link"`
}

// chain makes the seals of one node's segments.
type chain struct {
	name   string
	mac    hash.Hash
	room   link // for a sum, so that none is made for each write
	number int64
	last   *ending // of the newest segment; nil before the first
}

// Seal makes the recorder seal the segments that it begins, as a part of the
// chain with the name. Call it once, before anything is recorded.
func (r *Recorder) Seal(name string, key []byte) error {
	c := &chain{name: name, mac: hmac.New(sha256.New, key)}
	names, err := r.segments()
	if err != nil {
		return err
	}
	for _, segment := range slices.Backward(names) {
		h, e, err := readEnding(filepath.Join(r.dir, segment))
		if errors.Is(err, fs.ErrNotExist) {
			continue // pruned meanwhile
		}
		if err != nil {
			return fmt.Errorf("reading the trail segment %s: %w", segment, err)
		}
		if h != nil && h.Chain == name && h.Number > c.number {
			c.number, c.last = h.Number, e
		}
	}
	if a, err := readAnchor(r.dir, name); err == nil && a.First > c.number+1 {
		c.number = a.First - 1 // all that there was has been removed
	}
	r.chain = c
	return nil
}

// sum returns the link behind another one and the bytes.
func (c *chain) sum(before link, b []byte) link {
	c.room = before
	c.mac.Reset()
	c.mac.Write(c.room[:])
	c.mac.Write(b)
	c.mac.Sum(c.room[:0])
	return c.room
}

// next returns the link behind the lines that are to be written.
func (c *chain) next(lines []byte) link { return c.sum(c.last.Link, lines) }

// wrote notes what was written.
func (c *chain) wrote(l link, size int64) { c.last.Link, c.last.Size = l, size }

func (c *chain) head() *Head {
	return &Head{Chain: c.name, Number: c.number, Segment: c.last.Segment, Size: c.last.Size, Link: c.last.Link}
}

// begin writes the heading of a segment and returns its size.
func (c *chain) begin(dir, segment string, f io.Writer) (int64, error) {
	h := heading{Format: 1, Chain: c.name, Number: c.number + 1}
	if c.last != nil {
		previous := *c.last
		// What a failed write left behind the last link.
		if err := previous.readTail(filepath.Join(dir, previous.Segment)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		h.Previous = &previous
	}
	text, err := json.Marshal(&h)
	if err != nil {
		return 0, err
	}
	text = append(append([]byte{sealMark}, text...), '\n')
	l := c.sum(h.before(), text)
	text = appendSeal(text, l)
	if _, err := f.Write(text); err != nil {
		return 0, err
	}
	c.number, c.last = h.Number, &ending{Segment: segment, Size: int64(len(text)), Link: l}
	return int64(len(text)), nil
}

// before is the link before the heading's own.
func (h *heading) before() link {
	if h.Previous == nil {
		return link{}
	}
	return h.Previous.Link
}

// readTail makes the ending tell of all that is in the segment; Size was the
// end of its last link.
func (e *ending) readTail(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.NewSectionReader(f, e.Size, 1<<62))
	if err != nil || n == 0 {
		return err
	}
	e.Size += n
	e.Tail = new(link)
	sum.Sum(e.Tail[:0])
	return nil
}

// readEnding reads a segment's heading, which is nil if it has none, and how
// it ends. It checks nothing.
func readEnding(path string) (*heading, *ending, error) {
	var h *heading
	e := &ending{Segment: filepath.Base(path)}
	err := eachLine(path, func(line []byte, end int64) error {
		switch {
		case h == nil:
			if h = parseHeading(line); h == nil {
				return errEnough
			}
		case isSeal(line):
			if l, ok := parseSeal(line); ok {
				e.Link, e.Size = l, end
			}
		}
		return nil
	})
	return h, e, err
}

// errEnough ends eachLine without error.
var errEnough = errors.New("enough lines")

// eachLine hands over the lines of a file with where each ends; one without
// an end is handed over with a negative end. A line is fn's for the time of
// the call.
func eachLine(path string, fn func(line []byte, end int64) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, blockSize)
	var long []byte
	for at := int64(0); ; {
		line, err := in.ReadSlice('\n')
		at += int64(len(line))
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, line...)
			continue
		}
		if len(long) > 0 {
			line = append(long, line...)
			long = long[:0]
		}
		if err == io.EOF {
			if len(line) > 0 {
				err = fn(line, -1)
			} else {
				err = nil
			}
			if errors.Is(err, errEnough) {
				err = nil
			}
			return err
		}
		if err == nil {
			err = fn(line, at)
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// parseHeading returns nil for a line that is none.
func parseHeading(line []byte) *heading {
	if len(line) < 2 || line[0] != sealMark || line[1] != '{' {
		return nil
	}
	var h heading
	if json.Unmarshal(line[1:], &h) != nil || h.Format < 1 || h.Number < 1 {
		return nil
	}
	return &h
}

func parseSeal(line []byte) (l link, ok bool) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	return l, isSeal(line) && l.UnmarshalText(line[1:]) == nil
}
