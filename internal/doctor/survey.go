package doctor

import "time"

// Surveyed is the cheap evidence about one rotating secret of many: what lists
// and the trail tell, without its versions, logs, policies and network.
type Surveyed struct {
	ARN             string    `json:"arn"`
	Name            string    `json:"name"`
	RotationEnabled bool      `json:"rotationEnabled"` // false: cancelled
	Rules           Rules     `json:"rules"`
	LastRotatedAt   time.Time `json:"lastRotatedAt,omitzero"`
	LastChangedAt   time.Time `json:"lastChangedAt,omitzero"`
	NextRotationAt  time.Time `json:"nextRotationAt,omitzero"`
	OwningService   string    `json:"owningService,omitempty"`
	PrimaryRegion   string    `json:"primaryRegion,omitempty"`
	// Current and Pending are the versions with AWSCURRENT and AWSPENDING; ""
	// for none. A pending version that is not the current one is a rotation
	// under way, or one that was left.
	Current string `json:"current,omitempty"`
	Pending string `json:"pending,omitempty"`
	// Failures is how often the trail tells of a failed rotation since
	// Survey.Since; LastFailure is the newest of them.
	Failures    int       `json:"failures,omitempty"`
	LastFailure *Event    `json:"lastFailure,omitempty"`
	SucceededAt time.Time `json:"succeededAt,omitzero"`
	AbandonedAt time.Time `json:"abandonedAt,omitzero"`
	// StartedAt is when the trail's newest rotation began.
	StartedAt time.Time `json:"startedAt,omitzero"`
	// FunctionARN is the rotation function as the secret names it; Function
	// what its configuration says, nil for managed rotation and where that
	// could not be read. Stack is nil unless a stack made it.
	FunctionARN string    `json:"functionArn,omitempty"`
	Function    *Function `json:"function,omitempty"`
	Stack       *Stack    `json:"stack,omitempty"`
}

// Survey is the cheap evidence about every rotating secret of an account and
// region.
type Survey struct {
	At        time.Time `json:"at"`
	Since     time.Time `json:"since"` // how far back the trail was read
	Account   string    `json:"account"`
	Region    string    `json:"region"`
	Partition string    `json:"partition"`
	Caller    string    `json:"caller,omitempty"`
	Endpoint  string    `json:"endpoint,omitempty"`
	Keyturn   bool      `json:"keyturn,omitempty"`
	// Secrets are in no order.
	Secrets []Surveyed `json:"secrets"`
	Gaps    []Gap      `json:"gaps,omitempty"`
}
