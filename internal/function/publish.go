package function

import (
	"strconv"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// Publication is what PublishVersion is asked for.
type Publication struct {
	// CodeSHA256 and RevisionID, if not empty, must be those of $LATEST.
	CodeSHA256, RevisionID string
	// Description, if not nil, replaces that of $LATEST.
	Description *string
	// NewRevisionID is the version's.
	NewRevisionID string
	Now           time.Time
}

// Publish makes the next version from $LATEST and counts it. last is the
// latest published version, or nil: if nothing changed since, it is the
// answer, and made is false (AWS docs).
func (f *Function) Publish(p Publication, last *Config) (v *Config, made bool, err error) {
	if p.RevisionID != "" && p.RevisionID != f.Config.RevisionID {
		return nil, false, StaleRevision()
	}
	if p.CodeSHA256 != "" && p.CodeSHA256 != f.Config.CodeSHA256 {
		return nil, false, fault.New(fault.Parameter,
			"CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). Please try again with the CodeSHA256 in $LATEST.",
			p.CodeSHA256, f.Config.CodeSHA256)
	}
	if last != nil && last.Change == f.Config.Change {
		return last, false, nil
	}
	version := f.Config.Clone()
	version.Version = strconv.FormatInt(f.NextVersion, 10)
	if p.Description != nil {
		version.Description = *p.Description
	}
	version.RevisionID, version.LastModified = p.NewRevisionID, p.Now
	version.BeginCreation()
	f.NextVersion++
	return &version, true, nil
}
