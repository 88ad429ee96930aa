package rds

import (
	"context"
	"net"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/rds"
	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Limits of tags (AWS docs), the lengths in characters.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

// tagsOf reads the tags of a request.
func tagsOf(call *wire.Call, in []api.Tag) ([]database.Tag, error) {
	tags := []database.Tag{}
	for i := range in {
		t := database.Tag{Key: given(in[i].Key), Value: given(in[i].Value)}
		if err := checkTag(call, t); err != nil {
			return nil, err
		}
		tags = append(tags, t)
	}
	return merge(nil, tags)
}

// checkTag refuses a tag that cannot be set (texts assumed).
func checkTag(call *wire.Call, t database.Tag) error {
	switch {
	case t.Key == "":
		return fault.New(fault.Parameter, "A tag key must be specified.")
	case len(t.Key) >= 4 && strings.EqualFold(t.Key[:4], "aws:") && call.By == "":
		return fault.New(fault.Parameter, "Tag keys that begin with aws: are reserved for AWS use.")
	case len([]rune(t.Key)) > maxTagKey:
		return fault.New(fault.Parameter, "Tag key %s is longer than %d characters.", t.Key, maxTagKey)
	case len([]rune(t.Value)) > maxTagValue:
		return fault.New(fault.Parameter, "The value of the tag %s is longer than %d characters.", t.Key, maxTagValue)
	}
	return nil
}

// merge sets tags in place of those with the same keys.
func merge(tags, more []database.Tag) ([]database.Tag, error) {
	merged := slices.Clone(tags)
	users := 0
	for _, t := range more {
		if i := slices.IndexFunc(merged, func(old database.Tag) bool { return old.Key == t.Key }); i >= 0 {
			merged[i] = t
		} else {
			merged = append(merged, t)
		}
	}
	for _, t := range merged {
		if !strings.HasPrefix(t.Key, "aws:") {
			users++
		}
	}
	if users > maxTags {
		return nil, fault.New(fault.Parameter, "A resource can have at most %d tags.", maxTags)
	}
	return merged, nil
}

func tagsOut(tags []database.Tag) []api.Tag {
	list := []api.Tag{}
	for i := range tags {
		list = append(list, api.Tag{Key: &tags[i].Key, Value: &tags[i].Value})
	}
	return list
}

// tagged is a resource whose tags a call is about.
type tagged struct {
	tags []database.Tag
	// save stores other tags.
	save func(tags []database.Tag) error
}

// tagged finds the resource that an ARN names.
func (s *Service) tagged(tx *store.Tx, call *wire.Call, name string) (tagged, error) {
	_, _, kind, _, ok := database.ParseARN(name)
	if !ok || resourceTypes[kind] == "" {
		return tagged{}, fault.New(fault.Parameter, "Invalid resource name: %s", name)
	}
	switch kind {
	case database.InstanceKind:
		i, err := s.instance(tx, call, name)
		if err != nil {
			return tagged{}, err
		}
		return tagged{i.Tags, func(tags []database.Tag) error { return s.tagInstance(tx, call, i, tags) }}, nil
	case database.ClusterKind:
		c, err := s.cluster(tx, call, name)
		if err != nil {
			return tagged{}, err
		}
		return tagged{c.Tags, func(tags []database.Tag) error { return s.tagCluster(tx, call, c, tags) }}, nil
	default:
		g, err := s.group(tx, call, name)
		if err != nil {
			return tagged{}, err
		}
		return tagged{g.Tags, func(tags []database.Tag) error {
			g.Tags = tags
			return tx.SaveDBSubnetGroup(g)
		}}, nil
	}
}

// keptPort is the port that a server keeps while its tag changes: the one that
// a parameter gave, as no tag names any. nil if a tag does.
func keptPort(old, now string, port int64) *int64 {
	for _, tag := range []string{old, now} {
		if _, _, err := net.SplitHostPort(tag); err == nil || tag == "" {
			return nil
		}
	}
	return &port
}

// AddTagsToResource sets tags. The tags by which a registration says where
// its server is move it there, which takes more than the leave to tag.
func (s *Service) AddTagsToResource(ctx context.Context, call *wire.Call, in *api.AddTagsToResourceMessage) (*api.AddTagsToResourceResponse, error) {
	return update(ctx, s, call, func(tx *store.Tx) (*api.AddTagsToResourceResponse, error) {
		r, err := s.tagged(tx, call, *in.ResourceName)
		if err != nil {
			return nil, err
		}
		more, err := tagsOf(call, in.Tags)
		if err != nil {
			return nil, err
		}
		tags, err := merge(r.tags, more)
		if err != nil {
			return nil, err
		}
		return &api.AddTagsToResourceResponse{}, r.save(tags)
	})
}

// RemoveTagsFromResource takes tags away; missing ones do not matter.
func (s *Service) RemoveTagsFromResource(ctx context.Context, call *wire.Call, in *api.RemoveTagsFromResourceMessage) (*api.RemoveTagsFromResourceResponse, error) {
	return update(ctx, s, call, func(tx *store.Tx) (*api.RemoveTagsFromResourceResponse, error) {
		r, err := s.tagged(tx, call, *in.ResourceName)
		if err != nil {
			return nil, err
		}
		for _, key := range in.TagKeys {
			if err := checkTag(call, database.Tag{Key: key}); err != nil {
				return nil, err
			}
		}
		tags := slices.DeleteFunc(slices.Clone(r.tags), func(t database.Tag) bool { return slices.Contains(in.TagKeys, t.Key) })
		return &api.RemoveTagsFromResourceResponse{}, r.save(tags)
	})
}

// ListTagsForResource lists the tags of a resource.
func (s *Service) ListTagsForResource(ctx context.Context, call *wire.Call, in *api.ListTagsForResourceMessage) (*api.TagListMessage, error) {
	out := &api.TagListMessage{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		r, err := s.tagged(tx, call, *in.ResourceName)
		out.TagList = tagsOut(r.tags)
		return err
	})
}

// conditions returns the condition keys that requests give (AWS docs).
func conditions(in wire.Input, key string) iam.Value {
	switch in := in.(type) {
	case *api.AddTagsToResourceMessage:
		return requestTags(in.Tags, key)
	case *api.RemoveTagsFromResourceMessage:
		if key == "aws:tagkeys" {
			return iam.List(in.TagKeys)
		}
	case *api.CreateDBSubnetGroupMessage:
		return requestTags(in.Tags, key)
	case *api.CreateDBInstanceReadReplicaMessage:
		return requestTags(in.Tags, key)
	case *api.CreateDBInstanceMessage:
		switch key {
		case "rds:databaseengine":
			return iam.NonEmpty(given(in.Engine))
		case "rds:databasename":
			return iam.NonEmpty(given(in.DBName))
		case "rds:databaseclass":
			return iam.NonEmpty(given(in.DBInstanceClass))
		case "rds:managemasteruserpassword":
			return iam.Bool(isTrue(in.ManageMasterUserPassword))
		}
		return requestTags(in.Tags, key)
	case *api.CreateDBClusterMessage:
		switch key {
		case "rds:databaseengine":
			return iam.NonEmpty(given(in.Engine))
		case "rds:databasename":
			return iam.NonEmpty(given(in.DatabaseName))
		case "rds:managemasteruserpassword":
			return iam.Bool(isTrue(in.ManageMasterUserPassword))
		}
		return requestTags(in.Tags, key)
	case *api.ModifyDBInstanceMessage:
		if key == "rds:managemasteruserpassword" && in.ManageMasterUserPassword != nil {
			return iam.Bool(*in.ManageMasterUserPassword)
		}
	case *api.ModifyDBClusterMessage:
		if key == "rds:managemasteruserpassword" && in.ManageMasterUserPassword != nil {
			return iam.Bool(*in.ManageMasterUserPassword)
		}
	}
	return iam.Value{}
}

// requestTags gives aws:RequestTag, aws:TagKeys and RDS's own rds:req-tag.
func requestTags(in []api.Tag, key string) iam.Value {
	tags := make([]database.Tag, len(in))
	for i := range in {
		tags[i] = database.Tag{Key: given(in[i].Key), Value: given(in[i].Value)}
	}
	if name, ok := strings.CutPrefix(key, "rds:req-tag/"); ok {
		return iam.TagValue(tags, name)
	}
	return iam.RequestTags(key, tags)
}
