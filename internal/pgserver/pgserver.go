// Package pgserver runs a private PostgreSQL server in a temporary folder:
// for the demo, and for tests that need a real database.
//
// The server listens on a loopback port, knows passwords as SCRAM-SHA-256
// only, and ends with the process that started it, also when that is
// killed. It serves nobody's lasting data: unless asked otherwise it does
// not wait for the disk.
package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Superuser is the role that owns the server.
const Superuser = "postgres"

// Config says how the server is to run.
type Config struct {
	// Dir is the folder for its files; "" makes a temporary one that Close
	// removes. When this process is root every folder above Dir must be
	// open to the unprivileged user that the server runs as.
	Dir string
	// TLS turns TLS on, and plain connections off, with a certificate of a
	// certification authority made for this server.
	TLS bool
	// Durable makes commits wait for the disk.
	Durable bool
	// Settings are further lines of postgresql.conf.
	Settings map[string]string
	// Access are the lines of pg_hba.conf; none lets everybody in from
	// loopback by password, with TLS encrypted only.
	Access []string
	// Bin is the folder of the server's programs; "" finds the newest that is
	// installed.
	Bin string
}

// Server is a running PostgreSQL server.
type Server struct {
	// Host and Port are where it listens.
	Host string
	Port int
	// Password is the superuser's.
	Password string
	// CAFile is the certificate of the authority that signed the server's;
	// "" without TLS.
	CAFile string

	dir       string
	temporary bool
	bin       string
	owner     *owner
	tls       bool
	process   *process
}

// ErrMissing tells that no PostgreSQL is installed.
var ErrMissing = errors.New("no PostgreSQL 13 or newer is installed: run: apt-get install postgresql")

// startAttempts bounds how often Start tries another port when the one that
// it chose was taken in between.
const startAttempts = 3

// Start makes a database cluster and starts a server on it. The server
// accepts connections when Start returns. ctx bounds the start only.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	bin, err := cfg.Bin, error(nil)
	if bin == "" {
		bin, err = findBinaries()
	}
	if err != nil {
		return nil, err
	}
	who, err := findOwner()
	if err != nil {
		return nil, err
	}
	s := &Server{Host: "127.0.0.1", Password: rand.Text(), dir: cfg.Dir, bin: bin, owner: who, tls: cfg.TLS}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "keyturn-postgres-"); err != nil {
			return nil, fmt.Errorf("making a folder for PostgreSQL: %w", err)
		}
		s.temporary = true
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.initialise(ctx, cfg); err != nil {
		return nil, err
	}
	return s, s.startAnywhere(ctx)
}

// startAnywhere starts the server on a free port.
func (s *Server) startAnywhere(ctx context.Context) (err error) {
	for range startAttempts {
		if s.Port, err = freePort(); err != nil {
			return err
		}
		if err = s.start(ctx); !errors.Is(err, errPortTaken) {
			break
		}
	}
	return err
}

// findBinaries returns the folder of the newest PostgreSQL, in the places
// where Debian and Red Hat install it, or the one in PATH.
func findBinaries() (string, error) {
	best, version := "", 12
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb"} {
		found, _ := filepath.Glob(pattern)
		for _, path := range found {
			bin := filepath.Dir(path)
			n, _ := strconv.Atoi(strings.TrimPrefix(filepath.Base(filepath.Dir(bin)), "pgsql-"))
			if n > version {
				best, version = bin, n
			}
		}
	}
	if best != "" {
		return best, nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", ErrMissing
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a port for PostgreSQL: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// initialise makes the cluster.
func (s *Server) initialise(ctx context.Context, cfg Config) error {
	if err := os.MkdirAll(s.data(), 0o700); err != nil {
		return fmt.Errorf("making a folder for PostgreSQL: %w", err)
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return fmt.Errorf("opening PostgreSQL's folder: %w", err)
	}
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(s.Password+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing PostgreSQL's password: %w", err)
	}
	defer os.Remove(password)
	for _, path := range []string{s.data(), password} {
		if err := s.owner.own(path); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), "--pgdata", s.data(), "--username", Superuser,
		"--auth", "scram-sha-256", "--pwfile", password, "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	cmd.Dir = s.dir
	cmd.SysProcAttr = s.owner.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making a PostgreSQL cluster: %w: %s", err, out)
	}
	return s.configure(cfg)
}

// configure writes the settings and the access rules.
func (s *Server) configure(cfg Config) error {
	settings := map[string]string{
		"listen_addresses":           "127.0.0.1",
		"unix_socket_directories":    "",
		"password_encryption":        "scram-sha-256",
		"max_connections":            "200",
		"dynamic_shared_memory_type": "mmap",
		"log_destination":            "stderr",
		"logging_collector":          "off",
		"lc_messages":                "C",
	}
	if !cfg.Durable {
		settings["fsync"], settings["synchronous_commit"], settings["full_page_writes"] = "off", "off", "off"
	}
	kind := "host"
	if cfg.TLS {
		kind = "hostssl"
		if err := s.certify(); err != nil {
			return err
		}
		settings["ssl"], settings["ssl_cert_file"], settings["ssl_key_file"] = "on", certName, keyName
	}
	for name, value := range cfg.Settings {
		settings[name] = value
	}
	var text strings.Builder
	for name, value := range settings {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(value, "'", "''"))
	}
	access := cfg.Access
	if access == nil {
		access = []string{kind + " all all 127.0.0.1/32 scram-sha-256"}
	}
	// A standby copies the data as the superuser.
	access = append([]string{"host replication " + Superuser + " 127.0.0.1/32 scram-sha-256"}, access...)
	for name, content := range map[string]string{
		"postgresql.auto.conf": text.String(), "pg_hba.conf": strings.Join(access, "\n") + "\n",
	} {
		if err := s.write(name, content); err != nil {
			return err
		}
	}
	return nil
}

// write makes a file in the cluster that only the server may read.
func (s *Server) write(name, content string) error {
	path := filepath.Join(s.data(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("configuring PostgreSQL: %w", err)
	}
	return s.owner.own(path)
}

// URL returns the address of a database for a user: with TLS, one that
// verifies the server's certificate.
func (s *Server) URL(user, password, database string) string {
	u := url.URL{
		Scheme: "postgres",
		User:   url.UserPassword(user, password),
		Host:   net.JoinHostPort(s.Host, strconv.Itoa(s.Port)),
		Path:   "/" + database,
	}
	q := url.Values{"sslmode": {"disable"}}
	if s.tls {
		q = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {s.CAFile}}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// AdminURL is the superuser's URL of the database postgres.
func (s *Server) AdminURL() string { return s.URL(Superuser, s.Password, "postgres") }

// Restart stops the server in an orderly way, or starts a killed one, on
// the same port with the same data.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.stop(); err != nil {
		return err
	}
	return s.start(ctx)
}

// Log returns the last lines that the server wrote since it started.
func (s *Server) Log() string {
	if s.process == nil {
		return ""
	}
	return s.process.tail()
}

// Kill ends the server at once, as a crash does. Restart brings it back.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	err := s.process.kill()
	s.process = nil
	return err
}

// Close stops the server and removes its folder if that was temporary.
func (s *Server) Close() error {
	err := s.stop()
	if s.temporary {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// Times of starting and stopping.
const (
	startWithin = 60 * time.Second
	stopWithin  = 10 * time.Second
)

func (s *Server) start(ctx context.Context) error {
	p, err := startProcess(filepath.Join(s.bin, "postgres"), s.owner, s.dir,
		"-D", s.data(), "-p", strconv.Itoa(s.Port))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := p.ready(ctx); err != nil {
		return errors.Join(err, p.kill())
	}
	s.process = p
	return nil
}

func (s *Server) stop() error {
	if s.process == nil {
		return nil
	}
	err := s.process.stop(stopWithin)
	s.process = nil
	return err
}
