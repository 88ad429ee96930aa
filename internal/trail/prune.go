package trail

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// anchorSuffix is that of the file which says where a chain begins now.
const anchorSuffix = ".anchor"

// anchor says which segments of a chain retention removed: those before
// First. Its seal makes sure that nobody else did.
type anchor struct {
	Chain string    `json:"chain"`
	First int64     `json:"first"`
	At    time.Time `json:"at"`
	Seal  link      `json:"seal"`
}

func (a *anchor) sum(key []byte) (l link) {
	m := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(m, "anchor %q %d %d", a.Chain, a.First, a.At.UnixNano()) // it never fails
	m.Sum(l[:0])
	return l
}

func readAnchor(dir, chain string) (*anchor, error) {
	b, err := os.ReadFile(filepath.Join(dir, chain+anchorSuffix))
	if err != nil {
		return nil, err
	}
	var a anchor
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("reading %s%s: %w", chain, anchorSuffix, err)
	}
	return &a, nil
}

// write puts the anchor in place, through to disk.
func (a *anchor) write(dir string) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, a.Chain+anchorSuffix)
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return os.Rename(temp, path)
}

// Prune removes segments all of whose events are older than before, and then
// the oldest ones until all together have at most the given bytes, unless that
// is 0. The newest segment always stays. With a key, which is that of Seal, an
// anchor is left for what is removed, so that the rest still verifies.
func (r *Recorder) Prune(before time.Time, most int64, key []byte) error {
	names, err := r.segments()
	if err != nil {
		return err
	}
	sizes := make([]int64, len(names))
	var total int64
	for i, name := range names {
		info, err := os.Stat(filepath.Join(r.dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking at a trail segment: %w", err)
		}
		if err == nil {
			sizes[i] = info.Size()
		}
		total += sizes[i]
	}
	for i, name := range names {
		if i+1 == len(names) {
			return nil
		}
		// A segment ends where the next one begins.
		ends, err := segmentTime(names[i+1])
		if old := err == nil && ends.Before(before); !old && (most <= 0 || total <= most) {
			return nil
		}
		if err := r.remove(name, key); err != nil {
			return fmt.Errorf("removing a trail segment: %w", err)
		}
		total -= sizes[i]
	}
	return nil
}

// remove removes a segment behind its anchor.
func (r *Recorder) remove(name string, key []byte) error {
	path := filepath.Join(r.dir, name)
	if h := readHeading(path); h != nil && key != nil && isChainName(h.Chain) {
		a := &anchor{Chain: h.Chain, First: h.Number + 1, At: time.Now().UTC()}
		a.Seal = a.sum(key)
		if have, err := readAnchor(r.dir, h.Chain); err != nil || have.First < a.First {
			if err := a.write(r.dir); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// isChainName reports whether the name can be a part of a file's name.
func isChainName(s string) bool {
	return s != "" && filepath.IsLocal(s) && !strings.ContainsAny(s, "/\\") && len(s) <= 100
}

// readHeading returns a segment's heading, or nil.
func readHeading(path string) *heading {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	line, err := bufio.NewReaderSize(f, 4096).ReadSlice('\n')
	if err != nil {
		return nil
	}
	return parseHeading(slices.Clone(line))
}
