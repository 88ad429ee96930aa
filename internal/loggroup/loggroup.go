// Package loggroup holds the records of CloudWatch Logs: groups, streams and
// their entries, and the filter patterns that search them.
package loggroup

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
)

// Group is a log group: the output of one function.
type Group struct {
	// ID tells a group from an earlier one of the same name; 0 until it is
	// stored.
	ID              int64
	Account, Region string
	// Name is 1 to 512 characters of [.\-_/#A-Za-z0-9] (AWS service model).
	Name      string
	CreatedAt time.Time
	// RetentionDays is 0 for never expire, else one for which ValidRetention
	// holds.
	RetentionDays int
	KMSKeyID      string
	Class         string
	Tags          map[string]string
	// StoredBytes counts messages plus EntryOverhead each. Only lists of
	// groups fill it.
	StoredBytes int64
}

// ARN returns the group's address without the ":*" that some members of the
// API add.
func (g *Group) ARN() string {
	return arn.New("logs", g.Region, g.Account, "log-group:"+g.Name).String()
}

// StreamARN returns the address of a stream of the group. With "" it is what
// actions on the group itself are authorised on (AWS: recorded).
func (g *Group) StreamARN(stream string) string { return g.ARN() + ":log-stream:" + stream }

// StandardClass is the class of a group that names none (AWS docs).
const StandardClass = "STANDARD"

// Stream is a log stream: the output of one execution environment.
type Stream struct {
	ID        int64
	Name      string
	CreatedAt time.Time
	// FirstEventAt, LastEventAt and LastIngestion are zero while there is no
	// entry.
	FirstEventAt  time.Time
	LastEventAt   time.Time
	LastIngestion time.Time
}

// Entry is one log event.
type Entry struct {
	// ID orders entries by arrival and is unique in their group.
	ID         int64
	Stream     string
	Time       time.Time
	IngestedAt time.Time
	Message    string
}

// Cursor is a place between entries, which are ordered by time and then by
// ID: the place of the entry that it names.
type Cursor struct {
	Time time.Time
	ID   int64
}

// IsZero reports whether c is no place.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// Cursor returns the place of the entry.
func (e *Entry) Cursor() Cursor { return Cursor{e.Time, e.ID} }

// Limits of entries (AWS docs).
const (
	// MaxEntryBytes is the longest message of one entry.
	MaxEntryBytes = 256 << 10
	// EntryOverhead is what each entry counts besides its message, in bytes.
	EntryOverhead = 26
	// MaxBatchBytes bounds what one call takes in or gives out, with the
	// overhead of each entry.
	MaxBatchBytes = 1 << 20
)

// DefaultKeep is how long a server keeps the entries of groups that never
// expire, so that a forgotten group cannot fill the disk (ours; AWS keeps
// them for ever).
const DefaultKeep = 400 * 24 * time.Hour

// retentions are the days that a retention policy may name (AWS docs).
var retentions = []int64{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

// Retentions returns the days that a retention policy may name, ascending.
func Retentions() iter.Seq[int64] { return slices.Values(retentions) }

// ValidRetention reports whether a retention policy may name the days.
func ValidRetention(days int64) bool { return slices.Contains(retentions, days) }

// reserved begins the names of the groups in which the server itself reports.
const reserved = "/keyturn/"

// Reserved tells whether only the server writes to the group of a name: its
// readers take what is there for the server's word (ours).
func Reserved(name string) bool { return strings.HasPrefix(name, reserved) }
