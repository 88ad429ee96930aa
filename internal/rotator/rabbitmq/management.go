package rabbitmq

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
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
	// callLimit is the most that one call of the management API may take.
	callLimit = 10 * time.Second
	// maxAnswer is the longest answer that is read, in bytes.
	maxAnswer = 8 << 20
)

// management is a client of the management API.
type management struct {
	base, user string
	password   plaintext.Value
	http       *http.Client
}

func newManagement(l rotator.Login, port int, secure *tls.Config) *management {
	scheme := "http://"
	if secure != nil {
		scheme = "https://"
	}
	return &management{
		base: scheme + net.JoinHostPort(l.Host, strconv.Itoa(port)) + "/api/", user: l.Username, password: l.Password,
		http: &http.Client{
			// The environment's proxies are not for databases and the like.
			Transport: &http.Transport{TLSClientConfig: secure},
			// A redirection would take the password elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// path makes a path of the API out of its parts, which may hold anything.
func path(parts ...string) string {
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// call calls the API; out may be nil. Errors are *rotator.Failure.
func (m *management) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return rotator.Classify(err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, m.base+path, body)
	if err != nil {
		return rotator.NewFailure(rotator.CauseOther, "", "the secret's host does not make a URL", nil)
	}
	req.SetBasicAuth(m.user, m.password.RevealText())
	req.Header.Set("Content-Type", "application/json")
	resp, err := m.http.Do(req)
	if err != nil {
		return ofManagement(classify(err))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return ofManagement(classify(err))
	}
	if resp.StatusCode/100 != 2 {
		return ofManagement(answered(resp.StatusCode, text))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return rotator.NewFailure(rotator.CauseOther, "", fmt.Sprintf("the management API's answer to %s %s is not the JSON that was expected", method, path), nil)
	}
	return nil
}

// ofManagement says that a failure is not one of AMQP.
func ofManagement(f *rotator.Failure) *rotator.Failure {
	return rotator.NewFailure(f.Cause, f.Code, "management API: "+f.Text, f)
}
