// Package admin implements Keyturn's own API, for the operators of a
// deployment: accounts with the access keys of their roots, and the root key.
//
// It is served beside the AWS APIs, under the signing name keyturn, to
// principals of the first account alone: its root, and those of its users and
// roles whose policies allow the action, such as keyturn:CreateAccount, on *.
// Access keys of roots take iam:CreateAccessKey or iam:DeleteAccessKey on the
// root as well, because policies that were written for AWS, such as those that
// allow everything but IAM, do not know that this API makes roots.
package admin

import (
	"context"
	"time"

	api "github.com/keyturn/keyturn/internal/api/keyturn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/rekey"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with; all members but Given are needed.
type Config struct {
	Store   *store.Store
	Guard   *authz.Guard
	Sealer  *key.Sealer
	Rekeyer *rekey.Rekeyer
	// Account is the first account, that of the operators.
	Account string
	// Given says that the first account has a root access key which is not
	// in the store.
	Given bool
}

// Service is Keyturn's own API. Use New.
type Service struct{ Config }

// New returns a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{Model: api.Model(), Errors: codes, Ops: []wire.Op{
		wire.Handle("CreateAccount", s.CreateAccount),
		wire.Handle("CreateRootAccessKey", s.CreateRootAccessKey),
		wire.Handle("DeleteRootAccessKey", s.DeleteRootAccessKey),
		wire.Handle("DescribeAccount", s.DescribeAccount),
		wire.Handle("DescribeRekey", s.DescribeRekey),
		wire.Handle("ListAccounts", s.ListAccounts),
		wire.Handle("StartRekey", s.StartRekey),
	}}
}

// codes are the service's error codes, in AWS's manner.
var codes = map[fault.Kind]wire.Code{
	fault.Exists:    {Name: "AccountAlreadyExistsException", Status: 400},
	fault.NotFound:  {Name: "ResourceNotFoundException", Status: 400},
	fault.Limit:     {Name: "LimitExceededException", Status: 400},
	fault.PageToken: {Name: "InvalidNextTokenException", Status: 400},
	fault.State:     {Name: "LastAccessKeyException", Status: 400},
}

// authorise admits operators. Other accounts cannot be given access: a
// deployment's accounts do not trust each other.
func (s *Service) authorise(call *wire.Call) error {
	if call.Principal.Account != s.Account {
		return fault.New(fault.Denied, "User: %s is not authorized to perform: %s because only principals of the deployment's first account may",
			call.Principal.ARN, call.Action())
	}
	return s.Guard.Action(call, "*")
}

// The actions of IAM that guard access keys of roots beside the call's own.
const (
	createKey = "iam:CreateAccessKey"
	deleteKey = "iam:DeleteAccessKey"
)

// authoriseRoot is authorise for calls that make or remove an access key of an
// account's root.
func (s *Service) authoriseRoot(call *wire.Call, action, account string) error {
	if err := s.authorise(call); err != nil {
		return err
	}
	return s.Guard.On(call, action, &authz.Resource{ARN: authz.RootPrincipal(account, "").ARN, Account: s.Account})
}

// StartRekey starts to wrap all keys with the root key of the node that
// answers. A rekey to the same root key that is under way is returned as it
// is.
func (s *Service) StartRekey(ctx context.Context, call *wire.Call, _ *api.StartRekeyRequest) (*api.StartRekeyResponse, error) {
	if err := s.authorise(call); err != nil {
		return nil, err
	}
	out := &api.StartRekeyResponse{}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		p, err := s.Rekeyer.Start(tx, call.Time)
		if err != nil {
			return err
		}
		out.Rekey = progress(p)
		return tx.Record(call.Event(out))
	})
}

// DescribeRekey tells how far the last rekey is, and which other root keys
// are still needed, and for how much.
func (s *Service) DescribeRekey(ctx context.Context, call *wire.Call, _ *api.DescribeRekeyRequest) (*api.DescribeRekeyResponse, error) {
	if err := s.authorise(call); err != nil {
		return nil, err
	}
	var status *rekey.Status
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		status, err = s.Rekeyer.Status(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.DescribeRekeyResponse{RootKeyId: &status.RootKeyID, Remaining: []api.Remaining{}}
	if status.Last != nil {
		out.Rekey = progress(status.Last)
	}
	for _, r := range status.Remaining {
		out.Remaining = append(out.Remaining, api.Remaining{RootKeyId: new(r.RootKeyID), Count: new(int64(r.Count))})
	}
	return out, nil
}

func progress(p *rekey.Progress) *api.Rekey {
	out := &api.Rekey{
		RekeyId: &p.ID, RootKeyId: &p.RootKeyID, Status: new(string(p.State)), StartedDate: &p.StartedAt, CompletedDate: date(p.FinishedAt),
		RewrappedCount: new(int64(p.Rewrapped)), FailingCount: new(int64(p.Failing)),
	}
	if p.Error != "" {
		out.LastError = &p.Error
	}
	return out
}

// date is nil for a moment that has not come.
func date(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
