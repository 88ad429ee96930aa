package environment

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// probeHost tries the ways of confinement from the strongest down, each by
// really preparing an environment.
func probeHost(cfg Config) HostCapability {
	c := HostCapability{Landlock: landlockABI(), Peers: peersKnown()}
	ways := []confinement{userNamespaces}
	if os.Geteuid() == 0 {
		// Where root is only root of a container with one user, the last way
		// still gives functions a namespace in which they are nobody.
		ways = []confinement{rootNamespaces, separateUser, userNamespaces}
	}
	if cfg.confinement != unknownConfinement {
		ways = []confinement{cfg.confinement}
	}
	var failures []string
	for _, way := range ways {
		err := tryConfinement(way, c, cfg.FirstUserID)
		if err == nil {
			c.confinement = way
			break
		}
		failures = append(failures, way.String()+": "+err.Error())
	}
	if c.confinement == unknownConfinement {
		c.confinement = sameUser
		c.unsafe = c.Landlock == 0 || os.Geteuid() == 0
	}
	c.describe(strings.Join(failures, "; "))
	c.probeEgress(cfg)
	return c
}

// describe fills the public fields.
func (c *HostCapability) describe(why string) {
	c.SeparateUser = c.confinement.ownUser()
	switch c.confinement {
	case rootNamespaces:
		c.Namespaces = "root"
	case userNamespaces:
		c.Namespaces = "user"
	default:
		c.Missing = append(c.Missing, "no namespaces ("+why+"): functions find their files where "+
			"LAMBDA_TASK_ROOT, TMPDIR and SSL_CERT_FILE say, not at Lambda's paths, and see the host's processes")
	}
	if c.Landlock == 0 {
		c.Missing = append(c.Missing, "no Landlock in this kernel: "+map[bool]string{
			true:  "the environment's own file system alone keeps functions from the server's files",
			false: "only file permissions keep functions from the server's files",
		}[c.Namespaces != ""])
	} else if c.Landlock < 6 {
		c.Missing = append(c.Missing, "Landlock before version 6: abstract sockets of the host stay reachable, and without "+
			"namespaces processes of the same user can be signalled")
	}
	if c.Landlock < landlockResolvesUnix && c.Namespaces == "" {
		c.Missing = append(c.Missing, "Unix sockets of the host that the function's user may open stay reachable")
	}
	if !c.SeparateUser {
		c.Missing = append(c.Missing, "no user of their own for functions: they run as the server's, kept apart by "+
			map[bool]string{true: "namespaces", false: "Landlock alone"}[c.Namespaces != ""])
	}
	if !c.Peers {
		c.Missing = append(c.Missing, "the kernel does not say who connects: the Runtime API takes any local process")
	}
}

// tryConfinement prepares an environment for a program that is not there. All
// went well when that is the only thing that went wrong.
func tryConfinement(way confinement, c HostCapability, userID int) error {
	dir, err := os.MkdirTemp("", "keyturn-probe-")
	if err != nil {
		return err
	}
	defer removeTree(dir)
	c.confinement = way
	h, err := newHost(Config{Dir: filepath.Join(dir, "d"), FirstUserID: userID}, c)
	if err != nil {
		return err
	}
	defer removeTree(h.temporary)
	if !way.ownUser() {
		userID = 0
	}
	scratch, err := h.newScratch("probe", userID)
	if err != nil {
		return err
	}
	plan, at, err := h.prepare(placement{task: h.empty, scratch: scratch, userID: userID, ephemeralMB: 1})
	if err != nil {
		return err
	}
	plan.Args[0] = at.task + "/probe"
	plan.Dir = at.task
	p, err := start(way, plan, func([]byte) {}, nil)
	if err != nil {
		return err
	}
	<-p.exited
	failure, ok := errors.AsType[*launchError](p.status.startError())
	if !ok {
		return errors.New("the launcher ended without a word; does main call LaunchIfAsked?")
	}
	if _, ok := failure.entrypoint(plan.Args[0]); !ok {
		return failure
	}
	return nil
}
