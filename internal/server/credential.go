package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
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

// firstAccountName is the name of the account that the server is started for,
// as long as nobody gave it another.
const firstAccountName = "first account"

// rootCredential returns the root credential of the first account: the
// configured one, or one of those in the store, which all nodes share and
// which the credential file in the data folder shows. On first use one is
// made, or that of the file is taken over.
func rootCredential(ctx context.Context, c *Config, s *store.Store, sealer *key.Sealer) (authz.Root, error) {
	if c.RootAccessKeyID != "" {
		err := s.Update(ctx, func(tx *store.Tx) error { return firstAccount(tx, c.Account) })
		return authz.Root{Account: c.Account, AccessKeyID: c.RootAccessKeyID, SecretAccessKey: c.RootSecretAccessKey}, err
	}
	path := filepath.Join(c.Dir, credentialFile)
	file, err := readCredential(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return authz.Root{}, err
	}
	made := authz.NewRoot(c.Account)
	if file.AccessKeyID != "" {
		made.AccessKeyID, made.SecretAccessKey = file.AccessKeyID, file.SecretAccessKey
	}
	var keys []*iam.AccessKey
	err = s.Update(ctx, func(tx *store.Tx) (err error) {
		if err := firstAccount(tx, c.Account); err != nil {
			return err
		}
		if keys, err = tx.AccessKeys(c.Account, ""); err != nil || len(keys) > 0 {
			return err
		}
		k := &iam.AccessKey{ID: made.AccessKeyID, Account: c.Account, CreatedAt: time.Now().UTC().Truncate(time.Millisecond)}
		k.Secret = authz.SealAccessKey(sealer, k.ID, made.SecretAccessKey)
		keys = append(keys, k)
		return tx.SaveAccessKey(k)
	})
	if err != nil {
		return authz.Root{}, err
	}
	k := keys[max(0, slices.IndexFunc(keys, func(k *iam.AccessKey) bool { return k.ID == file.AccessKeyID }))]
	secret, err := authz.OpenAccessKey(sealer, k.ID, k.Secret)
	if err != nil {
		return authz.Root{}, fmt.Errorf("opening the root access key %s: %w", k.ID, err)
	}
	if shown := (storedRoot{k.ID, secret}); shown != file {
		err = writeJSON(path, shown)
	}
	return authz.Root{Account: c.Account, AccessKeyID: k.ID, SecretAccessKey: secret}, err
}

// firstAccount makes the record of the account that the server is started
// for, unless there is one.
func firstAccount(tx *store.Tx, id string) error {
	_, err := tx.Account(id)
	if fault.Is(err, fault.NotFound) {
		err = tx.SaveAccount(&iam.Account{ID: id, Name: firstAccountName, CreatedAt: time.Now().UTC().Truncate(time.Millisecond)})
	}
	return err
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
	reach, err := readJSON[Reach](filepath.Join(dir, reachFile))
	if errors.Is(err, fs.ErrNotExist) || err == nil && syscall.Kill(reach.PID, 0) == syscall.ESRCH {
		return Reach{}, fmt.Errorf("no server runs on the data folder %s: start one with keyturn serve --data %[1]s", dir)
	}
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
