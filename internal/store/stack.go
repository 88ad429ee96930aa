package store

import (
	"database/sql"
	"time"

	"github.com/keyturn/keyturn/internal/stack/record"
)

// stackBody is what the column body of a stack holds.
type stackBody struct {
	StatusReason, Description string
	UpdatedAt                 int64
	RootID, ChangeSetID       string
	Settings                  record.Settings
}

const stackColumns = `s.id, s.account, s.region, s.name, s.status, s.created_at, s.deleted_at, s.parent_id, s.body, s.sealed`

func (tx *Tx) stacks(query string, args ...any) ([]*record.Stack, error) {
	var list []*record.Stack
	err := tx.each(func(rows *sql.Rows) error {
		var s record.Stack
		var created, deleted int64
		var text string
		if err := rows.Scan(&s.ID, &s.Account, &s.Region, &s.Name, &s.Status, &created, &deleted, &s.ParentID, &text, &s.Sealed); err != nil {
			return err
		}
		var b stackBody
		if err := fromJSON(text, &b); err != nil {
			return err
		}
		s.CreatedAt, s.DeletedAt, s.UpdatedAt = fromMicros(created), fromMicros(deleted), fromMicros(b.UpdatedAt)
		s.StatusReason, s.Description, s.RootID, s.ChangeSetID, s.Settings = b.StatusReason, b.Description, b.RootID, b.ChangeSetID, b.Settings
		list = append(list, &s)
		return nil
	}, query, args...)
	return list, err
}

// Stack returns a stack, deleted or not, by its ARN. The error is of kind
// NotFound, without message, when there is none.
func (tx *Tx) Stack(id string) (*record.Stack, error) {
	return only(tx.stacks(`SELECT `+stackColumns+` FROM stack s WHERE s.id = $1`, id))
}

// LiveStack returns the stack that has the name now. The error is of kind
// NotFound, without message, when there is none.
func (tx *Tx) LiveStack(account, region, name string) (*record.Stack, error) {
	return only(tx.stacks(`SELECT `+stackColumns+` FROM stack s
		WHERE s.account = $1 AND s.region = $2 AND s.name = $3 AND s.deleted_at = 0`, account, region, name))
}

// StackQuery selects stacks of one account and region, newest first.
type StackQuery struct {
	Account, Region string
	// Live leaves deleted stacks out.
	Live bool
	// AfterTime and AfterID are of the last stack of the page before; zero for
	// the first page.
	AfterTime time.Time
	AfterID   string
	Limit     int
}

// Stacks returns stacks in the order of their creation, the newest first.
func (tx *Tx) Stacks(q StackQuery) ([]*record.Stack, error) {
	at := int64(1<<63 - 1)
	if !q.AfterTime.IsZero() {
		at = micros(q.AfterTime)
	}
	return tx.stacks(`SELECT `+stackColumns+` FROM stack s
		WHERE s.account = $1 AND s.region = $2 AND (s.created_at, s.id) < ($3, $4) AND ($5 = 0 OR s.deleted_at = 0)
		ORDER BY s.created_at DESC, s.id DESC LIMIT $6`, q.Account, q.Region, at, q.AfterID, bit(q.Live), q.Limit)
}

// NestedStacks returns the stacks, not deleted, whose parent has the ARN.
func (tx *Tx) NestedStacks(parentID string) ([]*record.Stack, error) {
	return tx.stacks(`SELECT `+stackColumns+` FROM stack s WHERE s.parent_id = $1 AND s.parent_id <> '' AND s.deleted_at = 0 ORDER BY s.id`, parentID)
}

func encodeStack(s *record.Stack) (string, error) {
	return toJSON(stackBody{s.StatusReason, s.Description, micros(s.UpdatedAt), s.RootID, s.ChangeSetID, s.Settings})
}

// CreateStack stores a new stack. The error is of kind Exists, without
// message, when a stack that is not deleted has the name.
func (tx *Tx) CreateStack(s *record.Stack) error {
	body, err := encodeStack(s)
	if err != nil {
		return err
	}
	return tx.insert(`INSERT INTO stack (id, account, region, name, status, created_at, deleted_at, parent_id, body, sealed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
		s.ID, s.Account, s.Region, s.Name, string(s.Status), micros(s.CreatedAt), micros(s.DeletedAt), s.ParentID, body, nullable(s.Sealed))
}

// SaveStack stores a stack as it stands in s. The error is of kind NotFound,
// without message, when it is gone.
func (tx *Tx) SaveStack(s *record.Stack) error {
	body, err := encodeStack(s)
	if err != nil {
		return err
	}
	return tx.change(`UPDATE stack SET status = $2, deleted_at = $3, body = $4, sealed = $5, created_at = $6 WHERE id = $1`,
		s.ID, string(s.Status), micros(s.DeletedAt), body, nullable(s.Sealed), micros(s.CreatedAt))
}

// DropStack removes a stack and everything of it, events too.
func (tx *Tx) DropStack(id string) error {
	return tx.change(`DELETE FROM stack WHERE id = $1`, id)
}

// PurgeStacks removes up to limit stacks that were deleted before a time, and
// returns how many it removed.
func (tx *Tx) PurgeStacks(before time.Time, limit int) (int64, error) {
	return tx.exec(`DELETE FROM stack WHERE id IN (
		SELECT id FROM stack WHERE deleted_at > 0 AND deleted_at < $1 ORDER BY deleted_at LIMIT $2)`, micros(before), limit)
}

// resourceBody is what the column body of a resource holds.
type resourceBody struct {
	Type, Status, StatusReason string
	ChangedAt                  int64
	Place, Leaving             string
	Operation, Token           string
}

const stackResourceColumns = `r.id, r.stack_id, r.logical_id, r.physical_id, r.body, r.sealed`

func (tx *Tx) stackResources(query string, args ...any) ([]*record.Resource, error) {
	var list []*record.Resource
	err := tx.each(func(rows *sql.Rows) error {
		var r record.Resource
		var text string
		if err := rows.Scan(&r.ID, &r.StackID, &r.LogicalID, &r.PhysicalID, &text, &r.Sealed); err != nil {
			return err
		}
		var b resourceBody
		if err := fromJSON(text, &b); err != nil {
			return err
		}
		r.Type, r.Status, r.StatusReason, r.ChangedAt = b.Type, record.Status(b.Status), b.StatusReason, fromMicros(b.ChangedAt)
		r.Place, r.Leaving, r.Operation, r.Token = record.Place(b.Place), record.Leaving(b.Leaving), b.Operation, b.Token
		list = append(list, &r)
		return nil
	}, query, args...)
	return list, err
}

// StackResources returns the resources of a stack by logical ID, those of the
// same in the order of their creation.
func (tx *Tx) StackResources(stackID string) ([]*record.Resource, error) {
	return tx.stackResources(`SELECT `+stackResourceColumns+` FROM stack_resource r WHERE r.stack_id = $1 ORDER BY r.logical_id, r.seq`, stackID)
}

// StackOfResource returns the ARN of the stack, not deleted, of the account
// and region that has the physical resource. The error is of kind NotFound,
// without message, when none has.
func (tx *Tx) StackOfResource(account, region, physicalID string) (id string, err error) {
	err = tx.one([]any{&id}, `SELECT s.id FROM stack_resource r JOIN stack s ON s.id = r.stack_id
		WHERE r.physical_id = $1 AND r.physical_id <> '' AND s.account = $2 AND s.region = $3 AND s.deleted_at = 0
		ORDER BY r.stack_id LIMIT 1`, physicalID, account, region)
	return id, err
}

// SaveStackResource stores a resource as it stands in r, new or not.
func (tx *Tx) SaveStackResource(r *record.Resource) error {
	body, err := toJSON(resourceBody{r.Type, string(r.Status), r.StatusReason, micros(r.ChangedAt), string(r.Place), string(r.Leaving), r.Operation, r.Token})
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO stack_resource (id, stack_id, logical_id, physical_id, body, sealed) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE SET physical_id = excluded.physical_id, body = excluded.body, sealed = excluded.sealed`,
		r.ID, r.StackID, r.LogicalID, r.PhysicalID, body, nullable(r.Sealed))
	return err
}

// DropStackResource removes the record of a resource.
func (tx *Tx) DropStackResource(id string) error {
	_, err := tx.exec(`DELETE FROM stack_resource WHERE id = $1`, id)
	return err
}

// eventBody is what the column body of an event holds.
type eventBody struct {
	ID                               string
	At                               int64
	LogicalID, PhysicalID, Type      string
	Status, Reason, Token, Operation string
}

// AddStackEvent stores an event behind those that the stack has.
func (tx *Tx) AddStackEvent(e *record.Event) error {
	body, err := toJSON(eventBody{
		e.ID, micros(e.At), e.LogicalID, e.PhysicalID, e.Type, string(e.Status), e.Reason, e.ClientRequestToken, e.OperationID,
	})
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO stack_event (stack_id, body, sealed) VALUES ($1, $2, $3)`, e.StackID, body, nullable(e.Sealed))
	return err
}

// StackEvents returns up to limit events of a stack, the newest first, that
// are older than the one with the number before; 0 stands for the first page.
func (tx *Tx) StackEvents(stackID string, before int64, limit int) ([]*record.Event, error) {
	if before == 0 {
		before = 1<<63 - 1
	}
	var list []*record.Event
	err := tx.each(func(rows *sql.Rows) error {
		e := record.Event{StackID: stackID}
		var text string
		if err := rows.Scan(&e.Seq, &text, &e.Sealed); err != nil {
			return err
		}
		var b eventBody
		if err := fromJSON(text, &b); err != nil {
			return err
		}
		e.ID, e.At, e.LogicalID, e.PhysicalID, e.Type = b.ID, fromMicros(b.At), b.LogicalID, b.PhysicalID, b.Type
		e.Status, e.Reason, e.ClientRequestToken, e.OperationID = record.Status(b.Status), b.Reason, b.Token, b.Operation
		list = append(list, &e)
		return nil
	}, `SELECT seq, body, sealed FROM stack_event WHERE stack_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3`, stackID, before, limit)
	return list, err
}
