package store

import (
	"database/sql"

	"github.com/keyturn/keyturn/internal/stack/record"
)

// changeSetBody is what the column body of a change set holds.
type changeSetBody struct {
	Status, StatusReason, Execution string
	Description, Token, Kind        string
	IncludeNested, ImportExisting   bool
	OnFailure                       string
	Triggers                        []record.Trigger
	MonitoringMinutes               *int64
}

const changeSetColumns = `c.id, c.stack_id, c.name, c.created_at, c.body, c.sealed`

func (tx *Tx) changeSets(query string, args ...any) ([]*record.ChangeSet, error) {
	var list []*record.ChangeSet
	err := tx.each(func(rows *sql.Rows) error {
		var c record.ChangeSet
		var created int64
		var text string
		if err := rows.Scan(&c.ID, &c.StackID, &c.Name, &created, &text, &c.Sealed); err != nil {
			return err
		}
		var b changeSetBody
		if err := fromJSON(text, &b); err != nil {
			return err
		}
		c.CreatedAt = fromMicros(created)
		c.Status, c.StatusReason, c.Execution = record.ChangeSetStatus(b.Status), b.StatusReason, record.Execution(b.Execution)
		c.Description, c.Token, c.Kind, c.OnFailure = b.Description, b.Token, b.Kind, b.OnFailure
		c.IncludeNested, c.ImportExisting = b.IncludeNested, b.ImportExisting
		c.Triggers, c.MonitoringMinutes = b.Triggers, b.MonitoringMinutes
		list = append(list, &c)
		return nil
	}, query, args...)
	return list, err
}

// ChangeSet returns a change set by its ARN. The error is of kind NotFound,
// without message, when there is none.
func (tx *Tx) ChangeSet(id string) (*record.ChangeSet, error) {
	return only(tx.changeSets(`SELECT `+changeSetColumns+` FROM stack_change_set c WHERE c.id = $1`, id))
}

// ChangeSetOf returns a change set of a stack by its name. The error is of
// kind NotFound, without message, when there is none.
func (tx *Tx) ChangeSetOf(stackID, name string) (*record.ChangeSet, error) {
	return only(tx.changeSets(`SELECT `+changeSetColumns+` FROM stack_change_set c WHERE c.stack_id = $1 AND c.name = $2`, stackID, name))
}

// ChangeSets returns up to limit change sets of a stack, by name and
// beginning behind the name after.
func (tx *Tx) ChangeSets(stackID, after string, limit int) ([]*record.ChangeSet, error) {
	return tx.changeSets(`SELECT `+changeSetColumns+` FROM stack_change_set c WHERE c.stack_id = $1 AND c.name > $2 ORDER BY c.name LIMIT $3`,
		stackID, after, limit)
}

func encodeChangeSet(c *record.ChangeSet) (string, error) {
	return toJSON(changeSetBody{
		string(c.Status), c.StatusReason, string(c.Execution), c.Description, c.Token, c.Kind, c.IncludeNested, c.ImportExisting,
		c.OnFailure, c.Triggers, c.MonitoringMinutes,
	})
}

// CreateChangeSet stores a new change set. The error is of kind Exists,
// without message, when the stack has one of the name.
func (tx *Tx) CreateChangeSet(c *record.ChangeSet) error {
	body, err := encodeChangeSet(c)
	if err != nil {
		return err
	}
	return tx.insert(`INSERT INTO stack_change_set (id, stack_id, name, created_at, body, sealed) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT DO NOTHING`, c.ID, c.StackID, c.Name, micros(c.CreatedAt), body, nullable(c.Sealed))
}

// SaveChangeSet stores a change set as it stands in c. The error is of kind
// NotFound, without message, when it is gone.
func (tx *Tx) SaveChangeSet(c *record.ChangeSet) error {
	body, err := encodeChangeSet(c)
	if err != nil {
		return err
	}
	return tx.change(`UPDATE stack_change_set SET body = $2, sealed = $3 WHERE id = $1`, c.ID, body, nullable(c.Sealed))
}

// DropChangeSet removes a change set.
func (tx *Tx) DropChangeSet(id string) error {
	_, err := tx.exec(`DELETE FROM stack_change_set WHERE id = $1`, id)
	return err
}

// KeepChangeSet removes every change set of a stack but the one with the ARN.
func (tx *Tx) KeepChangeSet(stackID, id string) error {
	_, err := tx.exec(`DELETE FROM stack_change_set WHERE stack_id = $1 AND id <> $2`, stackID, id)
	return err
}
