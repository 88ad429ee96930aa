// Package schedule computes when secrets rotate.
package schedule

// Rules is RotationRules as a caller gives it.
type Rules struct {
	// AutomaticallyAfterDays is 1 to 1000, or 0 when unset.
	AutomaticallyAfterDays int64
	// Duration is the window's length such as "3h", or "" when unset.
	Duration string
	// Expression is a rate() or cron() expression, or "" when unset.
	Expression string
}
