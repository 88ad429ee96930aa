package trail

import (
	"bytes"
	"crypto/cipher"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Verdict is what a look at the segments of a folder found.
type Verdict struct {
	// Segments and Sealed count the segments and the events that are whole.
	Segments, Sealed int
	// Open counts events that no seal covers: those a crash left behind the
	// last seal, and all of segments that older versions wrote.
	Open int
	// Faults tell where something was changed, removed, inserted or
	// reordered: the first place in each segment.
	Faults []Fault
}

// Fault is a place at which the trail is not what was written.
type Fault struct {
	// Where names the place; What says what is wrong there.
	Where, What string
}

// verifier looks at one folder.
type verifier struct {
	Verdict
	dir string
	key []byte
}

// segmentEnd is what verifying a segment found out about it.
type segmentEnd struct {
	name    string
	heading *heading
	ending
	sealed int64 // size up to the last link
}

// Verify looks at the segments in a folder, whose key is that of
// Recorder.Seal. Heads are the ends of chains that were noted elsewhere; own
// is the chain of the node whose folder this is, which must be there if it has
// a head, or "". A server may be at work in the folder. The error tells that
// something could not be read.
func Verify(dir string, key []byte, own string, heads []Head) (*Verdict, error) {
	v := &verifier{dir: dir, key: key}
	chains, err := v.segments()
	if err != nil {
		return nil, err
	}
	anchors, err := v.anchors()
	if err != nil {
		return nil, err
	}
	for _, h := range heads {
		if _, there := chains[h.Chain]; !there && h.Chain == own {
			chains[h.Chain] = nil
		}
	}
	for _, name := range slices.Sorted(maps.Keys(chains)) {
		v.chain(name, chains[name], anchors[name], heads)
	}
	return &v.Verdict, nil
}

func (v *verifier) fault(where, format string, args ...any) {
	v.Faults = append(v.Faults, Fault{where, fmt.Sprintf(format, args...)})
}

// segments looks at every segment by itself and returns them by chain.
func (v *verifier) segments() (map[string][]*segmentEnd, error) {
	names, err := (&Recorder{dir: v.dir}).segments()
	if errors.Is(err, fs.ErrNotExist) {
		return map[string][]*segmentEnd{}, nil
	}
	if err != nil {
		return nil, err
	}
	chains := map[string][]*segmentEnd{}
	for _, name := range names {
		s, err := v.segment(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // retention removed it meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("reading the trail segment %s: %w", name, err)
		}
		if s.heading != nil {
			chains[s.heading.Chain] = append(chains[s.heading.Chain], s)
		}
	}
	return chains, nil
}

// segment checks the links of a segment.
func (v *verifier) segment(name string) (*segmentEnd, error) {
	s := &segmentEnd{name: name, ending: ending{Segment: name}}
	w := &walk{name: name, whole: true, v: v, s: s}
	if err := eachLine(filepath.Join(v.dir, name), w.line); err != nil {
		return nil, err
	}
	info, err := os.Stat(filepath.Join(v.dir, name))
	if err != nil {
		return nil, err
	}
	v.Open += w.open
	s.Size = info.Size()
	if w.whole && s.heading != nil {
		v.Segments++
	}
	return s, nil
}

// walk goes through the lines of a segment.
type walk struct {
	name  string
	v     *verifier
	s     *segmentEnd
	aead  cipher.AEAD
	n     int    // lines so far
	open  int    // events that no seal covers yet
	text  []byte // what the next seal covers
	last  link
	whole bool
}

// line takes the next line, which ends at a place in the segment.
func (w *walk) line(text []byte, end int64) error {
	w.n++
	switch l, isLink := parseSeal(text); {
	case end < 0: // cut off by a crash, or just being written
	case w.n == 1:
		return w.begin(text)
	case w.s.heading == nil:
		w.open++
	case !isLink:
		w.open++
		if w.whole { // what follows a fault needs no memory
			w.text = append(w.text, text...)
		}
	default:
		w.seal(l, end)
	}
	return nil
}

// begin takes the first line, a heading unless an older version wrote the
// segment.
func (w *walk) begin(text []byte) (err error) {
	if w.s.heading = parseHeading(text); w.s.heading == nil {
		if isSeal(text) {
			w.whole = false
			w.v.fault(w.name+" line 1", "the heading of the segment was changed")
		}
		w.open++
		return nil
	}
	w.last, w.text = w.s.heading.before(), bytes.Clone(text)
	w.aead, err = linker(w.v.key, text)
	return err
}

// seal takes a seal.
func (w *walk) seal(l link, end int64) {
	if w.whole && !follows(w.aead, l, w.last, w.text) {
		w.whole = false
		w.v.fault(fmt.Sprintf("%s lines %d to %d", w.name, w.n-max(w.open, 1), w.n), "the lines before this seal were changed, removed, inserted or reordered")
	}
	if w.whole {
		w.v.Sealed += w.open
	}
	w.open, w.last, w.text = 0, l, w.text[:0]
	w.s.Link, w.s.sealed = l, end
}

// anchors reads the anchors of the folder.
func (v *verifier) anchors() (map[string]*anchor, error) {
	found := map[string]*anchor{}
	paths, err := filepath.Glob(filepath.Join(v.dir, "*"+anchorSuffix))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), anchorSuffix)
		a, err := readAnchor(v.dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			if a.Chain != name || !hmac.Equal(a.sum(v.key), a.Seal) {
				err = errors.New("its seal is not right")
			}
		}
		if err != nil {
			v.fault(filepath.Base(path), "the record of what retention removed was changed: %v", err)
			continue
		}
		found[name] = a
	}
	return found, nil
}

// chain checks that the segments of a chain follow each other, from its
// anchor to its heads.
func (v *verifier) chain(name string, list []*segmentEnd, a *anchor, heads []Head) {
	slices.SortStableFunc(list, func(a, b *segmentEnd) int { return int(a.heading.Number - b.heading.Number) })
	first := int64(1)
	if a != nil {
		first = a.First
	}
	var before *segmentEnd
	for _, s := range list {
		n := s.heading.Number
		switch {
		case before == nil && n > first:
			v.fault(s.name, "segments %d to %d of node %s are missing before it", first, n-1, name)
		case before != nil && n == before.heading.Number:
			v.fault(s.name, "it is there twice: %s is segment %d too", before.name, n)
		case before != nil && n > before.heading.Number+1:
			v.fault(s.name, "segments %d to %d of node %s are missing before it", before.heading.Number+1, n-1, name)
		case before != nil:
			v.follows(s, before)
		}
		before = s
	}
	for _, h := range heads {
		if h.Chain == name && h.Number >= first {
			v.reaches(list, &h)
		}
	}
}

// follows checks that a segment ended as the next one says.
func (v *verifier) follows(s, before *segmentEnd) {
	p := s.heading.Previous
	if p == nil || p.Segment != before.name || p.Link != before.Link {
		v.fault(before.name, "its end is not the one that %s continues", s.name)
		return
	}
	if p.Size != before.Size {
		v.fault(before.name, "it has %d bytes, but had %d when %s was begun", before.Size, p.Size, s.name)
		return
	}
	if p.Tail == nil {
		if before.sealed != before.Size {
			v.fault(before.name, "lines stand behind its last seal that were not there when %s was begun", s.name)
		}
		return
	}
	e := ending{Size: before.sealed}
	if err := e.readTail(filepath.Join(v.dir, before.name)); err != nil || !bytes.Equal(e.Tail, p.Tail) {
		v.fault(before.name, "what a crash left behind its last seal was changed")
	}
}

// reaches checks that a chain has what was noted of it elsewhere.
func (v *verifier) reaches(list []*segmentEnd, h *Head) {
	i := slices.IndexFunc(list, func(s *segmentEnd) bool { return s.heading.Number == h.Number })
	if i < 0 {
		v.fault(h.Segment, "it is missing: it is segment %d of node %s", h.Number, h.Chain)
		return
	}
	s := list[i]
	if s.sealed < h.Size {
		v.fault(s.name, "it ends at byte %d, but events were sealed up to byte %d", s.sealed, h.Size)
		return
	}
	if at, err := linkAt(filepath.Join(v.dir, s.name), h.Size); err == nil && at != h.Link {
		v.fault(s.name, "at byte %d it is not what it was", h.Size)
	}
}

// linkAt returns the link that ends at a place in a segment.
func linkAt(path string, end int64) (l link, err error) {
	f, err := os.Open(path)
	if err != nil {
		return l, err
	}
	defer f.Close()
	b := make([]byte, linkText+2)
	if _, err := f.ReadAt(b, end-int64(len(b))); err != nil && err != io.EOF {
		return l, err
	}
	l, _ = parseSeal(b)
	return l, nil
}

// Head returns the end of what was recorded and sealed, or nil before the
// first record. It may not be on disk yet.
func (r *Recorder) Head() *Head {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.head.Chain == "" {
		return nil
	}
	return new(r.head)
}

// SyncedHead is Head for a place that is on disk when it returns, so that it
// may be noted where a loss of power leaves it.
func (r *Recorder) SyncedHead() (*Head, error) {
	h := r.Head()
	if h == nil {
		return nil, nil
	}
	for _, path := range []string{filepath.Join(r.dir, h.Segment), r.dir} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil // retention removed it
		}
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			return nil, fmt.Errorf("writing the trail to disk: %w", err)
		}
	}
	return h, nil
}
