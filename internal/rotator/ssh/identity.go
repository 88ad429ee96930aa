package ssh

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"net"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// kind holds what every secret of SSH has to say.
var kind = rotator.Kind{
	Title: "SSH", Accepts: []string{"ssh"}, Required: []string{"username", "privateKey", "hostKey"}, Port: 22,
}

// identity is one version of a secret.
type identity struct {
	hosts          []string // host:port
	username, file string
	signer         ssh.Signer
	public         ssh.PublicKey
	comment        string
	known          knownHosts
}

// line is the key as authorized_keys has it, without options.
func (i identity) line() string { return publicLine(i.public, i.comment) }

func publicLine(key ssh.PublicKey, comment string) string {
	return strings.TrimSpace(strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + " " + comment)
}

// parse reads a secret.
func parse(d *rotator.Document) (identity, error) {
	l, err := kind.Login(d)
	if err != nil {
		return identity{}, err
	}
	i := identity{username: l.Username, file: d.Text("authorizedKeysFile")}
	if i.file == "" {
		i.file = "~/.ssh/authorized_keys"
	}
	if i.hosts, err = addresses(d, l.Port); err != nil {
		return identity{}, err
	}
	if err := i.readKeys(d); err != nil {
		return identity{}, err
	}
	for member, text := range map[string]string{"authorizedKeysFile": i.file, "comment": i.comment} {
		if strings.ContainsAny(text, "\r\n\x00") {
			return identity{}, rotator.Invalid("The member %s of the secret's JSON must be one line", member)
		}
	}
	i.known, err = parseKnownHosts(d.Text("hostKey"), i.hosts)
	return i, err
}

// readKeys reads the pair; the public key may be missing.
func (i *identity) readKeys(d *rotator.Document) error {
	signer, err := ssh.ParsePrivateKey(d.Secret("privateKey").Reveal())
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		return rotator.Invalid("The member privateKey of the secret's JSON is protected by a passphrase, which cannot be used")
	}
	if err != nil {
		return rotator.Invalid("The member privateKey of the secret's JSON is not a private key in OpenSSH's or PEM form")
	}
	i.signer, i.public = signer, signer.PublicKey()
	if text := d.Text("publicKey"); text != "" {
		public, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
		if err != nil {
			return rotator.Invalid("The member publicKey of the secret's JSON is not a public key as authorized_keys holds it")
		}
		if !same(public, i.public) {
			return rotator.Invalid("The member publicKey of the secret's JSON is not of the privateKey")
		}
		i.comment = comment
	}
	if comment := d.Text("comment"); comment != "" {
		i.comment = comment
	}
	return nil
}

// addresses lists host and hosts, with the port where they name none.
func addresses(d *rotator.Document, port int) ([]string, error) {
	var hosts []string
	if err := d.Decode("hosts", &hosts); err != nil {
		return nil, err
	}
	if host := d.Text("host"); host != "" {
		hosts = append([]string{host}, hosts...)
	}
	if len(hosts) == 0 {
		return nil, rotator.MissingKey("host")
	}
	var list []string
	seen := map[string]bool{}
	for _, h := range hosts {
		if _, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(strings.Trim(h, "[]"), strconv.Itoa(port))
		}
		if !seen[h] {
			seen[h], list = true, append(list, h)
		}
	}
	return list, nil
}

// generate makes a pair: the private key in OpenSSH's form, the public one as
// a line of authorized_keys.
func generate(keyType, comment string) (plaintext.Value, string, error) {
	var key crypto.Signer
	var err error
	switch keyType {
	case "", "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa-p256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa-4096":
		key, err = rsa.GenerateKey(rand.Reader, 4096)
	default:
		err = rotator.Invalid("The member keyType of the secret's JSON must be ed25519, ecdsa-p256 or rsa-4096, and is %q", keyType)
	}
	if err != nil {
		return plaintext.Value{}, "", err
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return plaintext.Value{}, "", err
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return plaintext.Value{}, "", err
	}
	return plaintext.New(pem.EncodeToMemory(block)), publicLine(public, comment), nil
}
