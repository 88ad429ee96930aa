package loggroup

import (
	"errors"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
)

const (
	logError  = "[ERROR] ValueError: boom request 42"
	logAccess = `127.0.0.1 - alice [10/Oct/2025:13:55:36 -0700] "GET /index.html HTTP/1.0" 404 1534`
	logTabs   = "2026-01-01T00:00:00.123Z\t5f1c-77\tINFO\tretrying now"
	logJSON   = `{"level":"ERROR","code":404,"ratio":1.5,"ok":false,"none":null,"user":{"id":"123456789012","tags":["a","b"]},
		"items":[{"id":1,"name":"x"},{"id":2,"name":"y"}],"dotted.name":"d","empty":{}}`
)

func TestPatternMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, message string
		want             bool
	}{
		{"", "anything", true},
		{" ", "anything", true},
		{"", "", true},

		{"ERROR", logError, true},
		{"error", logError, false},
		{"ERROR boom", logError, true},
		{"ERROR gone", logError, false},
		{"?gone ?boom", logError, true},
		{"?gone ?away", logError, false},
		{"ERROR ?gone", logError, true},
		{"ERROR -boom", logError, false},
		{"ERROR -gone", logError, true},
		{"-gone", logError, true},
		{"-boom", logError, false},
		{"?boom -ERROR", logError, false},
		{`"[ERROR]"`, logError, true},
		{`"boom request"`, logError, true},
		{`"request boom"`, logError, false},
		{`-"boom request" ERROR`, logError, false},
		{`?"request boom" ?boom`, logError, true},
		{`"say \"hi\""`, `he would say "hi"`, true},
		{`%request \d+$%`, logError, true},
		{`%^request%`, logError, false},
		{`-%\d\d%`, logError, false},
		{`%ERROR|WARN% boom`, logError, true},
		{"Überlauf", "ein Überlauf", true},

		{`{ $.level = "ERROR" }`, logJSON, true},
		{`{$.level=ERROR}`, logJSON, true},
		{`{ $.level = "error" }`, logJSON, false},
		{`{ $.level != "ERROR" }`, logJSON, false},
		{`{ $.level != "WARN" }`, logJSON, true},
		{`{ $.level = "ERR*" }`, logJSON, true},
		{`{ $.level = "*RO*" }`, logJSON, true},
		{`{ $.level = *X }`, logJSON, false},
		{`{ $.level = %^E.*R$% }`, logJSON, true},
		{`{ $.level != %^E% }`, logJSON, false},
		{`{ $.missing = "*" }`, logJSON, false},
		{`{ $.missing != "x" }`, logJSON, false},
		{`{ $.code = "*" }`, logJSON, true},
		{`{ $.empty = "*" }`, logJSON, true},
		{`{ $.none = "*" }`, logJSON, false},
		{`{ $.code = 404 }`, logJSON, true},
		{`{ $.code = 404.0 }`, logJSON, true},
		{`{ $.code = 4.04e2 }`, logJSON, true},
		{`{ $.code = 4* }`, logJSON, true},
		{`{ $.code > 403 }`, logJSON, true},
		{`{ $.code >= 404 }`, logJSON, true},
		{`{ $.code < 404 }`, logJSON, false},
		{`{ $.code <= 404 }`, logJSON, true},
		{`{ $.ratio > 1.4 }`, logJSON, true},
		{`{ $.level > 1 }`, logJSON, false},
		{`{ $.user.id = 123456789012 }`, logJSON, true},
		{`{ $.user.tags[1] = "b" }`, logJSON, true},
		{`{ $.user.tags[2] = "b" }`, logJSON, false},
		{`{ $.user.tags[*] = "b" }`, logJSON, true},
		{`{ $.items[0].name = "x" }`, logJSON, true},
		{`{ $.items[*].id > 1 }`, logJSON, true},
		{`{ $.items[*].id > 2 }`, logJSON, false},
		{`{ $.user.*[0] = "a" }`, logJSON, true},
		{`{ $["dotted.name"] = "d" }`, logJSON, true},
		{`{ $.['dotted.name'] = d }`, logJSON, true},
		{`{ $.none IS NULL }`, logJSON, true},
		{`{ $.ok IS NULL }`, logJSON, false},
		{`{ $.ok IS FALSE }`, logJSON, true},
		{`{ $.ok IS TRUE }`, logJSON, false},
		{`{ $.missing IS NULL }`, logJSON, false},
		{`{ $.missing NOT EXISTS }`, logJSON, true},
		{`{ $.none NOT EXISTS }`, logJSON, false},
		{`{ $.none EXISTS }`, logJSON, true},
		{`{ $.level = "ERROR" && $.code = 404 }`, logJSON, true},
		{`{ $.level = "ERROR" && $.code = 500 }`, logJSON, false},
		{`{ $.level = "WARN" || $.code = 404 }`, logJSON, true},
		{`{ $.level = "ERROR" || $.code = 404 && $.code = 500 }`, logJSON, true},
		{`{ ($.level = "ERROR" || $.code = 404) && $.code = 500 }`, logJSON, false},
		{`{ ( ($.level = "ERROR") && ($.user.id = "1*") ) }`, logJSON, true},
		{`{ $.level = "ERROR" }`, "level ERROR", false},
		{`{ $.level = "ERROR" }`, `{"level":"ERROR"} and more`, false},
		{`{ $.level = "ERROR" }`, ` {"level":"ERROR"}` + "\n", true},
		{`{ $.level NOT EXISTS }`, "not JSON", false},

		{`[ip, dash, user, time, request, status, bytes]`, logAccess, true},
		{`[ip, dash, user, time, request, status=404, bytes>1000]`, logAccess, true},
		{`[ip, dash, user, time, request, status=4*, bytes>2000]`, logAccess, false},
		{`[ip, dash, user, time="10/Oct/*", request="GET *", ...]`, logAccess, true},
		{`[..., status=404 || status=410, bytes]`, logAccess, true},
		{`[..., status=4* && status!=404, bytes]`, logAccess, false},
		{`[ip=127.*, ..., bytes]`, logAccess, true},
		{`[ip=%^127\.0\.0\.[0-9]+$%, ...]`, logAccess, true},
		{`[ip, ..., a, b, c, d, e, f, g]`, logAccess, false},
		{`[ip, ..., a, b, c, d, e, f]`, logAccess, true},
		{`[...]`, "", true},
		{`[ts=*Z, id="*-*", level=INFO, event]`, logTabs, true},
		{`[ts=*Z, id="*-*", level=INFO, event="retrying now"]`, logTabs, true},
		{`[ts, id, level=WARN, event]`, logTabs, false},
		{`[w1=%INFO|WARN%, w2]`, "INFO x", true},
		{`[w1!=INFO && w1!=WARN, w2]`, "INFO x", false},
		{`[w1, w2]`, "alone", false},
	} {
		p, err := ParsePattern(tc.pattern)
		if err != nil {
			t.Errorf("%s: %v", tc.pattern, err)
			continue
		}
		if got := p.Match(tc.message); got != tc.want {
			t.Errorf("%s on %q: got %t, want %t", tc.pattern, tc.message, got, tc.want)
		}
	}
}

func TestPatternErrors(t *testing.T) {
	const invalid = "Invalid filter pattern"
	for pattern, want := range map[string]string{
		"a.b":                    "Invalid character(s) in term 'a.b'",
		"/aws ok":                "Invalid character(s) in term '/aws'",
		"?":                      "Invalid character(s) in term ''",
		"- x":                    "Invalid character(s) in term ''",
		`"x"y`:                   `Invalid character(s) in term '"x"y'`,
		`%a(b)%`:                 "Invalid character(s) in term 'a(b)'",
		`"open`:                  invalid,
		`%open`:                  invalid,
		`%[%`:                    invalid,
		`%%`:                     invalid,
		`{ $.a = 1`:              "If a filter pattern starts with '{' it must end with '}'",
		`[a, b`:                  "If a filter pattern starts with '[' it must end with ']'",
		`{}`:                     invalid,
		`{ a = 1 }`:              invalid,
		`{ $ = 1 }`:              invalid,
		`{ $. = 1 }`:             invalid,
		`{ $.a }`:                invalid,
		`{ $.a = }`:              invalid,
		`{ $.a == 1 }`:           invalid,
		`{ $.a > "x" }`:          invalid,
		`{ $.a IS 1 }`:           invalid,
		`{ $.a NOT }`:            invalid,
		`{ $.a ISNULL }`:         invalid,
		`{ $.a[x] = 1 }`:         invalid,
		`{ $.a[-1] = 1 }`:        invalid,
		`{ ($.a = 1 }`:           invalid,
		`{ $.a = 1 && }`:         invalid,
		`{ $.a = 1 $.b = 2 }`:    invalid,
		`[a=1 || b=2]`:           invalid,
		`[a, , b]`:               invalid,
		`[..., a, ...]`:          invalid,
		`[a=]`:                   invalid,
		`[]`:                     invalid,
		`[a=1 b=2]`:              invalid,
		strings.Repeat("(", 100): "Invalid character(s) in term '" + strings.Repeat("(", 100) + "'",
	} {
		_, err := ParsePattern(pattern)
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Kind != fault.Parameter || e.Message != want {
			t.Errorf("%s: got error %v, want %q", pattern, err, want)
		}
	}
}

// FuzzPattern shows that no pattern and no message makes the parser or the
// matching panic, that space around a pattern changes nothing, and that an
// error always has a text for the client.
func FuzzPattern(f *testing.F) {
	for _, p := range []string{
		"", "ERROR -x", `?a ?"b c"`, `%a|b%`, `{ $.a[0].b = "x*" && ($.c > 1 || $.d IS NULL) }`, `{$["x"] NOT EXISTS}`, `[a, b=1||b=2, ..., c=%x%]`, `[...]`,
	} {
		for _, m := range []string{"", logError, logAccess, logJSON, `"`, "[", `{"a":[]}`} {
			f.Add(p, m)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, message string) {
		if len(pattern) > 1024 {
			return
		}
		p, err := ParsePattern(pattern)
		if err != nil {
			if e, ok := errors.AsType[*fault.Error](err); !ok || e.Message == "" || e.Kind != fault.Parameter {
				t.Fatalf("%q: got error %v", pattern, err)
			}
			return
		}
		again, err := ParsePattern(" " + pattern + "\n")
		if err != nil {
			t.Fatalf("%q with space around it: %v", pattern, err)
		}
		if p.Match(message) != again.Match(message) {
			t.Errorf("%q on %q: space around the pattern matters", pattern, message)
		}
	})
}
