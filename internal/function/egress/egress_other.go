//go:build !linux

package egress

import "errors"

// Probe says that only Linux can hold processes.
func Probe() error { return errors.New("this system is not Linux") }

// ProbeIfAsked does nothing on this system.
func ProbeIfAsked() {}

// Hole is empty on this system.
type Hole struct{}

// NewHole fails: this system cannot hold processes.
func NewHole() (*Hole, error) { return nil, Probe() }

// Close does nothing.
func (*Hole) Close() error { return nil }
