//go:build linux

package environment

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/keyturn/keyturn/internal/fault"
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

def tcp(at, timeout=1.5):
    with socket.create_connection(split(at), timeout) as s:
        return s.recv(10).decode()

def blocking(at, seconds=0.3):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, int(seconds * 1e6)))
    s.connect(split(at))
    return s.recv(10).decode()

def udp(at, how):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1.5)
        if how == "connect":
            s.connect(split(at)); s.send(b"x")
        elif how == "sendto":
            s.sendto(b"x", split(at))
        else:
            s.sendmsg([b"x", b"y"], [], 0, split(at))
        return s.recv(10).decode()

def aio(at):
    async def go():
        r, w = await asyncio.wait_for(asyncio.open_connection(*split(at)), 1.5)
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

def doors():
    def at(*address):
        s = socket.socket()
        if address: s.bind(address)
        s.listen()
    return [attempt(lambda: at("0.0.0.0", 0)), attempt(at), attempt(lambda: at("127.0.0.1", 0))]

def unix():
    path = os.environ.get("TMPDIR", "/tmp") + "/socket-of-my-own"
    if len(path) > 100:
        os.chdir(os.path.dirname(path)); path = "socket-of-my-own"
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
    "many": many(ok[0], 50), "own listener": attempt(own), "listeners": doors(), "unix": attempt(unix), "netlink": attempt(netlink), "big": attempt(big),
    "closed": attempt(lambda: tcp(event["closed"])),
    "resolve": attempt(lambda: socket.getaddrinfo("localhost", 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]),
}`

// unheard is an address that refuses connections. Its port is taken for the
// whole test: a closed listener's could be given to somebody who answers.
func unheard(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

func TestEgress(t *testing.T) {
	t.Parallel()
	for _, way := range ways() {
		t.Run(way.String(), func(t *testing.T) {
			t.Parallel()
			okTCP, okUDP := greeter(t, "127.0.0.1")
			noTCP, noUDP := greeter(t, "127.0.0.1")
			closed := unheard(t)
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
				"many": "[50 50]", "own listener": "mine", "listeners": "[EACCES EACCES <nil>]", "unix": "passed", "netlink": "true", "big": "true",
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
			short := spec(t, py(shortConnections), inVPC)
			for range 2 {
				r.set("tcp "+noTCP, egress.Allow)
				r.set("tcp "+okTCP, egress.Drop)
				if got := k.value(short, encodeString([]string{noTCP, okTCP})); got != `["hello", "timed out"]` {
					t.Errorf("after the change: got %s", got)
				}
				r.set("tcp "+noTCP, egress.Drop)
				r.set("tcp "+okTCP, egress.Allow)
				if got := k.value(short, encodeString([]string{noTCP, okTCP})); got != `["timed out", "hello"]` {
					t.Errorf("after the change back: got %s", got)
				}
			}
		})
	}
}

// shortConnections connects to addresses one after the other.
const shortConnections = `import socket
---
def tcp(at):
    host, port = at.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), 1) as s:
            return s.recv(10).decode()
    except OSError as e:
        return str(e)
return [tcp(at) for at in event]`

func encodeString(v any) string { return string(encode(v)) }

// Without a VPC, and without Egress, nothing is held.
func TestEgressWithoutVPC(t *testing.T) {
	t.Parallel()
	at, _ := greeter(t, "127.0.0.1")
	r := newRules()
	k := newKit(t, func(cfg *Config) { cfg.Egress = r.egress() })
	if got := k.value(spec(t, py(shortConnections), nil), encodeString([]string{at})); got != `["hello"]` {
		t.Errorf("without a VPC: got %s", got)
	}
	if len(r.asked) > 0 {
		t.Errorf("the rules were asked for %v", r.asked)
	}
	k = newKit(t, nil)
	if got := k.value(spec(t, py(shortConnections), inVPC), encodeString([]string{at})); got != `["hello"]` {
		t.Errorf("in a VPC that is not enforced: got %s", got)
	}
}

// A Go function waits for connections with epoll on sockets that do not
// block, from many threads that are interrupted all the time.
func TestEgressGo(t *testing.T) {
	t.Parallel()
	okTCP, okUDP := greeter(t, "127.0.0.1")
	noTCP, noUDP := greeter(t, "127.0.0.1")
	r := newRules("tcp "+okTCP, "udp "+okUDP)
	k := newKit(t, func(cfg *Config) { cfg.Egress = r.egress() })
	s := spec(t, buildProvided(t, "dialer"), func(s *Spec) { provided(s); inVPC(s); s.Timeout = 3 * time.Minute })
	type count struct{ Hello, Timeout, Other int }
	const times = 100
	got := decode[map[string]count](t, []byte(k.value(s, encodeString(map[string]any{
		"Networks": []string{"tcp", "udp", "tcp", "udp"}, "Addresses": []string{okTCP, okUDP, noTCP, noUDP}, "Times": times, "Waits": []int{60, 60, 3, 3},
	}))))
	want := map[string]count{okTCP: {Hello: times}, okUDP: {Hello: times}, noTCP: {Timeout: times}, noUDP: {Timeout: times}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// nodeConnections does the same in Node, whose loop is libuv's.
const nodeConnections = `
import net from "node:net"
import dgram from "node:dgram"
const wait = 1500
function tcp(at) {
  const [host, port] = at.split(":")
  return new Promise((resolve) => {
    const s = net.connect({ host, port })
    s.setTimeout(wait, () => { s.destroy(); resolve("timeout") })
    s.on("data", (d) => { s.destroy(); resolve(d.toString()) })
    s.on("error", (e) => resolve(e.code))
  })
}
function udp(at) {
  const [host, port] = at.split(":")
  return new Promise((resolve) => {
    const s = dgram.createSocket("udp4")
    const t = setTimeout(() => { s.close(); resolve("timeout") }, wait)
    s.on("message", (m) => { clearTimeout(t); s.close(); resolve(m.toString()) })
    s.on("error", (e) => resolve(e.code))
    s.send("x", Number(port), host)
  })
}
export const handler = async (e) => Promise.all([tcp(e.ok[0]), tcp(e.no[0]), udp(e.ok[1]), udp(e.no[1]), tcp(e.far)])
`

func TestEgressNode(t *testing.T) {
	notShort(t)
	t.Parallel()
	okTCP, okUDP := greeter(t, "127.0.0.1")
	noTCP, noUDP := greeter(t, "127.0.0.1")
	r := newRules("tcp "+okTCP, "udp "+okUDP)
	r.set("tcp 198.51.100.7:443", egress.Unreachable)
	k := newKit(t, func(cfg *Config) { cfg.Egress = r.egress() })
	s := spec(t, files{"index.mjs": nodeConnections}, func(s *Spec) { node(s); inVPC(s) })
	got := k.value(s, encodeString(map[string]any{"ok": []string{okTCP, okUDP}, "no": []string{noTCP, noUDP}, "far": "198.51.100.7:443"}))
	if want := `["hello","timeout","hello","timeout","ENETUNREACH"]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// signalled connects and sends while signals come all the time.
const signalled = `import ctypes, os, signal, socket, threading, time
---
class Stop(Exception): pass
def raises(*_): raise Stop
host, port = event["no"].rsplit(":", 1)
signal.signal(signal.SIGALRM, raises)
signal.setitimer(signal.ITIMER_REAL, 0.3)
start = time.time()
try:
    socket.socket().connect((host, int(port)))
    hung = "connected"
except Stop:
    hung = "interrupted" if time.time() - start < 3 else "late"
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False) # as Go's runtime has it
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
host, port = event["tcp"].rsplit(":", 1)
greetings = {}
for i in range(150):
    s = socket.socket()
    try:
        if i % 2: s.settimeout(5)
        s.connect((host, int(port)))
        v = s.recv(10).decode()
    except OSError as e:
        v = str(e)
    greetings[v] = greetings.get(v, 0) + 1
host, port = event["udp"].rsplit(":", 1)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(500):
    if i % 2: u.sendto(b"%d" % i, (host, int(port)))
    else: u.sendmsg([b"%d" % i], [], 0, (host, int(port)))
signal.setitimer(signal.ITIMER_REAL, 0)
return [hung, greetings]`

// A signal interrupts a call that hangs, and has none carried out twice or
// lost.
func TestEgressSignals(t *testing.T) {
	okTCP, _ := greeter(t, "127.0.0.1")
	noTCP, _ := greeter(t, "127.0.0.1")
	p, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if err := p.(*net.UDPConn).SetReadBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	r := newRules("tcp "+okTCP, "udp "+p.LocalAddr().String())
	k := newKit(t, func(cfg *Config) { cfg.Egress = r.egress() })
	s := spec(t, py(signalled), func(s *Spec) { inVPC(s); s.Timeout = time.Minute })
	got := k.value(s, encodeString(map[string]string{"no": noTCP, "tcp": okTCP, "udp": p.LocalAddr().String()}))
	if want := `["interrupted", {"hello": 150}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	arrived := map[string]int{}
	b := make([]byte, 100)
	p.SetReadDeadline(time.Now().Add(time.Second))
	for {
		n, _, err := p.ReadFrom(b)
		if err != nil {
			break
		}
		arrived[string(b[:n])]++
	}
	if len(arrived) != 500 {
		t.Errorf("%d datagrams arrived, want 500", len(arrived))
	}
	for name, n := range arrived {
		if n != 1 {
			t.Errorf("datagram %s arrived %d times", name, n)
		}
	}
}

// Where the kernel notifies nobody, functions are held by port: at once, and
// started anew when the ports change.
func TestEgressByPort(t *testing.T) {
	okTCP, _ := greeter(t, "127.0.0.1")
	noTCP, _ := greeter(t, "127.0.0.1")
	for _, way := range ways() {
		t.Run(way.String(), func(t *testing.T) {
			r := newRules("tcp " + okTCP)
			k := newKit(t, func(cfg *Config) { cfg.confinement, cfg.Egress, cfg.heldBy = way, r.egress(), HeldByPort })
			s := spec(t, py(shortConnections), inVPC)
			event := encodeString([]string{okTCP, noTCP})
			if got, want := k.value(s, event), `["hello", "[Errno 13] Permission denied"]`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			r.set("tcp "+noTCP, egress.Allow)
			if got, want := k.value(s, event), `["hello", "hello"]`; got != want {
				t.Errorf("after the change: got %s, want %s", got, want)
			}
			if c, err := k.Capability(); err != nil || c.Egress != HeldByPort || !strings.Contains(strings.Join(c.Missing, ";"), "held by TCP port only") {
				t.Errorf("the host says %v, %v", c, err)
			}
		})
	}
}

// Where nothing can hold it, a function in a VPC does not run; others do.
func TestEgressImpossible(t *testing.T) {
	k := newKit(t, func(cfg *Config) { cfg.Egress = newRules().egress() })
	h, err := k.host()
	if err != nil {
		t.Fatal(err)
	}
	h.capability.Egress = NotHeld
	_, err = k.Invoke(t.Context(), spec(t, py("return 1"), inVPC), free, Event{RequestID: "1"})
	if !fault.Is(err, fault.Parameter) {
		t.Errorf("got %v, want an error of kind Parameter", err)
	}
	if got := k.value(spec(t, py("return 1"), nil), "{}"); got != "1" {
		t.Errorf("without a VPC: got %s", got)
	}
}

// The time of a function that hangs in a connection runs out, and nothing of
// it is left.
func TestEgressTimeout(t *testing.T) {
	t.Parallel()
	noTCP, _ := greeter(t, "127.0.0.1")
	k := newKit(t, func(cfg *Config) { cfg.Egress = newRules().egress() })
	s := spec(t, py(`import socket, threading
---
host, port = event.rsplit(":", 1)
def hang(): socket.socket().connect((host, int(port)))
[threading.Thread(target=hang).start() for _ in range(40)]
print("hanging")
hang()`), func(s *Spec) { inVPC(s); s.Timeout = 2 * time.Second })
	before := time.Now()
	r := k.invoke(s, encodeString(noTCP))
	if !strings.Contains(string(r.Payload), "Task timed out after 2.00 seconds") || !strings.Contains(k.text(), "hanging\n") {
		t.Errorf("got %s and the log %s", r.Payload, k.text())
	}
	if took := time.Since(before); took > 15*time.Second {
		t.Errorf("took %v", took)
	}
	eventually(t, "no process is left", patience, func() bool { return len(allProcesses(k)) == 0 })
}

// A host that forbids filters, as some containers do, is found out: then
// Landlock holds functions.
func TestProbeEgress(t *testing.T) {
	if os.Getenv("KEYTURN_TEST_PROBE") != "" {
		forbidFilters(t)
		held, err := ProbeEgress()
		fmt.Printf("held by %q: %v\n", held, err)
		return
	}
	if held, err := ProbeEgress(); held != HeldByAddress || err != nil {
		t.Errorf("got %q, %v", held, err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^TestProbeEgress$")
	cmd.Env = append(os.Environ(), "KEYTURN_TEST_PROBE=1")
	out, err := cmd.CombinedOutput()
	want := `held by "ports": setting a seccomp filter with notifications: operation not permitted`
	if err != nil || !strings.Contains(string(out), want) {
		t.Errorf("got %v and %s, want %s", err, out, want)
	}
}

// forbidFilters takes further seccomp filters from what this goroutine does
// and starts.
func forbidFilters(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SECCOMP, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		t.Fatal(errno)
	}
}
