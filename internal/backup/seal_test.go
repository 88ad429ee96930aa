package backup

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
)

// rootKey makes a root key from a byte.
func rootKey(t testing.TB, b byte) *keeper.Set {
	t.Helper()
	k, err := keeper.NewEnvironment(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return keeper.NewSet(k)
}

func sealed(t testing.TB, p Protection, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := newSealWriter(t.Context(), &b, &Header{Format: Format, Schema: 1, Store: "sqlite"}, p)
	if err != nil {
		t.Fatal(err)
	}
	for rest := content; len(rest) > 0; { // in pieces that fit no chunk
		n := min(len(rest), 1+rand.IntN(chunkSize*2))
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func opened(ctx context.Context, p Protection, file []byte) ([]byte, error) {
	r, _, err := newOpenReader(ctx, bytes.NewReader(file), p)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestSealRoundTrip(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	for _, p := range []Protection{{Keepers: rootKey(t, 1)}, {Passphrase: []byte("a passphrase")}} {
		for _, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3 * chunkSize, 3*chunkSize + 7} {
			if p.Passphrase != nil && size != chunkSize+1 {
				continue // deriving a key is slow by design
			}
			content := make([]byte, size)
			_, _ = random.Read(content)
			file := sealed(t, p, content)
			got, err := opened(t.Context(), p, file)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes: got %d bytes and %v", size, len(got), err)
			}
			if size > 16 && bytes.Contains(file, content[:16]) {
				t.Errorf("%d bytes: the content can be read in the file", size)
			}
		}
	}
}

// Whatever is done to a file, nothing is read from it that was not written,
// and its end is never taken for whole.
func TestSealTampering(t *testing.T) {
	p := Protection{Keepers: rootKey(t, 1)}
	content := bytes.Repeat([]byte("0123456789abcdef"), 3*chunkSize/16+5)
	file := sealed(t, p, content)
	chunks := bytes.IndexByte(file[len(magic):], '\n') + len(magic) + 1 + 32
	const one = chunkSize + overhead
	other := sealed(t, p, content)
	changed := map[string][]byte{
		"chunks exchanged":         join(file[:chunks], file[chunks+one:chunks+2*one], file[chunks:chunks+one], file[chunks+2*one:]),
		"chunk twice":              join(file[:chunks+one], file[chunks:]),
		"chunk left out":           join(file[:chunks], file[chunks+one:]),
		"end left out":             file[:chunks+3*one],
		"all chunks left out":      file[:chunks],
		"something behind":         join(file, []byte{0}),
		"another file behind":      join(file, other[chunks:]),
		"end of another file":      join(file[:chunks+3*one], other[chunks+3*one:]),
		"header of another file":   join(other[:chunks], file[chunks:]),
		"header with another text": bytes.Replace(file, []byte(`"schema":1`), []byte(`"schema":2`), 1),
		"empty":                    {},
		"half a title":             file[:5],
	}
	for i := 0; i < len(file); i += 1 + len(file)/97 {
		changed["flipped in byte "+string(rune('0'+i%10))+" "+strings.Repeat("x", i/1000)] = flip(file, i)
		changed["cut at "+strings.Repeat("x", i/1000)] = file[:i]
	}
	for i := range chunks {
		changed["header flipped "+strings.Repeat("y", i)] = flip(file, i)
	}
	for name, b := range changed {
		got, err := opened(t.Context(), p, b)
		if err == nil {
			t.Errorf("%.60s: got no error", name)
		}
		if !bytes.HasPrefix(content, got) {
			t.Errorf("%.60s: got bytes that were not written", name)
		}
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

func TestWrongKeys(t *testing.T) {
	under, secret := Protection{Keepers: rootKey(t, 1)}, Protection{Passphrase: []byte("right")}
	byRoot, byPassphrase := sealed(t, under, []byte("x")), sealed(t, secret, []byte("x"))
	newer := bytes.Replace(byRoot, []byte(`"format":1`), []byte(`"format":2`), 1)
	greedy := bytes.Replace(byPassphrase, []byte(`"memoryKiB":65536`), []byte(`"memoryKiB":4000000000`), 1)
	for _, tc := range []struct {
		name string
		file []byte
		p    Protection
		want string
	}{
		{"another root key", byRoot, Protection{Keepers: rootKey(t, 2)}, "the backup is under the root key " + under.Keepers.ID() + ", and the root key given is " + rootKey(t, 2).ID()},
		{"no root key", byRoot, secret, "is under the root key of the server"},
		{"another passphrase", byPassphrase, Protection{Passphrase: []byte("wrong")}, "the passphrase is not the backup's"},
		{"no passphrase", byPassphrase, under, "is under a passphrase"},
		{"newer format", newer, under, "the backup has format 2, and this version of keyturn knows 1"},
		{"greedy", greedy, secret, "out of bounds"},
		{"no backup", []byte("SQLite format 3\x00 and more of it"), under, "this is not a backup of keyturn"},
	} {
		_, err := opened(t.Context(), tc.p, tc.file)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
	if _, err := opened(t.Context(), Protection{Keepers: rootKey(t, 2)}, byRoot); !errors.Is(err, key.ErrWrongRootKey) {
		t.Errorf("another root key: got %v, want ErrWrongRootKey in it", err)
	}
	if _, err := newSealWriter(t.Context(), io.Discard, &Header{}, Protection{}); err == nil {
		t.Error("a backup under nothing was begun")
	}
}
