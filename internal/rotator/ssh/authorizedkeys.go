package ssh

import (
	"bytes"
	"strings"

	"golang.org/x/crypto/ssh"
)

// addKey adds a line to an authorized_keys file, after each line of the key
// model and with that line's options; ok is false if there is none. A file
// that has the key already is left as it is.
func addKey(file []byte, model ssh.PublicKey, add string) (out []byte, ok bool) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(add))
	if err != nil {
		return nil, false
	}
	if len(removeKey(file, key)) != len(file) {
		return file, true
	}
	for line := range bytes.Lines(file) {
		out = append(out, line...)
		found, options := authorized(line)
		if found == nil || !same(found, model) {
			continue
		}
		ok = true
		if !bytes.HasSuffix(line, []byte("\n")) {
			out = append(out, '\n')
		}
		if len(options) > 0 {
			out = append(out, strings.Join(options, ",")+" "...)
		}
		out = append(out, add+"\n"...)
	}
	return out, ok
}

// removeKey takes all lines of a key out of an authorized_keys file.
func removeKey(file []byte, key ssh.PublicKey) []byte {
	var out []byte
	for line := range bytes.Lines(file) {
		if found, _ := authorized(line); found == nil || !same(found, key) {
			out = append(out, line...)
		}
	}
	return out
}

// authorized reads a line: its key, nil if it has none, and its options as
// they are spelled.
func authorized(line []byte) (ssh.PublicKey, []string) {
	key, _, options, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		return nil, nil
	}
	return key, options
}

// checksum is the checksum and size that the POSIX program cksum prints.
func checksum(b []byte) (sum uint32, size int) {
	crc := uint32(0)
	step := func(c byte) {
		crc ^= uint32(c) << 24
		for range 8 {
			if crc&0x80000000 != 0 {
				crc = crc<<1 ^ 0x04C11DB7
			} else {
				crc <<= 1
			}
		}
	}
	for _, c := range b {
		step(c)
	}
	for n := len(b); n > 0; n >>= 8 {
		step(byte(n))
	}
	return ^crc, len(b)
}
