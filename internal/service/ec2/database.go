package ec2

import (
	"math"
	"slices"

	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/store"
)

// occupied is what registered databases have of a network. At AWS their
// interfaces stand there.
type occupied struct{ groups, subnets []string }

// databases returns what the account's databases occupy.
func (w *work) databases() (o occupied, err error) {
	instances, err := w.tx.DBInstances(w.Account, w.Region, "", math.MaxInt32)
	if err != nil {
		return o, err
	}
	clusters, err := w.tx.DBClusters(w.Account, w.Region, "", math.MaxInt32)
	if err != nil {
		return o, err
	}
	for _, i := range instances {
		if err := o.add(w.tx, w.Account, w.Region, &i.Server); err != nil {
			return o, err
		}
	}
	for _, c := range clusters {
		if err := o.add(w.tx, w.Account, w.Region, &c.Server); err != nil {
			return o, err
		}
	}
	return o, nil
}

// add notes the security groups of a server and the subnets of its group.
func (o *occupied) add(tx *store.Tx, account, region string, s *database.Server) error {
	o.groups = append(o.groups, s.SecurityGroups...)
	if s.SubnetGroup == "" {
		return nil
	}
	g, err := tx.DBSubnetGroup(account, region, s.SubnetGroup)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, n := range g.Subnets {
		if !slices.Contains(o.subnets, n.ID) {
			o.subnets = append(o.subnets, n.ID)
		}
	}
	return nil
}
