package wire

import "unicode/utf8"

// text reads a string. The result is valid until the next call.
func (d *Decoder) text() []byte {
	if d.peek() != '"' {
		d.broken()
		return nil
	}
	d.pos++
	for i := d.pos; i < len(d.data); i++ {
		switch c := d.data[i]; {
		case c == '"':
			s := d.data[d.pos:i]
			d.pos = i + 1
			return s
		case c == '\\':
			return d.unescape(i)
		case c < ' ':
			d.broken()
			return nil
		}
	}
	d.broken()
	return nil
}

// unescape reads the rest of a string whose first escape is at i.
func (d *Decoder) unescape(i int) []byte {
	b := append(d.scratch[:0], d.data[d.pos:i]...)
	defer func() { d.scratch = b[:0] }()
	for i < len(d.data) {
		c := d.data[i]
		switch {
		case c == '"':
			d.pos = i + 1
			return b
		case c < ' ':
			d.broken()
			return nil
		case c != '\\':
			b = append(b, c)
			i++
			continue
		}
		r, n := escape(d.data[i:])
		if n == 0 {
			break
		}
		b = utf8.AppendRune(b, r)
		i += n
	}
	d.broken()
	return nil
}

// escape decodes the escape that s starts with and returns its length; 0 if
// it is malformed or a lone surrogate, which no UTF-8 text can hold.
func escape(s []byte) (r rune, n int) {
	if len(s) < 2 {
		return 0, 0
	}
	switch s[1] {
	case '"', '\\', '/':
		return rune(s[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		return unicodeEscape(s)
	}
	return 0, 0
}

func unicodeEscape(s []byte) (r rune, n int) {
	hi := hex4(s)
	switch {
	case hi < 0 || 0xDC00 <= hi && hi <= 0xDFFF:
		return 0, 0
	case hi < 0xD800 || hi > 0xDBFF:
		return hi, 6
	}
	lo := hex4(s[6:])
	if lo < 0xDC00 || lo > 0xDFFF {
		return 0, 0
	}
	return 0x10000 + (hi-0xD800)<<10 + (lo - 0xDC00), 12
}

// hex4 decodes \uXXXX, or returns -1.
func hex4(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range s[2:6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return -1
		}
	}
	return r
}

// number scans a JSON number.
func (d *Decoder) number() []byte {
	d.peek()
	start := d.pos
	d.accept("-")
	if !d.accept("0") && !d.digits() || d.accept(".") && !d.digits() {
		d.broken()
		return nil
	}
	if d.accept("eE") {
		d.accept("+-")
		if !d.digits() {
			d.broken()
			return nil
		}
	}
	return d.data[start:d.pos]
}

func (d *Decoder) accept(set string) bool {
	if d.err == nil && d.pos < len(d.data) {
		for i := range len(set) {
			if d.data[d.pos] == set[i] {
				d.pos++
				return true
			}
		}
	}
	return false
}

func (d *Decoder) digits() bool {
	start := d.pos
	for d.accept("0123456789") {
	}
	return d.pos > start
}

func (d *Decoder) isNumber() bool {
	c := d.peek()
	return c == '-' || '0' <= c && c <= '9'
}
