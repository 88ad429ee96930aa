package sqlserver_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"unicode/utf16"
)

// Types of packets and tokens of TDS, SQL Server's protocol.
const (
	packetBatch    = 1
	packetRPC      = 3
	packetReply    = 4
	packetLogin    = 16
	packetPrelogin = 18

	tokenMetadata = 0x81
	tokenError    = 0xAA
	tokenLoginAck = 0xAD
	tokenRow      = 0xD1
	tokenDone     = 0xFD

	typeNVarChar = 0xE7
)

// What a server says of encryption before the login.
const (
	encryptLogin = 0 // the login alone, unless the client wants more
	encryptAll   = 1
	encryptNone  = 2
	encryptForce = 3
)

// wireDouble is one connection of serverDouble: TDS 7.4 as far as the driver
// needs it for logins, batches, statements with texts as parameters, results
// of texts, and errors.
type wireDouble struct {
	raw    net.Conn
	stream io.ReadWriter // raw, or TLS over it
	server *serverDouble
	who    sessionDouble
	answer int // what was agreed on encryption
}

func (w *wireDouble) serve() {
	defer w.raw.Close()
	w.stream = w.raw
	if err := w.prelogin(); err != nil {
		return
	}
	if !w.login() {
		return
	}
	for {
		kind, body, err := readPacket(w.stream)
		if err != nil {
			return
		}
		var statement string
		var args []any
		switch kind {
		case packetBatch:
			statement = text(skipHeaders(body))
		case packetRPC:
			statement, args = readCall(skipHeaders(body))
		default:
			return
		}
		rows, refused := w.server.run(w.who, statement, args)
		if err := w.reply(result(rows, refused)); err != nil {
			return
		}
	}
}

// prelogin negotiates encryption, and makes it.
func (w *wireDouble) prelogin() error {
	kind, body, err := readPacket(w.raw)
	if err != nil || kind != packetPrelogin {
		return errors.Join(err, errors.New("no prelogin"))
	}
	asked, offered := preloginEncryption(body), w.server.encryption()
	w.answer = offered
	if offered == encryptLogin && asked == encryptAll {
		w.answer = encryptAll
	}
	fields := []byte{0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xFF, 16, 0, 0, 0, 0, 0, byte(w.answer)}
	if err := writePacket(w.raw, packetReply, fields); err != nil || w.answer == encryptNone {
		return err
	}
	wrapped := &wrappedDouble{Conn: w.raw, wrap: true}
	// SQL Server speaks TLS 1.2 inside of TDS 7.
	encrypted := tls.Server(wrapped, &tls.Config{Certificates: []tls.Certificate{w.server.certificate.TLS}, MaxVersion: tls.VersionTLS12})
	if err := encrypted.Handshake(); err != nil {
		return err
	}
	wrapped.wrap = false
	w.stream = encrypted
	return nil
}

func preloginEncryption(body []byte) int {
	for at := 0; body[at] != 0xFF; at += 5 {
		if body[at] == 1 {
			return int(body[binary.BigEndian.Uint16(body[at+1:])])
		}
	}
	return encryptNone
}

// wrappedDouble carries a TLS handshake inside of packets.
type wrappedDouble struct {
	net.Conn
	wrap bool
	in   bytes.Buffer
}

func (c *wrappedDouble) Read(b []byte) (int, error) {
	if c.in.Len() > 0 {
		return c.in.Read(b)
	}
	if !c.wrap {
		return c.Conn.Read(b)
	}
	_, body, err := readPacket(c.Conn)
	if err != nil {
		return 0, err
	}
	c.in.Write(body)
	return c.in.Read(b)
}

func (c *wrappedDouble) Write(b []byte) (int, error) {
	if !c.wrap {
		return c.Conn.Write(b)
	}
	return len(b), writePacket(c.Conn, packetPrelogin, b)
}

// login reads who logs in, and answers.
func (w *wireDouble) login() bool {
	kind, body, err := readPacket(w.stream)
	if err != nil || kind != packetLogin {
		return false
	}
	if w.answer == encryptLogin {
		w.stream = w.raw
	}
	field := func(at int) []byte {
		from, n := binary.LittleEndian.Uint16(body[at:]), binary.LittleEndian.Uint16(body[at+2:])
		return body[from : from+2*n]
	}
	password := bytes.Clone(field(44))
	for i, b := range password {
		b ^= 0xA5
		password[i] = b<<4 | b>>4
	}
	var refused *errorDouble
	w.who, refused = w.server.login(text(field(40)), text(password), text(field(68)))
	if refused != nil {
		_ = w.reply(result(nil, refused)) // it hangs up all the same
		return false
	}
	ack := []byte{1, 0x74, 0, 0, 4}
	ack = append(ack, short("Double")...)
	ack = append(ack, 16, 0, 0, 0)
	out := append([]byte{tokenLoginAck}, binary.LittleEndian.AppendUint16(nil, uint16(len(ack)))...)
	return w.reply(append(append(out, ack...), done(0)...)) == nil
}

func (w *wireDouble) reply(tokens []byte) error { return writePacket(w.stream, packetReply, tokens) }

// result makes the tokens of an answer.
func result(rows [][]string, refused *errorDouble) []byte {
	if refused != nil {
		body := binary.LittleEndian.AppendUint32(nil, uint32(refused.number))
		body = append(body, refused.state, 16)
		body = binary.LittleEndian.AppendUint16(body, uint16(len(utf16.Encode([]rune(refused.message)))))
		body = append(append(body, wide(refused.message)...), 0, 0, 0, 0, 0, 0)
		out := binary.LittleEndian.AppendUint16([]byte{tokenError}, uint16(len(body)))
		return append(append(out, body...), done(2)...)
	}
	var out []byte
	if rows != nil {
		out = binary.LittleEndian.AppendUint16([]byte{tokenMetadata}, uint16(len(rows[0])))
		for range rows[0] {
			out = append(out, 0, 0, 0, 0, 9, 0, typeNVarChar, 0x40, 0x1F, 9, 4, 0xD0, 0, 0x34, 0)
		}
		for _, row := range rows[1:] {
			out = append(out, tokenRow)
			for _, cell := range row {
				out = binary.LittleEndian.AppendUint16(out, uint16(len(wide(cell))))
				out = append(out, wide(cell)...)
			}
		}
	}
	return append(out, done(0)...)
}

func done(status byte) []byte { return []byte{tokenDone, status, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} }

// readCall reads a call of sp_executesql: the statement, the declaration of
// its parameters, and their values, all texts.
func readCall(b []byte) (statement string, args []any) {
	b = b[2+2+2:] // no name, the procedure's number, flags
	var texts []any
	for len(b) > 0 {
		b = b[1+2*int(b[0]):] // its name's length in characters, and the name
		b = b[1:]             // status
		if b[0] != 0 && b[0] != typeNVarChar {
			panic(fmt.Sprintf("a parameter of type %x", b[0]))
		}
		size := binary.LittleEndian.Uint16(b[1:])
		b = b[1+2+5:]
		var value []byte
		if size == 0xFFFF {
			value, b = readParts(b)
		} else {
			n := binary.LittleEndian.Uint16(b)
			value, b = b[2:2+n], b[2+n:]
		}
		texts = append(texts, text(value))
	}
	return texts[0].(string), texts[2:]
}

// readParts reads a value of more than 8,000 bytes.
func readParts(b []byte) (value, rest []byte) {
	b = b[8:]
	for {
		n := binary.LittleEndian.Uint32(b)
		b = b[4:]
		if n == 0 {
			return value, b
		}
		value, b = append(value, b[:n]...), b[n:]
	}
}

func skipHeaders(b []byte) []byte { return b[binary.LittleEndian.Uint32(b):] }

// readPacket reads a whole message.
func readPacket(r io.Reader) (kind byte, body []byte, err error) {
	for {
		var header [8]byte
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return 0, nil, err
		}
		part := make([]byte, int(binary.BigEndian.Uint16(header[2:]))-len(header))
		if _, err := io.ReadFull(r, part); err != nil {
			return 0, nil, err
		}
		body = append(body, part...)
		if header[1]&1 == 1 {
			return header[0], body, nil
		}
	}
}

// packetSize is the most that one packet holds.
const packetSize = 4096 - 8

func writePacket(w io.Writer, kind byte, body []byte) error {
	for n := byte(1); ; n++ {
		part := body[:min(len(body), packetSize)]
		body = body[len(part):]
		status := byte(0)
		if len(body) == 0 {
			status = 1
		}
		packet := append([]byte{kind, status, 0, 0, 0, 0, n, 0}, part...)
		binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
		if _, err := w.Write(packet); err != nil || status == 1 {
			return err
		}
	}
}

func wide(s string) []byte {
	var b []byte
	for _, c := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return b
}

// short is a text after its length in one byte.
func short(s string) []byte { return append([]byte{byte(len(utf16.Encode([]rune(s))))}, wide(s)...) }

func text(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return strings.ToValidUTF8(string(utf16.Decode(units)), "?")
}
