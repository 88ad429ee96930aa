package server

import (
	"net/http"

	"github.com/keyturn/keyturn/internal/authz"
)

// Keyring lets tests make sessions of any length.
func (s *Server) Keyring() *authz.Keyring { return s.keyring }

// Handler lets benchmarks ask without a network.
func (s *Server) Handler() http.Handler { return s.outer.http.Handler }
