package store

import (
	"database/sql"
	"slices"

	"github.com/keyturn/keyturn/internal/secret"
)

// loadReplicas loads the replicas of a primary.
func (tx *Tx) loadReplicas(s *secret.Secret) error {
	if s.PrimaryRegion == "" || s.PrimaryRegion != s.Region {
		return nil
	}
	return tx.each(func(rows *sql.Rows) error {
		var r secret.Replica
		var accessed, overwrite int64
		err := rows.Scan(&r.Region, &r.KMSKeyID, &r.Status, &r.Message, &accessed, &r.Revision, &overwrite)
		r.AccessedOn, r.Overwrite = fromMicros(accessed), overwrite != 0
		s.Replicas = append(s.Replicas, r)
		return err
	}, `SELECT region, kms_key_id, status, message, accessed_on, revision, overwrite FROM replica WHERE secret_id = $1 ORDER BY seq, region`, s.ID)
}

// saveReplicas stores what differs between the replicas, and which of them
// are behind.
func (tx *Tx) saveReplicas(before, after *secret.Secret) error {
	if len(before.Replicas) == 0 && len(after.Replicas) == 0 {
		return nil
	}
	for _, r := range before.Replicas {
		if !slices.ContainsFunc(after.Replicas, func(a secret.Replica) bool { return a.Region == r.Region }) {
			if _, err := tx.exec(`DELETE FROM replica WHERE secret_id = $1 AND region = $2`, after.ID, r.Region); err != nil {
				return err
			}
		}
	}
	for i, r := range after.Replicas {
		if slices.Contains(before.Replicas, r) {
			continue
		}
		_, err := tx.exec(`INSERT INTO replica (secret_id, region, seq, kms_key_id, status, message, accessed_on, revision, overwrite, behind)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)
			ON CONFLICT (secret_id, region) DO UPDATE SET seq = excluded.seq, kms_key_id = excluded.kms_key_id, status = excluded.status,
				message = excluded.message, accessed_on = excluded.accessed_on, revision = excluded.revision, overwrite = excluded.overwrite`,
			after.ID, r.Region, i, r.KMSKeyID, string(r.Status), r.Message, micros(r.AccessedOn), r.Revision, bit(r.Overwrite))
		if err != nil {
			return err
		}
	}
	_, err := tx.exec(`UPDATE replica SET behind = CASE WHEN status = 'InProgress' OR revision < $2 THEN 1 ELSE 0 END WHERE secret_id = $1`,
		after.ID, after.Revision)
	return err
}

// ReplicaRef names a replica by its primary and its region.
type ReplicaRef struct{ SecretID, Region string }

// StaleReplicas returns up to limit replicas that are InProgress or whose
// Revision is behind their primary's. Its cost does not depend on how many
// are in sync.
func (tx *Tx) StaleReplicas(limit int) ([]ReplicaRef, error) {
	var list []ReplicaRef
	err := tx.each(func(rows *sql.Rows) error {
		var r ReplicaRef
		err := rows.Scan(&r.SecretID, &r.Region)
		list = append(list, r)
		return err
	}, `SELECT secret_id, region FROM replica WHERE behind = 1 ORDER BY secret_id, region LIMIT $1`, limit)
	return list, err
}
