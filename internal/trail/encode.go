package trail

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// encoder appends a document as encoding/json would, without escapes for
// HTML. It is written by hand because every read waits for its event: this
// takes a fifth of the time. A test compares the two on every member.
type encoder struct {
	buf   []byte
	comma bool
	err   error
}

func (e *encoder) open() { e.buf, e.comma = append(e.buf, '{'), false }

func (e *encoder) close() { e.buf, e.comma = append(e.buf, '}'), true }

// key writes a member's name, which needs no escapes.
func (e *encoder) key(name string) {
	if e.comma {
		e.buf = append(e.buf, ',')
	}
	e.comma = true
	e.buf = append(e.buf, '"')
	e.buf = append(append(e.buf, name...), '"', ':')
}

func (e *encoder) text(name, value string) {
	e.key(name)
	e.buf = appendText(e.buf, value)
}

// some is text for members that are left out when empty.
func (e *encoder) some(name, value string) {
	if value != "" {
		e.text(name, value)
	}
}

func (e *encoder) bool(name string, value bool) {
	e.key(name)
	e.buf = strconv.AppendBool(e.buf, value)
}

// raw writes JSON, on one line; nothing is null.
func (e *encoder) raw(name string, value json.RawMessage) {
	e.key(name)
	if len(value) == 0 {
		e.buf = append(e.buf, "null"...)
		return
	}
	if bytes.IndexByte(value, '\n') < 0 {
		e.buf = append(e.buf, value...)
		return
	}
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil && e.err == nil {
		e.err = fmt.Errorf("member %s: %w", name, err)
	}
	e.buf = append(e.buf, b.Bytes()...)
}

// someRaw is raw for members that are left out when empty.
func (e *encoder) someRaw(name string, value json.RawMessage) {
	if len(value) > 0 {
		e.raw(name, value)
	}
}

func (e *encoder) texts(name string, m map[string]string) {
	e.key(name)
	e.open()
	for _, k := range slices.Sorted(maps.Keys(m)) {
		e.text(k, m[k])
	}
	e.close()
}

func (e *encoder) document(d *document) {
	e.open()
	e.text("eventVersion", d.EventVersion)
	e.key("userIdentity")
	e.identity(&d.UserIdentity)
	e.text("eventTime", d.EventTime)
	e.text("eventSource", d.EventSource)
	e.text("eventName", d.EventName)
	e.text("awsRegion", d.AWSRegion)
	e.text("sourceIPAddress", d.SourceIPAddress)
	e.text("userAgent", d.UserAgent)
	e.some("errorCode", d.ErrorCode)
	e.some("errorMessage", d.ErrorMessage)
	e.raw("requestParameters", d.RequestParameters)
	e.raw("responseElements", d.ResponseElements)
	e.someRaw("additionalEventData", d.AdditionalData)
	e.text("requestID", d.RequestID)
	e.text("eventID", d.EventID)
	e.bool("readOnly", d.ReadOnly)
	e.resources(d.Resources)
	e.text("eventType", string(d.EventType))
	e.bool("managementEvent", d.ManagementEvent)
	e.text("recipientAccountId", d.RecipientAccountID)
	e.someRaw("serviceEventDetails", d.ServiceDetails)
	e.some("sharedEventID", d.SharedEventID)
	e.text("eventCategory", d.EventCategory)
	e.close()
}

func (e *encoder) resources(list []resource) {
	if len(list) == 0 {
		return
	}
	e.key("resources")
	e.buf = append(e.buf, '[')
	for i, r := range list {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		e.open()
		e.some("accountId", r.AccountID)
		e.text("type", r.Type)
		e.text("ARN", r.ARN)
		e.close()
	}
	e.buf = append(e.buf, ']')
}

func (e *encoder) identity(id *identity) {
	e.open()
	e.some("type", id.Type)
	e.some("principalId", id.PrincipalID)
	e.some("arn", id.ARN)
	e.some("accountId", id.AccountID)
	e.some("accessKeyId", id.AccessKeyID)
	e.some("userName", id.UserName)
	if s := id.SessionContext; s != nil {
		e.key("sessionContext")
		e.session(s)
	}
	e.some("invokedBy", id.InvokedBy)
	e.some("identityProvider", id.IdentityProvider)
	e.close()
}

func (e *encoder) session(s *sessionContext) {
	e.open()
	if i := s.SessionIssuer; i != nil {
		e.key("sessionIssuer")
		e.open()
		e.text("type", i.Type)
		e.text("principalId", i.PrincipalID)
		e.text("arn", i.ARN)
		e.text("accountId", i.AccountID)
		e.text("userName", i.UserName)
		e.close()
	}
	if w := s.WebIdentity; w != nil {
		e.key("webIdFederationData")
		e.open()
		e.text("federatedProvider", w.Provider)
		e.texts("attributes", w.Attributes)
		e.close()
	}
	e.texts("attributes", s.Attributes)
	e.some("sourceIdentity", s.SourceIdentity)
	e.close()
}

// appendText appends s between quotes.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		n, escape := 1, ""
		if c >= utf8.RuneSelf {
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			if escape = escapeRune(r, n); escape == "" {
				i += n
				continue
			}
		}
		b = append(b, s[start:i]...)
		if escape == "" {
			b = appendEscape(b, c)
		} else {
			b = append(b, escape...)
		}
		i += n
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

// plain tells which bytes stand for themselves.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// escapeRune returns what stands for a rune of n bytes, or "".
func escapeRune(r rune, n int) string {
	switch {
	case r == utf8.RuneError && n == 1:
		return `\ufffd`
	case r == '\u2028':
		return `\u2028`
	case r == '\u2029':
		return `\u2029`
	}
	return ""
}

func appendEscape(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, `\b`...)
	case '\f':
		return append(b, `\f`...)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}
