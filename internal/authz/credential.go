// Package authz finds out who calls and whether they may: it turns access
// keys and session tokens into principals, and resolves a resource and
// authorises the call on it in one step, so that no operation can hold a
// resource that it has not been authorised for.
package authz

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/sigv4"
)

// tokenPurpose separates session tokens from whatever else the Sealer seals.
const tokenPurpose = "session-token"

// Root is the credential of an account's root user.
type Root struct {
	Account, AccessKeyID, SecretAccessKey string
}

// Credentials are temporary credentials of a session (AWS docs).
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	Expires                                    time.Time
}

// Keyring knows the long-lived access keys and issues sessions. A session is
// held by nobody: its token carries it, sealed, so every node can check it
// and a restart loses none.
type Keyring struct {
	root   Root
	sealer *key.Sealer
}

// NewKeyring returns a Keyring for the root credential; sessions are sealed
// by the sealer.
func NewKeyring(root Root, sealer *key.Sealer) *Keyring {
	return &Keyring{root, sealer}
}

// session is what a session token carries.
type session struct {
	AccessKeyID string    `json:"k"`
	Secret      string    `json:"s"`
	Account     string    `json:"a"`
	RoleName    string    `json:"n"`
	RoleARN     string    `json:"r"`
	RoleID      string    `json:"i"`
	Name        string    `json:"m"`
	Issued      time.Time `json:"t"`
	Expires     time.Time `json:"e"`
}

// Secret returns the secret access key of an access key and who it belongs
// to. The errors are sigv4.ErrUnknownKey, which also covers a token that is
// missing, foreign or superfluous, and sigv4.ErrExpiredSession.
func (k *Keyring) Secret(accessKeyID, token string, now time.Time) (string, iam.Principal, error) {
	if token == "" {
		if subtle.ConstantTimeCompare([]byte(accessKeyID), []byte(k.root.AccessKeyID)) != 1 {
			return "", iam.Principal{}, sigv4.ErrUnknownKey
		}
		return k.root.SecretAccessKey, RootPrincipal(k.root.Account, accessKeyID), nil
	}
	s, err := k.open(token)
	if err != nil || s.AccessKeyID != accessKeyID {
		return "", iam.Principal{}, sigv4.ErrUnknownKey
	}
	if !now.Before(s.Expires) {
		return "", iam.Principal{}, sigv4.ErrExpiredSession
	}
	return s.Secret, s.principal(), nil
}

// RootPrincipal returns the root user of an account.
func RootPrincipal(account, accessKeyID string) iam.Principal {
	return iam.Principal{
		Type: iam.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root", ID: account, AccessKeyID: accessKeyID,
	}
}

func (s *session) principal() iam.Principal {
	role := iam.Role{Account: s.Account, Name: s.RoleName}
	return iam.Principal{
		Type: iam.AssumedRole, Account: s.Account, ARN: role.SessionARN(s.Name), ID: s.RoleID + ":" + s.Name,
		Name: s.RoleName, Session: s.Name, RoleARN: s.RoleARN, AccessKeyID: s.AccessKeyID, IssuedAt: s.Issued,
	}
}

// Issue makes credentials for a session of the role that last for d.
func (k *Keyring) Issue(role *iam.Role, name string, d time.Duration) (Credentials, error) {
	now := time.Now().UTC().Truncate(time.Second)
	s := session{
		AccessKeyID: "ASIA" + rand.Text()[:16], Secret: newSecretKey(), Account: role.Account, RoleName: role.Name,
		RoleARN: role.ARN(), RoleID: role.ID, Name: name, Issued: now, Expires: now.Add(d),
	}
	plain, err := json.Marshal(s)
	if err != nil {
		return Credentials{}, fmt.Errorf("encoding a session of %s: %w", s.RoleARN, err)
	}
	sealed := k.sealer.Seal(tokenPurpose, plain)
	return Credentials{s.AccessKeyID, s.Secret, base64.StdEncoding.EncodeToString(sealed), s.Expires}, nil
}

func (k *Keyring) open(token string) (*session, error) {
	sealed, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return nil, err
	}
	plain, err := k.sealer.Open(tokenPurpose, sealed)
	if err != nil {
		return nil, err
	}
	var s session
	return &s, json.Unmarshal(plain, &s)
}

// NewRoot makes a credential for an account's root user.
func NewRoot(account string) Root {
	return Root{account, "AKIA" + rand.Text()[:16], newSecretKey()}
}

// newSecretKey returns 30 random bytes as 40 characters of base64, the form
// of AWS's secret access keys (AWS docs).
func newSecretKey() string {
	b := make([]byte, 30)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return base64.StdEncoding.EncodeToString(b)
}
