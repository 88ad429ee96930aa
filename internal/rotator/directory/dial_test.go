package directory

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// serverDouble answers the first message of every connection by answer, and
// tells what it was.
func serverDouble(t *testing.T, answer []byte) (port int, messages <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	seen := make(chan string, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 4096)
			n, _ := conn.Read(b)
			seen <- string(b[:n])
			_, _ = conn.Write(answer)
			_ = conn.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, seen
}

// refusal is the answer of a server that does not know StartTLS.
func refusal() []byte {
	packet := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	packet.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, ""))
	response := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedResponse, nil, "")
	response.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, 2, ""))
	response.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	response.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "unsupported extended operation", ""))
	packet.AppendChild(response)
	return packet.Bytes()
}

// TestNoTLS demands that no password is sent to a server that does not
// encrypt.
func TestNoTLS(t *testing.T) {
	for name, test := range map[string]struct {
		startTLS bool
		answer   []byte
		want     string
	}{
		"StartTLS refused":    {true, refusal(), "TLS: SSL/TLS is not enabled on the server: it refuses StartTLS"},
		"plain LDAP":          {false, refusal(), "TLS: SSL/TLS is not enabled on this port of the server: it broke the handshake off"},
		"closed in handshake": {false, nil, "TLS: SSL/TLS is not enabled on this port of the server: it broke the handshake off"},
	} {
		for _, engine := range []rotator.Engine{NewLDAP(), NewActiveDirectory()} {
			t.Run(engine.Kind().Title+"/"+name, func(t *testing.T) {
				port, messages := serverDouble(t, test.answer)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := engine.Connect(ctx, rotator.Login{
					Host: "127.0.0.1", Port: port, Username: "cn=app", Password: plaintext.Of("a-password"),
					Document: (&rotator.Document{}).With("startTLS", test.startTLS),
				}, &tls.Config{ServerName: "127.0.0.1"})
				if err == nil || err.Error() != test.want {
					t.Errorf("got %v, want %s", err, test.want)
				}
				if sent := <-messages; strings.Contains(sent, "a-password") {
					t.Error("the password was sent in clear")
				}
			})
		}
	}
}

func TestStartsTLS(t *testing.T) {
	for _, test := range []struct {
		port   int // the secret's; 0 for none
		member any
		want   bool
	}{
		{0, nil, false}, {389, nil, true}, {3268, nil, true}, {636, nil, false}, {1636, nil, false},
		{1389, true, true}, {1389, "True", true}, {389, false, false},
	} {
		d := &rotator.Document{}
		if test.member != nil {
			d = d.With("startTLS", test.member)
		}
		l := rotator.Login{Port: test.port, Document: d}
		if got := startsTLS(l, test.port); got != test.want {
			t.Errorf("port %d, startTLS %v: got %t, want %t", test.port, test.member, got, test.want)
		}
	}
}

// TestAlternate demands that directories refuse what they cannot do.
func TestAlternate(t *testing.T) {
	for _, session := range []rotator.Session{&ldapSession{}, &domainSession{}} {
		err := errors.Join(session.CreateClone(t.Context(), rotator.Login{}, "x", plaintext.Value{}), session.CopyGrants(t.Context(), rotator.Login{}, "x"))
		if !errors.Is(err, errAlternate) {
			t.Errorf("got %v, want a refusal", err)
		}
	}
}
