package resource

import (
	"context"
	"slices"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
)

const kms = "kms"

// keyProperties are those of AWS::KMS::Key.
type keyProperties struct {
	KeyPolicy, Description, KeySpec, KeyUsage, Origin *string
	Enabled, EnableKeyRotation, MultiRegion           *bool
	BypassPolicyLockoutSafetyCheck                    *bool
	PendingWindowInDays, RotationPeriodInDays         *int64
	Tags                                              tags
}

// keyHandler handles AWS::KMS::Key.
func keyHandler() *Handler {
	return typed[keyProperties]{
		schema: &stack.Schema{
			Type: "AWS::KMS::Key", Attributes: []string{"Arn", "KeyId"}, Taggable: "Tags",
			Properties: properties{
				"KeyPolicy": document(), "Description": text(), "Enabled": boolean(), "EnableKeyRotation": boolean(), "RotationPeriodInDays": integer(),
				"PendingWindowInDays": integer(), "BypassPolicyLockoutSafetyCheck": boolean(), "Tags": tagList(),
				"KeySpec": text(), "KeyUsage": text(), "MultiRegion": boolean(), "Origin": text(),
			},
		},
		create: createKey, update: updateKey, delete: deleteKey,
	}.handler()
}

// tagMark is on a key while it is being made, so that a repeated creation
// finds it; a key has no name.
const tagMark = "aws:cloudformation:operation"

func createKey(ctx context.Context, r *Request, p *keyProperties) (Result, error) {
	id, err := r.makeKey(ctx, p)
	if err != nil {
		return Result{}, err
	}
	if err = r.initiated(id); err == nil {
		err = r.Client.each(ctx, p.settings(&keyProperties{}, id, r.Resumed)...)
	}
	if err == nil {
		err = r.Client.do(ctx, kms, "UntagResource", &api.UntagResourceRequest{KeyId: &id, TagKeys: []string{tagMark}})
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeKey(ctx, id, new(int64(shortestWindow))) })
	}
	return r.keyResult(id), nil
}

// shortestWindow is how soon, in days, a key can be deleted (AWS docs).
const shortestWindow = 7

func (r *Request) makeKey(ctx context.Context, p *keyProperties) (id string, err error) {
	if r.PhysicalID != "" {
		return r.PhysicalID, nil
	}
	if r.Resumed {
		if id, err = r.markedKey(ctx); id != "" || err != nil {
			return id, err
		}
	}
	all := p.Tags.with(r.Tags)
	all[tagMark] = r.mark()
	out, err := call[api.CreateKeyResponse](ctx, r.Client, kms, "CreateKey", &api.CreateKeyRequest{
		Policy: p.KeyPolicy, Description: p.Description, KeySpec: p.KeySpec, KeyUsage: p.KeyUsage, Origin: p.Origin, MultiRegion: p.MultiRegion,
		BypassPolicyLockoutSafetyCheck: p.BypassPolicyLockoutSafetyCheck, Tags: keyTags(all),
	})
	if err != nil {
		return "", err
	}
	return *out.KeyMetadata.KeyId, nil
}

func keyTags(all map[string]string) []api.Tag {
	return sortedTags(all, func(key, value *string) api.Tag { return api.Tag{TagKey: key, TagValue: value} })
}

// markedKey finds the key that a creation before a crash has made.
func (r *Request) markedKey(ctx context.Context) (string, error) {
	in := &api.ListKeysRequest{}
	for {
		out, err := call[api.ListKeysResponse](ctx, r.Client, kms, "ListKeys", in)
		if err != nil {
			return "", err
		}
		for _, k := range out.Keys {
			tags, err := call[api.ListResourceTagsResponse](ctx, r.Client, kms, "ListResourceTags", &api.ListResourceTagsRequest{KeyId: k.KeyId})
			if err != nil {
				continue // keys that the caller may not see are not the caller's
			}
			if slices.ContainsFunc(tags.Tags, func(t api.Tag) bool { return *t.TagKey == tagMark && *t.TagValue == r.mark() }) {
				return *k.KeyId, nil
			}
		}
		if in.Marker = out.NextMarker; in.Marker == nil {
			return "", nil
		}
	}
}

// settings are the steps for what CreateKey does not set. A key that was
// disabled before a crash has to be enabled to be changed.
func (p *keyProperties) settings(old *keyProperties, id string, resumed bool) (steps []step) {
	enabled := func(p *keyProperties) bool { return p.Enabled == nil || *p.Enabled }
	if !enabled(old) && enabled(p) || enabled(old) && !enabled(p) && resumed {
		steps = append(steps, step{kms, "EnableKey", &api.EnableKeyRequest{KeyId: &id}})
	}
	if differ(deref(old.EnableKeyRotation), deref(p.EnableKeyRotation)) || differ(old.RotationPeriodInDays, p.RotationPeriodInDays) {
		if deref(p.EnableKeyRotation) {
			steps = append(steps, step{kms, "EnableKeyRotation", &api.EnableKeyRotationRequest{KeyId: &id, RotationPeriodInDays: p.RotationPeriodInDays}})
		} else if deref(old.EnableKeyRotation) {
			steps = append(steps, step{kms, "DisableKeyRotation", &api.DisableKeyRotationRequest{KeyId: &id}})
		}
	}
	if enabled(old) && !enabled(p) {
		steps = append(steps, step{kms, "DisableKey", &api.DisableKeyRequest{KeyId: &id}})
	}
	return steps
}

func (r *Request) keyResult(id string) Result {
	arn := "arn:" + r.Stack.Partition + ":kms:" + r.Stack.Region + ":" + r.Stack.Account + ":key/" + id
	return Result{PhysicalID: id, Attributes: map[string]any{"Arn": arn, "KeyId": id}}
}

// defaultKeyPolicy is that of a key whose template has none (AWS docs).
func (r *Request) defaultKeyPolicy() *string {
	return new(`{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:` +
		r.Stack.Partition + `:iam::` + r.Stack.Account + `:root"},"Action":"kms:*","Resource":"*"}]}`)
}

func updateKey(ctx context.Context, r *Request, old, p *keyProperties) (Result, error) {
	if differ(old.KeySpec, p.KeySpec) || differ(old.KeyUsage, p.KeyUsage) || differ(old.Origin, p.Origin) || differ(old.MultiRegion, p.MultiRegion) {
		return Result{}, fault.New(fault.State, "You cannot change the KeySpec, KeyUsage, Origin or MultiRegion of a KMS key.") // text assumed
	}
	id := &r.PhysicalID
	steps := p.settings(old, *id, r.Resumed)
	if differ(old.KeyPolicy, p.KeyPolicy) {
		policy := p.KeyPolicy
		if policy == nil {
			policy = r.defaultKeyPolicy()
		}
		steps = append(steps, step{kms, "PutKeyPolicy",
			&api.PutKeyPolicyRequest{KeyId: id, Policy: policy, BypassPolicyLockoutSafetyCheck: p.BypassPolicyLockoutSafetyCheck}})
	}
	if differ(old.Description, p.Description) {
		steps = append(steps, step{kms, "UpdateKeyDescription", &api.UpdateKeyDescriptionRequest{KeyId: id, Description: orEmpty(p.Description)}})
	}
	change := r.tagsChanged(old.Tags, p.Tags)
	if len(change.drop) > 0 {
		steps = append(steps, step{kms, "UntagResource", &api.UntagResourceRequest{KeyId: id, TagKeys: change.drop}})
	}
	if len(change.set) > 0 {
		steps = append(steps, step{kms, "TagResource", &api.TagResourceRequest{KeyId: id, Tags: keyTags(change.set)}})
	}
	return r.keyResult(*id), r.Client.each(ctx, steps...)
}

func deleteKey(ctx context.Context, r *Request, p *keyProperties) error {
	return r.removeKey(ctx, r.PhysicalID, p.PendingWindowInDays)
}

// removeKey schedules the deletion of a key; 30 days if window is nil (AWS
// docs).
func (r *Request) removeKey(ctx context.Context, id string, window *int64) error {
	out, err := call[api.DescribeKeyResponse](ctx, r.Client, kms, "DescribeKey", &api.DescribeKeyRequest{KeyId: &id})
	if err != nil || deref(out.KeyMetadata.KeyState) == api.KeyStatePendingDeletion {
		return gone(err)
	}
	return gone(r.Client.do(ctx, kms, "ScheduleKeyDeletion", &api.ScheduleKeyDeletionRequest{KeyId: &id, PendingWindowInDays: window}))
}

// keyAliasHandler handles AWS::KMS::Alias.
func keyAliasHandler() *Handler {
	return typed[api.CreateAliasRequest]{
		schema: &stack.Schema{
			Type:       "AWS::KMS::Alias",
			Properties: properties{"AliasName": fixed(required(text())), "TargetKeyId": required(text())},
		},
		create: func(ctx context.Context, r *Request, p *api.CreateAliasRequest) (Result, error) {
			err := r.Client.do(ctx, kms, "CreateAlias", p)
			if exists(err) && r.Resumed && *p.AliasName != r.Replaces && r.hasAlias(ctx, p) {
				err = nil
			}
			if err != nil {
				return Result{}, err
			}
			return Result{PhysicalID: *p.AliasName}, r.initiated(*p.AliasName)
		},
		update: func(ctx context.Context, r *Request, _, p *api.CreateAliasRequest) (Result, error) {
			in := &api.UpdateAliasRequest{AliasName: &r.PhysicalID, TargetKeyId: p.TargetKeyId}
			return Result{PhysicalID: r.PhysicalID}, r.Client.do(ctx, kms, "UpdateAlias", in)
		},
		delete: func(ctx context.Context, r *Request, _ *api.CreateAliasRequest) error {
			return gone(r.Client.do(ctx, kms, "DeleteAlias", &api.DeleteAliasRequest{AliasName: &r.PhysicalID}))
		},
	}.handler()
}

// hasAlias reports whether the target has the alias already.
func (r *Request) hasAlias(ctx context.Context, p *api.CreateAliasRequest) bool {
	in := &api.ListAliasesRequest{KeyId: p.TargetKeyId}
	for {
		out, err := call[api.ListAliasesResponse](ctx, r.Client, kms, "ListAliases", in)
		if err != nil {
			return false
		}
		if slices.ContainsFunc(out.Aliases, func(a api.AliasListEntry) bool { return deref(a.AliasName) == *p.AliasName }) {
			return true
		}
		if in.Marker = out.NextMarker; in.Marker == nil {
			return false
		}
	}
}
