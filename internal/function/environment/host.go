package environment

import (
	"crypto/rand"
	_ "embed"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/keyturn/keyturn/internal/function/egress"
)

//go:embed bootstrap.py
var pythonBootstrap string

//go:embed bootstrap.mjs
var nodeBootstrap string

// HostCapability says how far this host lets functions be confined.
type HostCapability struct {
	// Namespaces is "root", "user" or "" for a file system and processes of
	// the environment's own.
	Namespaces string
	// SeparateUser says that every environment has a user of its own.
	SeparateUser bool
	// Landlock is the version of the kernel's interface, 0 for none.
	Landlock int
	// Peers says that the Runtime API knows who connects to it.
	Peers bool
	// Egress is how functions are held to their VPC, if they are to be.
	Egress HeldBy
	// Missing holds one sentence for each thing that the host does not give
	// and what that means.
	Missing []string

	confinement confinement
	// unsafe says that nothing keeps a function from the server's files.
	unsafe bool
}

// String is the capability in one line, for the server's start.
func (c HostCapability) String() string {
	var parts []string
	if c.Namespaces != "" {
		parts = append(parts, "own file system and processes ("+c.Namespaces+" namespaces)")
	}
	if c.SeparateUser {
		parts = append(parts, "own user")
	}
	if c.Landlock > 0 {
		parts = append(parts, fmt.Sprintf("Landlock %d", c.Landlock))
	}
	if c.Egress != NotHeld {
		parts = append(parts, "connections of functions in a VPC by "+string(c.Egress))
	}
	if len(parts) == 0 {
		parts = append(parts, "nothing")
	}
	s := "functions are confined by: " + strings.Join(parts, ", ")
	if len(c.Missing) > 0 {
		s += "; not here: " + strings.Join(c.Missing, "; ")
	}
	return s
}

// Capabilities asks the host. It starts short-lived processes and takes some
// tens of milliseconds; main must have called LaunchIfAsked.
func Capabilities() HostCapability { return probeHost(Config{}.withDefaults()) }

// host is the part of a pool that stands on the disk: what every environment
// needs before it can start.
type host struct {
	capability HostCapability
	// private lists the folders that no function may see.
	private []string
	// root is where launchers mount; empty, runtime and bundle are what they
	// show; scratch holds the environments' own folders.
	root, empty, runtime, bundle, scratch string
	packages                              *packages
	users                                 *userIDs
	// hole takes what functions in a VPC send in vain; nil when none is held.
	hole *egress.Hole
	// temporary is a folder to remove in the end, or "".
	temporary string
}

// startRoom is below how much room on the disk, in bytes, a start waits until
// the old files are cleared: a function may have filled the disk with them.
const startRoom = 64 << 20

// newHost prepares the pool's folder. What an earlier server left there is
// set aside for clearing.
func newHost(cfg Config, capability HostCapability) (*host, error) {
	h := &host{capability: capability, private: append([]string{cfg.Dir}, cfg.Private...)}
	if err := os.MkdirAll(cfg.Dir, 0o711); err != nil {
		return nil, err
	}
	dir := filepath.Join(cfg.Dir, "live")
	if err := setAside(cfg.Dir); err != nil {
		return nil, err
	}
	var err error
	if capability.confinement == separateUser && !visibleTo(cfg.Dir) {
		// Another user cannot pass through the server's own folders.
		if h.temporary, err = os.MkdirTemp("", "keyturn-functions-"); err != nil {
			return nil, err
		}
		// A server that dies leaves this name for the next one to clear.
		if err := os.Symlink(filepath.Join(h.temporary, "live"), dir); err != nil {
			return nil, err
		}
		dir = filepath.Join(h.temporary, "live")
		if err := os.Chmod(h.temporary, 0o711); err != nil {
			return nil, err
		}
	}
	h.root, h.empty, h.scratch = filepath.Join(dir, "root"), filepath.Join(dir, "empty"), filepath.Join(dir, "scratch")
	h.runtime, h.bundle = filepath.Join(dir, "runtime"), filepath.Join(dir, "cert.pem")
	code := filepath.Join(dir, "code")
	for _, d := range []string{dir, h.root, h.empty, h.scratch, h.runtime, code} {
		if err := makeFolder(d, 0o711); err != nil {
			return nil, err
		}
	}
	h.packages = newPackages(code)
	h.users = newUserIDs(cfg.FirstUserID)
	if err := h.writeFiles(cfg); err != nil {
		return nil, err
	}
	if capability.Egress == HeldByAddress {
		if h.hole, err = egress.NewHole(); err != nil {
			return nil, fmt.Errorf("making a place for lost packets: %w", err)
		}
	}
	return h, nil
}

func (h *host) writeFiles(cfg Config) error {
	bundle, err := readBundle(cfg.CABundle)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		h.bundle:                                  string(bundle),
		filepath.Join(h.runtime, "bootstrap.py"):  pythonBootstrap,
		filepath.Join(h.runtime, "bootstrap.mjs"): nodeBootstrap,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
		if err := os.Chmod(name, 0o444); err != nil {
			return err
		}
	}
	for _, dir := range []string{h.runtime, h.empty} {
		if err := os.Chmod(dir, 0o555); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder makes a folder with these permissions whatever the umask.
func makeFolder(name string, mode os.FileMode) error {
	if err := os.MkdirAll(name, 0o700); err != nil {
		return err
	}
	return os.Chmod(name, mode)
}

// newScratch makes an environment's own folder.
func (h *host) newScratch(id string, userID int) (string, error) {
	dir := filepath.Join(h.scratch, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if userID == 0 {
		return dir, nil
	}
	return dir, os.Chown(dir, userID, userID)
}

// setAside gives what is in use, or was until the server died, a name under
// which it will be cleared.
func setAside(dir string) error {
	err := os.Rename(filepath.Join(dir, "live"), filepath.Join(dir, "old-"+rand.Text()))
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// clearOld removes what earlier servers left in a pool's folder.
func clearOld(dir string) {
	old, _ := filepath.Glob(filepath.Join(dir, "old-*"))
	for _, name := range old {
		if elsewhere, err := os.Readlink(name); err == nil {
			removeTree(filepath.Dir(elsewhere))
		}
		removeTree(name)
	}
}

// userIDs hands out users for environments, each to one at a time.
type userIDs struct {
	mu    sync.Mutex
	first int
	next  int
	used  map[int]bool
}

func newUserIDs(first int) *userIDs {
	var start [2]byte
	rand.Read(start[:])
	return &userIDs{first: first, next: (int(start[0])<<8 | int(start[1])) % userIDCount, used: map[int]bool{}}
}

// take returns a user that no environment has, and that the host's accounts
// do not know.
func (u *userIDs) take() (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for range userIDCount {
		id := u.first + u.next
		u.next = (u.next + 1) % userIDCount
		if !u.used[id] && !isAccount(id) {
			u.used[id] = true
			return id, nil
		}
	}
	return 0, fmt.Errorf("all user ids from %d to %d are in use", u.first, u.first+userIDCount-1)
}

func (u *userIDs) give(id int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.used, id)
}

// isAccount reports whether the host has an account with that number.
func isAccount(id int) bool {
	_, err := user.LookupId(strconv.Itoa(id))
	return err == nil
}
