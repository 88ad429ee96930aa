package secretsmanager

import (
	"context"
	"errors"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxBatch is the most secrets that one BatchGetSecretValue returns (AWS
// service model).
const maxBatch = 20

// BatchGetSecretValue opens the current versions of up to 20 secrets, named
// one by one or by filters. What fails for one secret is told in Errors; only
// faults of the server fail the call. Beside its own event there is one of
// GetSecretValue for every value (AWS docs).
func (s *Service) BatchGetSecretValue(ctx context.Context, call *wire.Call, in *api.BatchGetSecretValueRequest) (*api.BatchGetSecretValueResponse, error) {
	if err := s.Guard.Action(call, ""); err != nil {
		return nil, err
	}
	switch {
	case (in.SecretIdList == nil) == (in.Filters == nil):
		return nil, fault.New(fault.Parameter, "Either 'SecretIdList' or 'Filters' must be provided, but not both.")
	case in.Filters == nil && in.MaxResults != nil:
		return nil, fault.New(fault.Parameter, "'Filters' not specified. 'Filters' must also be specified when 'MaxResults' is provided.")
	case in.Filters == nil && in.NextToken != nil:
		return nil, errPageToken()
	}
	b := batch{service: s, call: call.As("secretsmanager:GetSecretValue"), ids: in.SecretIdList}
	var next *string
	err := s.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if in.Filters != nil {
			if b.ids, next, err = s.batchIDs(tx, call, in); err != nil {
				return err
			}
		}
		return b.read(tx)
	})
	if err != nil {
		return nil, err
	}
	out, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	for i := range b.opened {
		r := &b.opened[i]
		about := resourceOf(r.sealed.arn)
		call.Also("GetSecretValue", &api.GetSecretValueRequest{SecretId: &r.id}, r.told(), about)
		if r.secret.Account == call.Principal.Account { // other owners are told of their own secrets only, above
			call.Resources = append(call.Resources, about)
		}
	}
	s.noteAccess(ctx, call, b.readings()...)
	out.NextToken = next
	return out, nil
}

// batchIDs lists the secrets that match the filters, as ListSecrets does.
func (s *Service) batchIDs(tx *store.Tx, call *wire.Call, in *api.BatchGetSecretValueRequest) (ids []string, next *string, err error) {
	l, err := s.newListing(call, "BatchGetSecretValue", listParameters{filters: in.Filters}, in.NextToken)
	if err != nil {
		return nil, nil, err
	}
	if err := s.Guard.Action(call.As("secretsmanager:ListSecrets"), ""); err != nil {
		return nil, nil, err
	}
	found, next, err := l.page(tx, pageSize(in.MaxResults, maxBatch))
	for _, sec := range found {
		ids = append(ids, sec.ARN())
	}
	return ids, next, err
}

// batch is the work of one BatchGetSecretValue.
type batch struct {
	service *Service
	call    *wire.Call
	ids     []string
	// outcomes has one element for each ID.
	outcomes []outcome
	opened   []batchReading
}

// outcome is a reading or why there is none.
type outcome struct {
	reading reading
	err     error
}

type batchReading struct {
	reading
	id string
}

// read finds the current version of each secret. Its error is a fault of the
// server.
func (b *batch) read(tx *store.Tx) error {
	b.outcomes = make([]outcome, len(b.ids))
	known := knownKeys{}
	for i, id := range b.ids {
		o := &b.outcomes[i]
		if o.err = secret.ValidateID(id); o.err == nil {
			o.reading, o.err = b.service.read(tx, b.call, id, "", "", known)
		}
		if _, ok := codeOf(o.err); o.err != nil && !ok {
			return o.err
		}
	}
	return nil
}

// open opens what was read and makes the answer. Its error is a fault of the
// server.
func (b *batch) open(ctx context.Context) (*api.BatchGetSecretValueResponse, error) {
	out := &api.BatchGetSecretValueResponse{
		SecretValues: make([]api.SecretValueEntry, 0, len(b.ids)), Errors: []api.APIErrorType{},
	}
	for i := range b.outcomes {
		o := &b.outcomes[i]
		var plain plaintext.Value
		if o.err == nil {
			plain, o.err = b.service.open(ctx, &o.reading.sealed)
		}
		if o.err != nil {
			code, ok := codeOf(o.err)
			if !ok {
				return nil, o.err
			}
			out.Errors = append(out.Errors, api.APIErrorType{SecretId: &b.ids[i], ErrorCode: &code, Message: new(messageOf(o.err))})
			continue
		}
		r := &o.reading
		entry := api.SecretValueEntry{
			ARN: &r.sealed.arn, Name: &r.secret.Name, VersionId: &r.version.ID,
			VersionStages: r.version.Labels, CreatedDate: &r.version.CreatedAt,
		}
		entry.SecretString, entry.SecretBinary = reveal(r.version, plain)
		out.SecretValues = append(out.SecretValues, entry)
		b.opened = append(b.opened, batchReading{*r, b.ids[i]})
	}
	return out, nil
}

func (b *batch) readings() []reading {
	list := make([]reading, len(b.opened))
	for i := range b.opened {
		list[i] = b.opened[i].reading
	}
	return list
}

// messageOf is the public text of an error.
func messageOf(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Message
	}
	return ""
}
