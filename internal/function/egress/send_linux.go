package egress

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const (
	// maxData bounds what one call sends of a stream.
	maxData = 1 << 20
	// maxParts and maxControl are the kernel's own bounds of a message
	// (UIO_MAXIOV; sysctl net.core.optmem_max is of this order).
	maxParts   = 1024
	maxControl = 1 << 16
	// The sizes of struct msghdr, of struct mmsghdr and of struct iovec.
	sizeHeader      = 56
	sizeManyHeader  = 64
	offsetSent      = 56
	sizePart        = 16
	zeroCopy        = unix.MSG_ZEROCOPY
	flagsOfOurOwn   = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	controlTLS      = 282 // SOL_TLS (linux/socket.h)
	controlSegments = unix.UDP_SEGMENT
)

// message is a copy of what is to be sent.
type message struct {
	name, data, control []byte
	// whole is how much there was; data may be less.
	whole uint64
}

// sendto carries out sendto(2) with an address.
func (c *call) sendto() (result, bool) {
	var m message
	var errno unix.Errno
	if m.name, errno = c.address(c.n.args[4], c.n.args[5]); errno != 0 {
		return failed(errno)
	}
	m.whole = c.n.args[2]
	if m.data, errno = c.read(c.n.args[1], min(m.whole, maxData)); errno != 0 {
		return failed(errno)
	}
	return c.send(&m, int(int32(c.n.args[3])))
}

// sendmsg carries out sendmsg(2).
func (c *call) sendmsg() (result, bool) {
	m, errno := c.message(c.n.args[1])
	if errno != 0 {
		return failed(errno)
	}
	return c.send(m, int(int32(c.n.args[2])))
}

// sendmmsg carries out sendmmsg(2): it stops at the first message that cannot
// be sent at once, and fails only if that is the first.
func (c *call) sendmmsg() (result, bool) {
	count := min(c.n.args[2]&0xffffffff, maxParts)
	for i := range count {
		at := c.n.args[1] + i*sizeManyHeader
		m, errno := c.message(at)
		r, done := result{-1, errno}, true
		if errno == 0 {
			r, done = c.send(m, int(int32(c.n.args[3])))
		}
		if done && r.errno == 0 {
			r.errno = c.write(at+offsetSent, binary.NativeEndian.AppendUint32(nil, uint32(r.value)))
		}
		if done && r.errno == 0 {
			continue
		}
		if i == 0 {
			return r, done
		}
		return result{value: int64(i)}, true
	}
	return result{value: int64(count)}, true
}

// message copies a message. Every part of the caller's memory is read once.
func (c *call) message(at uint64) (*message, unix.Errno) {
	header, errno := c.read(at, sizeHeader)
	if errno != 0 {
		return nil, errno
	}
	word := func(offset int) uint64 { return binary.NativeEndian.Uint64(header[offset:]) }
	m := &message{}
	if name := word(0); name != 0 {
		// The kernel, too, takes the first bytes of a name that is too long.
		length := binary.NativeEndian.Uint32(header[8:])
		if int32(length) < 0 {
			return nil, unix.EINVAL
		}
		if m.name, errno = c.read(name, uint64(min(length, maxAddress))); errno != 0 {
			return nil, errno
		}
	}
	count, size := word(24), word(40)
	if count > maxParts {
		return nil, unix.EMSGSIZE
	}
	if size > maxControl {
		return nil, unix.ENOBUFS
	}
	if word(32) != 0 {
		if m.control, errno = c.read(word(32), size); errno != 0 {
			return nil, errno
		}
	}
	parts, errno := c.read(word(16), count*sizePart)
	if errno != 0 {
		return nil, errno
	}
	for ; len(parts) > 0; parts = parts[sizePart:] {
		address, length := binary.NativeEndian.Uint64(parts), binary.NativeEndian.Uint64(parts[8:])
		if length >= 1<<63 {
			return nil, unix.EINVAL
		}
		part, errno := c.read(address, min(length, maxData-uint64(len(m.data))))
		if errno != 0 {
			return nil, errno
		}
		m.data = append(m.data, part...)
		m.whole += length
	}
	return m, 0
}

// send sends a message through the caller's socket.
func (c *call) send(m *message, flags int) (result, bool) {
	stream := c.kind == unix.SOCK_STREAM
	if m.whole > uint64(len(m.data)) && !stream {
		return failed(unix.EMSGSIZE)
	}
	var to unix.Sockaddr
	var control []byte
	switch c.domain {
	case unix.AF_INET, unix.AF_INET6:
		var errno unix.Errno
		if control, errno = inetControl(m.control, stream); errno != 0 {
			return failed(errno)
		}
		if stream {
			break // connections have their destination
		}
		lost, errno := c.aim(m, &to)
		if errno != 0 {
			return failed(errno)
		}
		if lost {
			c.acted = true
			return result{value: int64(len(m.data))}, true
		}
	case unix.AF_NETLINK:
		if familyOf(m.name) == unix.AF_NETLINK && len(m.name) >= 12 {
			to = netlinkAddress(m.name)
		}
	case unix.AF_UNIX:
		return c.sendUnix(m, flags)
	}
	return c.deliver(m.data, control, to, flags)
}

// aim finds where a datagram goes; lost ones go nowhere.
func (c *call) aim(m *message, to *unix.Sockaddr) (lost bool, errno unix.Errno) {
	if len(m.name) == 0 {
		return false, 0
	}
	family := familyOf(m.name)
	if family == unix.AF_UNSPEC {
		// For one family the kernel takes this as an address, for the other
		// as none.
		if c.domain == unix.AF_INET6 {
			return false, 0
		}
		family = unix.AF_INET
	}
	place, scope, errno := parseInet(m.name, family)
	if errno != 0 {
		return false, errno
	}
	if c.domain == unix.AF_INET && place.Addr().Is6() {
		return false, unix.EAFNOSUPPORT
	}
	switch c.judge(c.destination(place)) {
	case Allow:
		*to = c.sockaddr(place, scope)
		return false, 0
	case Drop:
		return true, 0
	}
	return false, unix.ENETUNREACH
}

// deliver sends without waiting. A blocking caller waits by further attempts.
func (c *call) deliver(data, control []byte, to unix.Sockaddr, flags int) (result, bool) {
	n, err := unix.SendmsgN(c.socket, data, control, to, flags&^zeroCopy|flagsOfOurOwn)
	if err == unix.EAGAIN && !c.nonblock && flags&unix.MSG_DONTWAIT == 0 {
		return c.expire()
	}
	c.acted = true
	return resultOf(n, err), true
}

// inetControl keeps of the control messages those that change nothing of
// where a message goes. Others the caller might not be allowed to send, but
// this process is.
func inetControl(control []byte, stream bool) ([]byte, unix.Errno) {
	if len(control) == 0 {
		return nil, 0
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, unix.EINVAL
	}
	for _, m := range messages {
		level, kind := int(m.Header.Level), int(m.Header.Type)
		ok := false
		switch {
		case stream:
			ok = level == controlTLS
		case level == unix.IPPROTO_UDP:
			ok = kind == controlSegments
		case level == unix.IPPROTO_IP:
			ok = kind == unix.IP_PKTINFO || kind == unix.IP_TOS || kind == unix.IP_TTL
		case level == unix.IPPROTO_IPV6:
			ok = kind == unix.IPV6_PKTINFO || kind == unix.IPV6_TCLASS || kind == unix.IPV6_HOPLIMIT
		}
		if !ok {
			return nil, unix.EINVAL
		}
	}
	return control, 0
}
