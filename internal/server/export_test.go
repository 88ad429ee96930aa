package server

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/integrity"
)

// Keyring lets tests make sessions of any length.
func (s *Server) Keyring() *authz.Keyring { return s.keyring }

// Handler lets benchmarks ask without a network.
func (s *Server) Handler() http.Handler { return s.outer.http.Handler }

// Tidy lets tests remove what is past its retention at any time.
func (s *Server) Tidy(ctx context.Context, now time.Time) error {
	r := &s.cfg.Retention
	return errors.Join(s.recorder.Prune(before(now, r.TrailAge), r.TrailBytes, s.seals.Segments), s.tidy(ctx, now))
}

// VerifyTrail verifies the seals of all that the server recorded.
func (s *Server) VerifyTrail(ctx context.Context) (*integrity.Report, error) {
	return integrity.Verify(ctx, s.store, s.seals, filepath.Join(s.cfg.Dir, "trail"), s.node)
}

// SealTrail seals what is there now.
func (s *Server) SealTrail(ctx context.Context, now time.Time) error {
	return errors.Join(s.integrity.Pass(ctx, now), s.integrity.Pass(ctx, now.Add(time.Second)))
}
