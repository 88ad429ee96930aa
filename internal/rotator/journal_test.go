package rotator

import (
	"bytes"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/plaintext"
)

func TestJournalHides(t *testing.T) {
	for name, c := range map[string]struct {
		secret, line string
		leaks        []string
	}{
		"a member":            {`{"password":"hunter-22"}`, "with hunter-22 in it", []string{"hunter"}},
		"a bare text":         {`hunter-22`, "with hunter-22 in it", []string{"hunter"}},
		"lines of a member":   {`{"privateKey":"-----BEGIN\nfirst-line\nother-line\n"}`, "other-line", []string{"other-line"}},
		"as JSON spells it":   {`{"password":"a\"b\\c<d"}`, `{"p":"a\"b\\c<d"} a\"b\\c\u003cd a"b\c<d`, []string{`a"b`, `a\"b`}},
		"nested":              {`{"db":{"list":["hunter-22"]}}`, "with hunter-22 in it", []string{"hunter"}},
		"one within another":  {`{"a":"hunter","b":"hunter-22-extra"}`, "with hunter-22-extra in it", []string{"extra"}},
		"the whole of a list": {`{"db":["x","hunter-22"]}`, `with ["x","hunter-22"] in it`, []string{"hunter"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			j := &journal{to: &out}
			j.hide(plaintext.Of(c.secret))
			j.info("%s", c.line)
			for _, leak := range c.leaks {
				if strings.Contains(out.String(), leak) {
					t.Errorf("got %q, which holds %q", out.String(), leak)
				}
			}
		})
	}
}

func TestJournalShowsTheRest(t *testing.T) {
	var out bytes.Buffer
	j := &journal{to: &out}
	j.hide(plaintext.Of(`{"engine":"ssh","hosts":["a.example","b.example"],"username":"alice","password":"hunter-22","active":true}`))
	j.info("alice at a.example over ssh is true")
	if !strings.Contains(out.String(), "alice at a.example over ssh is true") {
		t.Errorf("got %q, want the line as it is", out.String())
	}
}
