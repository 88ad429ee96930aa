package logs

import (
	"context"
	"encoding/base64"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxTags is how many tags a log group may have (AWS docs).
const maxTags = 50

// CreateLogGroup makes a log group.
func (s *Service) CreateLogGroup(ctx context.Context, call *wire.Call, in *api.CreateLogGroupRequest) (*api.CreateLogGroupResponse, error) {
	if err := s.authorizeNew(call, in); err != nil {
		return nil, err
	}
	if deref(in.DeletionProtectionEnabled) {
		return nil, fault.New(fault.Parameter, "Deletion protection of log groups is not supported by this server.")
	}
	if err := checkTags(call, maps.Keys(in.Tags)); err != nil {
		return nil, err
	}
	out := new(api.CreateLogGroupResponse)
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		g := loggroup.Group{
			Account: call.Principal.Account, Region: call.Region, Name: *in.LogGroupName, CreatedAt: call.Time,
			KMSKeyID: deref(in.KmsKeyId), Class: deref(in.LogGroupClass), Tags: in.Tags,
		}
		if g.Class == "" {
			g.Class = loggroup.StandardClass
		}
		err := tx.CreateLogGroup(&g)
		if fault.Is(err, fault.Exists) {
			return errGroupExists.For(g.Name)
		}
		if err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// DeleteLogGroup deletes a log group with everything in it.
func (s *Service) DeleteLogGroup(ctx context.Context, call *wire.Call, in *api.DeleteLogGroupRequest) (*api.DeleteLogGroupResponse, error) {
	out := new(api.DeleteLogGroupResponse)
	return out, s.change(ctx, call, target{name: in.LogGroupName}, out, func(tx *store.Tx, g *loggroup.Group) error {
		return tx.DeleteLogGroup(g.ID)
	})
}

// change finds a log group, changes it and records the call, all in one
// transaction.
func (s *Service) change(ctx context.Context, call *wire.Call, t target, out wire.Output,
	fn func(*store.Tx, *loggroup.Group) error,
) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		g, err := s.group(tx, call, t)
		if err != nil {
			return err
		}
		if err := fn(tx, g); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// edit is change for the members of the group itself.
func (s *Service) edit(ctx context.Context, call *wire.Call, t target, out wire.Output, fn func(*loggroup.Group) error) error {
	return s.change(ctx, call, t, out, func(tx *store.Tx, g *loggroup.Group) error {
		if err := fn(g); err != nil {
			return err
		}
		return tx.SaveLogGroup(g)
	})
}

// DescribeLogGroups lists log groups by name.
func (s *Service) DescribeLogGroups(ctx context.Context, call *wire.Call, in *api.DescribeLogGroupsRequest) (*api.DescribeLogGroupsResponse, error) {
	if in.LogGroupNamePrefix != nil && in.LogGroupNamePattern != nil {
		return nil, fault.New(fault.Parameter, "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	everything := address{account: call.Principal.Account, region: call.Region} // whatever is asked for (AWS: recorded)
	if err := s.authorize(call, "", everything, nil); err != nil {
		return nil, err
	}
	after, err := decodeName(in.NextToken)
	if err != nil {
		return nil, err
	}
	limit := pageSize(in.Limit)
	q := store.LogGroupQuery{
		Prefix: deref(in.LogGroupNamePrefix), Contains: deref(in.LogGroupNamePattern), Class: deref(in.LogGroupClass), After: after, Limit: limit + 1,
	}
	var groups []*loggroup.Group
	err = s.Store.View(ctx, func(tx *store.Tx) (err error) {
		if len(in.LogGroupIdentifiers) > 0 {
			groups, err = s.named(tx, call, in.LogGroupIdentifiers)
		} else {
			groups, err = tx.LogGroups(call.Principal.Account, call.Region, q)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.DescribeLogGroupsResponse{LogGroups: []api.LogGroup{}}
	for i, g := range groups {
		if i == limit && len(in.LogGroupIdentifiers) == 0 {
			out.NextToken = new(encodeName(groups[i-1].Name))
			break
		}
		out.LogGroups = append(out.LogGroups, describe(g))
	}
	return out, nil
}

// named returns those of the named groups that exist.
func (s *Service) named(tx *store.Tx, call *wire.Call, identifiers []string) (list []*loggroup.Group, err error) {
	for _, id := range identifiers {
		at := resolve(call, id, "")
		if at.account != call.Principal.Account {
			if err := s.authorize(call, "", at, nil); err != nil {
				return nil, err
			}
		}
		if at.missing {
			continue
		}
		found, err := tx.LogGroups(at.account, at.region, store.LogGroupQuery{Prefix: at.group, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(found) == 1 && found[0].Name == at.group {
			list = append(list, found[0])
		}
	}
	return list, nil
}

func describe(g *loggroup.Group) api.LogGroup {
	out := api.LogGroup{
		LogGroupName: new(g.Name), CreationTime: new(g.CreatedAt.UnixMilli()), MetricFilterCount: new(int64(0)),
		Arn: new(g.ARN() + ":*"), StoredBytes: new(g.StoredBytes), LogGroupClass: new(g.Class), LogGroupArn: new(g.ARN()),
	}
	if g.RetentionDays > 0 {
		out.RetentionInDays = new(int64(g.RetentionDays))
	}
	if g.KMSKeyID != "" {
		out.KmsKeyId = new(g.KMSKeyID)
	}
	return out
}

// maxPage is how many groups or streams one page has, and has unless a
// smaller limit is given (AWS docs).
const maxPage = 50

func pageSize(limit *int64) int {
	if limit == nil {
		return maxPage
	}
	return int(*limit)
}

// encodeName makes a page token of the last name of a page.
func encodeName(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

func decodeName(token *string) (string, error) {
	name, err := base64.RawURLEncoding.DecodeString(deref(token))
	if err != nil {
		return "", errToken
	}
	return string(name), nil
}

// PutRetentionPolicy says after how many days entries expire.
func (s *Service) PutRetentionPolicy(ctx context.Context, call *wire.Call, in *api.PutRetentionPolicyRequest) (*api.PutRetentionPolicyResponse, error) {
	if !loggroup.ValidRetention(*in.RetentionInDays) {
		return nil, fault.New(fault.Parameter, "1 validation error detected: Value '%d' at 'retentionInDays' failed to satisfy constraint: "+
			"Member must satisfy enum value set: %s", *in.RetentionInDays, retentionText())
	}
	out := new(api.PutRetentionPolicyResponse)
	return out, s.edit(ctx, call, target{name: in.LogGroupName}, out, func(g *loggroup.Group) error {
		g.RetentionDays = int(*in.RetentionInDays)
		return nil
	})
}

// retentionText lists the valid days as AWS prints sets (assumed).
func retentionText() string {
	text := "["
	for days := range loggroup.Retentions() {
		if text != "[" {
			text += ", "
		}
		text += fmt.Sprint(days)
	}
	return text + "]"
}

// DeleteRetentionPolicy makes entries never expire.
func (s *Service) DeleteRetentionPolicy(ctx context.Context, call *wire.Call, in *api.DeleteRetentionPolicyRequest) (*api.DeleteRetentionPolicyResponse, error) {
	out := new(api.DeleteRetentionPolicyResponse)
	return out, s.edit(ctx, call, target{name: in.LogGroupName}, out, func(g *loggroup.Group) error {
		g.RetentionDays = 0
		return nil
	})
}

// AssociateKmsKey notes a key for a log group. The key is shown, and not
// used.
func (s *Service) AssociateKmsKey(ctx context.Context, call *wire.Call, in *api.AssociateKmsKeyRequest) (*api.AssociateKmsKeyResponse, error) {
	out := new(api.AssociateKmsKeyResponse)
	return out, s.edit(ctx, call, target{name: in.LogGroupName, identifier: in.ResourceIdentifier}, out, func(g *loggroup.Group) error {
		g.KMSKeyID = *in.KmsKeyId
		return nil
	})
}

// DisassociateKmsKey forgets the key of a log group.
func (s *Service) DisassociateKmsKey(ctx context.Context, call *wire.Call, in *api.DisassociateKmsKeyRequest) (*api.DisassociateKmsKeyResponse, error) {
	out := new(api.DisassociateKmsKeyResponse)
	return out, s.edit(ctx, call, target{name: in.LogGroupName, identifier: in.ResourceIdentifier}, out, func(g *loggroup.Group) error {
		g.KMSKeyID = ""
		return nil
	})
}

// tag adds tags to a group, or replaces their values.
func tag(g *loggroup.Group, tags map[string]string) error {
	merged := maps.Clone(g.Tags)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, tags)
	users := 0
	for key := range merged {
		if !reserved(key) {
			users++
		}
	}
	if users > maxTags {
		return fault.New(tooManyTags, "A resource can have no more than %d tags.", maxTags)
	}
	g.Tags = merged
	return nil
}

// checkTags refuses tags whose keys are reserved, but for AWS's services (AWS
// docs; text assumed).
func checkTags(call *wire.Call, keys iter.Seq[string]) error {
	if call.By != "" {
		return nil
	}
	for key := range keys {
		if reserved(key) {
			return fault.New(fault.Parameter, "Tag keys starting with aws: are reserved for system use.")
		}
	}
	return nil
}

func reserved(key string) bool { return strings.HasPrefix(strings.ToLower(key), "aws:") }

func untag(g *loggroup.Group, keys []string) error {
	maps.DeleteFunc(g.Tags, func(key, _ string) bool { return slices.Contains(keys, key) })
	return nil
}

// TagResource adds tags to the log group that an ARN names.
func (s *Service) TagResource(ctx context.Context, call *wire.Call, in *api.TagResourceRequest) (*api.TagResourceResponse, error) {
	out := new(api.TagResourceResponse)
	return out, s.edit(ctx, call, target{identifier: in.ResourceArn}, out, func(g *loggroup.Group) error {
		if err := checkTags(call, maps.Keys(in.Tags)); err != nil {
			return err
		}
		return tag(g, in.Tags)
	})
}

// TagLogGroup adds tags to a log group.
func (s *Service) TagLogGroup(ctx context.Context, call *wire.Call, in *api.TagLogGroupRequest) (*api.TagLogGroupResponse, error) {
	out := new(api.TagLogGroupResponse)
	return out, s.edit(ctx, call, target{name: in.LogGroupName}, out, func(g *loggroup.Group) error {
		if err := checkTags(call, maps.Keys(in.Tags)); err != nil {
			return err
		}
		return tag(g, in.Tags)
	})
}

// UntagResource removes tags from the log group that an ARN names.
func (s *Service) UntagResource(ctx context.Context, call *wire.Call, in *api.UntagResourceRequest) (*api.UntagResourceResponse, error) {
	out := new(api.UntagResourceResponse)
	return out, s.edit(ctx, call, target{identifier: in.ResourceArn}, out, func(g *loggroup.Group) error {
		if err := checkTags(call, slices.Values(in.TagKeys)); err != nil {
			return err
		}
		return untag(g, in.TagKeys)
	})
}

// UntagLogGroup removes tags from a log group.
func (s *Service) UntagLogGroup(ctx context.Context, call *wire.Call, in *api.UntagLogGroupRequest) (*api.UntagLogGroupResponse, error) {
	out := new(api.UntagLogGroupResponse)
	return out, s.edit(ctx, call, target{name: in.LogGroupName}, out, func(g *loggroup.Group) error {
		if err := checkTags(call, slices.Values(in.Tags)); err != nil {
			return err
		}
		return untag(g, in.Tags)
	})
}

// ListTagsForResource returns the tags of the log group that an ARN names.
func (s *Service) ListTagsForResource(ctx context.Context, call *wire.Call, in *api.ListTagsForResourceRequest) (*api.ListTagsForResourceResponse, error) {
	tags, err := s.tags(ctx, call, target{identifier: in.ResourceArn})
	return &api.ListTagsForResourceResponse{Tags: tags}, err
}

// ListTagsLogGroup returns the tags of a log group.
func (s *Service) ListTagsLogGroup(ctx context.Context, call *wire.Call, in *api.ListTagsLogGroupRequest) (*api.ListTagsLogGroupResponse, error) {
	tags, err := s.tags(ctx, call, target{name: in.LogGroupName})
	return &api.ListTagsLogGroupResponse{Tags: tags}, err
}

// tags returns a map that is never nil without an error.
func (s *Service) tags(ctx context.Context, call *wire.Call, t target) (tags map[string]string, err error) {
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		g, err := s.group(tx, call, t)
		if err != nil {
			return err
		}
		tags = g.Tags
		return nil
	})
	if tags == nil {
		tags = map[string]string{}
	}
	return tags, err
}

// PutMetricFilter refuses: there are no metrics here.
func (s *Service) PutMetricFilter(context.Context, *wire.Call, *api.PutMetricFilterRequest) (*api.PutMetricFilterResponse, error) {
	return nil, fault.New(unsupported, "Metric filters are not supported by this server.")
}

// PutSubscriptionFilter refuses: nothing here takes entries further.
func (s *Service) PutSubscriptionFilter(context.Context, *wire.Call, *api.PutSubscriptionFilterRequest) (*api.PutSubscriptionFilterResponse, error) {
	return nil, fault.New(unsupported, "Subscription filters are not supported by this server.")
}
