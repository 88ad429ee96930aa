package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"hash"
	"io"
)

// The content of a backup is a sequence of records. A record is one byte, its
// kind, and:
//
//	'T'  begins a table: its name, the number of columns, their names
//	'R'  a row of that table: a value for each column
//	'F'  begins a file: its path inside the data folder
//	'D'  bytes that belong to that file
//	'E'  the end: JSON with the counts, then SHA-256 of all before this record
//
// Numbers are varints, texts and bytes have their length before them. A value
// is one byte, its type (0 NULL, 1 a whole number, 2 text, 3 bytes), then the
// value.
const (
	kindTable = 'T'
	kindRow   = 'R'
	kindFile  = 'F'
	kindData  = 'D'
	kindEnd   = 'E'

	typeNull  = 0
	typeInt   = 1
	typeText  = 2
	typeBytes = 3
)

// Bounds of what a record may hold, far above what a server stores: a code
// package is the largest value.
const (
	maxName    = 4096
	maxColumns = 1000
	maxValue   = 1 << 30
)

// counts is what the last record tells.
type counts struct {
	Rows  map[string]int64 `json:"rows"`
	Files int              `json:"files"`
	Bytes int64            `json:"bytes"`
}

// encoder writes records.
type encoder struct {
	to    *bufio.Writer
	sum   hash.Hash
	buf   []byte
	table string
	counts
}

func newEncoder(to io.Writer) *encoder {
	sum := sha256.New()
	return &encoder{to: bufio.NewWriterSize(io.MultiWriter(to, sum), chunkSize), sum: sum, counts: counts{Rows: map[string]int64{}}}
}

func (e *encoder) write() error {
	_, err := e.to.Write(e.buf)
	e.buf = e.buf[:0]
	return err
}

func (e *encoder) text(s string) {
	e.buf = binary.AppendUvarint(e.buf, uint64(len(s)))
	e.buf = append(e.buf, s...)
}

func (e *encoder) beginTable(name string, columns []string) error {
	e.table = name
	e.buf = append(e.buf, kindTable)
	e.text(name)
	e.buf = binary.AppendUvarint(e.buf, uint64(len(columns)))
	for _, c := range columns {
		e.text(c)
	}
	return e.write()
}

func (e *encoder) row(values []any) error {
	e.Rows[e.table]++
	e.buf = append(e.buf, kindRow)
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			e.buf = append(e.buf, typeNull)
		case int64:
			e.buf = binary.AppendVarint(append(e.buf, typeInt), v)
		case string:
			e.buf = append(e.buf, typeText)
			e.text(v)
		case []byte:
			e.buf = binary.AppendUvarint(append(e.buf, typeBytes), uint64(len(v)))
			e.buf = append(e.buf, v...)
		}
	}
	return e.write()
}

func (e *encoder) beginFile(path string) error {
	e.Files++
	e.buf = append(e.buf, kindFile)
	e.text(path)
	return e.write()
}

// Write implements io.Writer for the content of the file.
func (e *encoder) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	e.Bytes += int64(len(b))
	e.buf = binary.AppendUvarint(append(e.buf, kindData), uint64(len(b)))
	if err := e.write(); err != nil {
		return 0, err
	}
	return e.to.Write(b)
}

func (e *encoder) end() error {
	if err := e.to.Flush(); err != nil {
		return err
	}
	sum := e.sum.Sum(nil)
	text, err := json.Marshal(e.counts)
	if err != nil {
		return err
	}
	e.buf = append(e.buf, kindEnd)
	e.text(string(text))
	e.buf = append(e.buf, sum...)
	if err := e.write(); err != nil {
		return err
	}
	return e.to.Flush()
}

// visitor gets what a backup holds, in its order.
type visitor interface {
	Table(name string, columns []string) error
	Row(values []any) error
	File(path string) error
	Data(b []byte) error
}

// decoder reads records.
type decoder struct {
	from  *bufio.Reader
	sum   hash.Hash
	seen  []byte // read, but not yet in sum
	width int    // columns of the table; 0 outside of one
	table string
	file  bool
	counts
}

// ReadByte implements io.ByteReader, for varints.
func (d *decoder) ReadByte() (byte, error) {
	b, err := d.from.ReadByte()
	if err == nil {
		d.saw(b)
	}
	return b, err
}

// saw adds to the sum of what was read.
func (d *decoder) saw(b ...byte) {
	if d.seen = append(d.seen, b...); len(d.seen) >= maxName {
		d.sum.Write(d.seen)
		d.seen = d.seen[:0]
	}
}

// sumUp returns the sum of what was read.
func (d *decoder) sumUp() []byte {
	d.sum.Write(d.seen)
	d.seen = d.seen[:0]
	return d.sum.Sum(nil)
}

// decode reads all records up to the end and hands them over. The bytes of
// Data are the visitor's for the time of the call.
func decode(from io.Reader, v visitor) (counts, error) {
	d := &decoder{from: bufio.NewReaderSize(from, chunkSize), sum: sha256.New(), counts: counts{Rows: map[string]int64{}}}
	for {
		kind, err := d.from.ReadByte()
		if err != nil {
			return d.counts, cut(err)
		}
		if kind == kindEnd {
			return d.counts, d.end(d.sumUp())
		}
		d.saw(kind)
		if err := d.record(kind, v); err != nil {
			return d.counts, cut(err)
		}
	}
}

func (d *decoder) record(kind byte, v visitor) error {
	switch {
	case kind == kindTable:
		return d.readTable(v)
	case kind == kindRow && d.width > 0:
		values := make([]any, d.width)
		for i := range values {
			var err error
			if values[i], err = d.value(); err != nil {
				return err
			}
		}
		d.Rows[d.table]++
		return v.Row(values)
	case kind == kindFile:
		path, err := d.bytes(maxName)
		if err != nil {
			return err
		}
		d.width, d.file = 0, true
		d.Files++
		return v.File(string(path))
	case kind == kindData && d.file:
		b, err := d.bytes(maxValue)
		if err != nil {
			return err
		}
		d.Bytes += int64(len(b))
		return v.Data(b)
	}
	return damaged("a record has the kind %d, which does not belong there", kind)
}

func (d *decoder) readTable(v visitor) error {
	name, err := d.bytes(maxName)
	if err != nil {
		return err
	}
	n, err := binary.ReadUvarint(d)
	if err != nil {
		return err
	}
	if n < 1 || n > maxColumns {
		return damaged("table %.40q has %d columns", name, n)
	}
	columns := make([]string, n)
	for i := range columns {
		c, err := d.bytes(maxName)
		if err != nil {
			return err
		}
		columns[i] = string(c)
	}
	d.table, d.width, d.file = string(name), int(n), false
	return v.Table(d.table, columns)
}

func (d *decoder) value() (any, error) {
	kind, err := d.ReadByte()
	if err != nil {
		return nil, err
	}
	switch kind {
	case typeNull:
		return nil, nil
	case typeInt:
		return binary.ReadVarint(d)
	case typeText:
		b, err := d.bytes(maxValue)
		return string(b), err
	case typeBytes:
		return d.bytes(maxValue)
	}
	return nil, damaged("a value has the type %d", kind)
}

// bytes reads a length and as many bytes; it takes memory only for what is
// there. The result is never nil without an error.
func (d *decoder) bytes(most uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(d)
	if err != nil {
		return nil, err
	}
	if n > most {
		return nil, damaged("a value of %d bytes is longer than any that is stored", n)
	}
	if n <= chunkSize {
		b := make([]byte, n)
		_, err := io.ReadFull(d.from, b)
		d.saw(b...)
		return b, err
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, d.from, int64(n)); err != nil {
		return nil, err
	}
	d.saw(b.Bytes()...)
	return b.Bytes(), nil
}

// end compares what the last record tells with what was read.
func (d *decoder) end(sum []byte) error {
	text, err := d.bytes(maxHeader)
	if err != nil {
		return cut(err)
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(d.from, want); err != nil {
		return cut(err)
	}
	have, err := json.Marshal(d.counts)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, text) || !bytes.Equal(sum, want) {
		return damaged("it does not hold what its end tells: %s, but %s were found", text, have)
	}
	if _, err := d.from.ReadByte(); err != io.EOF {
		if err == nil {
			return damaged("something is behind its end")
		}
		return err
	}
	return nil
}
