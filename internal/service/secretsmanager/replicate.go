package secretsmanager

import (
	"context"
	"slices"
	"time"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// ReplicateSecretToRegions adds replicas, which the Replicator then makes. A
// region whose replication failed is tried again with the new settings; other
// regions that are there already stay as they are (assumed).
func (s *Service) ReplicateSecretToRegions(ctx context.Context, call *wire.Call, in *api.ReplicateSecretToRegionsRequest) (*api.ReplicateSecretToRegionsResponse, error) {
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Replicate, whole: true}, func(c changing) (*api.ReplicateSecretToRegionsResponse, error) {
		if err := s.checkReplicaKeys(c.tx, call, c.before, in.AddReplicaRegions); err != nil {
			return nil, err
		}
		if err := s.addReplicas(c.after, in.AddReplicaRegions, given(in.ForceOverwriteReplicaSecret)); err != nil {
			return nil, err
		}
		return &api.ReplicateSecretToRegionsResponse{ARN: new(c.after.ARN()), ReplicationStatus: replicationStatus(c.after)}, nil
	})
}

// addReplicas notes the regions in the secret, which becomes a primary.
func (s *Service) addReplicas(sec *secret.Secret, regions []api.ReplicaRegionType, overwrite bool) error {
	seen := map[string]bool{}
	for _, in := range regions {
		region := given(in.Region)
		if region == sec.Region || !slices.Contains(s.Regions, region) {
			return fault.New(fault.Parameter, "Invalid replica region.")
		}
		if seen[region] {
			return fault.New(fault.Parameter, "Duplicate replica region: %s.", region)
		}
		seen[region] = true
		r := secret.Replica{Region: region, KMSKeyID: given(in.KmsKeyId), Status: secret.InProgress, Overwrite: overwrite}
		i := slices.IndexFunc(sec.Replicas, func(r secret.Replica) bool { return r.Region == region })
		switch {
		case i < 0:
			sec.Replicas = append(sec.Replicas, r)
		case sec.Replicas[i].Status == secret.Failed:
			sec.Replicas[i] = r
		}
	}
	sec.PrimaryRegion = sec.Region
	return nil
}

// checkReplicaKeys refuses replication by a caller who may not open the
// secret's values, or seal them in a region: the Replicator, which works later
// and by itself, asks nobody (AWS docs for the permissions). Whatever else is
// wrong with a key is told by the replica's status.
func (s *Service) checkReplicaKeys(tx *store.Tx, call *wire.Call, sec *secret.Secret, regions []api.ReplicaRegionType) error {
	if len(regions) == 0 {
		return nil
	}
	for i := range sec.Versions {
		v := &sec.Versions[i]
		if !v.HasValue {
			continue
		}
		if err := checkAccount(call, sec, sec.KMSKeyID); err != nil {
			return err
		}
		use := authz.KeyUse{Action: "kms:Decrypt", Context: key.SecretContext(sec.ARN(), v.ID), Via: via}
		if err := s.checkKeyUse(tx, call, sec.Account, v.KeyARN, use); err != nil {
			return err
		}
	}
	for i := range regions {
		if err := s.checkReplicaKey(tx, call, sec, given(regions[i].Region), given(regions[i].KmsKeyId)); err != nil {
			return err
		}
	}
	return nil
}

// checkReplicaKey is checkReplicaKeys for the key of one region, in which the
// call is taken to be made. The default key takes no permission.
func (s *Service) checkReplicaKey(tx *store.Tx, call *wire.Call, sec *secret.Secret, region, keyID string) error {
	if isDefaultKey(sec.Account, keyID) {
		return checkAccount(call, sec, keyID)
	}
	there := *call
	there.Region = region
	context := key.SecretContext(arn.Secret(region, sec.Account, sec.Name, sec.Suffix), key.KeyProbe)
	for _, action := range []string{"kms:GenerateDataKey", "kms:Encrypt"} {
		use := authz.KeyUse{Action: action, Context: context, Via: via}
		if err := s.checkKeyUse(tx, &there, sec.Account, keyID, use); err != nil {
			return err
		}
	}
	return nil
}

// checkKeyUse refuses a use of a key that the caller is not permitted.
func (s *Service) checkKeyUse(tx *store.Tx, call *wire.Call, account, id string, use authz.KeyUse) error {
	_, err := s.Guard.Key(tx, call, account, id, use)
	switch fault.KindOf(err) {
	case fault.Denied:
		return cannotSeal(err)
	case fault.Internal, fault.Unavailable:
		return err
	}
	return nil
}

// RemoveRegionsFromReplication removes replicas at once, without a recovery
// window (AWS docs).
func (s *Service) RemoveRegionsFromReplication(ctx context.Context, call *wire.Call, in *api.RemoveRegionsFromReplicationRequest) (*api.RemoveRegionsFromReplicationResponse, error) {
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Replicate}, func(c changing) (*api.RemoveRegionsFromReplicationResponse, error) {
		for _, region := range in.RemoveReplicaRegions {
			i := slices.IndexFunc(c.after.Replicas, func(r secret.Replica) bool { return r.Region == region })
			if i < 0 {
				return nil, fault.New(fault.Parameter, "The secret %s isn't replicated to the region %s.", c.after.ARN(), region)
			}
			c.after.Replicas = slices.Delete(c.after.Replicas, i, i+1)
			if err := removeReplica(c, region); err != nil {
				return nil, err
			}
		}
		status := replicationStatus(c.after)
		if status == nil {
			status = []api.ReplicationStatusType{} // AWS docs
		}
		return &api.RemoveRegionsFromReplicationResponse{ARN: new(c.after.ARN()), ReplicationStatus: status}, nil
	})
}

// removeReplica removes the secret's copy in the region, if it was made.
func removeReplica(c changing, region string) error {
	replica, err := findReplica(c.tx, c.after, region)
	if err != nil || replica == nil {
		return err
	}
	if err := recordVersions(c.tx, "StartSecretVersionDelete", c.call.RequestID, replica, c.call.Time); err != nil {
		return err
	}
	return purge(c.tx, replica, c.call.RequestID, c.call.Time)
}

// findReplica returns the primary's copy in the region; nil when there is
// none. A secret of the same name that is something else is none.
func findReplica(tx *store.Tx, primary *secret.Secret, region string) (*secret.Secret, error) {
	s, err := tx.FindSecret(primary.Account, region, arn.SecretRef{Name: primary.Name})
	if notFound(err) {
		return nil, nil
	}
	if err != nil || !isReplicaOf(s, primary) {
		return nil, err
	}
	return s, nil
}

func isReplicaOf(s, primary *secret.Secret) bool {
	return s.IsReplica() && s.PrimaryRegion == primary.Region && s.Suffix == primary.Suffix && s.Name == primary.Name
}

// StopReplicationToReplica makes a replica an independent secret, with the
// address that it has.
func (s *Service) StopReplicationToReplica(ctx context.Context, call *wire.Call, in *api.StopReplicationToReplicaRequest) (*api.StopReplicationToReplicaResponse, error) {
	return change(ctx, s, call, target{id: *in.SecretId, use: secret.Promote}, func(c changing) (*api.StopReplicationToReplicaResponse, error) {
		if !c.after.IsReplica() {
			return nil, fault.New(fault.Parameter, "The secret %s isn't a replica.", c.after.ARN())
		}
		if err := changePrimaryOf(c.tx, c.before, func(primary *secret.Secret, i int) {
			primary.Replicas = slices.Delete(primary.Replicas, i, i+1)
		}); err != nil {
			return nil, err
		}
		c.after.PrimaryRegion = c.after.Region
		c.after.ChangedAt = milliseconds(call.Time)
		return &api.StopReplicationToReplicaResponse{ARN: new(c.after.ARN())}, nil
	})
}

// changePrimaryOf changes the primary of a replica; i is the replica's place
// among its Replicas. It does nothing for a secret that is no replica.
func changePrimaryOf(tx *store.Tx, replica *secret.Secret, fn func(primary *secret.Secret, i int)) error {
	if !replica.IsReplica() {
		return nil
	}
	before, err := tx.FindLabelled(replica.Account, replica.PrimaryRegion, arn.SecretRef{Name: replica.Name}, "")
	if notFound(err) {
		return nil
	}
	if err != nil || !isReplicaOf(replica, before) {
		return err
	}
	i := slices.IndexFunc(before.Replicas, func(r secret.Replica) bool { return r.Region == replica.Region })
	if i < 0 {
		return nil
	}
	after := before.Clone()
	fn(after, i)
	return tx.SaveSecret(before, after)
}

// changeReplicaOf changes what a replica's primary knows of it.
func changeReplicaOf(tx *store.Tx, replica *secret.Secret, fn func(*secret.Replica)) error {
	return changePrimaryOf(tx, replica, func(primary *secret.Secret, i int) { fn(&primary.Replicas[i]) })
}

// noteReplicaAccess tells the primary on which day its replica was read.
func noteReplicaAccess(tx *store.Tx, replica *secret.Secret, day time.Time) error {
	return changeReplicaOf(tx, replica, func(r *secret.Replica) { r.AccessedOn = day })
}

func notFound(err error) bool { return fault.Is(err, fault.NotFound) }
