package store

import (
	"math"
	"net/netip"

	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
)

// NetworkDatabases returns the registered databases of an account and region
// as the analysis of networks knows them; a cluster's endpoints count as one
// each, named ID/writer and ID/reader. A database stands in its subnet group; one without stands in the VPC
// of its security groups, in any subnet; one that has neither, in none.
// Addresses are given for endpoints that are numbers. NetworkTopic covers the
// result.
func (tx *Tx) NetworkDatabases(account, region string) ([]network.Database, error) {
	instances, err := tx.DBInstances(account, region, "", math.MaxInt32)
	if err != nil {
		return nil, err
	}
	clusters, err := tx.DBClusters(account, region, "", math.MaxInt32)
	if err != nil {
		return nil, err
	}
	var list []network.Database
	add := func(id string, e database.Endpoint, s *database.Server, public *bool) {
		if err == nil && e.Host != "" {
			var d network.Database
			d, err = tx.networkDatabase(account, region, s)
			d.ID, d.Host, d.Port, d.Public = id, e.Host, uint16(e.Port), public != nil && *public
			if a, failed := netip.ParseAddr(e.Host); failed == nil {
				d.Address = a.Unmap()
			}
			list = append(list, d)
		}
	}
	for _, i := range instances {
		add(i.ID, i.Endpoint, &i.Server, i.Settings.Public)
	}
	for _, c := range clusters {
		add(c.ID+"/writer", c.Endpoint, &c.Server, c.Settings.Public)
		add(c.ID+"/reader", database.Endpoint{Host: c.Reader, Port: c.Endpoint.Port}, &c.Server, c.Settings.Public)
	}
	return list, err
}

// networkDatabase says where a server stands.
func (tx *Tx) networkDatabase(account, region string, s *database.Server) (network.Database, error) {
	d := network.Database{GroupIDs: s.SecurityGroups}
	if s.SubnetGroup != "" {
		g, err := tx.DBSubnetGroup(account, region, s.SubnetGroup)
		switch {
		case err == nil:
			d.VPCID = g.VPC
			for _, n := range g.Subnets {
				d.SubnetIDs = append(d.SubnetIDs, n.ID)
			}
			return d, nil
		case !fault.Is(err, fault.NotFound):
			return d, err
		}
	}
	if len(s.SecurityGroups) == 0 {
		return d, nil
	}
	group, err := tx.NetworkObject(account, region, s.SecurityGroups[0])
	if fault.Is(err, fault.NotFound) {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	d.VPCID = group.Base().VPCID
	vpc, err := tx.VPCNetwork(account, region, d.VPCID)
	if err != nil {
		return d, err
	}
	for _, n := range vpc.Subnets {
		d.SubnetIDs = append(d.SubnetIDs, n.ID)
	}
	return d, nil
}
