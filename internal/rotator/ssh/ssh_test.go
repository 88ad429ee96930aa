package ssh_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

const options = `no-pty,from="127.0.0.1,::1"`

// newTarget makes a user of a server: the current one, with a key of its own.
func newTarget(t testing.TB, s *server) *rotatortest.Target {
	private, public := newPair(t)
	s.write(t, options, public+" app@example")
	return &rotatortest.Target{
		Secret: map[string]any{
			"engine": "ssh", "host": "127.0.0.1", "port": s.port, "username": s.user, "privateKey": private, "publicKey": public + " app@example",
			"hostKey": s.hostKey,
		},
		Sensitive: []string{"privateKey"}, Changes: []string{"publicKey"},
		Login:  s.login,
		Grants: func(context.Context, string) (string, error) { return s.rest() },
	}
}

// rest is what a rotation must keep: others' lines, and the options and
// comments of the key's own.
func (s *server) rest() (string, error) {
	text, err := os.ReadFile(s.file())
	if err != nil {
		return "", err
	}
	var others, own []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		_, comment, opts, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || comment == "somebody else" {
			others = append(others, line)
			continue
		}
		own = append(own, strings.Join(opts, ",")+" "+comment)
	}
	if len(own) > 2 {
		return "", fmt.Errorf("the file has %d keys of the secret", len(own))
	}
	slices.Sort(own)
	return strings.Join(append(others, slices.Compact(own)...), "\n"), nil
}

func TestContract(t *testing.T) {
	var s *server // of the latest target
	rotatortest.Suite{
		Rotator: "ssh.single", Overlaps: true,
		New: func(t testing.TB) *rotatortest.Target {
			s = newServer(t)
			return newTarget(t, s)
		},
		Kill:   func(testing.TB) { s.kill() },
		Revive: func(t testing.TB) { s.start(t) },
		Faults: []rotatortest.Fault{
			{
				Name: "host key changed", Step: "setSecret", Cause: rotator.CauseHostKey, Lockout: true,
				Break: func(t testing.TB, _ *rotatortest.Target) func() {
					old, err := os.ReadFile(s.dir + "/host_key")
					if err != nil {
						t.Fatal(err)
					}
					s.kill()
					s.newHostKey(t)
					s.start(t)
					return func() {
						s.kill()
						if err := os.WriteFile(s.dir+"/host_key", old, 0o600); err != nil {
							t.Fatal(err)
						}
						s.start(t)
					}
				},
			}, {
				Name: "key refused", Step: "setSecret", Cause: rotator.CauseAuthentication, Lockout: true,
				Break: func(t testing.TB, _ *rotatortest.Target) func() {
					return s.alter(t, func(string) string { return othersKey + "\n" })
				},
			}, {
				Name: "forced command", Step: "setSecret", Cause: rotator.CausePermission,
				Break: func(t testing.TB, _ *rotatortest.Target) func() {
					return s.alter(t, func(text string) string { return strings.Replace(text, options, `command="exit 0"`, 1) })
				},
			}, {
				Name: "file cannot be written", Step: "setSecret", Cause: rotator.CausePermission,
				Break: func(t testing.TB, _ *rotatortest.Target) func() {
					chmod(t, s.keys(), 0o500)
					return func() { chmod(t, s.keys(), 0o700) }
				},
			}, {
				Name: "host is down", Step: "setSecret", Cause: rotator.CauseTCP, Lockout: true,
				Break: func(t testing.TB, _ *rotatortest.Target) func() {
					s.kill()
					return func() { s.start(t) }
				},
			}, {
				Name: "host does not answer", Step: "setSecret", Cause: rotator.CauseTimeout, Lockout: true,
				Break: func(t testing.TB, _ *rotatortest.Target) func() {
					s.kill()
					l, err := net.Listen("tcp", s.address())
					if err != nil {
						t.Fatal(err)
					}
					return func() { l.Close(); s.start(t) }
				},
			},
			change("user missing", rotator.CauseAuthentication, "username", "nobody-of-this-name"),
			change("host without an address", rotator.CauseDNS, "host", "no-such-host.invalid"),
			change("unknown host", rotator.CauseHostKey, "hostKey", "elsewhere.example "+strings.Join(strings.Fields(othersKey)[3:5], " ")),
			change("wrong file", rotator.CauseOther, "authorizedKeysFile", "nothing/authorized_keys"),
		},
	}.Run(t)
}

// change is a fault of the secret itself.
func change(name string, cause rotator.Cause, member, value string) rotatortest.Fault {
	return rotatortest.Fault{
		Name: name, Step: "setSecret", Cause: cause, Lockout: true,
		Change: func(secret map[string]any) { secret[member] = value },
	}
}

func chmod(t testing.TB, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// alter changes the authorized_keys file and returns how to change it back.
func (s *server) alter(t testing.TB, change func(string) string) func() {
	t.Helper()
	text, err := os.ReadFile(s.file())
	if err == nil {
		err = os.WriteFile(s.file(), []byte(change(string(text))), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.WriteFile(s.file(), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHosts rotates one key of two hosts, one of which is down at first, and
// each kind of key.
func TestHosts(t *testing.T) {
	a, b := newServer(t), newServer(t)
	target := newTarget(t, a)
	b.write(t, "", target.Secret["publicKey"].(string))
	secret := maps.Clone(target.Secret)
	delete(secret, "host")
	secret["hosts"] = []string{a.address(), b.address()}
	secret["hostKey"] = fmt.Sprintf("# both\n[127.0.0.1]:%d %s\n[127.0.0.1]:%d %s", a.port, a.hostKey, b.port, b.hostKey)
	secret["keyType"] = "rsa-4096"
	target.Secret = secret
	target.Login = func(ctx context.Context, secret map[string]any) error {
		for _, s := range []*server{a, b} {
			one := maps.Clone(secret)
			one["hostKey"] = s.hostKey
			if err := s.login(ctx, one); err != nil {
				return err
			}
		}
		return nil
	}
	server := apitest.Start(t, apitest.Options{})
	suite := rotatortest.Suite{Rotator: "ssh.single"}
	w := rotatortest.NewWorld(t, server, target, server.NewFunction(t, suite.Function("rotate")))
	b.kill()
	lines, err := w.Rotate()
	log := strings.Join(lines, "\n")
	if err == nil || !strings.Contains(log, "on 1 of 2 hosts: "+b.address()+": TCP: ") {
		t.Errorf("got %v\n%s\nwant the error to name the host that is down", err, log)
	}
	one := maps.Clone(w.Value("AWSPENDING"))
	one["hostKey"] = a.hostKey
	if err := a.login(t.Context(), one); err != nil {
		t.Errorf("the pending key does not log in to the other host: %v", err)
	}
	b.start(t)
	w.Converge()
	if key, _ := w.Value("AWSCURRENT")["publicKey"].(string); !strings.HasPrefix(key, "ssh-rsa ") || !strings.HasSuffix(key, " app@example") {
		t.Errorf("got the public key %s, want one of RSA with the comment", key)
	}
}

func TestECDSA(t *testing.T) {
	s := newServer(t)
	target := newTarget(t, s)
	target.Secret["keyType"], target.Secret["comment"] = "ecdsa-p256", "another comment"
	server := apitest.Start(t, apitest.Options{})
	w := rotatortest.NewWorld(t, server, target, server.NewFunction(t, rotatortest.Suite{Rotator: "ssh.single"}.Function("rotate")))
	if lines, err := w.Rotate(); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	w.LogsIn("the new version", w.Value("AWSCURRENT"))
	if key, _ := w.Value("AWSCURRENT")["publicKey"].(string); !strings.HasPrefix(key, "ecdsa-sha2-nistp256 ") || !strings.HasSuffix(key, " another comment") {
		t.Errorf("got the public key %s, want one of ECDSA with the comment", key)
	}
}
