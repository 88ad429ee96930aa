package cloudformation

import (
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// operation makes an operation that the call asks for. An operation on a
// nested stack that its parent began works as the parent's does.
func (s *Service) operation(tx *store.Tx, call *wire.Call, st *record.Stack, kind record.Kind, phase record.Phase, token *string) (*record.Operation, error) {
	by, session, err := s.asker(tx, call, st)
	if err != nil {
		return nil, err
	}
	op := &record.Operation{
		ID: uuid.NewString(), StackID: st.ID, Kind: kind, Phase: phase, StartedAt: by.At, Token: deref(token), Nested: inner(call, st),
		Order: record.Order{AccessKeyID: by.AccessKeyID, Account: by.Account, RoleARN: by.RoleARN, Began: st.Status},
	}
	return op, op.SealToken(s.Sealer, session)
}

// inner reports whether the operation of an outer stack makes the call.
func inner(call *wire.Call, st *record.Stack) bool {
	return st.ParentID != "" && call.By == record.Service
}

// asker returns as whom the work that the call asks for is done, and the
// session token of that caller.
func (s *Service) asker(tx *store.Tx, call *wire.Call, st *record.Stack) (by record.Asker, session string, err error) {
	by = record.Asker{AccessKeyID: call.Principal.AccessKeyID, Account: call.Principal.Account, RoleARN: st.Settings.RoleARN, At: time.Now()}
	if !inner(call, st) {
		return by, call.Token, nil
	}
	parent, err := tx.RunningOperation(st.ParentID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return by, "", err
	}
	if err != nil || !worksFor(call, parent) {
		return by, "", fault.New(fault.Denied, "The stack %s has no operation that concerns this one.", st.ParentID)
	}
	by.AccessKeyID, by.Account, by.RoleARN = parent.Order.AccessKeyID, parent.Order.Account, parent.Order.RoleARN
	session, err = parent.SessionToken(s.Sealer)
	return by, session, err
}

// worksFor reports whether the call is made by an operation's role or caller,
// whose power the operation on the inner stack will have.
func worksFor(call *wire.Call, parent *record.Operation) bool {
	if role := parent.Order.RoleARN; role != "" {
		return call.Principal.RoleARN == role
	}
	return call.Principal.AccessKeyID == parent.Order.AccessKeyID
}

// begin stores an operation, with what it makes of the stack at once, and an
// event of that.
func (s *Service) begin(tx *store.Tx, st *record.Stack, op *record.Operation, status record.Status) error {
	st.Status, st.StatusReason = status, userInitiated
	st.Ran(string(op.Kind), op.ID)
	if err := tx.SaveStack(st); err != nil {
		return err
	}
	if err := tx.AddStackEvent(record.NewStackEvent(st, op, time.Now())); err != nil {
		return err
	}
	const keep = 20
	if err := tx.DropOperations(st.ID, keep); err != nil {
		return err
	}
	return tx.CreateOperation(op)
}

// repeated reports whether a request is one that was made before, by its
// token. A token of another operation is refused.
func repeated(tx *store.Tx, st *record.Stack, kind record.Kind, token *string) (bool, error) {
	if token == nil {
		return false, nil
	}
	op, err := tx.OperationByToken(st.ID, *token)
	switch {
	case fault.Is(err, fault.NotFound):
		return false, nil
	case err != nil:
		return false, err
	case op.Kind != kind:
		return false, fault.New(tokenUsed, "A client request token already exists: %s", *token)
	}
	return true, nil
}
