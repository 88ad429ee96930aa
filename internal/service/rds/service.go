// Package rds serves the part of the RDS API that rotation and templates
// need. Keyturn makes no databases: instances and clusters are registrations
// of servers that exist already, whose endpoint a tag of the call names. It
// can keep the master user's password in a secret of its own and rotate it.
//
// Texts of errors are AWS's wherever they are on record.
package rds

import (
	"context"
	"log/slog"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/rds"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with. All members but Wake, Changed and
// Logger are needed.
type Config struct {
	Store *store.Store
	Guard *authz.Guard
	// Keys opens initial secrets and seals managed ones.
	Keys *key.Ring
	// Sealer seals rotation tokens.
	Sealer *key.Sealer
	// Wake is called after a rotation was stored that is to start at once.
	Wake   func()
	Logger *slog.Logger
}

// Service is RDS. Use New.
type Service struct{ Config }

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Wake == nil {
		cfg.Wake = func() {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg}
}

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{Model: api.Model(), Errors: codes, Conditions: conditions, Ops: []wire.Op{
		wire.Handle("AddTagsToResource", s.AddTagsToResource),
		wire.Handle("CreateDBCluster", s.CreateDBCluster),
		wire.Handle("CreateDBInstance", s.CreateDBInstance),
		wire.Handle("CreateDBInstanceReadReplica", s.CreateDBInstanceReadReplica),
		wire.Handle("CreateDBSubnetGroup", s.CreateDBSubnetGroup),
		wire.Handle("DeleteDBCluster", s.DeleteDBCluster),
		wire.Handle("DeleteDBInstance", s.DeleteDBInstance),
		wire.Handle("DeleteDBSubnetGroup", s.DeleteDBSubnetGroup),
		wire.Handle("DescribeDBClusters", s.DescribeDBClusters),
		wire.Handle("DescribeDBInstances", s.DescribeDBInstances),
		wire.Handle("DescribeDBSubnetGroups", s.DescribeDBSubnetGroups),
		wire.Handle("ListTagsForResource", s.ListTagsForResource),
		wire.Handle("ModifyDBCluster", s.ModifyDBCluster),
		wire.Handle("ModifyDBInstance", s.ModifyDBInstance),
		wire.Handle("RemoveTagsFromResource", s.RemoveTagsFromResource),
	}}
}

// Kinds of this service alone.
const (
	noInstance     fault.Kind = "no such instance"
	noCluster      fault.Kind = "no such cluster"
	noGroup        fault.Kind = "no such subnet group"
	instanceExists fault.Kind = "instance exists"
	clusterExists  fault.Kind = "cluster exists"
	groupExists    fault.Kind = "subnet group exists"
	clusterState   fault.Kind = "state of a cluster"
	groupState     fault.Kind = "state of a subnet group"
	fewZones       fault.Kind = "too few zones"
	badSubnet      fault.Kind = "no such subnet"
	badKey         fault.Kind = "key not accessible"
)

// codes are the service's error codes (AWS: service model).
var codes = map[fault.Kind]wire.Code{
	noInstance:           {Name: "DBInstanceNotFound"},
	noCluster:            {Name: "DBClusterNotFoundFault"},
	noGroup:              {Name: "DBSubnetGroupNotFoundFault"},
	instanceExists:       {Name: "DBInstanceAlreadyExists"},
	clusterExists:        {Name: "DBClusterAlreadyExistsFault"},
	groupExists:          {Name: "DBSubnetGroupAlreadyExists"},
	clusterState:         {Name: "InvalidDBClusterStateFault"},
	groupState:           {Name: "InvalidDBSubnetGroupStateFault"},
	fewZones:             {Name: "DBSubnetGroupDoesNotCoverEnoughAZs"},
	badSubnet:            {Name: "InvalidSubnet"},
	badKey:               {Name: "KMSKeyNotAccessibleFault"},
	fault.State:          {Name: "InvalidDBInstanceState"},
	fault.Parameter:      {Name: "InvalidParameterValue", Status: 400},
	fault.Validation:     {Name: "InvalidParameterValue", Status: 400},
	fault.PageToken:      {Name: "InvalidParameterValue", Status: 400},
	database.Combination: {Name: "InvalidParameterCombination", Status: 400},
}

// given returns an optional text; "" is none.
func given(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// orNil returns an optional text; "" is left out.
func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func isTrue(b *bool) bool { return b != nil && *b }

// resourceTypes are what events call the resources.
var resourceTypes = map[string]string{
	database.InstanceKind: "AWS::RDS::DBInstance", database.ClusterKind: "AWS::RDS::DBCluster",
	database.SubnetGroupKind: "AWS::RDS::DBSubnetGroup",
}

// tagKeys are the condition keys of the kinds' tags, beside aws:ResourceTag
// (AWS docs).
var tagKeys = map[string]string{
	database.InstanceKind: "rds:db-tag/", database.ClusterKind: "rds:cluster-tag/", database.SubnetGroupKind: "rds:subgrp-tag/",
}

// authorize authorises an action, "" for the call's own, on a resource of the
// caller's account with the tags.
func (s *Service) authorize(call *wire.Call, action, kind, id string, tags []database.Tag) error {
	address := database.ARN(call.Region, call.Principal.Account, kind, id)
	if action == "" && id != "*" {
		call.Resources = []trail.Resource{{Type: resourceTypes[kind], Name: address}}
	}
	return s.Guard.On(call, action, &authz.Resource{ARN: address, Context: func(key string) iam.Value {
		for _, prefix := range [...]string{"aws:resourcetag/", tagKeys[kind]} {
			if name, ok := strings.CutPrefix(key, prefix); ok {
				return iam.TagValue(tags, name)
			}
		}
		return iam.Value{}
	}})
}

// nameIn returns the identifier in a parameter that may hold an ARN, in lower
// case; here is false for resources that can be none of the caller's.
func nameIn(call *wire.Call, kind, parameter string) (id string, here bool) {
	if !strings.HasPrefix(parameter, "arn:") {
		return strings.ToLower(parameter), true
	}
	region, account, found, id, ok := database.ParseARN(parameter)
	return id, ok && found == kind && region == call.Region && account == call.Principal.Account
}

// find returns a resource of one kind, authorised for an action, "" for the
// call's own. Denied comes before not found.
func find[T any](s *Service, call *wire.Call, action, kind, parameter string, get func(account, region, id string) (*T, error),
	tags func(*T) []database.Tag, missing func(id string) error) (*T, error) {
	id, here := nameIn(call, kind, parameter)
	var x *T
	var known []database.Tag
	if here {
		var err error
		x, err = get(call.Principal.Account, call.Region, id)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		if err == nil {
			known = tags(x)
		}
	}
	if err := s.authorize(call, action, kind, id, known); err != nil {
		return nil, err
	}
	if !here || known == nil && x == nil {
		return nil, missing(parameter)
	}
	return x, nil
}

func (s *Service) instance(tx *store.Tx, call *wire.Call, id string) (*database.Instance, error) {
	return find(s, call, "", database.InstanceKind, id, tx.DBInstance, tagsOfInstance, missingInstance)
}

func (s *Service) cluster(tx *store.Tx, call *wire.Call, id string) (*database.Cluster, error) {
	return find(s, call, "", database.ClusterKind, id, tx.DBCluster, tagsOfCluster, missingCluster)
}

// source and joined are what a new instance is to replicate, and the cluster
// that it is to be a member of. The call is authorised on them, too, but is
// not about them (AWS docs).
func (s *Service) source(tx *store.Tx, call *wire.Call, id string) (*database.Instance, error) {
	return find(s, call, call.Action(), database.InstanceKind, id, tx.DBInstance, tagsOfInstance, missingInstance)
}

func (s *Service) joined(tx *store.Tx, call *wire.Call, id string) (*database.Cluster, error) {
	return find(s, call, call.Action(), database.ClusterKind, id, tx.DBCluster, tagsOfCluster, missingCluster)
}

func tagsOfInstance(i *database.Instance) []database.Tag { return i.Tags }
func tagsOfCluster(c *database.Cluster) []database.Tag   { return c.Tags }

func (s *Service) group(tx *store.Tx, call *wire.Call, name string) (*database.SubnetGroup, error) {
	return find(s, call, "", database.SubnetGroupKind, name, tx.DBSubnetGroup, func(g *database.SubnetGroup) []database.Tag { return g.Tags }, missingGroup)
}

// AWS: reported.
func missingInstance(id string) error { return fault.New(noInstance, "DBInstance %s not found.", id) }
func missingCluster(id string) error  { return fault.New(noCluster, "DBCluster %s not found.", id) }
func missingGroup(name string) error {
	return fault.New(noGroup, "DB subnet group '%s' does not exist.", name)
}

// update runs fn and stores the call's event in the same transaction.
func update[Out any, P interface {
	*Out
	wire.Output
}](ctx context.Context, s *Service, call *wire.Call, fn func(*store.Tx) (*Out, error)) (out *Out, err error) {
	err = s.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if out, err = fn(tx); err != nil {
			return err
		}
		return tx.Record(call.Event(P(out)))
	})
	return out, err
}
