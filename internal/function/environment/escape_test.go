//go:build linux

package environment

import (
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// escape tries to get out of a VPC. Each entry of "got" is what an attempt
// came to: the name of an error, or a breach.
const escape = `import ctypes, errno, mmap, os, platform, socket, struct, subprocess, sys, threading, time
---
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
machine = platform.machine()
x86 = machine == "x86_64"
NR = {"x86_64": {"connect": 42, "ptrace": 101, "sendmmsg": 307, "seccomp": 317}, "aarch64": {"connect": 203, "ptrace": 117, "sendmmsg": 269, "seccomp": 277}}[machine]

def call(nr, *args):
    r = libc.syscall(ctypes.c_long(nr), *args)
    if r < 0:
        raise OSError(ctypes.get_errno(), "")
    return r

got = {}
def attempt(name, f):
    try:
        got[name] = "breach: " + repr(f())
    except OSError as e:
        got[name] = errno.errorcode.get(e.errno) or type(e).__name__
    except Exception as e:
        got[name] = type(e).__name__ + " " + str(e)

def split(at):
    host, port = at.rsplit(":", 1)
    return host, int(port)

def sockaddr(at):
    host, port = split(at)
    return struct.pack("=H", 2) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)

no, ok = event["no"], event["ok"]
where = split(no[0])

attempt("io_uring_setup", lambda: call(425, 8, ctypes.create_string_buffer(256)))
attempt("io_uring_enter", lambda: call(426, 0, 0, 0, 0, 0, 0))
attempt("io_uring_register", lambda: call(427, 0, 0, 0, 0))
def fastopen(how):
    s = socket.socket()
    if how == "sendto": s.sendto(b"x", 0x20000000, where)
    elif how == "sendmsg": s.sendmsg([b"x"], [], 0x20000000, where)
    else:
        s.setsockopt(6, 30, 1) # TCP_FASTOPEN_CONNECT
        s.settimeout(0.5)
        s.connect(where)
        s.sendall(b"x")
        return s.recv(10)
for how in ["sendto", "sendmsg", "connect"]:
    attempt("fast open by " + how, lambda: fastopen(how))
for name, args in {"vsock": (40, 1, 0), "packet": (17, 3, 0), "raw": (2, 3, 6), "raw6": (10, 3, 58), "ping": (2, 2, 1), "sctp": (2, 1, 132),
        "sctp seqpacket": (2, 5, 132), "mptcp": (2, 1, 262), "udplite": (2, 2, 136), "generic netlink": (16, 3, 16), "xdp": (44, 3, 0), "alg": (38, 5, 0),
        "type with flags": (2, 3 | 0o4000 | 0o2000000, 255), "old packet": (2, 10, 768)}.items():
    attempt("socket " + name, lambda: socket.socket(*args))
attempt("socketpair tipc", lambda: socket.socketpair(30, 1, 0))
attempt("ptrace", lambda: call(NR["ptrace"], 0, 0, 0, 0))
attempt("userfaultfd", lambda: call(323 if x86 else 282, 0))
def source_route():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(0, 4, bytes([131, 7, 4]) + socket.inet_aton(where[0]) + b"\0")
attempt("source route", source_route)
attempt("routing header", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).setsockopt(41, 57, bytes(24)))
attempt("zero copy", lambda: socket.socket().setsockopt(1, 60, 1))
def route_by_message():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendmsg([b"x"], [(0, 7, bytes([131, 7, 4]) + socket.inet_aton(where[0]) + b"\0")], 0, split(ok[1]))
attempt("source route by message", route_by_message)
def i386():
    m = mmap.mmap(-1, 4096, prot=7)
    m.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3") # getpid by int 0x80
    f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
    r = f()
    if r < 0: raise OSError(-r, "")
    return r
def x32():
    s = socket.socket(); s.setblocking(False)
    return call(0x40000000 | NR["connect"], s.fileno(), sockaddr(no[0]), 16)
if x86:
    attempt("i386", i386)
    attempt("x32", x32)
def nested():
    # A filter of its own with a listener, to let its calls go on.
    prog = struct.pack("HBBI", 6, 0, 0, 0x7fc00000)
    buf = ctypes.create_string_buffer(prog)
    fprog = struct.pack("HxxxxxxQ", 1, ctypes.addressof(buf))
    return call(NR["seccomp"], 1, 8, ctypes.create_string_buffer(fprog))
attempt("another listener", nested)
def many_messages():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.5)
    name, data = ctypes.create_string_buffer(sockaddr(no[1])), ctypes.create_string_buffer(b"x")
    iov = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(data), 1))
    head = struct.pack("QIxxxxQQQQIxxxxIxxxx", ctypes.addressof(name), 16, ctypes.addressof(iov), 1, 0, 0, 0, 0)
    m = ctypes.create_string_buffer(head * 2)
    assert call(NR["sendmmsg"], s.fileno(), m, 2, 0) == 2
    assert struct.unpack_from("I", m, 56)[0] == 1
    return s.recv(10)
attempt("sendmmsg", many_messages)
def v4_on_v6():
    s = socket.socket(socket.AF_INET6); s.settimeout(0.5)
    s.connect(("::ffff:" + where[0], where[1]))
    return s.recv(10)
attempt("mapped address", v4_on_v6)
def unspecified():
    with socket.create_connection(("0.0.0.0", where[1]), 0.5) as s: return s.recv(10)
attempt("unspecified address", unspecified)
def datagram_of_no_family():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5)
    a = b"\0\0" + sockaddr(no[1])[2:]
    data = ctypes.create_string_buffer(b"x")
    call(44 if x86 else 206, s.fileno(), data, 1, 0, ctypes.create_string_buffer(a), 16)
    return s.recv(10)
attempt("datagram of no family", datagram_of_no_family)
def host_socket():
    s = socket.socket(socket.AF_UNIX); s.connect(event["unix"]); return s.recv(10)
attempt("socket of the host", host_socket)
def abstract():
    s = socket.socket(socket.AF_UNIX); s.connect("\0" + event["abstract"]); return "connected"
attempt("abstract socket", abstract)
def through_child():
    code = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5)"
    p = subprocess.run([sys.executable, "-c", code, where[0], str(where[1])], capture_output=True)
    if p.returncode: raise TimeoutError
attempt("child", through_child)
def namespace():
    if call(272 if x86 else 97, 0x10000000 | 0x40000000) == 0: # unshare: user and network
        s = socket.socket(); s.settimeout(0.5); s.connect(where); return s.recv(10)
attempt("network namespace", namespace)

# One thread connects while others swap the address and the socket.
addr = ctypes.create_string_buffer(sockaddr(ok[0]))
good, bad = sockaddr(ok[0]), sockaddr(no[0])
stop = time.time() + event["seconds"]
counts = [0, 0]
def racing(): # a machine that is busy gets more time
    return time.time() < stop or min(counts) < 50 and time.time() < stop + 40
def swap_address():
    while racing():
        ctypes.memmove(addr, bad, 16); ctypes.memmove(addr, good, 16)
place = os.dup(0)
def swap_socket():
    while racing():
        a, b = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        a.setblocking(False)
        os.dup2(a.fileno(), place); os.dup2(b.fileno(), place)
        a.close(); b.close()
def connects():
    while racing():
        s = socket.socket(); s.setblocking(False)
        libc.connect(s.fileno(), addr, 16)
        counts[0] += 1
        libc.connect(place, addr, 16)
        s.close()
data = ctypes.create_string_buffer(b"x")
iov = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(data), 1))
head = ctypes.create_string_buffer(struct.pack("QIxxxxQQQQIxxxx", ctypes.addressof(addr), 16, ctypes.addressof(iov), 1, 0, 0, 0))
def sends():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    while racing():
        libc.sendto(s.fileno(), data, 1, 0, addr, 16)
        libc.sendmsg(s.fileno(), head, 0)
        counts[1] += 2
threads = [threading.Thread(target=f) for f in (swap_address, swap_socket, connects, sends)]
[t.start() for t in threads]; [t.join() for t in threads]
return {"got": got, "counts": counts}`

func TestEscape(t *testing.T) {
	notShort(t)
	for _, way := range ways() {
		t.Run(way.String(), func(t *testing.T) { testEscape(t, way) })
	}
}

func testEscape(t *testing.T, way confinement) {
	okTCP, okUDP := greeter(t, "127.0.0.1")
	var breaches atomic.Int32
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// The datagrams of the race go to the TCP port's number.
	p, err := net.ListenPacket("udp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); p.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			breaches.Add(1)
			c.Close()
		}
	}()
	go func() {
		for b := make([]byte, 100); ; breaches.Add(1) {
			if _, _, err := p.ReadFrom(b); err != nil {
				return
			}
		}
	}()
	_, abstract := attackedSockets(t)
	k := newKit(t, func(cfg *Config) {
		cfg.confinement, cfg.Egress = way, newRules("tcp "+okTCP, "udp "+okUDP, "udp "+okTCP).egress()
	})
	s := spec(t, py(escape), func(s *Spec) { inVPC(s); s.Timeout = time.Minute })
	no := l.Addr().String()
	result := decode[struct {
		Got    map[string]string
		Counts []int
	}](t, []byte(k.value(s, encodeString(map[string]any{
		"ok": []string{okTCP, okUDP}, "no": []string{no, no}, "unix": hostSocket(t), "abstract": abstract, "seconds": 3,
	}))))
	want := map[string]string{
		"io_uring_setup": "ENOSYS", "io_uring_enter": "ENOSYS", "io_uring_register": "ENOSYS",
		"fast open by sendto": "ENOTSUP", "fast open by sendmsg": "ENOTSUP", "fast open by connect": "TimeoutError",
		"socket vsock": "EAFNOSUPPORT", "socket packet": "EAFNOSUPPORT", "socket raw": "EPERM", "socket raw6": "EPERM",
		"socket ping": "EPROTONOSUPPORT", "socket sctp": "EPROTONOSUPPORT", "socket sctp seqpacket": "EPERM", "socket mptcp": "EPROTONOSUPPORT",
		"socket udplite": "EPROTONOSUPPORT", "socket generic netlink": "EPROTONOSUPPORT", "socket xdp": "EAFNOSUPPORT", "socket alg": "EAFNOSUPPORT",
		"socket type with flags": "EPERM", "socket old packet": "EPERM", "socketpair tipc": "EAFNOSUPPORT",
		"ptrace": "EPERM", "userfaultfd": "EPERM", "source route": "EPERM", "routing header": "EPERM", "zero copy": "EPERM",
		"source route by message": "EINVAL", "i386": "ENOSYS", "x32": "ENOSYS", "another listener": "EBUSY",
		"sendmmsg": "TimeoutError", "mapped address": "TimeoutError", "unspecified address": "TimeoutError",
		"datagram of no family": "TimeoutError", "abstract socket": "ECONNREFUSED", "child": "TimeoutError",
	}
	for name, value := range want {
		if got := result.Got[name]; got != value {
			t.Errorf("%s: got %s, want %s", name, got, value)
		}
	}
	for _, name := range []string{"socket of the host", "network namespace"} {
		if got := result.Got[name]; got == "" || len(got) > 7 && got[:7] == "breach:" {
			t.Errorf("%s: got %s", name, got)
		}
	}
	if n := breaches.Load(); n != 0 {
		t.Errorf("%d connections or datagrams got out", n)
	}
	if result.Counts[0] < 50 || result.Counts[1] < 50 {
		t.Errorf("the race was run only %v times", result.Counts)
	}
	t.Logf("the race was run %v times", result.Counts)
}

// hostSocket is a Unix socket to which everybody may connect.
func hostSocket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "keyturn-host-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeTree(dir) })
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("the host's"))
			c.Close()
		}
	}()
	return name
}
