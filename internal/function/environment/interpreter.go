package environment

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

// interpreter is what runs a runtime's functions.
type interpreter struct {
	path string // "" for provided runtimes
	// notice says that it is not of the version that the runtime names.
	notice string
}

// interpreters finds the host's interpreters and remembers them.
type interpreters struct {
	cfg Config

	mu     sync.Mutex
	found  map[string]interpreter // by runtime
	tested map[string]trial       // by path
}

// trial is what an executable said of itself inside an environment.
type trial struct {
	path    string
	version release
	full    string // such as "3.11.2"
	err     error
	at      time.Time
}

// release orders the versions of one language. Node has no minor.
type release struct{ major, minor int }

func (r release) compare(o release) int {
	return cmp.Or(cmp.Compare(r.major, o.major), cmp.Compare(r.minor, o.minor))
}

const (
	// trialLimit bounds one try of an interpreter.
	trialLimit = 20 * time.Second
	// trialAge is how long a failed try is believed.
	trialAge = 10 * time.Second
)

func newInterpreters(cfg Config) *interpreters {
	return &interpreters{cfg: cfg, found: map[string]interpreter{}, tested: map[string]trial{}}
}

// find returns the interpreter for a runtime: the configured one; else one of
// the runtime's own version on the host; else, unless runtimes are strict, the
// nearest newer or else the nearest older one, with a notice. Each is tried
// as a function would run it.
func (i *interpreters) find(ctx context.Context, h *host, runtime string) (interpreter, error) {
	rt, err := served(runtime)
	if err != nil || rt.Family == function.Provided {
		return interpreter{}, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if found, ok := i.found[runtime]; ok {
		return found, nil
	}
	found, err := i.search(ctx, h, rt)
	if err == nil {
		i.found[runtime] = found
	}
	return found, err
}

func (i *interpreters) search(ctx context.Context, h *host, rt function.Runtime) (interpreter, error) {
	if path := i.cfg.Interpreters[rt.ID]; path != "" {
		t := i.try(ctx, h, rt.Family, path)
		if t.err != nil {
			return interpreter{}, fault.New(fault.Parameter, "The interpreter %s configured for the runtime %s cannot run functions: %v",
				path, rt.ID, t.err)
		}
		return i.choose(rt, t), nil
	}
	want := wanted(rt)
	var usable []trial
	var unusable []string
	for _, path := range candidates(rt) {
		t := i.try(ctx, h, rt.Family, path)
		switch {
		case t.err != nil:
			unusable = append(unusable, fmt.Sprintf("%s (%v)", path, t.err))
		case t.version == want:
			return i.choose(rt, t), nil
		default:
			usable = append(usable, t)
		}
	}
	if len(usable) == 0 || i.cfg.StrictRuntimes {
		return interpreter{}, missing(rt, unusable)
	}
	return i.choose(rt, nearest(usable, want)), nil
}

// missing is the error for a runtime that this host cannot run.
func missing(rt function.Runtime, unusable []string) *fault.Error {
	text := fmt.Sprintf("The runtime %s needs an interpreter that functions can run, and this host has none. "+
		"Install %s %s, or name its executable with --runtime %s=PATH.", rt.ID, language(rt.Family), rt.Version, rt.ID)
	if len(unusable) > 0 {
		text += " Found, but not usable: " + strings.Join(unusable, ", ") + "."
	}
	return fault.New(fault.Parameter, "%s", text)
}

func language(f function.Family) string {
	if f == function.Python {
		return "Python"
	}
	return "Node.js"
}

// choose makes the interpreter of a successful trial.
func (i *interpreters) choose(rt function.Runtime, t trial) interpreter {
	found := interpreter{path: t.path}
	if t.version != wanted(rt) {
		found.notice = fmt.Sprintf("The runtime %s is not on this host: the function runs with %s %s (%s). "+
			"Name the right interpreter with --runtime %s=PATH, or refuse others with --strict-runtimes.",
			rt.ID, language(rt.Family), t.full, t.path, rt.ID)
	}
	return found
}

// nearest returns the lowest of the versions above want, else the highest.
func nearest(usable []trial, want release) trial {
	slices.SortStableFunc(usable, func(a, b trial) int { return a.version.compare(b.version) })
	for _, t := range usable {
		if t.version.compare(want) > 0 {
			return t
		}
	}
	return usable[len(usable)-1]
}

// wanted is the version that a runtime names.
func wanted(rt function.Runtime) release {
	major, minor, _ := strings.Cut(rt.Version, ".")
	var r release
	r.major, _ = strconv.Atoi(major)
	r.minor, _ = strconv.Atoi(minor)
	return r
}

// candidates lists the executables that may serve a runtime, those named after
// its version first.
func candidates(rt function.Runtime) []string {
	var patterns []string
	if rt.Family == function.Python {
		patterns = []string{"python" + rt.Version, "python3", "python3.[0-9]", "python3.[0-9][0-9]"}
	} else {
		patterns = []string{"node" + rt.Version, "node-" + rt.Version, "nodejs" + rt.Version, "node", "nodejs", "node[0-9][0-9]", "node-[0-9][0-9]"}
	}
	dirs := append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/bin", "/usr/bin", "/bin", "/opt/homebrew/bin")
	var paths []string
	known := map[string]bool{}
	for _, pattern := range patterns {
		for _, dir := range dirs {
			if !filepath.IsAbs(dir) {
				continue
			}
			matches, _ := filepath.Glob(filepath.Join(dir, pattern))
			for _, path := range matches {
				real, err := filepath.EvalSymlinks(path)
				if err != nil || known[real] || !executable(real) {
					continue
				}
				known[real] = true
				paths = append(paths, path)
			}
		}
	}
	return paths
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// try asks an executable for its version, inside an environment.
func (i *interpreters) try(ctx context.Context, h *host, family function.Family, path string) trial {
	if t, ok := i.tested[path]; ok && (t.err == nil || time.Since(t.at) < trialAge) {
		return t
	}
	t := trial{path: path, at: time.Now()}
	var output string
	if output, t.err = runVersion(ctx, h, path); t.err == nil {
		t.version, t.full, t.err = parseVersion(family, output)
	}
	i.tested[path] = t
	return t
}

// runVersion runs an executable with --version as a function would be run.
func runVersion(ctx context.Context, h *host, path string) (string, error) {
	place := placement{task: h.empty, program: path, ephemeralMB: 1}
	var err error
	if h.capability.confinement.ownUser() {
		if place.userID, err = h.users.take(); err != nil {
			return "", err
		}
		defer h.users.give(place.userID)
	}
	if place.scratch, err = h.newScratch("try-"+rand.Text(), place.userID); err != nil {
		return "", err
	}
	defer removeTree(place.scratch)
	plan, at, err := h.prepare(place)
	if err != nil {
		if f, ok := err.(*fault.Error); ok && f.Message != "" {
			return "", fmt.Errorf("%s", f.Message)
		}
		return "", err
	}
	plan.Args, plan.Dir, plan.Env = append(plan.Args, "--version"), at.task, []string{"LD_LIBRARY_PATH=/var/lang/lib"}
	var out bytes.Buffer
	p, err := start(h.capability.confinement, plan, func(b []byte) { out.Write(b) }, nil)
	if err != nil {
		return "", err
	}
	timer := time.NewTimer(trialLimit)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		err = fmt.Errorf("no answer within %v", trialLimit)
	}
	p.kill()
	<-p.exited
	if err == nil {
		err = p.status.startError()
	}
	if err == nil && p.status.String() != "" {
		err = fmt.Errorf("%s: %s", p.status, strings.TrimSpace(out.String()))
	}
	return out.String(), err
}

// parseVersion reads "Python 3.11.2" or "v20.20.2". Older versions than the
// bootstraps can run on are refused.
func parseVersion(family function.Family, output string) (release, string, error) {
	pattern, oldest := `v((\d+)\.\d+\S*)`, release{18, 0}
	if family == function.Python {
		pattern, oldest = `Python ((\d+)\.(\d+)\S*)`, release{3, 7}
	}
	m := regexp.MustCompile(pattern).FindStringSubmatch(output)
	if m == nil {
		return release{}, "", fmt.Errorf("not %s: it answers %q", language(family), strings.TrimSpace(output))
	}
	var r release
	r.major, _ = strconv.Atoi(m[2])
	if family == function.Python {
		r.minor, _ = strconv.Atoi(m[3])
	}
	if r.compare(oldest) < 0 {
		return r, m[1], fmt.Errorf("%s %s is too old", language(family), m[1])
	}
	return r, m[1], nil
}
