// Package loggroup holds the records of CloudWatch Logs: groups, streams and
// their entries.
package loggroup

import "time"

// Group is a log group: the output of one function.
type Group struct {
	Account, Region string
	// Name is 1 to 512 characters of [.\-_/#A-Za-z0-9] (AWS service model).
	Name      string
	CreatedAt time.Time
	// RetentionDays is 0 for never expire, else one of RetentionChoices.
	RetentionDays int
	KMSKeyID      string
	Class         string
	Tags          map[string]string
	// StoredBytes counts messages plus 26 bytes each (AWS docs).
	StoredBytes int64
}

// Stream is a log stream: the output of one execution environment.
type Stream struct {
	Name          string
	CreatedAt     time.Time
	FirstEventAt  time.Time
	LastEventAt   time.Time
	LastIngestion time.Time
}

// Entry is one log event.
type Entry struct {
	// ID orders entries of a group by arrival and is unique in it.
	ID         int64
	Stream     string
	Time       time.Time
	IngestedAt time.Time
	Message    string
}

// MaxEntryBytes is the longest message of one entry (AWS docs).
const MaxEntryBytes = 256 << 10
