package resource

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
)

const secretsManager = "secretsmanager"

// secretProperties are those of AWS::SecretsManager::Secret.
type secretProperties struct {
	Name, Description, KmsKeyId, SecretString, Type *string
	GenerateSecretString                            *generation
	ReplicaRegions                                  []api.ReplicaRegionType
	Tags                                            tags
}

// generation says how a value is generated.
type generation struct {
	api.GetRandomPasswordRequest
	SecretStringTemplate, GenerateStringKey *string
}

// secretHandler handles AWS::SecretsManager::Secret.
func secretHandler() *Handler {
	return typed[secretProperties]{
		schema: &stack.Schema{
			Type: "AWS::SecretsManager::Secret", Attributes: []string{"Id"}, Taggable: "Tags",
			Properties: properties{
				"Name": fixed(text()), "Description": text(), "KmsKeyId": text(), "SecretString": text(), "Type": text(), "Tags": tagList(),
				"ReplicaRegions": listOf(object(properties{"Region": required(text()), "KmsKeyId": text()})),
				"GenerateSecretString": object(properties{
					"ExcludeCharacters": text(), "ExcludeLowercase": boolean(), "ExcludeNumbers": boolean(), "ExcludePunctuation": boolean(),
					"ExcludeUppercase": boolean(), "GenerateStringKey": text(), "IncludeSpace": boolean(), "PasswordLength": integer(),
					"RequireEachIncludedType": boolean(), "SecretStringTemplate": text(),
				}),
			},
		},
		create: createSecret, update: updateSecret, delete: deleteSecret,
	}.handler()
}

func createSecret(ctx context.Context, r *Request, p *secretProperties) (Result, error) {
	name := deref(p.Name)
	if name == "" {
		name = r.LogicalID + "-" + r.random(nameLetters) // without the stack's name (AWS: recorded)
	}
	value, err := p.value(ctx, r.Client)
	if err != nil {
		return Result{}, err
	}
	arn, err := r.makeSecret(ctx, &api.CreateSecretRequest{
		Name: &name, ClientRequestToken: new(r.token("value")), Description: p.Description, KmsKeyId: p.KmsKeyId, SecretString: value,
		Tags: p.Tags.secret(r.Tags), AddReplicaRegions: p.ReplicaRegions, Type: p.Type,
	})
	if err != nil {
		return Result{}, err
	}
	if err = r.initiated(arn); err == nil {
		err = r.replicated(ctx, arn)
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeSecret(ctx, arn) })
	}
	return secretResult(arn), nil
}

func secretResult(arn string) Result {
	return Result{PhysicalID: arn, Attributes: map[string]any{"Id": arn}}
}

// makeSecret creates a secret, or finds the one that a call before a crash
// has created.
func (r *Request) makeSecret(ctx context.Context, in *api.CreateSecretRequest) (arn string, err error) {
	out, err := call[api.CreateSecretResponse](ctx, r.Client, secretsManager, "CreateSecret", in)
	if err == nil {
		return *out.ARN, nil
	}
	if exists(err) && r.Resumed {
		d, failed := r.describeSecret(ctx, *in.Name)
		if failed == nil && r.ours(*d.ARN, func(key string) string { return secretTag(d.Tags, key) }) {
			return *d.ARN, nil
		}
	}
	return "", err
}

func secretTag(list []api.Tag, key string) string {
	i := slices.IndexFunc(list, func(t api.Tag) bool { return deref(t.Key) == key })
	if i < 0 {
		return ""
	}
	return deref(list[i].Value)
}

func (r *Request) describeSecret(ctx context.Context, id string) (*api.DescribeSecretResponse, error) {
	return call[api.DescribeSecretResponse](ctx, r.Client, secretsManager, "DescribeSecret", &api.DescribeSecretRequest{SecretId: &id})
}

// value is the value that the properties ask for; nil for none.
func (p *secretProperties) value(ctx context.Context, c *Client) (*string, error) {
	g := p.GenerateSecretString
	if g == nil || p.SecretString == nil {
		if g == nil {
			return p.SecretString, nil
		}
		return g.value(ctx, c)
	}
	return nil, fault.New(fault.State, "You can't specify both SecretString and GenerateSecretString.") // text assumed
}

// value generates a password, alone or put into the template (AWS docs).
func (g *generation) value(ctx context.Context, c *Client) (*string, error) {
	var members map[string]any
	if g.SecretStringTemplate != nil || g.GenerateStringKey != nil {
		if g.SecretStringTemplate == nil || g.GenerateStringKey == nil { // text assumed
			return nil, fault.New(fault.State, "You must specify both GenerateStringKey and SecretStringTemplate, or neither of them.")
		}
		var err error
		if members, err = parseMembers(*g.SecretStringTemplate); err != nil { // text recorded; the cause may quote a secret
			return nil, fault.New(fault.State, "Could not parse SecretStringTemplate JSON")
		}
	}
	out, err := call[api.GetRandomPasswordResponse](ctx, c, secretsManager, "GetRandomPassword", &g.GetRandomPasswordRequest)
	if err != nil || members == nil {
		return valueOf(out), err
	}
	members[*g.GenerateStringKey] = *out.RandomPassword
	text, err := formatMembers(members)
	return &text, err
}

func valueOf(out *api.GetRandomPasswordResponse) *string {
	if out == nil {
		return nil
	}
	return out.RandomPassword
}

// parseMembers reads a JSON object; numbers keep their spelling.
func parseMembers(text string) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	var members map[string]any
	if err := d.Decode(&members); err != nil {
		return nil, err
	}
	if members == nil || d.More() {
		return nil, fault.New(fault.Parameter, "The value is not a JSON object.")
	}
	return members, nil
}

// formatMembers is a JSON object with its characters as they are.
func formatMembers(members map[string]any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(members); err != nil {
		return "", fault.Wrap(err, "encoding a value")
	}
	return string(bytes.TrimSpace(b.Bytes())), nil
}

// secret returns the tags in Secrets Manager's form.
func (t tags) secret(inherited map[string]string) []api.Tag {
	return secretTags(t.with(inherited))
}

func secretTags(all map[string]string) []api.Tag {
	return sortedTags(all, func(key, value *string) api.Tag { return api.Tag{Key: key, Value: value} })
}

func updateSecret(ctx context.Context, r *Request, old, p *secretProperties) (Result, error) {
	id := &r.PhysicalID
	if err := r.updateSecretItself(ctx, old, p); err != nil {
		return Result{}, err
	}
	change := r.tagsChanged(old.Tags, p.Tags)
	var steps []step
	if len(change.drop) > 0 {
		steps = append(steps, step{secretsManager, "UntagResource", &api.UntagResourceRequest{SecretId: id, TagKeys: change.drop}})
	}
	if len(change.set) > 0 {
		steps = append(steps, step{secretsManager, "TagResource", &api.TagResourceRequest{SecretId: id, Tags: secretTags(change.set)}})
	}
	if err := r.Client.each(ctx, steps...); err != nil {
		return Result{}, err
	}
	if err := r.replicate(ctx, p.ReplicaRegions); err != nil {
		return Result{}, err
	}
	return secretResult(r.PhysicalID), nil
}

// updateSecretItself changes the description, the key, the type and the
// value, which is made anew only if what asks for it has changed (AWS docs).
func (r *Request) updateSecretItself(ctx context.Context, old, p *secretProperties) error {
	in := &api.UpdateSecretRequest{SecretId: &r.PhysicalID, ClientRequestToken: new(r.token("value"))}
	changed := false
	if differ(old.Description, p.Description) {
		in.Description, changed = orEmpty(p.Description), true
	}
	if differ(old.KmsKeyId, p.KmsKeyId) {
		if in.KmsKeyId, changed = p.KmsKeyId, true; in.KmsKeyId == nil {
			in.KmsKeyId = new("alias/aws/secretsmanager")
		}
	}
	if differ(old.Type, p.Type) {
		in.Type, changed = orEmpty(p.Type), true
	}
	revalued := differ(old.SecretString, p.SecretString) || differ(old.GenerateSecretString, p.GenerateSecretString)
	if revalued && !r.Rollback {
		if err := r.revalue(ctx, in, p); err != nil {
			return err
		}
		changed = changed || in.SecretString != nil
	}
	if changed {
		err := r.Client.do(ctx, secretsManager, "UpdateSecret", in)
		if exists(err) && r.Resumed { // the token is of the value that was written before the crash
			in.SecretString = nil
			err = r.Client.do(ctx, secretsManager, "UpdateSecret", in)
		}
		if err != nil {
			return err
		}
	}
	if revalued && r.Rollback {
		return r.restoreLabels(ctx, r.PhysicalID, false)
	}
	return nil
}

// revalue puts the value that the properties ask for into an update, and
// keeps for a rollback where the labels were.
func (r *Request) revalue(ctx context.Context, in *api.UpdateSecretRequest, p *secretProperties) (err error) {
	if in.SecretString, err = p.value(ctx, r.Client); err != nil || in.SecretString == nil {
		return err
	}
	return r.rememberLabels(ctx, r.PhysicalID, *in.ClientRequestToken)
}

// replicate makes the replicas those of the list and waits for them.
func (r *Request) replicate(ctx context.Context, want []api.ReplicaRegionType) error {
	d, err := r.describeSecret(ctx, r.PhysicalID)
	if err != nil {
		return err
	}
	var add []api.ReplicaRegionType
	var remove []string
	for _, have := range d.ReplicationStatus {
		if !slices.ContainsFunc(want, func(w api.ReplicaRegionType) bool { return sameReplica(have, w) }) {
			remove = append(remove, deref(have.Region))
		}
	}
	for _, w := range want {
		if !slices.ContainsFunc(d.ReplicationStatus, func(have api.ReplicationStatusType) bool { return sameReplica(have, w) }) {
			add = append(add, w)
		}
	}
	var steps []step
	if len(remove) > 0 {
		steps = append(steps, step{secretsManager, "RemoveRegionsFromReplication",
			&api.RemoveRegionsFromReplicationRequest{SecretId: &r.PhysicalID, RemoveReplicaRegions: remove}})
	}
	if len(add) > 0 {
		steps = append(steps, step{secretsManager, "ReplicateSecretToRegions",
			&api.ReplicateSecretToRegionsRequest{SecretId: &r.PhysicalID, AddReplicaRegions: add}})
	}
	if err := r.Client.each(ctx, steps...); err != nil {
		return err
	}
	return r.replicated(ctx, r.PhysicalID)
}

func sameReplica(have api.ReplicationStatusType, want api.ReplicaRegionType) bool {
	const usual = "alias/aws/secretsmanager"
	keyOf := func(p *string) string {
		if deref(p) == "" {
			return usual
		}
		return *p
	}
	return deref(have.Region) == deref(want.Region) && keyOf(have.KmsKeyId) == keyOf(want.KmsKeyId)
}

// replicated waits until no replica is on its way any more.
func (r *Request) replicated(ctx context.Context, id string) error {
	return until(ctx, func() (bool, error) {
		d, err := r.describeSecret(ctx, id)
		if err != nil {
			return false, err
		}
		for _, s := range d.ReplicationStatus {
			switch deref(s.Status) {
			case api.StatusTypeInProgress:
				return false, nil
			case api.StatusTypeFailed:
				return false, notStabilized("Replication to %s failed: %s", deref(s.Region), deref(s.StatusMessage))
			}
		}
		return true, nil
	})
}

func deleteSecret(ctx context.Context, r *Request, _ *secretProperties) error {
	return r.removeSecret(ctx, r.PhysicalID)
}

// removeSecret deletes a secret and its replicas at once, without a recovery
// window (AWS: recorded).
func (r *Request) removeSecret(ctx context.Context, id string) error {
	d, err := r.describeSecret(ctx, id)
	if err != nil {
		return gone(err)
	}
	var regions []string
	for _, s := range d.ReplicationStatus {
		regions = append(regions, deref(s.Region))
	}
	if len(regions) > 0 {
		in := &api.RemoveRegionsFromReplicationRequest{SecretId: &id, RemoveReplicaRegions: regions}
		if err := r.Client.do(ctx, secretsManager, "RemoveRegionsFromReplication", in); err != nil {
			return gone(err)
		}
	}
	in := &api.DeleteSecretRequest{SecretId: &id, ForceDeleteWithoutRecovery: new(true)}
	return gone(r.Client.do(ctx, secretsManager, "DeleteSecret", in))
}
