package plaintext

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestRedacts(t *testing.T) {
	const value = "hunter2"
	p := New([]byte(value))
	holder := struct{ Password Value }{p}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "p", p, "holder", holder)
	encoded, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	outputs := []string{log.String(), string(encoded), p.String(), p.GoString(), fmt.Sprint(&p), fmt.Sprint(holder)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		outputs = append(outputs, fmt.Sprintf(verb, p), fmt.Sprintf(verb, []Value{p}))
	}
	for _, out := range outputs {
		if strings.Contains(out, value) || strings.Contains(out, fmt.Sprintf("%x", value)) || strings.Contains(out, "104 117") {
			t.Errorf("a value shows in %q", out)
		}
		if !strings.Contains(out, "REDACTED") {
			t.Errorf("got %q, want REDACTED in it", out)
		}
	}
	if string(p.Reveal()) != value || p.Len() != len(value) {
		t.Error("Reveal or Len lost the value")
	}
	if !p.Equal(New([]byte(value))) || p.Equal(New([]byte("hunter3"))) || p.Equal(Value{}) {
		t.Error("Equal is wrong")
	}
}
