package store

import (
	"database/sql"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/loggroup"
)

const logGroupColumns = `g.id, g.account, g.region, g.name, g.created_at, g.retention_days, g.kms_key_id, g.class, g.tags`

func (tx *Tx) logGroups(query string, args ...any) ([]*loggroup.Group, error) {
	var list []*loggroup.Group
	err := tx.each(func(rows *sql.Rows) error {
		var g loggroup.Group
		var created int64
		var tags string
		err := rows.Scan(&g.ID, &g.Account, &g.Region, &g.Name, &created, &g.RetentionDays, &g.KMSKeyID, &g.Class, &tags, &g.StoredBytes)
		if err != nil {
			return err
		}
		g.CreatedAt = fromMicros(created)
		list = append(list, &g)
		return fromJSON(tags, &g.Tags)
	}, query, args...)
	return list, err
}

// LogGroup returns a log group, without its StoredBytes. The error is of
// kind NotFound when there is none.
func (tx *Tx) LogGroup(account, region, name string) (*loggroup.Group, error) {
	list, err := tx.logGroups(`SELECT `+logGroupColumns+`, 0 FROM log_group g
		WHERE g.account = $1 AND g.region = $2 AND g.name = $3 AND g.deleted = 0`, account, region, name)
	if err == nil && len(list) == 0 {
		return nil, fault.New(fault.NotFound, "")
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// LogGroupQuery selects log groups of one account and region.
type LogGroupQuery struct {
	// Prefix starts their names; Contains is somewhere in their names,
	// without regard to case. Class is their class. All may be "".
	Prefix, Contains, Class string
	// After is a name; groups up to it are left out.
	After string
	Limit int
}

// LogGroups returns log groups in order of their names, with StoredBytes.
func (tx *Tx) LogGroups(account, region string, q LogGroupQuery) ([]*loggroup.Group, error) {
	return tx.logGroups(`SELECT `+logGroupColumns+`,
			CAST(coalesce((SELECT sum(s.bytes) FROM log_stream s WHERE s.group_id = g.id AND s.deleted = 0), 0) AS bigint)
		FROM log_group g
		WHERE g.account = $1 AND g.region = $2 AND g.deleted = 0 AND g.name > $3 AND g.name >= $4 AND g.name < $5
			AND lower(g.name) LIKE $6 ESCAPE '\' AND ($7 = '' OR g.class = $7)
		ORDER BY g.name LIMIT $8`,
		account, region, q.After, q.Prefix, prefixEnd(q.Prefix), "%"+escapeLike(strings.ToLower(q.Contains))+"%", q.Class, q.Limit)
}

// prefixEnd returns a text above every ASCII text that has the prefix.
func prefixEnd(prefix string) string { return prefix + "\U0010FFFF" }

var likeEscapes = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func escapeLike(s string) string { return likeEscapes.Replace(s) }

// CreateLogGroup stores a new log group and sets its ID. The error is of
// kind Exists when the name is taken.
func (tx *Tx) CreateLogGroup(g *loggroup.Group) error {
	tags, err := toJSON(g.Tags)
	if err != nil {
		return err
	}
	err = tx.insert(`INSERT INTO log_group (account, region, name, created_at, retention_days, kms_key_id, class, tags, deleted)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0) ON CONFLICT DO NOTHING`,
		g.Account, g.Region, g.Name, micros(g.CreatedAt), g.RetentionDays, g.KMSKeyID, g.Class, tags)
	if err != nil {
		return err
	}
	return tx.one([]any{&g.ID}, `SELECT id FROM log_group WHERE account = $1 AND region = $2 AND name = $3 AND deleted = 0`,
		g.Account, g.Region, g.Name)
}

// SaveLogGroup stores the retention, the key and the tags of a log group.
func (tx *Tx) SaveLogGroup(g *loggroup.Group) error {
	tags, err := toJSON(g.Tags)
	if err != nil {
		return err
	}
	return tx.change(`UPDATE log_group SET retention_days = $2, kms_key_id = $3, tags = $4 WHERE id = $1 AND deleted = 0`,
		g.ID, g.RetentionDays, g.KMSKeyID, tags)
}

// DeleteLogGroup deletes a log group with its streams and entries. It is
// quick whatever they hold: TrimLogs frees the space.
func (tx *Tx) DeleteLogGroup(id int64) error {
	return tx.change(`UPDATE log_group SET deleted = 1 WHERE id = $1 AND deleted = 0`, id)
}

const logStreamColumns = `id, name, created_at, first_at, last_at, ingested_at`

func (tx *Tx) logStreams(query string, args ...any) ([]*loggroup.Stream, error) {
	var list []*loggroup.Stream
	err := tx.each(func(rows *sql.Rows) error {
		var s loggroup.Stream
		var created, first, last, ingested int64
		err := rows.Scan(&s.ID, &s.Name, &created, &first, &last, &ingested)
		s.CreatedAt, s.FirstEventAt = fromMicros(created), fromMicros(first)
		s.LastEventAt, s.LastIngestion = fromMicros(last), fromMicros(ingested)
		list = append(list, &s)
		return err
	}, query, args...)
	return list, err
}

// LogStream returns a stream of the log group. The error is of kind NotFound
// when there is none.
func (tx *Tx) LogStream(groupID int64, name string) (*loggroup.Stream, error) {
	list, err := tx.logStreams(`SELECT `+logStreamColumns+` FROM log_stream WHERE group_id = $1 AND name = $2 AND deleted = 0`, groupID, name)
	if err == nil && len(list) == 0 {
		return nil, fault.New(fault.NotFound, "")
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// LogStreamQuery selects streams of one log group.
type LogStreamQuery struct {
	// Prefix starts their names; it is for order by name only.
	Prefix string
	// ByLastEvent orders by the time of the latest entry, and by name where
	// that is the same; else the order is by name.
	ByLastEvent, Descending bool
	// After is the last stream of the page before, with the members that
	// give the order; nil for the first page.
	After *loggroup.Stream
	Limit int
}

// LogStreams returns streams of the log group.
func (tx *Tx) LogStreams(groupID int64, q LogStreamQuery) ([]*loggroup.Stream, error) {
	compare, direction := ">", "ASC"
	after := loggroup.Stream{}
	afterAt := int64(-1)
	if q.Descending {
		compare, direction = "<", "DESC"
		after.Name, afterAt = prefixEnd(q.Prefix), math.MaxInt64
	}
	if q.After != nil {
		after, afterAt = *q.After, micros(q.After.LastEventAt)
	}
	if q.ByLastEvent {
		return tx.logStreams(fmt.Sprintf(`SELECT %s FROM log_stream WHERE group_id = $1 AND deleted = 0 AND (last_at, name) %s ($2, $3)
			ORDER BY last_at %s, name %s LIMIT $4`, logStreamColumns, compare, direction, direction), groupID, afterAt, after.Name, q.Limit)
	}
	return tx.logStreams(fmt.Sprintf(`SELECT %s FROM log_stream WHERE group_id = $1 AND deleted = 0 AND name %s $2 AND name >= $3 AND name < $4
		ORDER BY name %s LIMIT $5`, logStreamColumns, compare, direction), groupID, after.Name, q.Prefix, prefixEnd(q.Prefix), q.Limit)
}

// CreateLogStream stores a new stream of the log group. The error is of kind
// Exists when the name is taken.
func (tx *Tx) CreateLogStream(groupID int64, name string, now time.Time) error {
	return tx.insert(`INSERT INTO log_stream (group_id, name, created_at, first_at, last_at, ingested_at, bytes, deleted)
		VALUES ($1, $2, $3, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING`, groupID, name, micros(now))
}

// DeleteLogStream deletes a stream with its entries. It is quick whatever
// they hold: TrimLogs frees the space.
func (tx *Tx) DeleteLogStream(id int64) error {
	return tx.change(`UPDATE log_stream SET deleted = 1 WHERE id = $1 AND deleted = 0`, id)
}
