//go:build !unix

package environment

import (
	"errors"
	"net"
)

// LaunchIfAsked does nothing on this system: functions cannot run on it.
func LaunchIfAsked() {}

func start(confinement, launch, func([]byte), *guard) (*process, error) {
	return nil, errors.New("functions run on Linux and other Unix systems only")
}

// pump has nothing to move on this system.
type pump struct{}

func (p *pump) flush() {}

func (p *process) memory() memoryUse { return memoryUse{} }

func (p *process) speaks(net.Conn, int) bool { return false }

func probeHost(Config) HostCapability {
	return HostCapability{confinement: sameUser, unsafe: true, Missing: []string{"functions cannot run on this system"}}
}
