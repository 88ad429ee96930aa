package network

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// AddInterface adds an interface with a free address of the subnet; nil when
// there is none.
func (s *Snapshot) AddInterface(n *Subnet, kind, description, holderID string, groupIDs []string, now time.Time) *Interface {
	a := s.NextAddress(n)
	if !a.IsValid() {
		return nil
	}
	i := &Interface{
		Record:   Record{ID: NewID(PrefixInterface), VPCID: n.VPCID, CreatedAt: now},
		SubnetID: n.ID, Zone: n.Zone, Address: a, GroupIDs: slices.Clone(groupIDs),
		Type: kind, Description: description, MAC: newMAC(a), HolderID: holderID,
	}
	s.Add(i)
	return i
}

// Attach returns the interfaces through which a function reaches the VPC,
// one for each subnet: those of functions with the same subnet and groups,
// which share them (AWS docs), and new ones, which it also returns as made. A
// subnet that does not exist or has no free address is left out.
func (s *Snapshot) Attach(name string, at VPCConfig, now time.Time) (used, made []*Interface) {
	for _, id := range at.SubnetIDs {
		n := s.Subnet(id)
		if n == nil {
			continue
		}
		i := s.LambdaInterface(id, at.GroupIDs)
		if i == nil {
			i = s.AddInterface(n, InterfaceOfLambda, "AWS Lambda VPC ENI-"+name+"-"+uuid.NewString(), "", at.GroupIDs, now)
			if i == nil {
				continue
			}
			made = append(made, i)
		}
		used = append(used, i)
	}
	return used, made
}
