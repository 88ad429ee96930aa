package store

import (
	"database/sql"
	"errors"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack/record"
)

// ErrOperationFenced, of kind Conflict, tells that the claim of a stack
// operation has passed to another engine, or that the operation is over.
var ErrOperationFenced = &fault.Error{Kind: fault.Conflict, Cause: errors.New("the stack operation is no longer claimed by this engine")}

// operationBody is what the column body of an operation holds.
type operationBody struct {
	Phase string
	Order record.Order
}

const operationColumns = `o.id, o.stack_id, o.kind, o.done, o.nested, o.started_at, o.token, o.owner, o.lease_until, o.fence, o.body, o.sealed`

func (tx *Tx) operations(query string, args ...any) ([]*record.Operation, error) {
	var list []*record.Operation
	err := tx.each(func(rows *sql.Rows) error {
		var o record.Operation
		var done, nested, started, lease int64
		var text string
		err := rows.Scan(&o.ID, &o.StackID, &o.Kind, &done, &nested, &started, &o.Token, &o.Owner, &lease, &o.Fence, &text, &o.Sealed)
		if err != nil {
			return err
		}
		var b operationBody
		if err := fromJSON(text, &b); err != nil {
			return err
		}
		o.Done, o.Nested, o.StartedAt, o.LeaseUntil = done != 0, nested != 0, fromMicros(started), fromMicros(lease)
		o.Phase, o.Order = record.Phase(b.Phase), b.Order
		list = append(list, &o)
		return nil
	}, query, args...)
	return list, err
}

// StackOperation returns an operation. The error is of kind NotFound, without
// message, when there is none.
func (tx *Tx) StackOperation(id string) (*record.Operation, error) {
	return only(tx.operations(`SELECT `+operationColumns+` FROM stack_operation o WHERE o.id = $1`, id))
}

// StackOperations returns the operations of a stack, the newest first.
func (tx *Tx) StackOperations(stackID string, limit int) ([]*record.Operation, error) {
	return tx.operations(`SELECT `+operationColumns+` FROM stack_operation o WHERE o.stack_id = $1
		ORDER BY o.started_at DESC, o.id DESC LIMIT $2`, stackID, limit)
}

// RunningOperation returns the operation that changes the stack now. The
// error is of kind NotFound, without message, when there is none.
func (tx *Tx) RunningOperation(stackID string) (*record.Operation, error) {
	return only(tx.operations(`SELECT `+operationColumns+` FROM stack_operation o
		WHERE o.stack_id = $1 AND o.done = 0 AND o.kind <> $2 ORDER BY o.started_at LIMIT 1`, stackID, string(record.MakeChangeSet)))
}

// OperationByToken returns the operation of a stack that was asked for with
// the ClientRequestToken. The error is of kind NotFound, without message,
// when there is none.
func (tx *Tx) OperationByToken(stackID, token string) (*record.Operation, error) {
	return only(tx.operations(`SELECT `+operationColumns+` FROM stack_operation o
		WHERE o.stack_id = $1 AND o.token = $2 ORDER BY o.started_at DESC LIMIT 1`, stackID, token))
}

// CreateOperation stores a new operation, claimed by nobody.
func (tx *Tx) CreateOperation(o *record.Operation) error {
	body, err := toJSON(operationBody{string(o.Phase), o.Order})
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO stack_operation (id, stack_id, kind, done, nested, started_at, token, owner, lease_until, fence, body, sealed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, '', 0, 0, $8, $9)`,
		o.ID, o.StackID, string(o.Kind), bit(o.Done), bit(o.Nested), micros(o.StartedAt), o.Token, body, nullable(o.Sealed))
	return err
}

// SaveOperation stores how far an operation has come and what it is ordered
// to do and as whom, claim aside. It does not look at the claim: see CheckFence.
func (tx *Tx) SaveOperation(o *record.Operation) error {
	body, err := toJSON(operationBody{string(o.Phase), o.Order})
	if err != nil {
		return err
	}
	return tx.change(`UPDATE stack_operation SET done = $2, body = $3, sealed = $4 WHERE id = $1`, o.ID, bit(o.Done), body, nullable(o.Sealed))
}

// CheckFence returns the operation as it is stored, or ErrOperationFenced
// unless it runs and the claim has the fence.
func (tx *Tx) CheckFence(id string, fence int64) (*record.Operation, error) {
	o, err := tx.StackOperation(id)
	if fault.Is(err, fault.NotFound) || err == nil && (o.Fence != fence || o.Done) {
		return nil, ErrOperationFenced
	}
	return o, err
}

// ClaimOperations gives up to limit operations to the engine named owner
// until leaseUntil, the oldest first: of those nested in others, or of the
// rest. It takes those that no other engine holds a lease on at now, by the
// store's clock (Store.Now); leases
// that end later than two from now count as ended, as with ClaimRuns.
func (tx *Tx) ClaimOperations(owner string, nested bool, now, leaseUntil time.Time, limit int) ([]*record.Operation, error) {
	list, err := tx.operations(`SELECT `+operationColumns+` FROM stack_operation o
		WHERE o.done = 0 AND o.nested = $1 AND (o.lease_until <= $2 OR o.lease_until > $3) ORDER BY o.started_at, o.id LIMIT $4`,
		bit(nested), micros(now), micros(leaseUntil.Add(leaseUntil.Sub(now))), limit)
	if err != nil {
		return nil, err
	}
	for _, o := range list {
		o.Owner, o.LeaseUntil, o.Fence = owner, fromMicros(micros(leaseUntil)), o.Fence+1
		if _, err := tx.exec(`UPDATE stack_operation SET owner = $2, lease_until = $3, fence = $4 WHERE id = $1`,
			o.ID, owner, micros(leaseUntil), o.Fence); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// RenewOperation makes a claim last until the given time; the zero time gives
// it back. It returns ErrOperationFenced when the claim is lost or the
// operation is over.
func (tx *Tx) RenewOperation(id, owner string, fence int64, until time.Time) error {
	n, err := tx.exec(`UPDATE stack_operation SET lease_until = $4 WHERE id = $1 AND owner = $2 AND fence = $3 AND done = 0`,
		id, owner, fence, micros(until))
	if err == nil && n == 0 {
		return ErrOperationFenced
	}
	return err
}

// ReleaseOperations gives back every claim of the engine named owner, which
// must not be running.
func (tx *Tx) ReleaseOperations(owner string) error {
	_, err := tx.exec(`UPDATE stack_operation SET owner = '', lease_until = 0, fence = fence + 1 WHERE done = 0 AND owner = $1`, owner)
	return err
}

// DropOperations removes operations of a stack that are over, but for the
// latest ones.
func (tx *Tx) DropOperations(stackID string, keep int) error {
	_, err := tx.exec(`DELETE FROM stack_operation WHERE done = 1 AND stack_id = $1 AND id NOT IN (
		SELECT id FROM stack_operation WHERE stack_id = $1 ORDER BY started_at DESC, id DESC LIMIT $2)`, stackID, keep)
	return err
}

func (tx *Tx) exports(query string, args ...any) ([]*record.Export, error) {
	var list []*record.Export
	err := tx.each(func(rows *sql.Rows) error {
		var x record.Export
		err := rows.Scan(&x.Account, &x.Region, &x.Name, &x.StackID, &x.Sealed)
		list = append(list, &x)
		return err
	}, query, args...)
	return list, err
}

const exportColumns = `x.account, x.region, x.name, x.stack_id, x.sealed`

// Export returns an export by its name. The error is of kind NotFound,
// without message, when there is none.
func (tx *Tx) Export(account, region, name string) (*record.Export, error) {
	return only(tx.exports(`SELECT `+exportColumns+` FROM stack_export x WHERE x.account = $1 AND x.region = $2 AND x.name = $3`, account, region, name))
}

// Exports returns up to limit exports by name, beginning behind the name
// after.
func (tx *Tx) Exports(account, region, after string, limit int) ([]*record.Export, error) {
	return tx.exports(`SELECT `+exportColumns+` FROM stack_export x WHERE x.account = $1 AND x.region = $2 AND x.name > $3 ORDER BY x.name LIMIT $4`,
		account, region, after, limit)
}

// ExportsOf returns the exports of a stack by name.
func (tx *Tx) ExportsOf(stackID string) ([]*record.Export, error) {
	return tx.exports(`SELECT `+exportColumns+` FROM stack_export x WHERE x.stack_id = $1 ORDER BY x.name`, stackID)
}

// SaveExport stores an export of a stack, new or not. The error is of kind
// Exists, without message, when another stack exports the name.
func (tx *Tx) SaveExport(x *record.Export) error {
	n, err := tx.exec(`INSERT INTO stack_export (account, region, name, stack_id, sealed) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (account, region, name) DO UPDATE SET sealed = excluded.sealed WHERE stack_export.stack_id = excluded.stack_id`,
		x.Account, x.Region, x.Name, x.StackID, nullable(x.Sealed))
	if err == nil && n == 0 {
		return fault.New(fault.Exists, "")
	}
	return err
}

// DropExport removes an export of a stack.
func (tx *Tx) DropExport(x *record.Export) error {
	_, err := tx.exec(`DELETE FROM stack_export WHERE account = $1 AND region = $2 AND name = $3 AND stack_id = $4`,
		x.Account, x.Region, x.Name, x.StackID)
	return err
}

// Importers returns up to limit ARNs of the stacks that import a name,
// beginning behind the ARN after.
func (tx *Tx) Importers(account, region, name, after string, limit int) ([]string, error) {
	var list []string
	err := tx.each(func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		list = append(list, id)
		return err
	}, `SELECT stack_id FROM stack_import WHERE account = $1 AND region = $2 AND name = $3 AND stack_id > $4 ORDER BY stack_id LIMIT $5`,
		account, region, name, after, limit)
	return list, err
}

// AddImport stores that a stack uses an export.
func (tx *Tx) AddImport(account, region, name, stackID string) error {
	_, err := tx.exec(`INSERT INTO stack_import (account, region, name, stack_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		account, region, name, stackID)
	return err
}

// SetImports makes the names those of all exports that a stack uses.
func (tx *Tx) SetImports(account, region, stackID string, names []string) error {
	if _, err := tx.exec(`DELETE FROM stack_import WHERE stack_id = $1`, stackID); err != nil {
		return err
	}
	for _, name := range names {
		if err := tx.AddImport(account, region, name, stackID); err != nil {
			return err
		}
	}
	return nil
}

// OperationsWait reports whether there is an operation that ClaimOperations
// would give away.
func (tx *Tx) OperationsWait(now time.Time, lease time.Duration) (bool, error) {
	var n int
	err := tx.one([]any{&n}, `SELECT 1 FROM stack_operation WHERE done = 0 AND nested >= 0 AND (lease_until <= $1 OR lease_until > $2) LIMIT 1`,
		micros(now), micros(now.Add(2*lease)))
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}
