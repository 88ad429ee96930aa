package lambda

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Statuses by which Invoke tells its three kinds of answer apart (AWS docs).
const (
	statusOK        = 200
	statusAccepted  = 202
	statusNoContent = 204
)

// maxClientContext is the longest client context, in bytes of base64 (AWS
// docs).
const maxClientContext = 3583

// Invoke runs a function and answers with its result, or accepts an event for
// later, or only checks. A function that failed is a success of this call.
// What a client that went away asked for is done all the same.
func (s *Service) Invoke(ctx context.Context, call *wire.Call, in *api.InvocationRequest) (*api.InvocationResponse, error) {
	ctx = context.WithoutCancel(ctx)
	ref, err := s.ref(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	request := invocation.Request{
		Function: ref.FunctionARN(), Qualifier: ref.Qualifier, Account: ref.Account, Region: ref.Region, RequestID: call.RequestID,
		// The buffer of the request is used again once it is answered; the
		// function may run longer.
		Payload: slices.Clone(in.Payload),
	}
	switch value(in.InvocationType) {
	case api.InvocationTypeDryRun:
		return &api.InvocationResponse{StatusCode: new(int64(statusNoContent))}, s.cfg.Invoker.Check(ctx, request)
	case api.InvocationTypeEvent:
		out := &api.InvocationResponse{StatusCode: new(int64(statusAccepted))}
		return out, s.cfg.Invoker.Enqueue(ctx, request, func(tx *store.Tx) error { return tx.Record(call.Event(nil)) })
	}
	if request.ClientContext, err = clientContext(in.ClientContext); err != nil {
		return nil, err
	}
	result, err := s.cfg.Invoker.Invoke(ctx, request)
	if err != nil {
		return nil, err
	}
	out := &api.InvocationResponse{
		StatusCode: new(int64(statusOK)), FunctionError: present(result.FunctionError),
		ExecutedVersion: &result.ExecutedVersion, Payload: result.Payload,
	}
	if value(in.LogType) == api.LogTypeTail {
		out.LogResult = new(base64.StdEncoding.EncodeToString(result.LogTail))
	}
	return out, nil
}

// clientContext decodes the client context of a call.
func clientContext(given *string) (string, error) {
	if value(given) == "" {
		return "", nil
	}
	b, err := base64.StdEncoding.DecodeString(*given)
	if err != nil || !json.Valid(b) {
		return "", fault.New(function.InvalidPayload, "Client context must be a valid Base64-encoded JSON object.").Because(err)
	}
	if len(*given) > maxClientContext {
		return "", fault.New(function.InvalidPayload, "Client context must be at most %d bytes.", maxClientContext)
	}
	return string(b), nil
}
