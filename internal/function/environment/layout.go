package environment

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/keyturn/keyturn/internal/fault"
)

// layout says where a function finds things: Lambda's own paths where the
// environment has a file system of its own, else the nearest on the host.
type layout struct {
	task, opt, tmp, runtime, bundle string
}

// lambdaLayout is how Lambda lays out its environments (AWS docs).
var lambdaLayout = layout{
	task: "/var/task", opt: "/opt", tmp: "/tmp", runtime: "/var/runtime", bundle: "/etc/pki/tls/cert.pem",
}

// placement is what one environment shows its function.
type placement struct {
	// task, opt and scratch are folders of the host: code, layers ("" for
	// none) and the writable /tmp.
	task, opt, scratch string
	// program is the interpreter, or "" when the program is in the code.
	program string
	// bootstrap is an executable of the host that stands in for the one that
	// the code and the layers lack, or "".
	bootstrap string
	// userID is the environment's user, or 0 for the server's.
	userID int
	// ephemeralMB bounds each file in /tmp.
	ephemeralMB int
}

// insideBootstrap is where a function with a file system of its own finds the
// bootstrap that its code lacks.
const insideBootstrap = "/var/keyturn/bootstrap"

// systemFolders are the parts of the host that every program needs.
var systemFolders = []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/nix/store"}

// systemFiles are the parts of /etc that programs need: names, addresses,
// libraries, time zones. No account of the host, no key.
var systemFiles = []string{
	"/etc/alternatives", "/etc/crypto-policies", "/etc/gai.conf", "/etc/host.conf", "/etc/hosts",
	"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/mime.types",
	"/etc/nsswitch.conf", "/etc/os-release", "/etc/protocols", "/etc/resolv.conf", "/etc/services",
	"/etc/ssl/openssl.cnf", "/etc/timezone",
}

// versionedFiles are further parts of /etc, with the interpreter's version in
// the name.
const versionedFiles = "/etc/python3*"

// devices are the device files of an environment, as Lambda has them.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// procFiles are what of /proc a function sees that has none of its own.
var procFiles = []string{
	"/proc/cpuinfo", "/proc/filesystems", "/proc/loadavg", "/proc/meminfo", "/proc/stat", "/proc/uptime",
	"/proc/version", "/proc/sys/kernel", "/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu",
	"/sys/kernel/mm/transparent_hugepage",
}

// trustedNames are the names under which programs look for trusted
// certificates, beside Lambda's own.
var trustedNames = []string{
	"/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt",
	"/etc/ssl/certs/ca-bundle.crt",
}

// maxFiles and maxProcesses are Lambda's own limits (AWS docs).
const (
	maxFiles     = 1024
	maxProcesses = 1024
)

// prepare makes the launch of an environment's processes, without program,
// variables and folder.
func (h *host) prepare(p placement) (launch, layout, error) {
	folders, program, err := h.programFolders(p.program)
	if err != nil {
		return launch{}, layout{}, err
	}
	plan := launch{
		Args: []string{program}, UserID: p.userID,
		MaxFiles: maxFiles, MaxFileBytes: uint64(p.ephemeralMB) << 20,
	}
	if h.capability.confinement != sameUser { // else the user's other processes would count
		plan.MaxProcesses = maxProcesses
	}
	plan.Landlock = h.capability.Landlock > 0
	if h.capability.confinement.namespaces() {
		h.ownRoot(&plan, p, folders)
		return plan, lambdaLayout, nil
	}
	at := layout{task: p.task, opt: orDefault(p.opt, h.empty), tmp: p.scratch, runtime: h.runtime, bundle: h.bundle}
	plan.Paths = hostPaths(at, folders)
	if p.bootstrap != "" {
		plan.Paths = append(plan.Paths, access{Path: p.bootstrap})
	}
	return plan, at, nil
}

// ownRoot fills the environment's own file system.
func (h *host) ownRoot(plan *launch, p placement, folders []bind) {
	plan.Root = h.root
	for _, dir := range systemFolders {
		if target, err := os.Readlink(dir); err == nil {
			plan.Links = append(plan.Links, link{dir, target})
			continue
		}
		plan.Binds = append(plan.Binds, bind{From: dir, To: dir, Optional: true})
	}
	more, _ := filepath.Glob(versionedFiles)
	for _, name := range slices.Concat(systemFiles, more) {
		plan.Binds = append(plan.Binds, bind{From: name, To: name, Optional: true})
	}
	for _, name := range devices {
		plan.Binds = append(plan.Binds, bind{From: name, To: name, Device: true})
	}
	plan.Binds = append(plan.Binds,
		bind{From: p.task, To: lambdaLayout.task},
		bind{From: h.runtime, To: lambdaLayout.runtime},
		bind{From: p.scratch, To: lambdaLayout.tmp, Write: true},
		bind{From: h.bundle, To: lambdaLayout.bundle},
	)
	plan.Binds = append(plan.Binds, bind{From: orDefault(p.opt, h.empty), To: lambdaLayout.opt})
	if p.bootstrap != "" {
		plan.Binds = append(plan.Binds, bind{From: p.bootstrap, To: insideBootstrap})
	}
	plan.Binds = append(plan.Binds, folders...)
	for _, name := range trustedNames {
		plan.Links = append(plan.Links, link{name, lambdaLayout.bundle})
	}
	plan.Links = append(plan.Links,
		link{"/dev/fd", "/proc/self/fd"}, link{"/dev/stdin", "/proc/self/fd/0"},
		link{"/dev/stdout", "/proc/self/fd/1"}, link{"/dev/stderr", "/proc/self/fd/2"})
	id := strconv.Itoa(orDefault(p.userID, insideUserID))
	plan.Files = append(plan.Files,
		file{"/etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\nsbx_user1051:x:" + id + ":" + id + "::/home/sbx_user1051:/sbin/nologin\n"},
		file{"/etc/group", "root:x:0:\nsbx_user1051:x:" + id + ":\n"})
	plan.Paths = []access{{Path: "/"}, {Path: "/tmp", Write: true}, {Path: "/proc", Write: true}}
	for _, name := range devices {
		plan.Paths = append(plan.Paths, access{Path: name, Devices: true})
	}
}

// hostPaths lists what Landlock leaves of the host's own file system to an
// environment that has none of its own.
func hostPaths(at layout, folders []bind) []access {
	paths := []access{{Path: at.task}, {Path: at.opt}, {Path: at.runtime}, {Path: at.bundle}, {Path: at.tmp, Write: true}}
	more, _ := filepath.Glob(versionedFiles)
	for _, name := range slices.Concat(systemFolders, systemFiles, more, procFiles, hostBundles) {
		paths = append(paths, access{Path: name})
	}
	for _, f := range folders {
		paths = append(paths, access{Path: f.From})
	}
	for _, name := range devices {
		paths = append(paths, access{Path: name, Devices: true})
	}
	return paths
}

// programFolders returns the folders that an interpreter needs beside the
// system's, and the path under which the function sees it. An interpreter in
// a place that Lambda uses for something else moves to /var/lang, where
// Lambda has its own.
func (h *host) programFolders(program string) ([]bind, string, error) {
	if program == "" {
		return nil, "", nil
	}
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		return nil, "", fault.Wrap(err, "looking for the interpreter")
	}
	moved := func(dir string) bool { return h.capability.confinement.namespaces() && taken(dir) }
	paths := []string{program, real}
	if dir, err := h.programFolder(program); err == nil && moved(dir) {
		paths, program = []string{real}, real
	}
	var folders []bind
	for _, path := range paths {
		dir, err := h.programFolder(path)
		if err != nil {
			return nil, "", err
		}
		if dir == "" || slices.ContainsFunc(folders, func(b bind) bool { return b.From == dir }) {
			continue
		}
		to := dir
		if moved(dir) {
			to = "/var/lang"
			program = to + path[len(dir):]
		}
		folders = append(folders, bind{From: dir, To: to})
	}
	return folders, program, nil
}

// programFolder returns the folder that holds an executable and what belongs
// to it: the one above bin. It is "" when every environment has it anyhow,
// and an error when it would show the function more than an interpreter.
func (h *host) programFolder(program string) (string, error) {
	if slices.ContainsFunc(systemFolders, func(dir string) bool { return below(program, dir) }) {
		return "", nil
	}
	dir := filepath.Dir(program)
	if filepath.Base(dir) == "bin" {
		dir = filepath.Dir(dir)
	}
	home, _ := os.UserHomeDir()
	crowded := []string{"/", "/etc", "/home", "/opt", "/proc", "/root", "/run", "/srv", "/tmp", "/var", "/var/lib", home}
	if slices.Contains(crowded, dir) || filepath.Dir(dir) == "/home" ||
		slices.ContainsFunc(h.private, func(p string) bool { return below(p, dir) || below(dir, p) }) {
		return "", fault.New(fault.Parameter,
			"The interpreter %s lies in %s, which holds more than an interpreter. Install it in a folder of its own.", program, dir)
	}
	return dir, nil
}

// taken reports whether an environment has something else at that path.
func taken(dir string) bool {
	return slices.ContainsFunc([]string{"/opt", "/tmp", "/var/task", "/var/runtime", "/var/lang", "/etc", "/dev", "/proc"},
		func(used string) bool { return below(dir, used) })
}
