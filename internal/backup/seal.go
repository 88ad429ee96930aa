package backup

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/argon2"

	"github.com/keyturn/keyturn/internal/key"
)

const (
	magic = "keyturn backup\n"
	// maxHeader bounds the header's line, in bytes.
	maxHeader = 64 << 10
	keySize   = 32
	chunkSize = 64 << 10
	overhead  = 12 + 16 // nonce and tag of a chunk
	// purpose is what the root key wraps the file's key for.
	purpose = "backup"
)

// The parameters for new files: the second choice of RFC 9106, section 4, for
// where memory is bounded.
func newKDF() *KDF {
	k := &KDF{Name: "argon2id", Salt: make([]byte, 16), Time: 3, Memory: 64 << 10, Threads: 4}
	_, _ = rand.Read(k.Salt) // it never fails
	return k
}

// Bounds of the parameters that a file may ask for, so that a file from
// elsewhere cannot take all of the machine.
const (
	maxTime    = 64
	maxMemory  = 1 << 20 // KiB
	maxThreads = 64
)

func (k *KDF) derive(passphrase []byte) ([]byte, error) {
	if k.Name != "argon2id" {
		return nil, fmt.Errorf("the backup's key comes from its passphrase by %.40q, which this version does not know", k.Name)
	}
	if k.Time < 1 || k.Time > maxTime || k.Memory < 8*uint32(k.Threads) || k.Memory > maxMemory || k.Threads < 1 || k.Threads > maxThreads || len(k.Salt) < 8 {
		return nil, errors.New("the backup's header is damaged: its parameters for the passphrase are out of bounds")
	}
	return argon2.IDKey(passphrase, k.Salt, k.Time, k.Memory, k.Threads, keySize), nil
}

// newFileKey makes the file's key and says in the header how to get it back.
func (h *Header) newFileKey(ctx context.Context, p Protection) (raw []byte, err error) {
	if p.Keepers != nil {
		raw, h.Wrapped, err = key.NewWrappedKey(ctx, p.Keepers, purpose)
		return raw, err
	}
	if len(p.Passphrase) == 0 {
		return nil, errors.New("the passphrase is empty")
	}
	h.KDF = newKDF()
	return h.KDF.derive(p.Passphrase)
}

// ErrPassphraseNeeded and ErrRootKeyNeeded tell which protection a backup has
// that is not the one given.
var (
	ErrPassphraseNeeded = errors.New("the backup is under a passphrase: give it with --passphrase-file")
	ErrRootKeyNeeded    = errors.New("the backup is under the root key of the server that it comes from: give that with --root-key, or put root.key into the data folder")
)

// fileKey returns the file's key.
func (h *Header) fileKey(ctx context.Context, p Protection) ([]byte, error) {
	switch {
	case h.KDF != nil && p.Passphrase == nil:
		return nil, ErrPassphraseNeeded
	case h.KDF != nil:
		return h.KDF.derive(p.Passphrase)
	case p.Keepers == nil:
		return nil, ErrRootKeyNeeded
	}
	raw, err := key.UnwrapKey(ctx, p.Keepers, purpose, h.Wrapped)
	if errors.Is(err, key.ErrWrongRootKey) {
		id, _ := key.WrappedBy(h.Wrapped)
		return nil, fmt.Errorf("the backup is under the root key %s, and the root key given is %s: give the right one with --root-key: %w", id, p.Keepers.ID(), key.ErrWrongRootKey)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the backup with the root key %s: %w", p.Keepers.ID(), err)
	}
	return raw, nil
}

// tag authenticates the header.
func tag(fileKey, header []byte) ([]byte, error) {
	k, err := hkdf.Expand(sha256.New, fileKey, "keyturn backup header", keySize)
	if err != nil {
		return nil, err
	}
	defer clear(k)
	m := hmac.New(sha256.New, k)
	m.Write(header)
	return m.Sum(nil), nil
}

// chunkCipher seals the chunks of the file with the header.
func chunkCipher(fileKey, header []byte) (cipher.AEAD, error) {
	sum := sha256.Sum256(header)
	k, err := hkdf.Expand(sha256.New, fileKey, "keyturn backup chunks "+string(sum[:]), keySize)
	if err != nil {
		return nil, err
	}
	defer clear(k)
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// place is the additional data of a chunk.
func place(n uint64, last bool) []byte {
	b := binary.BigEndian.AppendUint64(nil, n)
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

// sealWriter seals what is written to it. Close writes the last chunk.
type sealWriter struct {
	to     io.Writer
	aead   cipher.AEAD
	n      uint64
	plain  []byte
	sealed []byte
}

// newSealWriter writes the header and returns a writer for the content.
func newSealWriter(ctx context.Context, to io.Writer, h *Header, p Protection) (*sealWriter, error) {
	raw, err := h.newFileKey(ctx, p)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	line, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	header := append(append([]byte(magic), line...), '\n')
	mac, err := tag(raw, header)
	if err != nil {
		return nil, err
	}
	w := &sealWriter{to: to, plain: make([]byte, 0, chunkSize)}
	if w.aead, err = chunkCipher(raw, header); err != nil {
		return nil, err
	}
	_, err = to.Write(append(header, mac...))
	return w, err
}

// Write implements io.Writer.
func (w *sealWriter) Write(b []byte) (int, error) {
	written := len(b)
	for len(b) > 0 {
		if len(w.plain) == chunkSize {
			if err := w.flush(false); err != nil {
				return 0, err
			}
		}
		n := min(chunkSize-len(w.plain), len(b))
		w.plain = append(w.plain, b[:n]...)
		b = b[n:]
	}
	return written, nil
}

// Close writes the last chunk, which may be empty.
func (w *sealWriter) Close() error { return w.flush(true) }

func (w *sealWriter) flush(last bool) error {
	w.sealed = w.aead.Seal(w.sealed[:0], nil, w.plain, place(w.n, last))
	w.n++
	w.plain = w.plain[:0]
	_, err := w.to.Write(w.sealed)
	return err
}

// DamagedError tells that a backup is not what was written.
type DamagedError struct {
	// What was found, and where.
	What string
}

// Error says what was found.
func (e *DamagedError) Error() string { return "the backup is damaged: " + e.What }

func damaged(format string, args ...any) error { return &DamagedError{fmt.Sprintf(format, args...)} }

// openReader opens the chunks of a backup. It gives nothing that is not
// authentic, and io.EOF only after the last chunk.
type openReader struct {
	from  *bufio.Reader
	aead  cipher.AEAD
	n     uint64
	last  bool
	rest  []byte // of the chunk that is open
	chunk []byte
}

// newOpenReader reads the header and returns a reader of the content.
func newOpenReader(ctx context.Context, from io.Reader, p Protection) (*openReader, *Header, error) {
	in := bufio.NewReaderSize(from, chunkSize)
	header, h, err := readHeader(in)
	if err != nil {
		return nil, h, err
	}
	mac := make([]byte, sha256.Size)
	if _, err := io.ReadFull(in, mac); err != nil {
		return nil, h, cut(err)
	}
	raw, err := h.fileKey(ctx, p)
	if err != nil {
		return nil, h, err
	}
	defer clear(raw)
	want, err := tag(raw, header)
	if err != nil {
		return nil, h, err
	}
	if !hmac.Equal(mac, want) {
		if h.KDF != nil {
			return nil, h, errors.New("the passphrase is not the backup's, or the backup's header was changed")
		}
		return nil, h, damaged("its header was changed")
	}
	r := &openReader{from: in, chunk: make([]byte, chunkSize+overhead)}
	r.aead, err = chunkCipher(raw, header)
	return r, h, err
}

// readHeader reads up to the tag.
func readHeader(in *bufio.Reader) (header []byte, h *Header, err error) {
	header = make([]byte, len(magic))
	if _, err := io.ReadFull(in, header); err != nil && !isEnd(err) {
		return nil, nil, err
	}
	if string(header) != magic {
		return nil, nil, errors.New("this is not a backup of keyturn")
	}
	for {
		part, err := in.ReadSlice('\n')
		header = append(header, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, nil, cut(err)
		}
		if len(header) > maxHeader {
			return nil, nil, damaged("its header has no end")
		}
	}
	h = new(Header)
	if err := json.Unmarshal(header[len(magic):], h); err != nil {
		return nil, nil, damaged("its header is not JSON")
	}
	if h.Format > Format {
		return nil, h, fmt.Errorf("the backup has format %d, and this version of keyturn knows %d: use the version that made it, or a newer one", h.Format, Format)
	}
	if h.Format < 1 || (h.KDF == nil) == (h.Wrapped == nil) {
		return nil, nil, damaged("its header does not say what opens it")
	}
	return header, h, nil
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// cut turns the end of the file into what it means.
func cut(err error) error {
	if isEnd(err) {
		return damaged("it ends too early")
	}
	return err
}

// Read implements io.Reader.
func (r *openReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.last {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next opens the next chunk: the last one if nothing is behind it.
func (r *openReader) next() error {
	n, err := io.ReadFull(r.from, r.chunk)
	if err != nil && !isEnd(err) {
		return err
	}
	last := err != nil
	if !last {
		_, err := r.from.Peek(1)
		if err != nil && !isEnd(err) {
			return err
		}
		last = err != nil
	}
	if n < overhead {
		return damaged("it ends too early")
	}
	plain, err := r.aead.Open(nil, nil, r.chunk[:n], place(r.n, last))
	if err != nil && last {
		return damaged("it ends too early, or its last part (chunk %d) was changed", r.n)
	}
	if err != nil {
		return damaged("chunk %d, which begins near byte %d, was changed, or is not in its place", r.n, r.n*(chunkSize+overhead))
	}
	r.rest, r.last, r.n = plain, last, r.n+1
	return nil
}
