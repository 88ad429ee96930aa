// Package admin is a client of Keyturn's own API, with which operators manage
// a deployment: accounts, the access keys of their roots, and the root key.
package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	signingName  = "keyturn"
	targetPrefix = "Keyturn_20261101"
	// callTimeout bounds one call.
	callTimeout = 30 * time.Second
	// maxAnswer bounds an answer in bytes.
	maxAnswer = 1 << 20
)

// Client calls one server. Use New.
type Client struct {
	cfg    aws.Config
	signer *v4.Signer
}

// New returns a client of the server at the configuration's BaseEndpoint,
// which must be set.
func New(cfg aws.Config) (*Client, error) {
	if aws.ToString(cfg.BaseEndpoint) == "" {
		return nil, errors.New("the configuration has no endpoint")
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = http.DefaultClient
	}
	return &Client{cfg, v4.NewSigner()}, nil
}

// Error is what the server answered instead of a result.
type Error struct {
	// Code is the error's name, such as AccessDeniedException.
	Code    string
	Message string
	Status  int
}

// Error returns the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Time is a moment: on the wire seconds since 1970, for people RFC 3339.
type Time struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(b []byte) error {
	seconds, err := strconv.ParseFloat(string(b), 64)
	t.Time = time.UnixMilli(int64(seconds * 1000)).UTC()
	return err
}

// Account is an account of the deployment.
type Account struct {
	AccountID   string `json:"AccountId"`
	Name        string
	CreatedDate Time
}

// AccessKey is an access key of an account's root. The secret is shown when
// the key is made, and never again.
type AccessKey struct {
	AccountID       string `json:"AccountId"`
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	CreatedDate     Time
}

// AccountWithKey is a new account.
type AccountWithKey struct {
	Account   Account
	AccessKey AccessKey
}

// CreateAccount makes an account; with id "" the server chooses one.
func (c *Client) CreateAccount(ctx context.Context, name, id string) (*AccountWithKey, error) {
	in := map[string]string{"Name": name}
	if id != "" {
		in["AccountId"] = id
	}
	return call[AccountWithKey](ctx, c, "CreateAccount", in)
}

// ListAccounts returns all accounts in the order of their IDs.
func (c *Client) ListAccounts(ctx context.Context) ([]Account, error) {
	type page struct {
		Accounts  []Account
		NextToken string
	}
	list, in := []Account{}, map[string]string{}
	for {
		p, err := call[page](ctx, c, "ListAccounts", in)
		if err != nil {
			return nil, err
		}
		list = append(list, p.Accounts...)
		if p.NextToken == "" {
			return list, nil
		}
		in["NextToken"] = p.NextToken
	}
}

// AccountDetail is an account with the access keys of its root.
type AccountDetail struct {
	Account    Account
	AccessKeys []struct {
		AccessKeyID  string `json:"AccessKeyId"`
		CreatedDate  Time
		LastUsedDate *Time `json:",omitempty"`
	}
}

// DescribeAccount returns an account.
func (c *Client) DescribeAccount(ctx context.Context, id string) (*AccountDetail, error) {
	return call[AccountDetail](ctx, c, "DescribeAccount", map[string]string{"AccountId": id})
}

// CreateRootAccessKey makes another access key of an account's root.
func (c *Client) CreateRootAccessKey(ctx context.Context, account string) (*AccessKey, error) {
	out, err := call[AccountWithKey](ctx, c, "CreateRootAccessKey", map[string]string{"AccountId": account})
	if err != nil {
		return nil, err
	}
	return &out.AccessKey, nil
}

// DeleteRootAccessKey removes an access key of an account's root.
func (c *Client) DeleteRootAccessKey(ctx context.Context, account, accessKey string) error {
	_, err := call[struct{}](ctx, c, "DeleteRootAccessKey", map[string]string{"AccountId": account, "AccessKeyId": accessKey})
	return err
}

// Rekey is how far the replacement of the root key is.
type Rekey struct {
	RekeyID        string `json:"RekeyId"`
	RootKeyID      string `json:"RootKeyId"`
	Status         string
	StartedDate    Time
	CompletedDate  *Time `json:",omitempty"`
	RewrappedCount int
	FailingCount   int
	LastError      string `json:",omitempty"`
}

// Done reports whether the root key wraps everything.
func (r *Rekey) Done() bool { return r.Status == "COMPLETED" }

// RekeyStatus is what is wrapped by which root key.
type RekeyStatus struct {
	// RootKeyID is the root key in use.
	RootKeyID string `json:"RootKeyId"`
	// Rekey is the last one, or nil.
	Rekey *Rekey `json:",omitempty"`
	// Remaining lists other root keys that still wrap something.
	Remaining []struct {
		RootKeyID string `json:"RootKeyId"`
		Count     int
	}
}

// StartRekey starts to wrap everything with the server's root key.
func (c *Client) StartRekey(ctx context.Context) (*Rekey, error) {
	out, err := call[RekeyStatus](ctx, c, "StartRekey", struct{}{})
	if err != nil {
		return nil, err
	}
	return out.Rekey, nil
}

// DescribeRekey returns where the root keys stand.
func (c *Client) DescribeRekey(ctx context.Context) (*RekeyStatus, error) {
	return call[RekeyStatus](ctx, c, "DescribeRekey", struct{}{})
}

// call calls one operation.
func call[Out any](ctx context.Context, c *Client, operation string, in any) (*Out, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := c.request(ctx, operation, in)
	if err != nil {
		return nil, fmt.Errorf("preparing %s: %w", operation, err)
	}
	res, err := c.cfg.HTTPClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", operation, err)
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer to %s: %w", operation, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, refusal(res.StatusCode, body)
	}
	out := new(Out)
	if len(body) > 0 {
		if err := json.Unmarshal(body, out); err != nil {
			return nil, fmt.Errorf("reading the answer to %s: %w", operation, err)
		}
	}
	return out, nil
}

func (c *Client) request(ctx context.Context, operation string, in any) (*http.Request, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(*c.cfg.BaseEndpoint, "/")+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", targetPrefix+"."+operation)
	credentials, err := c.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return req, c.signer.SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), signingName, c.cfg.Region, time.Now())
}

// refusal reads an answer that is no result.
func refusal(status int, body []byte) error {
	var said struct {
		Type    string `json:"__type"`
		Message string
	}
	if json.Unmarshal(body, &said) != nil || said.Type == "" {
		return fmt.Errorf("the server answered with status %d: is it a Keyturn server?", status)
	}
	return &Error{Code: said.Type[strings.LastIndexByte(said.Type, '#')+1:], Message: said.Message, Status: status}
}
