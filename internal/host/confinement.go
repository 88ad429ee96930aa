package host

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/function/environment"
)

// confinement looks at what keeps functions from the server and from each
// other, and at what runs them.
func (x *examiner) confinement(ctx context.Context) []Check {
	capability, runtimes, err := environment.Survey(ctx, environment.Config{
		Interpreters: x.Interpreters, StrictRuntimes: x.StrictRuntimes,
	})
	checks := []Check{
		system(), kernel(capability), namespaces(capability), users(capability), peers(capability), x.egress(),
	}
	if err != nil {
		return append(checks, Check{Code: "H07", Title: "interpreters", State: Unknown, Text: err.Error()})
	}
	return append(checks, x.interpreters(runtimes)...)
}

func system() Check {
	c := Check{Code: "H01", Title: "system", State: OK, Text: runtime.GOOS + "/" + runtime.GOARCH}
	if release := kernelRelease(); release != "" {
		c.Text += ", kernel " + release
	}
	if runtime.GOOS != "linux" {
		c.State = Finding
		c.Means = "Nothing confines functions on this system: they run as the server's user and can read what it can read, so keyturn serve refuses to run them. It serves secrets, and keyturn dev runs functions."
		c.Remedies = []string{"Run the server on Linux."}
	}
	return c
}

// scopedLandlock is the version of Landlock's interface from which it keeps
// signals and abstract sockets inside (linux/landlock.h).
const scopedLandlock = 6

func kernel(capability environment.HostCapability) Check {
	c := Check{Code: "H02", Title: "Landlock", State: OK, Text: fmt.Sprintf("version %d", capability.Landlock)}
	switch {
	case runtime.GOOS != "linux":
		c.State, c.Text = Note, "not on this system"
	case capability.Landlock == 0 && capability.Unsafe():
		c.State, c.Text = Finding, "not in this kernel, and no namespaces either"
		c.Means = "Nothing would keep a function from the server's files, so functions are refused."
		c.Remedies = []string{"Use a kernel of Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK, and landlock in the list of its lsm= parameter.",
			"In a container, allow the landlock_* system calls in its seccomp profile."}
	case capability.Landlock == 0:
		c.State, c.Text = Note, "not in this kernel"
		c.Means = "One layer less: functions are kept from the server's files by their namespaces alone."
		c.Remedies = []string{"Use a kernel of Linux 5.13 or newer with landlock in the list of its lsm= parameter."}
	case capability.Landlock < scopedLandlock:
		c.State = Note
		c.Means = "Functions can reach abstract Unix sockets of the host."
		c.Remedies = []string{"Linux 6.12 brings version 6."}
	}
	return c
}

func namespaces(capability environment.HostCapability) Check {
	c := Check{Code: "H03", Title: "namespaces for functions", State: OK, Text: "own file system and processes (" + capability.Namespaces + " namespaces)"}
	if capability.Namespaces != "" {
		return c
	}
	c.State, c.Text = Finding, "none"
	for _, missing := range capability.Missing {
		if strings.HasPrefix(missing, "no namespaces") {
			c.Text = missing
		}
	}
	c.Means = "Functions see the host's processes and file names, and code that expects Lambda's paths (/var/task, /opt) does not find them."
	c.Remedies = []string{
		"As root: give the server CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID and CAP_CHOWN, as deploy/systemd/keyturn.service does.",
		"As another user: sysctl -w user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1, and on Ubuntu 24.04 kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile with userns.",
		"In a container: allow clone with namespace flags, mount and pivot_root in its seccomp profile.",
	}
	if runtime.GOOS != "linux" {
		c.State, c.Remedies = Note, nil
	}
	return c
}

func users(capability environment.HostCapability) Check {
	c := Check{Code: "H04", Title: "users of functions", State: OK, Text: "each environment has a user of its own"}
	if capability.SeparateUser {
		return c
	}
	c.State = Note
	c.Text = fmt.Sprintf("functions run as the server's user, number %d", os.Geteuid())
	c.Means = "One layer less: what keeps functions from the server is their namespaces and Landlock, not the owner of the files."
	c.Remedies = []string{"Start the server as root with few capabilities, as deploy/systemd/keyturn.service does: then each environment gets a user of its own."}
	if capability.Unsafe() && runtime.GOOS == "linux" {
		c.State = Finding
		c.Means = "Nothing would keep a function from the server's files, so functions are refused."
	}
	return c
}

func peers(capability environment.HostCapability) Check {
	if capability.Peers {
		return Check{Code: "H05", Title: "Runtime API", State: OK, Text: "the kernel says who connects"}
	}
	c := Check{Code: "H05", Title: "Runtime API", State: Finding, Text: "the kernel does not say who connects",
		Means:    "Any process of this machine could take a function's events, which name secrets, or answer for it.",
		Remedies: []string{"Mount /proc without hidepid and subset=pid, and allow netlink sockets of the family sock_diag."}}
	if runtime.GOOS != "linux" {
		c.State, c.Remedies = Note, nil
	}
	return c
}

// egress looks at what could hold functions to their VPC.
func (x *examiner) egress() Check {
	c := Check{Code: "H06", Title: "egress of functions in a VPC", State: OK}
	held, err := environment.ProbeEgress()
	switch held {
	case environment.HeldByAddress:
		c.Text = "--enforce-vpc can hold them by address, for TCP and UDP"
		return c
	case environment.HeldByPort:
		c.State, c.Text = Note, "--enforce-vpc could hold them by TCP port only"
	default:
		c.State, c.Text = Note, "--enforce-vpc could not hold them"
	}
	if err != nil {
		c.Text += ": " + err.Error()
	}
	if x.EnforceVPC && held == environment.NotHeld {
		c.State, c.Means = Finding, "The server is to be started with --enforce-vpc, and refuses to start."
	}
	c.Remedies = []string{"Linux 5.8 or newer that permits seccomp, pidfd_getfd and the memory of the server's own children: kernel.yama.ptrace_scope of 0 or 1, or CAP_SYS_PTRACE."}
	return c
}

// interpreters tells for which runtimes there is an interpreter: one check
// for those that are there, one for those that are substituted, one for those
// that are not there.
func (x *examiner) interpreters(runtimes []environment.RuntimeSupport) (checks []Check) {
	exact, instead, missing := sortRuntimes(runtimes)
	if len(exact) > 0 {
		checks = append(checks, one("H07", "interpreters", OK, strings.Join(exact, ", "), "")...)
	}
	if len(instead) > 0 {
		checks = append(checks, one("H07", "interpreters of other versions", Note, strings.Join(instead, ", "),
			"Functions of these runtimes run with another version of their language than on AWS; their log says so.",
			"Install the versions, or name them with --runtime RUNTIME=PATH.", "Refuse such functions with --strict-runtimes.")...)
	}
	if len(missing) == 0 {
		return checks
	}
	state := Note
	if len(exact)+len(instead) == 0 {
		state = Finding
	}
	return append(checks, one("H07", "missing interpreters", state, strings.Join(missing, ", "),
		"Functions of these runtimes are refused. Built-in rotators and provided runtimes need none.",
		"Install python3, or nodejs of version 18 or newer, where every user may execute it, or name one with --runtime RUNTIME=PATH.")...)
}

func sortRuntimes(runtimes []environment.RuntimeSupport) (exact, instead, missing []string) {
	for _, r := range runtimes {
		switch {
		case r.Path == "":
			missing = append(missing, r.Runtime)
		case r.Notice != "":
			instead = append(instead, r.Runtime+" by "+r.Path)
		default:
			exact = append(exact, r.Runtime+" by "+r.Path)
		}
	}
	for _, list := range [][]string{exact, instead, missing} {
		slices.Sort(list)
	}
	return exact, instead, missing
}
