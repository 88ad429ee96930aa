package rekey

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
)

// Waits after a pass that left something: the first, doubled each time, up to
// the last.
const (
	firstWait = time.Second
	lastWait  = time.Minute
)

// maxFailures in a row end a pass: the keeper does not answer.
const maxFailures = 3

// Run does what is asked for until ctx ends, beginning with what an earlier
// process left.
func (r *Rekeyer) Run(ctx context.Context) error {
	stop := r.Store.Watch(func(topics []string) {
		if topics == nil || slices.Contains(topics, topic) {
			select {
			case r.wake <- struct{}{}:
			default: // it is awake already
			}
		}
	})
	defer stop()
	wait := firstWait
	for {
		left, err := r.work(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			r.Logger.Error("re-wrapping keys", "error", err)
		}
		pause := look
		if wait = min(2*wait, lastWait); left {
			pause = wait
		} else {
			wait = firstWait
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-time.After(pause):
		}
	}
}

// work makes one pass over what is left, if there is anything and no other
// node does it. left says that there is more to do.
func (r *Rekeyer) work(ctx context.Context) (left bool, err error) {
	p, err := r.claim(ctx)
	if err != nil || p == nil {
		return err != nil, err
	}
	pass := &pass{Rekeyer: r, id: p.ID}
	if err = pass.run(ctx); err == nil {
		p, err = pass.change(ctx, func(tx *store.Tx, p *Progress) error {
			p.Failing, p.Error = pass.failing, pass.reason
			return r.finish(tx, p, time.Now())
		})
	}
	if errors.Is(err, errLost) {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	if p.State == Done {
		r.Logger.Info("all keys are wrapped by the root key", "root_key", p.RootKeyID, "rewrapped", p.Rewrapped)
	}
	return p.State != Done, nil
}

// claim returns the progress if there is work and this node may do it. A
// finished rekey begins again when another node, not yet started with the new
// root key, wrapped something with an old one since.
func (r *Rekeyer) claim(ctx context.Context) (*Progress, error) {
	var p *Progress
	mine := func(tx *store.Tx) (bool, error) {
		var err error
		if p, err = load(tx); err != nil || p == nil || p.RootKeyID != r.Keepers.ID() {
			return false, err
		}
		if p.State == Done {
			ids, err := tx.RootKeyIDs()
			return err == nil && !slices.Equal(ids, []string{p.RootKeyID}), err
		}
		return p.Owner == "" || p.Owner == r.Node || !r.Store.Now().Before(p.LeaseUntil), nil
	}
	found := false
	err := r.Store.View(ctx, func(tx *store.Tx) (err error) {
		found, err = mine(tx)
		return err
	})
	if err != nil || !found {
		return nil, err
	}
	err = r.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if found, err = mine(tx); err != nil || !found {
			return err
		}
		p.State, p.FinishedAt = Running, time.Time{}
		p.Owner, p.LeaseUntil = r.Node, r.Store.Now().Add(lease)
		return save(tx, p)
	})
	if err != nil || !found {
		return nil, err
	}
	return p, nil
}

// errLost tells that another node does the work, or another rekey began.
var errLost = errors.New("the rekey is another node's now")

// pass is one walk over all that other root keys wrapped.
type pass struct {
	*Rekeyer
	id      string
	failing int
	// failed counts failures in a row; reason is the last one's text.
	failed int
	reason string
}

// change changes the progress, in one transaction with whatever else fn does,
// while this node holds it.
func (w *pass) change(ctx context.Context, fn func(*store.Tx, *Progress) error) (*Progress, error) {
	var p *Progress
	err := w.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if p, err = load(tx); err != nil {
			return err
		}
		if p == nil || p.ID != w.id || p.Owner != w.Node {
			return errLost
		}
		p.LeaseUntil = w.Store.Now().Add(lease)
		if err := fn(tx, p); err != nil {
			return err
		}
		return save(tx, p)
	})
	return p, err
}

func (w *pass) run(ctx context.Context) error {
	var ids []string
	err := w.Store.View(ctx, func(tx *store.Tx) (err error) {
		ids, err = tx.RootKeyIDs()
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id == w.Keepers.ID() {
			continue
		}
		if err := w.material(ctx, id); err != nil {
			return err
		}
	}
	return w.sealer(ctx)
}

// material wraps anew what one root key wrapped.
func (w *pass) material(ctx context.Context, rootKeyID string) error {
	for after := (store.MaterialPlace{}); w.failed < maxFailures; {
		var list []store.WrappedMaterial
		err := w.Store.View(ctx, func(tx *store.Tx) (err error) {
			list, err = tx.MaterialOf(rootKeyID, after, batch)
			return err
		})
		if err != nil || len(list) == 0 {
			return err
		}
		if err := w.rewrap(ctx, list); err != nil {
			return err
		}
		after = list[len(list)-1].MaterialPlace
	}
	return nil
}

// rewrap wraps a batch anew, and stores what became of it.
func (w *pass) rewrap(ctx context.Context, list []store.WrappedMaterial) error {
	anew := make([][]byte, len(list))
	for i := range list {
		if w.failed == maxFailures {
			break
		}
		anew[i] = w.one(ctx, list[i].Wrapped, "key", list[i].KeyID)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := w.change(ctx, func(tx *store.Tx, p *Progress) error {
		for i := range list {
			if anew[i] == nil {
				continue
			}
			switch err := tx.Rewrap(&list[i], anew[i]); {
			case err == nil:
				p.Rewrapped++
			case !fault.Is(err, fault.NotFound): // deleted or changed meanwhile
				return err
			}
		}
		p.Failing, p.Error = w.failing, w.reason
		return nil
	})
	return err
}

// one wraps one thing anew; nil when that fails.
func (w *pass) one(ctx context.Context, wrapped []byte, what ...any) []byte {
	anew, err := key.Rewrap(ctx, w.Keepers, wrapped)
	if err != nil && ctx.Err() == nil {
		w.failing++
		w.failed++
		w.reason = err.Error()
		w.Logger.Error("re-wrapping a key", append(what, "error", err)...)
	}
	if err != nil {
		return nil
	}
	w.failed = 0
	return anew
}

// sealer wraps the Sealer's key anew, which is done last: once the new root
// key wraps it, the old one wraps nothing.
func (w *pass) sealer(ctx context.Context) error {
	if w.failing > 0 {
		return nil
	}
	var wrapped []byte
	err := w.Store.View(ctx, func(tx *store.Tx) (err error) {
		wrapped, err = tx.SealerKey()
		return err
	})
	if err != nil {
		return err
	}
	if id, ok := key.WrappedBy(wrapped); !ok || id == w.Keepers.ID() {
		return nil
	}
	anew := w.one(ctx, wrapped, "key", "sealer")
	if anew == nil {
		return ctx.Err()
	}
	_, err = w.change(ctx, func(tx *store.Tx, p *Progress) error {
		stored, err := tx.SealerKey()
		if err != nil || !bytes.Equal(stored, wrapped) {
			return err
		}
		p.Rewrapped++
		return tx.SetSealerKey(anew)
	})
	return err
}

// sealerRoot returns the ID of the root key that wrapped the Sealer's key.
func sealerRoot(tx *store.Tx) (string, error) {
	wrapped, err := tx.SealerKey()
	id, _ := key.WrappedBy(wrapped)
	return id, err
}
