package resource

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/wire"
)

// By is the service principal that calls for stacks.
const By = "cloudformation.amazonaws.com"

// Client calls operations in process as the stack's caller or role. It is
// safe for concurrent use.
type Client struct {
	// Handler has the operations of all services.
	Handler *wire.Handler
	// Principal calls.
	Principal iam.Principal
	// Region is the stack's.
	Region string
}

// Call performs an operation; service is the signing name. Its error is a
// *Failure.
func (c *Client) Call(ctx context.Context, service, operation string, in wire.Input) (wire.Output, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	call := &wire.Call{
		RequestID: uuid.NewString(), Service: service, Operation: operation, Region: c.Region,
		Account: c.Principal.Account, Principal: c.Principal, By: By, Secure: true,
	}
	out, err := c.Handler.Call(ctx, call, in)
	if err == nil {
		return out, nil
	}
	f := &Failure{Service: service, RequestID: call.RequestID, err: err}
	f.Code, f.Status, f.Message = c.Handler.Publish(service, operation, err)
	return nil, f
}

// call is Call with the type of the answer.
func call[Out any](ctx context.Context, c *Client, service, operation string, in wire.Input) (*Out, error) {
	out, err := c.Call(ctx, service, operation, in)
	if err != nil {
		return nil, err
	}
	typed, ok := out.(any).(*Out)
	if !ok {
		return nil, fault.New(fault.Internal, "").Because(fmt.Errorf("%s of %s answers %T", operation, service, out))
	}
	return typed, nil
}

// do is Call for operations whose answer does not matter.
func (c *Client) do(ctx context.Context, service, operation string, in wire.Input) error {
	_, err := c.Call(ctx, service, operation, in)
	return err
}

// step is a call that a handler makes one after another.
type step struct {
	service, operation string
	in                 wire.Input
}

// each performs the steps in order, up to the first error.
func (c *Client) each(ctx context.Context, steps ...step) error {
	for _, s := range steps {
		if err := c.do(ctx, s.service, s.operation, s.in); err != nil {
			return err
		}
	}
	return nil
}

// Times between two looks at something that takes time: the first and the
// longest.
const (
	firstPause = 20 * time.Millisecond
	longPause  = time.Second
)

// until calls ready again and again until it says true or fails.
func until(ctx context.Context, ready func() (bool, error)) error {
	for pause := firstPause; ; pause = min(pause*3/2, longPause) {
		done, err := ready()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// cleanupTime bounds how long what a failed Create made is taken away.
const cleanupTime = time.Minute

// undo takes away what a failed Create made and returns why it failed. A
// Create whose context has ended has not failed: it is called again, perhaps
// by another node that is at work already, so what it made stays.
func undo(ctx context.Context, cause error, remove func(context.Context) error) error {
	if ctx.Err() != nil {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	if err := remove(ctx); err != nil {
		if e, ok := errors.AsType[*fault.Error](cause); ok {
			return &Failure{err: e.Because(fmt.Errorf("undoing a failed creation: %w", err)), Message: e.Message, Code: codeOf(cause)}
		}
	}
	return cause
}
