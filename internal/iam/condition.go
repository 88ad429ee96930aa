package iam

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// condition is a compiled Condition.
type condition struct {
	operator
	// key is the lower case of source.Key.
	key    string
	values []operand
	source *Condition
	// denies says that the statement does.
	denies bool
}

// operand is one value of a policy; its operator's class says which fields
// are set.
type operand struct {
	pattern pattern // byText, byTextFold, byPattern, byARN
	text    string  // byBinary, in canonical base64
	number  float64
	instant time.Time
	network netip.Prefix
	truth   bool // byBool, byPresence
}

// compile resolves the operator and reads the values; variables says that
// they may hold policy variables.
func (c *Condition) compile(variables bool) (condition, error) {
	op, ok := parseOperator(c.Operator)
	if !ok {
		return condition{}, fmt.Errorf("%q is not an operator", c.Operator)
	}
	compiled := condition{operator: op, key: strings.ToLower(c.Key), values: make([]operand, len(c.Values)), source: c}
	for i, v := range c.Values {
		if !compiled.values[i].parse(op.class, v, variables) {
			return condition{}, fmt.Errorf("%s: %s: %q is not a value for it", c.Operator, c.Key, v)
		}
	}
	return compiled, nil
}

func (o *operand) parse(class comparison, v string, variables bool) (ok bool) {
	switch class {
	case byText, byTextFold:
		o.pattern, ok = parsePattern(v, syntax{variables: variables}), true
	case byPattern, byARN:
		o.pattern, ok = parsePattern(v, syntax{variables: variables, wildcards: true}), true
	case byNumber:
		o.number, ok = parseNumber(v)
	case byDate:
		o.instant, ok = parseDate(v)
	case byBool, byPresence:
		o.truth, ok = parseBool(v)
	case byBinary:
		raw, err := base64.StdEncoding.DecodeString(v)
		o.text, ok = base64.StdEncoding.EncodeToString(raw), err == nil
	case byNetwork:
		o.network, ok = parseNetwork(v)
	}
	return ok
}

// parseNumber reads a decimal number.
func parseNumber(s string) (float64, bool) {
	if strings.Trim(s, "+-.0123456789eE") != "" {
		return 0, false // such as "inf", which ParseFloat would take
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// dateLayouts are the profiles of ISO 8601 that W3C's note on dates has, but
// for a bare year, and the basic form; the zone is UTC unless given.
var dateLayouts = []string{
	time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02", "2006-01", "20060102T150405Z07:00",
}

// parseDate reads a date in ISO 8601, or seconds since 1970.
func parseDate(s string) (time.Time, bool) {
	if strings.Trim(strings.TrimPrefix(s, "-"), "0123456789") == "" {
		seconds, err := strconv.ParseInt(s, 10, 64)
		return time.Unix(seconds, 0), err == nil
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func parseBool(s string) (truth, ok bool) {
	switch {
	case strings.EqualFold(s, "true"):
		return true, true
	case strings.EqualFold(s, "false"):
		return false, true
	}
	return false, false
}

// parseNetwork reads an address or a network; bits of the host do not count.
func parseNetwork(s string) (netip.Prefix, bool) {
	if a, ok := parseAddress(s); ok {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err == nil
}

// parseAddress reads an address. netip keeps the text of its errors, which
// would move the whole request to the heap: IPv4 addresses, the common ones,
// are read here, of others it gets a copy.
func parseAddress(s string) (netip.Addr, bool) {
	if four, ok := parseIPv4(s); ok {
		return netip.AddrFrom4(four), true
	}
	a, err := netip.ParseAddr(strings.Clone(s))
	return a.Unmap().WithZone(""), err == nil
}

func parseIPv4(s string) (four [4]byte, ok bool) {
	for i := range four {
		number, rest, dot := strings.Cut(s, ".")
		if dot != (i < 3) || number == "" || len(number) > 3 || number[0] == '0' && number != "0" {
			return four, false
		}
		n := 0
		for _, digit := range []byte(number) {
			if digit < '0' || digit > '9' {
				return four, false
			}
			n = 10*n + int(digit-'0')
		}
		if n > 255 {
			return four, false
		}
		four[i], s = byte(n), rest
	}
	return four, true
}

// met reports whether the request satisfies the condition.
func (c *condition) met(r *Request) bool {
	v := r.value(c.key)
	n := v.len()
	switch {
	case c.class == byPresence:
		return c.wantsPresence(n > 0)
	case n == 0 && c.ifExists:
		return true
	case c.negated && !c.denies && !c.resolvable(r):
		return false // else a missing key would make an Allow hold
	case n == 0 && c.set == noSet:
		return c.negated
	case n == 0:
		return c.set == allValues
	}
	return c.compare(r, v)
}

// compare applies the operator to a key's values, of which there is one at
// least. Without a prefix an operator asks for any of them, a negated one for
// none (assumed: AWS leaves it open).
func (c *condition) compare(r *Request, v Value) bool {
	every := c.set == allValues || c.set == noSet && c.negated
	for i := range v.len() {
		if c.matches(r, v.at(i)) != c.negated {
			if !every {
				return true
			}
		} else if every {
			return false
		}
	}
	return every
}

func (c *condition) wantsPresence(present bool) bool {
	for i := range c.values {
		if c.values[i].truth != present {
			return true
		}
	}
	return false
}

func (c *condition) resolvable(r *Request) bool {
	for i := range c.values {
		if p := &c.values[i].pattern; len(p.variables) > 0 {
			if _, ok := r.bind(p); !ok {
				return false
			}
		}
	}
	return true
}

// matches reports whether any value of the policy fits a value of the
// request; one that the operator cannot read fits none.
func (c *condition) matches(r *Request, got string) bool {
	switch c.class {
	case byNumber:
		n, ok := parseNumber(got)
		return ok && c.any(func(o *operand) bool { return c.order.holds(cmp.Compare(n, o.number)) })
	case byDate:
		t, ok := parseDate(got)
		return ok && c.any(func(o *operand) bool { return c.order.holds(t.Compare(o.instant)) })
	case byBool:
		b, ok := parseBool(got)
		return ok && c.any(func(o *operand) bool { return b == o.truth })
	case byNetwork:
		a, ok := parseAddress(got)
		return ok && c.any(func(o *operand) bool { return o.network.Contains(a) })
	case byBinary:
		return c.any(func(o *operand) bool { return o.text == got })
	case byTextFold:
		return c.any(func(o *operand) bool { return r.equalFold(&o.pattern, got) })
	case byARN:
		return c.any(func(o *operand) bool { return r.matchesARN(&o.pattern, got) })
	}
	return c.any(func(o *operand) bool { matched, _ := r.matches(&o.pattern, got, 0); return matched })
}

func (c *condition) any(fits func(*operand) bool) bool {
	for i := range c.values {
		if fits(&c.values[i]) {
			return true
		}
	}
	return false
}

// matchesARN compares segment by segment (AWS docs); "*" by itself stands for
// every text.
func (r *Request) matchesARN(p *pattern, got string) bool {
	if p.anything() {
		return true
	}
	wall := arnWall(got)
	if wall < 0 {
		return false
	}
	matched, _ := r.matches(p, got, wall)
	return matched
}

// equalFold compares without regard to case, of any letter.
func (r *Request) equalFold(p *pattern, got string) bool {
	b, ok := r.bind(p)
	if !ok {
		return false
	}
	for i := range p.runs[0] {
		want := b.text(&p.runs[0][i])
		n := runeOffset(got, utf8.RuneCountInString(want))
		if !strings.EqualFold(got[:n], want) {
			return false
		}
		got = got[n:]
	}
	return got == ""
}

// runeOffset returns where the first n characters end, or the whole length.
func runeOffset(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}
