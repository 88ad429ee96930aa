package ssh

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

// key makes a public key out of one byte.
func key(t testing.TB, seed byte) ssh.PublicKey {
	t.Helper()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	k, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAddAndRemoveKeys(t *testing.T) {
	old, current, pending, other := key(t, 1), key(t, 2), key(t, 3), key(t, 4)
	line := func(k ssh.PublicKey, comment string) string { return publicLine(k, comment) }
	for name, tc := range map[string]struct {
		file, added, removed string
		missing              bool
	}{
		"empty": {missing: true},
		"alone": {
			file:  line(current, "c"),
			added: line(current, "c") + "\n" + line(pending, "p") + "\n",
		},
		"with options": {
			file:  `from="10.0.0.0/8,::1",command="echo \"a, b\"" ` + line(current, "c") + "\n",
			added: `from="10.0.0.0/8,::1",command="echo \"a, b\"" ` + line(current, "c") + "\n" + `from="10.0.0.0/8,::1",command="echo \"a, b\"" ` + line(pending, "p") + "\n",
		},
		"twice": {
			file: `from="a" ` + line(current, "") + "\n" + `from="b" ` + line(current, "") + "\n",
			added: `from="a" ` + line(current, "") + "\n" + `from="a" ` + line(pending, "p") + "\n" +
				`from="b" ` + line(current, "") + "\n" + `from="b" ` + line(pending, "p") + "\n",
		},
		"among others": {
			file:    "# note\n\n" + line(other, "o") + "\r\n  " + line(old, "x") + "\nnonsense\n" + line(current, "c") + "\n" + line(other, "z"),
			added:   "# note\n\n" + line(other, "o") + "\r\n  " + line(old, "x") + "\nnonsense\n" + line(current, "c") + "\n" + line(pending, "p") + "\n" + line(other, "z"),
			removed: "# note\n\n" + line(other, "o") + "\r\nnonsense\n" + line(current, "c") + "\n" + line(pending, "p") + "\n" + line(other, "z"),
		},
		"there already": {
			file:  line(pending, "as it was") + "\n" + line(current, "c") + "\n",
			added: line(pending, "as it was") + "\n" + line(current, "c") + "\n",
		},
		"commented out": {file: "#" + line(current, "c") + "\n", missing: true},
	} {
		t.Run(name, func(t *testing.T) {
			added, ok := addKey([]byte(tc.file), current, line(pending, "p"))
			if ok == tc.missing {
				t.Fatalf("got ok %v, want %v", ok, !tc.missing)
			}
			if tc.missing {
				return
			}
			if diff := cmp.Diff(tc.added, string(added)); diff != "" {
				t.Errorf("after adding (-want +got):\n%s", diff)
			}
			want := tc.removed
			if want == "" {
				want = tc.added
			}
			if diff := cmp.Diff(want, string(removeKey(added, old))); diff != "" {
				t.Errorf("after removing (-want +got):\n%s", diff)
			}
			again, ok := addKey(added, current, line(pending, "p"))
			if !ok || !bytes.Equal(again, added) {
				t.Error("adding again changed the file")
			}
		})
	}
}

// FuzzAuthorizedKeys demands of any file that lines of others survive byte by
// byte, and that adding and removing a key are inverse.
func FuzzAuthorizedKeys(f *testing.F) {
	current, pending := key(f, 2), key(f, 3)
	for _, seed := range []string{"", "\n", "# x\n", publicLine(current, "c"), `no-pty,from="a,b" ` + publicLine(current, "") + "\r\n\r\n", "ssh-rsa AAAA\x00\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		file = append(file, "\n"+publicLine(current, "ours")+"\n"...)
		if len(removeKey(file, pending)) != len(file) {
			return
		}
		added, ok := addKey(file, current, publicLine(pending, "new"))
		if !ok {
			t.Fatal("the current key's line was not found")
		}
		if !bytes.Equal(removeKey(added, pending), file) {
			t.Errorf("got\n%q\nafter adding and removing, want\n%q", removeKey(added, pending), file)
		}
	})
}

func TestChecksum(t *testing.T) {
	for _, text := range []string{"", "x", "123456789", strings.Repeat("keyturn\n", 10000)} {
		cmd := exec.Command("cksum")
		cmd.Stdin = strings.NewReader(text)
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		sum, size := checksum([]byte(text))
		if got := fmt.Sprintf("%d %d\n", sum, size); got != string(want) {
			t.Errorf("got %q for %d bytes, want %q", got, len(text), want)
		}
	}
}

// TestPrograms demands what every login shell passes on unchanged.
func TestPrograms(t *testing.T) {
	for _, program := range []string{readProgram, writeProgram} {
		if i := strings.IndexAny(program, "'\\!\n"); i >= 0 {
			t.Errorf("the program holds %q", program[i])
		}
	}
}

func TestHostKeys(t *testing.T) {
	a, b := key(t, 1), key(t, 2)
	bare := strings.Fields(publicLine(a, ""))
	for name, tc := range map[string]struct {
		text, address string
		ok            bool
	}{
		"base64":             {bare[1], "h.example:22", true},
		"a key":              {publicLine(a, "root@h"), "h.example:2222", true},
		"known_hosts":        {"h.example,10.0.0.1 " + publicLine(a, ""), "h.example:22", true},
		"with a port":        {"[h.example]:2222 " + publicLine(a, ""), "h.example:2222", true},
		"another port":       {"[h.example]:2222 " + publicLine(a, ""), "h.example:22", false},
		"a pattern":          {"*.example " + publicLine(a, ""), "h.example:22", true},
		"another host":       {"x.example " + publicLine(a, ""), "h.example:22", false},
		"another key":        {publicLine(b, ""), "h.example:22", false},
		"one of several":     {publicLine(b, "") + "\n# note\n\n" + publicLine(a, ""), "h.example:22", true},
		"revoked":            {publicLine(a, "") + "\n@revoked * " + publicLine(a, ""), "h.example:22", false},
		"nothing of the two": {"# nothing", "h.example:22", false},
	} {
		t.Run(name, func(t *testing.T) {
			known, err := parseKnownHosts(tc.text, []string{tc.address})
			if err != nil {
				t.Fatal(err)
			}
			err = known.check(tc.address, tcp{}, a)
			if (err == nil) != tc.ok {
				t.Errorf("got %v, want accepted: %v", err, tc.ok)
			}
			if err != nil && explain(err, a).Cause != "host key" {
				t.Errorf("got the cause %s", explain(err, a).Cause)
			}
		})
	}
	if _, err := parseKnownHosts("not a key", []string{"h:22"}); err == nil {
		t.Error("nonsense was taken for a host's key")
	}
}

// tcp is an address that no line names.
type tcp struct{}

func (tcp) Network() string { return "tcp" }
func (tcp) String() string  { return "203.0.113.9:22" }
