package function

import (
	"github.com/keyturn/keyturn/internal/fault"
)

// MinUnreserved is the concurrency that reservations must leave to the
// functions without one (AWS docs). An account whose limit is not above it
// may reserve everything (ours: a small host has to be able to).
const MinUnreserved = 100

// Pool is the concurrency of an account in a region.
type Pool struct {
	// Limit is the account's concurrent executions.
	Limit int64
	// Reserved is the sum of reservations, and of the provisioned
	// concurrency of functions without one.
	Reserved int64
}

// Unreserved is what is left to functions without a reservation.
func (p Pool) Unreserved() int64 { return max(0, p.Limit-p.Reserved) }

func (p Pool) minimum() int64 {
	if p.Limit <= MinUnreserved {
		return 0
	}
	return MinUnreserved
}

// ProvisionedTotal sums the provisioned concurrency of all versions and
// aliases.
func (f *Function) ProvisionedTotal() int64 {
	var sum int64
	for _, p := range f.Provisioned {
		sum += p.Requested
	}
	return sum
}

// Claim is what the function takes out of its account's pool for itself.
func (f *Function) Claim() int64 {
	if f.Reserved != nil {
		return *f.Reserved
	}
	return f.ProvisionedTotal()
}

// CheckReserve checks a new reservation of n against the function's
// provisioned concurrency and the pool, which counts the function's present
// claim (AWS: recorded).
func (f *Function) CheckReserve(n int64, p Pool) error {
	if total := f.ProvisionedTotal(); n < total {
		return fault.New(fault.Parameter,
			" ReservedConcurrentExecutions  %d should not be lower than function's total provisioned concurrency [%d].", n, total)
	}
	if p.Limit-(p.Reserved-f.Claim())-n < p.minimum() {
		return fault.New(fault.Parameter,
			"Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [%d].", p.minimum())
	}
	return nil
}

// CheckProvision checks a new provisioned concurrency of n on a qualifier
// against the function's reservation or else the pool, which counts the
// function's present claim (AWS: recorded).
func (f *Function) CheckProvision(qualifier string, n int64, p Pool) error {
	total := f.ProvisionedTotal() - f.Provisioned[qualifier].Requested + n
	if f.Reserved != nil {
		if total > *f.Reserved {
			return fault.New(fault.Parameter, "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function")
		}
		return nil
	}
	left := p.Limit - (p.Reserved - f.Claim())
	if total > left {
		return fault.New(fault.Parameter, "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [%d].", max(0, left))
	}
	if left-total < p.minimum() {
		return fault.New(fault.Parameter,
			"Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [%d].", p.minimum())
	}
	return nil
}
