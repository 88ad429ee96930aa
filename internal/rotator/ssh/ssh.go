// Package ssh rotates SSH key pairs. Two keys overlap: after a rotation the
// new key and the one before log in, until the next rotation.
//
// A secret holds engine (ssh), host or hosts, port, username, privateKey in
// OpenSSH's form, publicKey, and hostKey: lines of known_hosts, or bare keys
// that count for every host. A host that shows another key is not talked to.
// Optional are comment, keyType (ed25519, ecdsa-p256 or rsa-4096) and
// authorizedKeysFile, a path that is taken from the user's home.
//
// The pair is made here, and the private key goes nowhere but into the
// secret. The user itself edits its authorized_keys over an SSH session, by a
// plain POSIX shell: the new file is written beside the old one and moved
// over it if that is still as it was read. Lines are known by their keys, and
// all that are not of this secret are left as they are. The new key's line
// has the options (from, command and others) of the line of the key that
// logged in. A key is removed only by a session that the new key has opened.
package ssh

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// hostsAtOnce is how many hosts of a secret are worked on at a time.
const hostsAtOnce = 8

// SingleUser rotates the key pair of a user by the user itself.
type SingleUser struct{}

// NewSingleUser makes the rotator.
func NewSingleUser() rotator.Rotator { return SingleUser{} }

// Create implements rotator.Rotator.
func (SingleUser) Create(ctx context.Context, r *rotator.Rotation) (plaintext.Value, error) {
	d, err := r.Current(ctx)
	if err != nil {
		return plaintext.Value{}, err
	}
	cur, err := parse(d)
	if err != nil {
		return plaintext.Value{}, err
	}
	private, public, err := generate(d.Text("keyType"), cur.comment)
	if err != nil {
		return plaintext.Value{}, err
	}
	return d.With("privateKey", private).With("publicKey", public).Value(), nil
}

// Kind describes its secrets.
func (SingleUser) Kind() rotator.Kind { return kind }

// LogIn proves that a version of a secret logs in to every one of its hosts.
// It changes nothing there.
func (SingleUser) LogIn(ctx context.Context, d *rotator.Document) error {
	as, err := parse(d)
	if err != nil {
		return err
	}
	for _, address := range as.hosts {
		c, err := dial(ctx, address, as)
		if err != nil {
			return rotator.Classify(err)
		}
		_ = c.Close() // the login was the proof
	}
	return nil
}

// versions are the secret's versions in setSecret.
type versions struct {
	cur, next identity
	prev      *identity // nil if there is none that could be used
}

func load(ctx context.Context, r *rotator.Rotation) (v versions, err error) {
	d, err := r.Current(ctx)
	if err == nil {
		v.cur, err = parse(d)
	}
	if err != nil {
		return v, err
	}
	if d, err = r.Pending(ctx); err == nil {
		v.next, err = parse(d)
	}
	if err != nil {
		return v, err
	}
	if d, err = r.Previous(ctx); err != nil || d == nil {
		return v, err
	}
	if prev, err := parse(d); err == nil && prev.username == v.cur.username {
		v.prev = &prev
	}
	return v, nil
}

// Set implements rotator.Rotator: every host accepts the pending key
// afterwards, or the error names those that do not.
func (SingleUser) Set(ctx context.Context, r *rotator.Rotation) error {
	v, err := load(ctx, r)
	if err != nil {
		return err
	}
	if v.cur.username != v.next.username {
		return rotator.Invalid("Attempting to modify user %s other than current user %s", v.next.username, v.cur.username)
	}
	if cur, next := strings.Join(v.cur.hosts, ", "), strings.Join(v.next.hosts, ", "); cur != next {
		return rotator.Invalid("Attempting to modify user for host %s other than current host %s", next, cur)
	}
	return onEach(ctx, r, v.next.hosts, "Unable to set the key of user "+v.next.username+" for secret arn "+r.SecretID,
		func(ctx context.Context, h *host) error { return h.set(ctx, v) })
}

// Test implements rotator.Rotator.
func (SingleUser) Test(ctx context.Context, r *rotator.Rotation) error {
	d, err := r.Pending(ctx)
	if err != nil {
		return err
	}
	next, err := parse(d)
	if err != nil {
		return err
	}
	return onEach(ctx, r, next.hosts, "Unable to log in with pending secret of secret ARN "+r.SecretID,
		func(ctx context.Context, h *host) error {
			c, err := h.login(ctx, next, "pending", 1)
			if err != nil {
				return err
			}
			defer c.Close()
			h.logf("Successfully signed into %s with AWSPENDING secret in %s.", h.address, r.SecretID)
			return nil
		})
}

// host is one host of the secret in one step.
type host struct {
	*rotator.Rotation
	address string
	log     *sync.Mutex
}

func (h *host) logf(format string, args ...any) {
	h.log.Lock()
	defer h.log.Unlock()
	h.Logf(format, args...)
}

// onEach works on every host, and fails with all failures if one does.
func onEach(ctx context.Context, r *rotator.Rotation, addresses []string, what string, work func(context.Context, *host) error) error {
	var group errgroup.Group
	group.SetLimit(hostsAtOnce)
	var log sync.Mutex
	failures := make([]*rotator.Failure, len(addresses))
	for i, address := range addresses {
		group.Go(func() error {
			if err := work(ctx, &host{r, address, &log}); err != nil {
				failures[i] = rotator.Classify(err)
			}
			return nil
		})
	}
	_ = group.Wait() // the failures are kept beside
	var failed []string
	var first *rotator.Failure
	for i, f := range failures {
		if f == nil {
			continue
		}
		if first == nil {
			first = f
		}
		failed = append(failed, addresses[i]+": "+f.Error())
	}
	switch {
	case first == nil:
		return nil
	case len(addresses) > 1:
		what = fmt.Sprintf("%s on %d of %d hosts", what, len(failed), len(addresses))
	}
	e := rotator.Invalid("%s: %s", what, strings.Join(failed, "; "))
	e.Cause = first.Cause
	return e
}

// set makes one host accept the pending key, and no longer the one before the
// current.
func (h *host) set(ctx context.Context, v versions) error {
	c, refused := h.login(ctx, v.next, "pending", 4)
	switch {
	case refused == nil:
		h.logf("AWSPENDING secret is already set as key on %s for secret arn %s.", h.address, h.SecretID)
	case refused.Cause != rotator.CauseAuthentication:
		return refused
	default:
		if err := h.add(ctx, v, refused); err != nil {
			return err
		}
		if c, refused = h.login(ctx, v.next, "pending", 1); refused != nil {
			return rotator.NewFailure(refused.Cause, "", "the pending key stands in "+v.next.file+" and yet: "+refused.Text, refused)
		}
		h.logf("Successfully set key for user %s on %s for secret arn %s.", v.next.username, h.address, h.SecretID)
	}
	defer c.Close()
	if v.prev == nil || same(v.prev.public, v.cur.public) || same(v.prev.public, v.next.public) {
		return nil
	}
	changed, err := h.rewrite(ctx, c, v.next.file, func(file []byte) ([]byte, error) { return removeKey(file, v.prev.public), nil })
	if changed {
		h.logf("Removed the key of the previous version on %s.", h.address)
	}
	return err
}

// add adds the pending key by a session of the current or the previous one.
func (h *host) add(ctx context.Context, v versions, refused *rotator.Failure) error {
	texts := []string{"pending: " + refused.Text}
	candidates := []*identity{&v.cur, v.prev}
	for i, label := range []string{"current", "previous"} {
		by := candidates[i]
		if by == nil {
			continue
		}
		c, f := h.login(ctx, *by, label, 3-i)
		if f != nil {
			if texts = append(texts, label+": "+f.Text); f.Cause == rotator.CauseAuthentication {
				continue
			}
			return rotator.NewFailure(f.Cause, f.Code, strings.Join(texts, "; "), f)
		}
		defer c.Close()
		_, err := h.rewrite(ctx, c, v.next.file, func(file []byte) ([]byte, error) {
			changed, ok := addKey(file, by.public, v.next.line())
			if !ok {
				return nil, rotator.NewFailure(rotator.CauseOther, "", "the "+label+" key logs in and does not stand in "+v.next.file+
					": the secret's member authorizedKeysFile has to name the file in which it does", nil)
			}
			return changed, nil
		})
		return err
	}
	return rotator.NewFailure(rotator.CauseAuthentication, "", "the host takes neither key: "+strings.Join(texts, "; "), refused)
}

func same(a, b ssh.PublicKey) bool { return string(a.Marshal()) == string(b.Marshal()) }
