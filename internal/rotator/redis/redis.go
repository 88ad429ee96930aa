// Package redis rotates the passwords of Redis and Valkey ACL users.
//
// A user keeps the password of the version before, as AWS's template for
// ElastiCache users does it. Users are not replicated: the secret's member
// nodes lists every further node, and all of them are set before a step
// succeeds. Only hashes of passwords are sent to be set, so none can get into
// a server's log.
package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"strconv"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// Engine is Redis from version 6, and Valkey.
type Engine struct{}

// New makes the engine.
func New() rotator.OverlapEngine { return Engine{} }

// Kind implements rotator.OverlapEngine. Colons, slashes, at signs and quotes
// are kept out of passwords because applications write them into URLs and
// configuration files.
func (Engine) Kind() rotator.Kind {
	return rotator.Kind{
		Title: "Redis", Accepts: []string{"redis", "valkey"}, Port: 6379, UsersPerNode: true,
		Passwords: rotator.PasswordRules{Length: 32, Exclude: `:/@"'\`},
	}
}

// Connect implements rotator.OverlapEngine: it logs in to every node.
func (Engine) Connect(ctx context.Context, l rotator.Login, secure *tls.Config) (rotator.OverlapSession, error) {
	s := &session{login: l, secure: secure}
	for _, address := range append([]string{net.JoinHostPort(l.Host, strconv.Itoa(l.Port))}, l.Nodes...) {
		n := &node{address: address, named: len(l.Nodes) > 0}
		s.nodes = append(s.nodes, n)
		if err := n.logIn(ctx, secure, l.Username, l.Password); err != nil {
			s.closeAll()
			return nil, err
		}
	}
	return s, nil
}

// session is a login to every node.
type session struct {
	login  rotator.Login
	secure *tls.Config
	nodes  []*node
}

// node is one server of a session.
type node struct {
	address string
	named   bool // errors name it, because it is not the only one
	conn    *conn
}

func (n *node) logIn(ctx context.Context, secure *tls.Config, user string, password plaintext.Value) error {
	var err error
	if n.conn, err = dial(ctx, n.address, secure); err == nil {
		err = n.conn.do(ctx, "AUTH", user, password.RevealText())
	}
	return n.failure("AUTH", err)
}

// do runs a command on the node. name is what errors call it: never its
// arguments.
func (n *node) do(ctx context.Context, name string, args ...string) error {
	return n.failure(name, n.conn.do(ctx, args...))
}

func (n *node) failure(command string, err error) error {
	if err == nil {
		return nil
	}
	f := classify(command, err)
	if n.named {
		f = rotator.NewFailure(f.Cause, f.Code, "node "+n.address+": "+f.Text, f)
	}
	return f
}

// Ping implements rotator.OverlapSession. The login was the proof; what is
// left is that the server is ready, and that a password is needed at all: a
// user with nopass takes any.
func (s *session) Ping(ctx context.Context) error {
	for _, n := range s.nodes {
		if err := n.do(ctx, "PING", "PING"); err != nil && causeOf(err) != rotator.CausePermission {
			return err
		}
		stranger := &node{address: n.address, named: n.named}
		err := stranger.logIn(ctx, s.secure, s.login.Username, plaintext.Of(rand.Text()))
		stranger.close()
		if err == nil {
			return n.failure("AUTH", errNoPass)
		}
		if causeOf(err) != rotator.CauseAuthentication {
			return err
		}
	}
	return nil
}

func causeOf(err error) rotator.Cause {
	f, _ := errors.AsType[*rotator.Failure](err)
	if f == nil {
		return ""
	}
	return f.Cause
}

// SetPasswords implements rotator.OverlapSession by one atomic command on
// each node.
func (s *session) SetPasswords(ctx context.Context, user string, passwords ...plaintext.Value) error {
	command := []string{"ACL", "SETUSER", user, "resetpass"}
	for _, p := range passwords {
		sum := sha256.Sum256(p.Reveal())
		command = append(command, "#"+hex.EncodeToString(sum[:]))
	}
	for _, n := range s.nodes {
		if err := n.do(ctx, "ACL SETUSER", command...); err != nil {
			return err
		}
	}
	return nil
}

// Persist implements rotator.OverlapSession: users are kept in the ACL file,
// or else in the server's configuration file.
func (s *session) Persist(ctx context.Context) (lasting bool, err error) {
	lasting = true
	for _, n := range s.nodes {
		err := n.do(ctx, "ACL SAVE", "ACL", "SAVE")
		if has(err, noFile) {
			err = n.do(ctx, "CONFIG REWRITE", "CONFIG", "REWRITE")
		}
		switch {
		case has(err, noFile):
			lasting = false
		case err != nil:
			return false, err
		}
	}
	return lasting, nil
}

// Close implements rotator.OverlapSession.
func (s *session) Close(context.Context) error {
	s.closeAll()
	return nil
}

func (s *session) closeAll() {
	for _, n := range s.nodes {
		n.close()
	}
}

func (n *node) close() {
	if n.conn != nil {
		n.conn.close()
	}
}
