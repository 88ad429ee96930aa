// Package secretsmanager implements the operations of AWS Secrets Manager and
// the two parts of the service that work by themselves: the Replicator, which
// carries secrets to other regions, and the Sweeper, which removes what was
// deleted.
//
// An operation resolves and authorises its secret in one step, asks package
// secret whether the secret's state admits the call and what becomes of it,
// and stores the change together with its trail event in one transaction.
// Values are sealed before that transaction and opened after the one that
// read them, because the key may have to be fetched from a keeper elsewhere.
//
// Texts of errors are AWS's wherever they are on record.
package secretsmanager

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// Config is what a Service works with. All members are needed but Wake and
// Logger.
type Config struct {
	Store *store.Store
	Guard *authz.Guard
	// Keys seals and opens the values.
	Keys *key.Ring
	// Sealer seals page tokens and rotation tokens.
	Sealer *key.Sealer
	// Regions are those to which secrets may be replicated.
	Regions []string
	// CanInvoke tells whether a function exists and its policy lets Secrets
	// Manager invoke it for the secret; an error of kind Denied or NotFound
	// says that it may not.
	CanInvoke func(tx *store.Tx, functionARN, secretARN, account string) error
	// Wake is called after a rotation was stored that is to start at once.
	Wake   func()
	Logger *slog.Logger
}

// Service is Secrets Manager. Use New.
type Service struct {
	Config
	replicator *Replicator
	sweeper    *Sweeper
	// defaults holds the account and region of each default key that is known
	// to exist; such a key is never deleted.
	defaults sync.Map
}

// New returns a Service that does nothing by itself until its Replicator and
// its Sweeper run.
func New(cfg Config) *Service {
	if cfg.Wake == nil {
		cfg.Wake = func() {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{Config: cfg}
	s.replicator = newReplicator(s)
	s.sweeper = newSweeper(s)
	return s
}

// Replicator returns the part that replicates; one per node has to run.
func (s *Service) Replicator() *Replicator { return s.replicator }

// Sweeper returns the part that purges; one per node has to run.
func (s *Service) Sweeper() *Sweeper { return s.sweeper }

// Wire returns the service as package wire serves it.
func (s *Service) Wire() *wire.Service {
	return &wire.Service{Model: api.Model(), Ops: s.Ops(), Errors: codes, Conditions: conditions}
}

// Ops returns all operations.
func (s *Service) Ops() []wire.Op {
	return []wire.Op{
		wire.Handle("BatchGetSecretValue", s.BatchGetSecretValue),
		wire.Handle("CancelRotateSecret", s.CancelRotateSecret),
		wire.Handle("CreateSecret", s.CreateSecret),
		wire.Handle("DeleteResourcePolicy", s.DeleteResourcePolicy),
		wire.Handle("DeleteSecret", s.DeleteSecret),
		wire.Handle("DescribeSecret", s.DescribeSecret),
		wire.Handle("GetRandomPassword", s.GetRandomPassword),
		wire.Handle("GetResourcePolicy", s.GetResourcePolicy),
		wire.Handle("GetSecretValue", s.GetSecretValue),
		wire.Handle("ListSecretVersionIds", s.ListSecretVersionIds),
		wire.Handle("ListSecrets", s.ListSecrets),
		wire.Handle("PutResourcePolicy", s.PutResourcePolicy),
		wire.Handle("PutSecretValue", s.PutSecretValue),
		wire.Handle("RemoveRegionsFromReplication", s.RemoveRegionsFromReplication),
		wire.Handle("ReplicateSecretToRegions", s.ReplicateSecretToRegions),
		wire.Handle("RestoreSecret", s.RestoreSecret),
		wire.Handle("RotateSecret", s.RotateSecret),
		wire.Handle("StopReplicationToReplica", s.StopReplicationToReplica),
		wire.Handle("TagResource", s.TagResource),
		wire.Handle("UntagResource", s.UntagResource),
		wire.Handle("UpdateSecret", s.UpdateSecret),
		wire.Handle("UpdateSecretVersionStage", s.UpdateSecretVersionStage),
		wire.Handle("ValidateResourcePolicy", s.ValidateResourcePolicy),
	}
}

// codes are the service's error codes: all 400 but the fault of the server
// (AWS: recorded). ValidationException and AccessDeniedException are those of
// the protocol.
var codes = map[fault.Kind]wire.Code{
	fault.NotFound:     {Name: "ResourceNotFoundException", Status: 400},
	fault.Exists:       {Name: "ResourceExistsException", Status: 400},
	fault.Parameter:    {Name: "InvalidParameterException", Status: 400},
	fault.State:        {Name: "InvalidRequestException", Status: 400},
	fault.Conflict:     {Name: "InvalidRequestException", Status: 400},
	fault.Limit:        {Name: "LimitExceededException", Status: 400},
	fault.Precondition: {Name: "PreconditionNotMetException", Status: 400},
	fault.Policy:       {Name: "MalformedPolicyDocumentException", Status: 400},
	fault.PublicPolicy: {Name: "PublicPolicyException", Status: 400},
	fault.PageToken:    {Name: "InvalidNextTokenException", Status: 400},
	fault.Decryption:   {Name: "DecryptionFailure", Status: 400},
	fault.Encryption:   {Name: "EncryptionFailure", Status: 400},
	fault.Internal:     {Name: "InternalServiceError", Status: 500},
}

// codeOf returns the code by which a client knows the error, for the entries
// of BatchGetSecretValue. ok is false for faults of the server, which fail
// the whole call.
func codeOf(err error) (code string, ok bool) {
	switch kind := fault.KindOf(err); kind {
	case fault.Denied:
		return "AccessDeniedException", true
	case fault.Validation:
		return "ValidationException", true
	case fault.Internal, fault.Unavailable:
		return "", false
	default:
		c, ok := codes[kind]
		return c.Name, ok
	}
}

// target is the secret that a call is about, and what it wants of it.
type target struct {
	// id is the SecretId as given.
	id  string
	use secret.Use
	// version is a deprecated version to load beside the labelled ones, if
	// it exists; whole asks for all.
	version string
	whole   bool
}

// view resolves the secret, authorises the call on it, checks that its state
// admits the use, and calls fn, all in one snapshot.
func (s *Service) view(ctx context.Context, call *wire.Call, t target, fn func(*store.Tx, *secret.Secret) error) error {
	if err := secret.ValidateID(t.id); err != nil {
		return err
	}
	return s.Store.View(ctx, func(tx *store.Tx) error {
		sec, err := s.admitted(tx, call, t)
		if err != nil {
			return err
		}
		return fn(tx, sec)
	})
}

// admitted resolves the secret, authorises the call on it and checks that its
// state admits the use.
func (s *Service) admitted(tx *store.Tx, call *wire.Call, t target) (sec *secret.Secret, err error) {
	if t.whole {
		sec, err = s.Guard.Whole(tx, call, t.id)
	} else {
		sec, err = s.Guard.Secret(tx, call, t.id, t.version)
	}
	if err != nil {
		return nil, err
	}
	concern(call, sec)
	return sec, admit(call, sec, t.use)
}

// admit checks that the secret's state admits the use. What an AWS service
// owns only that service's own function writes.
func admit(call *wire.Call, sec *secret.Secret, use secret.Use) error {
	p := &call.Principal
	if use == secret.Write && sec.OwningService != "" && p.Given != nil && p.Given.SourceFunction != "" &&
		p.Given.SourceFunction == sec.Rotation.FunctionARN {
		own := *sec
		own.OwningService = ""
		sec = &own
	}
	return sec.Admit(use)
}

// concern names the secret in the call's event.
func concern(call *wire.Call, sec *secret.Secret) {
	call.Resources = []trail.Resource{resource(sec)}
}

// resource is the secret as events name it.
func resource(sec *secret.Secret) trail.Resource { return resourceOf(sec.ARN()) }

func resourceOf(secretARN string) trail.Resource {
	return trail.Resource{Type: "AWS::SecretsManager::Secret", Name: secretARN}
}

// output is a pointer to a response.
type output[Out any] interface {
	*Out
	wire.Output
}

// changing is one change of one secret inside its transaction.
type changing struct {
	tx     *store.Tx
	call   *wire.Call
	before *secret.Secret
	// after is what fn changes.
	after *secret.Secret
}

// change resolves the secret, authorises the call on it, checks that its
// state admits the use, lets fn change a copy, and stores the copy with the
// call's event. fn may run more than once. What fn left as it was is not
// stored, but the event is.
func change[Out any, P output[Out]](ctx context.Context, s *Service, call *wire.Call, t target,
	fn func(c changing) (*Out, error),
) (out *Out, err error) {
	if err := secret.ValidateID(t.id); err != nil {
		return nil, err
	}
	replicated := false
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		out = nil
		before, err := s.admitted(tx, call, t)
		if err != nil {
			return err
		}
		c := changing{tx, call, before, before.Clone()}
		if out, err = fn(c); err != nil {
			return err
		}
		replicated = len(c.after.Replicas) > 0
		if err := tx.SaveSecret(before, c.after); fault.Is(err, fault.Exists) {
			return errStale // a version that was not sought has the new one's ID
		} else if err != nil {
			return err
		}
		return tx.Record(call.Event(P(out)))
	})
	if err != nil {
		return nil, err
	}
	if replicated {
		s.replicator.Wake()
	}
	return out, nil
}

// errStale says that what was worked out before a transaction no longer fits
// the secret: the work is to be done again.
var errStale = errors.New("the secret changed while the call was prepared")

// attempts bounds how often a call is prepared again.
const attempts = 8

// retry runs fn, which counts its attempts from 0, until it returns anything
// but errStale.
func retry(ctx context.Context, fn func(attempt int) error) error {
	var err error
	for attempt := range attempts {
		if err = fn(attempt); !errors.Is(err, errStale) {
			return err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fault.New(fault.Unavailable, "").Because(err)
}
