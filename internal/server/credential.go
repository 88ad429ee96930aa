package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/uuid"
)

// Files in the data folder.
const (
	credentialFile = "root-credentials.json"
	reachFile      = "server.json"
	rootKeyFile    = "root.key"
	nodeFile       = "node.json"
)

// storedRoot is the text of the credential file.
type storedRoot struct {
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
}

// readCredential reads a credential file, which only its owner may read.
func readCredential(path string) (storedRoot, error) {
	info, err := os.Stat(path)
	if err != nil {
		return storedRoot{}, fmt.Errorf("reading the root credentials: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return storedRoot{}, fmt.Errorf("the root credentials %s have mode %04o and are open to others than their owner: chmod 600 %[1]s", path, mode)
	}
	stored, err := readJSON[storedRoot](path)
	if err != nil {
		return storedRoot{}, fmt.Errorf("reading the root credentials: %w", err)
	}
	if stored.AccessKeyID == "" || stored.SecretAccessKey == "" {
		return storedRoot{}, fmt.Errorf("%s holds no credentials: remove it, and the next start writes it again", path)
	}
	return stored, nil
}

// nodeName returns the name of the node whose data folder this is: made
// once, so that a restarted node knows what was its own.
func nodeName(dir string) (string, error) {
	path := filepath.Join(dir, nodeFile)
	name, err := readJSON[string](path)
	if errors.Is(err, fs.ErrNotExist) {
		name = uuid.NewString()
		return name, writeJSON(path, name)
	}
	return name, err
}

// ReadNode returns the name of the node whose data folder this is; "" when no
// server was started on it yet.
func ReadNode(dir string) (string, error) {
	name, err := readJSON[string](filepath.Join(dir, nodeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return name, err
}

// Reach is what a client on this machine needs to reach a running server.
type Reach struct {
	URL    string `json:"url"`
	Region string `json:"region"`
	// TLSCert is the server's certificate chain, or "".
	TLSCert string `json:"tlsCert,omitempty"`
	// PID is the server's process.
	PID         int    `json:"pid"`
	AccessKeyID string `json:"accessKeyId"`
	// SecretAccessKey is not in this file, but in the credentials' own or in
	// the environment.
	SecretAccessKey string `json:"-"`
}

// The variables that give a server its root credentials.
const (
	accessKeyVariable = "KEYTURN_ROOT_ACCESS_KEY_ID"
	secretKeyVariable = "KEYTURN_ROOT_SECRET_ACCESS_KEY"
)

// ReadReach tells how to reach the server that runs on a data folder. The
// secret key is the one in the folder or the one in the caller's environment,
// whichever belongs to the server's access key.
func ReadReach(dir string) (Reach, error) {
	reach, err := ReadAddress(dir)
	if err != nil {
		return Reach{}, err
	}
	if given := os.Getenv(secretKeyVariable); given != "" && os.Getenv(accessKeyVariable) == reach.AccessKeyID {
		reach.SecretAccessKey = given
		return reach, nil
	}
	stored, err := readCredential(filepath.Join(dir, credentialFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Reach{}, err
	}
	if stored.AccessKeyID != reach.AccessKeyID {
		return Reach{}, fmt.Errorf("the server of %s got its root credentials when it was started: set %s and %s here too", dir, accessKeyVariable, secretKeyVariable)
	}
	reach.SecretAccessKey = stored.SecretAccessKey
	return reach, nil
}

// ReadAddress is ReadReach without the secret key, for who needs none.
func ReadAddress(dir string) (Reach, error) {
	reach, err := readJSON[Reach](filepath.Join(dir, reachFile))
	if errors.Is(err, fs.ErrNotExist) || err == nil && syscall.Kill(reach.PID, 0) == syscall.ESRCH {
		return Reach{}, fmt.Errorf("no server runs on the data folder %s: start one with keyturn serve --data %[1]s", dir)
	}
	return reach, err
}

func readJSON[T any](path string) (v T, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("%s is damaged: %w", path, err)
	}
	return v, nil
}

// writeJSON writes a file with mode 0600 that is whole or absent, and its
// name, through to the disk.
func writeJSON(path string, v any) error {
	if err := replaceFile(path, v); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func replaceFile(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
