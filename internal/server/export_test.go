package server

import "github.com/keyturn/keyturn/internal/authz"

// Keyring lets tests make sessions of any length.
func (s *Server) Keyring() *authz.Keyring { return s.keyring }
