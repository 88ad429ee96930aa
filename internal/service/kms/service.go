// Package kms implements the part of AWS KMS that keys need as records: they
// are made, named, described and listed. Secrets may be sealed under them.
//
// Texts of errors are AWS's wherever they are on record.
package kms

import (
	"context"
	"regexp"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/kms"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with; all members are needed.
type Config struct {
	Store  *store.Store
	Guard  *authz.Guard
	Keeper key.Keeper
}

// Service is KMS. Use New.
type Service struct{ Config }

// New returns a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{Model: api.Model(), Errors: codes, Ops: []wire.Op{
		wire.Handle("CreateAlias", s.CreateAlias),
		wire.Handle("CreateKey", s.CreateKey),
		wire.Handle("DescribeKey", s.DescribeKey),
		wire.Handle("ListAliases", s.ListAliases),
		wire.Handle("ListKeys", s.ListKeys),
	}}
}

// Kinds of this service alone.
const (
	unsupported   fault.Kind = "unsupported operation"
	badTags       fault.Kind = "bad tags"
	notAuthorized fault.Kind = "not authorized"
)

// codes are the service's error codes: all 400 (AWS: recorded).
var codes = map[fault.Kind]wire.Code{
	fault.NotFound:   {Name: "NotFoundException", Status: 400},
	fault.Exists:     {Name: "AlreadyExistsException", Status: 400},
	fault.Policy:     {Name: "MalformedPolicyDocumentException", Status: 400},
	fault.Validation: {Name: "ValidationException", Status: 400},
	key.KeyState:     {Name: "KMSInvalidStateException", Status: 400},
	unsupported:      {Name: "UnsupportedOperationException", Status: 400},
	badTags:          {Name: "TagException", Status: 400},
	notAuthorized:    {Name: "NotAuthorizedException", Status: 400},
}

// CreateKey makes a symmetric encryption key.
func (s *Service) CreateKey(ctx context.Context, call *wire.Call, in *api.CreateKeyRequest) (*api.CreateKeyResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	n, err := newKey(call, in)
	if err != nil {
		return nil, err
	}
	rec, err := key.NewRecord(ctx, s.Keeper, n, call.Time)
	if err != nil {
		return nil, err
	}
	out := &api.CreateKeyResponse{KeyMetadata: metadata(rec)}
	concern(call, rec)
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.SaveKey(rec); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// newKey reads what key is wanted.
func newKey(call *wire.Call, in *api.CreateKeyRequest) (key.NewKey, error) {
	n := key.NewKey{Account: call.Principal.Account, Region: call.Region, Manager: key.Customer}
	if in.KeySpec != nil && in.CustomerMasterKeySpec != nil {
		return n, fault.New(fault.Validation, "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	}
	if other(in.KeySpec, "SYMMETRIC_DEFAULT") || other(in.CustomerMasterKeySpec, "SYMMETRIC_DEFAULT") || other(in.KeyUsage, "ENCRYPT_DECRYPT") ||
		other(in.Origin, "AWS_KMS") || in.MultiRegion != nil && *in.MultiRegion {
		return n, fault.New(unsupported, "Only single-region symmetric encryption keys with material made here are supported.")
	}
	if in.Description != nil {
		n.Description = *in.Description
	}
	if in.Policy != nil {
		if err := checkPolicy(*in.Policy); err != nil {
			return n, err
		}
		n.Policy = *in.Policy
	}
	var err error
	n.Tags, err = tagsOf(in.Tags)
	return n, err
}

func other(given *string, want string) bool { return given != nil && *given != want }

// checkPolicy refuses a key policy that is not well formed. The text for
// principals is AWS's, the other assumed to be that of IAM.
func checkPolicy(text string) error {
	d, err := iam.ParseDocument(text)
	if err != nil {
		return fault.New(fault.Policy, "Syntax errors in policy.").Because(err)
	}
	if err := d.CheckResource(); err != nil {
		return fault.New(fault.Policy, "Policy contains a statement with one or more invalid principals.").Because(err)
	}
	return nil
}

func tagsOf(in []api.Tag) ([]key.Tag, error) {
	var tags []key.Tag
	seen := map[string]bool{}
	for _, t := range in {
		switch {
		case seen[*t.TagKey]:
			return nil, fault.New(badTags, "Duplicate tag keys")
		case strings.HasPrefix(strings.ToLower(*t.TagKey), "aws:"):
			return nil, fault.New(badTags, "Tags beginning with aws: are reserved")
		case len(seen) == 50:
			return nil, fault.New(badTags, "Too many tags")
		}
		seen[*t.TagKey] = true
		tags = append(tags, key.Tag{Key: *t.TagKey, Value: *t.TagValue})
	}
	return tags, nil
}

// concern names the key in the call's event.
func concern(call *wire.Call, rec *key.Record) {
	call.Resources = []trail.Resource{{Type: "AWS::KMS::Key", Name: rec.ARN()}}
}

func metadata(rec *key.Record) *api.KeyMetadata {
	m := &api.KeyMetadata{
		AWSAccountId: &rec.Account, KeyId: &rec.ID, Arn: new(rec.ARN()), CreationDate: &rec.CreatedAt,
		Enabled: new(rec.State == key.Enabled), Description: &rec.Description, KeyUsage: new("ENCRYPT_DECRYPT"),
		KeyState: new(string(rec.State)), Origin: new("AWS_KMS"), KeyManager: new(string(rec.Manager)),
		CustomerMasterKeySpec: new("SYMMETRIC_DEFAULT"), KeySpec: new("SYMMETRIC_DEFAULT"),
		EncryptionAlgorithms: []string{"SYMMETRIC_DEFAULT"}, MultiRegion: new(false),
	}
	if !rec.DeleteAt.IsZero() {
		m.DeletionDate = &rec.DeleteAt
	}
	if n := len(rec.Material); n > 0 {
		m.CurrentKeyMaterialId = &rec.Material[n-1].ID
	}
	return m
}

// keyID is what the ID of a key looks like, also of one that exists in several
// regions (AWS docs).
var keyID = regexp.MustCompile(`^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$`)

// find returns the key that an ID, an ARN, an alias or an alias ARN names,
// authorised for the call.
func (s *Service) find(tx *store.Tx, call *wire.Call, id string) (*key.Record, error) {
	name, err := s.nameOf(call, id)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(name, "alias/") {
		alias, err := tx.Alias(call.Principal.Account, call.Region, name)
		if fault.Is(err, fault.NotFound) {
			return nil, fault.New(fault.NotFound, "Alias %s is not found.", aliasARN(call, name))
		}
		if err != nil {
			return nil, err
		}
		name = alias.KeyID
	}
	if !keyID.MatchString(name) {
		return nil, fault.New(fault.NotFound, "Invalid keyId '%s'", name)
	}
	rec, err := tx.Key(call.Principal.Account, call.Region, name)
	if fault.Is(err, fault.NotFound) {
		return nil, noKey(arn.New("kms", call.Region, call.Principal.Account, "key/"+name).String())
	}
	return rec, err
}

// nameOf returns the key ID or the alias in an identifier. An ARN must be one
// of the call's region, and of an account in which the caller may act.
func (s *Service) nameOf(call *wire.Call, id string) (string, error) {
	if !arn.IsARN(id) {
		return id, nil
	}
	a, ok := arn.Parse(id)
	switch {
	case !ok || a.Service != "kms":
		return "", fault.New(fault.NotFound, "Invalid arn %s", id)
	case a.Region != call.Region:
		return "", fault.New(fault.NotFound, "Invalid arn %s", a.Region)
	}
	return strings.TrimPrefix(a.Resource, "key/"), s.Guard.Action(call, id)
}

func noKey(arn string) error { return fault.New(fault.NotFound, "Key '%s' does not exist", arn) }

func aliasARN(call *wire.Call, name string) string {
	return arn.New("kms", call.Region, call.Principal.Account, name).String()
}

// DescribeKey shows a key. Asking for the default key of Secrets Manager
// makes it (AWS docs).
func (s *Service) DescribeKey(ctx context.Context, call *wire.Call, in *api.DescribeKeyRequest) (*api.DescribeKeyResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	if *in.KeyId == key.DefaultAlias || *in.KeyId == aliasARN(call, key.DefaultAlias) {
		if err := s.Guard.EnsureDefaultKey(ctx, call.Principal.Account, call.Region); err != nil {
			return nil, err
		}
	}
	out := &api.DescribeKeyResponse{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		rec, err := s.find(tx, call, *in.KeyId)
		if err != nil {
			return err
		}
		concern(call, rec)
		out.KeyMetadata = metadata(rec)
		return nil
	})
}

// pageSize is the size that a request wants, or a default.
func pageSize(size *int64, otherwise int) int {
	if size == nil {
		return otherwise
	}
	return int(*size)
}

// ListKeys lists the region's keys.
func (s *Service) ListKeys(ctx context.Context, call *wire.Call, in *api.ListKeysRequest) (*api.ListKeysResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	size, after := pageSize(in.Limit, 100), ""
	if in.Marker != nil {
		after = *in.Marker
	}
	var list []*key.Record
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Keys(call.Principal.Account, call.Region, after, size+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListKeysResponse{Keys: []api.KeyListEntry{}, Truncated: new(len(list) > size)}
	if len(list) > size {
		list = list[:size]
		out.NextMarker = &list[size-1].ID
	}
	for _, rec := range list {
		out.Keys = append(out.Keys, api.KeyListEntry{KeyId: &rec.ID, KeyArn: new(rec.ARN())})
	}
	return out, nil
}

var aliasName = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]+$`)

// CreateAlias names a key.
func (s *Service) CreateAlias(ctx context.Context, call *wire.Call, in *api.CreateAliasRequest) (*api.CreateAliasResponse, error) {
	name := *in.AliasName
	if err := s.Guard.Action(call, aliasARN(call, name)); err != nil {
		return nil, err
	}
	switch {
	case !strings.HasPrefix(name, "alias/"):
		return nil, fault.New(fault.Validation, `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`)
	case !aliasName.MatchString(name):
		return nil, fault.New(fault.Validation, "Alias contains invalid characters for an alias")
	case strings.HasPrefix(name, "alias/aws/"):
		return nil, fault.New(notAuthorized, "")
	case strings.HasPrefix(*in.TargetKeyId, "alias/") || strings.Contains(*in.TargetKeyId, ":alias/"):
		return nil, fault.New(fault.Validation, "Aliases must refer to keys. Not aliases")
	}
	out := &api.CreateAliasResponse{}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		rec, err := s.find(tx, call, *in.TargetKeyId)
		if err != nil {
			return err
		}
		concern(call, rec)
		if rec.State == key.PendingDeletion {
			return rec.CheckUsable()
		}
		_, err = tx.Alias(call.Principal.Account, call.Region, name)
		if err == nil {
			return fault.New(fault.Exists, "An alias with the name %s already exists", aliasARN(call, name))
		}
		if !fault.Is(err, fault.NotFound) {
			return err
		}
		err = tx.SaveAlias(&key.Alias{
			Name: name, Account: rec.Account, Region: rec.Region, KeyID: rec.ID, CreatedAt: call.Time, UpdatedAt: call.Time,
		})
		if err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// ListAliases lists the region's aliases, or those of one key.
func (s *Service) ListAliases(ctx context.Context, call *wire.Call, in *api.ListAliasesRequest) (*api.ListAliasesResponse, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	size, after := pageSize(in.Limit, 50), ""
	if in.Marker != nil {
		after = *in.Marker
	}
	var list []key.Alias
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		id := ""
		if in.KeyId != nil {
			rec, err := s.find(tx, call, *in.KeyId)
			if err != nil {
				return err
			}
			id = rec.ID
		}
		var err error
		list, err = tx.Aliases(call.Principal.Account, call.Region, id, after, size+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListAliasesResponse{Aliases: []api.AliasListEntry{}, Truncated: new(len(list) > size)}
	if len(list) > size {
		list = list[:size]
		out.NextMarker = &list[size-1].Name
	}
	for i := range list {
		a := &list[i]
		out.Aliases = append(out.Aliases, api.AliasListEntry{
			AliasName: &a.Name, AliasArn: new(aliasARN(call, a.Name)), TargetKeyId: &a.KeyID, CreationDate: &a.CreatedAt, LastUpdatedDate: &a.UpdatedAt,
		})
	}
	return out, nil
}
