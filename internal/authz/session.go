package authz

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/store"
)

// tokenPurpose separates session tokens from whatever else the Sealer seals.
const tokenPurpose = "session-token/2"

// Credentials are temporary credentials of a session (AWS docs).
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	Expires                                    time.Time
}

// session is what a session token carries.
type session struct {
	AccessKeyID string `json:"k"`
	Secret      string `json:"s"`
	Account     string `json:"a"`
	// Type is that of the principal; a role if empty.
	Type iam.PrincipalType `json:"y,omitempty"`
	// Name and ID are those of the role or user.
	Name string `json:"n,omitempty"`
	ID   string `json:"i,omitempty"`
	// Session is the session name of a role.
	Session string `json:"m,omitempty"`
	// Issued and Expires are in seconds since 1970.
	Issued  int64        `json:"t"`
	Expires int64        `json:"e"`
	Given   *iam.Session `json:"g,omitempty"`
}

// Issue makes credentials for a session of the role that last for d. given is
// what the session is made with, or nil; it does not change any more.
func (k *Keyring) Issue(role *iam.Role, name string, d time.Duration, given *iam.Session) (Credentials, error) {
	return k.issue(session{Account: role.Account, Name: role.Name, ID: role.ID, Session: name, Given: given}, d)
}

// IssueFor makes credentials for a session of a user or an account's root
// that last for d and may do whatever the principal may.
func (k *Keyring) IssueFor(p iam.Principal, d time.Duration) (Credentials, error) {
	if p.Type != iam.Root && p.Type != iam.IAMUser {
		return Credentials{}, fmt.Errorf("there are no sessions of %s", p.ARN)
	}
	return k.issue(session{Type: p.Type, Account: p.Account, Name: p.Name, ID: p.ID}, d)
}

func (k *Keyring) issue(s session, d time.Duration) (Credentials, error) {
	now := time.Now()
	s.AccessKeyID, s.Secret = "ASIA"+rand.Text()[:16], newSecretKey()
	s.Issued, s.Expires = now.Unix(), now.Unix()+int64(d/time.Second)
	plain, err := pack(s)
	if err != nil {
		return Credentials{}, fmt.Errorf("encoding a session of %s: %w", s.ID, err)
	}
	token := base64.StdEncoding.EncodeToString(k.cfg.Sealer.Seal(tokenPurpose, plain))
	return Credentials{s.AccessKeyID, s.Secret, token, time.Unix(s.Expires, 0).UTC()}, nil
}

// open reads a token that this deployment issued.
func (k *Keyring) open(token string) (*session, error) {
	sealed, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil {
		return nil, err
	}
	plain, err := k.cfg.Sealer.Open(tokenPurpose, sealed)
	if err != nil {
		return nil, err
	}
	var s session
	return &s, unpack(plain, &s)
}

// findSession finds the role or user of a session. An error of kind NotFound
// stands for all reasons for which there is none.
func (k *Keyring) findSession(ctx context.Context, accessKeyID, token string, now time.Time) (*credential, error) {
	s, err := k.open(token)
	if err != nil || s.AccessKeyID != accessKeyID {
		return nil, fault.New(fault.NotFound, "").Because(err)
	}
	c := &credential{secret: s.Secret, token: token, expires: time.Unix(s.Expires, 0)}
	if !now.Before(c.expires) {
		return nil, sigv4.ErrExpiredSession
	}
	if s.Type == iam.Root {
		c.principal = RootPrincipal(s.Account, accessKeyID)
		err = k.checkAccount(ctx, s.Account)
	} else {
		c.principal, err = k.sessionPrincipal(ctx, s)
	}
	c.principal.IssuedAt = time.Unix(s.Issued, 0).UTC()
	return c, err
}

// checkAccount returns an error of kind NotFound unless the account exists.
func (k *Keyring) checkAccount(ctx context.Context, account string) error {
	if account == k.cfg.Root.Account {
		return nil
	}
	return k.cfg.Store.View(ctx, func(tx *store.Tx) error {
		_, err := tx.Account(account)
		return err
	})
}

// sessionPrincipal returns who a session of a user or a role stands for.
func (k *Keyring) sessionPrincipal(ctx context.Context, s *session) (iam.Principal, error) {
	kind := iam.RoleHolder
	if s.Type == iam.IAMUser {
		kind = iam.UserHolder
	}
	h, err := k.holder(ctx, holderKey{kind, s.Account, s.Name})
	if err != nil {
		return iam.Principal{}, err
	}
	if h.id != s.ID {
		return iam.Principal{}, fault.New(fault.NotFound, "").Because(fmt.Errorf("%s was made anew after the session", h.arn))
	}
	if kind == iam.UserHolder {
		return h.user(s.AccessKeyID), nil
	}
	p := h.session(s)
	p.Identity, err = k.limit(ctx, h.identity, s)
	return p, err
}

// limit adds to the identity of a role what its session was given: session
// policies, which narrow, and tags, which win over the role's.
func (k *Keyring) limit(ctx context.Context, id *iam.Identity, s *session) (*iam.Identity, error) {
	if s.Given == nil {
		return id, nil
	}
	limited := *id
	for _, text := range s.Given.Policies {
		limited.Session = append(limited.Session, k.compile(text, "session policy"))
	}
	documents, err := k.managed(ctx, s.Account, s.Given.PolicyARNs)
	if err != nil {
		return nil, err
	}
	for _, policyARN := range s.Given.PolicyARNs {
		limited.Session = append(limited.Session, k.compileManaged(documents, policyARN))
	}
	limited.Tags = mergeTags(id.Tags, s.Given.Tags)
	return &limited, nil
}

// mergeTags returns all tags, of which those of over win. Keys are compared
// without regard to case (AWS docs).
func mergeTags(under, over []iam.Tag) []iam.Tag {
	merged := slices.Clone(over)
	for _, t := range under {
		if !slices.ContainsFunc(over, func(o iam.Tag) bool { return strings.EqualFold(o.Key, t.Key) }) {
			merged = append(merged, t)
		}
	}
	return merged
}

// packedLimit is how many bytes session policies, their ARNs and session tags
// may take together when they are packed. AWS's own number and packing are
// not published.
const packedLimit = 2048

// PackedSize returns how much of the room that a token has for them session
// policies and tags take, in percent; more than 100 is too much.
func PackedSize(given *iam.Session) (percent int64, err error) {
	b, err := pack(given)
	return (int64(len(b))*100 + packedLimit - 1) / packedLimit, err
}

// maxUnpacked bounds what a token holds, in bytes.
const maxUnpacked = 1 << 20

// packDictionary has what session policies are mostly made of. It is part of
// the format of tokens.
const packDictionary = `"Principal":"Transitive":"Key":"Value":arn:aws:iam::aws:policy/arn:aws:kms:arn:aws:lambda:` +
	`{"StringEquals":{"aws:ResourceTag/"StringLike"IpAddress"aws:SourceIp""NotAction":"NotResource":"Effect":"Deny","Condition":` +
	`"lambda:InvokeFunction""kms:Decrypt","kms:GenerateDataKey""secretsmanager:DescribeSecret","secretsmanager:PutSecretValue",` +
	`"secretsmanager:UpdateSecretVersionStage","secretsmanager:ListSecrets"arn:aws:secretsmanager:us-east-1:123456789012:secret:` +
	`{"k":"ASIA","s":"","a":"","n":"","i":"AROA","m":"","t":1,"e":1,"g":{"p":["{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"` +
	`\"Effect\":\"Allow\",\"Action\":[\"secretsmanager:GetSecretValue\"],\"Resource\":\"*\"}]}"]}}`

// pack encodes a value as compressed JSON.
func pack(v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, flate.BestCompression, []byte(packDictionary))
	if err != nil {
		return nil, err
	}
	_, err = w.Write(plain)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

func unpack(packed []byte, v any) error {
	r := flate.NewReaderDict(bytes.NewReader(packed), []byte(packDictionary))
	plain, err := io.ReadAll(io.LimitReader(r, maxUnpacked))
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, v)
}
