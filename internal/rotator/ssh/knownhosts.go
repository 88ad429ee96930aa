package ssh

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/keyturn/keyturn/internal/rotator"
)

// knownHosts are the keys by which hosts prove who they are.
type knownHosts struct {
	check ssh.HostKeyCallback
	// authorities says that some hosts show certificates.
	authorities bool
}

// parseKnownHosts reads the lines of a hostKey member. A line that is a key
// alone counts for all the addresses.
func parseKnownHosts(text string, addresses []string) (knownHosts, error) {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if key, ok := bareKey(line); ok {
			line = knownhosts.Line(addresses, key)
		}
		lines = append(lines, line)
	}
	// The package reads files only. This one holds nothing but public keys.
	file, err := os.CreateTemp("", "known-hosts-")
	if err != nil {
		return knownHosts{}, fmt.Errorf("writing known hosts: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(strings.Join(lines, "\n") + "\n")
	if err := errors.Join(err, file.Close()); err != nil {
		return knownHosts{}, fmt.Errorf("writing known hosts: %w", err)
	}
	check, err := knownhosts.New(file.Name())
	if err != nil {
		return knownHosts{}, rotator.Invalid("The member hostKey of the secret's JSON holds neither lines of known_hosts nor public keys")
	}
	return knownHosts{check, strings.Contains(text, "@cert-authority")}, nil
}

// bareKey reads a line that is a public key: base64 alone, or as in
// authorized_keys.
func bareKey(line string) (ssh.PublicKey, bool) {
	words := strings.Fields(line)
	for i, word := range words[:min(2, len(words))] {
		blob, err := base64.StdEncoding.DecodeString(word)
		if err != nil {
			continue
		}
		key, err := ssh.ParsePublicKey(blob)
		if err == nil && (i == 0 || words[0] == key.Type()) {
			return key, true
		}
	}
	return nil, false
}

// algorithms asks a host for a key of a kind that is known, of which it may
// have several. Nil asks for any.
func (k knownHosts) algorithms(address string) []string {
	if k.authorities {
		return nil
	}
	nowhere := &net.TCPAddr{IP: net.IPv4zero}
	unknown, err := ssh.NewPublicKey(probe())
	if err != nil {
		return nil
	}
	mismatch, ok := errors.AsType[*knownhosts.KeyError](k.check(address, nowhere, unknown))
	if !ok {
		return nil
	}
	var names []string
	for _, want := range mismatch.Want {
		switch name := want.Key.Type(); name {
		case ssh.KeyAlgoRSA:
			names = append(names, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// explain says why a host was not believed.
func explain(err error, shown ssh.PublicKey) *rotator.Failure {
	text := "the host's key is revoked"
	if mismatch, ok := errors.AsType[*knownhosts.KeyError](err); ok {
		fingerprint := ssh.FingerprintSHA256(shown)
		text = "the secret's member hostKey knows no key of this host, which shows " + shown.Type() + " " + fingerprint
		if len(mismatch.Want) > 0 {
			text = "the host shows the key " + shown.Type() + " " + fingerprint + ", which is not the one in the secret's member hostKey"
		}
	} else if _, ok := errors.AsType[*knownhosts.RevokedError](err); !ok {
		text = "the host's certificate is not valid"
	}
	return rotator.NewFailure(rotator.CauseHostKey, "", text, err)
}
