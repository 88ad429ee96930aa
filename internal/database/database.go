// Package database holds the databases that are registered under the names of
// RDS: instances, clusters and subnet groups, and the rules of their names
// and addresses. All of it is pure. Keyturn makes no databases: a record says
// where one is that exists already.
package database

import (
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
)

// Service is the signing name of RDS, and the OwningService of the secrets
// that it manages (AWS docs).
const Service = "rds"

// Instance is a registered database server.
type Instance struct {
	Account, Region string
	// ID is the DBInstanceIdentifier in lower case, unique in the account and
	// region.
	ID string
	Server
	// Class is the DBInstanceClass as given; it means nothing here.
	Class string
	// Endpoint is where the server is.
	Endpoint Endpoint
	// Cluster is the cluster that the instance is a member of, or "".
	Cluster string
	// Source is the instance that this one replicates, or "".
	Source string
	// Settings are stored and shown.
	Settings Settings
}

// Cluster is a registered cluster of servers with one endpoint for writing.
type Cluster struct {
	Account, Region string
	// ID is the DBClusterIdentifier in lower case.
	ID string
	Server
	// Endpoint is that of the writer, Reader the host of the readers'.
	Endpoint Endpoint
	Reader   string
	Settings Settings
}

// Server is what instances and clusters have in common.
type Server struct {
	// ResourceID never changes: db- or cluster- and 26 letters and digits.
	ResourceID            string
	Engine, EngineVersion string
	// Database is the name of the first database, or "".
	Database       string
	MasterUsername string
	// SubnetGroup is the name of a SubnetGroup, or "".
	SubnetGroup    string
	SecurityGroups []string
	// DeletionProtection refuses deletion.
	DeletionProtection bool
	// SecretID is the internal ID of the managed master secret, or "".
	SecretID  string
	Tags      []Tag
	CreatedAt time.Time
}

// Tag is a key with a value.
type Tag struct{ Key, Value string }

// Settings are properties of a server that RDS keeps and that mean nothing
// for a registration.
type Settings struct {
	AllocatedStorage, BackupRetention, PromotionTier, Iops  *int64
	StorageType, KMSKeyID, License, Zone                    string
	BackupWindow, MaintenanceWindow, Parameters, Options    string
	MultiAZ, Public, MinorUpgrade, Encrypted, IAM, CopyTags *bool
}

// Endpoint is where clients reach a server.
type Endpoint struct {
	Host string
	// Port is 1 to 65535.
	Port int64
}

// SubnetGroup is a named set of subnets of one VPC.
type SubnetGroup struct {
	Account, Region string
	// Name is in lower case.
	Name, Description, VPC string
	Subnets                []Subnet
	Tags                   []Tag
}

// Subnet is one of a SubnetGroup; its zone is "" where it is not known.
type Subnet struct{ ID, Zone string }

// Clone returns a copy that shares nothing that may change.
func (i *Instance) Clone() *Instance {
	c := *i
	c.Server = i.Server.clone()
	return &c
}

// Clone returns a copy that shares nothing that may change.
func (c *Cluster) Clone() *Cluster {
	d := *c
	d.Server = c.Server.clone()
	return &d
}

func (s Server) clone() Server {
	s.SecurityGroups, s.Tags = slices.Clone(s.SecurityGroups), slices.Clone(s.Tags)
	return s
}

// Clone returns a copy that shares nothing that may change.
func (g *SubnetGroup) Clone() *SubnetGroup {
	c := *g
	c.Subnets, c.Tags = slices.Clone(g.Subnets), slices.Clone(g.Tags)
	return &c
}

// The kinds of resources, as their ARNs spell them (AWS docs).
const (
	InstanceKind    = "db"
	ClusterKind     = "cluster"
	SubnetGroupKind = "subgrp"
)

// ARN returns the address of a resource; id may be "*".
func ARN(region, account, kind, id string) string {
	return arn.New(Service, region, account, kind+":"+id).String()
}

// ARN returns the instance's address.
func (i *Instance) ARN() string { return ARN(i.Region, i.Account, InstanceKind, i.ID) }

// ARN returns the cluster's address.
func (c *Cluster) ARN() string { return ARN(c.Region, c.Account, ClusterKind, c.ID) }

// ARN returns the group's address.
func (g *SubnetGroup) ARN() string { return ARN(g.Region, g.Account, SubnetGroupKind, g.Name) }

// ParseARN reads an address; ok is false for what is none of RDS.
func ParseARN(s string) (region, account, kind, id string, ok bool) {
	a, ok := arn.Parse(s)
	kind, id, cut := strings.Cut(a.Resource, ":")
	if !ok || !cut || a.Service != Service || id == "" || a.Region == "" || a.Account == "" {
		return "", "", "", "", false
	}
	return a.Region, a.Account, kind, strings.ToLower(id), true
}

// NewResourceID makes the ResourceID of an instance or a cluster.
func NewResourceID(kind string) string { return kind + "-" + rand.Text() }

// Tag returns the value of a tag; "" if there is none.
func (s *Server) Tag(key string) string {
	i := slices.IndexFunc(s.Tags, func(t Tag) bool { return t.Key == key })
	if i < 0 {
		return ""
	}
	return s.Tags[i].Value
}

// Writer returns the ID of the cluster's member that writes: the one whose
// tag says so, or else the oldest; "" of none.
func Writer(members []*Instance) string {
	var oldest *Instance
	for _, m := range members {
		if m.Tag(WriterTag) == "true" {
			return m.ID
		}
		if oldest == nil || m.CreatedAt.Before(oldest.CreatedAt) {
			oldest = m
		}
	}
	if oldest == nil {
		return ""
	}
	return oldest.ID
}
