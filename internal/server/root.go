package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
)

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

// followRoot keeps the files in the data folder true when operators replace
// the access keys of the first account's root.
func (s *Server) followRoot(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	stop := s.store.Watch(func(topics []string) {
		if topics == nil || slices.Contains(topics, store.IdentityTopic(s.cfg.Account)) {
			select {
			case changed <- struct{}{}:
			default: // it will look anyway
			}
		}
	})
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		if err := s.renewRoot(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("writing the root credentials", "error", err)
		}
	}
}

// renewRoot shows another root access key where the one shown is gone.
func (s *Server) renewRoot(ctx context.Context) error {
	if s.cfg.RootAccessKeyID != "" {
		return nil
	}
	err := s.store.View(ctx, func(tx *store.Tx) error {
		_, err := tx.AccessKey(s.root.AccessKeyID)
		return err
	})
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	if s.root, err = rootCredential(ctx, &s.cfg, s.store, s.sealer); err != nil {
		return err
	}
	return s.announce()
}
