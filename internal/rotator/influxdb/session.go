package influxdb

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

const (
	// callLimit is the most that one call may take.
	callLimit = 10 * time.Second
	// maxAnswer is the largest answer that is read, in bytes.
	maxAnswer = 16 << 20
)

// session is one login, by a cookie or by a token.
type session struct {
	base   string
	http   *http.Client
	cookie *http.Cookie
	token  plaintext.Value
}

func newSession(l rotator.Login, secure *tls.Config) *session {
	scheme := "http"
	if secure != nil {
		scheme = "https"
	}
	return &session{
		base: scheme + "://" + net.JoinHostPort(l.Host, strconv.Itoa(l.Port)),
		http: &http.Client{
			Transport: &http.Transport{TLSClientConfig: secure},
			// Nobody else gets the credentials.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// signIn logs in by name and password. The server gives a cookie.
func (s *session) signIn(ctx context.Context, user string, password plaintext.Value) error {
	req, err := http.NewRequestWithContext(ctx, "POST", s.base+"/api/v2/signin", nil)
	if err != nil {
		return badHost(err)
	}
	req.SetBasicAuth(user, password.RevealText())
	resp, err := s.send(req)
	if err != nil {
		return err
	}
	for _, c := range resp.Cookies() {
		if strings.HasSuffix(c.Name, "session") {
			s.cookie = c
			return nil
		}
	}
	return rotator.NewFailure(rotator.CauseOther, "", "the server did not start a session: it may be no InfluxDB 2", nil)
}

// Close implements rotator.Session.
func (s *session) Close(ctx context.Context) error {
	defer s.forget()
	if s.cookie == nil {
		return nil
	}
	return s.call(ctx, "POST", "/api/v2/signout", nil, nil)
}

// forget leaves no connection behind.
func (s *session) forget() { s.http.CloseIdleConnections() }

// call calls the API. A body is sent as JSON, and the answer's read into out,
// unless they are nil.
func (s *session) call(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	var content bytes.Buffer
	if body != nil {
		enc := json.NewEncoder(&content)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(body); err != nil {
			return rotator.Classify(err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, &content)
	if err != nil {
		return badHost(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.cookie != nil {
		req.AddCookie(s.cookie)
	} else {
		req.Header.Set("Authorization", "Token "+s.token.RevealText())
	}
	resp, err := s.send(req)
	if err != nil || out == nil {
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return rotator.NewFailure(rotator.CauseOther, "", "the server's answer is not the JSON of InfluxDB 2", nil)
	}
	return nil
}

// badHost is the failure of a request that cannot be made, whose error would
// show all of it.
func badHost(err error) error {
	return rotator.NewFailure(rotator.CauseOther, "", "the host or the port of the secret makes no address", err)
}

// send sends a request and reads the answer whole.
func (s *session) send(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", "keyturn-rotator")
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, unsent(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, unsent(err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, refusal(resp, body)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// unsent classifies the failure of a request on its way.
func unsent(err error) error {
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS is not enabled on the server", err)
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		if outer.Timeout() {
			return rotator.NewFailure(rotator.CauseTimeout, "", "no answer in time", err)
		}
		err = outer.Err // without method and address
	}
	return rotator.Classify(err)
}

// refusal classifies what the server refuses. Its texts do not repeat what
// they are about.
func refusal(resp *http.Response, body []byte) error {
	var said struct{ Code, Message string }
	_ = json.Unmarshal(body, &said) // what is no JSON says nothing
	text := said.Message
	if text == "" {
		text = http.StatusText(resp.StatusCode)
	}
	cause := rotator.CauseOther
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		cause = rotator.CauseAuthentication
	case http.StatusForbidden:
		cause = rotator.CausePermission
		if strings.Contains(text, "inactive") {
			cause = rotator.CauseLocked
		}
	case http.StatusBadRequest:
		if strings.Contains(string(body), "HTTP request to an HTTPS server") {
			return rotator.NewFailure(rotator.CauseTLSRequired, "", "the server takes no plain connection", nil)
		}
	case http.StatusTooManyRequests:
		cause = rotator.CauseConnections
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		cause = rotator.CauseUnavailable
	}
	if strings.Contains(strings.ToLower(text), "password") && cause != rotator.CauseAuthentication {
		cause = rotator.CausePolicy
	}
	return rotator.NewFailure(cause, strconv.Itoa(resp.StatusCode), text, nil)
}

// gone tells that something does not exist.
func gone(err error) bool {
	f, ok := errors.AsType[*rotator.Failure](err)
	return ok && f.Code == strconv.Itoa(http.StatusNotFound)
}

// identified is anything with an id and a name.
type identified struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// userID finds a user by name; "" if there is none.
func (s *session) userID(ctx context.Context, name string) (string, error) {
	var found struct{ Users []identified }
	err := s.call(ctx, "GET", "/api/v2/users?name="+url.QueryEscape(name), nil, &found)
	if gone(err) {
		return "", nil
	}
	for _, u := range found.Users {
		if u.Name == name {
			return u.ID, nil
		}
	}
	return "", err
}

func (s *session) setPassword(ctx context.Context, userID string, next plaintext.Value) error {
	return s.call(ctx, "POST", "/api/v2/users/"+url.PathEscape(userID)+"/password", map[string]string{"password": next.RevealText()}, nil)
}

// orgID finds an organization by name.
func (s *session) orgID(ctx context.Context, name string) (string, error) {
	var found struct{ Orgs []identified }
	if err := s.call(ctx, "GET", "/api/v2/orgs?org="+url.QueryEscape(name), nil, &found); err != nil && !gone(err) {
		return "", err
	}
	for _, o := range found.Orgs {
		if o.Name == name {
			return o.ID, nil
		}
	}
	return "", rotator.NewFailure(rotator.CauseDatabase, "", fmt.Sprintf("the organization %s does not exist, or may not be seen", name), nil)
}
