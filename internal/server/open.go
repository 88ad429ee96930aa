package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/keyturn/keyturn/internal/integrity"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/rekey"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/folder"
	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/sqlite"
	"github.com/keyturn/keyturn/internal/trail"
)

// metaMadeBy is the key of the store's record of what made it.
const metaMadeBy = "made by"

// openStore opens the database and refuses one that the other kind of server
// made: a throw-away server's keys are known to everybody.
func (s *Server) openStore(ctx context.Context) (err error) {
	if s.cfg.StoreURL == "" {
		if err := refuseLost(s.cfg.Dir); err != nil {
			return err
		}
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

// refuseLost refuses a folder that has been in use and whose database is gone:
// SQLite would make another one, and all secrets would seem never to have been.
func refuseLost(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, nodeFile)); err != nil {
		return nil // not in use yet; or something is wrong that others will say
	}
	const advice = "but the folder has been in use: restore a backup, or give --store if the server stores in PostgreSQL"
	path := sqlite.Path(dir)
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is missing, %s", path, advice)
	case err == nil && info.Size() == 0:
		return fmt.Errorf("%s is empty, %s", path, advice)
	}
	return nil
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

// openKeeper opens the holders of the root keys: the one that wraps and those
// that it replaces. A missing key file is made only while all that is stored
// can be opened without it.
func openKeeper(ctx context.Context, c *Config, s *store.Store) (*keeper.Set, error) {
	var old []key.Keeper
	for _, text := range c.OldRootKeys {
		k, err := keeper.Open(ctx, text, false)
		if err != nil {
			return nil, fmt.Errorf("opening an old root key: %w", err)
		}
		old = append(old, k)
	}
	fresh, err := openWithout(ctx, s, old)
	if err != nil {
		return nil, err
	}
	first, err := openRootKey(ctx, c, fresh)
	if err != nil {
		return nil, err
	}
	if len(old) > 0 {
		// The new key may not have been used yet.
		if err := keeper.Check(ctx, first); err != nil {
			return nil, err
		}
	}
	set := keeper.NewSet(first, old...)
	return set, rekey.Check(ctx, s, set)
}

func openRootKey(ctx context.Context, c *Config, fresh bool) (key.Keeper, error) {
	if c.RootKey != "" {
		return keeper.Open(ctx, c.RootKey, fresh)
	}
	return keeper.OpenFile(filepath.Join(c.Dir, rootKeyFile), fresh)
}

// openWithout reports whether the keepers open all that is sealed, which is
// so while nothing is.
func openWithout(ctx context.Context, s *store.Store, keepers []key.Keeper) (bool, error) {
	var ids []string
	err := s.View(ctx, func(tx *store.Tx) (err error) {
		ids, err = tx.RootKeyIDs()
		return err
	})
	for _, k := range keepers {
		ids = slices.DeleteFunc(ids, func(id string) bool { return id == k.ID() })
	}
	return len(ids) == 0, err
}

// openSealer opens the sealer of the deployment, made on first use.
func openSealer(ctx context.Context, s *store.Store, k key.Keeper) (*key.Sealer, error) {
	wrapped, err := sealerKey(ctx, s, k)
	if err != nil {
		return nil, err
	}
	sealer, err := key.NewSealer(ctx, k, wrapped)
	if err != nil {
		return nil, fmt.Errorf("opening the store with the root key %s: %w", k.ID(), err)
	}
	return sealer, nil
}

// openTrail opens the record of this node, whose segments are sealed.
func (s *Server) openTrail() (err error) {
	if s.node, err = nodeName(s.cfg.Dir); err != nil {
		return err
	}
	if s.seals, err = integrity.NewKeys(s.sealer); err != nil {
		return err
	}
	if s.recorder, err = trail.NewRecorder(filepath.Join(s.cfg.Dir, "trail")); err != nil {
		return err
	}
	s.integrity = integrity.New(integrity.Config{Store: s.store, Keys: s.seals, Recorder: s.recorder, Node: s.node, Logger: s.cfg.Logger})
	return s.recorder.Seal(s.node, s.seals.Segments)
}

// sealerKey returns the sealer's wrapped key. Several nodes may start at
// once: the first one's key wins.
func sealerKey(ctx context.Context, s *store.Store, k key.Keeper) (wrapped []byte, err error) {
	read := func(tx *store.Tx) (err error) {
		wrapped, err = tx.SealerKey()
		return err
	}
	if err := s.View(ctx, read); err != nil || wrapped != nil {
		return wrapped, err
	}
	made, err := key.NewSealerKey(ctx, k)
	if err != nil {
		return nil, err
	}
	err = s.Update(ctx, func(tx *store.Tx) error {
		if err := read(tx); err != nil || wrapped != nil {
			return err
		}
		wrapped = made
		return tx.SetSealerKey(made)
	})
	return wrapped, err
}
