// Package egress holds processes to the connections that somebody else allows
// them, address by address.
//
// A process that is to be held installs a seccomp filter (see Restrict), which
// its children inherit and nobody can take off. From then on the calls that
// name an address (connect, sendto, sendmsg and sendmmsg), and listen, are not
// carried out by the kernel but handed to a Guard in another process. The Guard copies the
// address and the data, asks whether the destination is allowed, and carries
// the call out itself on a duplicate of the caller's socket. What was judged is
// so exactly what happens: the caller cannot swap an address, a descriptor or
// a message after it was looked at, and no call is ever let through to the
// kernel on the strength of what its memory held before.
//
// A connection that is dropped behaves as one whose packets are lost. The
// socket is connected to a listener on loopback whose queue is full, so that
// the kernel itself sends SYN after SYN: blocking calls hang and sockets that
// do not block never become writable, until the caller's own timeout or the
// kernel's (ETIMEDOUT after about two minutes). Datagrams go to a socket that
// nobody reads.
//
// Everything else that could lead out is shut: other families of sockets than
// Unix, IP and route netlink, raw sockets, other transports than TCP and UDP,
// TCP Fast Open, source routes, io_uring, ptrace, userfaultfd and system calls
// of other architectures.
//
// # Known limits
//
// Sockets that were connected before a rule changed stay connected. TCP
// sockets may listen on loopback alone (EACCES otherwise), where any process of
// the host that is not held reaches them and could pass on what they send;
// datagrams from elsewhere reach unconnected UDP sockets, whose answers are
// judged. Peers on Unix sockets see the credentials of the Guard's process.
// The abstract namespace of Unix sockets is shut, and a
// Unix socket in the file system can be reached only if the caller's user made
// it. sendmsg may send less than a blocking caller asked for, never more than
// 1 MiB at once. Sending on a closed connection gives EPIPE without SIGPIPE. A
// signal in the microseconds before the Guard takes a call gives EINTR with
// nothing done, unless its handler has calls restarted.
package egress

import (
	"context"
	"net/netip"
)

// Protocol is a transport protocol.
type Protocol string

// The protocols that processes under a filter have.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// Destination is where a process wants to send to.
type Destination struct {
	// Address is never an IPv4 address in IPv6 form, has no zone, and is the
	// loopback address where the process gave the unspecified one.
	Address  netip.Addr
	Port     uint16
	Protocol Protocol
}

// AddrPort returns the address with the port.
func (d Destination) AddrPort() netip.AddrPort { return netip.AddrPortFrom(d.Address, d.Port) }

// Verdict is what becomes of a call.
type Verdict int

// The verdicts.
const (
	// Allow carries the call out.
	Allow Verdict = iota
	// Drop loses the packets: TCP hangs, datagrams vanish.
	Drop
	// Unreachable refuses the call at once with ENETUNREACH.
	Unreachable
)

// Decide says what becomes of a call. It is called from several goroutines
// and must return soon after ctx has ended. A UDP socket that is connected is
// asked about even if nothing is ever sent on it, as resolvers do.
type Decide func(ctx context.Context, to Destination) Verdict
