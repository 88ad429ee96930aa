package secret

import (
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
)

// Use is what an operation does to a secret, as far as the secret's state
// decides whether it may.
type Use int

// The uses, with the operations that make them.
const (
	Inspect     Use = iota + 1 // DescribeSecret, ListSecretVersionIds
	Restore                    // RestoreSecret
	Read                       // GetSecretValue, BatchGetSecretValue, GetResourcePolicy
	Write                      // PutSecretValue, UpdateSecret, UpdateSecretVersionStage, TagResource, UntagResource
	Rekey                      // UpdateSecret with KmsKeyId alone, which a replica admits
	Rotate                     // RotateSecret, CancelRotateSecret
	Govern                     // PutResourcePolicy, DeleteResourcePolicy
	Replicate                  // ReplicateSecretToRegions, RemoveRegionsFromReplication
	Promote                    // StopReplicationToReplica
	Delete                     // DeleteSecret
	ForceDelete                // DeleteSecret with ForceDeleteWithoutRecovery
)

// admission says what of a use a state refuses.
type admission struct {
	deleted       string // text for a secret scheduled for deletion; "" admits
	replica       bool   // refused on a replica
	owned         bool   // refused on a secret that an AWS service made
	whileReplicas bool   // refused while replicas exist
}

const (
	marked  = "You can't perform this operation on the secret because it was marked for deletion."
	already = "You can't perform this operation on the secret because it was already scheduled for deletion."
)

var admissions = map[Use]admission{
	Inspect:     {},
	Restore:     {},
	Read:        {deleted: marked},
	Write:       {deleted: marked, replica: true, owned: true},
	Rekey:       {deleted: marked, owned: true},
	Rotate:      {deleted: marked, replica: true},
	Govern:      {deleted: marked, replica: true},
	Replicate:   {deleted: marked, replica: true},
	Promote:     {deleted: marked},
	Delete:      {deleted: already, replica: true, owned: true, whileReplicas: true},
	ForceDelete: {replica: true, owned: true, whileReplicas: true},
}

// Admit reports whether the secret's state admits the use: scheduled for
// deletion, a replica, or owned by an AWS service, in that order.
//
// Errors: fault.State for deletion (AWS: recorded) and ownership (AWS docs),
// fault.Parameter for replicas (AWS: reported).
func (s *Secret) Admit(use Use) error {
	a, ok := admissions[use]
	if !ok {
		return &fault.Error{Kind: fault.Internal, Subject: s.Name, Cause: fmt.Errorf("no admission rule for use %d", use)}
	}
	switch {
	case s.Deleted() && a.deleted != "":
		return fault.New(fault.State, "%s", a.deleted)
	case s.IsReplica() && a.replica:
		return fault.New(fault.Parameter, "Operation not permitted on a replica secret. Call must be made in primary secret's region.")
	case s.OwningService != "" && a.owned:
		return fault.New(fault.State, "This secret is managed by an AWS service, and you must use that service to update it.")
	case len(s.Replicas) > 0 && a.whileReplicas:
		return fault.New(fault.Parameter, "You can't delete secret %s that still has replica regions [%s].", s.ARN(), s.replicaRegions())
	}
	return nil
}

func (s *Secret) replicaRegions() string {
	regions := make([]string, len(s.Replicas))
	for i := range s.Replicas {
		regions[i] = s.Replicas[i].Region
	}
	return strings.Join(regions, ", ")
}
