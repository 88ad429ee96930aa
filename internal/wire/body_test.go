package wire_test

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/wire"
)

// Where large bodies have all the memory that there is for them, one more is
// throttled and a small one is not; each gives back what it took.
func TestLargeBodiesAreBounded(t *testing.T) {
	b := newBench(t)
	large := jsonRequest("CreateSecret", `{"Name":"db","ClientRequestToken":"11111111-2222-3333-4444-555555555555","SecretString":"x"`+strings.Repeat(" ", 1<<20)+"}")
	small := jsonRequest("GetSecretValue", `{"SecretId":"db"}`)
	if r, body := b.send(t, large); r.StatusCode != 200 {
		t.Fatalf("with room: got %d %s", r.StatusCode, body)
	}
	if n := b.handler.ReserveBodies(wire.MaxBodies - 100<<10); n != wire.MaxBodies-100<<10 {
		t.Errorf("after the first: %d bytes are taken still", n-(wire.MaxBodies-100<<10))
	}
	if r, body := b.send(t, large); r.StatusCode != 400 || !strings.Contains(body, "ThrottlingException") {
		t.Errorf("without room: got %d %s", r.StatusCode, body)
	}
	if r, body := b.send(t, small); r.StatusCode != 200 {
		t.Errorf("a small one: got %d %s", r.StatusCode, body)
	}
	if n := b.handler.ReserveBodies(-(wire.MaxBodies - 100<<10)); n != 0 {
		t.Errorf("in the end: %d bytes are taken", n)
	}
	if r, _ := b.send(t, large); r.StatusCode != 200 {
		t.Errorf("with room again: got %d", r.StatusCode)
	}
}
