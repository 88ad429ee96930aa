package secretsmanager

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

// Replicator carries primaries over to the regions of their replicas: values
// are opened under the primary's keys and sealed under the replica's.
// Several nodes may run one each: what one has done the others find done.
type Replicator struct {
	service *Service
	wake    chan struct{}
}

func newReplicator(s *Service) *Replicator {
	return &Replicator{s, make(chan struct{}, 1)}
}

// replicationPoll is how long a change that another node made waits at most.
const replicationPoll = 5 * time.Second

// Wake makes Run look for work at once.
func (r *Replicator) Wake() {
	select {
	case r.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// Run replicates until ctx ends. What fails for a reason that the user can
// remove is told in ReplicationStatus; other failures are logged and tried
// again.
func (r *Replicator) Run(ctx context.Context) error {
	tick := time.NewTicker(replicationPoll)
	defer tick.Stop()
	for {
		if err := r.Replicate(ctx); err != nil && ctx.Err() == nil {
			r.service.Logger.ErrorContext(ctx, "replicating secrets", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-tick.C:
		}
	}
}

// Replicate brings every replica up to date that is behind now, and returns
// the failures that are to be tried again.
func (r *Replicator) Replicate(ctx context.Context) error {
	const batch = 1000
	var stale []store.ReplicaRef
	err := r.service.Store.View(ctx, func(tx *store.Tx) (err error) {
		stale, err = tx.StaleReplicas(batch)
		return err
	})
	if err != nil {
		return err
	}
	var failures []error
	for _, ref := range stale {
		if ctx.Err() != nil {
			break
		}
		if err := retry(ctx, func(int) error { return r.sync(ctx, ref) }); err != nil {
			failures = append(failures, fault.Wrap(err, "replicating to "+ref.Region))
		}
	}
	return errors.Join(failures...)
}

// copying is one replica on its way: what was read, then what was made of it.
type copying struct {
	primary *secret.Secret
	// target has the primary's name in the replica's region: its copy, or a
	// secret to be replaced, or nil.
	target *secret.Secret
	// ours tells that target is the copy.
	ours bool
	key  *key.Record
	// boxes are the values that the target lacks; made holds them sealed for
	// it, by version.
	boxes []sealed
	made  map[string][]byte
}

// sync brings one replica up to date. It returns errStale when the secret
// changed on the way.
func (r *Replicator) sync(ctx context.Context, ref store.ReplicaRef) error {
	s := r.service
	var c copying
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		c.primary, err = tx.SecretByID(ref.SecretID)
		return err
	})
	if notFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.ensureDefaultKey(ctx, c.primary.Account, ref.Region); err != nil {
		return err
	}
	err = s.Store.View(ctx, func(tx *store.Tx) (err error) {
		c, err = r.read(tx, ref)
		return err
	})
	if err == nil && c.primary != nil {
		if err = r.seal(ctx, &c, ref.Region); err == nil {
			return r.store(ctx, ref, &c)
		}
	}
	if err == nil || notFound(err) {
		return nil // the replica is no longer wanted
	}
	return r.fail(ctx, ref, &c, err)
}

// read finds out what is missing in the region. The primary of the result is
// nil when the replica is no longer wanted.
func (r *Replicator) read(tx *store.Tx, ref store.ReplicaRef) (c copying, err error) {
	primary, err := tx.SecretByID(ref.SecretID)
	if err != nil {
		return c, err
	}
	row := replicaIn(primary, ref.Region)
	if row == nil {
		return c, nil
	}
	c.primary = primary
	c.target, err = tx.FindSecret(primary.Account, ref.Region, arn.SecretRef{Name: primary.Name})
	switch {
	case notFound(err):
		c.target = nil
	case err != nil:
		return c, err
	default:
		if c.ours = isReplicaOf(c.target, primary); !c.ours && (!row.Overwrite || c.target.IsReplica() || len(c.target.Replicas) > 0) {
			return c, fault.New(fault.Exists, "Replication failed: Secret name %s already exists in region %s.", primary.Name, ref.Region)
		}
	}
	if c.key, err = r.service.Guard.KeyIn(tx, primary.Account, ref.Region, row.KMSKeyID); err != nil {
		return c, cannotSeal(err)
	}
	return c, r.readMissing(tx, &c)
}

// readMissing reads the values that the target does not have.
func (r *Replicator) readMissing(tx *store.Tx, c *copying) error {
	for i := range c.primary.Versions {
		v := &c.primary.Versions[i]
		if !v.HasValue {
			continue
		}
		if c.ours {
			if have := c.target.Version(v.ID); have != nil && have.HasValue {
				continue
			}
		}
		rec, err := r.service.Guard.KeyIn(tx, c.primary.Account, c.primary.Region, v.KeyARN)
		if err != nil {
			return cannotOpen(err)
		}
		box, err := boxOf(tx, c.primary, v, rec)
		if err != nil {
			return err
		}
		c.boxes = append(c.boxes, box)
	}
	return nil
}

// seal opens the missing values and seals them for the region.
func (r *Replicator) seal(ctx context.Context, c *copying, region string) error {
	c.made = make(map[string][]byte, len(c.boxes))
	address := arn.Secret(region, c.primary.Account, c.primary.Name, c.primary.Suffix)
	for i := range c.boxes {
		plain, err := r.service.open(ctx, &c.boxes[i])
		if err != nil {
			return err
		}
		if c.made[c.boxes[i].context[key.SecretVersionID]], err = r.service.seal(ctx, c.key, address, c.boxes[i].context[key.SecretVersionID], plain); err != nil {
			return err
		}
	}
	return nil
}

// store writes the copy and tells the primary, if neither changed meanwhile.
func (r *Replicator) store(ctx context.Context, ref store.ReplicaRef, c *copying) error {
	return r.service.Store.Update(ctx, func(tx *store.Tx) error {
		primary, err := unchanged(tx, c.primary)
		if err != nil {
			return err
		}
		after := primary.Clone()
		row := replicaIn(after, ref.Region)
		if row == nil {
			return errStale
		}
		if row.KMSKeyID != replicaIn(c.primary, ref.Region).KMSKeyID {
			return errStale
		}
		target := c.copy(ref.Region, row.KMSKeyID)
		if err := c.saveTarget(tx, target); err != nil {
			return err
		}
		row.Status, row.Message, row.Revision, row.Overwrite = secret.InSync, "Replication succeeded", primary.Revision, false
		if err := tx.SaveSecret(primary, after); err != nil {
			return err
		}
		return tx.Record(trail.SecretEvent("ReplicationSucceeded", target.ARN(), uuid.NewString(), ""))
	})
}

// unchanged reads the secret again and returns errStale if it changed or
// went.
func unchanged(tx *store.Tx, seen *secret.Secret) (*secret.Secret, error) {
	s, err := tx.SecretByID(seen.ID)
	if notFound(err) || err == nil && s.Revision != seen.Revision {
		return nil, errStale
	}
	return s, err
}

// copy makes the replica's record. Rotation stays with the primary.
func (c *copying) copy(region, kmsKeyID string) *secret.Secret {
	p := c.primary
	t := &secret.Secret{
		ID: uuid.NewString(), Account: p.Account, Region: region, Name: p.Name, Suffix: p.Suffix,
		Description: p.Description, KMSKeyID: kmsKeyID, Type: p.Type, OwningService: p.OwningService,
		CreatedAt: p.CreatedAt, ChangedAt: p.ChangedAt, Tags: p.Clone().Tags, Policy: p.Policy, PrimaryRegion: p.Region,
	}
	if c.ours {
		t.ID, t.AccessedOn, t.Revision = c.target.ID, c.target.AccessedOn, c.target.Revision
	}
	for _, v := range p.Clone().Versions {
		v.AccessedOn, v.KeyARN, v.Sealed = time.Time{}, "", nil
		if box := c.made[v.ID]; box != nil {
			v.KeyARN, v.Sealed = c.key.ARN(), box
		}
		if c.ours {
			if have := c.target.Version(v.ID); have != nil {
				v.AccessedOn = have.AccessedOn
				if v.Sealed == nil {
					v.KeyARN = have.KeyARN
				}
			}
		}
		t.Versions = append(t.Versions, v)
	}
	return t
}

// saveTarget stores the copy in place of what is there.
func (c *copying) saveTarget(tx *store.Tx, target *secret.Secret) error {
	var err error
	switch {
	case c.target == nil:
		err = tx.SaveSecret(nil, target)
	case c.ours:
		err = tx.SaveSecret(c.target, target)
	default:
		if _, err := unchanged(tx, c.target); err != nil {
			return err
		}
		if err := recordVersions(tx, "StartSecretVersionDelete", uuid.NewString(), c.target, time.Now()); err != nil {
			return err
		}
		if err := purge(tx, c.target, uuid.NewString(), time.Now()); err != nil {
			return err
		}
		err = tx.SaveSecret(nil, target)
	}
	if fault.Is(err, fault.Exists) || fault.Is(err, fault.Conflict) {
		return errStale
	}
	return err
}

// fail tells the primary why its replica cannot be made. Faults of the
// server are not told but returned, to be tried again.
func (r *Replicator) fail(ctx context.Context, ref store.ReplicaRef, c *copying, cause error) error {
	if _, ok := codeOf(cause); !ok || c.primary == nil || errors.Is(cause, errStale) {
		return cause
	}
	return r.service.Store.Update(ctx, func(tx *store.Tx) error {
		primary, err := unchanged(tx, c.primary)
		if err != nil {
			return err
		}
		after := primary.Clone()
		row := replicaIn(after, ref.Region)
		if row == nil {
			return nil
		}
		row.Status, row.Message, row.Revision = secret.Failed, messageOf(cause), primary.Revision
		if err := tx.SaveSecret(primary, after); err != nil {
			return err
		}
		address := arn.Secret(ref.Region, primary.Account, primary.Name, primary.Suffix)
		return tx.Record(trail.SecretEvent("ReplicationFailed", address, uuid.NewString(), messageOf(cause)))
	})
}

// replicaIn returns the primary's replica in the region; nil for none.
func replicaIn(primary *secret.Secret, region string) *secret.Replica {
	for i := range primary.Replicas {
		if primary.Replicas[i].Region == region {
			return &primary.Replicas[i]
		}
	}
	return nil
}
