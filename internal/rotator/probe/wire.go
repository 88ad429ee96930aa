package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/keyturn/keyturn/internal/rotator"
)

// manner is what a server says to a user before any password.
type manner struct {
	// method is how it would authenticate; "" if it did not say.
	method string
	// refused is why it would not even begin.
	refused *rotator.Failure
	// plainRefused tells that it is because the connection is plain.
	plainRefused bool
}

// ask learns how the server authenticates a login: in the way that it would
// be tried, and whether a plain connection would do.
func (at *endpoint) ask(ctx context.Context, l rotator.Login, secure *tls.Config) (m manner) {
	if at.wire != postgreSQL && at.wire != mySQL {
		return manner{}
	}
	plain := at.askOnce(ctx, l, nil)
	if !at.offered {
		return plain
	}
	m = at.askOnce(ctx, l, secure)
	if l.TLS == rotator.NoTLS {
		plain.plainRefused = plain.refused != nil && m.refused == nil
		return plain
	}
	m.plainRefused = plain.refused != nil && m.refused == nil
	return m
}

// askOnce asks over one connection. What goes wrong with it says nothing: the
// login will.
func (at *endpoint) askOnce(ctx context.Context, l rotator.Login, secure *tls.Config) manner {
	conn, err := dial(ctx, at.address())
	if err != nil {
		return manner{}
	}
	defer func() { _ = conn.Close() }() // before any password
	if at.wire == postgreSQL {
		return askPostgreSQL(conn, l, secure)
	}
	return askMySQL(conn, l, secure)
}

// secured puts TLS on a connection, whoever the server is: no password
// follows.
func secured(conn net.Conn, secure *tls.Config) (net.Conn, error) {
	open := secure.Clone()
	open.InsecureSkipVerify = true
	c := tls.Client(conn, open)
	return c, c.Handshake()
}

// requestTLS is PostgreSQL's SSLRequest (PostgreSQL: its protocol).
func requestTLS(conn net.Conn) error {
	if _, err := conn.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil {
		return err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if answer[0] != 'S' {
		return errNoTLS
	}
	return nil
}

// methods are the numbers of PostgreSQL's requests for authentication.
var methods = map[uint32]string{0: "trust", 2: "kerberos", 3: "password", 5: "md5", 7: "gss", 9: "sspi"}

const saslRequest = 10

func askPostgreSQL(conn net.Conn, l rotator.Login, secure *tls.Config) manner {
	var err error
	if secure != nil {
		if err = requestTLS(conn); err == nil {
			conn, err = secured(conn, secure)
		}
	}
	if err != nil {
		return manner{}
	}
	start := binary.BigEndian.AppendUint32(nil, 196608) // protocol 3.0
	for _, text := range []string{"user", l.Username, "database", l.Database, "application_name", "keyturn-doctor", ""} {
		start = append(append(start, text...), 0)
	}
	message := binary.BigEndian.AppendUint32(nil, uint32(len(start)+4))
	if _, err := conn.Write(append(message, start...)); err != nil {
		return manner{}
	}
	kind, body, err := readMessage(conn)
	switch {
	case err != nil:
		return manner{}
	case kind == 'E':
		return manner{refused: postgreSQLRefusal(body, secure == nil)}
	case kind != 'R' || len(body) < 4:
		return manner{}
	}
	number := binary.BigEndian.Uint32(body)
	if number == saslRequest {
		mechanisms := strings.FieldsFunc(string(body[4:]), func(r rune) bool { return r == 0 })
		for _, m := range mechanisms {
			if !strings.HasSuffix(m, "-PLUS") {
				return manner{method: m}
			}
		}
		return manner{method: strings.Join(mechanisms, ", ")}
	}
	if name, ok := methods[number]; ok {
		return manner{method: name}
	}
	return manner{method: fmt.Sprintf("method %d", number)}
}

// maxMessage bounds what is read of a server that nobody knows yet.
const maxMessage = 64 << 10

func readMessage(r io.Reader) (kind byte, body []byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size < 4 || size > maxMessage {
		return 0, nil, errors.New("a message of a size that makes no sense")
	}
	body = make([]byte, size-4)
	_, err = io.ReadFull(r, body)
	return head[0], body, err
}

// postgreSQLRefusal reads an ErrorResponse.
func postgreSQLRefusal(body []byte, plain bool) *rotator.Failure {
	code, text := "", ""
	for field := range bytes.SplitSeq(body, []byte{0}) {
		if len(field) == 0 {
			continue
		}
		switch field[0] {
		case 'C':
			code = string(field[1:])
		case 'M':
			text = string(field[1:])
		}
	}
	cause := rotator.CauseAccess
	if plain {
		cause = rotator.CauseTLSRequired
	}
	return rotator.NewFailure(cause, code, text, nil)
}

// greeting is how a MySQL or MariaDB server begins (MySQL: its protocol).
type greeting struct {
	server       string
	capabilities uint32
}

// The capabilities that matter here.
const (
	withTLS          = 1 << 11
	protocol41       = 1 << 9
	secureConnection = 1 << 15
	pluginAuth       = 1 << 19
)

func readPacket(r io.Reader) (body []byte, err error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	if size == 0 || size > maxMessage {
		return nil, errors.New("a packet of a size that makes no sense")
	}
	body = make([]byte, size)
	_, err = io.ReadFull(r, body)
	return body, err
}

func readGreeting(r io.Reader) (greeting, error) {
	p, err := readPacket(r)
	if err != nil {
		return greeting{}, err
	}
	if p[0] == packetError {
		return greeting{}, mySQLRefusal(p)
	}
	version, rest, ok := bytes.Cut(p[1:], []byte{0})
	const capabilitiesAt = 13 // behind the thread's number, 8 bytes and one of nothing
	if !ok || len(rest) < capabilitiesAt+2 {
		return greeting{}, errors.New("no greeting of MySQL")
	}
	g := greeting{server: string(version), capabilities: uint32(binary.LittleEndian.Uint16(rest[capabilitiesAt:]))}
	const upperAt = capabilitiesAt + 5 // behind the character set and the status
	if len(rest) >= upperAt+2 {
		g.capabilities |= uint32(binary.LittleEndian.Uint16(rest[upperAt:])) << 16
	}
	return g, nil
}

// hello is the part of the client's answer that asks for TLS when it comes
// alone.
func hello(capabilities uint32) []byte {
	const utf8 = 45
	b := binary.LittleEndian.AppendUint32(nil, capabilities)
	b = binary.LittleEndian.AppendUint32(b, 1<<24)
	return append(append(b, utf8), make([]byte, 23)...)
}

func packet(number byte, body []byte) []byte {
	n := len(body)
	return append([]byte{byte(n), byte(n >> 8), byte(n >> 16), number}, body...)
}

const wanted = protocol41 | secureConnection | pluginAuth

func (g greeting) requestTLS(w io.Writer) error {
	if g.capabilities&withTLS == 0 {
		return errNoTLS
	}
	_, err := w.Write(packet(1, hello(wanted|withTLS)))
	return err
}

const (
	packetError  = 0xff
	packetSwitch = 0xfe
)

// askMySQL names a plugin that no account has, so that the server answers
// with the account's.
func askMySQL(conn net.Conn, l rotator.Login, secure *tls.Config) manner {
	g, err := readGreeting(conn)
	if f, ok := errors.AsType[*rotator.Failure](err); ok {
		return manner{refused: f}
	}
	if err != nil || g.capabilities&pluginAuth == 0 {
		return manner{}
	}
	number, capabilities := byte(1), uint32(wanted)
	if secure != nil {
		if err := g.requestTLS(conn); err != nil {
			return manner{}
		}
		if conn, err = secured(conn, secure); err != nil {
			return manner{}
		}
		number, capabilities = 2, capabilities|withTLS
	}
	body := append(append(hello(capabilities), l.Username...), 0)
	body = append(body, 0) // no password
	body = append(append(body, "keyturn_asks"...), 0)
	if _, err := conn.Write(packet(number, body)); err != nil {
		return manner{}
	}
	p, err := readPacket(conn)
	switch {
	case err != nil:
		return manner{}
	case p[0] == packetError:
		return manner{refused: mySQLRefusal(p)}
	case p[0] == packetSwitch:
		plugin, _, _ := bytes.Cut(p[1:], []byte{0})
		return manner{method: string(plugin)}
	}
	return manner{}
}

// mySQLRefusal reads an error packet.
func mySQLRefusal(p []byte) *rotator.Failure {
	if len(p) < 3 {
		return rotator.NewFailure(rotator.CauseUnavailable, "", "the server refuses the connection", nil)
	}
	number := int(binary.LittleEndian.Uint16(p[1:]))
	text := string(p[3:])
	if strings.HasPrefix(text, "#") && len(text) > 6 {
		text = text[6:]
	}
	cause := rotator.CauseAccess
	switch number {
	case 3159: // MySQL: require_secure_transport
		cause = rotator.CauseTLSRequired
	case 1040, 1203:
		cause = rotator.CauseConnections
	case 1129:
		cause = rotator.CauseUnavailable
	}
	return rotator.NewFailure(cause, fmt.Sprint(number), text, nil)
}
