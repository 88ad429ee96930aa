//go:build !linux

package environment

import "github.com/keyturn/keyturn/internal/function/egress"

// guard holds nothing on this system.
type guard struct{}

func (e *environment) guard(launch) *guard { return nil }

func (e *environment) listens(egress.Destination) bool { return false }

func landlockABI() int { return 0 }
