package probe

import (
	"net"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/rotator"
)

// FuzzServer lets a server say anything, to either question.
func FuzzServer(f *testing.F) {
	f.Add([]byte("R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"))
	f.Add([]byte("E\x00\x00\x00\x0fC28000\x00Mno\x00\x00"))
	f.Add([]byte("\x4a\x00\x00\x00\x0a10.11.6-MariaDB\x00\x01\x00\x00\x00abcdefgh\x00\xff\xff\x08\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00abcdefghijkl\x00mysql_native_password\x00"))
	f.Add([]byte("\x10\x00\x00\x00\xff\x10\x04#08004Too many"))
	f.Fuzz(func(t *testing.T, said []byte) {
		for _, ask := range []func(net.Conn, rotator.Login) manner{
			func(c net.Conn, l rotator.Login) manner { return askPostgreSQL(c, l, nil) },
			func(c net.Conn, l rotator.Login) manner { return askMySQL(c, l, nil) },
		} {
			client, server := net.Pipe()
			_ = client.SetDeadline(time.Now().Add(100 * time.Millisecond)) // pipes take deadlines
			go func() {
				go func() { _, _ = server.Read(make([]byte, 4096)) }()
				_, _ = server.Write(said)
				_ = server.Close()
			}()
			if m := ask(client, rotator.Login{Username: "app", Database: "app"}); m.method != "" && m.refused != nil {
				t.Errorf("got %+v, want a method or a refusal", m)
			}
			_ = client.Close()
		}
	})
}

func TestPostgreSQLRefusal(t *testing.T) {
	f := postgreSQLRefusal([]byte("SFATAL\x00C28000\x00Mno entry\x00\x00"), true)
	if f.Cause != rotator.CauseTLSRequired || f.Code != "28000" || f.Text != "no entry" {
		t.Errorf("got %+v", f)
	}
}
