package server

import (
	"context"
	"encoding/base64"
	"fmt"
	"path/filepath"

	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/folder"
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
func (s *Server) openStore(ctx context.Context) (err error) {
	if s.cfg.StoreURL == "" {
		s.store, err = sqlite.Open(ctx, sqlite.Config{Dir: s.cfg.Dir, Cache: s.cfg.CacheSize})
	} else if s.folder, err = folder.Open(s.cfg.Dir); err == nil {
		s.store, err = postgres.Open(ctx, postgres.Config{URL: s.cfg.StoreURL, Cache: s.cfg.CacheSize, Logger: s.cfg.Logger})
	}
	if err != nil {
		return err
	}
	kind := "serve"
	if s.cfg.Dev {
		kind = "dev"
	}
	madeBy, err := metaOr(ctx, s.store, metaMadeBy, func() (string, error) { return kind, nil })
	if err == nil && madeBy != kind {
		err = fmt.Errorf("the data of %s was made by keyturn %s, and keyturn %s does not touch it", s.cfg.Dir, madeBy, kind)
	}
	return err
}

// metaOr returns a record of the store's own, made on first use. Several
// nodes may start at once: the first one's value wins.
func metaOr(ctx context.Context, s *store.Store, name string, create func() (string, error)) (value string, err error) {
	read := func(tx *store.Tx) (err error) {
		value, err = tx.Meta(name)
		return err
	}
	if err := s.View(ctx, read); err != nil || value != "" {
		return value, err
	}
	made, err := create()
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
