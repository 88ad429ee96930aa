package server

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// Keys of the store's own records.
const (
	metaMadeBy = "made by"
	metaSealer = "sealer key"
)

// openStore opens the database and refuses one that the other kind of server
// made: a throw-away server's keys are known to everybody.
func openStore(ctx context.Context, c *Config) (s *store.Store, err error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	if c.StoreURL != "" {
		s, err = postgres.Open(ctx, postgres.Config{URL: c.StoreURL})
	} else {
		s, err = sqlite.Open(ctx, sqlite.Config{Dir: c.Dir})
	}
	if err != nil {
		return nil, err
	}
	kind := "serve"
	if c.Dev {
		kind = "dev"
	}
	madeBy, err := metaOr(ctx, s, metaMadeBy, func() (string, error) { return kind, nil })
	if err == nil && madeBy != kind {
		err = fmt.Errorf("the data of %s was made by keyturn %s, and keyturn %s does not touch it", c.Dir, madeBy, kind)
	}
	if err != nil {
		_ = s.Close() // the reason above is the one to report
		return nil, err
	}
	return s, nil
}

// metaOr returns a record of the store's own, made on first use. Several
// nodes may start at once: the first one's value wins.
func metaOr(ctx context.Context, s *store.Store, name string, make func() (string, error)) (value string, err error) {
	read := func(tx *store.Tx) (err error) {
		value, err = tx.Meta(name)
		return err
	}
	if err := s.View(ctx, read); err != nil || value != "" {
		return value, err
	}
	made, err := make()
	if err != nil {
		return "", err
	}
	err = s.Update(ctx, func(tx *store.Tx) error {
		if err := read(tx); err != nil || value != "" {
			return err
		}
		value = made
		return tx.SetMeta(name, made)
	})
	return value, err
}

// openKeeper opens the holder of the root key. A missing key file is made
// only while nothing is sealed yet.
func openKeeper(ctx context.Context, c *Config, s *store.Store) (key.Keeper, error) {
	if c.RootKey != "" {
		return keeper.NewEnvironment(c.RootKey)
	}
	sealed := ""
	err := s.View(ctx, func(tx *store.Tx) (err error) {
		sealed, err = tx.Meta(metaSealer)
		return err
	})
	if err != nil {
		return nil, err
	}
	return keeper.OpenFile(filepath.Join(c.Dir, rootKeyFile), sealed == "")
}

// openSealer opens the sealer of the deployment, made on first use. With a
// wrong root key it fails, before anything else is opened with that.
func openSealer(ctx context.Context, s *store.Store, k key.Keeper) (*key.Sealer, error) {
	text, err := metaOr(ctx, s, metaSealer, func() (string, error) {
		wrapped, err := key.NewSealerKey(ctx, k)
		return base64.StdEncoding.EncodeToString(wrapped), err
	})
	if err != nil {
		return nil, err
	}
	wrapped, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("the store's sealer key is damaged: %w", err)
	}
	sealer, err := key.NewSealer(ctx, k, wrapped)
	if err != nil {
		return nil, fmt.Errorf("opening the store with the root key %s: %w", k.ID(), err)
	}
	return sealer, nil
}
