//go:build linux

package hardship

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/sigv4"
)

// jsonCall is a request of Secrets Manager, signed.
func jsonCall(t *testing.T, url, operation, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "secretsmanager."+operation)
	return signed(t, r, "secretsmanager", body)
}

// formCall is a request of a query service, signed.
func formCall(t *testing.T, url, service, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	return signed(t, r, service, body)
}

func signed(t *testing.T, r *http.Request, service, body string) *http.Request {
	t.Helper()
	root := sigv4.Credentials{AccessKeyID: apitest.AccessKey, SecretAccessKey: apitest.SecretKey}
	if err := sigv4.Sign(r, []byte(body), root, apitest.Region, service, time.Now()); err != nil {
		t.Fatal(err)
	}
	return r
}

// answer is the status of an answer, and the code and text of an error.
type answer struct {
	status     int
	code, text string
}

func ask(t *testing.T, r *http.Request) answer {
	t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return read(t, res)
}

func read(t *testing.T, res *http.Response) answer {
	t.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("no whole answer: %v", err)
	}
	a := answer{status: res.StatusCode, code: res.Header.Get("X-Amzn-Errortype")}
	var asJSON struct{ Message string }
	var asXML struct {
		Error struct{ Message string }
	}
	if json.Unmarshal(body, &asJSON) == nil {
		a.text = asJSON.Message
	} else if xml.Unmarshal(body, &asXML) == nil {
		a.text = asXML.Error.Message
	}
	return a
}

const tooLong = "1 validation error detected: Value at 'secretString' failed to satisfy constraint: Member must have length less than or equal to 65536"

// labels is a request with n staging labels.
func labels(n int) string {
	return `{"SecretId":"input/b","ClientRequestToken":"00000000-0000-4000-8000-000000000001","SecretString":"v","VersionStages":[` + `"` + strings.Join(list(n), `","`) + `"]}`
}

func list(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("label%d", i)
	}
	return list
}

// Each bad body gets AWS's own error, and none changes anything.
func TestBadBodies(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	for _, name := range []string{"input/a", "input/b"} {
		if _, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("kept")}); err != nil {
			t.Fatal(err)
		}
	}
	secret := func(n int) string {
		return `{"SecretId":"input/a","ClientRequestToken":"00000000-0000-4000-8000-000000000002","VersionStages":["OTHER"],"SecretString":"` + strings.Repeat("x", n) + `"}`
	}
	malformed := answer{400, "SerializationException", ""}
	for _, tc := range []struct {
		name, operation, body string
		want                  answer
	}{
		{"65,536 bytes", "PutSecretValue", secret(65536), answer{200, "", ""}},
		{"65,537 bytes", "PutSecretValue", secret(65537), answer{400, "ValidationException", tooLong}},
		{"as many characters of two bytes", "PutSecretValue", strings.ReplaceAll(secret(65536), "x", "é"), answer{400, "ValidationException", tooLong}},
		{"10 MiB", "PutSecretValue", secret(10<<20 - len(secret(0))), answer{400, "ValidationException", tooLong}},
		{"more than 10 MiB", "PutSecretValue", secret(10 << 20), answer{413, "RequestEntityTooLargeException", "Request must be smaller than 10485760 bytes for the PutSecretValue operation"}},
		{"20 labels, one of which is AWSCURRENT on another version", "PutSecretValue", labels(19), answer{200, "", ""}},
		{"21 labels", "PutSecretValue", labels(21), answer{400, "ValidationException", "1 validation error detected: Value '[" + strings.Join(list(21), ", ") + "]' at 'versionStages' failed to satisfy constraint: Member must have length less than or equal to 20"}},
		{"nothing", "PutSecretValue", "", answer{400, "ValidationException", "1 validation error detected: Value null at 'secretId' failed to satisfy constraint: Member must not be null"}},
		{"cut short", "PutSecretValue", `{"SecretId":"input/a","SecretString":"v`, malformed},
		{"cut inside an escape", "PutSecretValue", `{"SecretId":"input/a","SecretString":"v\u00`, malformed},
		{"deep lists", "PutSecretValue", `{"SecretId":"input/a","x":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `}`, malformed},
		{"deep objects", "PutSecretValue", strings.Repeat(`{"a":`, 1<<20) + "1" + strings.Repeat("}", 1<<20), malformed},
		{"not UTF-8", "PutSecretValue", "{\"SecretId\":\"input/a\",\"SecretString\":\"\xff\xfe\"}", malformed},
		{"half a surrogate pair", "PutSecretValue", `{"SecretId":"input/a","SecretString":"\ud800"}`, malformed},
		{"a control character", "PutSecretValue", "{\"SecretId\":\"input/a\",\"SecretString\":\"a\nb\"}", malformed},
		{"two values", "PutSecretValue", `{"SecretId":"input/a","SecretString":"v"}{}`, malformed},
		{"a byte order mark", "PutSecretValue", "\ufeff{}", malformed},
		{"a list", "PutSecretValue", `[]`, answer{400, "SerializationException", "Start of list found where not expected"}},
		{"a number for a text", "PutSecretValue", `{"SecretId":1}`, answer{400, "SerializationException", "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String"}},
		{"an object for a text", "PutSecretValue", `{"SecretId":{}}`, answer{400, "SerializationException", "Start of structure or map found where not expected."}},
		{"the last of two members counts", "PutSecretValue", `{"SecretId":"none","SecretId":"input/a","ClientRequestToken":"00000000-0000-4000-8000-000000000003","SecretString":"v","VersionStages":["TWICE"]}`, answer{200, "", ""}},
		{"an operation that is none", "PutSecretValues", `{}`, answer{400, "UnknownOperationException", ""}},
		{"an operation in other letters", "putSecretValue", `{}`, answer{400, "UnknownOperationException", ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := ask(t, jsonCall(t, s.URL, tc.operation, tc.body)); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
	out, err := s.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("input/a")})
	if err != nil || *out.SecretString != "kept" {
		t.Errorf("the secret was changed: %v", err)
	}
}

// Templates of CloudFormation that are made to cost much are refused at once.
func TestBadTemplates(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	laughs := "a0: &a0 [lol]\n"
	for i := range 30 {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 10))
	}
	for name, body := range map[string]string{
		"deep JSON":      `{"Resources":` + strings.Repeat("[", 20_000),
		"closed JSON":    `{"Resources":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
		"deep YAML":      "Resources: " + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
		"indented YAML":  indented(300),
		"a billion":      laughs,
		"not UTF-8":      "Resources: \xff\xfe",
		"cut short":      `{"Resources":{"A":{"Type":"AWS::Sec`,
		"a tag of none":  "Resources: !!python/object:os.system {}",
		"duplicate keys": "Resources: {A: {Type: 'AWS::KMS::Key'}}\nResources: {}\n",
	} {
		t.Run(name, func(t *testing.T) {
			form := "Action=ValidateTemplate&Version=2010-05-15&TemplateBody=" + escape(body)
			began := time.Now()
			got := ask(t, formCall(t, s.URL, "cloudformation", form))
			if got.status != 400 || got.code != "ValidationError" || got.text == "" {
				t.Errorf("got %+v, want a ValidationError with a text", got)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// indented is YAML whose mappings nest.
func indented(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

// raw sends bytes over a connection of its own.
func raw(t *testing.T, url, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // a connection has deadlines
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// wire is a request as bytes.
func wire(t *testing.T, r *http.Request) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What is odd about the HTTP itself.
func TestOddHTTP(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	list := func() string { return wire(t, jsonCall(t, s.URL, "ListSecrets", "{}")) }
	next := func(t *testing.T, from *bufio.Reader) answer {
		t.Helper()
		res, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		return read(t, res)
	}
	gone := func(t *testing.T, from *bufio.Reader) {
		t.Helper()
		if rest, err := io.ReadAll(from); len(rest) > 0 || err != nil {
			t.Errorf("the connection goes on: %q, %v", rest, err)
		}
	}
	t.Run("HTTP/1.0", func(t *testing.T) {
		_, from := raw(t, s.URL, strings.Replace(list(), "HTTP/1.1", "HTTP/1.0", 1))
		if got := next(t, from); got.status != 200 {
			t.Errorf("got %+v", got)
		}
		gone(t, from)
	})
	t.Run("pipelined", func(t *testing.T) {
		_, from := raw(t, s.URL, list()+wire(t, jsonCall(t, s.URL, "GetSecretValue", `{"SecretId":"none"}`))+list())
		for i, want := range []int{200, 400, 200} {
			if got := next(t, from); got.status != want {
				t.Errorf("answer %d: got %+v, want %d", i, got, want)
			}
		}
	})
	for name, headers := range map[string]string{
		"two lengths":                  "Content-Length: 2\r\nContent-Length: 3\r\n",
		"a length below zero":          "Content-Length: -1\r\n",
		"no length":                    "Content-Length: many\r\n",
		"an encoding that nobody has":  "Transfer-Encoding: rot13\r\n",
		"chunked, but not at last":     "Transfer-Encoding: chunked, gzip\r\n",
		"a header with a space inside": "X Y: z\r\nContent-Length: 2\r\n",
		"a header on two lines":        "X-Y: z\r\n w\r\n\x00: a\r\nContent-Length: 2\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, from := raw(t, s.URL, "POST / HTTP/1.1\r\nHost: a\r\n"+headers+"\r\n{}")
			if got := next(t, from); got.status != 400 && got.status != 501 {
				t.Errorf("got %+v", got)
			}
			gone(t, from)
		})
	}
	// Who reads the length sees another request in the rest than who reads the
	// chunks: nothing may be taken for a second one.
	t.Run("length and chunks", func(t *testing.T) {
		_, from := raw(t, s.URL, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+
			"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
		if got := next(t, from); got.status < 400 {
			t.Errorf("got %+v", got)
		}
		gone(t, from)
	})
	for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "FOO"} {
		r := jsonCall(t, s.URL, "ListSecrets", "{}")
		r.Method = method
		text := wire(t, r)
		if method == "CONNECT" {
			text = strings.Replace(text, "CONNECT "+r.URL.Host, "CONNECT /", 1)
		}
		_, from := raw(t, s.URL, text)
		if got := next(t, from); got.status != 400 || got.code != "UnknownOperationException" {
			t.Errorf("%s: got %+v", method, got)
		}
	}
	// The target says what is asked for, and the body what it is: AWS's
	// clients differ in the type that they send.
	for _, kind := range []string{"", "application/json", "text/plain", "application/xml; charset=utf-16"} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", "secretsmanager.ListSecrets")
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		if got := ask(t, signed(t, r, "secretsmanager", "{}")); got.status != 200 {
			t.Errorf("content type %q: got %+v", kind, got)
		}
	}
	if got := ask(t, jsonCall(t, s.URL, "ListSecrets", "{}")); got.status != 200 {
		t.Errorf("after all that: got %+v", got)
	}
}

// A body that never ends is refused when it is past the limit, and no more of
// it is read.
func TestEndlessBody(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	head := wire(t, jsonCall(t, s.URL, "CreateSecret", "{}"))
	head = strings.Replace(strings.TrimSuffix(head, "{}"), "Content-Length: 2\r\n", "Transfer-Encoding: chunked\r\n", 1)
	conn, from := raw(t, s.URL, head)
	sent := make(chan int64, 1)
	go func() {
		chunk := []byte("10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n")
		var n int64
		for {
			m, err := conn.Write(chunk)
			if n += int64(m); err != nil {
				sent <- n
				return
			}
		}
	}()
	res, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	want := answer{413, "RequestEntityTooLargeException", "Request must be smaller than 10485760 bytes for the CreateSecret operation"}
	if got := read(t, res); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if n := <-sent; n > 40<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}

// Clients that send drop by drop keep nobody else from being answered, and are
// sent away.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{})
	slowHead := "POST / HTTP/1.1\r\nHost: a\r\nX-Slow: " + strings.Repeat("x", 1000)
	slowBody := wire(t, jsonCall(t, s.URL, "ListSecrets", "{}"))
	slowBody = strings.Replace(strings.TrimSuffix(slowBody, "{}"), "Content-Length: 2\r\n", "Content-Length: 1000\r\n", 1)
	const each = 100
	type end struct {
		body bool
		code string
		err  error
	}
	ends := make(chan end, 2*each)
	began := time.Now()
	for i := range 2 * each {
		first, rest := slowHead[:20], slowHead[20:]
		if i%2 == 1 {
			first, rest = slowBody, strings.Repeat("x", 900)
		}
		conn, from := raw(t, s.URL, first)
		go func() {
			for j := range len(rest) {
				time.Sleep(500 * time.Millisecond)
				if _, err := conn.Write([]byte(rest[j : j+1])); err != nil {
					return
				}
			}
		}()
		go func() {
			e := end{body: i%2 == 1}
			res, err := http.ReadResponse(from, nil)
			if e.err = err; err == nil {
				e.code = res.Header.Get("X-Amzn-Errortype")
			}
			ends <- e
		}()
	}
	for n := 0; n < 2*each; {
		select {
		case e := <-ends:
			n++
			if ne, ok := errors.AsType[net.Error](e.err); ok && ne.Timeout() {
				t.Errorf("a slow client was borne for %v", time.Since(began))
			}
			if e.body && e.code != "RequestTimeoutException" {
				t.Errorf("a slow body: got %q, %v", e.code, e.err)
			}
		case <-time.After(200 * time.Millisecond):
			if got := ask(t, jsonCall(t, s.URL, "ListSecrets", "{}")); got.status != 200 {
				t.Errorf("meanwhile: got %+v", got)
			}
		}
	}
}
