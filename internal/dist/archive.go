package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// file is a file of an archive.
type file struct {
	name string
	mode int64
	text []byte
}

// pack writes a gzipped tar of the files in a folder, the same bytes for the
// same files: sorted, of user 0, all of one time.
func pack(w io.Writer, folder string, at time.Time, files []file) error {
	zip, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(zip)
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	for _, f := range files {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join(folder, f.name), Mode: f.mode, Size: int64(len(f.text)), ModTime: at, Format: tar.FormatUSTAR,
		}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("packing %s: %w", f.name, err)
		}
		if _, err := t.Write(f.text); err != nil {
			return fmt.Errorf("packing %s: %w", f.name, err)
		}
	}
	return errors.Join(t.Close(), zip.Close())
}
