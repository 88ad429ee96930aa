package pgserver

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Standby starts a second server that copies this one from now on and takes
// no writes: a hot standby by streaming replication. It has the same users,
// passwords and certificate, a temporary folder of its own, and ends by its
// own Close. This server's programs must include pg_basebackup.
func (s *Server) Standby(ctx context.Context) (_ *Server, err error) {
	b := &Server{
		Host: s.Host, Password: s.Password, CAFile: s.CAFile, bin: s.bin, owner: s.owner, tls: s.tls, temporary: true,
	}
	if b.dir, err = os.MkdirTemp("", "keyturn-postgres-"); err != nil {
		return nil, fmt.Errorf("making a folder for PostgreSQL: %w", err)
	}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return nil, fmt.Errorf("opening PostgreSQL's folder: %w", err)
	}
	if err := os.Mkdir(b.data(), 0o700); err != nil {
		return nil, fmt.Errorf("making a folder for PostgreSQL: %w", err)
	}
	if err := b.owner.own(b.data()); err != nil {
		return nil, err
	}
	if err := s.copyTo(ctx, b); err != nil {
		return nil, err
	}
	return b, b.startAnywhere(ctx)
}

// copyTo copies the cluster into a standby's folder and tells it to follow.
func (s *Server) copyTo(ctx context.Context, standby *Server) error {
	source := url.URL{Scheme: "postgres", User: url.User(Superuser), Host: s.Host + ":" + strconv.Itoa(s.Port)}
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "pg_basebackup"), "--dbname", source.String(),
		"--pgdata", standby.data(), "--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast", "--no-sync")
	cmd.Dir = standby.dir
	cmd.Env = append(os.Environ(), "PGPASSWORD="+s.Password)
	cmd.SysProcAttr = s.owner.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("copying a PostgreSQL cluster: %w: %s", err, out)
	}
	return nil
}

// Promote ends a standby's recovery: from now on it takes writes. Call it on
// a standby whose primary is gone.
func (s *Server) Promote(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "pg_ctl"), "promote", "--pgdata", s.data(), "--wait", "--silent")
	cmd.Dir = s.dir
	cmd.SysProcAttr = s.owner.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("promoting a PostgreSQL standby: %w: %s", err, out)
	}
	return nil
}

// Rejoin makes a server that was killed a standby of another, on its old
// port. What it had and the other has not is lost.
func (s *Server) Rejoin(ctx context.Context, primary *Server) error {
	if err := s.stop(); err != nil {
		return err
	}
	if err := os.RemoveAll(s.data()); err != nil {
		return fmt.Errorf("emptying PostgreSQL's folder: %w", err)
	}
	if err := os.Mkdir(s.data(), 0o700); err != nil {
		return fmt.Errorf("making a folder for PostgreSQL: %w", err)
	}
	if err := s.owner.own(s.data()); err != nil {
		return err
	}
	if err := primary.copyTo(ctx, s); err != nil {
		return err
	}
	s.Password = primary.Password
	return s.start(ctx)
}
