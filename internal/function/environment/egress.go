package environment

import (
	"context"
	"net/netip"
	"slices"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function/egress"
)

// Egress says where functions in a VPC may connect to. Both functions are
// called from several goroutines.
type Egress struct {
	// Decide judges one connection or datagram.
	Decide func(ctx context.Context, spec Spec, to egress.Destination) egress.Verdict
	// Ports lists the TCP ports to which a function may connect at all, for
	// hosts that can tell no addresses apart; all means every port.
	Ports func(ctx context.Context, spec Spec) (ports []uint16, all bool)
}

// ServiceURL is where functions find one service. Service is its name in
// AWS_ENDPOINT_URL_….
type ServiceURL struct{ Service, URL string }

// HeldBy is how a host holds functions to what their VPC allows.
type HeldBy string

// The ways, from the finest down.
const (
	// HeldByAddress decides about every connection by its address.
	HeldByAddress HeldBy = "addresses"
	// HeldByPort lets functions connect to some TCP ports of whatever address
	// and refuses the others at once with EACCES. UDP is not held.
	HeldByPort HeldBy = "ports"
	// NotHeld means that a function in a VPC could reach everything.
	NotHeld HeldBy = ""
)

// landlockConnect is the version of Landlock's interface from which it
// withholds TCP connections by port.
const landlockConnect = 4

// ProbeEgress asks this host how it can hold functions to their VPC. The
// error says why not better. Main must have called LaunchIfAsked.
func ProbeEgress() (HeldBy, error) {
	err := egress.Probe()
	switch {
	case err == nil:
		return HeldByAddress, nil
	case landlockABI() >= landlockConnect:
		return HeldByPort, err
	}
	return NotHeld, err
}

// probeEgress fills in how functions are held.
func (c *HostCapability) probeEgress(cfg Config) {
	if cfg.Egress == nil {
		return
	}
	var err error
	if c.Egress, err = cfg.heldBy, nil; cfg.heldBy == NotHeld {
		c.Egress, err = ProbeEgress()
	}
	reason := ""
	if err != nil {
		reason = " (" + err.Error() + ")"
	}
	switch c.Egress {
	case HeldByPort:
		c.Missing = append(c.Missing, "no seccomp notifications"+reason+": functions in a VPC are held by TCP port only, "+
			"refused connections fail at once and UDP is not held")
	case NotHeld:
		c.Missing = append(c.Missing, "no seccomp notifications"+reason+" and no Landlock of version 4: functions in a VPC cannot be held to it and do not run")
	}
}

// held reports whether the function's connections are to be held.
func (e *environment) held() bool { return e.pool.cfg.Egress != nil && e.spec.VPC.Attached() }

// admitsVPC refuses a function in a VPC where nothing would hold it.
func (e *environment) admitsVPC() error {
	if !e.held() || e.host.capability.Egress != NotHeld {
		return nil
	}
	return fault.New(fault.Parameter, "The function is in a VPC, and this host cannot hold it to what the VPC allows.").For(e.spec.FunctionARN)
}

// decide judges a connection of the environment's processes. Their way to the
// Runtime API and to one another does not lead through the VPC (AWS docs).
func (e *environment) decide(ctx context.Context, to egress.Destination) egress.Verdict {
	if to.Protocol == egress.TCP && to.AddrPort() == e.api.addrPort() {
		return egress.Allow
	}
	v := e.pool.cfg.Egress.Decide(ctx, e.spec, to)
	if v != egress.Allow && to.Address.IsLoopback() && e.listens(to) {
		return egress.Allow
	}
	return v
}

// addrPort is the Runtime API's address.
func (api *runtimeAPI) addrPort() netip.AddrPort {
	at, _ := netip.ParseAddrPort(api.address()) // the listener's own words
	return at
}

// hold says in the plan how the process is to be held.
func (e *environment) hold(plan *launch) {
	e.ports = nil
	if !e.held() {
		return
	}
	plan.Guard = e.host.capability.Egress == HeldByAddress
	if plan.HoldTCP = true; plan.Guard {
		return // connections are made by the guard, so none is left to the process
	}
	e.ports = e.allowedPorts()
	if e.ports.all {
		plan.HoldTCP = false
		return
	}
	plan.Ports = append(slices.Clone(e.ports.list), e.api.addrPort().Port())
}

// allowed is what Egress.Ports answered.
type allowed struct {
	list []uint16
	all  bool
}

func (e *environment) allowedPorts() *allowed {
	list, all := e.pool.cfg.Egress.Ports(e.pool.alive, e.spec)
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	return &allowed{list, all}
}

// outdatedPorts reports whether the process is held by ports that are no
// longer the right ones: then it must be started anew.
func (e *environment) outdatedPorts() bool {
	if e.ports == nil {
		return false
	}
	now := e.allowedPorts()
	return now.all != e.ports.all || !slices.Equal(now.list, e.ports.list)
}
