// Package rekey replaces the root key while the server works: it unwraps all
// key material, and the key of the Sealer, with the root keys that wrapped
// them, and wraps them with the one in use.
//
// Progress is in the store. Material is found by the root key that wrapped it
// and changed in small transactions, each of which changes only what is still
// as it was read. So a rekey may be killed at any moment; whichever node gets
// hold of it next finds what is left. While it runs every node opens what
// either root key wrapped.
package rekey

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/store"
)

// State is how far a rekey is.
type State string

// The states.
const (
	Running State = "IN_PROGRESS"
	Done    State = "COMPLETED"
)

// Progress is the stored record of the last rekey.
type Progress struct {
	ID string
	// RootKeyID names the root key that is to wrap everything.
	RootKeyID string
	State     State
	StartedAt time.Time
	// FinishedAt is zero while State is Running.
	FinishedAt time.Time
	// Rewrapped counts what was wrapped anew, Failing what could not be in
	// the last pass, and Error is why. Failing is tried again.
	Rewrapped, Failing int
	Error              string
	// Owner is the node that works, until LeaseUntil.
	Owner      string
	LeaseUntil time.Time
}

const (
	// metaKey is where the progress is kept in the store.
	metaKey = "rekey"
	// topic tells the nodes that a rekey was asked for.
	topic = "rekey"
	// lease is how long a node that went silent keeps the work to itself.
	lease = time.Minute
	// batch is how many generations one transaction changes.
	batch = 50
	// look is how often a node looks for work that it was not told of.
	look = 30 * time.Second
)

// Config is what a Rekeyer works with; all members are needed.
type Config struct {
	Store *store.Store
	// Keepers wraps with the root key in use and opens what others wrapped.
	Keepers *keeper.Set
	// Node names this node.
	Node   string
	Logger *slog.Logger
}

// Rekeyer does the work on one node. Use New.
type Rekeyer struct {
	Config
	wake chan struct{}
}

// New returns a Rekeyer; Run makes it work.
func New(cfg Config) *Rekeyer { return &Rekeyer{cfg, make(chan struct{}, 1)} }

// Start asks for a rekey to this node's root key, in the caller's transaction.
// One that runs already towards the same root key goes on instead.
func (r *Rekeyer) Start(tx *store.Tx, now time.Time) (*Progress, error) {
	p, err := load(tx)
	if err != nil {
		return nil, err
	}
	if p != nil && p.State == Running && p.RootKeyID == r.Keepers.ID() {
		return p, nil
	}
	p = &Progress{ID: uuid.NewString(), RootKeyID: r.Keepers.ID(), State: Running, StartedAt: now.UTC().Truncate(time.Millisecond)}
	if err := r.finish(tx, p, now); err != nil {
		return nil, err
	}
	tx.Touch(topic)
	return p, save(tx, p)
}

// Status is what there is to know about root keys.
type Status struct {
	// RootKeyID is the root key that wraps on this node.
	RootKeyID string
	// Last is the last rekey, or nil.
	Last *Progress
	// Remaining lists the other root keys that still wrap something.
	Remaining []Remaining
}

// Remaining counts what a root key wraps: key material, and the Sealer's key.
type Remaining struct {
	RootKeyID string
	Count     int
}

// Status returns where things stand.
func (r *Rekeyer) Status(tx *store.Tx) (*Status, error) {
	p, err := load(tx)
	if err != nil {
		return nil, err
	}
	s := &Status{RootKeyID: r.Keepers.ID(), Last: p}
	ids, err := tx.RootKeyIDs()
	if err != nil {
		return nil, err
	}
	sealer, err := sealerRoot(tx)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if id == s.RootKeyID {
			continue
		}
		n, err := tx.CountMaterial(id)
		if err != nil {
			return nil, err
		}
		if id == sealer {
			n++
		}
		s.Remaining = append(s.Remaining, Remaining{id, n})
	}
	return s, nil
}

// finish makes the progress Done if nothing is left to do.
func (r *Rekeyer) finish(tx *store.Tx, p *Progress, now time.Time) error {
	ids, err := tx.RootKeyIDs()
	if err == nil && slices.Equal(ids, []string{p.RootKeyID}) {
		p.State, p.FinishedAt = Done, now.UTC().Truncate(time.Millisecond)
		p.Failing, p.Error = 0, ""
		p.Owner, p.LeaseUntil = "", time.Time{}
	}
	return err
}

func load(tx *store.Tx) (*Progress, error) {
	text, err := tx.Meta(metaKey)
	if err != nil || text == "" {
		return nil, err
	}
	var p Progress
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, fault.Wrap(err, "reading the progress of the rekey")
	}
	return &p, nil
}

func save(tx *store.Tx, p *Progress) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fault.Wrap(err, "encoding the progress of the rekey")
	}
	return tx.SetMeta(metaKey, string(b))
}

// Check refuses root keys with which a part of what is stored would stay
// shut, and says which one is missing.
func Check(ctx context.Context, s *store.Store, keepers *keeper.Set) error {
	var ids []string
	err := s.View(ctx, func(tx *store.Tx) (err error) {
		ids, err = tx.RootKeyIDs()
		return err
	})
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(ids, keepers.Has)
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the store holds keys that the root key %s wrapped, but the root key given is %s: give the right one with --root-key, "+
		"or, to replace it by the one given, add it with --old-root-key and run keyturn rekey", strings.Join(missing, ", "), keepers.ID())
}
