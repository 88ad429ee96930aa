package record

import "strings"

// Status is the state of a stack or of one of its resources, as AWS spells it.
type Status string

// The states. Resources have those of the first two groups and DeleteSkipped.
const (
	CreateInProgress Status = "CREATE_IN_PROGRESS"
	CreateFailed     Status = "CREATE_FAILED"
	CreateComplete   Status = "CREATE_COMPLETE"
	UpdateInProgress Status = "UPDATE_IN_PROGRESS"
	UpdateFailed     Status = "UPDATE_FAILED"
	UpdateComplete   Status = "UPDATE_COMPLETE"

	DeleteInProgress Status = "DELETE_IN_PROGRESS"
	DeleteFailed     Status = "DELETE_FAILED"
	DeleteComplete   Status = "DELETE_COMPLETE"
	DeleteSkipped    Status = "DELETE_SKIPPED"

	ReviewInProgress   Status = "REVIEW_IN_PROGRESS"
	RollbackInProgress Status = "ROLLBACK_IN_PROGRESS"
	RollbackFailed     Status = "ROLLBACK_FAILED"
	RollbackComplete   Status = "ROLLBACK_COMPLETE"

	UpdateCleanup            Status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
	UpdateRollbackInProgress Status = "UPDATE_ROLLBACK_IN_PROGRESS"
	UpdateRollbackFailed     Status = "UPDATE_ROLLBACK_FAILED"
	UpdateRollbackCleanup    Status = "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"
	UpdateRollbackComplete   Status = "UPDATE_ROLLBACK_COMPLETE"
)

// UpdateCancelled is the reason of an update that was cut short because
// another one failed (AWS: recorded).
const UpdateCancelled = "Resource update cancelled"

// InProgress reports whether an operation is under way.
func (s Status) InProgress() bool { return strings.HasSuffix(string(s), "_IN_PROGRESS") }

// Failed reports whether the last thing done to a resource failed.
func (s Status) Failed() bool { return strings.HasSuffix(string(s), "_FAILED") }

// Gone reports whether a stack or a resource is deleted, or given up.
func (s Status) Gone() bool { return s == DeleteComplete || s == DeleteSkipped }

// Updatable reports whether UpdateStack is admitted (AWS docs).
func (s Status) Updatable() bool {
	switch s {
	case CreateComplete, UpdateComplete, UpdateRollbackComplete, CreateFailed, UpdateFailed:
		return true
	}
	return false
}

// Stable reports whether a rollback leads back to what a stack of this state
// has.
func (s Status) Stable() bool {
	return s == CreateComplete || s == UpdateComplete || s == UpdateRollbackComplete
}
