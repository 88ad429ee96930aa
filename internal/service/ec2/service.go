// Package ec2 implements the part of AWS EC2 that makes networks: VPCs,
// subnets, security groups, network ACLs, route tables, gateways, VPC
// endpoints and what is there to see of network interfaces. They are records:
// package network says what a network of their kind would do with a
// connection.
//
// Every account has a default VPC in each region, as at AWS. It is made when
// the account first asks for its network there.
//
// Texts of errors are AWS's wherever they are on record. What a change makes
// is available at once; answers to its creation call it pending, as AWS's do.
package ec2

import (
	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with; both members are needed.
type Config struct {
	Store *store.Store
	Guard *authz.Guard
}

// Service is EC2. Use New.
type Service struct{ Config }

// New returns a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	ops := s.vpcOps()
	for _, more := range [][]wire.Op{
		s.subnetOps(), s.groupOps(), s.ruleOps(), s.aclOps(), s.routeTableOps(), s.gatewayOps(), s.endpointOps(), s.regionOps(), s.tagOps(),
	} {
		ops = append(ops, more...)
	}
	return &wire.Service{Model: api.Model(), Errors: codes(), Conditions: conditions, Ops: ops}
}
