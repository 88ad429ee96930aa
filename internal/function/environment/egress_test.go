//go:build linux

package environment

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/function/egress"
)

// rules are what a test's VPC allows; the rest is dropped.
type rules struct {
	mu    sync.Mutex
	by    map[string]egress.Verdict // by protocol and address: tcp 127.0.0.1:80
	asked map[string]int
}

func newRules(allowed ...string) *rules {
	r := &rules{by: map[string]egress.Verdict{}, asked: map[string]int{}}
	for _, a := range allowed {
		r.by[a] = egress.Allow
	}
	return r
}

func (r *rules) set(to string, v egress.Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by[to] = v
}

func (r *rules) decide(_ context.Context, _ Spec, to egress.Destination) egress.Verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := string(to.Protocol) + " " + to.AddrPort().String()
	r.asked[name]++
	if v, ok := r.by[name]; ok {
		return v
	}
	return egress.Drop
}

// ports allows the ports of all addresses that the rules allow.
func (r *rules) ports(context.Context, Spec) (ports []uint16, all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, v := range r.by {
		if protocol, at, _ := strings.Cut(name, " "); protocol == "tcp" && v == egress.Allow {
			ports = append(ports, netip.MustParseAddrPort(at).Port())
		}
	}
	return ports, false
}

func (r *rules) egress() *Egress { return &Egress{Decide: r.decide, Ports: r.ports} }

// inVPC puts a function into a VPC.
func inVPC(s *Spec) {
	s.VPC = function.VPC{SubnetIDs: []string{"subnet-1"}, SecurityGroupIDs: []string{"sg-1"}, VPCID: "vpc-1"}
}

// greeter answers every TCP connection and every datagram with "hello".
func greeter(t *testing.T, address string) (tcp, udp string) {
	t.Helper()
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", address+":0")
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
			c.Write([]byte("hello"))
			c.Close()
		}
	}()
	go func() {
		b := make([]byte, 2048)
		for {
			_, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			p.WriteTo([]byte("hello"), from)
		}
	}()
	return l.Addr().String(), p.LocalAddr().String()
}

// ways are the confinements that this user has.
func ways() []confinement {
	if os.Geteuid() == 0 {
		return []confinement{rootNamespaces, separateUser}
	}
	return []confinement{userNamespaces, sameUser}
}

// connections tries everything that a Python function does with sockets.
const connections = `import asyncio, errno, json, os, socket, struct, subprocess, sys, threading, time
---
def split(at):
    host, port = at.rsplit(":", 1)
    return host.strip("[]"), int(port)

def name(e):
    return errno.errorcode.get(e.errno, str(e)) if isinstance(e, OSError) and e.errno else type(e).__name__

def attempt(f):
    start = time.time()
    try:
        v = f()
    except BaseException as e:
        v = name(e)
    return v if time.time() - start < 8 else "slow " + str(v)

def tcp(at, timeout=0.5):
    with socket.create_connection(split(at), timeout) as s:
        return s.recv(10).decode()

def blocking(at, seconds=0.3):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, int(seconds * 1e6)))
    s.connect(split(at))
    return s.recv(10).decode()

def udp(at, how):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        if how == "connect":
            s.connect(split(at)); s.send(b"x")
        elif how == "sendto":
            s.sendto(b"x", split(at))
        else:
            s.sendmsg([b"x", b"y"], [], 0, split(at))
        return s.recv(10).decode()

def aio(at):
    async def go():
        r, w = await asyncio.wait_for(asyncio.open_connection(*split(at)), 0.5)
        return (await r.read(10)).decode()
    return asyncio.run(go())

def child(at):
    code = "import socket,sys; h,p=sys.argv[1].rsplit(':',1); s=socket.create_connection((h,int(p)),0.5); print(s.recv(10).decode())"
    p = subprocess.run([sys.executable, "-c", code, at], capture_output=True, text=True)
    return p.stdout.strip() or p.stderr.strip().splitlines()[-1].split(":")[0]

def forked(at):
    r, w = os.pipe()
    if os.fork() == 0:
        os.write(w, str(attempt(lambda: tcp(at))).encode()); os._exit(0)
    os.wait()
    return os.read(r, 100).decode()

def many(at, n):
    got = []
    def one():
        got.append(attempt(lambda: tcp(at, 3)))
    threads = [threading.Thread(target=one) for _ in range(n)]
    [t.start() for t in threads]; [t.join() for t in threads]
    return [got.count("hello"), len(got)]

def own():
    l = socket.create_server(("127.0.0.1", 0))
    c = socket.create_connection(l.getsockname(), 2)
    s, _ = l.accept(); s.sendall(b"mine")
    return c.recv(10).decode()

def unix():
    path = os.environ.get("TMPDIR", "/tmp") + "/socket-of-my-own"
    if os.path.exists(path): os.remove(path)
    l = socket.socket(socket.AF_UNIX); l.bind(path); l.listen()
    c = socket.socket(socket.AF_UNIX); c.connect(path)
    s, _ = l.accept()
    r, w = os.pipe()
    socket.send_fds(s, [b"fd"], [w])
    _, fds, _, _ = socket.recv_fds(c, 10, 1)
    os.write(fds[0], b"passed"); return os.read(r, 10).decode()

def netlink():
    return len(socket.if_nameindex()) > 0

def big():
    a, b = socket.socketpair()
    data = os.urandom(300000)
    def feed():
        rest = memoryview(data)
        while rest:
            rest = rest[a.sendmsg([rest[:1000], rest[1000:]]):]
        a.close()
    t = threading.Thread(target=feed); t.start()
    got = b""
    while chunk := b.recv(65536): got += chunk
    t.join(); return got == data

ok, no, far = event["ok"], event["no"], event["far"]
return {
    "tcp ok": attempt(lambda: tcp(ok[0])), "tcp no": attempt(lambda: tcp(no[0])), "tcp far": attempt(lambda: tcp(far)),
    "blocking ok": attempt(lambda: blocking(ok[0])), "blocking no": attempt(lambda: blocking(no[0])),
    "connect ok": attempt(lambda: udp(ok[1], "connect")), "connect no": attempt(lambda: udp(no[1], "connect")),
    "sendto ok": attempt(lambda: udp(ok[1], "sendto")), "sendto no": attempt(lambda: udp(no[1], "sendto")),
    "sendmsg ok": attempt(lambda: udp(ok[1], "sendmsg")), "sendmsg no": attempt(lambda: udp(no[1], "sendmsg")),
    "asyncio ok": attempt(lambda: aio(ok[0])), "asyncio no": attempt(lambda: aio(no[0])),
    "child ok": attempt(lambda: child(ok[0])), "child no": attempt(lambda: child(no[0])),
    "fork ok": attempt(lambda: forked(ok[0])), "fork no": attempt(lambda: forked(no[0])),
    "many": many(ok[0], 50), "own listener": attempt(own), "unix": attempt(unix), "netlink": attempt(netlink), "big": attempt(big),
    "closed": attempt(lambda: tcp(event["closed"])),
    "resolve": attempt(lambda: socket.getaddrinfo("localhost", 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]),
}`

func TestEgress(t *testing.T) {
	for _, way := range ways() {
		t.Run(way.String(), func(t *testing.T) {
			okTCP, okUDP := greeter(t, "127.0.0.1")
			noTCP, noUDP := greeter(t, "127.0.0.1")
			closed, _ := greeter(t, "127.0.0.1")
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			closed = l.Addr().String()
			r := newRules("tcp "+okTCP, "udp "+okUDP, "tcp "+closed)
			r.set("tcp 198.51.100.7:443", egress.Unreachable)
			k := newKit(t, func(cfg *Config) { cfg.confinement, cfg.Egress = way, r.egress() })
			s := spec(t, py(connections), inVPC)
			s.Timeout = time.Minute
			got := decode[map[string]any](t, []byte(k.value(s, fmt.Sprintf(`{"ok":[%q,%q],"no":[%q,%q],"far":"198.51.100.7:443","closed":%q}`,
				okTCP, okUDP, noTCP, noUDP, closed))))
			want := map[string]string{
				"tcp ok": "hello", "tcp no": "TimeoutError", "tcp far": "ENETUNREACH",
				"blocking ok": "hello", "blocking no": "EINPROGRESS",
				"connect ok": "hello", "connect no": "TimeoutError", "sendto ok": "hello", "sendto no": "TimeoutError",
				"sendmsg ok": "hello", "sendmsg no": "TimeoutError",
				"asyncio ok": "hello", "asyncio no": "TimeoutError", "child ok": "hello", "child no": "TimeoutError",
				"fork ok": "hello", "fork no": "TimeoutError",
				"many": "[50 50]", "own listener": "mine", "unix": "passed", "netlink": "true", "big": "true",
				"closed": "ECONNREFUSED", "resolve": "127.0.0.1",
			}
			for name, value := range want {
				if fmt.Sprint(got[name]) != value {
					t.Errorf("%s: got %v, want %s", name, got[name], value)
				}
			}
			// What the rules say next counts for the next connection.
			r.set("tcp "+noTCP, egress.Allow)
			r.set("tcp "+okTCP, egress.Drop)
			got = decode[map[string]any](t, []byte(k.value(s, fmt.Sprintf(`{"ok":[%q,%q],"no":[%q,%q],"far":"198.51.100.7:443","closed":%q}`,
				okTCP, okUDP, noTCP, noUDP, closed))))
			if got["tcp no"] != "hello" || got["tcp ok"] != "TimeoutError" {
				t.Errorf("after the change: got %v and %v, want hello and TimeoutError", got["tcp no"], got["tcp ok"])
			}
		})
	}
}
