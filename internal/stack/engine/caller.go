package engine

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/stack/resource"
	"github.com/keyturn/keyturn/internal/store"
)

// roleSession is the name of the sessions in which roles work (AWS docs), and
// roleTime how long their credentials last; each call gets its own.
const (
	roleSession = "AWSCloudFormation"
	roleTime    = time.Hour
)

// client calls as the operation's role or caller, with what they may do by
// now. A session that was good when the operation was asked for stays good
// until it ends.
func (d *driver) client(work context.Context) (*resource.Client, error) {
	token, err := d.op.SessionToken(d.cfg.Sealer)
	if err != nil {
		return nil, err
	}
	var p iam.Principal
	if role := d.op.Order.RoleARN; role != "" {
		p, err = d.assume(work, role)
	} else {
		_, p, err = d.cfg.Keyring.Secret(work, d.op.Order.AccessKeyID, token, d.op.AskedAt())
		if err != nil && !fault.Is(err, fault.Unavailable) && fault.KindOf(err) != fault.Internal {
			err = fault.New(fault.Denied, "The security token included in the request is invalid").Because(err)
		}
	}
	return &resource.Client{Handler: d.handler, Principal: p, Region: d.stack.Region}, err
}

// assume returns who works in a session of the role.
func (d *driver) assume(work context.Context, roleARN string) (iam.Principal, error) {
	var role *iam.Role
	err := d.cfg.Store.View(work, func(tx *store.Tx) (err error) {
		role, err = Assumable(tx, d.stack.Account, roleARN)
		return err
	})
	if err != nil {
		return iam.Principal{}, err
	}
	c, err := d.cfg.Keyring.Issue(role, roleSession, roleTime, nil)
	if err != nil {
		return iam.Principal{}, err
	}
	_, p, err := d.cfg.Keyring.Secret(work, c.AccessKeyID, c.SessionToken, time.Now())
	return p, err
}

// Assumable returns a role of the account as which CloudFormation may work.
// The error is of kind fault.Validation with AWS's text.
func Assumable(tx *store.Tx, account, roleARN string) (*iam.Role, error) {
	refused := fault.New(fault.Validation, "Role %s is invalid or cannot be assumed", roleARN).For(roleARN)
	owner, name, ok := iam.RoleNameFromARN(roleARN)
	if !ok || owner != account {
		return nil, refused
	}
	role, err := tx.Role(owner, name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, refused.Because(err)
	case err != nil:
		return nil, err
	case role.ARN() != roleARN || !role.TrustsService(record.Service, func(key string) iam.Value {
		if key == "aws:sourceaccount" {
			return iam.Text(account)
		}
		return iam.Value{}
	}):
		return nil, refused
	}
	return role, nil
}

// dynamic fetches what a dynamic reference stands for. The texts are AWS's.
func dynamic(work context.Context, c *resource.Client, ref stack.DynamicReference) (string, error) {
	if ref.Service != stack.DynamicSecretsManager {
		return "", fault.New(fault.Validation, "Systems Manager parameters are not served here, so %s cannot be resolved.", ref.Text)
	}
	in := &secretsmanager.GetSecretValueRequest{SecretId: &ref.SecretID}
	if ref.VersionID != "" {
		in.VersionId = &ref.VersionID
	}
	if ref.VersionStage != "" {
		in.VersionStage = &ref.VersionStage
	}
	out, err := c.Call(work, "secretsmanager", "GetSecretValue", in)
	if err != nil {
		return "", err
	}
	value, ok := out.(*secretsmanager.GetSecretValueResponse)
	if !ok || value.SecretString == nil {
		return "", fault.New(fault.Validation, "Could not parse SecretString JSON")
	}
	if ref.JSONKey == "" {
		return *value.SecretString, nil
	}
	return member(*value.SecretString, ref.JSONKey)
}

// member returns a member of a secret's JSON.
func member(text, key string) (string, error) {
	var members map[string]any
	if err := decodeJSON(text, &members); err != nil {
		return "", fault.New(fault.Validation, "Could not parse SecretString JSON")
	}
	switch v := members[key].(type) {
	case string:
		return v, nil
	case nil:
		return "", fault.New(fault.Validation, "Could not find a value associated with JSONKey in SecretString")
	default:
		b, err := json.Marshal(v)
		return string(b), err
	}
}

// identity names the stack for handlers.
func (d *driver) identity() resource.Identity {
	return resource.Identity{
		ID: d.stack.ID, Name: d.stack.Name, Account: d.stack.Account, Region: d.stack.Region, Partition: arn.Partition(d.stack.Region),
	}
}

// request is a call of a handler.
func (d *driver) request(work context.Context, p *part, resumed bool) (*resource.Request, error) {
	client, err := d.client(work)
	if err != nil {
		return nil, err
	}
	r := &resource.Request{
		Client: client, Stack: d.identity(), LogicalID: p.LogicalID, PhysicalID: p.PhysicalID, Token: p.Token, Resumed: resumed,
		Stacks: resource.Nesting{
			Capabilities: d.contents.Config.Capabilities, NotificationARNs: d.contents.Config.NotificationARNs, RoleARN: d.contents.Config.RoleARN,
		},
	}
	switch d.op.Phase {
	case record.Apply:
		r.Remember = func(memory string) error { return d.remember(work, p, memory) }
	case record.Undo, record.UndoCleanup:
		r.Rollback, r.Remembered = true, p.state.Memory
	}
	return r, nil
}

// tagsFor are the tags that a resource gets: the stack's and CloudFormation's
// own.
func (d *driver) tagsFor(p *part, a *record.Applied) map[string]string {
	tags := map[string]string{}
	if a != nil {
		for _, t := range a.Tags {
			tags[t.Key] = t.Value
		}
	}
	maps.Copy(tags, resource.SystemTags(d.identity(), p.LogicalID))
	return tags
}

// checkTags keeps tags whose keys start with aws: to CloudFormation: what it
// calls for a stack may set them, a template may not.
func checkTags(schema *stack.Schema, properties map[string]any) error {
	reserved := func(key any) bool {
		text, ok := key.(string)
		return ok && strings.HasPrefix(strings.ToLower(text), "aws:")
	}
	found := false
	switch tags := properties[schema.Taggable].(type) {
	case map[string]any:
		for key := range tags {
			found = found || reserved(key)
		}
	case []any:
		for _, tag := range tags {
			pair, _ := tag.(map[string]any)
			found = found || reserved(pair["Key"])
		}
	}
	if found {
		return fault.New(fault.Validation, "aws: prefixed tag key names are not allowed for external use.")
	}
	return nil
}
