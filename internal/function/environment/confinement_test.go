//go:build linux

package environment

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// attack tries what no function may do and reports what it got. Every entry
// of "got" is a breach; "works" must hold. A path on which all confinement
// rests is given by the event.
const attack = `import ctypes, glob, json, os, signal, socket, ssl, subprocess, sys
---
got, works = {}, {}

def attempt(name, action):
    try:
        got[name] = repr(action())[:200]
    except Exception as e:
        pass

def read(path):
    with open(path, "rb") as f:
        return f.read()

libc = ctypes.CDLL(None, use_errno=True)
def ptrace(pid):
    if libc.ptrace(16, pid, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    libc.ptrace(17, pid, 0, 0)
    return "attached"

for path in event["files"]:
    attempt("read " + path, lambda: read(path))
    attempt("list " + path, lambda: os.listdir(path))
    attempt("read through cat " + path, lambda: subprocess.check_output(["cat", path]))
for pid in event["pids"]:
    for name in ["environ", "maps", "mem", "cwd", "root", "fd/3"]:
        def look():
            path = "/proc/%d/%s" % (pid, name)
            try:
                return os.readlink(path)
            except OSError:
                return read(path)
        attempt("proc %d %s" % (pid, name), look)
    attempt("command line of %d" % pid, lambda: read("/proc/%d/cmdline" % pid).index(event["cmdline"].encode()))
    attempt("kill %d" % pid, lambda: os.kill(pid, 0) or "permitted")
    attempt("ptrace %d" % pid, lambda: ptrace(pid))
# Whatever is visible under /proc besides the function's own processes.
mine = os.readlink("/proc/self") if os.path.exists("/proc/self") else ""
for path in glob.glob("/proc/[0-9]*/environ"):
    if path.split("/")[2] != mine:
        attempt("environment " + path, lambda: read(path).decode().index("=") and read(path))
for path in glob.glob("/proc/[0-9]*"):
    if path.split("/")[2] != mine:
        attempt("ptrace " + path, lambda: ptrace(int(path.split("/")[2])))
attempt("ptrace launcher", lambda: ptrace(os.getppid()))
attempt("memory of launcher", lambda: open("/proc/%d/mem" % os.getppid(), "r+b"))
root = os.environ["LAMBDA_TASK_ROOT"]
attempt("write code", lambda: open(root + "/lambda_function.py", "a"))
attempt("new file in code", lambda: open(root + "/new", "w"))
attempt("delete code", lambda: os.remove(root + "/lambda_function.py"))
attempt("chmod code", lambda: os.chmod(root, 0o777) or os.chmod(root + "/lambda_function.py", 0o777) or open(root + "/lambda_function.py", "a"))
for d in ["/", "/etc", "/usr", "/opt", "/var", "/var/runtime", "/dev", "/var/tmp", "/run", "/dev/shm", "/home", "/root"]:
    attempt("write " + d, lambda: open(d + "/breach", "w").close() or os.remove(d + "/breach"))
    attempt("mkdir " + d, lambda: os.mkdir(d + "/breach-dir") or os.rmdir(d + "/breach-dir"))
attempt("become root", lambda: os.setuid(0) or "root")
attempt("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0 and "mounted" or 1 / 0)
attempt("chroot", lambda: os.chroot("/tmp") or "changed")
attempt("devices", lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0)) or read("/tmp/disk"))
attempt("raw disk", lambda: glob.glob("/dev/[sv]d*")[0])
attempt("setuid program", lambda: subprocess.check_output(["su", "-c", "id"], stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL))
attempt("shadow", lambda: read("/etc/shadow"))
attempt("server's variable", lambda: os.environ["KEYTURN_TEST_SECRET"])
attempt("inherited descriptors", lambda: [os.readlink("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd")
    if int(n) > 2 and "socket" not in os.readlink("/proc/self/fd/" + n) and "/proc/" not in os.readlink("/proc/self/fd/" + n)][0])
def other_api():
    for port in event["ports"]:
        s = socket.create_connection(("127.0.0.1", port), 2)
        s.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
        s.settimeout(1)
        if s.recv(10):
            return "answered"
    1 / 0
attempt("another function's Runtime API", other_api)
def abstract():
    s = socket.socket(socket.AF_UNIX)
    s.connect("\0" + event["abstract"])
    return "connected"
attempt("abstract socket of the host", abstract)

tmp = os.environ.get("TMPDIR", "/tmp")
open(tmp + "/mine", "w").write("written")
works["tmp"] = read(tmp + "/mine").decode()
works["tmp executes"] = ""
open(tmp + "/x.sh", "w").write("#!/bin/sh\necho ran\n")
os.chmod(tmp + "/x.sh", 0o755)
works["tmp executes"] = subprocess.check_output([tmp + "/x.sh"]).decode().strip()
works["localhost"] = socket.gethostbyname("localhost")
s = socket.create_connection(("127.0.0.1", event["port"]), 5)
works["loopback"] = s.recv(100).decode()
bundle = os.environ["SSL_CERT_FILE"]
works["bundle"] = "CERTIFICATE" in read(bundle).decode() and event["ca"] in read(bundle).decode()
works["null"] = subprocess.call(["true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) == 0
works["random"] = len(read("/dev/urandom") if False else os.urandom(8)) == 8
works["ssl"] = len(ssl.create_default_context().get_ca_certs()) > 0
works["paths"] = [root, os.environ["PATH"].split(":")[-1], bundle, tmp]
works["uid"] = os.getuid()
return {"got": got, "works": works}`

// TestConfinement is invariant 7: a function reads nothing of the server.
func TestConfinement(t *testing.T) {
	ways := []confinement{rootNamespaces, separateUser}
	if os.Geteuid() != 0 {
		ways = []confinement{userNamespaces, sameUser}
	}
	t.Setenv("KEYTURN_TEST_SECRET", "the server's own secret")
	for _, way := range ways {
		t.Run(way.String(), func(t *testing.T) {
			got := testConfinement(t, way, false)
			for what, got := range got {
				t.Errorf("%s: got %s", what, got)
			}
		})
	}
	if os.Geteuid() != 0 {
		return // without a user of its own and Landlock the attack would stop the server itself
	}
	// The attack does find what is not protected.
	t.Run("without Landlock and namespaces", func(t *testing.T) {
		got := testConfinement(t, ways[1], true)
		for _, name := range []string{"abstract socket", "command line", "lambda_function.py"} {
			found := false
			for what := range got {
				found = found || strings.Contains(what, name)
			}
			if !found {
				t.Errorf("the attack did not get %s: %v", name, got)
			}
		}
	})
}

// testConfinement attacks from within and returns what the attack got.
func testConfinement(t *testing.T, way confinement, bare bool) map[string]string {
	data := t.TempDir()
	mustWrite(t, data+"/root.key", "root key", 0o600)
	mustWrite(t, data+"/open.key", "readable by everybody", 0o666)
	mustWrite(t, data+"/database.sqlite", "database", 0o644)
	ca := testCA(t)
	mustWrite(t, data+"/ca.pem", ca, 0o644)
	k := newKit(t, func(cfg *Config) {
		cfg.Dir, cfg.confinement, cfg.CABundle = data+"/functions", way, []string{data + "/ca.pem"}
		cfg.Private = []string{data}
	})
	if bare {
		h, err := k.host()
		if err != nil {
			t.Fatal(err)
		}
		h.capability.Landlock = 0
	}
	victim := spec(t, py(`import os
---
open(os.environ.get("TMPDIR", "/tmp") + "/victim", "w").write("victim's data")
return [os.getpid(), os.environ["AWS_LAMBDA_RUNTIME_API"]]`), func(s *Spec) {
		s.FunctionName, s.FunctionARN = "victim", s.FunctionARN+"-victim"
		s.Env = map[string]string{"VICTIM_SECRET": "x"}
	})
	k.value(victim, "{}")
	listener, abstract := attackedSockets(t)

	event := map[string]any{
		"files": append([]string{
			data, data + "/root.key", data + "/open.key", data + "/database.sqlite", data + "/functions", k.theHost.Load().scratch,
			k.theHost.Load().root, os.Getenv("HOME"), "/root", "/home", "/etc/shadow", "/etc/ssh", "/var/lib", "/run", "/proc/1/environ",
		}, victimFiles(k)...),
		"pids":     append([]int{os.Getpid(), os.Getppid()}, allProcesses(k)...),
		"ports":    allPorts(k),
		"port":     listener,
		"abstract": abstract,
		"ca":       strings.Split(ca, "\n")[1],
		"cmdline":  os.Args[0],
	}
	payload, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	s := spec(t, py(attack), func(s *Spec) { s.Timeout = 60 * time.Second })
	r := k.invoke(s, string(payload))
	if r.FunctionError != "" {
		t.Fatalf("the attack failed by itself: %s\n%s", r.Payload, k.text())
	}
	result := decode[struct {
		Got   map[string]string
		Works map[string]any
	}](t, r.Payload)
	want := map[string]any{
		"tmp": "written", "tmp executes": "ran", "localhost": "127.0.0.1", "loopback": "hello", "bundle": true,
		"null": true, "random": true, "ssl": true,
	}
	for name, value := range want {
		if result.Works[name] != value {
			t.Errorf("%s: got %v, want %v", name, result.Works[name], value)
		}
	}
	if way.namespaces() {
		got := fmt.Sprint(result.Works["paths"])
		if got != "[/var/task /opt/bin /etc/pki/tls/cert.pem /tmp]" {
			t.Errorf("got the paths %s", got)
		}
	} else if !strings.Contains(k.text(), "KEYTURN This host: no namespaces") {
		t.Errorf("the log does not say what is missing:\n%s", k.text())
	}
	if uid := int(result.Works["uid"].(float64)); way.ownUser() && (uid < defaultFirstUserID || uid == os.Getuid()) {
		t.Errorf("got the user %d, want one of the environments' own", uid)
	}
	return result.Got
}

// attackedSockets opens what a function may reach, and what not.
func attackedSockets(t *testing.T) (port int, abstract string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
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
			c.Write([]byte("hello"))
			c.Close()
		}
	}()
	abstract = "keyturn-test-" + strconv.Itoa(os.Getpid())
	u, err := net.Listen("unix", "@"+abstract)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return l.Addr().(*net.TCPAddr).Port, abstract
}

// victimFiles are the host's paths of the environments that are there.
func victimFiles(k *kit) []string {
	k.Pool.mu.Lock()
	defer k.Pool.mu.Unlock()
	var paths []string
	for e := range k.all {
		paths = append(paths, e.place.scratch, e.place.scratch+"/victim", filepath.Join(e.place.task, "lambda_function.py"))
	}
	return paths
}

func allProcesses(k *kit) []int {
	k.Pool.mu.Lock()
	defer k.Pool.mu.Unlock()
	var pids []int
	for e := range k.all {
		if p := e.process.Load(); p != nil {
			pids = append(append(pids, p.pid), processTree(p.pid)...)
		}
	}
	return pids
}

func allPorts(k *kit) []int {
	k.Pool.mu.Lock()
	defer k.Pool.mu.Unlock()
	var ports []int
	for e := range k.all {
		ports = append(ports, e.api.listener.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// testCA is a certificate authority that nothing was signed by.
func testCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Keyturn test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestConfinementUnprivileged runs the same tests with a server that is not
// root: a copy of this test program under another user.
func TestConfinementUnprivileged(t *testing.T) {
	notShort(t)
	t.Parallel()
	if os.Geteuid() != 0 {
		return // TestConfinement was that already
	}
	out := runAsNobody(t, "^(TestEgress|TestEscape|TestEgressSignals|TestEgressByPort|TestConfinement|TestTimeout|TestDrain|TestPythonFailures|TestRuntimeAPIStrangers)$")
	for _, want := range []string{"PASS: TestConfinement/user_namespaces", "PASS: TestConfinement/same_user", "PASS: TestEgress/user_namespaces", "PASS: TestEgress/same_user",
		"PASS: TestEscape/user_namespaces", "PASS: TestEscape/same_user", "PASS: TestEgressSignals", "PASS: TestEgressByPort/same_user", "PASS: TestPythonFailures", "PASS: TestRuntimeAPIStrangers/user_namespaces"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}

// runAsNobody runs tests of this program as an unprivileged user.
func runAsNobody(t *testing.T, pattern string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "keyturn-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeTree(dir) })
	const nobody = 65534
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, dir+"/tests", "", 0o755)
	if err := os.WriteFile(dir+"/tests", program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/tmp", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, dir + "/tests", dir + "/tmp"} {
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(name, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), dir+"/tests", "-test.v", "-test.timeout", "5m", "-test.run", pattern)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir + "/tmp"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("as nobody: %v\n%s", err, out.String())
	}
	return out.String()
}
