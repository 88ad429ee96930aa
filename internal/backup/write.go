package backup

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// Source says what to back up. A server may be at work on it.
type Source struct {
	// Dir is the data folder. StoreURL is the postgres:// URL of the store, or
	// "" for SQLite in Dir.
	Dir, StoreURL string
	// Program is the version of this program, for the header.
	Program string
	// Protection is what the backup is put under.
	Protection Protection
	// WithoutTrail leaves out the trail's segments in Dir, which hold the
	// reads. What the store holds of the trail is always there.
	WithoutTrail bool
	// RootKey is the path of the root key's file, to be put into the backup;
	// "" leaves it out. Only a backup under a passphrase may hold it.
	RootKey string
}

// Write writes a backup. All of it is the state of one moment, but for the
// trail's segments, which are read after that. Memory is bounded, whatever the
// store holds.
func Write(ctx context.Context, src Source, to io.Writer) (*Summary, error) {
	if src.RootKey != "" && src.Protection.Keepers != nil {
		return nil, errors.New("a backup under the root key does not hold the root key: it could not be opened without")
	}
	s, kind, err := Attach(ctx, src.Dir, src.StoreURL)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	w := &backupWriter{ctx: ctx, src: src, to: to, Summary: Summary{Header: Header{Format: Format, Program: src.Program, Store: kind}}}
	if err := s.View(ctx, w.dump); err != nil {
		return nil, unhide(err)
	}
	if err := w.files(); err != nil {
		return nil, err
	}
	return &w.Summary, w.end()
}

// Attach opens the store of a server, which may be at work on it, for reading
// alone. kind is "sqlite" or "postgresql".
func Attach(ctx context.Context, dir, url string) (s *store.Store, kind string, err error) {
	if url != "" {
		s, err = postgres.Attach(ctx, url)
		return s, "postgresql", err
	}
	s, err = sqlite.Attach(ctx, dir)
	return s, "sqlite", err
}

// backupWriter writes one backup.
type backupWriter struct {
	Summary
	ctx  context.Context
	src  Source
	to   io.Writer
	seal *sealWriter
	zip  *gzip.Writer
	out  *encoder
}

// dump writes the header and all tables.
func (w *backupWriter) dump(tx *store.Tx) (err error) {
	if w.seal != nil {
		return errors.New("the snapshot of the database was lost: back up again")
	}
	if err := w.begin(tx); err != nil {
		return err
	}
	for _, table := range store.DumpTables() {
		err := tx.DumpTable(table, func(columns []string) error { return w.out.beginTable(table, columns) }, func(row []any) error {
			if err := w.ctx.Err(); err != nil {
				return err
			}
			return w.out.row(row)
		})
		if err != nil {
			return fmt.Errorf("backing up table %s: %w", table, unhide(err))
		}
	}
	return nil
}

func (w *backupWriter) begin(tx *store.Tx) (err error) {
	if w.Schema, err = tx.Schema(); err != nil {
		return err
	}
	if w.RootKeys, err = tx.RootKeyIDs(); err != nil {
		return err
	}
	w.Made = time.Now().UTC().Truncate(time.Second)
	if keepers := w.src.Protection.Keepers; keepers != nil {
		for _, id := range w.RootKeys {
			if !keepers.Has(id) {
				return fmt.Errorf("the store holds keys that the root key %s wrapped, but the root key given is %s: give the server's with --root-key, and one that it replaces with --old-root-key", id, keepers.ID())
			}
		}
	}
	if w.seal, err = newSealWriter(w.ctx, w.to, &w.Header, w.src.Protection); err != nil {
		return err
	}
	w.zip, _ = gzip.NewWriterLevel(w.seal, gzip.BestSpeed) // the level is valid
	w.out = newEncoder(w.zip)
	return nil
}

// files writes what lies beside the database.
func (w *backupWriter) files() error {
	if w.src.RootKey != "" {
		if err := w.file(RootKeyFile, w.src.RootKey); err != nil {
			return err
		}
		w.RootKey = true
	}
	if w.src.WithoutTrail {
		return nil
	}
	folder := filepath.Join(w.src.Dir, TrailFolder)
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the trail folder: %w", err)
	}
	// What anchors the segments comes last: it may only be newer than they.
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int { return order(a) - order(b) })
	for _, e := range entries {
		if !isTrailFile(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		if err := w.file(TrailFolder+"/"+e.Name(), filepath.Join(folder, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func order(e fs.DirEntry) int {
	if strings.HasSuffix(e.Name(), ".jsonl") {
		return 0
	}
	return 1
}

// isTrailFile tells which names in the trail folder belong to a backup.
func isTrailFile(name string) bool {
	return filepath.IsLocal(name) && filepath.Base(name) == name && (strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, ".anchor"))
}

// file writes a file as it is now; one that was removed meanwhile is left out.
func (w *backupWriter) file(name, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && name != RootKeyFile {
		return nil
	}
	if err != nil {
		return fmt.Errorf("backing up a file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("backing up a file: %w", err)
	}
	if err := w.out.beginFile(name); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(w.out, struct{ io.Reader }{&stoppable{w.ctx, io.LimitReader(f, info.Size())}}, make([]byte, chunkSize)); err != nil {
		return fmt.Errorf("backing up %s: %w", path, err)
	}
	return nil
}

// stoppable is a reader that ends with its context.
type stoppable struct {
	ctx context.Context
	io.Reader
}

// Read implements io.Reader.
func (s *stoppable) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Reader.Read(b)
}

func (w *backupWriter) end() error {
	if err := w.out.end(); err != nil {
		return err
	}
	if err := w.zip.Close(); err != nil {
		return err
	}
	w.Rows, w.Files, w.Bytes = w.out.Rows, w.out.Files, w.out.Bytes
	return w.seal.Close()
}
