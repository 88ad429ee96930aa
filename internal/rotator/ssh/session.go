package ssh

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/keyturn/keyturn/internal/rotator"
)

const (
	// editLimit is the most that reading or writing a file may take.
	editLimit = 10 * time.Second
	// maxFile is the largest authorized_keys file that is edited, in bytes.
	maxFile = 1 << 20
	// edits is how often a file that others change meanwhile is read anew.
	edits = 5
)

// probe is a public key that no host has.
func probe() ed25519.PublicKey { return make([]byte, ed25519.PublicKeySize) }

// login opens a connection to the host as a version of the secret. It may
// take its share of the step's time, which as many logins are left for.
func (h *host) login(ctx context.Context, as identity, label string, left int) (*ssh.Client, *rotator.Failure) {
	limit := h.Share(ctx, left)
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := dial(within, h.address, as)
	if err == nil {
		h.logf("Successfully established SSH connection as user '%s' with host: '%s', with the %s key", as.username, h.address, label)
		return c, nil
	}
	f := rotator.Classify(err)
	if f.Cause == rotator.CauseTimeout {
		f = rotator.NewFailure(f.Cause, "", fmt.Sprintf("%s: the attempt with the %s secret had %s and used %s",
			f.Text, label, limit.Round(time.Millisecond), time.Since(began).Round(time.Millisecond)), f)
	}
	h.logf("Login with the %s secret failed (user '%s', host '%s'): %v", label, as.username, h.address, f)
	return nil, f
}

// dial connects, checks the host's key and logs in. The connection lasts as
// long as the step.
func dial(ctx context.Context, address string, as identity) (*ssh.Client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline) // a TCP connection takes deadlines
	var untrusted *rotator.Failure
	cfg := &ssh.ClientConfig{
		User: as.username, Auth: []ssh.AuthMethod{ssh.PublicKeys(as.signer)}, ClientVersion: "SSH-2.0-keyturn-rotator",
		HostKeyAlgorithms: as.known.algorithms(address),
		HostKeyCallback: func(name string, remote net.Addr, key ssh.PublicKey) error {
			err := as.known.check(name, remote, key)
			if err != nil {
				untrusted = explain(err, key)
			}
			return err
		},
	}
	c, channels, requests, err := ssh.NewClientConn(conn, address, cfg)
	switch {
	case err == nil:
		_ = conn.SetDeadline(time.Time{})
		return ssh.NewClient(c, channels, requests), nil
	case untrusted != nil:
		err = untrusted
	case ctx.Err() != nil:
		err = ctx.Err()
	default:
		err = refusal(err)
	}
	conn.Close()
	return nil, err
}

// refusal classifies what a host said in the handshake. Its texts hold names
// of methods and algorithms only.
func refusal(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "unable to authenticate"):
		return rotator.NewFailure(rotator.CauseAuthentication, "", "the host does not take the key for this user", err)
	case strings.Contains(text, "no common algorithm for host key"):
		return rotator.NewFailure(rotator.CauseHostKey, "", "the host has no key of the kind that the secret's member hostKey knows", err)
	}
	return err
}

// The programs that a host runs. They are handed to the user's login shell,
// whichever it is, and so are one line without single quotes, backslashes and
// exclamation marks; what varies comes by standard input. The word in their
// output tells it from that of the shell's own start.
const (
	said = "keyturn-authorized-keys"
	find = `LC_ALL=C; export LC_ALL; umask 077; IFS= read -r f || exit 9; ` +
		`case $f in "~/"*) f=$HOME/${f#"~/"} ;; /*) ;; *) f=$HOME/$f ;; esac; ` +
		`if [ -h "$f" ]; then f=$(readlink -f "$f") || exit 8; fi; `
	readProgram = find + `[ -f "$f" ] || { echo "$f is not a file" >&2; exit 1; }; echo ` + said + `; cat <"$f"`
	// The new file is complete, or it is not moved over the old one.
	writeProgram = find + `IFS= read -r old; IFS= read -r new; t=$f.keyturn.$$; clean() { rm -f "$t"; }; ` +
		`set -C; : >"$t" || exit 5; trap clean 0; trap "exit 7" 1 2 13 15; set +C; cat >"$t" || exit 5; ` +
		`[ "$(cksum <"$t")" = "$new" ] || { echo "the new file is not complete" >&2; exit 6; }; ` +
		`[ "$(cksum <"$f")" = "$old" ] || exit 75; ` +
		`sync "$t" 2>/dev/null || :; mv -f "$t" "$f" || exit 5; echo ` + said
	// changedMeanwhile is the status of a program that found another file.
	changedMeanwhile = 75
)

// rewrite replaces a file on the host by what edit makes of it.
func (h *host) rewrite(ctx context.Context, c *ssh.Client, path string, edit func([]byte) ([]byte, error)) (changed bool, err error) {
	for range edits {
		old, err := execute(ctx, c, readProgram, path+"\n")
		if err != nil {
			return false, during("reading "+path, err)
		}
		next, err := edit(old)
		if err != nil || bytes.Equal(old, next) {
			return false, err
		}
		_, err = execute(ctx, c, writeProgram, path+"\n"+sumLine(old)+sumLine(next)+string(next))
		if exit, ok := errors.AsType[*ssh.ExitError](err); ok && exit.ExitStatus() == changedMeanwhile {
			continue
		}
		return err == nil, during("writing "+path, err)
	}
	return false, rotator.NewFailure(rotator.CauseOther, "", path+" was changed by others each time it was to be written", nil)
}

func sumLine(b []byte) string {
	sum, size := checksum(b)
	return fmt.Sprintf("%d %d\n", sum, size)
}

func during(what string, err error) error {
	if err == nil {
		return nil
	}
	f := rotator.Classify(err)
	return rotator.NewFailure(f.Cause, f.Code, what+": "+f.Text, f)
}

// execute runs a program on the host and returns what it printed after its
// word.
func execute(ctx context.Context, c *ssh.Client, program, input string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, editLimit)
	defer cancel()
	// A host that no longer answers is left.
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	session, err := c.NewSession()
	if err != nil {
		return nil, overdue(ctx, err)
	}
	defer session.Close()
	var out, errout capped
	session.Stdin, session.Stdout, session.Stderr = strings.NewReader(input), &out, &errout
	err = session.Run("exec /bin/sh -c '" + program + "'")
	_, text, ran := bytes.Cut(out.b, []byte(said+"\n"))
	switch {
	case err != nil:
		return nil, overdue(ctx, complaint(err, string(errout.b)))
	case !ran:
		return nil, rotator.NewFailure(rotator.CausePermission, "",
			"the host does not run a shell for this key: its line may force another command", nil)
	case out.over:
		return nil, rotator.NewFailure(rotator.CauseOther, "", "the file is larger than 1 MiB", nil)
	}
	return slices.Clone(text), nil
}

func overdue(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// complaint classifies the failure of a program by what it said last.
func complaint(err error, text string) error {
	if _, ok := errors.AsType[*ssh.ExitError](err); !ok {
		if _, gone := errors.AsType[*ssh.ExitMissingError](err); gone {
			return rotator.NewFailure(rotator.CauseUnavailable, "", "the host broke the session off", err)
		}
		return err
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	cause := rotator.CauseOther
	switch {
	case strings.Contains(last, "Permission denied"), strings.Contains(last, "Operation not permitted"):
		cause = rotator.CausePermission
	case strings.Contains(last, "Read-only file system"):
		cause = rotator.CauseReadOnly
	case last == "":
		last = "no shell ran for this key: its line may force another command"
	}
	return rotator.NewFailure(cause, "", last, err)
}

// capped keeps the output of a program up to the size of the largest file.
type capped struct {
	b    []byte
	over bool
}

// Write implements io.Writer.
func (c *capped) Write(p []byte) (int, error) {
	room := maxFile - len(c.b)
	c.over = c.over || len(p) > room
	c.b = append(c.b, p[:min(len(p), room)]...)
	return len(p), nil
}
