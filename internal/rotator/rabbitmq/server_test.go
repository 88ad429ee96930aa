package rabbitmq_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

const (
	adminPassword = "admin-Password-1"
	firstPassword = "first-Password-1"
)

// server is a real RabbitMQ with plain and TLS ports.
type server struct {
	rotatortest.Daemon
	dir                                             string
	amqp, amqps, management, secureMgmt, epmd, dist int
	cert                                            *rotatortest.Certificate
}

// program is Debian's, past a wrapper that only its own user may call.
func program(t testing.TB) string {
	const debian = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	if _, err := os.Stat(debian); err == nil {
		return debian
	}
	path, err := exec.LookPath("rabbitmq-server")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts a server. Erlang's port mapper is the test's own, too.
func start(t testing.TB, settings string) *server {
	t.Helper()
	s := &server{dir: t.TempDir(), cert: rotatortest.NewCertificate(t, "127.0.0.1", "localhost")}
	for _, port := range []*int{&s.amqp, &s.amqps, &s.management, &s.secureMgmt, &s.epmd, &s.dist} {
		*port = rotatortest.FreePort(t)
	}
	mapper := &rotatortest.Daemon{
		Command: func() *exec.Cmd {
			return exec.Command("epmd", "-address", "127.0.0.1", "-port", strconv.Itoa(s.epmd))
		},
		Ready: func(context.Context) error { return reach(s.epmd) },
	}
	mapper.Start(t)
	s.write(t, "plugins", "[rabbitmq_management].")
	s.write(t, "rabbitmq.conf", fmt.Sprintf(`listeners.tcp.1 = 127.0.0.1:%d
listeners.ssl.1 = 127.0.0.1:%d
ssl_options.certfile = %s
ssl_options.keyfile = %s
ssl_options.verify = verify_none
management.tcp.ip = 127.0.0.1
management.tcp.port = %d
management.ssl.ip = 127.0.0.1
management.ssl.port = %d
management.ssl.certfile = %[3]s
management.ssl.keyfile = %[4]s
loopback_users = none
default_user = admin
default_pass = %[7]s
%[8]s
`, s.amqp, s.amqps, s.cert.CertFile, s.cert.KeyFile, s.management, s.secureMgmt, adminPassword, settings))
	path := program(t)
	s.Command = func() *exec.Cmd { return s.command(path) }
	s.Ready = func(ctx context.Context) error {
		if err := reach(s.amqps); err != nil {
			return err
		}
		_, err := s.api(ctx, "GET", "/whoami", nil)
		return err
	}
	s.Start(t)
	return s
}

// command makes the process. As a service it replaces its shell, so that the
// signal for the death of the test reaches the server itself.
func (s *server) command(path string) *exec.Cmd {
	cmd := exec.Command(path)
	cmd.Dir = s.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "LC_ALL=C.UTF-8", "RUNNING_UNDER_SYSTEMD=true", "RABBITMQ_NODENAME=keyturn@localhost",
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(s.dir, "mnesia"), "RABBITMQ_LOG_BASE=" + filepath.Join(s.dir, "log"), "RABBITMQ_LOGS=-",
		"RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_CONFIG_FILE=" + filepath.Join(s.dir, "rabbitmq.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(s.dir, "plugins"), "RABBITMQ_DIST_PORT=" + strconv.Itoa(s.dist),
		"ERL_EPMD_PORT=" + strconv.Itoa(s.epmd), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
	}
	return cmd
}

func reach(port int) error {
	conn, err := net.DialTimeout("tcp", address(port), time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (s *server) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// api calls the management API as the administrator.
func (s *server) api(ctx context.Context, method, path string, in any) ([]byte, error) {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+address(s.management)+"/api"+path, &body)
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth("admin", adminPassword)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return text, err
}

func (s *server) must(t testing.TB, method, path string, in any) {
	t.Helper()
	if _, err := s.api(context.WithoutCancel(t.Context()), method, path, in); err != nil {
		t.Fatal(err)
	}
}

func esc(s string) string { return url.PathEscape(s) }

// login logs in over AMQP, past every proxy.
func (s *server) login(encrypted bool, user, password, vhost string) error {
	cfg := amqp.Config{SASL: []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}, Vhost: vhost}
	to := "amqp://" + address(s.amqp)
	if encrypted {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(s.cert.Authority))
		cfg.TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
		to = "amqps://" + address(s.amqps)
	}
	conn, err := amqp.DialConfig(to, cfg)
	if err != nil {
		return err
	}
	return conn.Close()
}

// grants are what a user may do and is, without name and password.
func (s *server) grants(ctx context.Context, name string) (string, error) {
	var all []string
	for _, kind := range []string{"", "/permissions", "/topic-permissions"} {
		text, err := s.api(ctx, "GET", "/users/"+esc(name)+kind, nil)
		if err != nil {
			return "", err
		}
		var list []map[string]any
		if kind == "" {
			list = make([]map[string]any, 1)
			err = json.Unmarshal(text, &list[0])
		} else {
			err = json.Unmarshal(text, &list)
		}
		if err != nil {
			return "", err
		}
		var lines []string
		for _, one := range list {
			for _, member := range []string{"name", "user", "password_hash"} {
				delete(one, member)
			}
			line, err := json.Marshal(one)
			if err != nil {
				return "", err
			}
			lines = append(lines, kind+string(line))
		}
		slices.Sort(lines)
		all = append(all, lines...)
	}
	return strings.Join(all, "\n"), nil
}
