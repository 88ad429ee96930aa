package secret

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

func TestAdmit(t *testing.T) {
	const (
		ok          = ""
		marked      = "You can't perform this operation on the secret because it was marked for deletion."
		already     = "You can't perform this operation on the secret because it was already scheduled for deletion."
		onReplica   = "Operation not permitted on a replica secret. Call must be made in primary secret's region."
		managed     = "This secret is managed by an AWS service, and you must use that service to update it."
		hasReplicas = "You can't delete secret arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-AbCdEf that still has replica regions [eu-west-1, eu-west-2]."
	)
	plain, deleted, replica, owned, primary := newSecret(), newSecret(), newSecret(), newSecret(), newSecret()
	deleted.DeleteAt = start.Add(time.Hour)
	replica.PrimaryRegion = "eu-west-1"
	owned.OwningService = "rds"
	primary.PrimaryRegion = "us-east-1"
	primary.Replicas = []Replica{{Region: "eu-west-1"}, {Region: "eu-west-2"}}
	kinds := map[string]fault.Kind{marked: fault.State, already: fault.State, managed: fault.State, onReplica: fault.Parameter, hasReplicas: fault.Parameter}
	for _, tc := range []struct {
		name                              string
		use                               Use
		deleted, replica, owned, replicas string
	}{
		{"Inspect", Inspect, ok, ok, ok, ok},
		{"Restore", Restore, ok, ok, ok, ok},
		{"Read", Read, marked, ok, ok, ok},
		{"Write", Write, marked, onReplica, managed, ok},
		{"Rekey", Rekey, marked, ok, managed, ok},
		{"Rotate", Rotate, marked, onReplica, ok, ok},
		{"Govern", Govern, marked, onReplica, ok, ok},
		{"Replicate", Replicate, marked, onReplica, ok, ok},
		{"Promote", Promote, marked, ok, ok, ok},
		{"Delete", Delete, already, onReplica, managed, hasReplicas},
		{"ForceDelete", ForceDelete, ok, onReplica, managed, hasReplicas},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, c := range []struct {
				s    *Secret
				want string
			}{{plain, ok}, {deleted, tc.deleted}, {replica, tc.replica}, {owned, tc.owned}, {primary, tc.replicas}} {
				err := c.s.Admit(tc.use)
				if c.want != ok {
					wantFault(t, err, kinds[c.want], c.want)
				} else if err != nil {
					t.Errorf("got %v, want nil", err)
				}
			}
		})
	}
	if err := plain.Admit(0); !fault.Is(err, fault.Internal) {
		t.Errorf("unknown use: got %v, want an internal error", err)
	}
}

func TestAdmitOrder(t *testing.T) {
	s := newSecret()
	s.DeleteAt, s.PrimaryRegion, s.OwningService = start, "eu-west-1", "rds"
	if err := s.Admit(Write); !fault.Is(err, fault.State) {
		t.Errorf("got %v, want the deletion first", err)
	}
	s.DeleteAt = time.Time{}
	if err := s.Admit(Write); !fault.Is(err, fault.Parameter) {
		t.Errorf("got %v, want the replica second", err)
	}
}
