package trail

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
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
	mac hash.Hash
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
	v := &verifier{dir: dir, key: key, mac: hmac.New(sha256.New, key)}
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
	var open, line int
	before, whole := link{}, true
	err := eachLine(filepath.Join(v.dir, name), func(text []byte, end int64) error {
		line++
		if end < 0 {
			return nil // cut off by a crash, or just being written
		}
		if line == 1 {
			if s.heading = parseHeading(text); s.heading == nil {
				if isSeal(text) {
					whole = false
					v.fault(name+" line 1", "the heading of the segment was changed")
				}
				open++
				return nil
			}
			before = s.heading.before()
			v.begin(before, text)
			return nil
		}
		l, isLink := parseSeal(text)
		if s.heading == nil || !isLink {
			open++
			v.mac.Write(text)
			return nil
		}
		var want link
		v.mac.Sum(want[:0])
		if whole && !hmac.Equal(want[:], l[:]) {
			whole = false
			v.fault(fmt.Sprintf("%s lines %d to %d", name, line-max(open, 1), line), "the lines before this seal were changed, removed, inserted or reordered")
		}
		if whole {
			v.Sealed += open
		}
		open, before = 0, l
		s.Link, s.sealed = l, end
		v.begin(before, nil)
		return nil
	})
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(filepath.Join(v.dir, name))
	if err != nil {
		return nil, err
	}
	v.Open += open
	s.Size = info.Size()
	if whole && s.heading != nil {
		v.Segments++
	}
	return s, nil
}

// begin makes the next link follow another one.
func (v *verifier) begin(before link, text []byte) {
	v.mac.Reset()
	v.mac.Write(before[:])
	v.mac.Write(text)
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
			want := a.sum(v.key)
			if a.Chain != name || !hmac.Equal(want[:], a.Seal[:]) {
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
	if err := e.readTail(filepath.Join(v.dir, before.name)); err != nil || e.Tail == nil || *e.Tail != *p.Tail {
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
// first record.
func (r *Recorder) Head() *Head { return r.head.Load() }
