package cli

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// plainWidth is how wide reports are where there is no terminal to ask.
const plainWidth = 100

// terminal tells whether what is written or read is a terminal, and how many
// columns it has.
func terminal(stream any) (columns int, ok bool) {
	f, isFile := stream.(*os.File)
	if !isFile {
		return plainWidth, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return plainWidth, false
	}
	if size.Col == 0 {
		return plainWidth, true
	}
	return int(size.Col), true
}

// coloured tells whether colours are wanted: on a terminal, unless NO_COLOR
// (no-color.org) or a terminal without them says no.
func coloured(w io.Writer) bool {
	_, ok := terminal(w)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// ticker shows on one line what is being done, on a terminal only.
type ticker struct{ w io.Writer }

func newTicker(w io.Writer) *ticker {
	if _, ok := terminal(w); !ok {
		return &ticker{io.Discard}
	}
	return &ticker{w}
}

// show replaces the line. It never takes more than one.
func (t *ticker) show(what string) {
	columns, _ := terminal(t.w)
	if r := []rune(what); len(r) >= columns {
		what = string(r[:max(columns-1, 0)])
	}
	_, _ = fmt.Fprintf(t.w, "\r\x1b[K%s", what)
}

// clear takes the line away.
func (t *ticker) clear() { _, _ = io.WriteString(t.w, "\r\x1b[K") }
